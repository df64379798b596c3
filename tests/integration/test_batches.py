"""One act on many executions: who is chosen, what comes out, when it stops."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.batch_records import BatchRecords
from execution.batches import BatchStatus, ItemStatus
from execution.carrying import BatchCarrier
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher
from execution.errors import (
    BatchNotFoundError,
    BatchRequestError,
    InvalidBatchStateError,
)
from execution.events import ExecutionEventEmitter
from execution.faults import FaultPoint, watched
from execution.filters import ExecutionFilter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.relay import ExecutionRelay
from execution.windows import Window
from tests.integration.test_protocol import claim, nothing, register
from tests.rows import rolled_back
from tests.sweeping import run_round

PLAN = Plan("acted_on", steps=[Step("only", action="test.nothing", queue="nobody")])
SILENT = ExecutionEventEmitter(None, "")
NOBODY = "00000000-0000-7000-8000-000000000000"
FOREVER = 1e9
_ERROR = json.dumps(
    {
        "code": "E003",
        "message": "no",
        "timestamp": "2026-11-21T12:00:00+00:00",
        "recoverable": True,
    }
)


class Recorder(ExecutionDispatcher):
    """Sends nothing; keeps what was to be sent."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(Celery(set_as_current=False))
        self.sent: list[Window] = []

    def publish(self, windows: Sequence[Window]) -> bool:
        """Keep the windows."""
        self.sent.extend(windows)
        return True


class Hand:
    """One reconciler's part of the work, with a connection of its own."""

    def __init__(self, settings: Settings, *, grace_seconds: float = FOREVER) -> None:
        """Reach the database of `settings`."""
        self.database = Database(str(settings.database_url), settings.schema)
        self.records = BatchRecords(self.database)
        self.dispatcher = Recorder()
        relay = ExecutionRelay(StepRecords(self.database), self.dispatcher, SILENT)
        self.carrier = BatchCarrier(
            self.records,
            self.dispatcher,
            SILENT,
            relay,
            lambda _: None,
            grace_seconds=grace_seconds,
            most_rest_seconds=0.05,
        )

    def carry(self, batch_id: str) -> int:
        """Act until there is nothing to do now; say on how many."""
        acted, latest = 0, -1
        while latest:
            # a rest that it has chosen is not waited for
            self.carrier._due_at.clear()
            latest = self.carrier.carry(batch_id)
            acted += latest
        return acted


@pytest.fixture
def hand(settings: Settings) -> Iterator[Hand]:
    """One reconciler's part of the work."""
    one = Hand(settings)
    with closing(one.database):
        yield one


def submit(engine: ExecutionEngine, tag: str, count: int = 3) -> tuple[str, ...]:
    return engine.submit_many(PLAN, [{}] * count, tags=[tag])


def tagged(tag: str, **fields: Any) -> ExecutionFilter:
    return ExecutionFilter(tag=tag, **fields)


def statuses(engine: ExecutionEngine, ids: Sequence[str]) -> list[ExecutionStatus]:
    return [engine.get_status(one).status for one in ids]


def run_sql(database: Database, statement: str, *values: Any) -> list[dict[str, Any]]:
    return database.query(statement, values)


# what is done


@pytest.mark.parametrize(
    ("act", "status"),
    [("pause", ExecutionStatus.PAUSED), ("cancel", ExecutionStatus.CANCELLED)],
)
def test_all_that_a_filter_finds_is_acted_on(
    engine: ExecutionEngine, hand: Hand, act: str, status: ExecutionStatus
) -> None:
    ids = submit(engine, f"all to {act}")
    other = submit(engine, f"none to {act}", 1)

    batch_id = engine.act_on_many(act, tagged(f"all to {act}"))
    hand.carry(batch_id)

    assert [i.detail for i in engine.list_batch_items(batch_id).items] == [None] * 3
    assert statuses(engine, ids) == [status] * 3
    assert statuses(engine, other) == [ExecutionStatus.PENDING]
    batch = engine.get_batch(batch_id)
    assert (batch.status, batch.total, batch.done) == (BatchStatus.COMPLETED, 3, 3)


