"""Steps that run once for each item of a list: what they may state beside it.

Works on what it understands of a faulty document. Knows nothing of expressions.
"""

from collections.abc import Iterator, Mapping

from .breaches import Complaint
from .compilation import CompiledStep, OnFailure
from .findings import Findings
from .rules import Rule

_BESIDE = ("max_parallel", "tolerate")


def check_items(document: Mapping[str, object], findings: Findings) -> None:
    """Note every field that means nothing without a list."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict) or "for_each" in step:
            continue
        for name in _BESIDE:
            if name in step:
                message = "means nothing without `for_each`; leave it out"
                findings.add(("steps", position, name), Rule.IDLE_FIELD, message)


def warn_of_items(steps: tuple[CompiledStep, ...]) -> Iterator[Complaint]:
    """Yield what is tolerated and never happens, and what is not undone."""
    for step in steps:
        if step.undoes is not None and steps[step.undoes].for_each is not None:
            yield Complaint(
                Rule.PARTIAL_UNDO,
                f"{step.name} runs only when all items of {steps[step.undoes].name}"
                " have ended: if one of them ends the execution, nothing is undone of"
                " the others",
            )
        is_tolerant = step.tolerate is not None or step.tolerate_percent is not None
        if is_tolerant and step.on_failure is OnFailure.ABORT:
            yield Complaint(
                Rule.IDLE_TOLERATE,
                f"`tolerate` of {step.name} has nothing to do: the first item that"
                " fails ends the execution, unless `on_failure: skip` is stated",
            )
