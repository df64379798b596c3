"""Steps whose result may be used again: what cannot be stated beside that.

Works on what it understands of a faulty document. Knows nothing of expressions.
"""

from collections.abc import Mapping

from .findings import Findings
from .rules import Rule

_NOT_BESIDE = {
    "run_on": "a step of the end has to run each time",
    "undo": "a result that is used again has no effect to take back",
}


def check_caches(document: Mapping[str, object], findings: Findings) -> None:
    """Note every step whose result cannot be used again, and which says it may."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict) or "cache" not in step:
            continue
        if "action" not in step:
            message = "means nothing here: only what an action returns is used again"
            findings.add(("steps", position, "cache"), Rule.IDLE_FIELD, message)
        for name, reason in _NOT_BESIDE.items():
            if name in step:
                message = f"cannot be stated beside `{name}`: {reason}"
                findings.add(("steps", position, "cache"), Rule.FIELD_CLASH, message)