def test_what_is_resumed_is_sent(engine: ExecutionEngine, hand: Hand) -> None:
    ids = submit(engine, "sent")
    for one in ids:
        engine.pause(one)

    hand.carry(engine.act_on_many("resume", tagged("sent")))

    assert statuses(engine, ids) == [ExecutionStatus.RUNNING] * 3
    assert {window.execution_id for window in hand.dispatcher.sent} == set(ids)


def test_the_timeline_names_the_batch_and_who_asked_and_why(
    engine: ExecutionEngine, hand: Hand
) -> None:
    (one,) = submit(engine, "named", 1)
    batch_id = engine.act_on_many(
        "pause", tagged("named"), by="ann", reason="the bank is down"
    )

    hand.carry(batch_id)

    (event,) = [e for e in engine.list_events(one) if e.type == "execution.paused"]
    assert event.data == {"by": "ann", "reason": "the bank is down", "batch": batch_id}
    (change,) = [c for c in engine.get_state_history(one) if c.by]
    assert (change.by, change.reason) == ("ann", "the bank is down")


def test_a_child_follows_its_parent_into_a_bulk_pause(
    engine: ExecutionEngine, hand: Hand, database: Database
) -> None:
    parent, child = submit(engine, "family", 2)
    run_sql(
        database,
        "UPDATE {schema}.executions SET parent_id = %s, parent_position = 0, depth = 1,"
        " tags = '{{}}' WHERE id = %s RETURNING 1".replace("{{}}", "{}"),
        parent,
        child,
    )
    run_sql(
        database,
        "UPDATE {schema}.execution_steps SET status = 'waiting', child_id = %s"
        " WHERE execution_id = %s RETURNING 1",
        child,
        parent,
    )

    hand.carry(engine.act_on_many("pause", tagged("family")))

    assert statuses(engine, (parent, child)) == [ExecutionStatus.PAUSED] * 2


# who is chosen


def test_only_those_are_chosen_that_are_in_a_state_for_it(
    engine: ExecutionEngine, hand: Hand
) -> None:
    paused, pending, ended = submit(engine, "states")
    engine.pause(paused)
    engine.cancel(ended)

    preview = engine.preview_act("pause", tagged("states"))
    batch_id = engine.act_on_many("pause", tagged("states"))

    assert preview.chosen == {ExecutionStatus.PENDING: 1}
    assert preview.left_out == {
        ExecutionStatus.PAUSED: 1,
        ExecutionStatus.CANCELLED: 1,
    }
    assert preview.executions == (pending,)
    items = engine.list_batch_items(batch_id).items
    assert [item.execution_id for item in items] == [pending]


def test_a_preview_does_nothing(engine: ExecutionEngine) -> None:
    ids = submit(engine, "only seen")
    before = engine.list_batches().items

    engine.preview_act("cancel", tagged("only seen"))

    assert statuses(engine, ids) == [ExecutionStatus.PENDING] * 3
    assert engine.list_batches().items == before


def test_what_matches_later_is_not_touched(engine: ExecutionEngine, hand: Hand) -> None:
    submit(engine, "first")
    batch_id = engine.act_on_many("cancel", tagged("first"))
    later = submit(engine, "first", 1)

    hand.carry(batch_id)

    assert statuses(engine, later) == [ExecutionStatus.PENDING]


def test_the_oldest_come_first(engine: ExecutionEngine) -> None:
    ids = [engine.submit(PLAN, tags=["in order"]) for _ in range(3)]

    batch_id = engine.act_on_many("cancel", tagged("in order"))

    items = engine.list_batch_items(batch_id).items
    assert [item.execution_id for item in items] == ids
    engine.cancel_batch(batch_id)


def test_a_batch_of_nothing_is_completed(engine: ExecutionEngine) -> None:
    batch = engine.get_batch(engine.act_on_many("pause", tagged("nobody's")))

    assert (batch.status, batch.total) == (BatchStatus.COMPLETED, 0)


# what comes out


