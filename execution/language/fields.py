"""Sorts the fields of a document into those to read and those to refuse.

Promises: a field is read, refused as not supported yet, reserved or unknown (with
the nearest known name), and never silently ignored, but for `x-…`, which is the
author's own. What later releases are to learn is listed here, so that a plan
written for one of them fails with the reason. Knows field names, not values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ..places import Path
from .breaches import Complaint
from .document import (
    CacheFields,
    ConcurrencyFields,
    Fields,
    ItemFields,
    ParameterFields,
    PlanDocument,
    PolicyFields,
    RepeatFields,
    RetryFields,
    StepFields,
    UndoFields,
)
from .findings import Findings
from .rules import Rule

_RESERVED = frozenset(("switch", "matrix", "include", "env"))
_LATER_IN_DOCUMENT = frozenset(("budget",))
_LATER_IN_POLICY = frozenset(("resources",))
_LATER_IN_STEP = frozenset(
    (
        *("effect", "checkpoint"),
        *_LATER_IN_POLICY,
    )
)

_SYNONYMS = {
    **dict.fromkeys(("task", "uses_action", "run", "call"), "action"),
    **dict.fromkeys(("args", "kwargs", "inputs", "arguments", "params"), "with"),
    **dict.fromkeys(("if", "condition"), "when"),
    **dict.fromkeys(("depends_on", "dependsOn", "after", "requires"), "needs"),
    **dict.fromkeys(("on_error", "onError", "continue_on_error"), "on_failure"),
    **dict.fromkeys(("foreach", "with_items", "loop", "map"), "for_each"),
    **dict.fromkeys(("concurrency", "parallelism"), "max_parallel"),
    **dict.fromkeys(("time_limit", "timeout_seconds"), "timeout"),
    **dict.fromkeys(("max_retries", "max_attempts"), "attempts"),
    **dict.fromkeys(("delay", "countdown", "backoff_start"), "initial"),
    **dict.fromkeys(("backoff", "strategy"), "wait"),
    **dict.fromkeys(("retries", "retry_policy"), "retry"),
    **dict.fromkeys(("name", "key"), "id"),
    **dict.fromkeys(("subplan", "workflow", "sub_workflow", "child"), "plan"),
    **dict.fromkeys(("max_iterations", "count", "limit"), "times"),
    **dict.fromkeys(("while", "retry_until", "break_on"), "until"),
    **dict.fromkeys(("memoize", "memo", "cached"), "cache"),
    **dict.fromkeys(("expires", "expires_in", "max_age", "expiration"), "ttl"),
    **dict.fromkeys(("dependencies", "services"), "uses"),
    "compensate": "undo",
    "params_schema": "parameters",
    "group": "key",
    **dict.fromkeys(("signal", "await", "wait_for_signal", "event"), "wait_for"),
    "schema": "payload",
}
"""What neighbouring tools call a field, and what it is called here."""

_Sort: TypeAlias = Callable[[object, Path, Findings], object]


@dataclass(frozen=True)
class _Level:
    """The fields of one kind of mapping; `inside` sorts what some of them hold.

    What is `nullable` says something when it is null.
    """

    model: type[Fields]
    later: frozenset[str] = frozenset()
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[str, _Sort] = field(default_factory=dict)
    nullable: frozenset[str] = frozenset()

    def known(self) -> frozenset[str]:
        """Return the names of the fields as they are written."""
        fields = self.model.model_fields.items()
        return frozenset(info.alias or name for name, info in fields)

    def sort(self, value: object, path: Path, findings: Findings) -> object:
        """Return the known fields of `value`; what is no mapping stays as it is."""
        if not isinstance(value, dict):
            return value
        known = self.known()
        kept = {}
        for name, item in value.items():
            place = (*path, name)
            if name in known and (item is not None or name in self.nullable):
                inner = self.inside.get(name)
                kept[name] = inner(item, place, findings) if inner else item
            elif not name.startswith("x-"):
                refusal = self._refuse(name, known, findings)
                findings.add(place, refusal.rule, refusal.message)
        return kept

    def _refuse(
        self, name: str, known: frozenset[str], findings: Findings
    ) -> Complaint:
        if name in known:
            message = "is empty; give it a value or leave it out"
            return Complaint(Rule.EMPTY_FIELD, message)
        if name in self.elsewhere:
            return Complaint(Rule.UNKNOWN_FIELD, self.elsewhere[name])
        if name in self.later:
            message = "is not supported by this release yet; leave it out or upgrade"
            return Complaint(Rule.LATER_FIELD, message)
        if name in _RESERVED:
            return Complaint(Rule.RESERVED_FIELD, "is reserved and cannot be used")
        if _SYNONYMS.get(name) in known:
            message = f'is not a field here; write "{_SYNONYMS[name]}"'
            return Complaint(Rule.UNKNOWN_FIELD, message)
        near = findings.suggestion(name, sorted(known | self.later))
        return Complaint(Rule.UNKNOWN_FIELD, f"is not a field here{near}")


def sort_fields(document: object, findings: Findings) -> object:
    """Return a document with known fields only; note all others as faults."""
    return _DOCUMENT.sort(document, (), findings)


def _each_item(sort: _Sort) -> _Sort:
    def sort_items(value: object, path: Path, findings: Findings) -> object:
        if not isinstance(value, list):
            return value
        return [
            sort(item, (*path, index), findings) for index, item in enumerate(value)
        ]

    return sort_items


def _each_value(sort: _Sort) -> _Sort:
    def sort_values(value: object, path: Path, findings: Findings) -> object:
        if not isinstance(value, dict):
            return value
        return {key: sort(item, (*path, key), findings) for key, item in value.items()}

    return sort_values


def _sort_items_rule(value: object, path: Path, findings: Findings) -> object:
    """Rules for items hold rules for items, so the level names itself here."""
    return _ITEMS.sort(value, path, findings)


def _sort_declarations(value: object, path: Path, findings: Findings) -> object:
    """A step may declare what a signal carries as a plan does its parameters."""
    return _each_value(_PARAMETER.sort)(value, path, findings)


_RETRY = _Level(RetryFields)
_CACHE = _Level(CacheFields)
_POLICY = _Level(
    PolicyFields,
    _LATER_IN_POLICY,
    {"cache": "is stated by each step itself: not every result can be used again"},
    {"retry": _RETRY.sort},
)
_REPEAT = _Level(RepeatFields)
_UNDO = _Level(
    UndoFields,
    _LATER_IN_POLICY | {"repeat"},
    {"cache": "cannot be stated here: what undoes a step has to run each time"},
    {"retry": _RETRY.sort},
)
_STEP = _Level(
    StepFields,
    _LATER_IN_STEP,
    dict.fromkeys(("until", "times"), "stands inside of `repeat`, not beside it"),
    {
        "retry": _RETRY.sort,
        "undo": _UNDO.sort,
        "cache": _CACHE.sort,
        "repeat": _REPEAT.sort,
        "payload": _sort_declarations,
    },
    frozenset(("default",)),
)
_ITEMS = _Level(ItemFields, inside={"items": _sort_items_rule})
_PARAMETER = _Level(ParameterFields, inside={"items": _sort_items_rule})
_DOCUMENT = _Level(
    PlanDocument,
    _LATER_IN_DOCUMENT,
    inside={
        "parameters": _each_value(_PARAMETER.sort),
        "profiles": _each_value(_POLICY.sort),
        "defaults": _POLICY.sort,
        "concurrency": _Level(ConcurrencyFields).sort,
        "steps": _each_item(_STEP.sort),
    },
)
