"""Random plans with the fates of their steps: all that can come of an execution.

Knows what may be written, and nothing of what comes of it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.nodes import Fate

ACTION = "play.step"
PARAMETERS = {"none": [], "some": ["a", "b", "c", "d"], "text": "no list"}


@dataclass(frozen=True)
class Scenario:
    """A document, and the seed of what becomes of its steps."""

    document: dict[str, Any]
    seed: int
    share_of_failures: float

    def fate_of(self, step: str) -> Fate:
        """Return what the code of a step does; the same whenever it is asked."""
        dice = random.Random(f"{self.seed} {step}")
        fails = dice.random() < self.share_of_failures
        return Fate(
            failing_attempts=dice.choice([1, 1, 2, 9]) if fails else 0,
            is_fatal=dice.random() < 0.15,
            asks=dice.random() < 0.3,
            items=dice.randint(0, 4),
        )


def draw_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    dice = random.Random(seed)
    names = [f"s{n}" for n in range(dice.randint(1, 8))]
    is_sequence = dice.random() < 0.4
    steps: list[dict[str, Any]] = []
    for n, name in enumerate(names):
        needs = sorted(dice.sample(names[:n], dice.randint(0, min(n, 3))))
        readable = names[:n] if is_sequence else needs
        step = _draw_step(dice, name, readable, has_items=dice.random() < 0.25)
        steps.append(step if is_sequence else {**step, "needs": needs})
    # dice of their own, so that the rest is that of before
    _make_loops(random.Random(f"loops of {seed}"), steps)
    steps += _add_fallbacks(dice, steps)
    _add_restores(random.Random(f"restores of {seed}"), steps)
    every = [step["id"] for step in steps]
    for n in range(dice.choice([0, 0, 1, 2])):
        steps.append(_draw_end_step(dice, f"e{n}", [*every, *(["e0"] if n else [])]))
    document = {
        "format": 1,
        "name": "random",
        "parameters": {
            "none": {"type": "array"},
            "some": {"type": "array"},
            "text": {"type": "string"},
        },
        "rollback": dice.choice(
            ["on_failure", "on_cancel", ["on_failure", "on_cancel"]]
        ),
        "failing": dice.choice(["finish_running", "cancel_running"]),
        "steps": steps,
    }
    if dice.random() < 0.5:
        read = dice.sample(every, min(len(every), 3))
        document["result"] = _draw_inputs(dice, read, share_of_risks=0.2)
    return Scenario(document, seed, dice.choice([0.0, 0.1, 0.3, 0.6]))


def _draw_step(
    dice: random.Random, name: str, readable: Sequence[str], *, has_items: bool
) -> dict[str, Any]:
    step: dict[str, Any] = {"id": name, "action": ACTION, **_draw_policies(dice)}
    step["on_failure"] = dice.choice(["skip", "skip", "abort"])
    if condition := _draw_condition(dice, readable):
        step["when"] = condition
    step["with"] = {"saw": _draw_inputs(dice, readable)}
    if dice.random() < 0.4:
        step["undo"] = {"action": ACTION, **_draw_policies(dice)}
        step["undo"]["with"] = {"saw": ["${step.result}", "${step.status}"]}
    if has_items:
        step |= _draw_items(dice, readable)
        step["with"]["saw"] = ["${item}", "${index}", step["with"]["saw"]]
    return step


def _draw_items(dice: random.Random, readable: Sequence[str]) -> dict[str, Any]:
    lists = ["parameters.some", "parameters.some", "parameters.none"]
    lists += [f"steps.{name}.result.items" for name in readable]
    lists += ["parameters.text"] * (dice.random() < 0.1)
    written: dict[str, Any] = {"for_each": dice.choice(lists)}
    if dice.random() < 0.6:
        written["max_parallel"] = dice.randint(1, 3)
    if dice.random() < 0.6:
        written["tolerate"] = dice.choice([0, 1, 2, "0%", "25%", "30%", "50%", "100%"])
    return written


def _make_loops(dice: random.Random, steps: list[dict[str, Any]]) -> None:
    """Let some steps repeat what they would have done once."""
    for step in steps:
        if "for_each" in step or dice.random() < 0.8:
            continue
        saw = ["${last}", "${index}", step.pop("with")["saw"]]
        repeat = {"action": step.pop("action"), "with": {"saw": saw}}
        repeat["times"] = dice.randint(1, 4)
        if dice.random() < 0.7:
            conditions = ["last.ok", "last.ok", "true", "false", "last.none", "index"]
            repeat["until"] = dice.choice(conditions)
        if dice.random() < 0.3:
            repeat["wait"] = "5s"
        step["repeat"] = repeat


def _add_fallbacks(
    dice: random.Random, steps: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Let some steps have a fallback, and some of those one more."""
    added = []
    for step in steps:
        if "for_each" in step or dice.random() < 0.65:
            continue
        failing = step
        for link in range(dice.choice([1, 1, 2, 3])):
            fallback = _draw_step(dice, f"f_{step['id']}_{link}", [], has_items=False)
            fallback.pop("when", None)
            fallback["with"]["saw"] = ["${failure.code}", "${failure.step}"]
            failing["on_failure"] = {"fallback": fallback["id"]}
            added.append(fallback)
            failing = fallback
    return added