def test_what_has_ended_meanwhile_is_refused_and_what_stands_so_is_done(
    engine: ExecutionEngine, hand: Hand
) -> None:
    ended, paused, _ = submit(engine, "meanwhile")
    batch_id = engine.act_on_many("pause", tagged("meanwhile"))
    engine.cancel(ended)
    engine.pause(paused)

    hand.carry(batch_id)

    batch = engine.get_batch(batch_id)
    assert (batch.done, batch.refused, batch.pending) == (2, 1, 0)
    found = {i.execution_id: i for i in engine.list_batch_items(batch_id).items}
    assert found[ended].detail == "it was cancelled"
    assert found[paused].detail == "it was paused"
    (refused,) = engine.list_batch_items(batch_id, status="refused").items
    assert (refused.execution_id, refused.status) == (ended, ItemStatus.REFUSED)


def test_what_was_deleted_meanwhile_is_refused(
    engine: ExecutionEngine, hand: Hand
) -> None:
    (one,) = submit(engine, "deleted", 1)
    batch_id = engine.act_on_many("pause", tagged("deleted"))
    engine.cancel(one)
    engine.delete_execution(one)

    hand.carry(batch_id)

    (item,) = engine.list_batch_items(batch_id).items
    assert (item.status, item.detail) == (ItemStatus.REFUSED, "it was deleted")


def test_what_goes_wrong_for_one_is_said_and_the_rest_is_done(
    engine: ExecutionEngine, hand: Hand, database: Database
) -> None:
    broken, *rest = submit(engine, "broken")
    # a row that breaks a rule as soon as anybody writes it
    run_sql(
        database,
        "SELECT set_config('session_replication_role', 'replica', false)",
    )
    run_sql(
        database,
        "UPDATE {schema}.executions SET open_steps = -1 WHERE id = %s RETURNING 1",
        broken,
    )
    run_sql(database, "SELECT set_config('session_replication_role', 'origin', false)")
    batch_id = engine.act_on_many("pause", tagged("broken"))

    hand.carry(batch_id)

    assert statuses(engine, rest) == [ExecutionStatus.PAUSED] * 2
    (item,) = engine.list_batch_items(batch_id, status="failed").items
    assert "breaks open_steps_counted" in str(item.detail)
    assert engine.get_batch(batch_id).status is BatchStatus.COMPLETED


@pytest.mark.parametrize(("stop_after", "refused"), [(2, 2), ("50%", 3), ("1%", 1)])
def test_too_many_failures_stop_a_batch(
    engine: ExecutionEngine, hand: Hand, stop_after: int | str, refused: int
) -> None:
    tag = f"stopped after {stop_after}"
    ids = submit(engine, tag, 6)
    batch_id = engine.act_on_many("pause", tagged(tag), stop_after=stop_after)
    for one in ids:
        engine.cancel(one)

    hand.carry(batch_id)

    batch = engine.get_batch(batch_id)
    assert batch.status is BatchStatus.FAILED
    assert (batch.refused, batch.pending) == (refused, 6 - refused)


# pause, resume, cancel of a batch


def test_nothing_is_acted_on_after_a_pause_until_the_resume(
    engine: ExecutionEngine, hand: Hand
) -> None:
    ids = submit(engine, "held up")
    batch_id = engine.act_on_many("cancel", tagged("held up"))
    handful = hand.records.hand_out(
        batch_id, most=3, grace_seconds=FOREVER, can_send=True
    )

    assert engine.pause_batch(batch_id, by="ann", reason="wait") is BatchStatus.PAUSED
    deed = hand.records.act(batch_id, handful.positions[0])
    assert (deed.is_stopped, hand.carry(batch_id)) == (True, 0)
    assert statuses(engine, ids) == [ExecutionStatus.PENDING] * 3

    engine.resume_batch(batch_id, by="bob")
    assert [hand.records.act(batch_id, p).is_acted_on for p in range(3)] == [True] * 3
    hand.carry(batch_id)
    batch = engine.get_batch(batch_id)
    assert batch.status is BatchStatus.COMPLETED
    assert [(c.to_status, c.by, c.reason) for c in batch.history] == [
        ("paused", "ann", "wait"),
        ("running", "bob", None),
        ("completed", None, None),
    ]


def test_a_cancelled_batch_keeps_what_was_done(
    engine: ExecutionEngine, hand: Hand
) -> None:
    ids = submit(engine, "half")
    batch_id = engine.act_on_many("pause", tagged("half"))
    hand.records.act(batch_id, 1)

    assert engine.cancel_batch(batch_id, by="ann") is BatchStatus.CANCELLED

    assert hand.carry(batch_id) == 0
    batch = engine.get_batch(batch_id)
    assert (batch.done, batch.pending) == (1, 2)
    assert statuses(engine, ids).count(ExecutionStatus.PAUSED) == 1


