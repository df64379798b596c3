"""Whether values fit a schema, while parts of them are not known yet."""

import json
import random
import time
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from execution.fitting import Unknown, find_misfits, foresee
from execution.hints import Schema, describe_hint

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
NULL: Schema = {"type": "null"}
POINT: Schema = {
    "type": "object",
    "properties": {"x": INTEGER, "label": STRING},
    "required": ["x"],
    "additionalProperties": False,
}


def list_misfits(schema: object, value: object) -> list[str]:
    """Return what does not fit, each as place and message."""
    found = find_misfits(schema, value)
    return [f"{'.'.join(map(str, m.path))}: {m.message}" for m in found]


@pytest.mark.parametrize(
    ("template", "known"),
    [
        (5, 5),
        ("text", "text"),
        ("", ""),
        ("$${x}", "${x}"),
        ("${parameters.x}", Unknown.VALUE),
        (" ${parameters.x}", Unknown.TEXT),
        ("${parameters.x}${parameters.y}", Unknown.TEXT),
        ("$${x} ${parameters.x}", Unknown.TEXT),
        ("${not closed", Unknown.VALUE),
        ("secret://KEY", Unknown.VALUE),
        ({"a": ["${parameters.x}", {"b": 1}]}, {"a": [Unknown.VALUE, {"b": 1}]}),
    ],
)
def test_what_is_known_of_a_template(template: object, known: object) -> None:
    assert foresee(template) == known


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, object()),
        (True, 1),
        (False, 1),
        (None, 1),
        (STRING, ""),
        (INTEGER, 1),
        (NUMBER, 1),
        (NUMBER, 1.5),
        (NULL, None),
        ({"type": ["string", "null"]}, None),
        ({"type": "nonsense"}, 1),
        ({"type": 5}, 1),
        ({"type": {}}, 1),
        ({"enum": ["a", 1]}, 1),
        ({"const": "a"}, "a"),
        ({"enum": "ab"}, "c"),
        ({"anyOf": [STRING, INTEGER]}, 1),
        ({"oneOf": [STRING, INTEGER]}, 1),
        ({"allOf": [INTEGER, {"minimum": 1}]}, 1),
        (POINT, {"x": 1}),
        ({**POINT, "additionalProperties": INTEGER}, {"x": 1, "y": 2}),
        ({**POINT, "patternProperties": {}}, {"x": 1, "y": "z"}),
        ({"type": "array", "items": INTEGER}, []),
        ({"prefixItems": [INTEGER], "items": STRING}, [1, "a", "b"]),
        ({"minimum": 1, "maximum": 2, "multipleOf": 7}, 2),
        ({"exclusiveMinimum": 1, "exclusiveMaximum": 3}, 2),
        ({"minLength": 1, "maxLength": 2, "pattern": "x"}, "ab"),
        ({"minItems": 1, "maxItems": 2}, [1]),
        ({"minimum": 1, "minLength": 1, "minItems": 1}, None),
        ({"minimum": "a"}, 1),
        ({"type": "string", "format": "date-time"}, "2026-11-21T08:00:00z"),
        ({"type": "string", "format": "date"}, "2026-11-21"),
        ({"type": "string", "format": "time"}, "08:00"),
        ({"type": "string", "format": "uuid"}, "01a1fc5f-ecfd-7f66-aad4-cad5b7662969"),
        ({"type": "string", "format": "email"}, "nobody"),
        ({"format": ["date"]}, "x"),
        ({"format": "date"}, 5),
        ({"$ref": "#/$defs/A", "$defs": {"A": INTEGER}}, 1),
        ({"$ref": "#/$defs/B", "$defs": {"A": INTEGER}}, "x"),
        ({"properties": []}, {"a": 1}),
        # what is not known yet
        (INTEGER, Unknown.VALUE),
        (POINT, {"x": Unknown.VALUE}),
        (STRING, Unknown.TEXT),
        ({"anyOf": [INTEGER, STRING]}, Unknown.TEXT),
        ({"enum": ["a", 1]}, Unknown.TEXT),
        ({"type": "string", "format": "date", "minLength": 50}, Unknown.TEXT),
        ({"minimum": 5}, Unknown.TEXT),
    ],
)
def test_what_fits(schema: object, value: object) -> None:
    assert list_misfits(schema, value) == []


