"""Small random plans, and the fates of their steps.

A plan is drawn once and used by many seeds: storing it is not what is tried here. What
a step does is drawn for each execution, and known to its action alone.
"""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest
from typing import Any

from execution import Plan, Settings, Step

POOL_SIZE = 60
ACTION = "simulated.work"
STRATEGY = "simulated.decide"
QUEUE = Settings.queue
ASIDE_QUEUE = "aside"
_LISTS = {
    name: {"type": "array", "default": list(range(length))}
    for name, length in (("nothing", 0), ("one", 1), ("some", 5))
}


_UNDO = {"action": ACTION, "with": {"needed": {}}}


class Fate(StrEnum):
    """What becomes of a step, whoever runs it."""

    SUCCEEDS = "succeeds"
    FAILS_FIRST = "fails at first"
    FAILS = "fails"
    KILLS = "kills its process"
    HANGS = "hangs"


class Telling(StrEnum):
    """What an action tells before it ends."""

    NOTHING = "nothing"
    PROGRESS = "progress"
    CHECKPOINT = "checkpoint"
    LINE = "line"
    QUESTION = "question"


@dataclass(frozen=True)
class StepFate:
    """What the action does: how often it fails, how long it takes, what it tells."""

    fate: Fate
    failing_attempts: int
    work_seconds: float
    telling: Telling
    obeys: bool

    def fails(self, attempt: int) -> bool:
        """Say whether this attempt raises."""
        return self.fate is Fate.FAILS or (
            self.fate is Fate.FAILS_FIRST and attempt <= self.failing_attempts
        )


def draw_plans() -> tuple[Plan, ...]:
    """Return the pool, the same each time."""
    dice = random.Random(1)
    return tuple(_draw_plan(dice, number) for number in range(POOL_SIZE))


def draw_inner_plans() -> tuple[Plan, ...]:
    """Return the plans that steps run: published, and one of them within another."""
    work: dict[str, Any] = {"action": ACTION, "with_": {"needed": {}}}
    retry = {"attempts": 2, "max_lost": 3, "initial": "100ms"}
    return (
        Plan("inner-0", steps=[Step("i0", retry=retry, **work), Step("i1", **work)]),
        Plan(
            "inner-1",
            steps=[
                Step("i0", needs=[], retry=retry, undo=_UNDO, **work),
                Step("i1", needs=[], queue=ASIDE_QUEUE, **work),
                Step("i2", needs=["i0"], on_failure="skip", **work),
                Step("e0", run_on="always", deadline="300s", **work),
            ],
            deadline="60s",
            rollback=["on_failure", "on_cancel"],
            result="${steps.i2.result}",
        ),
        Plan(
            "inner-2",
            steps=[
                Step("i0", **work),
                Step("nap", sleep="20s"),
                Step("i1", plan="inner-0"),
            ],
        ),
    )


def draw_keyed_plans() -> tuple[Plan, ...]:
    """Return plans of which only so many run at once; the same each time."""
    dice = random.Random(2)
    return tuple(
        _add_key(dice, plan, number) for number, plan in enumerate(draw_plans()[::4])
    )


def _add_key(dice: random.Random, plan: Plan, number: int) -> Plan:
    concurrency = {
        "key": "all",
        "limit": dice.choice([1, 1, 2]),
        "on_conflict": ("queue", "cancel_older", "queue", "reject")[number % 4],
    }
    fields = {"name": f"keyed-{number}", "concurrency": concurrency}
    return Plan.from_mapping({**plan.definition, **fields})


def draw_fate(dice: random.Random) -> StepFate:
    """Return what becomes of one step."""
    fate = dice.choices(list(Fate), [12, 6, 1.5, 0.5, 0.5])[0]
    return StepFate(
        fate=fate,
        failing_attempts=dice.randint(1, 3),
        work_seconds=dice.choices([0.01, 1.0, 15.0], [8, 3, 1.5])[0],
        obeys=dice.random() < 0.5,
        telling=dice.choices(list(Telling), [6, 2, 2, 3, 1])[0],
    )


