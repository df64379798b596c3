"""The actions of the agent: what `turn.yaml` and `plan.yaml` call.

Must not know what is decided, nor what the tools do.
"""

from typing import Any, TypedDict

from execution import action

from . import policy
from .policy import Answer, Call, Decision, Memo
from .tools import READING, WRITING


class Approval(TypedDict):
    """Whether a call is granted, and if not, why."""

    granted: bool
    reason: str | None


class Turn(TypedDict):
    """What a turn came to: all that is known now, and the answer, if there is one."""

    memory: list[Memo]
    answer: Answer | None


@action("agent.decide")
def decide(task: dict[str, str], memory: list[Memo]) -> Decision:
    """Say what is to be done next; a model would be asked here."""
    return policy.decide(task, memory)


@action("agent.approve")
def approve(call: Call, mode: str) -> Approval:
    """Say whether a call may be made: all of them, those that only read, or none."""
    granted = mode == "all" or (mode == "reading" and call["tool"] in READING)
    return {"granted": granted, "reason": None if granted else f"{mode} is granted"}


@action("agent.call_tool")
def call_tool(call: Call) -> Any:
    """Call a tool."""
    tools = {**READING, **WRITING}
    return tools[call["tool"]](**call["inputs"])


@action("agent.observe")
def observe(
    memory: list[Memo],
    decision: Decision,
    approval: Approval | None,
    outcome: Any,
    error: str | None,
) -> Turn:
    """Remember what was done in this turn, and what came of it."""
    if decision["call"] is None:
        return {"memory": memory, "answer": decision["answer"]}
    refused = approval["reason"] if approval else None
    memo: Memo = {
        "call": decision["call"],
        "outcome": outcome,
        "problem": error or refused,
    }
    return {"memory": [*memory, memo], "answer": None}


@action("agent.give_up")
def give_up(because: str) -> dict[str, Answer]:
    """Answer in the place of an agent that has come to no answer."""
    return {"answer": {"sum": None, "problem": because}}
