"""What differs between two plans: not how they are written, but what they do.

    two plans ─▶ described as mappings, by place ─▶ compared ─▶ changes

Promises: pure. Profiles and defaults are compared where they take effect, in the steps;
needs by name, so that a step is the same wherever it stands; expressions by their
tokens. Two plans without a change do the same, whatever their digests. Must not know
how changes are shown.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from .caching import CacheRule
from .durations import write_duration
from .expressions import spell_bare, spell_template_text
from .places import Path, place_of
from .plan import CompiledStep, Plan, is_recovery
from .recovery import STRATEGY_PREFIX
from .retry import RetryPolicy

_DERIVED = frozenset(
    (
        *("position", "name", "successors", "reads", "item_reads", "max_attempts"),
        *("section", "undoes", "fallback", "stands_in_for", "survives_skips"),
        "tolerate_percent",
        "awaits",
        *("restore", "restore_times"),
    )
)
"""Of a compiled step, what follows from the rest of the plan."""

_WRITTEN_AS = {
    "inputs": "with",
    "subplan": "plan",
    "condition": "when",
    "timeout_seconds": "timeout",
    "deadline_seconds": "deadline",
    "ttl_seconds": "ttl",
    "max_attempts": "attempts",
    "initial_seconds": "initial",
    "max_seconds": "max",
    "jitter_seconds": "jitter",
    "wait_seconds": "wait",
}
"""The names that fields have in a document, where they are others."""

_WORK = ("action", "subplan", "inputs")
"""What stands inside of a loop, where the step is one."""

_SLEEPS = {"for": "sleep", "until": "sleep_until"}

_OF_THE_DOCUMENT = ("name", "version", "description", "tags", "parameters", "result")


class ChangeKind(StrEnum):
    """What became of a value."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class Change:
    """A value that differs; `place` is such as `steps.fetch.retry.attempts`.

    `before` or `after` is None where there is none.
    """

    kind: ChangeKind
    place: str
    before: object
    after: object


@dataclass(frozen=True)
class PlanIdentity:
    """Which plan was compared."""

    name: str
    version: str | None
    digest: str


@dataclass(frozen=True)
class Comparison:
    """What differs between two plans."""

    before: PlanIdentity
    after: PlanIdentity
    changes: tuple[Change, ...]

    @property
    def is_same(self) -> bool:
        """Whether both do the same."""
        return not self.changes


def compare_plans(before: Plan, after: Plan) -> Comparison:
    """Return what differs between two plans, in the order of the second."""
    return Comparison(
        before=_identify(before),
        after=_identify(after),
        changes=tuple(_compare(_describe(before), _describe(after), ())),
    )


def _identify(plan: Plan) -> PlanIdentity:
    return PlanIdentity(plan.name, plan.version, plan.digest)


def _describe(plan: Plan) -> dict[str, object]:
    """Return what a plan says and does, under the names of documents."""
    document = plan.definition
    written: Any = document["steps"]
    steps = {
        step.name: _describe_step(step, plan, fields_written)
        # behind the steps that are written come those that undo them
        for step, fields_written in zip(plan.steps, written, strict=False)
    }
    for step in plan.steps:
        if step.undoes is not None:
            undone = steps[plan.steps[step.undoes].name]
            undone["undo"] = _describe_step(step, plan, {})
    return {
        **{name: document[name] for name in _OF_THE_DOCUMENT if name in document},
        **_write_fields({"deadline_seconds": plan.deadline_seconds}),
        **({"rollback": sorted(plan.rollback)} if plan.rollback else {}),
        **({"failing": "cancel_running"} if plan.cancels_running else {}),
        **_describe_concurrency(plan),
        "steps": steps,
    }


def _describe_concurrency(plan: Plan) -> dict[str, object]:
    stated = plan.concurrency
    if stated is None:
        return {}
    return {
        "concurrency": {
            "key": stated.key,
            "limit": stated.limit,
            "on_conflict": stated.on_conflict.value,
        }
    }


