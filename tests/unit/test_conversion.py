"""Models of pydantic in actions: filled from JSON, dumped to JSON."""

import sys
import traceback
from collections import namedtuple
from datetime import date
from typing import Annotated, Any, Literal, NewType

import pydantic.dataclasses
import pytest
from pydantic import BaseModel, ConfigDict, Field

from execution.actions import Action, ActionRegistry
from execution.conversion import build_converter, dump_models, names_model
from execution.errors import ActionInputError, ResultError


class Address(BaseModel):
    city: str
    since: date | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    pair: tuple[int, int]


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@pydantic.dataclasses.dataclass
class Point:
    x: int


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Home = NewType("Home", Address)


def move(
    address: Address, others: list[Address] | None = None, plain: object = None
) -> Any:
    """Return what came in, as it came."""
    return [address, others, plain]


def adopt(**pets: Pet) -> list[str]:
    """Return the classes of the values."""
    return [type(pet).__name__ for pet in pets.values()]


def add(function: Any) -> Action:
    return ActionRegistry().add("test.unit", function, None)


@pytest.mark.parametrize(
    "hint",
    [
        Address,
        list[Address],
        dict[str, Address | None],
        Pet,
        Home,
        Point,
        tuple[int, Annotated[Address, "home"]],
    ],
    ids=str,
)
def test_a_model_is_found_wherever_it_stands(hint: object) -> None:
    assert names_model(hint)
    assert build_converter(hint) is not None


@pytest.mark.parametrize("hint", [int, list[dict[str, Any]], Annotated[int, Address]])
def test_what_names_no_model_is_left_alone(hint: object) -> None:
    assert not names_model(hint)
    assert build_converter(hint) is None


def test_without_pydantic_nothing_names_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "pydantic")
    address = Address.model_construct(city="Rome")

    assert not names_model(Address)
    assert dump_models(address) is address


def test_an_action_gets_models() -> None:
    seen: list[Any] = []

    def take(address: Address, others: list[Address], plain: dict[str, str]) -> None:
        seen.extend([address, others, plain])

    add(take).call(
        None,
        {
            "address": {"city": "Rome", "since": "2026-11-21"},
            "others": [{"city": "Oslo"}],
            "plain": {"city": "Bern"},
        },
    )

    assert seen == [
        Address(city="Rome", since=date(2026, 11, 21)),
        [Address(city="Oslo")],
        {"city": "Bern"},
    ]


def test_other_names_get_models_too() -> None:
    assert add(adopt).call(None, {"a": {"kind": "dog"}, "pets": {"kind": "cat"}}) == [
        "Dog",
        "Cat",
    ]


def test_strict_models_are_filled_from_what_json_can_write() -> None:
    def take(strict: Strict) -> bool:
        return strict == Strict(day=date(2026, 11, 21), pair=(1, 2))

    assert add(take).call(None, {"strict": {"day": "2026-11-21", "pair": [1, 2]}})


def test_each_call_gets_instances_of_its_own() -> None:
    seen: list[Any] = []

    def take(address: Address) -> None:
        seen.append(address)

    action, inputs = add(take), {"address": {"city": "Rome"}}
    action.call(None, inputs)
    action.call(None, inputs)

    assert seen[0] == seen[1]
    assert seen[0] is not seen[1]
    assert inputs == {"address": {"city": "Rome"}}


def test_inputs_that_do_not_fit_are_all_named_and_never_quoted() -> None:
    called: list[Any] = []

    def take(address: Address, others: list[Address]) -> None:
        called.append(address)

    inputs = {
        "address": {"city": "Rome", "since": "pa55word"},
        "others": [{"city": 5}, {}],
    }
    with pytest.raises(ActionInputError) as refusal:
        add(take).call(None, inputs)

    text = str(refusal.value)
    assert "test.unit" in text
    assert "address: since:" in text
    assert "others: 0.city:" in text
    assert "1.city: Field required" in text
    assert "pa55word" not in "".join(traceback.format_exception(refusal.value))
    assert not called


def test_of_many_misfits_the_first_are_told() -> None:
    def take(addresses: list[Address]) -> None: ...

    with pytest.raises(ActionInputError, match=r"9\.city: Field required; and 5 more$"):
        add(take).call(None, {"addresses": [{}] * 15})


def test_a_misfit_of_the_value_itself_has_no_place_inside() -> None:
    def take(pet: Cat) -> None: ...

    with pytest.raises(ActionInputError, match="unit: pet: Input should be"):
        add(take).call(None, {"pet": 5})


def test_models_that_are_returned_become_json() -> None:
    inputs = {
        "address": {"city": "Rome", "since": "2026-11-21"},
        "plain": (1, {"a": 2}),
    }

    assert add(move).call(None, inputs) == [
        {"city": "Rome", "since": "2026-11-21"},
        None,
        (1, {"a": 2}),
    ]


Pair = namedtuple("Pair", "first second")


def test_models_are_dumped_inside_whatever_holds_them() -> None:
    city = {"city": "Rome", "since": None}
    address = Address(city="Rome")

    assert dump_models({"a": (1, address)}) == {"a": [1, city]}
    assert dump_models(Pair(address, 2)) == [city, 2]
    assert dump_models(Point(x=1)) == {"x": 1}


def test_a_value_without_models_stays_what_it_is() -> None:
    value = {"a": [1, (2, {"b": None})]}

    assert dump_models(value) is value


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = [1]
    endless += [endless, endless]

    with pytest.raises(ResultError, match="deeper than 64"):
        dump_models(endless)


def test_the_catalogue_has_the_schema_of_models() -> None:
    signature = add(move).describe()["signature"]

    schemas = {p["name"]: p.get("schema") for p in signature["parameters"]}
    assert schemas["plain"] is None
    assert schemas["address"]["required"] == ["city"]
    assert schemas["others"]["anyOf"][0]["items"] == {"$ref": "#/$defs/Address"}
