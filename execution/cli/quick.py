"""Answers `plans health` before the command line is loaded.

A container asks for it every few seconds, and what commands are made of takes half a
second of a processor. Promises: where it answers, it answers as `health` would; what it
does not know, a request for help, a mistake, it leaves to that.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..health import USUAL_WITHIN_SECONDS, HealthVerdict, judge_file
from .exits import ExitCode, printable


@dataclass(frozen=True)
class HealthQuestion:
    """What is asked of a worker's file: whether it lives, or also is ready."""

    file: str
    within_seconds: float = USUAL_WITHIN_SECONDS
    is_of_life: bool = False

    def ask(self) -> tuple[HealthVerdict, bool]:
        """Return what follows from the file, and whether that is yes."""
        verdict = judge_file(Path(self.file), self.within_seconds)
        return verdict, verdict.is_live if self.is_of_life else verdict.is_ready


def answer(words: Sequence[str]) -> ExitCode | None:
    """Answer what the process was called with; None where others must."""
    if words[:1] != ["health"]:
        return None
    question = _read(words[1:])
    if question is None:
        return None
    verdict, is_well = question.ask()
    # unbuffered: a reader that went away changes nothing of the answer
    with suppress(OSError):
        os.write(1, f"{printable(verdict.reason)}\n".encode())
    return ExitCode.OK if is_well else ExitCode.FAILED


def _read(words: Sequence[str]) -> HealthQuestion | None:
    question = HealthQuestion(os.environ.get("PLANS_HEALTH_FILE", ""))
    rest = _split(words)
    for word in rest:
        match word:
            case "--live" | "--ready":
                question = replace(question, is_of_life=word == "--live")
            case "--file":
                question = replace(question, file=next(rest, ""))
            case "--within":
                seconds = next(rest, "")
                if not seconds.isdecimal():
                    return None
                question = replace(question, within_seconds=float(seconds))
            case _:
                return None
    return question if question.file and "%" not in question.file else None


def _split(words: Sequence[str]) -> Iterator[str]:
    """Yield the words, of `--name=value` one after the other."""
    for word in words:
        name, is_both, value = word.partition("=")
        yield from (name, value) if is_both and name.startswith("--") else (word,)