def test_a_batch_that_has_ended_cannot_be_moved(engine: ExecutionEngine) -> None:
    batch_id = engine.act_on_many("pause", tagged("nobody's"))

    with pytest.raises(InvalidBatchStateError, match="cannot be paused; it has ended"):
        engine.pause_batch(batch_id)
    with pytest.raises(InvalidBatchStateError, match="cannot be resumed"):
        engine.resume_batch(batch_id)
    with pytest.raises(InvalidBatchStateError, match="cannot be cancelled"):
        engine.cancel_batch(batch_id)


@pytest.mark.parametrize(
    "ask",
    ["get_batch", "list_batch_items", "pause_batch", "cancel_batch", "wait_batch"],
)
@pytest.mark.parametrize("batch_id", [NOBODY, "nonsense"])
def test_an_unknown_batch_is_named(
    engine: ExecutionEngine, ask: str, batch_id: str
) -> None:
    with pytest.raises(BatchNotFoundError, match=batch_id):
        getattr(engine, ask)(batch_id)


def test_a_wait_for_a_batch_says_that_it_goes_on(engine: ExecutionEngine) -> None:
    submit(engine, "waited for", 1)
    batch_id = engine.act_on_many("pause", tagged("waited for"))

    with pytest.raises(TimeoutError, match="with 1 executions to go; it goes on"):
        engine.wait_batch(batch_id, timeout_seconds=0.2)

    engine.cancel_batch(batch_id)
    assert engine.wait_batch(batch_id).status is BatchStatus.CANCELLED


@pytest.mark.parametrize(
    ("act", "fields", "complaint"),
    [
        ("pauze", {}, '"pauze" is no act on many executions; did you mean "pause"'),
        ("pause", {"rate_per_second": 0}, "a rate of 0 per second is none"),
        ("pause", {"rate_per_second": -1}, "a rate of -1 per second is none"),
        ("pause", {"rate_per_second": float("nan")}, "a rate of nan per second"),
        ("pause", {"stop_after": 0}, "stop after 0: give a number"),
        ("pause", {"stop_after": "101%"}, 'stop after "101%": give a number'),
        ("pause", {"stop_after": "some"}, 'stop after "some": give a number'),
    ],
)
def test_what_makes_no_batch_is_refused(
    engine: ExecutionEngine, act: str, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BatchRequestError, match=complaint):
        engine.act_on_many(act, tagged("t"), **fields)


def test_an_empty_filter_has_to_be_meant(engine: ExecutionEngine) -> None:
    with pytest.raises(BatchRequestError, match="everything=True"):
        engine.act_on_many("cancel", ExecutionFilter())
    with pytest.raises(BatchRequestError, match="everything=True"):
        engine.preview_act("cancel", ExecutionFilter())

    assert engine.preview_act("cancel", ExecutionFilter(), everything=True).total >= 0


def test_batches_are_listed_newest_first_page_by_page(engine: ExecutionEngine) -> None:
    ids = [engine.act_on_many("pause", tagged(f"page {n}")) for n in range(3)]

    first = engine.list_batches(page_size=2)
    second = engine.list_batches(after=first.next_cursor, page_size=1)

    assert [batch.id for batch in (*first.items, *second.items)] == ids[::-1]
    assert first.items[0].filter == {"tag": ["page 2"]}


def test_items_are_listed_page_by_page(engine: ExecutionEngine) -> None:
    submit(engine, "pages", 3)
    batch_id = engine.act_on_many("pause", tagged("pages"))

    first = engine.list_batch_items(batch_id, page_size=2)
    second = engine.list_batch_items(batch_id, start=first.next_position or 0)

    assert [item.position for item in (*first.items, *second.items)] == [0, 1, 2]
    assert second.next_position is None
    engine.cancel_batch(batch_id)


# the rate, by the database's clock


def hand_out(hand: Hand, batch_id: str) -> int:
    handful = hand.records.hand_out(
        batch_id, most=1000, grace_seconds=FOREVER, can_send=True
    )
    return len(handful.positions)