def _draw_plan(dice: random.Random, number: int) -> Plan:
    # dice of their own, so that the plans are those of before, with conditions
    conditions = random.Random(f"conditions of {number}")
    caches = random.Random(f"caches of {number}")
    names = [f"s{n}" for n in range(dice.randint(1, 6))]
    is_sequence = dice.random() < 0.4
    # the others end with their last step
    has_sections = dice.random() < 0.25
    has_items = dice.random() < 0.2
    has_fallbacks = dice.random() < 0.2
    steps = []
    for n, name in enumerate(names):
        needs = sorted(dice.sample(names[:n], dice.randint(0, min(n, 3))))
        if is_sequence:
            needs = names[max(n - 1, 0) : n]
        steps.append(
            Step(
                name,
                action=ACTION,
                with_={"needed": {need: f"${{steps.{need}.result}}" for need in needs}},
                needs=None if is_sequence else needs,
                when=_draw_condition(conditions, needs),
                queue=dice.choice([None, None, None, ASIDE_QUEUE]),
                on_failure=dice.choice(["skip", "abort"]),
                timeout=dice.choice([None, None, "30s"]),
                deadline=dice.choice([None, None, None, "40s"]),
                retry=_draw_retry(dice),
                undo=(undo := _draw_undo(dice, name) if has_sections else None),
                cache=_draw_cache(caches) if undo is None else None,
                **(_draw_items(dice) if has_items and dice.random() < 0.5 else {}),
            )
        )
    steps = _draw_subplans(random.Random(f"plans within {number}"), steps)
    if has_fallbacks:
        steps = _add_fallbacks(dice, steps)
    # with dice of their own, for the same reason
    steps = _add_restores(random.Random(f"restores of {number}"), steps)
    steps = _make_loops(random.Random(f"loops of {number}"), steps)
    if has_sections:
        steps += [_draw_end_step(dice, f"e{n}") for n in range(dice.randint(0, 2))]
    return Plan(
        f"simulated-{number}",
        steps=steps,
        parameters=_LISTS,
        deadline=dice.choice([None, None, None, "60s"]),
        rollback=dice.choice(["on_failure", ["on_failure", "on_cancel"], "on_cancel"]),
        failing=dice.choice(["finish_running", "cancel_running"]),
    )


def _draw_subplans(dice: random.Random, steps: list[Step]) -> list[Step]:
    """Let some steps of some plans run a plan instead of the action."""
    if dice.random() < 0.75:
        return steps
    return [
        replace(
            step,
            action=None,
            plan=f"inner-{dice.choice([0, 0, 1, 2])}",
            with_=None,
            timeout=None,
            retry=None,
            cache=None,
        )
        if dice.random() < 0.5
        else step
        for step in steps
    ]


def _add_fallbacks(dice: random.Random, steps: list[Step]) -> list[Step]:
    """Let some steps have a fallback, and some of those one more."""
    added: list[Step] = []
    for n, step in enumerate(steps):
        if step.for_each is not None or dice.random() < 0.5:
            continue
        length = dice.randint(1, 2)
        names = [f"f{n}_{link}" for link in range(length)]
        steps[n] = replace(step, on_failure={"fallback": names[0]})
        choices = [{"fallback": name} for name in names[1:]]
        for name, choice in zip_longest(names, choices):
            on_failure = choice or dice.choice(["skip", "abort"])
            added.append(_draw_fallback(dice, name, on_failure))
    return steps + added


