"""What a step does: it calls an action, or is of another kind, and never of two.

Works on what it understands of a faulty document. Knows nothing of what each kind
states beside its own field.
"""

from collections.abc import Mapping

from execution.language.document import STEP_KINDS
from execution.language.fields import LATER_STEP_KINDS
from execution.language.findings import Findings
from execution.language.rules import Rule
from execution.places import Path


def check_kinds(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step that does nothing, or more than one thing."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict):
            _check_kind(step, ("steps", position), findings)


def _check_kind(step: Mapping[str, object], place: Path, findings: Findings) -> None:
    stated = [kind for kind in STEP_KINDS if kind in step]
    if len(stated) > 1:
        message = f"states {_list(stated, 'and')}; a step is one of them"
        findings.add(place, Rule.FIELD_CLASH, message)
        return
    # one that was refused already is what the step was to be
    refused = any((*place, kind) in findings for kind in STEP_KINDS + LATER_STEP_KINDS)
    if not stated and not refused:
        message = f"must state {_list(STEP_KINDS, 'or')}: what the step does"
        findings.add(place, Rule.MISSING_FIELD, message)


def _list(kinds: tuple[str, ...] | list[str], word: str) -> str:
    *others, last = (f"`{kind}`" for kind in kinds)
    return f"{', '.join(others)} {word} {last}"
