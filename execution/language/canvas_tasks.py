"""What one task of a canvas is given, and what its options are to a step.

What is given by position needs the names of the task's parameters. The app of a
signature can tell them, if the task is imported; a canvas that came as JSON has no app.

Imports nothing of Celery: the app is asked for `tasks` and `conf`, for nothing else.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, TypeAlias

from .canvas_parts import list_items
from .document import MAX_ATTEMPTS, MAX_PRIORITY

Lose: TypeAlias = Callable[[str, str], None]
"""Notes that what stands at a place is lost, and why."""

Origin: TypeAlias = str | tuple[str, ...]
"""Where an input stands in a signature; of a list for `*rest`, each of its items."""

Named: TypeAlias = dict[str, tuple[object, Origin]]
"""Inputs by name, each with its origin; that of a result is the signature itself."""

_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_REDIS = ("redis", "rediss", "sentinel")
_RABBITMQ = ("amqp", "amqps", "pyamqp", "librabbitmq")

_MEANT_FOR_CELERY = frozenset(
    (
        *("task_id", "root_id", "parent_id", "group_id", "group_index", "reply_to"),
        *("chord", "origin", "replaced_task_nesting", "add_to_parent", "result_cls"),
        *("serializer", "compression", "ignore_result", "shadow", "delivery_mode"),
        *("retry", "retry_policy", "producer", "connection", "publisher", "router"),
        "interval",
    )
)
"""Options about messages and results of Celery: there are none, so nothing is lost."""

_RESERVED = "secret://"

_LATER = "a step begins as soon as it can; submit the plan later"
_LOST = {
    "countdown": _LATER,
    "eta": _LATER,
    "expires": "a step waits for as long as it takes; give the plan a deadline",
    "link_error": "no step follows a failure alone; add one with run_on: failure",
    "soft_time_limit": "a step has one timeout; state it as time_limit",
    "headers": "steps have no headers; pass what they hold as an argument",
    "exchange": "a step is sent to a queue; state that",
    "routing_key": "a step is sent to a queue; state that",
}
_UNKNOWN = "means nothing to a plan"
_WHY_RESERVED = (
    "holds text that begins with secret://, for which a plan would put in a secret;"
    " let the task add that beginning"
)


@dataclass(frozen=True)
class KnownTask:
    """What an app tells of a task.

    `by_place` are the names of its parameters, `rest` that of `*rest`. `retries` is how
    often it may ask to be tried again: 0 for one that cannot, None for no limit.
    """

    by_place: tuple[str, ...]
    rest: str | None
    retries: int | None


def find_task(name: str, app: Any) -> KnownTask | None:
    """Return what `app`, if there is one, knows of the task called `name`."""
    task = None if app is None else app.tasks.get(name)
    if task is None:
        return None
    try:
        parameters = list(inspect.signature(task.run).parameters.values())
    except (TypeError, ValueError):
        # written in C, and without a text of its parameters, or nothing to be called
        return None
    rest = [p.name for p in parameters if p.kind is Parameter.VAR_POSITIONAL]
    return KnownTask(
        by_place=tuple(p.name for p in parameters if p.kind in _BY_PLACE),
        rest=rest[0] if rest else None,
        retries=task.max_retries if _can_retry(task) else 0,
    )


def name_arguments(
    signature: Mapping[str, Any],
    given: tuple[object, ...],
    task: KnownTask | None,
    place: str,
    lose: Lose,
) -> Named:
    """Return the arguments of a signature by name; `given` comes before its own.

    What a plan would take for something else is lost, and not among them.
    """
    args = [(value, "") for value in given]
    args += [
        (escape(value), f".args[{index}]")
        for index, value in enumerate(list_items(signature.get("args")))
    ]
    named: Named = {
        name: (escape(value), f".kwargs.{name}")
        for name, value in signature["kwargs"].items()
    }
    if task is not None:
        _name_by_place(named, args, task, place, lose)
    elif args:
        lose(place + args[0][1].partition("[")[0], _say_unnamed(signature["task"]))
    for name in [name for name, (value, _) in named.items() if _holds_secret(value)]:
        where = named.pop(name)[1]
        lose(place + (where if isinstance(where, str) else ".args"), _WHY_RESERVED)
    return named


def _name_by_place(
    named: Named,
    args: Sequence[tuple[object, str]],
    task: KnownTask,
    place: str,
    lose: Lose,
) -> None:
    for name, argument in zip(task.by_place, args, strict=False):
        if name in named:
            lose(f"{place}.kwargs.{name}", "is given by position already")
        named[name] = argument
    rest = args[len(task.by_place) :]
    if rest and task.rest is not None:
        named[task.rest] = ([v for v, _ in rest], tuple(where for _, where in rest))
        return
    for _, where in rest:
        lose(place + where, _say_too_many(task, where))


def _say_unnamed(name: str) -> str:
    return (
        f"the parameters of {name} are not known here, and so what it is given by"
        " position has no name; import the task, or pass arguments by name and make"
        " the signature immutable"
    )


def _say_too_many(task: KnownTask, where: str) -> str:
    if not where:
        return "takes no result of what comes before; make it immutable: .si()"
    return f"is one too many: the task takes {len(task.by_place)} by position"


def _holds_secret(value: object) -> bool:
    match value:
        case str():
            return value.startswith(_RESERVED)
        case dict():
            return any(map(_holds_secret, value.values()))
        case list():
            return any(map(_holds_secret, value))
        case _:
            return False


def escape(value: object) -> object:
    """Return a value in which no text is a template."""
    match value:
        case str():
            return value.replace("${", "$${")
        case Mapping():
            return {key: escape(item) for key, item in value.items()}
        case list() | tuple():
            return [escape(item) for item in value]
        case _:
            return value


def read_policies(
    signature: Mapping[str, Any], app: Any, place: str, lose: Lose
) -> dict[str, object]:
    """Return the fields of a step that the options of a signature come to."""
    policies: dict[str, object] = {}
    for name, value in signature["options"].items():
        if value in (None, [], {}) or name in _MEANT_FOR_CELERY or name == "link":
            continue
        field, read = _READERS.get(name, (name, None))
        stated = read(value, app) if read else _LOST.get(name, _UNKNOWN)
        if isinstance(stated, _Stated):
            policies[field] = stated.value
        else:
            lose(f"{place}.options.{name}", stated)
    return policies


@dataclass(frozen=True)
class _Stated:
    """A field of a step; where there is none, a text says why."""

    value: object


def _read_queue(queue: Any, app: object) -> _Stated | str:
    return _Stated(str(getattr(queue, "name", queue)))


def _read_time_limit(seconds: Any, app: object) -> _Stated | str:
    is_number = isinstance(seconds, int | float) and math.isfinite(seconds)
    if not is_number or seconds < 0.001:
        return "is no number of seconds"
    if seconds == int(seconds):
        return _Stated(f"{int(seconds)}s")
    return _Stated(f"{round(seconds * 1000)}ms")


def _read_priority(priority: Any, app: Any) -> _Stated | str:
    """Return the priority of a step: a higher one is sent first."""
    if not isinstance(priority, int) or not 0 <= priority <= MAX_PRIORITY:
        return f"is no number from 0 to {MAX_PRIORITY}"
    transport = _find_transport(app)
    if transport in _RABBITMQ:
        return _Stated(priority)
    if transport in _REDIS:
        return _Stated(MAX_PRIORITY - priority)
    return (
        f"is the highest on one broker and the lowest on another, and the broker is"
        f" {transport}; state it as the priority of a step"
    )


def _find_transport(app: Any) -> str:
    url = None if app is None else app.conf.broker_url
    first = url if isinstance(url, str) else next(iter(url or ()), "")
    return str(first).partition(":")[0].partition("+")[0] or "unknown"


_READERS: dict[str, tuple[str, Callable[[Any, Any], _Stated | str]]] = {
    "queue": ("queue", _read_queue),
    "time_limit": ("timeout", _read_time_limit),
    "priority": ("priority", _read_priority),
}


def read_retry(task: KnownTask | None) -> dict[str, object]:
    """Return the policy that tries a task again as Celery does: when it asks."""
    if task is None or task.retries == 0:
        return {}
    most = MAX_ATTEMPTS - 1 if task.retries is None else task.retries
    return {
        "retry": {
            "attempts": min(most + 1, MAX_ATTEMPTS),
            "on": ["execution.RetryableError"],
            "wait": "fixed",
            "initial": "1ms",
            "jitter": "0s",
        }
    }


def _can_retry(task: Any) -> bool:
    """Say whether the code can get hold of its task, or has that done for it."""
    code = inspect.getattr_static(type(task), "run", None)
    return not isinstance(code, staticmethod) or hasattr(task, "_orig_run")
