"""What the agent does next: a few rules, in the place where a model would be asked.

Promises: decided from the task and the memory alone, so that a turn that is repeated
decides the same. Must not call a tool.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .tools import WRITING


class Call(TypedDict):
    """A tool, and what it is given."""

    tool: str
    inputs: dict[str, Any]


class Memo(TypedDict):
    """What was called in one turn, and what came of it: an outcome or a problem."""

    call: Call
    outcome: Any
    problem: str | None


class Answer(TypedDict):
    """What the agent has found, and what it could not do."""

    sum: str | None
    problem: str | None


class Decision(TypedDict):
    """What is to be done: one more call, or none, for there is an answer."""

    call: Call | None
    answer: Answer | None


def decide(task: Mapping[str, str], memory: Sequence[Memo]) -> Decision:
    """List the files, look into one after the other, add up, write a report, answer."""
    problem = memory[-1]["problem"] if memory else None
    if problem and memory[-1]["call"]["tool"] not in WRITING:
        return _answer(None, problem)
    folder, word = task["folder"], task["word"]
    listed = _recall(memory, "list_files")
    if not listed:
        return _call("list_files", folder=folder)
    looked = _recall(memory, "find_total")
    if len(looked) < len(listed[0]):
        return _call("find_total", path=listed[0][len(looked)], word=word)
    sums = _recall(memory, "calculate")
    if not sums:
        amounts = [amount for amount in looked if amount is not None]
        return _call("calculate", expression=" + ".join(amounts) or "0")
    if not _recall(memory, "write_report"):
        return _call("write_report", folder=folder, text=f"{word}: {sums[0]}")
    return _answer(sums[0], problem)


def _recall(memory: Sequence[Memo], tool: str) -> list[Any]:
    return [memo["outcome"] for memo in memory if memo["call"]["tool"] == tool]


def _call(tool: str, **inputs: Any) -> Decision:
    return {"call": {"tool": tool, "inputs": inputs}, "answer": None}


def _answer(total: str | None, problem: str | None) -> Decision:
    return {"call": None, "answer": {"sum": total, "problem": problem}}
