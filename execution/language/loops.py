"""Steps that repeat what they do until it is enough: what they may state beside it.

Works on what it understands of a faulty document, but for the warnings.
"""

from collections.abc import Iterator, Mapping

from ..expressions import parse_bare
from .breaches import Complaint
from .compilation import CompiledStep
from .findings import Findings
from .rules import Rule

_NOT_BESIDE = {
    "with": "belongs to what is repeated; write it inside of `repeat`",
    "cache": "cannot be stated beside `repeat`: what is repeated runs each time",
    "for_each": "cannot be stated beside `repeat`; let the action loop",
}
_CHANGING = frozenset(("last", "index"))


def check_loops(document: Mapping[str, object], findings: Findings) -> None:
    """Note every field that a loop cannot have."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict) or "repeat" not in step:
            continue
        for name, message in _NOT_BESIDE.items():
            if name in step:
                findings.add(("steps", position, name), Rule.FIELD_CLASH, message)


def warn_of_loops(steps: tuple[CompiledStep, ...]) -> Iterator[Complaint]:
    """Yield what is asked after each iteration and can only have one answer."""
    for step in steps:
        if step.repeat is None or step.repeat.until is None:
            continue
        reads = parse_bare(step.repeat.until).reads
        if not any(path.parts[0] in _CHANGING for path in reads):
            yield Complaint(
                Rule.CONSTANT_UNTIL,
                f"`until` of {step.name} names neither `last` nor `index`: it comes to"
                " the same after each iteration",
            )
