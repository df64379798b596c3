"""Pydantic models of an action's code: filled before it is called, dumped after.

Inputs and results are JSON. Where a parameter's hint names a model, the action gets an
instance of it; what it returns of models becomes JSON again.

Promises: pydantic is never imported here. Only code that has imported it can name its
models, and a worker whose actions do not use it does not pay for it. A value that does
not fit may be a secret, and is not quoted, unless the model's own code does so.

Knows nothing of plans or of the registry.
"""

import json
import sys
from collections.abc import Callable, Mapping
from operator import is_
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    TypeAlias,
    get_args,
    get_origin,
)

from .errors import ResultError

Convert: TypeAlias = Callable[[object], object]

_MOST_MISFITS = 10
_MAX_DEPTH = 64
_VALIDATOR = "__pydantic_validator__"
"""What models and pydantic's dataclasses have, and nothing else."""


class MisfitError(ValueError):
    """A value does not fit a model; the message says where and why."""


def names_model(hint: object) -> bool:
    """Say whether a model of pydantic stands somewhere in a type hint."""
    if "pydantic" not in sys.modules:
        return False
    pending = [hint]
    while pending:
        found = unwrap_hint(pending.pop())
        if isinstance(found, type) and hasattr(found, _VALIDATOR):
            return True
        pending.extend(get_args(found))
    return False


def unwrap_hint(hint: Any) -> Any:
    """Return what a hint stands for, without a name for it or remarks around it."""
    while True:
        if get_origin(hint) in (Annotated, Required, NotRequired):
            hint = get_args(hint)[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint


def build_converter(hint: object) -> Convert | None:
    """Return what turns JSON into the values of a hint; None if it names no model.

    The converter raises MisfitError, with the place and the reason of each misfit.
    """
    if not names_model(hint):
        return None
    adapter = _adapt(hint)

    def convert(value: object) -> object:
        try:
            # as JSON, so that strict models take a date's text and a tuple's list
            return adapter.validate_json(json.dumps(value))
        except sys.modules["pydantic"].ValidationError as error:
            # its own text quotes the values
            raise MisfitError(_list_misfits(error)) from None

    return convert


def describe_model(hint: object, *, is_result: bool) -> dict[str, Any]:
    """Return the JSON Schema of a hint that names a model."""
    mode = "serialization" if is_result else "validation"
    schema: dict[str, Any] = _adapt(hint).json_schema(mode=mode)
    return schema


def dump_models(value: Any, depth: int = 0) -> Any:
    """Return a value with JSON in place of every model in it; else the value itself.

    Raises ResultError for what is nested too deeply for a result, or in itself.
    """
    if "pydantic" not in sys.modules:
        return value
    if depth > _MAX_DEPTH:
        raise ResultError(f"the result is nested deeper than {_MAX_DEPTH}")
    match value:
        case dict():
            dumped = [dump_models(item, depth + 1) for item in value.values()]
            is_same = all(map(is_, dumped, value.values()))
            return value if is_same else dict(zip(value, dumped, strict=True))
        case list() | tuple():
            dumped = [dump_models(item, depth + 1) for item in value]
            return value if all(map(is_, dumped, value)) else dumped
        case _ if not hasattr(type(value), _VALIDATOR):
            return value
        case _ if hasattr(value, "model_dump"):
            return value.model_dump(mode="json")
        case _:
            return _adapt(type(value)).dump_python(value, mode="json")


def _adapt(hint: object) -> Any:
    return sys.modules["pydantic"].TypeAdapter(hint)


def _list_misfits(error: Any) -> str:
    details: list[Mapping[str, Any]] = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    said = [
        f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}".removeprefix(": ")
        for detail in details[:_MOST_MISFITS]
    ]
    more = len(details) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")