def let_pass(database: Database, batch_id: str, seconds: float) -> None:
    """Let a batch believe that so much time has passed since it was last looked at."""
    run_sql(
        database,
        "UPDATE {schema}.batches SET next_at = next_at - %s, handed_at = handed_at - %s"
        " WHERE id = %s RETURNING 1",
        timedelta(seconds=seconds),
        timedelta(seconds=seconds),
        batch_id,
    )


def test_a_rate_is_obeyed_by_all_who_act(
    engine: ExecutionEngine, hand: Hand, database: Database, settings: Settings
) -> None:
    submit(engine, "rated", 250)
    batch_id = engine.act_on_many("pause", tagged("rated"), rate_per_second=1 / 60)
    other = Hand(settings)

    with closing(other.database):
        at_once = [hand_out(hand, batch_id), hand_out(other, batch_id)]
        let_pass(database, batch_id, 61)
        a_minute_later = [hand_out(other, batch_id), hand_out(hand, batch_id)]

    assert (at_once, a_minute_later) == ([1, 0], [1, 0])
    engine.cancel_batch(batch_id)


def test_what_a_rate_has_not_used_is_lost_after_a_second(
    engine: ExecutionEngine, hand: Hand, database: Database
) -> None:
    submit(engine, "saved up", 250)
    batch_id = engine.act_on_many("pause", tagged("saved up"), rate_per_second=50)
    hand_out(hand, batch_id)

    let_pass(database, batch_id, 3600)

    assert hand_out(hand, batch_id) == 51
    engine.cancel_batch(batch_id)


def test_a_clock_that_jumps_back_does_not_halt_a_batch(
    engine: ExecutionEngine, hand: Hand, database: Database
) -> None:
    submit(engine, "jumped", 3)
    batch_id = engine.act_on_many("pause", tagged("jumped"), rate_per_second=1)
    hand_out(hand, batch_id)

    let_pass(database, batch_id, -3600)

    assert hand_out(hand, batch_id) == 1
    engine.cancel_batch(batch_id)


def test_who_gets_nothing_is_told_when_to_ask_again(
    engine: ExecutionEngine, hand: Hand
) -> None:
    submit(engine, "told when", 2)
    batch_id = engine.act_on_many("pause", tagged("told when"), rate_per_second=0.01)
    hand_out(hand, batch_id)

    handful = hand.records.hand_out(
        batch_id, most=1, grace_seconds=FOREVER, can_send=True
    )

    assert 90 < handful.wait_seconds <= 100
    engine.cancel_batch(batch_id)


# several at once, and ends in the middle


def test_what_somebody_left_is_done_by_another(
    engine: ExecutionEngine, hand: Hand, database: Database
) -> None:
    ids = submit(engine, "left", 5)
    batch_id = engine.act_on_many("pause", tagged("left"), rate_per_second=None)
    hand.records.hand_out(batch_id, most=2, grace_seconds=60, can_send=True)

    assert hand.carry(batch_id) == 3
    assert engine.get_batch(batch_id).status is BatchStatus.RUNNING
    let_pass(database, batch_id, 1e9 + 1)
    assert hand.carry(batch_id) == 2

    assert statuses(engine, ids) == [ExecutionStatus.PAUSED] * 5
    assert engine.get_batch(batch_id).status is BatchStatus.COMPLETED


def test_an_act_that_is_told_again_is_done_once(
    engine: ExecutionEngine, hand: Hand
) -> None:
    (one,) = submit(engine, "again", 1)
    batch_id = engine.act_on_many("pause", tagged("again"))

    deeds = [hand.records.act(batch_id, 0) for _ in range(3)]

    assert [deed.is_acted_on for deed in deeds] == [True, False, False]
    assert count_events(engine, one)["execution.paused"] == 1


def test_a_batch_that_is_stored_again_is_the_same(engine: ExecutionEngine) -> None:
    submit(engine, "stored twice")
    repository = engine._repository
    stored: list[tuple[Any, ...]] = []
    original = repository.create_batch
    repository.create_batch = lambda *given: stored.append(given)  # type: ignore[method-assign]  # as if each answer was lost
    batch_id = engine.act_on_many("pause", tagged("stored twice"))
    repository.create_batch = original  # type: ignore[method-assign]  # as it was

    for _ in range(2):
        repository.create_batch(*stored[0])

    assert engine.get_batch(batch_id).total == 3
    engine.cancel_batch(batch_id)


