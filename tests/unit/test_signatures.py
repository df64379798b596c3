"""What workers publish of an action: parameters, others, result, docs."""

import inspect
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import pytest

from execution.signatures import (
    MAX_DOC_CHARACTERS,
    MAX_SIGNATURE_BYTES,
    describe_doc,
    describe_signature,
)

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


class Thing:
    """A default that JSON cannot hold."""


def describe(function: Callable[..., Any]) -> dict[str, Any]:
    return describe_signature(function, inspect.signature(function).parameters.values())


def describe_default(value: object) -> dict[str, Any]:
    def take(x: object = value) -> None: ...

    (parameter,) = describe(take)["parameters"]
    return dict(parameter)


def test_parameters_keep_their_order_and_what_is_not_known_is_left_out() -> None:
    def take(zebra: int, apple: str = "a", *, mango=None, plum) -> str:  # type: ignore[no-untyped-def]
        return ""

    assert describe(take) == {
        "parameters": [
            {"name": "zebra", "hint": "int", "required": True, "schema": INTEGER},
            {"name": "apple", "hint": "str", "schema": STRING, "default": "a"},
            {"name": "mango", "default": None},
            {"name": "plum", "required": True},
        ],
        "result": STRING,
    }


def test_what_takes_other_names_says_what_they_must_be() -> None:
    def take(**others: int) -> None: ...

    def take_all(**others: Any) -> object: ...

    assert describe(take) == {
        "parameters": [],
        "more": INTEGER,
        "result": {"type": "null"},
    }
    assert describe(take_all) == {"parameters": [], "more": {}}


def test_a_default_of_none_lets_null_pass() -> None:
    def take(x: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013  # as users write

    (parameter,) = describe(take)["parameters"]

    assert parameter["schema"] == {"anyOf": [INTEGER, {"type": "null"}]}


@pytest.mark.parametrize(
    "value", [0, "", None, False, [], {"a": [1]}, (1, 2), MappingProxyType({"a": 1})]
)
def test_a_default_that_is_json_is_shown(value: Any) -> None:
    plain = {**value} if isinstance(value, Mapping) else value

    assert describe_default(value)["default"] == json.loads(json.dumps(plain))


@pytest.mark.parametrize(
    "value", [Thing(), {1, 2}, float("nan"), "\x00", "\ud800", 2**60, {1: 2}, ENDLESS]
)
def test_a_default_that_is_no_json_is_left_out(value: object) -> None:
    assert describe_default(value) == {"name": "x", "hint": "object"}


def test_a_hint_shows_no_address() -> None:
    def take(x: int) -> None: ...

    take.__annotations__["x"] = Thing()

    (parameter,) = describe(take)["parameters"]

    assert " at 0x" not in parameter["hint"]
    assert "Thing object" in parameter["hint"]


def test_a_hint_as_text_is_shown_as_written() -> None:
    def take(x: "list[Thing]") -> None: ...

    (parameter,) = describe(take)["parameters"]

    assert parameter["hint"] == "list[Thing]"


def test_a_class_of_the_functions_own_module_is_shown_by_its_name() -> None:
    def take(x: Thing, y: dict[str, Thing | None]) -> None: ...

    assert [parameter["hint"] for parameter in describe(take)["parameters"]] == [
        "Thing",
        "dict[str, Thing | None]",
    ]


def test_what_has_no_module_is_described_as_well() -> None:
    def take(x: Thing) -> None: ...

    # what was made by exec, say
    take.__module__ = None  # type: ignore[assignment]

    assert describe(take)["parameters"][0]["name"] == "x"


def test_of_a_huge_signature_only_the_names_are_published() -> None:
    def take(word: str, other: int = 1, **more: int) -> str:
        return word

    words = tuple(f"word{number:09}" for number in range(6_000))
    take.__annotations__["word"] = Literal.__getitem__(words)

    described = describe(take)

    assert described == {
        "parameters": [{"name": "word", "required": True}, {"name": "other"}],
        "more": {},
    }
    assert len(json.dumps(described)) < MAX_SIGNATURE_BYTES


def test_the_whole_docs_are_published_up_to_a_length() -> None:
    def short() -> None:
        """Do it.

        And more.
        """

    def long() -> None: ...

    def none() -> None: ...

    long.__doc__ = "x\x00y" + "z" * 5_000

    assert describe_doc(short) == "Do it.\n\nAnd more."
    assert describe_doc(none) is None
    doc = describe_doc(long)
    assert doc is not None
    assert doc.startswith("xyz")
    assert len(doc) <= MAX_DOC_CHARACTERS
