"""Executions that go back to before a step, by hand, and what races with that."""

import json
import uuid
from functools import partial
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import (
    Claim,
    ClaimOutcome,
    Completion,
    Expanded,
    HeldStep,
    Recorded,
    Retried,
    Rider,
)
from execution.database import Database
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.sweeps import ExpiredStep
from tests.integration.test_protocol import register, try_claim
from tests.sweeping import look
from tests.timeline import check_timeline, heads, read_timeline

_ERROR = json.dumps(
    {
        "code": "E003",
        "message": "no",
        "step": "x",
        "timestamp": "2026-11-21T12:00:00+00:00",
        "recoverable": True,
        "context": {},
    }
)
_QUIET = ExecutionEventEmitter(None, "")


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


def step(name: str, needs: list[str] | None = None, **fields: Any) -> Step:
    return Step(name, action="test.nothing", needs=needs, **fields)


def back(name: str, times: int = 1) -> dict[str, object]:
    return {"restore": name, "times": times}


class Hand:
    """Plays one execution by hand, in whatever epoch it is."""

    def __init__(
        self,
        engine: ExecutionEngine,
        records: StepRecords,
        database: Database,
        worker_id: str,
    ) -> None:
        self.engine, self.records, self.database = engine, records, database
        self.worker_id = worker_id
        self.execution_id = ""

    def begin(self, *steps: Step, **fields: Any) -> None:
        plan = Plan("restored", steps=steps, **fields)
        self.execution_id = self.engine.submit(plan)

    def claim(self, name: str) -> Claim:
        answer = try_claim(
            self.records,
            self.worker_id,
            self.execution_id,
            self.row(name)["position"],
            epoch=self.epoch,
        )
        assert answer.claim is not None, answer
        return answer.claim

    def succeed(self, held: HeldStep, result: object = None) -> Completion:
        return self.records.complete(
            held, StepStatus.COMPLETED, result=json.dumps(result), epoch=self.epoch
        )

    def fail(self, held: HeldStep, epoch: int | None = None) -> Completion:
        return self.records.complete(
            held, StepStatus.FAILED, error=_ERROR, epoch=epoch or self.epoch
        )

    def run(self, *names: str) -> None:
        for name in names:
            self.succeed(self.claim(name).held, name)

    def fail_step(self, name: str) -> Completion:
        return self.fail(self.claim(name).held)

    @property
    def epoch(self) -> int:
        rows = self.database.query(
            "SELECT epoch FROM {schema}.executions WHERE id = %s", (self.execution_id,)
        )
        return int(rows[0]["epoch"])

    def row(self, name: str) -> dict[str, Any]:
        (row,) = self.database.query(
            "SELECT * FROM {schema}.execution_steps"
            " WHERE execution_id = %s AND name = %s",
            (self.execution_id, name),
        )
        return row

    def statuses(self) -> dict[str, str]:
        steps = self.engine.list_steps(self.execution_id)
        return {step.name: str(step.status) for step in steps}

    def outcomes(self, name: str) -> list[tuple[int, str]]:
        """Return the attempts of a step that are archived, and what became of them."""
        rows = self.database.query(
            'SELECT attempt, outcome FROM {schema}.step_attempts WHERE "position" = %s'
            " AND execution_id = %s ORDER BY attempt",
            (self.row(name)["position"], self.execution_id),
        )
        return [(row["attempt"], row["outcome"]) for row in rows]

    def conclude(self) -> str:
        """Return the terminal state; what a worker does after the last step is done."""
        finish_execution(self.records, _QUIET, self.execution_id)
        self.check()
        return str(self.engine.get_status(self.execution_id).status)

    def check(self) -> None:
        """Assert that the timeline and the counters tell what the tables hold."""
        check_timeline(self.engine, self.execution_id)
        (row,) = self.database.query(
            "SELECT e.open_steps, (SELECT count(*) FROM {schema}.execution_steps s"
            " WHERE s.execution_id = e.id AND s.ended_at IS NULL) AS counted"
            " FROM {schema}.executions e WHERE e.id = %s",
            (self.execution_id,),
        )
        assert row["open_steps"] == row["counted"]


