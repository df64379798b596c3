"""What comes after the steps: what undoes them, and the steps of the end.

Promises: a step of the end cannot hold an execution up for ever, and says so; what
is stated and would never be used is noted. Works on what it understands of a faulty
document. Knows nothing of edges or templates.
"""

from collections.abc import Iterator, Mapping

from ..states import EndReason, Section
from .breaches import Complaint
from .compilation import CompiledStep
from .document import PlanDocument
from .findings import Findings
from .graph import Graph
from .rules import Rule

_REASONS: Mapping[str, tuple[EndReason, ...]] = {
    "on_failure": (EndReason.ABORT, EndReason.DEADLINE),
    "on_cancel": (EndReason.CANCEL,),
}


def check_sections(
    document: Mapping[str, object], graph: Graph, findings: Findings
) -> None:
    """Note every fault of the steps that run at the end."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if position not in graph.ending or not isinstance(step, dict):
            continue
        place = ("steps", position)
        if _names_known_profile(step, document) and not any(
            "deadline" in layer for layer in _layers(step, document)
        ):
            message = (
                "is missing: a step of the end needs one, lest the execution never end"
            )
            findings.add((*place, "deadline"), Rule.ENDLESS_END, message)
        if "for_each" in step:
            message = "cannot be stated beside `run_on`; let the action loop"
            findings.add((*place, "for_each"), Rule.FIELD_CLASH, message)
        if "repeat" in step:
            message = "cannot be stated beside `run_on`; let the action loop"
            findings.add((*place, "repeat"), Rule.FIELD_CLASH, message)
        if "undo" in step:
            message = "cannot be stated beside `run_on`: by then nothing is undone"
            findings.add((*place, "undo"), Rule.FIELD_CLASH, message)


def _names_known_profile(
    step: Mapping[str, object], document: Mapping[str, object]
) -> bool:
    """Whether the profile is there, if the step names one: nobody knows it else."""
    profiles, name = document.get("profiles"), step.get("profile")
    known = profiles if isinstance(profiles, dict) else {}
    return not isinstance(name, str) or name in known


def _layers(
    step: Mapping[str, object], document: Mapping[str, object]
) -> Iterator[Mapping[str, object]]:
    profiles, name = document.get("profiles"), step.get("profile")
    profile = None
    if isinstance(profiles, dict) and isinstance(name, str):
        profile = profiles.get(name)
    for layer in (step, profile, document.get("defaults")):
        if isinstance(layer, dict):
            yield layer


def list_rollback_reasons(document: PlanDocument) -> tuple[EndReason, ...]:
    """Return for which ends the steps that have completed are undone."""
    return tuple(
        reason
        for cause in dict.fromkeys(document.rollback)
        for reason in _REASONS[cause]
    )


def warn_of_sections(
    document: PlanDocument, steps: tuple[CompiledStep, ...]
) -> Iterator[Complaint]:
    """Yield what is stated about undoing and cannot have an effect."""
    undoes = any(step.section is Section.ROLLBACK for step in steps)
    if undoes and not document.rollback:
        message = "nothing is ever undone: state `rollback: on_failure` for the plan"
        yield Complaint(Rule.IDLE_ROLLBACK, message)
    if document.rollback and not undoes:
        message = "`rollback` has nothing to do: no step states how to `undo` it"
        yield Complaint(Rule.IDLE_ROLLBACK, message)