def _add_restores(dice: random.Random, steps: list[dict[str, Any]]) -> None:
    """Let the failure of some steps lead back, to themselves or to an earlier one."""
    if dice.random() < 0.6:
        return
    reached: dict[str, list[str]] = {}
    for step in steps:
        is_fallback = step["id"].startswith("f_")
        needs = step.get("needs", list(reached)[-1:])
        before = {name for need in needs for name in reached[need]}
        targets = [step["id"]] if is_fallback else [*sorted(before), step["id"]]
        if not is_fallback:
            reached[step["id"]] = targets
        has_choice = "for_each" in step or isinstance(step["on_failure"], dict)
        if not has_choice and dice.random() < 0.5:
            times = dice.randint(1, 3)
            step["on_failure"] = {"restore": dice.choice(targets), "times": times}


def _draw_end_step(
    dice: random.Random, name: str, readable: Sequence[str]
) -> dict[str, Any]:
    step = _draw_step(dice, name, readable, has_items=False)
    step.pop("undo", None)
    run_on = dice.choice(["always", "failure"])
    return {**step, "run_on": run_on, "deadline": "1h"}


def _draw_condition(dice: random.Random, readable: Sequence[str]) -> str | None:
    if dice.random() < 0.6:
        return None
    if not readable or dice.random() < 0.2:
        return dice.choice(["true", "false"])
    name = dice.choice(readable)
    return dice.choice(
        [
            f'steps.{name}.status == "completed"',
            f'steps.{name}.status == "skipped"',
            f"steps.{name}.error == null",
            f"steps.{name}.result == null",
            f"steps.{name}.result.ok",
            f"size(completed(steps.{name}.results)) > 1",
        ]
    )


def _draw_inputs(
    dice: random.Random, readable: Sequence[str], share_of_risks: float = 0.05
) -> list[Any]:
    read: list[Any] = []
    for name in readable:
        read += [f"${{steps.{name}.status}}", f"${{steps.{name}.results}}"]
        if dice.random() < share_of_risks:
            read.append({"risk": f"${{steps.{name}.result.step}}"})
    if readable and dice.random() < 0.3:
        read.append(f"${{steps.{dice.choice(readable)}.result}}")
    return read


def _draw_policies(dice: random.Random) -> dict[str, Any]:
    retry = {"attempts": dice.randint(1, 3), "jitter": "0s"}
    # the longer wait is sat out in the database
    retry |= dice.choice([{"initial": "1ms", "max": "1ms"}, {"initial": "5s"}])
    return {"retry": retry, "priority": dice.randint(0, 2)}