def _add_restores(dice: random.Random, steps: list[Step]) -> list[Step]:
    """Let the failure of some steps go back to before one that they wait for.

    Others ask a strategy.
    """
    if dice.random() < 0.7:
        return steps
    before: dict[str, list[str]] = {}
    restoring = []
    for step in steps:
        needs = list(before)[-1:] if step.needs is None else step.needs
        is_fallback = step.id.startswith("f")
        trail = {name for need in needs for name in before[need]}
        reachable = [step.id] if is_fallback else [*sorted(trail), step.id]
        if not is_fallback:
            before[step.id] = reachable
        if step.for_each is None and isinstance(step.on_failure, str):
            choice: dict[str, Any] = {"strategy": STRATEGY}
            if dice.random() < 0.6:
                target, times = dice.choice(reachable), dice.randint(1, 3)
                choice = {"restore": target, "times": times}
            if dice.random() < 0.6:
                step = replace(step, on_failure=choice)
        restoring.append(step)
    return restoring


def _make_loops(dice: random.Random, steps: list[Step]) -> list[Step]:
    """Let some steps repeat what they would have done once."""
    conditions = [None, "index >= 1", "index >= 2", "last.attempt > 1", "false"]
    looping = []
    for step in steps:
        is_fallback = step.id.startswith("f")
        can_loop = not (is_fallback or step.for_each or step.cache)
        if can_loop and dice.random() < 0.2:
            inputs = {**(step.with_ or {}), "before": "${last}"}
            repeat: dict[str, Any] = {"action": ACTION, "with": inputs}
            if step.plan:
                repeat = {"plan": step.plan}
            repeat["times"] = dice.randint(1, 4)
            if until := dice.choice(conditions):
                repeat["until"] = until
            if dice.random() < 0.3:
                repeat["wait"] = dice.choice(["500ms", "4s"])
            step = replace(step, action=None, plan=None, with_=None, repeat=repeat)
        looping.append(step)
    return looping


def _draw_fallback(dice: random.Random, name: str, on_failure: Any) -> Step:
    return Step(
        name,
        action=ACTION,
        with_={"needed": {}},
        queue=dice.choice([None, ASIDE_QUEUE]),
        deadline=dice.choice([None, None, "40s"]),
        on_failure=on_failure,
        retry=_draw_retry(dice),
    )


def _draw_items(dice: random.Random) -> dict[str, Any]:
    return {
        "for_each": f"parameters.{dice.choice(list(_LISTS))}",
        "max_parallel": dice.choice([None, 1, 2, 3]),
        "tolerate": dice.choice([None, None, 0, 1, "50%"]),
    }


def _draw_undo(dice: random.Random, name: str) -> dict[str, object] | None:
    if dice.random() < 0.4:
        return None
    return {
        "action": ACTION,
        "with": {"needed": {name: "${step.result}"}},
        "retry": _draw_retry(dice),
        **dice.choice([{}, {"queue": ASIDE_QUEUE}]),
    }


def _draw_end_step(dice: random.Random, name: str) -> Step:
    return Step(
        name,
        action=ACTION,
        with_={"needed": {}},
        run_on=dice.choice(["always", "failure"]),
        queue=dice.choice([None, ASIDE_QUEUE]),
        deadline="300s",
        retry=_draw_retry(dice),
    )


def _draw_cache(dice: random.Random) -> dict[str, object] | None:
    """Return a rule for one step in twenty: others of the seed use its result again."""
    if dice.random() > 0.05:
        return None
    return {"ttl": dice.choice(["1s", "30s", "1h"]), "key": dice.choice("ab")}


def _draw_condition(dice: random.Random, needs: list[str]) -> str | None:
    drawn = dice.random()
    if drawn < 0.1:
        return "false"
    if drawn < 0.3 and needs:
        return f'steps.{dice.choice(needs)}.status == "completed"'
    return None


def _draw_retry(dice: random.Random) -> dict[str, object]:
    return {
        "attempts": dice.randint(1, 3),
        "max_lost": dice.randint(2, 4),
        # the longer waits are sat out in the database
        "initial": dice.choice(["100ms", "1s", "5s"]),
    }
