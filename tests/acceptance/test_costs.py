"""What a step costs, in counts and not in times: a regression fails on any machine.

A chain and a fan-out of 32 steps that do nothing, on a real worker of two processes.
Each count is the least of a few runs, for whatever else happens only adds to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import pytest

from benchmarks.counting import CostMeter, Costs, open_meter, take_least
from benchmarks.plans import build_chain, build_fan_out
from execution import ExecutionEngine, Plan, Settings
from execution.local import LocalStack
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.rides

STEPS = 32
MOST_RUNS = 8


@dataclass(frozen=True)
class Budget:
    """The most that a step may cost; see `Costs` for what is counted."""

    round_trips: float
    transactions: float
    messages: float
    broker_bytes: float
    wal_bytes: float


# A chain rides: one message, one claim, and a call for each step; the machine may stand
# still once, which ends a ride. A fan-out has as many lanes as are worth sending, and
# each of the sixteen begins with a message and a claim. Bytes have some room: how many
# there are varies with ids and times, and with whole pages in the log.
CALLS = 1 + 2 / STEPS
CHAIN = Budget(CALLS, CALLS, 2 / STEPS, broker_bytes=250, wal_bytes=2_600)
LANES = 18 / STEPS
FAN_OUT = Budget(1 + LANES, 1 + LANES, LANES, broker_bytes=1_500, wal_bytes=3_400)


@pytest.fixture(scope="module")
def meter(stack: LocalStack, settings: Settings) -> Iterator[CostMeter]:
    """A meter, and a worker that is counted."""
    with (
        open_meter(stack) as opened,
        WorkerProcess.start(opened.name_worker(settings), slots=2),
    ):
        yield opened


@pytest.mark.parametrize(
    ("plan", "budget"),
    [
        (build_chain(STEPS, action="test.nothing"), CHAIN),
        (build_fan_out(STEPS - 2, action="test.nothing"), FAN_OUT),
    ],
    ids=["chain", "fan_out"],
)
def test_a_step_costs_no_more_than_its_budget(
    engine: ExecutionEngine, meter: CostMeter, plan: Plan, budget: Budget
) -> None:
    def run() -> None:
        execution_id = engine.submit(plan)
        assert engine.wait(execution_id, timeout_seconds=60).is_success
        check_timeline(engine, execution_id)

    # connections are opened, the plan is stored, pages are written in whole
    run()
    measured = [meter.measure(run, steps=STEPS)]
    while list_excesses(take_least(measured), budget) and len(measured) < MOST_RUNS:
        measured.append(meter.measure(run, steps=STEPS))

    least = take_least(measured)
    assert list_excesses(least, budget) == [], least


def list_excesses(costs: Costs, budget: Budget) -> list[str]:
    """Return what costs too much, and how much."""
    pairs = [
        (field.name, getattr(costs, field.name), getattr(budget, field.name))
        for field in fields(budget)
    ]
    return [
        f"{name}: {cost:.2f}, not {most:g}" for name, cost, most in pairs if cost > most
    ]
