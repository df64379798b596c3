"""What a step does: it calls an action, or is of another kind, and never of two.

Works on what it understands of a faulty document. Knows nothing of what each kind
states beside its own field.
"""

from collections.abc import Mapping

from execution.language.document import STEP_KINDS, WORK_KINDS
from execution.language.fields import LATER_STEP_KINDS
from execution.language.findings import Findings
from execution.language.rules import Rule
from execution.places import Path


def check_kinds(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step, and every loop, that does nothing, or more than one thing."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        place = ("steps", position)
        _check_kind(step, STEP_KINDS, "step", place, findings)
        if isinstance(loop := step.get("repeat"), dict):
            _check_kind(loop, WORK_KINDS, "loop", (*place, "repeat"), findings)


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
    refused = any((*place, kind) in findings for kind in kinds + LATER_STEP_KINDS)
    if not stated and not refused:
        message = f"must state {_list(kinds, 'or')}: what the {who} does"
        findings.add(place, Rule.MISSING_FIELD, message)


def _list(kinds: tuple[str, ...] | list[str], word: str) -> str:
    *others, last = (f"`{kind}`" for kind in kinds)
    return f"{', '.join(others)} {word} {last}"
