"""Attempts that end at a checkpoint, because somebody asks them to."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from execution import Context, ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.actions import ActionRegistry, registry
from execution.answers import Claim, Recorded, Retried
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher
from execution.drains import YieldCause, Yielded
from execution.errors import ActionRegistrationError
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.patience import Patience
from execution.recorder import StepRecorder
from execution.records import StepRecords
from execution.ride import Delivery
from execution.runner import ExecutionTaskRunner
from tests.conformance.stage import Player
from tests.integration.test_protocol import register, try_claim
from tests.pages import read_page
from tests.racing import run_at_once
from tests.simulation.broker import Channel, create_simulated_app
from tests.timeline import check_timeline, heads, read_timeline

_QUIET = ExecutionEventEmitter(None, "")

Body = Callable[[Context], Any]
YIELDING = Plan("yielding", steps=[Step("work", "test.work", with_={"word": "given"})])


@dataclass
class Bench:
    """A worker that is played in this process, and the one execution that it runs."""

    engine: ExecutionEngine
    settings: Settings
    database: Database
    records: StepRecords
    liveness: LivenessRecords
    keys: list[str] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)
    is_stopping: bool = False
    execution_id: str = ""
    epoch: int = 1

    def begin(self, body: Body, *, yields: bool = True, **fields: Any) -> None:
        """Submit a plan whose first step runs `body`; a second one follows it."""
        registry = ActionRegistry()

        def work(ctx: Context, word: str) -> Any:
            assert word == "given"
            self.keys.append(ctx.idempotency_key)
            self.attempts.append(ctx.attempt)
            return body(ctx)

        registry.add("test.work", work, None, yields=yields)
        registry.add("test.nothing", lambda: None, None)
        self.worker_id = register(
            self.liveness, self.settings, actions=registry.to_json()
        )
        self.runner = ExecutionTaskRunner(
            StepRecorder(
                self.records,
                _QUIET,
                ExecutionDispatcher(create_simulated_app(self.settings)),
                Patience(lambda: self.is_stopping, lambda _: None),
            ),
            registry,
            Player(self.worker_id),
        )
        work_step = Step("work", "test.work", with_={"word": "given"}, **fields)
        plan = Plan(
            "yielding",
            tags=["nightly"],
            steps=[work_step, Step("after", "test.nothing")],
        )
        self.execution_id = self.engine.submit(plan)

    def run(self, position: int = 0) -> None:
        """Deliver a message for a step."""
        self.runner.run(Delivery("by-hand", self.execution_id, (position,), self.epoch))

    def pause(self) -> None:
        self.engine.pause(self.execution_id, by="ann", reason="a look")

    def resume(self) -> None:
        self.engine.resume(self.execution_id, by="ann")
        self.epoch += 1

    def claim(self) -> Claim:
        answer = try_claim(
            self.records, self.worker_id, self.execution_id, 0, epoch=self.epoch
        )
        assert answer.claim is not None, answer
        return answer.claim

    def row(self) -> dict[str, Any]:
        (row,) = self.database.query(
            "SELECT * FROM {schema}.execution_steps"
            ' WHERE execution_id = %s AND "position" = 0',
            (self.execution_id,),
        )
        return row

    def outcomes(self) -> list[str]:
        rows = self.database.query(
            "SELECT outcome FROM {schema}.step_attempts"
            ' WHERE execution_id = %s AND "position" = 0 ORDER BY attempt',
            (self.execution_id,),
        )
        return [row["outcome"] for row in rows]

    def told(self) -> list[str]:
        events = read_timeline(self.engine, self.execution_id)
        return [e.type for e in events if e.step == "work"]

    @property
    def status(self) -> StepStatus:
        return self.engine.list_steps(self.execution_id)[0].status


@pytest.fixture
def bench(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    records: StepRecords,
    liveness: LivenessRecords,
) -> Bench:
    Channel.deliver = lambda queue, raw: None
    return Bench(engine, settings, database, records, liveness)


def count_to_five(bench: Bench, at_three: Callable[[], None]) -> Body:
    """Return code that counts with a checkpoint each; at three, something happens."""

    def count(ctx: Context) -> list[int]:
        done: list[int] = list(ctx.checkpoint.get("done", []))
        while len(done) < 5:
            done.append(ctx.attempt)
            if len(done) == 3:
                at_three()
            ctx.save_checkpoint({"done": done})
        return done

    return count


def test_a_pause_ends_an_attempt_at_its_checkpoint(bench: Bench) -> None:
    bench.begin(count_to_five(bench, bench.pause))

    bench.run()

    assert bench.status is StepStatus.READY
    assert bench.outcomes() == ["yielded"]
    row = bench.row()
    assert (row["failures"], row["losses"], row["lease_token"]) == (0, 0, None)
    assert row["published_at"] is None
    assert bench.told() == ["step.ready", "step.started", "step.yielded", "step.ready"]
    check_timeline(bench.engine, bench.execution_id)


def test_a_resume_goes_on_exactly_there(bench: Bench) -> None:
    bench.begin(count_to_five(bench, bench.pause))
    bench.run()
    bench.resume()

    bench.run()

    assert bench.row()["result"] == [1, 1, 1, 2, 2]
    assert len(set(bench.keys)) == 1
    assert bench.attempts == [1, 2]
    check_timeline(bench.engine, bench.execution_id)


def test_an_event_tells_why(bench: Bench) -> None:
    bench.begin(count_to_five(bench, bench.pause))
    bench.run()

    (event,) = [
        e
        for e in read_timeline(bench.engine, bench.execution_id)
        if e.type == "step.yielded"
    ]
    assert event.data == {"attempt": 1, "cause": "pause"}


def test_a_worker_that_is_to_stop_lets_others_go_on(bench: Bench) -> None:
    sent: list[str] = []
    Channel.deliver = lambda queue, raw: sent.append(queue)

    def stop() -> None:
        bench.is_stopping = True

    bench.begin(count_to_five(bench, stop))
    before = len(sent)

    bench.run()

    assert bench.status is StepStatus.READY
    assert len(sent) == before + 1
    assert bench.row()["published_at"] is not None
    bench.is_stopping = False
    bench.run()
    assert bench.row()["result"] == [1, 1, 1, 2, 2]


def test_without_being_asked_nothing_ends(bench: Bench) -> None:
    bench.begin(count_to_five(bench, lambda: None))

    bench.run()

    assert bench.status is StepStatus.COMPLETED
    assert bench.attempts == [1]


def test_an_action_that_does_not_yield_goes_on_through_a_pause(bench: Bench) -> None:
    bench.begin(count_to_five(bench, bench.pause), yields=False)

    bench.run()

    assert bench.status is StepStatus.COMPLETED
    assert bench.row()["result"] == [1] * 5


def test_an_attempt_that_may_fail_once_may_yield_as_often_as_it_is_asked(
    bench: Bench,
) -> None:
    def fail_at_last(ctx: Context) -> None:
        if ctx.attempt < 4:
            bench.pause()
            ctx.save_checkpoint({})
        raise ValueError("no")

    bench.begin(fail_at_last, retry={"attempts": 1})

    for _ in range(3):
        bench.run()
        bench.resume()
    bench.run()

    assert "attempt 1 of 1 failed" in bench.row()["error"]["message"]
    assert bench.outcomes()[:3] == ["yielded"] * 3


def test_code_that_catches_every_exception_yields_all_the_same(bench: Bench) -> None:
    tidied: list[str] = []

    def work(ctx: Context) -> str:
        try:
            bench.pause()
            ctx.save_checkpoint({"done": 1})
        except Exception:  # noqa: BLE001  # what users write
            return "swallowed"
        finally:
            tidied.append(str(bench.status))
        return "went on"

    bench.begin(work)

    bench.run()

    assert bench.outcomes() == ["yielded"]
    # nobody else has begun it meanwhile
    assert tidied == ["running"]


def test_a_yield_leaves_a_group_of_tasks(bench: Bench) -> None:
    def work(ctx: Context) -> None:
        async def save() -> None:
            bench.pause()
            ctx.save_checkpoint({})

        async def run() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(save())
                tasks.create_task(asyncio.sleep(30))

        asyncio.run(run())

    bench.begin(work)

    bench.run()

    assert bench.outcomes() == ["yielded"]


def test_what_fails_beside_a_yield_has_failed(bench: Bench) -> None:
    def work(ctx: Context) -> None:
        bench.pause()
        try:
            ctx.save_checkpoint({})
        finally:
            raise ValueError("while tidying up")

    bench.begin(work)

    bench.run()

    assert bench.status is StepStatus.FAILED
    assert bench.outcomes() == ["failed"]


def test_a_second_attempt_in_place_yields_too(bench: Bench) -> None:
    def work(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("once more")
        bench.pause()
        ctx.save_checkpoint({})

    bench.begin(work, retry={"attempts": 2, "wait": "fixed", "initial": "10ms"})

    bench.run()

    assert bench.outcomes() == ["failed", "yielded"]
    assert bench.row()["failures"] == 1


def test_costly_checkpoints_are_saved_when_somebody_asks(bench: Bench) -> None:
    saved: list[int] = []

    def work(ctx: Context) -> None:
        assert not ctx.is_asked_to_yield()
        bench.pause()
        for number in range(1_000_000):
            if ctx.is_asked_to_yield():
                saved.append(number)
                ctx.save_checkpoint({"number": number})
        raise AssertionError("went on")

    bench.begin(work)

    bench.run()

    assert len(saved) == 1
    assert bench.outcomes() == ["yielded"]


def test_nobody_asks_an_action_that_does_not_yield(bench: Bench) -> None:
    def work(ctx: Context) -> bool:
        bench.pause()
        return ctx.is_asked_to_yield()

    bench.begin(work, yields=False)

    bench.run()

    assert bench.row()["result"] is False


def test_who_was_resumed_since_it_was_asked_goes_on(bench: Bench) -> None:
    def work(ctx: Context) -> str:
        bench.pause()
        asked = ctx.is_asked_to_yield()
        bench.resume()
        ctx.save_checkpoint({})
        return f"asked: {asked}"

    bench.begin(work)

    bench.run()

    assert bench.row()["result"] == "asked: True"


def test_a_step_that_yields_when_its_execution_ends_is_cancelled(bench: Bench) -> None:
    def work(ctx: Context) -> None:
        bench.pause()
        try:
            ctx.save_checkpoint({})
        finally:
            bench.engine.cancel(bench.execution_id, by="ann", reason="enough")

    bench.begin(work)

    bench.run()

    assert bench.status is StepStatus.CANCELLED
    assert bench.engine.get_status(bench.execution_id).has_ended
    check_timeline(bench.engine, bench.execution_id)


def give_back(bench: Bench, claim: Claim) -> Any:
    return bench.records.yield_step(
        claim.held,
        attempt=claim.attempt,
        cause=YieldCause.DRAIN,
        recorded_input=json.dumps({"word": "given"}),
    )


def test_a_yield_that_is_told_again_is_answered_again(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()

    first, again = give_back(bench, claim), give_back(bench, claim)

    assert (first.outcome, again.outcome) == (Yielded.YIELDED, Yielded.YIELDED)
    assert (heads(first.windows), heads(again.windows)) == (["work"], [])
    later = bench.claim()
    assert give_back(bench, claim).outcome is Yielded.YIELDED
    assert bench.row()["lease_token"] == later.held.token
    assert bench.outcomes() == ["yielded"]
    check_timeline(bench.engine, bench.execution_id)


def test_who_lost_the_step_cannot_yield_it(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()
    bench.records.complete(claim.held, StepStatus.COMPLETED, epoch=1)

    assert give_back(bench, claim).outcome is Yielded.STALE
    assert bench.status is StepStatus.COMPLETED


def test_who_has_yielded_writes_nothing_more(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()
    give_back(bench, claim)

    late = bench.records.complete(claim.held, StepStatus.COMPLETED, epoch=1)
    retried = bench.records.retry(
        claim.held,
        attempt=1,
        recorded_input=None,
        error="{}",
        wait_seconds=0,
        parks=True,
    )

    assert late.outcome is Recorded.STALE
    assert retried.outcome is Retried.REFUSED
    assert bench.status is StepStatus.READY


@pytest.mark.parametrize("kind", ["plan", "tag", "queue"])
def test_what_holds_a_step_back_lets_it_yield(bench: Bench, kind: str) -> None:
    engine = bench.engine
    name = {"plan": "yielding", "tag": "nightly", "queue": bench.settings.queue}[kind]

    def hold() -> None:
        getattr(engine, f"pause_{kind}")(name, by="ann", reason="a look")

    bench.begin(count_to_five(bench, hold))
    try:
        bench.run()
    finally:
        getattr(engine, f"resume_{kind}")(name, by="ann")

    assert bench.outcomes() == ["yielded"]
    bench.run()
    assert bench.row()["result"] == [1, 1, 1, 2, 2]


def test_what_is_drained_begins_anew_and_counts_nowhere(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()
    drains = bench.records.drains
    assert drains.find_held(bench.worker_id) == (claim.held,)

    completion = drains.take(claim.held)

    assert completion is not None
    assert heads(completion.windows) == ["work"]
    assert not drains.is_held(claim.held)
    assert drains.take(claim.held) is None
    late = bench.records.complete(claim.held, StepStatus.COMPLETED, epoch=1)
    assert late.outcome is Recorded.STALE
    assert bench.outcomes() == ["drained"]
    row = bench.row()
    assert (row["status"], row["failures"], row["losses"]) == ("ready", 0, 0)
    assert bench.told()[-2:] == ["step.drained", "step.ready"]
    check_timeline(bench.engine, bench.execution_id)


def test_what_is_drained_of_a_paused_execution_is_not_sent(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()
    bench.pause()

    completion = bench.records.drains.take(claim.held)

    assert completion is not None
    assert completion.windows == ()
    assert bench.row()["published_at"] is None


def test_what_is_drained_of_an_execution_that_ends_is_cancelled(bench: Bench) -> None:
    bench.begin(lambda _: None)
    claim = bench.claim()
    bench.engine.cancel(bench.execution_id, by="ann", reason="enough")

    completion = bench.records.drains.take(claim.held)

    assert completion is not None
    assert completion.is_last
    assert bench.status is StepStatus.CANCELLED
    assert bench.row()["error"]["code"] == "E004"


def test_a_message_that_is_returned_is_sent_once_more(bench: Bench) -> None:
    bench.begin(lambda _: None)
    drains = bench.records.drains

    assert heads(drains.return_message(bench.execution_id, [0, 1], 1)) == ["work"]
    assert bench.row()["publishes"] == 2
    # of another epoch, or of a step that is being run
    assert drains.return_message(bench.execution_id, [0, 1], 2) == ()
    bench.claim()
    assert drains.return_message(bench.execution_id, [0, 1], 1) == ()


def test_a_worker_that_is_to_stop_returns_what_it_is_sent(bench: Bench) -> None:
    bench.begin(lambda _: None)
    bench.is_stopping = True

    bench.run()

    assert bench.attempts == []
    row = bench.row()
    assert (row["status"], row["attempt"], row["publishes"]) == ("ready", 0, 2)


def test_a_drain_and_an_end_agree_on_who_was_first(bench: Bench) -> None:
    bench.begin(lambda _: None)
    for _ in range(20):
        execution_id = bench.execution_id = bench.engine.submit(YIELDING)
        claim = bench.claim()
        calls: list[Callable[[], Any]] = [
            partial(bench.records.complete, claim.held, StepStatus.COMPLETED, epoch=1),
            partial(bench.records.drains.take, claim.held),
        ]
        ended, taken = run_at_once(calls)
        assert (ended.outcome is Recorded.RECORDED) == (taken is None)
        assert bench.outcomes() == ([] if taken is None else ["drained"])
        check_timeline(bench.engine, execution_id)


def test_a_yield_and_a_resume_leave_one_message(bench: Bench) -> None:
    bench.begin(lambda _: None)
    for _ in range(20):
        execution_id = bench.execution_id = bench.engine.submit(YIELDING)
        bench.epoch = 1
        claim = bench.claim()
        bench.pause()
        calls: list[Callable[[], Any]] = [
            partial(give_back, bench, claim),
            partial(bench.engine.resume, execution_id, by="ann"),
        ]
        answer, _ = run_at_once(calls)
        assert answer.outcome is Yielded.YIELDED
        row = bench.row()
        assert (row["status"], row["publishes"]) == ("ready", 2)
        assert row["published_at"] is not None
        check_timeline(bench.engine, execution_id)


def test_the_shown_action_goes_on_where_it_was(bench: Bench) -> None:
    blocks = [b for b in read_page("docs/actions.md") if "yields=True" in b.text]
    names: dict[str, Any] = {}
    exec(blocks[0].text, names)  # noqa: S102  # of the page
    registry._actions.pop("orders.recount")

    def recount(ctx: Context) -> Any:
        if ctx.attempt == 1:
            bench.pause()
        return names["recount"](ctx, [3, 4, 5])

    bench.begin(recount)
    bench.run()
    assert bench.outcomes() == ["yielded"]
    bench.resume()
    bench.run()

    assert bench.row()["result"] == 12


def test_an_action_without_a_context_cannot_yield() -> None:
    with pytest.raises(ActionRegistrationError, match="takes no context"):
        ActionRegistry().add("test.blind", lambda: None, None, yields=True)
