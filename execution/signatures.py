"""What an action takes and returns, in JSON: what workers publish of it.

    parameters   each with its name, and what is known of the rest: `hint` as it is
                 written, `required`, `default`, `schema`
    more         the schema of inputs by other names, where the code takes them
    result       the schema of what is returned

What is not known is left out: a parameter without a schema takes every value.

Promises: the same code gives the same JSON in every process, so that what is published
already is recognised (but for models with sets as defaults, which have no order); what
PostgreSQL cannot store is left out, too. Pure.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from .errors import ResultError
from .hints import allow_null, describe_hint, read_hints
from .results import as_storable, encode_json

MAX_SIGNATURE_BYTES = 64 * 1024
"""Of what takes more than that, only the names of the parameters are published."""

MAX_DOC_CHARACTERS = 4_000
_MAX_HINT_CHARACTERS = 200
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def describe_signature(
    function: Callable[..., Any], parameters: Iterable[inspect.Parameter]
) -> dict[str, Any]:
    """Return what is published of a function that is given `parameters` by name."""
    parameters = tuple(parameters)
    hints = read_hints(function)
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    others = [describe_hint(hints[p.name]) for p in parameters if p not in named]
    more = {"more": others[0]} if others else {}
    described = {
        "parameters": [_describe_parameter(p, hints[p.name], function) for p in named],
        **more,
        **_leave_out_empty(result=describe_hint(hints["return"], is_result=True)),
    }
    text = _encode(described)
    if text is not None:
        whole: dict[str, Any] = json.loads(text)
        return whole
    names = [
        _leave_out_empty(name=p.name, required=p.default is p.empty) for p in named
    ]
    return {"parameters": names, **({"more": {}} if others else {})}


def describe_doc(function: Callable[..., Any]) -> str | None:
    """Return the documentation of a function, cut where it is too long."""
    doc = inspect.getdoc(function)
    return as_storable(doc[:MAX_DOC_CHARACTERS]) if doc else None


def _describe_parameter(
    parameter: inspect.Parameter, hint: object, function: Callable[..., Any]
) -> dict[str, Any]:
    schema = describe_hint(hint)
    if parameter.default is None:
        # `name: str = None` says less than it means
        schema = allow_null(schema)
    described = _leave_out_empty(
        name=parameter.name,
        hint=_write_hint(parameter.annotation, function.__module__),
        required=parameter.default is parameter.empty,
        schema=schema,
    )
    if parameter.default is not parameter.empty and _encode(parameter.default):
        described["default"] = parameter.default
    return described


def _write_hint(annotation: object, module: str | None) -> str | None:
    if annotation is inspect.Parameter.empty:
        return None
    text = (
        annotation
        if isinstance(annotation, str)
        else inspect.formatannotation(annotation)
    )
    if module is not None:
        text = re.sub(rf"\b{re.escape(module)}\.", "", text)
    # an address would be another in each process
    text = _ADDRESS.sub("", text)
    return as_storable(text[:_MAX_HINT_CHARACTERS])


def _leave_out_empty(**members: object) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value}


def _encode(value: object) -> str | None:
    """Return a value as JSON; None where it is none, or too much of it."""
    try:
        text = encode_json(value, place="the signature")
    except (ResultError, TypeError, ValueError, RecursionError):
        # users' classes: a mapping, say, that is one by its name only
        return None
    return text if len(text.encode()) <= MAX_SIGNATURE_BYTES else None
