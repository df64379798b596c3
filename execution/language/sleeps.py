"""Steps that sleep: what they may not state beside it.

Works on what it understands of a faulty document. Knows nothing of durations.
"""

from collections.abc import Mapping

from .findings import Findings
from .kinds import SLEEP_KINDS
from .rules import Rule

_REFUSED = {
    "with": "is for an action; a step that sleeps takes nothing",
    "timeout": "is for an attempt; a step that sleeps may have a `deadline`",
    "retry": "is for an action; nothing is attempted while a step sleeps",
    "uses": "is for an action; a step that sleeps uses nothing",
    "cache": "is for an action; a step that sleeps has no result",
    "for_each": "is for an action or a plan; sleep once, before or after it",
    "undo": "is for an action; nothing is done while a step sleeps",
}


def check_sleeps(document: Mapping[str, object], findings: Findings) -> None:
    """Note every field that means nothing to a step that sleeps."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict) or not any(kind in step for kind in SLEEP_KINDS):
            continue
        for name, message in _REFUSED.items():
            if name in step:
                findings.add(("steps", position, name), Rule.FIELD_CLASH, message)
