"""Type hints, as the JSON Schema of the values that they stand for.

    str, int, float, bool, None      string, integer, number, boolean, null
    list, set, tuple, Sequence …     array, of items of a type or of one type each
    dict, Mapping                    object, with values of a type
    Literal, Enum                    enum
    X | Y, Optional                  anyOf
    TypedDict, dataclass             object, of its fields
    datetime, date, UUID, Path       string, with a format
    Decimal                          number, or string with a format
    models of pydantic               what pydantic says
    anything else                    {}: every value fits

Promises: a schema refuses only what the hint refuses as well, seen as JSON, to which a
boolean is no integer; what is not understood allows everything. A class that may stand
in itself is described once, under `$defs`. Nothing that users' classes do on the way
stops a worker from starting. Pure.
"""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePath
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    Any,
    Literal,
    NotRequired,
    Required,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from uuid import UUID

from .conversion import describe_model, names_model, unwrap_hint

Schema: TypeAlias = dict[str, Any]

NULL: Schema = {"type": "null"}

_NO_JSON = object()
_SCALARS: Mapping[type, Schema] = {
    # a boolean is an integer to Python, and a datetime is a date
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    NoneType: NULL,
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    UUID: {"type": "string", "format": "uuid"},
    PurePath: {"type": "string", "format": "path"},
    Decimal: {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]},
}
_BYTES = (bytes, bytearray, memoryview)
_ABSTRACT_ARRAYS = frozenset((Iterable, Collection))


def read_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the hint of each parameter, and of the `return`, as the code means it.

    Names in text are looked up where the function was defined; what cannot be found
    there, or has no hint, is Any.
    """
    signature = inspect.signature(function)
    written = {name: p.annotation for name, p in signature.parameters.items()}
    written["return"] = signature.return_annotation
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return {name: _resolve(hint, names) for name, hint in written.items()}


def describe_hint(hint: object, *, is_result: bool = False) -> Schema:
    """Return the JSON Schema of a hint's values; `{}` where all are allowed."""
    describer = _Describer(is_result)
    try:
        schema = describer.describe(hint)
    except Exception:  # noqa: BLE001  # users' classes and hints may do anything
        return {}
    return (
        {**schema, "$defs": describer.definitions} if describer.definitions else schema
    )


def allow_null(schema: Schema) -> Schema:
    """Return a schema that lets null pass as well."""
    if not schema or schema == NULL or NULL in schema.get("anyOf", ()):
        return schema
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    inner = {name: item for name, item in schema.items() if name != "$defs"}
    return {"anyOf": [inner, NULL], **definitions}


def _resolve(hint: object, names: Mapping[str, Any]) -> Any:
    if hint is inspect.Parameter.empty:
        return Any
    holder = SimpleNamespace(__annotations__={"it": hint})
    try:
        return get_type_hints(holder, dict(names), include_extras=True)["it"]
    except Exception:  # noqa: BLE001  # names that only a type checker imports, and worse
        return Any