@pytest.fixture
def hand(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> Hand:
    return Hand(engine, records, database, worker_id)


def test_a_failure_goes_back_to_before_an_earlier_step(hand: Hand) -> None:
    hand.begin(step("a"), step("b"), step("c", on_failure=back("b")), step("d"))
    hand.run("a", "b")

    completion = hand.fail_step("c")

    assert completion.outcome is Recorded.RECORDED
    assert (heads(completion.windows), completion.epoch) == (["b"], 2)
    assert list(hand.statuses().values()) == [
        "completed",
        "ready",
        "pending",
        "pending",
    ]
    hand.check()


def test_what_follows_a_restore_runs_once_more_to_the_end(hand: Hand) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a")))
    hand.run("a")
    hand.fail_step("b")

    hand.run("a", "b")

    assert hand.engine.get_result(hand.execution_id).value == "b"
    assert hand.outcomes("a") == [(1, "restored")]
    assert hand.outcomes("b") == [(1, "failed")]
    assert (hand.row("a")["attempt"], hand.row("b")["attempt"]) == (2, 2)
    hand.check()


def test_a_step_that_is_restored_is_as_new(hand: Hand) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a")))
    held = hand.claim("a").held
    hand.records.save_checkpoint(held, '{"done": 3}')
    hand.records.report_progress(held, 50, "half", chunks=1, records=2)
    hand.succeed(held, 1)
    hand.fail_step("b")

    row = hand.row("a")

    cleared = ("lease_token", "worker_id", "result", "input", "error", "progress")
    assert {row[name] for name in (*cleared, "delivery", "ended_at")} == {None}
    assert hand.claim("a").checkpoint == {}


def test_restores_are_counted_and_end(hand: Hand) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a", 2)))
    for _ in range(2):
        hand.run("a")
        hand.fail_step("b")
    hand.run("a")

    completion = hand.fail_step("b")

    assert completion.status is ExecutionStatus.ENDING
    assert hand.row("b")["restores"] == 2
    assert hand.conclude() == "failed"


def test_a_step_goes_back_to_before_itself(hand: Hand) -> None:
    hand.begin(step("a"), step("b", on_failure=back("b")), step("c"))
    hand.run("a")

    assert heads(hand.fail_step("b").windows) == ["b"]

    hand.run("b", "c")
    hand.check()


def test_the_variables_stay(hand: Hand) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a")))
    hand.records.complete(
        hand.claim("a").held, StepStatus.COMPLETED, variables='{"x": 1}', epoch=1
    )
    hand.fail_step("b")

    assert hand.claim("a").variables == {"x": 1}


FAN = (
    step("a", []),
    step("b", ["a"]),
    step("slow", ["a"]),
    step("c", ["b"], on_failure=back("a")),
    step("x", []),
    step("y", ["x"]),
    step("end", ["c", "slow", "y"]),
)


def test_what_runs_beside_is_taken_and_its_late_result_refused(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a")
    slow = hand.claim("slow").held
    hand.run("b")
    hand.fail_step("c")

    late = [
        hand.records.complete(slow, StepStatus.COMPLETED, result="1", epoch=1),
        hand.fail(slow, epoch=1),
    ]

    assert {answer.outcome for answer in late} == {Recorded.STALE}
    assert hand.records.is_unwanted(slow)
    assert hand.outcomes("slow") == [(1, "cancelled")]
    hand.run("a", "b", "slow", "c", "x", "y", "end")
    assert hand.conclude() == "completed"


def test_what_runs_elsewhere_runs_on(hand: Hand) -> None:
    hand.begin(*FAN)
    x = hand.claim("x").held
    hand.run("a", "b")
    hand.fail_step("c")

    completion = hand.records.complete(x, StepStatus.COMPLETED, epoch=1, covered=5)

    assert completion.outcome is Recorded.RECORDED
    # the chain's own link is of the old epoch
    assert "y" in heads(completion.windows)
    hand.check()


def test_what_waits_elsewhere_is_sent_again(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a", "b")

    completion = hand.fail_step("c")

    assert sorted(heads(completion.windows)) == ["a", "x"]


def test_messages_from_before_are_dropped(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a", "b")
    hand.fail_step("c")

    answer = try_claim(hand.records, hand.worker_id, hand.execution_id, 4, epoch=1)

    assert answer.outcome is ClaimOutcome.DROPPED


def test_a_need_that_is_settled_elsewhere_stays_settled(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("x", "y", "a", "b", "slow")
    hand.fail_step("c")

    assert hand.row("end")["pending_deps"] == 2
    hand.run("a", "b", "slow", "c", "end")
    hand.check()


def test_the_end_that_went_back_told_again_sends_what_became_ready(
    hand: Hand,
) -> None:
    hand.begin(*FAN)
    hand.run("a", "b")
    held = hand.claim("c").held
    first = hand.fail(held, epoch=1)

    again = hand.fail(held, epoch=1)

    assert again.outcome is Recorded.REPEATED
    assert sorted(heads(again.windows)) == sorted(heads(first.windows)) == ["a", "x"]
    assert (again.epoch, hand.row("c")["restores"]) == (2, 1)


def test_a_success_told_again_after_a_restore_answers_so(hand: Hand) -> None:
    hand.begin(*FAN)
    held = hand.claim("a").held
    hand.records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)
    hand.run("b")
    hand.fail_step("c")

    again = hand.records.complete(held, StepStatus.COMPLETED, result="1", epoch=1)

    assert (again.outcome, hand.row("a")["status"]) == (Recorded.REPEATED, "ready")
    assert "a" in heads(again.windows)


def test_a_ride_that_was_in_doubt_keeps_what_was_not_restored(hand: Hand) -> None:
    wide = [step(f"w{n}", ["x"]) for n in range(2)]
    hand.begin(*FAN[:-1], *wide)
    begun = hand.claim("x")
    rider = Rider(begun.run, str(uuid.uuid4()), hand.worker_id, delivery="by-hand")
    complete = partial(
        hand.records.complete, begun.held, StepStatus.COMPLETED, epoch=1, rider=rider
    )
    first = complete()
    hand.run("a", "b")
    hand.fail_step("c")

    again = complete()

    assert first.next_claim is not None
    assert again.next_claim is not None
    assert again.next_claim.held == first.next_claim.held


def test_a_ride_into_what_is_restored_is_over(hand: Hand) -> None:
    hand.begin(*FAN)
    begun = hand.claim("a")
    hand.records.complete(begun.held, StepStatus.COMPLETED, epoch=1)
    begun = hand.claim("b")
    rider = Rider(begun.run, str(uuid.uuid4()), hand.worker_id, delivery="by-hand")
    complete = partial(
        hand.records.complete, begun.held, StepStatus.COMPLETED, epoch=1, rider=rider
    )
    ridden = complete().next_claim
    assert ridden is not None
    assert ridden.step == "c"
    hand.fail(ridden.held)

    again = complete()

    assert (again.outcome, again.next_claim) == (Recorded.REPEATED, None)


def test_a_paused_execution_goes_back_and_sends_at_its_resume(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a", "b")
    held = hand.claim("c").held
    hand.engine.pause(hand.execution_id)

    completion = hand.fail(held)

    assert (completion.windows, completion.status) == ((), ExecutionStatus.PAUSED)
    assert hand.row("a")["status"] == "ready"
    assert hand.row("a")["published_at"] is None
    hand.engine.resume(hand.execution_id)
    assert hand.row("a")["published_at"] is not None
    hand.run("a", "b", "c")
    hand.check()


def test_a_cancelled_execution_does_not_go_back(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a", "b")
    held = hand.claim("c").held
    hand.engine.cancel(hand.execution_id)

    hand.fail(held)

    assert hand.row("c")["status"] == "failed"
    assert hand.conclude() == "cancelled"


def test_an_execution_beyond_its_deadline_does_not_go_back(
    hand: Hand, database: Database
) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a")), deadline="1h")
    hand.run("a")
    held = hand.claim("b").held
    database.query(
        "UPDATE {schema}.executions SET deadline = created_at WHERE id = %s"
        " RETURNING 1",
        (hand.execution_id,),
    )

    hand.fail(held)

    assert hand.conclude() == "timed_out"


def test_a_step_that_was_lost_for_good_goes_back(
    hand: Hand, liveness: LivenessRecords, settings: Settings
) -> None:
    again = {"max_lost": 1}
    hand.begin(step("a"), step("b", on_failure=back("a"), retry=again))
    hand.run("a")
    hand.worker_id = register(liveness, settings)
    hand.claim("b")
    liveness.end_worker(hand.worker_id)

    lost = [s for s in look(liveness).lost_steps if s.execution_id == hand.execution_id]
    completion = liveness.take_lost(lost[0], is_patient=True)

    assert completion is not None
    assert (heads(completion.windows), completion.epoch) == (["a"], 2)
    assert hand.outcomes("b") == [(1, "lost")]
    hand.check()


def test_a_step_that_waited_beyond_its_deadline_goes_back(
    hand: Hand, liveness: LivenessRecords, database: Database
) -> None:
    hand.begin(step("a"), step("b", on_failure=back("a"), deadline="1h"))
    hand.run("a")
    database.query(
        "UPDATE {schema}.execution_steps SET deadline = ready_at"
        " WHERE execution_id = %s AND name = 'b' RETURNING 1",
        (hand.execution_id,),
    )

    completion = liveness.expire_step(ExpiredStep(hand.execution_id, 1))

    assert completion is not None
    assert heads(completion.windows) == ["a"]
    assert hand.row("b")["deadline"] is None
    hand.run("a")
    assert hand.row("b")["deadline"] > hand.row("b")["ready_at"]
    hand.check()


def test_a_retry_of_what_was_restored_is_refused(hand: Hand) -> None:
    hand.begin(*FAN)
    hand.run("a")
    slow = hand.claim("slow").held
    hand.run("b")
    hand.fail_step("c")

    answer = hand.records.retry(
        slow,
        attempt=1,
        recorded_input="{}",
        error=_ERROR,
        wait_seconds=5,
        parks=True,
    )

    assert answer.outcome is Retried.REFUSED


def test_a_step_that_waits_for_its_time_is_woken_no_more(
    hand: Hand, liveness: LivenessRecords
) -> None:
    hand.begin(*FAN)
    hand.run("a")
    slow = hand.claim("slow").held
    hand.records.retry(
        slow, attempt=1, recorded_input="{}", error=_ERROR, wait_seconds=0, parks=True
    )
    hand.run("b")
    hand.fail_step("c")

    assert liveness.wake_steps(hand.execution_id) is None
    assert hand.row("slow")["status"] == "pending"
    assert hand.outcomes("slow") == [(1, "failed")]
    hand.check()


# items

EACH = (
    step("a", []),
    step("each", ["a"], for_each="[1, 2, 3]", max_parallel=2),
    step("b", ["a"], on_failure=back("a", 2)),
    step("end", ["each", "b"]),
)


def expand(hand: Hand) -> HeldStep:
    claim = hand.claim("each")
    answer = hand.records.expand(claim.held, attempt=claim.attempt, items="[1, 2, 3]")
    assert answer.outcome is Expanded.EXPANDED
    return claim.held


def test_items_from_before_are_cancelled_and_renamed(hand: Hand) -> None:
    hand.begin(*EACH)
    hand.run("a")
    expand(hand)
    hand.run("each[0]")
    late = hand.claim("each[1]").held
    hand.fail_step("b")

    assert hand.statuses() == {
        "a": "ready",
        "each": "pending",
        "b": "pending",
        "end": "pending",
        "each[0]~1": "completed",
        "each[1]~1": "cancelled",
        "each[2]~1": "cancelled",
    }
    answer = hand.records.complete(late, StepStatus.COMPLETED, result="1", epoch=1)
    assert answer.outcome is Recorded.STALE
    assert hand.records.is_unwanted(late)
    assert hand.row("each")["item_count"] is None
    hand.check()


def test_items_are_those_of_the_list_as_it_is_now(hand: Hand) -> None:
    hand.begin(*EACH)
    for _ in range(2):
        hand.run("a")
        expand(hand)
        hand.fail_step("b")
    hand.run("a", "b")
    expand(hand)
    hand.run("each[0]", "each[1]", "each[2]", "end")

    assert "each[0]~2" in hand.statuses()
    assert hand.conclude() == "completed"
    assert hand.outcomes("each") == [(1, "cancelled"), (2, "cancelled")]
    hand.check()


def test_a_list_that_is_told_after_a_restore_is_refused(hand: Hand) -> None:
    hand.begin(*EACH)
    hand.run("a")
    claim = hand.claim("each")
    hand.fail_step("b")

    answer = hand.records.expand(claim.held, attempt=1, items="[1]")

    assert answer.outcome is Expanded.STALE


# fallbacks


def test_fallbacks_stand_by_again(hand: Hand) -> None:
    hand.begin(
        step("a", on_failure={"fallback": "f"}),
        step("b", on_failure=back("a", 2)),
        step("f"),
    )
    hand.fail_step("a")
    hand.run("f")
    hand.fail_step("b")
    assert list(hand.statuses().values()) == ["ready", "pending", "pending"]
    hand.run("a")
    assert hand.statuses()["f"] == "skipped"
    hand.fail_step("b")

    hand.fail_step("a")
    hand.run("f", "b")

    assert hand.row("a")["result"] == "f"
    assert hand.conclude() == "completed"


@pytest.mark.parametrize("target", ["f", "a", "r"])
def test_a_fallback_that_fails_goes_back(hand: Hand, target: str) -> None:
    hand.begin(
        step("r"),
        step("a", on_failure={"fallback": "f"}),
        step("b"),
        step("f", on_failure=back(target)),
    )
    hand.run("r")
    hand.fail_step("a")

    assert heads(hand.fail_step("f").windows) == [target]

    hand.check()
    if target == "r":
        hand.run("r")
    if target != "f":
        hand.fail_step("a")
    hand.run("f", "b")
    assert hand.conclude() == "completed"


# skips


def test_a_step_whose_needs_were_all_skipped_is_skipped_again(hand: Hand) -> None:
    hand.begin(
        step("a", [], on_failure="skip"),
        step("b", ["a"]),
        step("x", []),
        step("c", ["b", "x"], on_failure=back("b")),
    )
    hand.fail_step("a")
    hand.run("x")

    completion = hand.fail_step("c")

    assert heads(completion.windows) == ["c"]
    assert hand.statuses() == {
        "a": "skipped",
        "b": "skipped",
        "x": "completed",
        "c": "ready",
    }
    hand.run("c")
    hand.check()


def test_what_a_condition_skipped_is_asked_again(hand: Hand) -> None:
    hand.begin(step("a", when="true"), step("b", on_failure=back("a")))
    held = hand.claim("a").held
    hand.records.complete(held, StepStatus.SKIPPED, epoch=1)
    hand.fail_step("b")

    again = hand.records.complete(held, StepStatus.SKIPPED, epoch=1)

    claim = hand.claim("a")
    assert (claim.attempt, claim.condition, claim.recorded_input) == (2, "true", None)
    assert again.outcome is Recorded.REPEATED
    assert hand.outcomes("a") == [(1, "restored")]


# undoing


def test_what_completed_twice_is_undone_once(hand: Hand) -> None:
    undo = {"action": "test.nothing"}
    hand.begin(
        step("a", undo=undo),
        step("b", undo=undo),
        step("c", on_failure=back("a")),
        rollback="on_failure",
    )
    for _ in range(2):
        hand.run("a", "b")
        hand.fail_step("c")

    hand.run("b.undo", "a.undo")

    assert hand.conclude() == "failed"


def test_what_did_not_complete_again_is_not_undone(hand: Hand) -> None:
    undo = {"action": "test.nothing"}
    hand.begin(
        step("a", undo=undo),
        step("b", undo=undo),
        step("c", on_failure=back("b")),
        rollback="on_failure",
    )
    hand.run("a", "b")
    hand.fail_step("c")
    hand.fail_step("b")

    assert set(hand.statuses()) == {"a", "b", "c", "a.undo"}
    hand.run("a.undo")
    hand.check()


def test_the_timeline_tells_of_it(hand: Hand) -> None:
    hand.begin(*EACH)
    hand.run("a")
    expand(hand)
    hand.fail_step("b")

    events = read_timeline(hand.engine, hand.execution_id)
    told = [e for e in events if e.type.startswith(("recovery", "checkpoint"))]

    recovery, restored = told
    assert (recovery.step, restored.step) == ("b", "a")
    assert recovery.data == {
        "attempt": 1,
        "error": json.loads(_ERROR),
        "restore": "a",
        "time": 1,
        "times": 2,
    }
    assert restored.data == {
        "steps": ["a", "each", "b"],
        "renamed": ["each[0]~1", "each[1]~1", "each[2]~1"],
    }
    assert events[-1].type == "step.ready"


# strategies


@pytest.fixture
def asked(hand: Hand, liveness: LivenessRecords, settings: Settings) -> Hand:
    """A step whose strategy is asked: its own step is claimed."""
    known = '[{"name": "test.nothing"}, {"name": "strategy:triage"}]'
    hand.worker_id = register(liveness, settings, actions=known)
    hand.begin(step("a"), step("b", on_failure={"strategy": "triage"}), step("c"))
    hand.run("a")
    assert heads(hand.fail_step("b").windows) == ["b.recovery"]
    return hand


def decide(hand: Hand, held: HeldStep, kind: str, target: str | None) -> Completion:
    status = StepStatus.SKIPPED if kind == "skip" else StepStatus.FAILED
    return hand.records.complete(
        held,
        status,
        error=None if kind == "skip" else _ERROR,
        epoch=1,
        decision=json.dumps({"kind": kind, "step": target}),
    )


@pytest.mark.parametrize(
    ("kind", "target", "sent"),
    [("restore", None, ["b"]), ("restore", "a", ["a"]), ("skip", None, ["c"])],
)
def test_a_decision_told_again_sends_what_it_let_begin_again(
    asked: Hand, kind: str, target: str | None, sent: list[str]
) -> None:
    held = asked.claim("b.recovery").held

    first, again = (decide(asked, held, kind, target) for _ in range(2))

    assert (first.outcome, again.outcome) == (Recorded.RECORDED, Recorded.REPEATED)
    assert heads(first.windows) == heads(again.windows) == sent
    asked.check()


def test_an_abort_told_again_answers_the_same(asked: Hand) -> None:
    held = asked.claim("b.recovery").held

    outcomes = [decide(asked, held, "abort", None).outcome for _ in range(2)]

    assert outcomes == [Recorded.RECORDED, Recorded.REPEATED]
    assert asked.conclude() == "failed"


def test_a_decision_for_what_was_restored_meanwhile_is_stale(
    hand: Hand, liveness: LivenessRecords, settings: Settings
) -> None:
    known = '[{"name": "test.nothing"}, {"name": "strategy:triage"}]'
    hand.worker_id = register(liveness, settings, actions=known)
    hand.begin(
        step("a", []),
        step("b", ["a"], on_failure={"strategy": "triage"}),
        step("c", ["a"], on_failure=back("a")),
    )
    hand.run("a")
    hand.fail_step("b")
    held = hand.claim("b.recovery").held
    hand.fail_step("c")

    late = [decide(hand, held, kind, None) for kind in ("restore", "skip", "abort")]

    assert {answer.outcome for answer in late} == {Recorded.STALE}
    assert hand.statuses()["b.recovery"] == "pending"
    hand.check()


def test_a_strategy_is_told_of_the_failure(asked: Hand) -> None:
    claim = asked.claim("b.recovery")

    assert claim.scope["failure"] == json.loads(_ERROR)
    assert claim.inputs == {"failure": "${failure}"}


@pytest.mark.parametrize("target", ["c", "b.recovery", "nobody"])
def test_a_strategy_cannot_lead_anywhere_else(asked: Hand, target: str) -> None:
    held = asked.claim("b.recovery").held

    first, again = (decide(asked, held, "restore", target) for _ in range(2))

    assert (first.windows, again.outcome) == ((), Recorded.REPEATED)
    assert asked.conclude() == "failed"
