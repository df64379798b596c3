"""Plans of the pool in some of whose steps nothing is done: they wait for a signal."""

import random
from collections.abc import Mapping
from typing import Any

from execution.plan import Plan
from tests.simulation.plans import draw_plans

SIGNALS = ("go", "go", "stop")
"""What is waited for; the first of them more often."""
_ONLY_OF_ACTIONS = frozenset(
    {"action", "with", "retry", "cache", "undo", "timeout", "deadline", "queue"}
)


def draw_awaiting_plans() -> tuple[Plan, ...]:
    """Return plans of the pool, some of whose steps wait; the same each time."""
    dice = random.Random(3)
    drawn = [
        _add_waits(dice, plan, number)
        for number, plan in enumerate(draw_plans())
        if not any("plan" in step for step in _list_steps(plan))
    ]
    return tuple(plan for plan in drawn if plan is not None)


def _add_waits(dice: random.Random, plan: Plan, number: int) -> Plan | None:
    steps = [
        _let_wait(dice, step) if _can_wait(step) and dice.random() < 0.4 else step
        for step in _list_steps(plan)
    ]
    if not any("wait_for" in step for step in steps):
        return None
    fields = {"name": f"awaiting-{number}", "steps": steps}
    return Plan.from_mapping({**plan.definition, **fields})


def _list_steps(plan: Plan) -> list[Mapping[str, Any]]:
    steps = plan.definition["steps"]
    assert isinstance(steps, list)
    return steps


def _can_wait(step: Mapping[str, Any]) -> bool:
    is_plain = not step.keys() & {"for_each", "repeat", "undo", "run_on", "cache"}
    return is_plain and step["id"].startswith("s")


def _let_wait(dice: random.Random, step: Mapping[str, Any]) -> Mapping[str, Any]:
    kept = {name: step[name] for name in step if name not in _ONLY_OF_ACTIONS}
    waits: dict[str, Any] = {"wait_for": dice.choice(SIGNALS)}
    if dice.random() < 0.4:
        waits |= {"timeout": dice.choice(["5s", "30s"])}
        if dice.random() < 0.7:
            waits |= {"default": "nobody said anything"}
    return {**kept, **waits}
