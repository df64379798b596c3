"""What `plans doctor` finds: one of its codes, with what was seen and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

from .codes import FindingCode, FindingSeverity

MOST_IDS = 20
"""How many ids a finding names; its text counts all."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or good to know.

    `seen` is what was seen, `fix` a command or a setting, `ids` up to twenty of those
    concerned: of executions, steps (`ID step`), workers or queues. `is_mended` says
    that `--fix` sees to it, `is_cut` that not all was looked at: there may be more.
    """

    code: FindingCode
    severity: FindingSeverity
    seen: str
    fix: str
    ids: tuple[str, ...] = ()
    is_mended: bool = False
    is_cut: bool = False


def find(
    code: FindingCode,
    seen: str,
    ids: Sequence[str] = (),
    *,
    is_cut: bool = False,
    **words: object,
) -> Finding:
    """Return a finding; `words` fill in its fix."""
    return Finding(
        code,
        code.severity,
        seen,
        code.fix.format(**words),
        tuple(ids[:MOST_IDS]),
        code.is_mended,
        is_cut,
    )


def count(number: int, noun: str, *, is_cut: bool = False) -> str:
    """Return how many of something there are, at least."""
    least = "at least " if is_cut else ""
    return f"{least}{number:,} {noun}{'' if number == 1 else 's'}"
