"""Steps that run a plan: what they may state beside its name.

Works on what it understands of a faulty document. Knows nothing of what is published,
nor of expressions.
"""

from collections.abc import Iterator, Mapping

from ..expressions import texts_of
from ..places import Path
from ..secrets import SCHEME
from .findings import Findings
from .rules import Rule

_REFUSED = {
    "timeout": "is for an attempt, and a plan is begun once; state a `deadline`",
    "retry": "is for an action; the steps of the plan have policies of their own",
    "uses": "is for an action; the steps of the plan state what they use",
    "run_on": "is for a step with an action: the end of an execution begins no other",
}


def check_subplans(document: Mapping[str, object], findings: Findings) -> None:
    """Note every field that means nothing to a step that runs a plan."""
    steps = document.get("steps")
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        for path, work in _list_work(step):
            if "plan" in work:
                for inner, rule, message in _list_faults(step, work, path):
                    findings.add(("steps", position, *inner), rule, message)


def _list_work(
    step: Mapping[str, object],
) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """Yield where a step says what it runs: in itself, or in its loop."""
    yield (), step
    if isinstance(loop := step.get("repeat"), dict):
        yield ("repeat",), loop


def _list_faults(
    step: Mapping[str, object], work: Mapping[str, object], path: Path
) -> Iterator[tuple[Path, Rule, str]]:
    for name, message in _REFUSED.items():
        if name in step:
            yield (name,), Rule.FIELD_CLASH, message
    for inner, text in texts_of(work.get("with")):
        if text.startswith(SCHEME):
            message = (
                "cannot be handed to a plan, which would store it; name the secret in"
                " the step that uses it"
            )
            yield (*path, "with", *inner), Rule.WRONG_SECRET, message
