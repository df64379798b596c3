"""Which steps stand in for others that fail, and which faults there are in that.

Promises: a step stands in for one other at most, and is reached in no other way.
Works on what it understands of a faulty document. Knows nothing of templates.
"""

from collections.abc import Mapping, Sequence

from ..places import Path, shown
from .breaches import Complaint
from .findings import Findings
from .rules import Rule

_NOT_IN_A_FALLBACK = {
    "needs": "it runs when the other one has failed, and waits for nothing else",
    "run_on": "it runs before the end",
    "for_each": "it has one result; let the action loop",
    "repeat": "it is called once; let the action loop",
}
_NOT_BESIDE = {
    "for_each": "its items have none; use `skip` and `tolerate`",
    "run_on": "what fails at the end stops nothing",
}


def find_fallbacks(
    steps: Sequence[object], positions: Mapping[str, int], findings: Findings
) -> dict[int, int]:
    """Return for each fallback the step that it stands in for; note the faults."""
    found: dict[int, int] = {}
    for position, step in enumerate(steps):
        name = _read_fallback(step)
        if name is None:
            continue
        place = ("steps", position, "on_failure", "fallback")
        target = positions.get(name)
        if fault := _find_fault(position, name, target, positions, found, findings):
            findings.add(place, fault.rule, fault.message)
        elif target is not None:
            found[target] = position
            _check_fields(step, _NOT_BESIDE, "a fallback", place[:3], findings)
            _check_target(steps[target], target, findings)
    for target in _find_cycle(found):
        message = "the fallbacks stand in for each other; no step begins them"
        place = ("steps", found[target], "on_failure", "fallback")
        findings.add(place, Rule.CYCLE, message)
    return found


def _read_fallback(step: object) -> str | None:
    choice = step.get("on_failure") if isinstance(step, dict) else None
    name = choice.get("fallback") if isinstance(choice, dict) else None
    return name if isinstance(name, str) else None


def _find_fault(
    position: int,
    name: str,
    target: int | None,
    positions: Mapping[str, int],
    found: Mapping[int, int],
    findings: Findings,
) -> Complaint | None:
    if target is None:
        near = findings.suggestion(name, positions)
        return Complaint(Rule.UNKNOWN_STEP, f"no step is called {shown(name)}{near}")
    if target == position:
        return Complaint(Rule.CYCLE, "a step cannot stand in for itself")
    if target in found:
        message = f"{shown(name)} stands in for steps[{found[target]}] already"
        return Complaint(Rule.SHARED_FALLBACK, message)
    return None


def _check_target(step: object, target: int, findings: Findings) -> None:
    _check_fields(step, _NOT_IN_A_FALLBACK, "", ("steps", target), findings)


def _check_fields(
    step: object,
    refused: Mapping[str, str],
    beside: str,
    place: Path,
    findings: Findings,
) -> None:
    for name, reason in refused.items():
        if isinstance(step, dict) and name in step:
            what = f"`{name}` and {beside}" if beside else "a fallback cannot state it"
            together = "cannot be stated together" if beside else ""
            where = place if beside else (*place, name)
            message = f"{what} {together}".strip()
            findings.add(where, Rule.FIELD_CLASH, f"{message}: {reason}")


def _find_cycle(found: Mapping[int, int]) -> list[int]:
    """Return one target of each cycle in which no step begins by itself."""
    cycles, seen = [], set[int]()
    for start in found:
        trail: list[int] = []
        target: int | None = start
        while target in found and target not in seen:
            assert target is not None  # noqa: S101  # it is in found
            seen.add(target)
            trail.append(target)
            target = found[target]
        if target in trail:
            cycles.append(start)
    return cycles
