"""Type hints as JSON Schema, and what is made of hints that say nothing."""

import collections.abc as abc
import functools
import typing as t
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, create_model
from typing_extensions import TypeAliasType

from execution.fitting import find_misfits
from execution.hints import Schema, allow_null, describe_hint, read_hints

if TYPE_CHECKING:
    from somewhere_else import Missing  # type: ignore[import-not-found]  # as users do

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NULL: Schema = {"type": "null"}


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


class Opaque(Enum):
    ONE = object()


class Text(str):
    """Text by another name."""

    __slots__ = ()


class Numbers(list[int]):
    """A list by another name."""


class Stranger:
    """What JSON does not know."""


class Broken(t.TypedDict):
    """A class with a hint that only a type checker understands."""

    x: "Missing"


UserId = t.NewType("UserId", int)
UserIds = TypeAliasType("UserIds", list[UserId])
T = t.TypeVar("T")


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, STRING),
        (int, INTEGER),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (type(None), NULL),
        (Text, STRING),
        (UserId, INTEGER),
        (UserIds, {"type": "array", "items": INTEGER}),
        (t.Annotated[int, "of years"], INTEGER),
        (datetime, {"type": "string", "format": "date-time"}),
        (date, {"type": "string", "format": "date"}),
        (UUID, {"type": "string", "format": "uuid"}),
        (Path, {"type": "string", "format": "path"}),
        (PosixPath, {"type": "string", "format": "path"}),
        (
            Decimal,
            {"anyOf": [{"type": "number"}, {"type": "string", "format": "decimal"}]},
        ),
        (t.Optional[int], {"anyOf": [INTEGER, NULL]}),  # noqa: UP045  # both ways are written
        (int | str | None, {"anyOf": [INTEGER, STRING, NULL]}),
        (t.Union[int, UserId], INTEGER),  # noqa: UP007
        (int | Stranger, {}),
        (
            Decimal | None,
            {
                "anyOf": [
                    {"type": "number"},
                    {"type": "string", "format": "decimal"},
                    NULL,
                ]
            },
        ),
        (t.Literal["a", 1, None], {"enum": ["a", 1, None]}),
        (t.Literal[Colour.RED], {"enum": ["red"]}),
        (t.Literal[b"a"], {}),
        (Colour, {"enum": ["red", "blue"]}),
        (Level, {"enum": [1, 2]}),
        (Rights, INTEGER),
        (Opaque, {}),
        (list, {"type": "array"}),
        (t.List, {"type": "array"}),  # noqa: UP006
        (list[int], {"type": "array", "items": INTEGER}),
        (list[Any], {"type": "array"}),
        (set[str], {"type": "array", "items": STRING}),
        (frozenset[str], {"type": "array", "items": STRING}),
        (abc.Sequence[int], {"type": "array", "items": INTEGER}),
        (abc.Iterable[int], {"type": "array", "items": INTEGER}),
        (abc.Collection[int], {"type": "array", "items": INTEGER}),
        (Numbers, {"type": "array"}),
        (tuple, {"type": "array"}),
        (tuple[int, ...], {"type": "array", "items": INTEGER}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [INTEGER, STRING],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (dict, {"type": "object"}),
        (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (abc.Mapping[str, object], {"type": "object"}),
        (
            dict[str, list[int]],
            {
                "type": "object",
                "additionalProperties": {"type": "array", "items": INTEGER},
            },
        ),
        (Any, {}),
        (object, {}),
        (T, {}),
        (bytes, {}),
        (timedelta, {}),
        (Stranger, {}),
        (type[int], {}),
        (Callable[[int], int], {}),
        (Broken, {}),
        (list[Broken], {}),
        ("no hint at all", {}),
    ],
    ids=str,
)
def test_a_hint_is_a_schema(hint: object, schema: Schema) -> None:
    assert describe_hint(hint) == schema


class Parcel(t.TypedDict):
    weight: int
    note: "t.NotRequired[str]"


class Loose(t.TypedDict, total=False):
    weight: t.Required[int]
    note: str


