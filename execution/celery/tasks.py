"""The tasks of a Celery app, as actions under their own names.

A task stays what it is: it is neither wrapped nor changed, and its own messages run it
as before. A step that names it calls it (see `task_call`).

Inputs are passed by name, as those of every action. A parameter that can only be given
by position takes the input of its name, and `*numbers` takes a list called `numbers`.
What the app's settings say of a task holds where a step states nothing else: its time
limit and its queue.

It must not know which steps there are, nor how they are recorded.
"""

import inspect
import logging
from collections.abc import Callable, Collection, Mapping
from functools import update_wrapper
from inspect import Parameter, Signature
from typing import Any

from celery import Celery

from ..actions import Action, is_action_name
from ..context import Context
from ..dispatcher import STEP_TASK
from ..errors import ActionInputError
from .task_call import call_task

logger = logging.getLogger(__name__)

_CELERYS_OWN = "celery."
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
_CONTEXT = Parameter("_plans_context", Parameter.POSITIONAL_ONLY)


class TaskActions:
    """The tasks of one app that its process has imported; two for one app are equal."""

    def __init__(self, app: Celery) -> None:
        """Offer the tasks of `app`, but neither Celery's own nor ours."""
        self._app = app
        self._built: dict[str, tuple[Any, Action]] = {}

    def find(self, name: str) -> Action | None:
        """Return the task called `name` as an action, None when there is none."""
        task, known = self._app.tasks.get(name), self._built.get(name)
        if known is not None and known[0] is task:
            return known[1]
        if task is None or not _is_users(name):
            return None
        action = build_action(task)
        self._built[name] = (task, action)
        return action

    def list_names(self) -> Collection[str]:
        """Return the names of the tasks that are imported by now."""
        return [name for name in list(self._app.tasks) if _is_users(name)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskActions) and other._app is self._app

    def __hash__(self) -> int:
        return hash(id(self._app))


def build_action(task: Any) -> Action:
    """Return the action that calls `task` in a step."""
    signature = _read_signature(task)

    def run(context: Context, /, **inputs: Any) -> Any:
        arguments = _arrange(signature, inputs, task.name)
        return call_task(task, context, *arguments)

    return Action(
        name=task.name,
        function=_describe_as(task, signature, run),
        takes_context=True,
        is_async=False,
        timeout_seconds=_find_timeout_seconds(task),
        queue=_find_queue(task),
        # Celery does so for the tasks that ask for it; others get what was passed
        fills_models=False,
    )


def _is_users(name: str) -> bool:
    return (
        name != STEP_TASK and not name.startswith(_CELERYS_OWN) and is_action_name(name)
    )


def _read_signature(task: Any) -> Signature:
    try:
        return inspect.signature(task.run)
    except (TypeError, ValueError):
        # written in C, and without a text of its parameters, or nothing to be called
        return Signature([Parameter("inputs", Parameter.VAR_KEYWORD)])


def _describe_as(
    task: Any, signature: Signature, run: Callable[..., Any]
) -> Callable[..., Any]:
    """Let `run` look like the task's code to whoever asks for docs and parameters."""
    code = inspect.unwrap(task.run)
    described = update_wrapper(run, code)
    described.__doc__ = code.__doc__ or vars(type(task)).get("__doc__")
    named = [_name_input(parameter) for parameter in signature.parameters.values()]
    described.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect looks for
        parameters=[_CONTEXT, *named]
    )
    return described


def _name_input(parameter: Parameter) -> Parameter:
    match parameter.kind:
        case Parameter.POSITIONAL_ONLY:
            return parameter.replace(kind=Parameter.POSITIONAL_OR_KEYWORD)
        case Parameter.VAR_POSITIONAL:
            return parameter.replace(
                kind=Parameter.KEYWORD_ONLY,
                default=[],
                annotation=_list_of(parameter.annotation),
            )
        case _:
            return parameter


def _list_of(hint: Any) -> Any:
    if hint is Parameter.empty:
        return list
    return f"list[{hint}]" if isinstance(hint, str) else list[hint]


def _arrange(
    signature: Signature, inputs: Mapping[str, Any], name: str
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments by position and those by name; most tasks need the latter.

    Raises ActionInputError when what is to be spread over positions is no list.
    """
    parameters = signature.parameters.values()
    if not any(parameter.kind in _BY_POSITION for parameter in parameters):
        return (), inputs
    bound = signature.bind_partial()
    extra = dict(inputs)
    for parameter in parameters:
        if parameter.kind is Parameter.VAR_KEYWORD:
            bound.arguments[parameter.name] = extra
        elif parameter.name in extra:
            value = extra.pop(parameter.name)
            if parameter.kind is Parameter.VAR_POSITIONAL:
                value = _spread(value, parameter.name, name)
            bound.arguments[parameter.name] = value
    bound.apply_defaults()
    return bound.args, bound.kwargs


def _spread(value: Any, parameter: str, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ActionInputError(
            f"the input {parameter!r} of {name} is passed by position, item by item,"
            f" and must be a list, not {type(value).__name__}"
        )
    return tuple(value)


def _find_timeout_seconds(task: Any) -> float | None:
    # a soft limit counts where it is the only one: both would end the attempt
    limit = task.time_limit or task.soft_time_limit
    return float(limit) if limit else None


def _find_queue(task: Any) -> str | None:
    """Return the queue that the app's settings name for a task, None for the default.

    Nothing is looked up in the app's queues: that would add one that is missing.
    """
    try:
        route = task.app.amqp.router.lookup_route(task.name, (), {}, {}, task)
    except Exception:  # noqa: BLE001  # a router of the user's may look at arguments, and there are none yet
        logger.warning(
            "a router does not say where a task goes", extra={"task": task.name}
        )
        return None
    queue = route.get("queue") if isinstance(route, Mapping) else route
    queue = queue or getattr(task, "queue", None)
    return None if queue is None else str(getattr(queue, "name", queue))
