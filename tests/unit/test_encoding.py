"""The door into the database: what passes, what is refused, and where it lay."""

import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.errors import ResultError
from execution.results import MAX_VALUE_BYTES, decode_json, encode_json

Pair = namedtuple("Pair", ["left", "right"])


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab.é😀"), inner),
    max_leaves=30,
)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def refusal_of(value: object) -> str:
    with pytest.raises(ResultError) as refusal:
        encode_json(value, place="result")
    return str(refusal.value)


@given(json_values)
@settings(print_blob=True)
def test_json_passes_unchanged(value: object) -> None:
    text = encode_json(value, place="result")

    assert json.loads(text) == decode_json(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9007199254740992", 2**53),
        ("-9007199254740992", -(2**53)),
        ("9007199254740994", 9007199254740994.0),
        ("10000000000000000", 1e16),
        ("-100000000000000000000000", -1e23),
        ("1" + "0" * 300, 1e300),
        ("1.0", 1.0),
        ('{"a":[7,null,"10000000000000000"]}', {"a": [7, None, "10000000000000000"]}),
    ],
)
def test_what_postgresql_made_of_a_float_is_one_again(text: str, value: object) -> None:
    assert repr(decode_json(text)) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, 2), "[1,2]"),
        (Pair(1, 2), "[1,2]"),
        (OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        ({"a": [MappingProxyType({})]}, '{"a":[{}]}'),
        (Colour.RED, '"red"'),
        ({Colour.RED: 1}, '{"red":1}'),
        (Level.HIGH, "3"),
        ("é😀", '"é😀"'),
        (2**53, "9007199254740992"),
        (-(2**53), "-9007199254740992"),
        (1e308, "1e+308"),
    ],
)
def test_what_python_calls_otherwise_passes_as_json(value: object, text: str) -> None:
    assert encode_json(value, place="result") == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "result is nan, which JSON cannot hold"),
        ({"a": [0, float("inf")]}, "result.a[1] is inf, which JSON cannot hold"),
        ([float("-inf")], "result[0] is -inf, which JSON cannot hold"),
        ({"a": {"b": [object()]}}, "result.a.b[0] is a object, which JSON"),
        ([b"raw"], "result[0] is a bytes, which JSON"),
        ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, "result.at is a datetime, which"),
        ([{1, 2}], "result[0] is a set, which JSON"),
        (Decimal("1.5"), "result is a Decimal, which JSON"),
        ({1: "x"}, "result has the key 1, which is no string"),
        ({"a": [{None: 0}]}, "result.a[0] has the key None, which is no string"),
        ({"a": "x\x00y"}, "result.a holds a NUL character"),
        ([{"x\x00y": 1}], "result[0] holds a NUL character"),
        ({"a": "\ud83d"}, "result.a holds half a surrogate pair"),
        ({"\ude00": 1}, "result holds half a surrogate pair"),
        ([2**53 + 1], "result[0] is an integer beyond 2^53"),
        ([[-(2**53) - 1]], "result[0][0] is an integer beyond 2^53"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(
    value: object, message: str
) -> None:
    assert refusal_of(value).startswith(message)


def test_the_place_is_the_callers() -> None:
    with pytest.raises(ResultError, match=r"^the checkpoint of step scan\.a is nan"):
        encode_json({"a": float("nan")}, place="the checkpoint of step scan")


def test_sixty_four_levels_pass_and_one_more_does_not() -> None:
    assert encode_json(nested(63), place="result")
    assert refusal_of(nested(64)) == "result is nested deeper than 64"


def test_a_value_that_holds_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["self"] = [value, value]

    assert refusal_of(value) == "result is nested deeper than 64"


@pytest.mark.parametrize(
    "fill",
    [
        lambda size: "x" * (size - 2),
        lambda size: "é" * ((size - 2) // 2) + "x" * (size % 2),
        lambda size: "\n" * ((size - 2) // 2) + "x" * (size % 2),
    ],
)
def test_the_limit_counts_the_bytes_of_the_json(fill: Callable[[int], str]) -> None:
    assert len(encode_json(fill(MAX_VALUE_BYTES), place="r").encode()) == 262_144
    assert refusal_of(fill(MAX_VALUE_BYTES + 1)) == (
        "result takes 262,145 bytes as JSON and the limit is 262,144;"
        " store it elsewhere and return where it lies"
    )