def count_events(engine: ExecutionEngine, execution_id: str) -> Counter[str]:
    return Counter(event.type for event in engine.list_events(execution_id))


def test_several_at_once_act_on_each_execution_once(
    engine: ExecutionEngine, settings: Settings
) -> None:
    ids = submit(engine, "shared", 120)
    batch_id = engine.act_on_many("pause", tagged("shared"), rate_per_second=None)
    assert engine.get_batch(batch_id).most_failures is None
    # no grace: what the others hold is taken for left
    hands = [Hand(settings, grace_seconds=0.0) for _ in range(3)]
    threads = [threading.Thread(target=h.carry, args=(batch_id,)) for h in hands]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hands[0].carry(batch_id)
    for one in hands:
        one.database.close()

    assert engine.get_batch(batch_id).done == 120
    assert {count_events(engine, i)["execution.paused"] for i in ids} == {1}


class KilledError(Exception):
    """The process was killed here."""


def test_who_is_killed_between_an_act_and_what_follows_is_made_good(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    records: StepRecords,
    settings: Settings,
) -> None:
    ids = submit(engine, "killed", 3)
    batch_id = engine.act_on_many("cancel", tagged("killed"), rate_per_second=None)

    def kill(point: FaultPoint) -> None:
        if point is FaultPoint.ACTED:
            raise KilledError

    one = Hand(settings)
    with closing(one.database), watched(kill), pytest.raises(KilledError):
        one.carrier.carry(batch_id)
    ended = {ExecutionStatus.CANCELLED}
    assert set(statuses(engine, ids)) != ended
    reconciler = Reconciler(liveness, records, Recorder(), SILENT, settings)
    engine._repository._call("plans_now")
    run_sql(
        one.database,
        "UPDATE {schema}.batches SET handed_at = handed_at - interval '1 day'"
        " WHERE id = %s RETURNING 1",
        batch_id,
    )
    run_round(reconciler)
    reconciler.carry_batches()

    assert set(statuses(engine, ids)) == ended
    assert {count_events(engine, i)["execution.ending"] for i in ids} == {1}
    assert engine.get_batch(batch_id).done == 3
    one.database.close()


def test_what_somebody_holds_is_passed_over_for_now(
    engine: ExecutionEngine, hand: Hand, settings: Settings
) -> None:
    held, *rest = submit(engine, "passed over")
    batch_id = engine.act_on_many("pause", tagged("passed over"), rate_per_second=None)
    with rolled_back(str(settings.database_url), settings.schema) as cursor:
        cursor.execute("SELECT FROM executions WHERE id = %s FOR UPDATE", (held,))
        hand.carry(batch_id)

    assert statuses(engine, rest) == [ExecutionStatus.PAUSED] * 2
    assert engine.get_batch(batch_id).pending == 1
    engine.cancel_batch(batch_id)


# acts of operators


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


def fail_all(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, tag: str
) -> tuple[str, ...]:
    """Submit executions of two steps, and let the first of each fail."""
    plan = Plan("failing", steps=[nothing("a"), nothing("b")])
    ids = engine.submit_many(plan, [{}] * 3, tags=[tag])
    for one in ids:
        held = claim(records, worker_id, one, 0).held
        records.complete(held, StepStatus.FAILED, error=_ERROR, epoch=1)
        engine._relay.finish(one)
    assert statuses(engine, ids) == [ExecutionStatus.FAILED] * 3
    return ids


def test_what_has_failed_is_retried_and_sent(
    engine: ExecutionEngine, hand: Hand, records: StepRecords, worker_id: str
) -> None:
    ids = fail_all(engine, records, worker_id, "to retry")

    batch_id = engine.act_on_many("retry", tagged("to retry"), by="ann")
    hand.carry(batch_id)

    assert statuses(engine, ids) == [ExecutionStatus.PENDING] * 3
    assert {w.execution_id for w in hand.dispatcher.sent} == set(ids)
    for one in ids:
        (event,) = [e for e in engine.list_events(one) if "retried" in e.type]
        assert (event.data["by"], event.data["batch"]) == ("ann", batch_id)


