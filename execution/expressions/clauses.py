"""What a filter's expression is made of, once it has been read.

Values alone. Which fields there are, and of what kind, stands here. Must not know how
clauses are read, nor who judges them.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from ..places import nearest, shown
from ..states import ExecutionStatus


class FieldKind(StrEnum):
    """What a field holds."""

    JSON = "json"
    TEXT = "text"
    TIME = "time"
    TAGS = "tags"


FIELD_KINDS = {
    "parameters": FieldKind.JSON,
    "variables": FieldKind.JSON,
    "result": FieldKind.JSON,
    "error": FieldKind.JSON,
    "status": FieldKind.TEXT,
    "plan": FieldKind.TEXT,
    "version": FieldKind.TEXT,
    "reason": FieldKind.TEXT,
    "tags": FieldKind.TAGS,
    "created_at": FieldKind.TIME,
    "started_at": FieldKind.TIME,
    "ended_at": FieldKind.TIME,
}
"""What a filter may name."""
NULLABLE_FIELDS = frozenset(("version", "reason", "started_at", "ended_at"))
"""Those beside the JSON ones that may be null."""


class Operator(StrEnum):
    """How two values are compared."""

    EQUAL = "=="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="

    @property
    def is_equality(self) -> bool:
        """Whether it asks for no order."""
        return self in (Operator.EQUAL, Operator.UNEQUAL)

    @property
    def mirrored(self) -> "Operator":
        """The operator for the same two values the other way round."""
        return _MIRRORED.get(self, self)


_MIRRORED = {
    Operator.LESS: Operator.MORE,
    Operator.MORE: Operator.LESS,
    Operator.AT_MOST: Operator.AT_LEAST,
    Operator.AT_LEAST: Operator.AT_MOST,
}

Scalar: TypeAlias = bool | int | float | str | datetime | None


@dataclass(frozen=True)
class Literal:
    """A value that is written down."""

    value: Scalar


@dataclass(frozen=True)
class Field:
    """A field, and where in its JSON: names of keys, and indexes of items."""

    root: str
    parts: tuple[str | int, ...] = ()

    @property
    def kind(self) -> FieldKind:
        """What it holds."""
        return FIELD_KINDS[self.root]


@dataclass(frozen=True)
class Compared:
    """A field beside a value, or beside another field."""

    field: Field
    operator: Operator
    other: Literal | Field


@dataclass(frozen=True)
class Listed:
    """Whether a field is one of several values."""

    field: Field
    values: tuple[Literal, ...]


@dataclass(frozen=True)
class Held:
    """Whether a field holds a value: as an item, as a key, as a tag."""

    field: Field
    value: Literal


@dataclass(frozen=True)
class Present:
    """Whether there is such a key: `has(…)`."""

    parent: Field
    name: str


@dataclass(frozen=True)
class Truth:
    """Whether a field is true."""

    field: Field


@dataclass(frozen=True)
class Negated:
    """The opposite of a clause."""

    clause: "Clause"


@dataclass(frozen=True)
class Every:
    """All of several clauses."""

    clauses: tuple["Clause", ...]


@dataclass(frozen=True)
class Some:
    """One of several clauses at least."""

    clauses: tuple["Clause", ...]


Clause: TypeAlias = Compared | Listed | Held | Present | Truth | Negated | Every | Some


def find_misfit(field: Field, value: Scalar) -> str | None:
    """Return why a field is never such a value, None when it may be."""
    if value is None and field.root in NULLABLE_FIELDS:
        return None
    match field.kind:
        case FieldKind.TAGS:
            return 'compares tags; write "TAG" in tags'
        case FieldKind.TIME if not isinstance(value, datetime):
            written = 'timestamp("2026-11-21T08:00:00Z")'
            return f"compares {field.root}, a time, with what is none; write {written}"
        case FieldKind.TEXT if not isinstance(value, str):
            return f"compares {field.root}, which is text, with what is none"
        case FieldKind.JSON if isinstance(value, datetime):
            return "compares a time with JSON, which has none; compare texts"
    if field.root == "status" and value not in tuple(ExecutionStatus):
        near = nearest(str(value), ExecutionStatus)
        return f"compares status with {shown(value)}, which is none{near}"
    return None


def describe_kind(field: Field) -> str:
    """Return what a field holds, in words."""
    return {
        FieldKind.JSON: "JSON",
        FieldKind.TEXT: "text",
        FieldKind.TIME: "a time",
        FieldKind.TAGS: "a list of texts",
    }[field.kind]