class _Describer:
    """Describes one hint; classes with fields are described aside, once each."""

    def __init__(self, is_result: bool) -> None:
        """Describe what is returned, if `is_result`, else what is given."""
        self.definitions: dict[str, Schema] = {}
        self._is_result = is_result
        self._names: dict[type, str] = {}

    def describe(self, hint: Any) -> Schema:
        """Return the schema of a hint."""
        if names_model(hint):
            return self._adopt(describe_model(hint, is_result=self._is_result))
        hint = unwrap_hint(hint)
        origin, parts = get_origin(hint) or hint, get_args(hint)
        if origin in (Union, UnionType):
            return self._describe_union(parts)
        if origin is Literal:
            return _describe_values(parts)
        if origin in _ABSTRACT_ARRAYS:
            return self._describe_array(parts)
        if isinstance(origin, type):
            return self._describe_class(origin, parts)
        return {}

    def _describe_class(self, cls: type, parts: tuple[Any, ...]) -> Schema:
        if issubclass(cls, Enum):
            return (
                {"type": "integer"} if issubclass(cls, Flag) else _describe_values(cls)
            )
        for scalar, schema in _SCALARS.items():
            if issubclass(cls, scalar):
                return schema
        if is_typeddict(cls) or is_dataclass(cls):
            return self._refer_to(cls)
        if issubclass(cls, tuple) and parts:
            return self._describe_tuple(parts)
        if issubclass(cls, Mapping):
            return self._describe_mapping(parts)
        if issubclass(cls, (Sequence, AbstractSet)) and not issubclass(cls, _BYTES):
            return self._describe_array(parts)
        return {}

    def _describe_union(self, parts: tuple[Any, ...]) -> Schema:
        schemas: list[Schema] = []
        for part in parts:
            schema = self.describe(part)
            if not schema:
                return {}
            # a union inside one is one with it
            choices = schema["anyOf"] if list(schema) == ["anyOf"] else [schema]
            schemas.extend(choice for choice in choices if choice not in schemas)
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _describe_array(self, parts: tuple[Any, ...]) -> Schema:
        items = self.describe(parts[0]) if len(parts) == 1 else {}
        return {"type": "array", **({"items": items} if items else {})}

    def _describe_tuple(self, parts: tuple[Any, ...]) -> Schema:
        if parts[-1] is Ellipsis:
            return self._describe_array(parts[:1])
        return {
            "type": "array",
            "prefixItems": [self.describe(part) for part in parts],
            "minItems": len(parts),
            "maxItems": len(parts),
        }

    def _describe_mapping(self, parts: tuple[Any, ...]) -> Schema:
        values = self.describe(parts[1]) if len(parts) == 2 else {}
        return {
            "type": "object",
            **({"additionalProperties": values} if values else {}),
        }

    def _refer_to(self, cls: type) -> Schema:
        name = self._names.get(cls)
        if name is None:
            name = self._names[cls] = self._choose_name(cls)
            # so that the class finds itself here if it stands in itself
            self.definitions[name] = {}
            describe = (
                self._describe_keys if is_typeddict(cls) else self._describe_fields
            )
            self.definitions[name] = describe(cls)
        return {"$ref": f"#/$defs/{name}"}

    def _choose_name(self, cls: type) -> str:
        name = re.sub(r"\W+", "_", cls.__qualname__)
        while name in self.definitions:
            name += "_"
        return name

    def _describe_keys(self, cls: Any) -> Schema:
        hints = get_type_hints(cls, include_extras=True)
        # a hint that was written as text is not among those that the class knows of
        required = [
            key
            for key, hint in hints.items()
            if get_origin(hint) is Required
            or (key in cls.__required_keys__ and get_origin(hint) is not NotRequired)
        ]
        return {
            "type": "object",
            "properties": {key: self.describe(hint) for key, hint in hints.items()},
            "required": required,
        }

    def _describe_fields(self, cls: type) -> Schema:
        parameters = inspect.signature(cls).parameters.values()
        takes_more = any(p.kind is p.VAR_KEYWORD for p in parameters)
        named = [
            p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        hints = read_hints(vars(cls)["__init__"])
        return {
            "type": "object",
            "properties": {p.name: self.describe(hints[p.name]) for p in named},
            "required": [p.name for p in named if p.default is p.empty],
            **({} if takes_more else {"additionalProperties": False}),
        }

    def _adopt(self, schema: Schema) -> Schema:
        for name, definition in schema.pop("$defs", {}).items():
            if self.definitions.setdefault(name, definition) != definition:
                # two classes of one name: nothing is said of either
                self.definitions[name] = {}
        return schema


def _describe_values(members: Iterable[Any]) -> Schema:
    values = list(_read_values(members))
    return {} if _NO_JSON in values else {"enum": values}


def _read_values(members: Iterable[Any]) -> Iterator[object]:
    for member in members:
        value = member.value if isinstance(member, Enum) else member
        yield value if isinstance(value, str | int | float | None) else _NO_JSON
