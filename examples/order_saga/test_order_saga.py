"""How an order goes, and how it is taken back: tests of the plan, not of the services.

They run in this process, over a real PostgreSQL, by the fixture `plans` that comes with
celery-plans.
"""

from pathlib import Path
from typing import Any

import pytest

from execution.testing import Rehearsal

from . import actions  # noqa: F401  # registers them
from .ledger import read_effects

PLAN = Path(__file__).with_name("plan.yaml")
UNDONE_LAST_FIRST = ["confirm.undo", "charge.undo", "reserve.undo"]


@pytest.fixture
def order(tmp_path: Path) -> dict[str, Any]:
    """The parameters of an order that can be shipped."""
    return {"ledger": str(tmp_path / "ledger"), "cents": 500, "address": "Ann's"}


def test_order_is_charged_and_shipped(plans: Rehearsal, order: dict[str, Any]) -> None:
    run = plans.run(PLAN, order | {"parcels": 3})

    assert run.result == {"charged": 500, "shipped": 3}
    run.assert_order("reserve", "charge", "confirm", "ship")


def test_order_without_an_address_is_undone_last_first(
    plans: Rehearsal, order: dict[str, Any]
) -> None:
    run = plans.run(PLAN, order | {"address": ""})

    assert run.status == "failed"
    assert run.timeline.order()[-3:] == UNDONE_LAST_FIRST


def test_order_that_is_cancelled_while_it_is_packed_is_undone(
    plans: Rehearsal, order: dict[str, Any]
) -> None:
    run = plans.submit(PLAN, order)
    plans.fake("parcel.ship", lambda **_: plans.engine.cancel(run.id) and 0)

    run.go_on()

    assert run.status == "cancelled"
    assert run.timeline.order()[-3:] == UNDONE_LAST_FIRST


@pytest.mark.parametrize("step", ["reserve", "charge", "confirm", "charge.undo"])
def test_money_moves_once_though_a_worker_is_killed(
    plans: Rehearsal, order: dict[str, Any], step: str
) -> None:
    plans.kill_at(step, "called")

    run = plans.run(PLAN, order | {"address": ""})

    run.assert_attempts(step, 2)
    booked = read_effects(order["ledger"])
    assert [b["amount"] for b in booked if b["account"] == "payment"] == [500, -500]


def test_answer_that_is_lost_is_asked_for_again(
    plans: Rehearsal, order: dict[str, Any]
) -> None:
    run = plans.run(PLAN, order | {"lossy": True})

    run.assert_completed().assert_attempts("charge", 2)