def test_a_preview_says_what_would_run_again_and_what_it_took(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    ids = fail_all(engine, records, worker_id, "to preview")

    preview = engine.preview_act("retry", tagged("to preview"))

    assert preview.cost is not None
    a, b = sorted(preview.cost.steps, key=lambda step: step.step)
    assert (a.step, a.executions, a.times, a.repeats, a.attempts) == ("a", 3, 3, 3, 3)
    assert (b.step, b.times, b.repeats, b.attempts, b.seconds) == ("b", 3, 0, 0, 0)
    assert (preview.cost.looked_at, preview.cost.refused) == (3, 0)
    assert (preview.cost.repeats, preview.cost.seconds) == (3, a.seconds)
    assert statuses(engine, ids) == [ExecutionStatus.FAILED] * 3


def test_what_cannot_be_retried_any_more_is_refused(
    engine: ExecutionEngine, hand: Hand, records: StepRecords, worker_id: str
) -> None:
    retried, deleted, failed = fail_all(engine, records, worker_id, "retried before")
    batch_id = engine.act_on_many("retry", tagged("retried before"))
    engine.retry(retried)
    engine.delete_execution(deleted)

    hand.carry(batch_id)

    items = {i.execution_id: i for i in engine.list_batch_items(batch_id).items}
    assert (items[retried].status, items[retried].detail) == ("done", "it was pending")
    assert (items[deleted].status, items[failed].status) == ("refused", "done")
    assert count_events(engine, retried)["execution.retried"] == 1


def test_a_step_is_skipped_in_all(
    engine: ExecutionEngine, hand: Hand, records: StepRecords, worker_id: str
) -> None:
    ids = fail_all(engine, records, worker_id, "to skip")

    batch_id = engine.act_on_many("skip", tagged("to skip"), step="a", by="ann")
    hand.carry(batch_id)

    assert engine.get_batch(batch_id).done == 3
    for one in ids:
        first = engine.list_steps(one)[0]
        assert first.status is StepStatus.SKIPPED
        marked = [e.type for e in engine.list_events(one) if "batch" in e.data]
        assert marked == ["execution.retried", "step.skipped"]


def test_a_step_is_given_a_result_in_all(
    engine: ExecutionEngine, hand: Hand, records: StepRecords, worker_id: str
) -> None:
    ids = fail_all(engine, records, worker_id, "to force")

    batch_id = engine.act_on_many(
        "force", tagged("to force"), step="a", result={"paid": None}
    )
    hand.carry(batch_id)

    assert engine.get_batch(batch_id).arguments == {
        "step": "a",
        "result": {"paid": None},
    }
    assert [engine.list_steps(i)[0].status for i in ids] == [StepStatus.COMPLETED] * 3


def test_only_executions_that_have_the_step_are_chosen(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    fail_all(engine, records, worker_id, "lacks it")

    assert engine.preview_act("skip", tagged("lacks it"), step="z").total == 0
    assert engine.preview_act("skip", tagged("lacks it"), step="a").total == 3


@pytest.mark.parametrize(
    ("act", "given", "complaint"),
    [
        ("skip", {}, "to skip a step, name it"),
        ("force", {"step": "a"}, "to force step a, give its result"),
        ("retry", {"step": "a"}, "retry is about no step"),
        ("skip", {"step": "a", "result": 1}, "skip gives no result"),
    ],
)
def test_what_an_act_lacks_or_does_not_take_is_refused(
    engine: ExecutionEngine, act: str, given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BatchRequestError, match=complaint):
        engine.act_on_many(act, tagged("t"), **given)


def test_nothing_is_let_run_while_the_broker_is_away(
    engine: ExecutionEngine, hand: Hand
) -> None:
    (one,) = submit(engine, "no broker", 1)
    engine.pause(one)
    batch_id = engine.act_on_many("resume", tagged("no broker"))
    hand.dispatcher._quiet_until = float("inf")

    assert hand.carry(batch_id) == 0

    hand.dispatcher._quiet_until = 0.0
    assert hand.carry(batch_id) == 1
