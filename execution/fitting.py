"""Whether a value fits a JSON Schema, also while parts of it are not known yet.

A step's inputs are templates when its plan is checked: what stands in `${…}` is filled
in later. `foresee` says what is known of them now, `find_misfits` looks at that.

Promises: what is not known fits whatever is asked for, except that text around a `${…}`
will be text; keywords that are not understood (`pattern`, `uniqueItems` …) are passed
over; a schema that leads in a circle, or takes too long, refuses nothing. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, auto
from operator import ge, gt, le, lt
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

from .expressions import TemplateError, parse_template_text
from .places import Path, nearest, shown

Suggest: TypeAlias = Callable[[str, Iterable[str]], str]

_MOST_LOOKS = 100_000
"""How many times a schema is compared with a part of one value."""

_MAX_DEPTH = 120
_MOST_CHOICES = 10
_REFERENCE = "#/$defs/"
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": NoneType,
    "array": list,
    "object": dict,
}
_FORMATS: Mapping[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
    "decimal": Decimal,
}


@dataclass(frozen=True)
class _Bound:
    """What a bound counts in values of a kind, and how it is said that it is broken."""

    kind: type | tuple[type, ...]
    count: Callable[[Any], float]
    is_kept: Callable[[float, float], bool]
    message: str


_NUMBERS = (int, float)
_BOUNDS: Mapping[str, _Bound] = {
    "minimum": _Bound(_NUMBERS, float, ge, "must be at least {}, and is {}"),
    "maximum": _Bound(_NUMBERS, float, le, "must be at most {}, and is {}"),
    "exclusiveMinimum": _Bound(_NUMBERS, float, gt, "must be more than {}, and is {}"),
    "exclusiveMaximum": _Bound(_NUMBERS, float, lt, "must be less than {}, and is {}"),
    "minLength": _Bound(str, len, ge, "must have at least {} characters, and has {}"),
    "maxLength": _Bound(str, len, le, "must have at most {} characters, and has {}"),
    "minItems": _Bound(list, len, ge, "must have at least {} items, and has {}"),
    "maxItems": _Bound(list, len, le, "must have at most {} items, and has {}"),
}


class Unknown(Enum):
    """What a template comes to, as far as it can be foreseen."""

    VALUE = auto()
    TEXT = auto()


@dataclass(frozen=True)
class Misfit:
    """What does not fit, and where it stands in the value."""

    path: Path
    message: str


def foresee(template: object) -> object:
    """Return a template with Unknown in place of what is filled in later."""
    match template:
        case dict():
            return {key: foresee(item) for key, item in template.items()}
        case list():
            return [foresee(item) for item in template]
        case str():
            return _foresee_text(template)
        case _:
            return template


def find_misfits(
    schema: object, value: object, suggest: Suggest = nearest
) -> list[Misfit]:
    """Return all that does not fit in a value, which may have Unknown parts.

    `suggest(name, known)` words what a name that is not known may have meant.
    """
    try:
        return _Comparison(schema, suggest).find(schema, value, ())
    except (AttributeError, LookupError, TypeError, ValueError):
        # a model can be told to call anything its schema
        return []


def _foresee_text(text: str) -> object:
    if text.startswith("secret://"):
        return Unknown.VALUE
    if "${" not in text:
        return text
    try:
        pieces = parse_template_text(text)
    except TemplateError:
        return Unknown.VALUE
    known = [piece for piece in pieces if isinstance(piece, str)]
    if len(known) == len(pieces):
        return "".join(known)
    return Unknown.TEXT if known or len(pieces) > 1 else Unknown.VALUE


class _Comparison:
    """Compares one value with a schema, whose `$defs` it refers to."""

    def __init__(self, root: object, suggest: Suggest) -> None:
        """Look up references in `root`."""
        self._suggest = suggest
        self._definitions = root.get("$defs", {}) if isinstance(root, dict) else {}
        self._looks_left = _MOST_LOOKS

    def find(
        self, schema: Any, value: object, path: Path, depth: int = 0
    ) -> list[Misfit]:
        """Return what does not fit, with its path from the root of the value."""
        self._looks_left -= 1
        if self._looks_left < 0 or depth > _MAX_DEPTH or value is Unknown.VALUE:
            return []
        if not isinstance(schema, dict):
            return []
        if "$ref" in schema:
            return self.find(self._resolve(schema), value, path, depth + 1)
        if choices := schema.get("anyOf") or schema.get("oneOf"):
            return self._find_in_choices(choices, value, path, depth + 1)
        if refusal := _refuse(schema, value):
            return [Misfit(path, refusal)]
        found = [
            misfit
            for part in schema.get("allOf", ())
            for misfit in self.find(part, value, path, depth + 1)
        ]
        return found + self._find_inside(schema, value, path, depth + 1)

    def _find_in_choices(
        self, choices: list[Any], value: object, path: Path, depth: int
    ) -> list[Misfit]:
        tried = [self.find(choice, value, path, depth) for choice in choices]
        if not all(tried):
            return []
        # of one choice, at least the kind was right: the author has meant that one
        meant = [found for found in tried if all(m.path != path for m in found)]
        if len(meant) == 1:
            return meant[0]
        expected = " or ".join(dict.fromkeys(map(self._name, choices)))
        return [Misfit(path, f"must be {expected}, and is {_show(value)}")]

    def _find_inside(
        self, schema: Mapping[str, Any], value: object, path: Path, depth: int
    ) -> list[Misfit]:
        found: list[Misfit] = []
        parts: Iterator[tuple[str | int, Any]]
        match value:
            case dict():
                found += self._find_misnamed_keys(schema, value, path)
                parts = _pair_keys(schema, value)
            case list():
                parts = _pair_items(schema, value)
            case _:
                return found
        items: Any = value
        for key, inner in parts:
            found += self.find(inner, items[key], (*path, key), depth)
        return found

    def _find_misnamed_keys(
        self, schema: Mapping[str, Any], value: Mapping[str, object], path: Path
    ) -> list[Misfit]:
        """Return the keys that are missing, and those that may not be there."""
        found = [
            Misfit((*path, key), "is missing")
            for key in schema.get("required", ())
            if key not in value
        ]
        if schema.get("additionalProperties") is not False:
            return found
        known = schema.get("properties", {})
        return found + [
            Misfit((*path, key), f"is not known here{self._suggest(key, known)}")
            for key in value
            if key not in known and "patternProperties" not in schema
        ]

    def _resolve(self, schema: Mapping[str, Any]) -> Any:
        name = str(schema["$ref"]).removeprefix(_REFERENCE)
        return self._definitions.get(name, {})

    def _name(self, schema: Any) -> str:
        if isinstance(schema, dict) and "$ref" in schema:
            schema = self._resolve(schema)
        return _name_kind(schema) if isinstance(schema, dict) else "something else"


def _refuse(schema: Mapping[str, Any], value: object) -> str | None:
    """Return why a value as a whole does not fit a schema without choices."""
    is_text = value is Unknown.TEXT
    if not (_allows_text(schema) if is_text else _is_of_kind(schema, value)):
        return f"must be {_name_kind(schema)}, and is {_show(value)}"
    return next(_find_broken_bounds(schema, value), None) or _refuse_format(
        schema, value
    )


def _is_of_kind(schema: Mapping[str, Any], value: object) -> bool:
    choices, kinds = _read_choices(schema), _read_kinds(schema)
    return (choices is None or any(_is_same(value, c) for c in choices)) and (
        not kinds or any(_is_of_type(value, kind) for kind in kinds)
    )


def _allows_text(schema: Mapping[str, Any]) -> bool:
    choices, kinds = _read_choices(schema), _read_kinds(schema)
    return (choices is None or any(isinstance(c, str) for c in choices)) and (
        not kinds or "string" in kinds
    )


def _read_choices(schema: Mapping[str, Any]) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    choices = schema.get("enum")
    return choices if isinstance(choices, list) else None


def _read_kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    listed = kinds if isinstance(kinds, list) else [kinds]
    # a kind that is not known here lets everything pass
    return listed if all(kind in _TYPES for kind in listed) else []


def _is_of_type(value: object, kind: str) -> bool:
    # Python counts booleans among the integers, JSON does not
    is_boolean = isinstance(value, bool)
    return isinstance(value, _TYPES[kind]) and is_boolean == (kind == "boolean")


def _is_same(one: object, other: object) -> bool:
    # Python calls 1 and True equal
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _find_broken_bounds(schema: Mapping[str, Any], value: object) -> Iterator[str]:
    for keyword, bound in _BOUNDS.items():
        if keyword in schema and isinstance(value, bound.kind):
            limit, count = schema[keyword], bound.count(value)
            if not bound.is_kept(count, limit):
                yield bound.message.format(f"{limit:g}", f"{count:g}")


def _refuse_format(schema: Mapping[str, Any], value: object) -> str | None:
    name = schema.get("format")
    if not isinstance(value, str) or not isinstance(name, str) or name not in _FORMATS:
        return None
    try:
        _FORMATS[name](value.upper())
    except (ValueError, ArithmeticError):
        return f"must be a {name} as text, and is {shown(value)}"
    return None


def _pair_keys(
    schema: Mapping[str, Any], value: Mapping[str, object]
) -> Iterator[tuple[str | int, Any]]:
    """Yield each key of an object with the schema of what stands under it."""
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    for key in value:
        yield key, known.get(key, {} if "patternProperties" in schema else others)


def _pair_items(
    schema: Mapping[str, Any], value: list[object]
) -> Iterator[tuple[str | int, Any]]:
    """Yield each index of a list with the schema of what stands there."""
    first = schema.get("prefixItems", [])
    for index in range(len(value)):
        yield index, first[index] if index < len(first) else schema.get("items")


def _name_kind(schema: Mapping[str, Any]) -> str:
    """Say what a schema asks for, in a few words."""
    choices = _read_choices(schema)
    if choices is not None:
        listed = ", ".join(shown(choice) for choice in choices[:_MOST_CHOICES])
        more = ", …" if len(choices) > _MOST_CHOICES else ""
        return listed if len(choices) == 1 else f"one of {listed}{more}"
    kinds = _read_kinds(schema)
    if not kinds:
        return "something else"
    name = " or ".join(kind if kind == "null" else f"of type {kind}" for kind in kinds)
    return f"{name} ({schema['format']})" if "format" in schema else name


def _show(value: object) -> str:
    return "text around ${…}" if value is Unknown.TEXT else shown(value)
