"""What can be stored: what JSON and PostgreSQL can hold, and is no reference of ours.

Promises: pure; nothing is converted, and a refusal names the place. Knows no limit of
bytes, and not what a value is for.
"""

import math
from collections.abc import Mapping

from .errors import ResultError
from .large_values import REFERENCE_KEY, LargeValue

MAX_INTEGER = 2**53
_MAX_DEPTH = 64


def refuse_foreign(value: object, *, place: str) -> None:
    """Raise ResultError for the first part of `value` that cannot be stored."""
    pending = [(value, place, 1)]
    while pending:
        item, at, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise ResultError(f"{place} is nested deeper than {_MAX_DEPTH}")
        match item:
            case LargeValue():
                continue
            case Mapping():
                for key in item:
                    _refuse_key(key, at)
                pending.extend((v, f"{at}.{k}", depth + 1) for k, v in item.items())
            case list() | tuple():
                pending.extend((v, f"{at}[{i}]", depth + 1) for i, v in enumerate(item))
            case _:
                _refuse_scalar(item, at)


def _refuse_key(key: object, at: str) -> None:
    if not isinstance(key, str):
        raise ResultError(f"{at} has the key {key!r}, which is no string")
    if key == REFERENCE_KEY:
        raise ResultError(
            f"{at} has the key {key!r}, which stands for large values; use another"
        )
    _refuse_text(key, at)


def _refuse_scalar(item: object, at: str) -> None:
    match item:
        case None | bool():
            return
        case str():
            _refuse_text(item, at)
        case int():
            if abs(item) > MAX_INTEGER:
                raise ResultError(
                    f"{at} is an integer beyond 2^53; pass it as a string"
                )
        case float():
            if not math.isfinite(item):
                raise ResultError(f"{at} is {item}, which JSON cannot hold")
        case _:
            raise ResultError(
                f"{at} is a {type(item).__name__}, which JSON cannot hold; return"
                " dicts, lists, strings, numbers, booleans and None"
            )


def _refuse_text(text: str, at: str) -> None:
    if "\x00" in text:
        raise ResultError(f"{at} holds a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ResultError(
            f"{at} holds half a surrogate pair, which is no text"
        ) from None
