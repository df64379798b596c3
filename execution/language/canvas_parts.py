"""What a canvas is made of: signatures of tasks, in chains, groups and chords.

A signature is a mapping with `task`, `args`, `kwargs`, `options`, `subtask_type` and
`immutable`; a chain, a group and a chord are signatures that hold others.

Promises: whatever a canvas holds, it can be walked through. Must not know what becomes
of the parts. Imports nothing of Celery.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_COMPOSITES = ("chain", "group", "chord")
_OWN_KWARGS = frozenset(("tasks", "header", "body", "kwargs"))


@dataclass(frozen=True)
class Part:
    """A part of a canvas, and what holds for it because of what is around it.

    `app` is that of the nearest signature of Celery's, if there is one: parts may have
    become plain mappings, as links do when a chain is put together.
    """

    signature: Any
    place: str
    depth: int = 0
    policies: Mapping[str, object] = field(default_factory=dict)
    outer_app: Any = None

    @property
    def app(self) -> Any:
        """The app that knows its tasks, None if there is none."""
        return getattr(self.signature, "app", None) or self.outer_app

    @property
    def kind(self) -> str:
        """`chain`, `group` or `chord`; else `task`."""
        named = isinstance(self.signature, Mapping) and self.signature.get(
            "subtask_type"
        )
        return str(named) if named in _COMPOSITES else "task"

    @property
    def is_readable(self) -> bool:
        """Whether it is a signature at all."""
        return _is_signature(self.signature)

    @property
    def members(self) -> tuple["Part", ...]:
        """The tasks of a chain or group, or of the header of a chord."""
        if self.kind == "task" or not self.is_readable:
            return ()
        inner = self.place if self.depth == 0 else f"{self.place}.{self.kind}"
        key = "tasks"
        if self.kind == "chord":
            inner, key = f"{self.place}.header", "header"
        listed = self.signature["kwargs"].get(key)
        if key == "header" and _is_signature(listed):
            # a group, then
            listed = listed["kwargs"].get("tasks")
        return tuple(
            self.enclose(signature, f"{inner}[{index}]")
            for index, signature in enumerate(list_items(listed))
        )

    def enclose(self, signature: object, place: str) -> "Part":
        """Return a part of this one."""
        return Part(signature, place, self.depth + 1, self.policies, self.app)

    def list_partials(self) -> Iterator[str]:
        """Yield the places of arguments that were given to a chain, group or chord."""
        kwargs = self.signature["kwargs"]
        inner = kwargs.get("kwargs")
        names = {*kwargs, *(inner if isinstance(inner, Mapping) else ())}
        if self.signature.get("args"):
            yield f"{self.place}.args"
        for name in sorted(map(str, names - _OWN_KWARGS)):
            yield f"{self.place}.kwargs.{name}"


def unroll(part: Part) -> Part:
    """Return the only task of a group that has one: in a chain it stands for itself."""
    members = part.members if part.kind == "group" else ()
    return members[0] if len(members) == 1 else part


def list_links(part: Part) -> Iterator[tuple[str, object]]:
    """Yield what is called with the result of a part, each with its place."""
    for index, link in enumerate(list_items(part.signature["options"].get("link"))):
        yield f"{part.place}.options.link[{index}]", link


def list_items(value: object) -> list[object]:
    """Return the items of a list; of anything else but None, that alone."""
    match value:
        case None:
            return []
        case Iterable() if not isinstance(value, str | bytes | Mapping):
            return list(value)
        case _:
            return [value]


def _is_signature(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("task"), str)
        and isinstance(value.get("kwargs"), Mapping)
        and isinstance(value.get("options"), Mapping)
    )
