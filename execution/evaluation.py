"""What a claimed step is to do, by its expressions: whether, how often, with what.

Promises: an expression is evaluated from the claim alone, and one that was recorded is
not evaluated again. Knows neither the action nor who calls it.
"""

from collections.abc import Mapping
from typing import Any

from .answers import Claim, LoopState
from .caching import CachePlace, compute_digest
from .errors import ExpressionError, LoopExhaustedError
from .expressions import evaluate_condition, evaluate_list, evaluate_template
from .large_values import identify
from .results import encode_json

MOST_ITEMS = 10_000
MOST_ITEM_BYTES = 4 * 2**20
"""Of all items of a step together, as JSON."""
_REMEDY = (
    "hand on the result of a step as a whole, which may be larger"
    " (${steps.STEP.result}), or store it elsewhere and hand on where it lies"
)


def is_wanted(claim: Claim) -> bool:
    """Say whether a step is to run, by its condition.

    An attempt that is repeated is, whatever the condition says by now. Raises
    ExpressionError when it cannot be evaluated, or is neither true nor false.
    """
    if claim.condition is None or claim.recorded_input is not None:
        return True
    place = f"steps.{claim.step}.when"
    return evaluate_condition(claim.condition, claim.scope, place=place)


def evaluate_items(claim: Claim) -> str:
    """Return the items that a step is to be run for, as a JSON array.

    Raises ExpressionError when they are no list or too many, ResultError when they are
    too large.
    """
    place = f"steps.{claim.step}.for_each"
    items = evaluate_list(str(claim.for_each), claim.scope, place=place)
    if len(items) > MOST_ITEMS:
        raise ExpressionError(
            f"{place}: has {len(items):,} items; {MOST_ITEMS:,} are allowed"
        )
    return encode_json(items, place=place, most_bytes=MOST_ITEM_BYTES)


def goes_on(claim: Claim, loop: LoopState) -> bool:
    """Say whether a loop, whose iterations so far have succeeded, has another one.

    Raises LoopExhaustedError when it should and may not, ExpressionError when its
    condition cannot be evaluated, or is neither true nor false.
    """
    if loop.begun == 0 or loop.until is None:
        return loop.begun < loop.times
    place = f"steps.{claim.step}.repeat.until"
    scope = {**claim.scope, "last": loop.result, "index": loop.begun - 1}
    if evaluate_condition(loop.until, scope, place=place):
        return False
    if loop.begun < loop.times:
        return True
    plural = "" if loop.times == 1 else "s"
    raise LoopExhaustedError(
        f"{place}: is still false after {loop.times:,} iteration{plural}, as many as"
        " the plan allows"
    )


def evaluate_inputs(claim: Claim) -> tuple[Mapping[str, Any], str]:
    """Return the inputs of a step, and the JSON text that is recorded of them.

    Raises ExpressionError when one cannot be evaluated, ResultError when they are too
    large.
    """
    place = f"steps.{claim.step}.with"
    inputs = claim.recorded_input
    if inputs is None:
        inputs = evaluate_template(claim.inputs, claim.scope, place=place)
    return inputs, encode_json(inputs, place=place, remedy=_REMEDY)


def evaluate_wait(claim: Claim) -> tuple[Mapping[str, Any], str]:
    """Return which signal a step waits for, and how, and what is recorded of it.

    Raises ExpressionError and ResultError as for inputs.
    """
    place = f"steps.{claim.step}"
    wait = claim.recorded_input
    if wait is None:
        wait = evaluate_template(claim.inputs, claim.scope, place=place)
    return wait, encode_json(wait, place=place, remedy=_REMEDY)


def evaluate_place(claim: Claim, inputs: Mapping[str, Any]) -> CachePlace | None:
    """Return where a step's result is found and stored; None when it never is.

    `inputs` are as they are recorded. Raises ExpressionError when the key
    cannot be evaluated.
    """
    rule = claim.cache
    if rule is None:
        return None
    if rule.key is None:
        digest = compute_digest(claim.action, "inputs", identify(inputs))
    else:
        place = f"steps.{claim.step}.cache.key"
        key = evaluate_template(rule.key, claim.scope, place=place)
        digest = compute_digest(claim.action, "key", identify(key))
    return CachePlace(digest, rule.ttl_seconds)