@pytest.mark.parametrize("cls", [Parcel, Loose])
def test_a_typed_dict_has_its_keys_and_may_have_more(cls: type) -> None:
    assert describe_hint(cls) == {
        "$ref": f"#/$defs/{cls.__name__}",
        "$defs": {
            cls.__name__: {
                "type": "object",
                "properties": {"weight": INTEGER, "note": STRING},
                "required": ["weight"],
            }
        },
    }


@dataclass
class Node:
    value: int
    scale: InitVar[int]
    children: "list[Node]" = field(default_factory=list)
    hidden: int = field(default=0, init=False)


@dataclass
class Open:
    value: int

    def __init__(self, value: int, **more: int) -> None:
        self.value = value


def test_a_dataclass_has_what_its_constructor_takes_and_may_hold_itself() -> None:
    schema = describe_hint(Node | None)

    assert schema["anyOf"] == [{"$ref": "#/$defs/Node"}, NULL]
    assert schema["$defs"]["Node"] == {
        "type": "object",
        "properties": {
            "value": INTEGER,
            "scale": {},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        },
        "required": ["value", "scale"],
        "additionalProperties": False,
    }


def test_a_constructor_that_takes_more_leaves_its_class_open() -> None:
    (schema,) = describe_hint(Open)["$defs"].values()

    assert "additionalProperties" not in schema


def test_classes_of_one_name_are_told_apart() -> None:
    def make(kind: type) -> Any:
        @dataclass
        class Same:
            value: kind  # type: ignore[valid-type]  # a type that is passed in

        return Same

    one: Any = make(int)
    other: Any = make(str)

    schema = describe_hint(t.Union[dict[str, one], list[other]])  # noqa: UP007  # of variables

    assert len(schema["$defs"]) == 2
    assert not find_misfits(schema, {"a": {"value": 1}})
    assert find_misfits(schema, [{"value": 1}])


class Model(BaseModel):
    size: int


@dataclass
class Holder:
    model: Model
    models: list[Model]


def test_a_model_inside_a_class_of_fields_is_described_by_pydantic() -> None:
    schema = describe_hint(Holder)

    assert not find_misfits(schema, {"model": {"size": 1}, "models": [{"size": 2}]})
    assert find_misfits(schema, {"model": {"size": "x"}, "models": []})
    assert find_misfits(schema, {"model": {"size": 1}, "models": [{"sice": 2}]})


def test_of_models_of_one_name_nothing_is_said() -> None:
    @dataclass
    class Both:
        one: list[Model]
        other: Any

    other = create_model("Model", text=(str, ...))
    Both.__init__.__annotations__["other"] = dict[str, other]  # type: ignore[valid-type]  # made here

    schema = describe_hint(Both)

    assert schema["$defs"]["Model"] == {}
    assert not find_misfits(schema, {"one": [{"size": 1}], "other": {}})


def test_null_may_stand_for_what_is_not_given() -> None:
    assert allow_null(STRING) == {"anyOf": [STRING, NULL]}
    assert allow_null({}) == {}
    assert allow_null(NULL) == NULL
    assert allow_null({"anyOf": [INTEGER, NULL]}) == {"anyOf": [INTEGER, NULL]}
    assert allow_null({"$ref": "#/$defs/A", "$defs": {"A": {}}}) == {
        "anyOf": [{"$ref": "#/$defs/A"}, NULL],
        "$defs": {"A": {}},
    }


def written(plain: int, text: "Colour", lost: "Missing", *, open_: Any, none=None):  # type: ignore[no-untyped-def]
    """Take hints of all kinds."""


def test_hints_are_read_as_the_code_means_them() -> None:
    assert read_hints(written) == {
        "plain": int,
        "text": Colour,
        "lost": Any,
        "open_": Any,
        "none": Any,
        "return": Any,
    }


def test_hints_of_a_wrapped_function_are_looked_up_where_it_was_written() -> None:
    @functools.wraps(written)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return None

    assert read_hints(wrapper)["text"] is Colour


def test_a_callable_object_has_hints_as_well() -> None:
    class Tool:
        def __call__(self, x: int) -> "str":
            return str(x)

    assert read_hints(Tool()) == {"x": int, "return": str}
