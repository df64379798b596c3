"""Actions that say what they take: models, hints, and a note of each call."""

from decimal import Decimal

from pydantic import BaseModel

from execution import action
from tests.actions import note


class Line(BaseModel):
    item: str
    count: int = 1


class Order(BaseModel):
    number: int
    lines: list[Line] = []
    total: Decimal = Decimal(0)


@action("typed.order")
def make_order(number: int, item: str = "tea") -> Order:
    """Make an order of one line."""
    return Order(number=number, lines=[Line(item=item, count=2)], total=Decimal("1.5"))


@action("typed.split")
def split(order: Order, ledger: str) -> dict[str, list[Line]]:
    """Give each line of an order to one of two heaps, as models in JSON."""
    note(ledger, f"{type(order).__name__} {type(order.lines[0]).__name__}")
    order.number += 1
    return {"left": order.lines[:1], "right": order.lines[1:]}


@action("typed.any")
def give(value: object) -> object:
    """Return what came in."""
    return value
