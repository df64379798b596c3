"""Signals that come while something else happens to the step that waits for them.

Each pair of writes meets many times over, in either order: a signal is taken by one
step or kept, a step ends once, and nobody waits for what is there.
"""

import json
import uuid
from collections.abc import Iterator
from functools import partial

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import HeldStep
from execution.signal_records import AwaitAnswer, Awaited, SendAnswer, Sent
from execution.sweeps import ExpiredStep
from tests.racing import Arena, Race, arena_of, count_wrong_rounds
from tests.rows import committed
from tests.timeline import check_timeline, read_timeline

ROUNDS = 60
WAITING = Plan(
    "waiting",
    steps=[Step("approve", wait_for="approval"), Step("after", action="test.nothing")],
)
BOTH = Plan(
    "both",
    steps=[Step(n, wait_for="approval", needs=[]) for n in ("one", "other")],
)


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


def begin_wait(
    arena: Arena, held: HeldStep, seconds: float | None = None
) -> AwaitAnswer:
    recorded = {"wait_for": "approval", "timeout": "1ms", "default": "nobody"}
    return arena.records.signals.begin_wait(
        held, recorded_input=json.dumps(recorded), name="approval", seconds=seconds
    )


def send(
    arena: Arena, execution_id: str, payload: object, key: str | None = None
) -> SendAnswer:
    return arena.records.signals.send(
        execution_id,
        "approval",
        json.dumps(payload),
        signal_id=str(uuid.uuid4()),
        by="ann",
        reason=None,
        key=key,
    )


def count_events(arena: Arena, execution_id: str, kind: str) -> int:
    return sum(e.type == kind for e in read_timeline(arena.engine, execution_id))


def takers(arena: Arena, execution_id: str) -> list[str | None]:
    return [s.taken_by for s in arena.records.signals.list_signals(execution_id)]


def race_wait(arena: Arena) -> None:
    """Whether it comes before the wait or after: the step has it."""
    execution_id = arena.submit(WAITING)
    held = arena.claim(execution_id)

    waited, sent = arena.race_pair(
        partial(begin_wait, arena, held),
        partial(send, arena, execution_id, "yes"),
        over=execution_id,
    )

    assert sent.outcome is Sent.SENT
    assert waited.outcome in (Awaited.WAITING, Awaited.ENDED)
    step = arena.read_step(execution_id)
    assert (step["status"], step["result"]) == ("completed", "yes")
    assert takers(arena, execution_id) == ["approve"]
    assert sent.completion is not None
    # whoever let it end has what is to be sent
    windows = (*waited.completion.windows, *sent.completion.windows)
    assert [window.links[0].position for window in windows] == [1]
    check_timeline(arena.engine, execution_id)


def race_sql(arena: Arena) -> None:
    """One that takes no lock is received by the wait, or by who looks for it."""
    execution_id = arena.submit(WAITING)
    held = arena.claim(execution_id)

    def send_by_sql() -> None:
        url, schema = str(arena.settings.database_url), arena.settings.schema
        with committed(url, schema) as cursor:
            cursor.execute("SELECT signal(%s, 'approval', '1')", (execution_id,))

    arena.race_pair(partial(begin_wait, arena, held), send_by_sql, over=execution_id)
    arena.records.signals.deliver(execution_id)

    assert arena.read_step(execution_id)["result"] == 1
    assert takers(arena, execution_id) == ["approve"]
    check_timeline(arena.engine, execution_id)


def race_timeout(arena: Arena) -> None:
    """The step ends once; what came too late is kept."""
    execution_id = arena.submit(WAITING)
    begin_wait(arena, arena.claim(execution_id), 0.0)

    expire = partial(arena.liveness.expire_step, ExpiredStep(execution_id, 0))
    arena.race_pair(
        partial(send, arena, execution_id, "yes"), expire, over=execution_id
    )
    expire()  # who was held up passes it over

    result = arena.read_step(execution_id)["result"]
    taken = takers(arena, execution_id)
    assert (result, taken) in (("yes", ["approve"]), ("nobody", [None]))
    assert count_events(arena, execution_id, "step.completed") == 1
    check_timeline(arena.engine, execution_id)


def race_cancel(arena: Arena) -> None:
    """It is taken before the end begins, or not at all."""
    execution_id = arena.submit(WAITING)
    begin_wait(arena, arena.claim(execution_id))

    _, sent = arena.race_pair(
        partial(arena.repository.update_state, execution_id, ExecutionStatus.ENDING),
        partial(send, arena, execution_id, "yes"),
        over=execution_id,
    )

    assert sent.outcome in (Sent.SENT, Sent.OVER)
    status = arena.read_step(execution_id)["status"]
    taken = takers(arena, execution_id) == ["approve"]
    assert status == ("completed" if taken else "cancelled")
    check_timeline(arena.engine, execution_id)


def race_pause(arena: Arena) -> None:
    """It is taken in any case, and nothing is sent once the pause is there."""
    execution_id = arena.submit(WAITING)
    begin_wait(arena, arena.claim(execution_id))

    arena.race_pair(
        partial(arena.repository.update_state, execution_id, ExecutionStatus.PAUSED),
        partial(send, arena, execution_id, "yes"),
        over=execution_id,
    )

    assert takers(arena, execution_id) == ["approve"]
    assert arena.read_step(execution_id, 1)["status"] == StepStatus.READY
    assert arena.try_claim(execution_id, 1).claim is None
    resumed = arena.repository.update_state(execution_id, ExecutionStatus.RUNNING)
    assert [window.links[0].position for window in resumed.windows] == [1]
    check_timeline(arena.engine, execution_id)


def race_signals(arena: Arena) -> None:
    """Of two for one step, one is taken and the other kept."""
    execution_id = arena.submit(WAITING)
    begin_wait(arena, arena.claim(execution_id))

    arena.race(
        [partial(send, arena, execution_id, n) for n in (1, 2)], over=execution_id
    )

    assert takers(arena, execution_id) == ["approve", None]
    assert count_events(arena, execution_id, "signal.taken") == 1
    check_timeline(arena.engine, execution_id)


def race_for_two(arena: Arena) -> None:
    """Two signals for two steps: each has one, and the execution ends once."""
    execution_id = arena.submit(BOTH)
    for position in (0, 1):
        begin_wait(arena, arena.claim(execution_id, position))

    arena.race(
        [partial(send, arena, execution_id, n) for n in (1, 2)], over=execution_id
    )

    results = {arena.read_step(execution_id, p)["result"] for p in (0, 1)}
    assert results == {1, 2}
    assert takers(arena, execution_id) == ["one", "other"]
    assert count_events(arena, execution_id, "execution.ending") == 1
    check_timeline(arena.engine, execution_id)


def race_keys(arena: Arena) -> None:
    """Two clicks are one signal."""
    execution_id = arena.submit(BOTH)
    for position in (0, 1):
        begin_wait(arena, arena.claim(execution_id, position))

    first, second = arena.race(
        [partial(send, arena, execution_id, "yes", "click")] * 2, over=execution_id
    )

    assert {first.outcome, second.outcome} == {Sent.SENT, Sent.REPEATED}
    assert first.signal_id == second.signal_id
    assert takers(arena, execution_id) == ["one"]
    check_timeline(arena.engine, execution_id)


@pytest.mark.parametrize(
    "race",
    [
        *(race_wait, race_sql, race_timeout, race_cancel, race_pause),
        *(race_signals, race_for_two, race_keys),
    ],
)
def test_a_signal_is_taken_once_or_kept(arena: Arena, race: Race) -> None:
    assert count_wrong_rounds(race, arena, ROUNDS) == 0