@pytest.mark.parametrize(
    ("schema", "value", "misfits"),
    [
        (INTEGER, "5", [': must be of type integer, and is "5"']),
        (INTEGER, True, [": must be of type integer, and is true"]),
        (INTEGER, 5.0, [": must be of type integer, and is 5.0"]),
        (NUMBER, False, [": must be of type number, and is false"]),
        (STRING, None, [": must be of type string, and is null"]),
        (NULL, 0, [": must be null, and is 0"]),
        ({"type": "boolean"}, 1, [": must be of type boolean, and is 1"]),
        (POINT, [], [": must be of type object, and is a list"]),
        ({"type": "array"}, {}, [": must be of type array, and is a mapping"]),
        (
            {"type": ["string", "null"]},
            1,
            [": must be of type string or null, and is 1"],
        ),
        ({"enum": ["a", "b"]}, "c", [': must be one of "a", "b", and is "c"']),
        ({"enum": [1]}, True, [": must be 1, and is true"]),
        ({"const": "cat"}, "dog", [': must be "cat", and is "dog"']),
        (
            {"enum": list(range(12))},
            12,
            [": must be one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …, and is 12"],
        ),
        (
            {"anyOf": [INTEGER, STRING, NULL]},
            1.5,
            [": must be of type integer or of type string or null, and is 1.5"],
        ),
        (
            {"oneOf": [{"allOf": [INTEGER]}, True, STRING]},
            1.5,
            [],
        ),
        (
            {"anyOf": [{"allOf": [INTEGER]}, STRING]},
            1.5,
            [": must be something else or of type string, and is 1.5"],
        ),
        (
            {"anyOf": [POINT, NULL]},
            {"x": "a"},
            ['x: must be of type integer, and is "a"'],
        ),
        (
            {"anyOf": [POINT, {**POINT, "required": []}]},
            {"x": "a"},
            [": must be of type object, and is a mapping"],
        ),
        (
            {"allOf": [{"minimum": 3}, {"maximum": 1}]},
            2,
            [": must be at least 3, and is 2", ": must be at most 1, and is 2"],
        ),
        (
            POINT,
            {"lable": 1, "label": 2},
            [
                "x: is missing",
                'lable: is not known here; did you mean "label"?',
                "label: must be of type string, and is 2",
            ],
        ),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {"a": "b"},
            ['a: must be of type integer, and is "b"'],
        ),
        (
            {"prefixItems": [INTEGER], "items": STRING},
            ["a", 1],
            [
                '0: must be of type integer, and is "a"',
                "1: must be of type string, and is 1",
            ],
        ),
        ({"exclusiveMinimum": 1}, 1, [": must be more than 1, and is 1"]),
        ({"exclusiveMaximum": 1.5}, 2, [": must be less than 1.5, and is 2"]),
        ({"minLength": 2}, "a", [": must have at least 2 characters, and has 1"]),
        ({"maxLength": 0}, "a", [": must have at most 0 characters, and has 1"]),
        ({"minItems": 1}, [], [": must have at least 1 items, and has 0"]),
        ({"maxItems": 1}, [1, 2], [": must have at most 1 items, and has 2"]),
        (
            {"type": "string", "format": "date"},
            "soon",
            [': must be a date as text, and is "soon"'],
        ),
        (
            {"type": "string", "format": "decimal"},
            "1,5",
            [': must be a decimal as text, and is "1,5"'],
        ),
        (
            {"type": "string", "format": "uuid"},
            5,
            [": must be of type string (uuid), and is 5"],
        ),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": INTEGER}},
            "x",
            [': must be of type integer, and is "x"'],
        ),
        (INTEGER, Unknown.TEXT, [": must be of type integer, and is text around ${…}"]),
        (
            {"enum": [1, 2]},
            Unknown.TEXT,
            [": must be one of 1, 2, and is text around ${…}"],
        ),
        (
            {"anyOf": [{"$ref": "#/$defs/A"}, NULL], "$defs": {"A": INTEGER}},
            Unknown.TEXT,
            [": must be of type integer or null, and is text around ${…}"],
        ),
    ],
    ids=str,
)
def test_what_does_not_fit(schema: object, value: object, misfits: list[str]) -> None:
    assert list_misfits(schema, value) == misfits


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {
            "$ref": "#/$defs/A",
            "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}},
        },
    ],
)
def test_a_schema_that_leads_in_a_circle_refuses_nothing(schema: Schema) -> None:
    begun = time.monotonic()

    assert list_misfits(schema, "x") == []
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("untraced")
def test_a_long_list_is_looked_at_for_a_while() -> None:
    found = find_misfits({"items": INTEGER}, ["x"] * 200_000)

    assert 10_000 < len(found) < 200_000


@dataclass
class Part:
    # a constructor takes no other names; pydantic drops them unless it is told
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    size: int
    parts: "list[Part] | None" = None


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(ge=1, lt=10)
    name: str | None = Field(default=None, max_length=3)
    inner: "Model | list[int] | None" = None


HINTS: list[Any] = [
    int,
    float,
    bool,
    str | None,
    list[int | str],
    tuple[int, str],
    tuple[float, ...],
    dict[str, bool],
    Literal["a", 5, None],
    datetime | None,
    date | int,
    UUID | bool,
    Part,
    dict[str, Part | None],
    Decimal | None,
    Model,
    list[Model],
]
ATOMS: list[Any] = [
    *(None, True, False, 0, 1, 5, 12, -1, 1.5),
    *("a", "abcd", "2026-11-21", "2026-11-21T08:00:00Z"),
    "01a1fc5f-ecfd-7f66-aad4-cad5b7662969",
]
KEYS = ["a", "b", "size", "parts", "name", "inner", "x"]


def draw_value(dice: random.Random, depth: int = 0) -> Any:
    """Return some JSON value that may or may not fit one of the hints."""
    kind = dice.random() if depth < 3 else 0.0
    if kind < 0.4:
        return dice.choice(ATOMS)
    if kind < 0.6:
        return [draw_value(dice, depth + 1) for _ in range(dice.randrange(3))]
    keys = dice.sample(KEYS, dice.randrange(4))
    return {key: draw_value(dice, depth + 1) for key in keys}


def fits_by_pydantic(adapter: TypeAdapter[Any], value: object, *, strict: bool) -> bool:
    try:
        adapter.validate_json(json.dumps(value), strict=strict)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_what_fits_a_hint_is_what_pydantic_takes(hint: Any) -> None:
    """Which is a little more where it may convert, and a little less where not."""
    schema = describe_hint(hint)
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    seed = f"fitting {hint}"
    dice = random.Random(seed)
    verdicts = set()

    for _ in range(3_000):
        value = draw_value(dice)
        fits = not find_misfits(schema, value)
        verdicts.add(fits)
        if fits:
            assert fits_by_pydantic(adapter, value, strict=False), (seed, value)
        else:
            assert not fits_by_pydantic(adapter, value, strict=True), (seed, value)

    assert verdicts == {True, False}, seed
