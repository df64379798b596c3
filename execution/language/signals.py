"""Steps that wait for a signal: what they may state beside it.

Works on what it understands of a faulty document. Knows nothing of how signals come.
"""

from collections.abc import Iterator, Mapping

from .findings import Findings
from .kinds import WAIT_KIND
from .parameters import check_declarations
from .rules import Rule

_REFUSED = {
    "with": "is for an action; a step that waits takes nothing but its signal",
    "retry": "is for an action; nothing is attempted while a step waits",
    "cache": "is for an action; what one signal said is not said again",
    "undo": "is for an action; nothing is done while a step waits",
}
_ONLY_HERE = ("default", "payload")


def check_signals(document: Mapping[str, object], findings: Findings) -> None:
    """Note what means nothing to a step that waits for a signal, or to any other."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        faults = _find_clashes(step) if _waits(step) else _find_idle(step)
        for name, rule, message in faults:
            findings.add(("steps", position, name), rule, message)
        place = ("steps", position, "payload")
        check_declarations(step.get("payload"), findings, place)


def _waits(step: Mapping[str, object]) -> bool:
    loop = step.get("repeat")
    return WAIT_KIND in step or (isinstance(loop, dict) and WAIT_KIND in loop)


def _find_clashes(step: Mapping[str, object]) -> Iterator[tuple[str, Rule, str]]:
    for name, message in _REFUSED.items():
        if name in step and not (name == "with" and "repeat" in step):
            yield name, Rule.FIELD_CLASH, message
    if "default" in step and "timeout" not in step:
        message = "is what it comes to after its `timeout`; state one, or leave it out"
        yield "default", Rule.IDLE_FIELD, message


def _find_idle(step: Mapping[str, object]) -> Iterator[tuple[str, Rule, str]]:
    for name in _ONLY_HERE:
        if name in step:
            message = "means nothing without `wait_for`; leave it out"
            yield name, Rule.IDLE_FIELD, message
