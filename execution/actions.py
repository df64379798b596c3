"""The code that steps call: the decorator, the registry, and how it is found.

An action is a plain or `async def` function under a stable name. It gets the step's
inputs as keyword arguments and, if its first parameter is called `ctx` or is
annotated `Context`, the context first. Workers import the modules that
`PLANS_IMPORTS` names and find there what registered itself; a registry can be told of
sources that have more.

What they take and return is described by `signatures`, models among it by `conversion`.
Knows nothing of plans, queues or the database, nor where sources have theirs from.
"""

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, cast, runtime_checkable

from .conversion import Convert, MisfitError, build_converter, dump_models
from .coroutines import run_coroutine
from .dependencies import NAME_RULE, is_dependency_name
from .durations import DurationError, parse_duration_seconds
from .errors import (
    ActionExitError,
    ActionInputError,
    ActionRegistrationError,
    SettingsError,
)
from .hints import read_hints
from .recovery import STRATEGY_PREFIX
from .signatures import describe_doc, describe_signature

_P = ParamSpec("_P")
_R = TypeVar("_R", covariant=True)

_MOST_NAME_CHARACTERS = 200


@runtime_checkable
class ActionFunction(Protocol[_P, _R]):
    """A decorated function: callable as before, and named."""

    action_name: str

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call the function itself, outside any plan."""
        ...


@dataclass(frozen=True)
class Action:
    """An action.

    `queue` is where its steps go that state none, if it has one. Models of pydantic are
    made of inputs, unless not `fills_models`: others see to that. `read_result` makes
    JSON of what the function returns. Of an action without `capture`, what it logs and
    prints is not stored. `uses` names the services that it calls on. One that `yields`
    ends at a checkpoint when that is asked for.
    """

    name: str
    function: Callable[..., Any]
    takes_context: bool
    is_async: bool
    timeout_seconds: float | None
    queue: str | None = None
    fills_models: bool = True
    read_result: Callable[[Any], Any] = dump_models
    capture: bool = True
    uses: tuple[str, ...] = ()
    yields: bool = False

    @cached_property
    def signature(self) -> inspect.Signature:
        """The parameters of the function, its context among them."""
        return inspect.signature(self.function)

    @property
    def parameters(self) -> tuple[inspect.Parameter, ...]:
        """The parameters that inputs are passed to: all but the context."""
        every = tuple(self.signature.parameters.values())
        return every[1:] if self.takes_context else every

    def call(self, context: object, inputs: Mapping[str, Any]) -> Any:
        """Call the function with its inputs; wait for it, if it is `async def`.

        Inputs for parameters that are models of pydantic become such, and models that
        are returned become JSON. Code that is awaited is cancelled when the context is
        a `Summoned` that says so. Raises ActionInputError for inputs that do not fit,
        and ActionExitError when the code tries to end its process.
        """
        leading = (context,) if self.takes_context else ()
        inputs = self._convert(inputs)
        try:
            returned = self.function(*leading, **inputs)
            if self.is_async:
                returned = run_coroutine(returned, context)
            return self.read_result(returned)
        except asyncio.CancelledError as error:
            raise ActionExitError(f"action {self.name} was cancelled inside") from error
        except SystemExit as error:
            if type(error) is not SystemExit or _is_signal(error.code):
                # not the code's wish but the pool's, which ends this process
                raise
            raise ActionExitError(
                f"action {self.name} called sys.exit({error.code!r}); return or raise"
            ) from error

    def check_inputs(self, inputs: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the inputs' names, None when they fit."""
        leading = (None,) if self.takes_context else ()
        try:
            self.signature.bind(*leading, **inputs)
        except TypeError as error:
            return f"{error}; the action is {self.name}{self.signature}"
        return None

    def describe(self) -> dict[str, Any]:
        """Return what the catalogue keeps; see `signatures` for the signature."""
        described: dict[str, Any] = {
            "name": self.name,
            "doc": describe_doc(self.function),
            "signature": describe_signature(self.function, self.parameters),
            "timeout_seconds": self.timeout_seconds,
        }
        if self.queue is not None:
            described["queue"] = self.queue
        if self.uses:
            described["uses"] = list(self.uses)
        return described

    @cached_property
    def _converters(self) -> Mapping[str, Convert]:
        if not self.fills_models:
            return {}
        hints = read_hints(self.function)
        built = ((p.name, build_converter(hints[p.name])) for p in self.parameters)
        return {name: convert for name, convert in built if convert is not None}

    def _convert(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._converters:
            return inputs
        converted, misfits = dict(inputs), []
        for name, value in inputs.items():
            convert = self._find_converter(name)
            try:
                converted[name] = convert(value) if convert else value
            except MisfitError as error:
                misfits.append(f"{name}: {error}")
        if misfits:
            raise ActionInputError(
                f"the inputs do not fit action {self.name}: {'; '.join(misfits)}"
            )
        return converted

    def _find_converter(self, name: str) -> Convert | None:
        if name not in self.signature.parameters:
            others = (p.name for p in self.parameters if p.kind is p.VAR_KEYWORD)
            name = next(others, name)
        return self._converters.get(name)


class ActionSource(Protocol):
    """Where a registry finds actions that did not register themselves."""

    def find(self, name: str) -> Action | None:
        """Return the action called `name`, None when there is none."""

    def list_names(self) -> Collection[str]:
        """Return the names of all its actions."""


class ActionRegistry:
    """Actions by name; a name belongs to one function.

    What registered itself goes before what a source has under the same name.
    """

    def __init__(self) -> None:
        """Begin without any action."""
        self._actions: dict[str, Action] = {}
        self._sources: list[ActionSource] = []

    def add(
        self,
        name: str,
        function: Callable[..., Any],
        timeout: str | None,
        *,
        read_result: Callable[[Any], Any] = dump_models,
        capture: bool = True,
        uses: Iterable[str] = (),
        yields: bool = False,
    ) -> Action:
        """Register `function` under `name`; the rest is that of the action.

        Raises ActionRegistrationError when a name is malformed or taken by another
        function, or when the function could not be called with named inputs.
        """
        _check_name(name, function)
        self._refuse_another(name, function)
        takes_context = _takes_context(function)
        if yields and not takes_context:
            raise ActionRegistrationError(
                f"action {name!r} yields at its checkpoints, and takes no context to"
                " save one with; name its first parameter `ctx`"
            )
        action = Action(
            name=name,
            function=function,
            takes_context=takes_context,
            is_async=inspect.iscoroutinefunction(function),
            timeout_seconds=_read_timeout(name, timeout),
            read_result=read_result,
            capture=capture,
            uses=_read_uses(name, uses),
            yields=yields,
        )
        self._actions[name] = action
        return action

    def _refuse_another(self, name: str, function: Callable[..., Any]) -> None:
        known = self._actions.get(name)
        if known is not None and _origin(known.function) != _origin(function):
            raise ActionRegistrationError(
                f"action {name!r} is registered twice: by {_origin(known.function)} and"
                f" by {_origin(function)}; give one of them another name"
            )

    def add_source(self, source: ActionSource) -> None:
        """Look in `source`, too; one that equals a known source is known already."""
        if source not in self._sources:
            self._sources.append(source)

    def get(self, name: str) -> Action:
        """Return the action called `name`; raises KeyError when there is none."""
        if name in self._actions:
            return self._actions[name]
        for source in self._sources:
            found = source.find(name)
            if found is not None:
                return found
        raise KeyError(name)

    def list_names(self) -> list[str]:
        """Return the names of all actions, in order."""
        return sorted(
            {
                *self._actions,
                *(n for source in self._sources for n in source.list_names()),
            }
        )

    def to_json(self) -> str:
        """Return the catalogue's entries of all actions, as a JSON array."""
        return json.dumps([self.get(name).describe() for name in self.list_names()])

    def __len__(self) -> int:
        """Return how many actions there are."""
        return len(self.list_names())


registry = ActionRegistry()
"""Where `@action` registers; one per process."""


def action(
    name: str,
    *,
    timeout: str | None = None,
    capture: bool = True,
    uses: Iterable[str] = (),
    yields: bool = False,
) -> Callable[[Callable[_P, _R]], ActionFunction[_P, _R]]:
    """Register the decorated function as the action `name`.

    `timeout` (such as `30s`) holds for every step that states none. Without `capture`,
    what the function logs and prints is not stored; `ctx.log` is. Each of its steps
    waits while something is paused that it `uses`. One that `yields` may end at
    `ctx.save_checkpoint`, when its execution is paused or its worker is to stop: the
    next attempt goes on from there. The function stays callable as it was.
    """

    if name.startswith(STRATEGY_PREFIX):
        raise ActionRegistrationError(
            f"action {name!r} is called as a strategy; use @recovery_strategy"
        )

    def register(function: Callable[_P, _R]) -> ActionFunction[_P, _R]:
        registry.add(name, function, timeout, capture=capture, uses=uses, yields=yields)
        function.action_name = name  # type: ignore[attr-defined]  # what makes it an ActionFunction
        return cast("ActionFunction[_P, _R]", function)

    return register


def import_actions(modules: Iterable[str]) -> None:
    """Import every module in `modules`, so that its actions register themselves.

    The working directory is searched too, as `celery -A` does. Raises SettingsError
    naming the module that does not import.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise SettingsError(
                f"PLANS_IMPORTS names {module!r}, which does not import: {error}"
            ) from error


def is_action_name(name: str) -> bool:
    """Say whether an action can be called `name`."""
    return 0 < len(name) <= _MOST_NAME_CHARACTERS and not any(
        c.isspace() or not c.isprintable() for c in name
    )


def _check_name(name: str, function: Callable[..., Any]) -> None:
    if not is_action_name(name):
        raise ActionRegistrationError(
            f"action name {name!r} must be 1 to 200 printable characters without spaces"
        )
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ActionRegistrationError(
                f"action {name!r}: inputs are passed by name, so the parameter"
                f" {parameter.name!r} of {_origin(function)} cannot be positional"
            )


def _read_timeout(name: str, timeout: str | None) -> float | None:
    if timeout is None:
        return None
    try:
        return parse_duration_seconds(timeout)
    except DurationError as error:
        raise ActionRegistrationError(
            f"action {name!r}: timeout={timeout!r} {error}"
        ) from error


def _read_uses(name: str, uses: Iterable[str]) -> tuple[str, ...]:
    if isinstance(uses, str):
        raise ActionRegistrationError(
            f"action {name!r}: uses={uses!r} is one text; write uses=[{uses!r}]"
        )
    stated = tuple(sorted(set(uses)))
    for dependency in stated:
        if not is_dependency_name(dependency):
            raise ActionRegistrationError(
                f"action {name!r}: {dependency!r} in uses {NAME_RULE}"
            )
    return stated


def _takes_context(function: Callable[..., Any]) -> bool:
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None:
        return False
    annotation = first.annotation
    named = (
        annotation
        if isinstance(annotation, str)
        else getattr(annotation, "__name__", "")
    )
    return first.name == "ctx" or named.rpartition(".")[2] == "Context"


def _is_signal(code: object) -> bool:
    # billiard ends a pool's process by sys.exit(-(256 - signal)) in its signal handler
    return isinstance(code, int) and code < 0


def _origin(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