def _describe_step(
    step: CompiledStep, plan: Plan, written: Mapping[str, object]
) -> dict[str, object]:
    effective = {
        field.name: getattr(step, field.name)
        for field in fields(step)
        if field.name not in _DERIVED
    }
    effective["description"] = written.get("description")
    effective["uses"] = step.uses or None
    if step.stands_in_for is None:
        effective["needs"] = sorted(plan.steps[need].name for need in step.needs)
    else:
        del effective["needs"]
    if step.needs and step.stands_in_for is None:
        effective["runs_after_skips"] = step.survives_skips
    if step.fallback is not None and is_recovery(plan.steps[step.fallback]):
        asked = plan.steps[step.fallback].action.removeprefix(STRATEGY_PREFIX)
        effective["on_failure"] = {"strategy": asked}
    elif step.fallback is not None:
        effective["on_failure"] = {"fallback": plan.steps[step.fallback].name}
    work = {name: effective.pop(name) for name in _WORK}
    # what a step runs comes first, as people write it
    del effective["repeat"]
    effective = _describe_work(step, work) | effective
    if step.restore is not None:
        target = plan.steps[step.restore].name
        effective["on_failure"] = {"restore": target, "times": step.restore_times}
    if step.tolerate_percent is not None:
        effective["tolerate"] = f"{step.tolerate_percent:g}%"
    stated = _write_fields(effective)
    if step.wait is not None and "default" in step.wait:
        # null is one as well
        stated["default"] = step.wait["default"]
    return stated


def _describe_work(step: CompiledStep, work: dict[str, object]) -> dict[str, object]:
    """Return what a step runs, and where the document says so."""
    if step.sleep is not None:
        return {_SLEEPS[word]: value for word, value in step.sleep.items()}
    if step.wait is not None:
        return _describe_wait(step, step.wait)
    if step.subplan is not None:
        work["action"] = None
    if step.repeat is None:
        return work
    return {"repeat": _write_fields(work | asdict(step.repeat))}


def _describe_wait(step: CompiledStep, wait: Mapping[str, object]) -> dict[str, object]:
    """Return what a step waits for; in a loop, only the name stands inside of that."""
    if step.repeat is None:
        return dict(wait)
    beside = {name: value for name, value in wait.items() if name != "wait_for"}
    inside = {"wait_for": wait["wait_for"], **asdict(step.repeat)}
    return {"repeat": _write_fields(inside), **beside}


def _write_fields(values: Mapping[str, object]) -> dict[str, object]:
    """Return fields as a document has them, without those that are not set."""
    return {
        _WRITTEN_AS.get(name, name): _write_value(name, value)
        for name, value in values.items()
        if value is not None
    }


def _write_value(name: str, value: object) -> object:
    match value:
        case RetryPolicy() | CacheRule():
            return _write_fields(asdict(value))
        case int() | float() if name.endswith("_seconds"):
            return write_duration(value)
        case tuple():
            return list(value)
        case _:
            return value


def _compare(before: object, after: object, path: Path) -> Iterator[Change]:
    """Yield the smallest parts that differ; lists are compared as a whole."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        # Python calls 1, 1.0 and True equal
        if _spell(before, path) != _spell(after, path):
            yield Change(ChangeKind.CHANGED, place_of(path), before, after)
        return
    for name, value in after.items():
        place = (*path, name)
        if name in before:
            yield from _compare(before[name], value, place)
        else:
            yield Change(ChangeKind.ADDED, place_of(place), None, value)
    for name, value in before.items():
        if name not in after:
            place = (*path, name)
            yield Change(ChangeKind.REMOVED, place_of(place), value, None)


def _spell(value: object, path: Path) -> str:
    """Return a value so that it is equal to another that does the same there."""
    match path:
        case ("steps", _, "when" | "for_each") if isinstance(value, str):
            value = spell_bare(value)
        case ("steps", _, "repeat", "until") if isinstance(value, str):
            value = spell_bare(value)
        case ("steps", _, "with", *_) | ("steps", _, "undo" | "repeat", "with", *_):
            value = _spell_texts(value)
        case ("steps", _, "cache", "key"):
            value = _spell_texts(value)
        case ("result", *_) | ("concurrency", "key"):
            value = _spell_texts(value)
        case _:
            pass
    return json.dumps(value, sort_keys=True)


def _spell_texts(value: object) -> object:
    match value:
        case str():
            return spell_template_text(value)
        case list():
            return [_spell_texts(item) for item in value]
        case dict():
            return {name: _spell_texts(item) for name, item in value.items()}
        case _:
            return value
