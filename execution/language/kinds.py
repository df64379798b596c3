"""What a step does: it calls an action, or is of another kind, and never of two.

Works on what it understands of a faulty document. Knows nothing of what each kind
states beside its own field.
"""

from collections.abc import Mapping

from ..places import Path
from .findings import Findings
from .rules import Rule

WORK_KINDS = ("action", "plan")
"""The fields that say what is run: exactly one of them, once or in a loop."""
WAIT_KIND = "wait_for"
"""The field that lets a step wait for a signal, once or in a loop."""
LOOP_KINDS = (*WORK_KINDS, WAIT_KIND)
"""The fields that say what a loop does; each states exactly one of them."""
SLEEP_KINDS = ("sleep", "sleep_until")
"""The fields that let a step wait, and run nothing."""
STEP_KINDS = (*WORK_KINDS, "repeat", *SLEEP_KINDS, WAIT_KIND)
"""The fields that say what a step does; each step states exactly one of them."""


def check_kinds(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step, and every loop, that does nothing, or more than one thing."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        place = ("steps", position)
        _check_kind(step, STEP_KINDS, "step", place, findings)
        if isinstance(loop := step.get("repeat"), dict):
            _check_kind(loop, LOOP_KINDS, "loop", (*place, "repeat"), findings)


def _check_kind(
    fields: Mapping[str, object],
    kinds: tuple[str, ...],
    who: str,
    place: Path,
    findings: Findings,
) -> None:
    stated = [kind for kind in kinds if kind in fields]
    if len(stated) > 1:
        message = f"states {_list(stated, 'and')}; a {who} is one of them"
        findings.add(place, Rule.FIELD_CLASH, message)
        return
    # one that was refused already is what it was to be
    refused = any((*place, kind) in findings for kind in kinds)
    if not stated and not refused:
        message = f"must state {_list(kinds, 'or')}: what the {who} does"
        findings.add(place, Rule.MISSING_FIELD, message)


def _list(kinds: tuple[str, ...] | list[str], word: str) -> str:
    *others, last = (f"`{kind}`" for kind in kinds)
    return f"{', '.join(others)} {word} {last}"
