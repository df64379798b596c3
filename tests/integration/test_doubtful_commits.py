"""Ends whose commit is in doubt: told again, they send what they let begin again."""

from typing import Any

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.answers import Completion, HeldStep, Recorded
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from tests.integration.test_protocol import claim, nothing, register
from tests.timeline import heads

_ERROR = '{"code": "E003", "message": "no"}'


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


def fail(name: str, **fields: Any) -> Step:
    return Step(name, action="test.nothing", **fields)


def complete_twice(
    records: StepRecords, held: HeldStep, status: StepStatus
) -> tuple[Completion, Completion]:
    """Record the end of a step, and once more as if the first answer was lost."""
    error = _ERROR if status is StepStatus.FAILED else None
    ends = [records.complete(held, status, error=error, epoch=1) for _ in range(2)]
    return ends[0], ends[1]


def check_sent_again(first: Completion, again: Completion, *names: str) -> None:
    assert (first.outcome, again.outcome) == (Recorded.RECORDED, Recorded.REPEATED)
    assert heads(first.windows) == heads(again.windows) == list(names)


def test_a_failure_told_again_sends_the_fallback_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan("p", steps=[fail("a", on_failure={"fallback": "b"}), nothing("b")])
    held = claim(records, worker_id, engine.submit(plan), 0).held

    check_sent_again(*complete_twice(records, held, StepStatus.FAILED), "b")


def test_another_failure_of_a_step_that_has_fallen_back_is_stale(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan("p", steps=[fail("a", on_failure={"fallback": "b"}), nothing("b")])
    held = claim(records, worker_id, engine.submit(plan), 0).held
    records.complete(held, StepStatus.FAILED, error=_ERROR, epoch=1)

    late = records.complete(held, StepStatus.FAILED, error="{}", epoch=1)

    assert (late.outcome, late.windows) == (Recorded.STALE, ())


@pytest.mark.parametrize("status", [StepStatus.COMPLETED, StepStatus.FAILED])
def test_the_end_of_a_fallback_told_again_sends_what_follows_again(
    engine: ExecutionEngine,
    records: StepRecords,
    worker_id: str,
    status: StepStatus,
) -> None:
    steps = [
        fail("a", needs=[], on_failure={"fallback": "b"}),
        fail("c", needs=["a"]),
        nothing("x", []),
        fail("d", needs=["a", "x"]),
        fail("b", on_failure="skip"),
    ]
    execution_id = engine.submit(Plan("p", steps=steps))
    other = claim(records, worker_id, execution_id, 2).held
    records.complete(other, StepStatus.COMPLETED, epoch=1)
    held = claim(records, worker_id, execution_id, 0).held
    records.complete(held, StepStatus.FAILED, error=_ERROR, epoch=1)
    held = claim(records, worker_id, execution_id, 4).held

    names = ("c", "d") if status is StepStatus.COMPLETED else ("d",)
    check_sent_again(*complete_twice(records, held, status), *names)


@pytest.mark.parametrize("status", [StepStatus.COMPLETED, StepStatus.FAILED])
def test_the_end_of_an_item_told_again_sends_the_next_one_again(
    engine: ExecutionEngine,
    records: StepRecords,
    worker_id: str,
    status: StepStatus,
) -> None:
    step = fail("a", for_each="[1, 2, 3]", max_parallel=1, on_failure="skip")
    execution_id = engine.submit(Plan("p", steps=[step, nothing("b")]))
    parent = claim(records, worker_id, execution_id, 0)
    records.expand(parent.held, attempt=1, items="[1, 2]")

    for position, follower in ((2, "a[1]"), (3, "b")):
        held = claim(records, worker_id, execution_id, position).held
        check_sent_again(*complete_twice(records, held, status), follower)


def test_the_last_end_of_a_section_told_again_sends_the_next_section_again(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    last = Step("z", action="test.nothing", run_on="always", deadline="1m")
    execution_id = engine.submit(Plan("p", steps=[nothing("a"), last]))
    held = claim(records, worker_id, execution_id, 0).held

    check_sent_again(*complete_twice(records, held, StepStatus.COMPLETED), "z")
