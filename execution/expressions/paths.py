"""Plain paths, such as `steps.scan.result.files.0`: the greater part of expressions.

Promises: a path is walked here, without any parser, and where it leads nowhere the
error says how far it came and what was meant. Knows nothing of what the roots are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..large_values import LargeValue
from ..places import nearest, shown
from .scanner import TemplateError

_PLAIN_PATH = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+))*"
)
_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_LITERALS = frozenset(("true", "false", "null", "in"))


@dataclass(frozen=True)
class PlainPath:
    """A path, as written and in its parts."""

    text: str
    parts: tuple[str, ...]

    @property
    def reads(self) -> tuple["PlainPath", ...]:
        """The paths that are read: this one."""
        return (self,)


class NowhereError(TemplateError):
    """A path leads nowhere: `part` was sought in `container`."""

    def __init__(self, message: str, container: object, part: str) -> None:
        super().__init__(message)
        self.container = container
        self.part = part


def read_path(text: str) -> PlainPath | None:
    """Return the plain path that a text is, or None when it is something else."""
    if not _PLAIN_PATH.fullmatch(text):
        return None
    parts = tuple(text.split("."))
    return None if parts[0] in _LITERALS else PlainPath(text, parts)


def walk(parts: tuple[str, ...], scope: object) -> object:
    """Return what a path leads to; raises NowhereError when there is nothing.

    A large value is read where the path goes on inside of it, and else left as it is.
    """
    value = scope
    for depth, part in enumerate(parts):
        if isinstance(value, LargeValue):
            value = value.value
        problem = _find_problem(value, part)
        if problem is not None:
            walked = ".".join(parts[:depth]) or "the scope"
            raise NowhereError(f"{walked} {problem}", value, part)
        value = value[int(part)] if isinstance(value, list | tuple) else value[part]  # type: ignore[index]  # it has the part
    return value


def name_kind(value: object) -> str:
    """Return what kind of JSON value this is, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _find_problem(value: object, part: str) -> str | None:
    """Return why `part` is not to be found in a value, None when it is there."""
    match value:
        case Mapping():
            if part in value:
                return None
            names = [key for key in value if isinstance(key, str)]
            return f"has no {shown(part)}{nearest(part, names)}"
        case list() | tuple():
            if not _INDEX.fullmatch(part):
                return f"is a list, and {shown(part)} is no index"
            if int(part) < len(value):
                return None
            return f"has {len(value)} items, and so no item {part}"
        case _:
            return f"is {name_kind(value)}, and so has no {shown(part)}"
