"""What could leave a step of a plan out, in words.

    own reasons (condition, policy, fallbacks) ─▶ run on to those that need the step

Promises: pure; in time that grows with the steps and edges. A condition that is known
to hold is no reason. Must not know how anything is shown.
"""

from collections.abc import Sequence

from .plan import CompiledStep, OnFailure
from .reads import show_bare
from .waves import sort_by_needs

_MOST_NAMED = 5


def find_reasons_to_skip(
    steps: Sequence[CompiledStep], holding: Sequence[bool | None]
) -> list[list[str]]:
    """Return, for each step, what could skip it; skips run on to what needs them.

    `holding` says for each step whether its condition is true, None if that is open.
    """
    own = find_own_reasons(steps, holding)
    reasons: list[list[str]] = [[] for _ in steps]
    for position in sort_by_needs([step.needs for step in steps]):
        step = steps[position]
        reasons[position] = [*_find_idle_reasons(step, steps), *own[position]]
        passes_on = step.needs and not step.survives_skips and not is_fallback(step)
        if passes_on and all(reasons[need] for need in step.needs):
            names = name_some([steps[need].name for need in step.needs])
            verb = "is" if len(step.needs) == 1 else "are all"
            reasons[position].append(f"{names} {verb} skipped")
    return reasons


def find_own_reasons(
    steps: Sequence[CompiledStep], holding: Sequence[bool | None]
) -> list[list[str]]:
    """Return, for each step, what could skip it once its turn has come."""
    own: list[list[str]] = [[] for _ in steps]
    # a fallback first: what skips it, skips the step that it stands in for
    for position in reversed(list(sort_by_needs([step.needs for step in steps]))):
        step = steps[position]
        if step.condition is not None and holding[position] is not True:
            own[position].append(f"its condition is false: {show_bare(step.condition)}")
        if step.on_failure is OnFailure.SKIP:
            own[position].append(_describe_failure(step))
        if step.on_failure is OnFailure.STRATEGY:
            own[position].append("it fails for good, and its strategy decides so")
        elif step.fallback is not None and own[step.fallback]:
            name = steps[step.fallback].name
            own[position].append(f"it fails for good, and {name} is skipped")
    return own


def is_fallback(step: CompiledStep) -> bool:
    """Whether a step stands in for another: then it is outside of the order."""
    return step.stands_in_for is not None


def name_some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    named = ", ".join(names[:_MOST_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named


def _find_idle_reasons(step: CompiledStep, steps: Sequence[CompiledStep]) -> list[str]:
    """Return why the turn of a step would never come."""
    reasons = []
    if step.undoes is not None:
        undone = steps[step.undoes].name
        reasons.append(f"{undone} has not completed, or is not undone")
    if step.run_on == "failure":
        reasons.append("all goes well")
    if step.stands_in_for is not None:
        reasons.append(f"{steps[step.stands_in_for].name} does not fail for good")
    return reasons


def _describe_failure(step: CompiledStep) -> str:
    if step.for_each is None:
        return "it fails for good"
    # its items are skipped one by one, and it is not
    late = "" if step.deadline_seconds is None else ", or its deadline passes"
    return f"its list cannot be evaluated{late}"
