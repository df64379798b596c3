"""What `plans validate` finds in files: faults with their file, place and code.

Promises: every file is judged, whatever the others hold; one that cannot be read is
wrong usage, and then none is. Must not know how the findings are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import Fault, PlanValidationError
from ..language.breaches import Complaint
from ..language.rules import FAULT_CODE, WARNING_CODE
from ..plan import Plan
from .consulting import Consult
from .exits import UsageError
from .reading import read_plan


@dataclass(frozen=True)
class FileFault:
    """A fault of a plan in a file.

    `rule` names what is wrong, and `code` its class: E001 for what is refused, W001 for
    what is not. Both are stable.
    """

    place: str
    message: str
    line: int | None
    column: int | None
    file: str
    code: str
    rule: str


@dataclass(frozen=True)
class Judged:
    """A file with its plan, which is None if it has faults that make it none."""

    file: str
    plan: Plan | None
    faults: tuple[FileFault, ...]
    warnings: tuple[Complaint, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether nothing was found."""
        return not self.faults


def judge_files(
    paths: Sequence[Path], consult: Consult, *, is_strict: bool
) -> tuple[Judged, ...]:
    """Return what is found in each file; warnings are faults if it is strict.

    `consult` says what else speaks against a plan that has none of its own.
    Raises UsageError naming every file that cannot be read.
    """
    judged: list[Judged] = []
    unreadable: list[str] = []
    for path in paths:
        try:
            judged.append(_judge(path, consult, is_strict=is_strict))
        except UsageError as error:
            unreadable.append(str(error))
    if unreadable:
        raise UsageError("\n".join(unreadable))
    return tuple(judged)


def _judge(path: Path, consult: Consult, *, is_strict: bool) -> Judged:
    file = str(path)
    try:
        plan = read_plan(path)
        advice = consult(plan)
    except PlanValidationError as error:
        return Judged(file, None, tuple(_list_faults(error.faults, file)))
    if advice.faults:
        return Judged(file, None, tuple(_list_faults(advice.faults, file)))
    regrets = tuple(
        FileFault(file, found.message, None, None, file, WARNING_CODE, found.rule)
        for found in advice.warnings
    )
    return Judged(file, plan, regrets if is_strict else (), advice.warnings)


def _list_faults(faults: Sequence[Fault], file: str) -> Iterator[FileFault]:
    for fault in faults:
        yield FileFault(
            fault.place,
            fault.message,
            fault.line,
            fault.column,
            file,
            FAULT_CODE,
            fault.rule,
        )
