"""The actions of the research: what `plan.yaml` calls.

A model would stand behind `plan`, `judge` and `answer`; here they are plain rules, so
that the same question has the same answer, and no network is needed.

Must not know how a tool finds what it finds.
"""

from typing import TypedDict

from execution import FatalError, action

from .library import Findings, find_words, merge, pick_words


class Judgement(TypedDict):
    """What is known, and which words nothing was found for."""

    found: Findings
    missing: list[str]


@action("research.plan")
def plan(question: str) -> list[str]:
    """Return what is to be looked up."""
    words = pick_words(question)
    if not words:
        raise FatalError("the question has no word that is worth looking up")
    return words


@action("research.look_up")
def look_up(module: str, words: list[str]) -> Findings:
    """Call the tool on one module."""
    return find_words(module, words)


@action("research.judge")
def judge(words: list[str], found: list[Findings]) -> Judgement:
    """Say whether what was found is enough."""
    merged = merge(found)
    return {"found": merged, "missing": [word for word in words if word not in merged]}


@action("research.answer")
def answer(found: Findings) -> str:
    """Answer with what speaks of most words."""
    names = sorted({name for names in found.values() for name in names})
    return max(names, key=lambda name: sum(name in found[word] for word in found))


@action("research.give_up")
def give_up(missing: list[str]) -> str:
    """Say what was looked for in vain."""
    return f"found nothing about {', '.join(missing)}"
