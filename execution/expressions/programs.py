"""Compiles and runs what is more than a path, by the library for CEL.

Promises: nothing that the library does ends the process: it runs on a stack that is
large enough for all that passes the scanner, and even its panics become
TemplateError. It is loaded with the first expression that needs it, and is given only
what the expression names, because it converts everything before it begins. What comes
out is JSON, with integers within ±2^53 and keys in order.

Knows nothing of templates, or of what the roots mean.
"""

import importlib.machinery
import importlib.util
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import cache, lru_cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ..large_values import LargeValue, load_all
from .complaints import describe_failure, describe_syntax
from .forms import LOOP_NAME, CelExpression, Loop
from .functions import FUNCTIONS
from .paths import name_kind
from .scanner import TemplateError

if TYPE_CHECKING:
    from cel import Context, Program

Value = TypeVar("Value")

_STACK_BYTES = 4 * 1024 * 1024
"""Four times of what the longest and deepest expressions were seen to need."""
_MAX_INTEGER = 2**53
_starting = threading.Lock()


def _forget_lock() -> None:
    """Let a forked child start threads, though its parent was just starting one."""
    global _starting  # a lock that was held at the fork is never freed
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


def evaluate_cel(expression: CelExpression, scope: Mapping[str, object]) -> object:
    """Return what an expression comes to, in JSON types.

    Raises TemplateError with the reason, whatever the library made of it.
    """
    return _call_on_large_stack(
        lambda: _read_value(_Running(expression, scope).run({}))
    )


def find_syntax_faults(
    expressions: Iterable[CelExpression],
) -> dict[CelExpression, str]:
    """Compile expressions; return what is wrong with those that do not compile."""
    wanted = tuple(dict.fromkeys(expressions))
    return _call_on_large_stack(lambda: _compile_all(wanted)) if wanted else {}


def _compile_all(expressions: tuple[CelExpression, ...]) -> dict[CelExpression, str]:
    faults = {}
    for expression in expressions:
        try:
            for text in _texts_to_compile(expression):
                _compile(text)
        except TemplateError as error:
            faults[expression] = str(error)
    return faults


def _texts_to_compile(expression: CelExpression) -> tuple[str, ...]:
    # as it is written first: complaints have its characters then
    bodies = (body.source for body in expression.bodies)
    return (expression.text, expression.source, *bodies)


def _call_on_large_stack(function: Callable[[], Value]) -> Value:
    """Call in a thread of its own: what stack the caller's has left, nobody knows."""
    future: Future[Value] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller
            future.set_exception(error)

    with _starting:
        # here, because two threads must not load it at once
        _load_library()
        before = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=call, name="plans-expression").start()
        finally:
            threading.stack_size(before)
    return future.result()


@cache
def _load_library() -> ModuleType:
    """Load the extension alone: its package imports a command line, and megabytes."""
    name = "cel.cel"
    if name not in sys.modules:
        package = importlib.util.find_spec("cel")
        assert package is not None  # noqa: S101  # this package depends on it
        folders = package.submodule_search_locations
        spec = importlib.machinery.PathFinder.find_spec(name, folders)
        assert spec is not None  # noqa: S101  # it is the whole of that package
        assert spec.loader is not None  # noqa: S101  # likewise
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@lru_cache(maxsize=1024)
def _compile(source: str) -> "Program":
    try:
        program: Program = _load_library().compile(source)
    except BaseException as error:
        # panics of the library are no Exceptions; nothing else is raised in this thread
        raise TemplateError(describe_syntax(error)) from error
    return program


class _Running:
    """An expression with the values that it reads, to be run for one item or many."""

    def __init__(self, expression: CelExpression, scope: Mapping[str, object]) -> None:
        self._expression = expression
        self._scope = scope
        self._program = _compile(expression.source)
        self._failures: list[TemplateError] = []
        library = _load_library()
        calls: dict[str, Callable[..., object]] = {
            name: partial(_call_function, name) for name in expression.functions
        }
        for number, loop in enumerate(expression.loops):
            calls[LOOP_NAME.format(number)] = partial(_run_loop, loop, scope)
        self._context: Context = library.Context(
            variables=_pick(scope, [path.parts for path in expression.own_reads]),
            functions={name: self._guard(call) for name, call in calls.items()},
        )

    def run(self, items: Mapping[str, object]) -> Any:
        for name, item in items.items():
            self._context.add_variable(name, item)
        try:
            value = self._program.execute(self._context)
        except BaseException as error:
            # panics of the library are no Exceptions; nothing else is raised here
            message = describe_failure(error, self._expression, self._scope)
            raise self._first_failure or TemplateError(message) from error
        if self._first_failure:
            # `||` and the like pass over errors, and a wrong call is never meant
            raise self._first_failure
        return value

    @property
    def _first_failure(self) -> TemplateError | None:
        return self._failures[0] if self._failures else None

    def _guard(self, call: Callable[..., object]) -> Callable[..., object]:
        """Keep an error: the library would log it and lose its words."""

        def guarded(*arguments: object) -> object:
            try:
                return call(*arguments)
            except TemplateError as error:
                self._failures.append(error)
                return None

        return guarded


def _call_function(name: str, *arguments: object) -> object:
    function = FUNCTIONS[name]
    if len(arguments) != function.argument_count:
        raise TemplateError(f"{name} is written {function.usage}")
    return function.call(*arguments)


def _run_loop(
    loop: Loop, scope: Mapping[str, object], *arguments: object
) -> list[object]:
    items = arguments[0]
    if not isinstance(items, list):
        hint = "; keys(m) and values(m) are lists" if isinstance(items, dict) else ""
        raise TemplateError(
            f"{loop.name} goes over a list, and this is {name_kind(items)}{hint}"
        )
    condition = _Running(loop.condition, scope) if loop.condition else None
    value = _Running(loop.value, scope) if loop.value else None
    kept = []
    for item in items:
        bound = {loop.variable: item}
        if condition is None or _is_true(condition.run(bound), loop):
            kept.append(value.run(bound) if value else item)
    return kept


def _is_true(value: object, loop: Loop) -> bool:
    if not isinstance(value, bool):
        raise TemplateError(
            f"the condition of {loop.name} is {name_kind(value)}, not true or false"
        )
    return value


def _pick(value: object, paths: list[tuple[str, ...]]) -> Any:
    """Return of a value only what lies on the paths; what is missing stays so."""
    if isinstance(value, LargeValue):
        value = value.value
    if not isinstance(value, Mapping) or not all(paths):
        return load_all(value)
    beneath: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        beneath.setdefault(path[0], []).append(path[1:])
    return {
        name: _pick(value[name], rest)
        for name, rest in beneath.items()
        if name in value
    }


def _read_value(value: object) -> object:
    """Return what came out, in JSON types and the same in every process."""
    match value:
        case None | bool() | str():
            return value
        case int():
            if abs(value) > _MAX_INTEGER:
                raise TemplateError("is an integer beyond ±2^53; make it text")
            return value
        case float():
            if not math.isfinite(value):
                raise TemplateError(f"is {value}, which is not a finite number")
            # PostgreSQL's jsonb has no negative zero
            return value + 0.0
        case list():
            return [_read_value(item) for item in value]
        case dict():
            return _read_mapping(value)
        case _:
            raise TemplateError(
                f"is a {type(value).__name__}, which JSON has not;"
                " string(x) makes it text"
            )


def _read_mapping(value: dict[object, object]) -> dict[str, object]:
    names = [key for key in value if isinstance(key, str)]
    if len(names) < len(value):
        raise TemplateError("has a key that is not text")
    return {name: _read_value(value[name]) for name in sorted(names)}
