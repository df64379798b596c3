"""Before which steps executions go back when others fail, and the faults in that.

Promises: an execution goes back only to where it certainly came from, and strategies
are asked only where they can be followed. Works on what it understands of a faulty
document. Knows nothing of templates.
"""

from collections.abc import Mapping

from ..places import shown
from .breaches import Complaint
from .findings import Findings
from .graph import Graph
from .rules import Rule

_NOT_BESIDE = {
    "for_each": "its items go on without each other; use `skip` and `tolerate`",
    "run_on": "what fails at the end stops nothing",
}


def check_restores(
    document: Mapping[str, object], graph: Graph, findings: Findings
) -> None:
    """Note restores that lead nowhere, and what stands where there can be none."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        choice = step.get("on_failure") if isinstance(step, dict) else None
        if not isinstance(choice, dict):
            continue
        place = ("steps", position, "on_failure")
        kind = next((kind for kind in ("restore", "strategy") if kind in choice), None)
        for field, reason in _NOT_BESIDE.items():
            if kind and field in step:
                message = f"`{field}` and a {kind} cannot be stated together: {reason}"
                findings.add(place, Rule.FIELD_CLASH, message)
        name = choice.get("restore")
        if not isinstance(name, str):
            continue
        if fault := _find_fault(position, name, graph, findings):
            findings.add((*place, "restore"), fault.rule, fault.message)


def _find_fault(
    position: int, name: str, graph: Graph, findings: Findings
) -> Complaint | None:
    target = graph.positions.get(name)
    if target is None:
        near = findings.suggestion(name, graph.positions)
        return Complaint(Rule.UNKNOWN_STEP, f"no step is called {shown(name)}{near}")
    if graph.comes_before(target, position):
        return None
    advice = (
        "does not run before this step; name one above it"
        if graph.in_sequence
        else "need not be finished when this step starts; name this step, or one that"
        " it waits for, directly or not"
    )
    message = f"{shown(name)} {advice}"
    return Complaint(Rule.FOREIGN_RESTORE, message)
