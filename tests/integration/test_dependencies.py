"""What steps use: paused by people and by failures, tried with one, then with more."""

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import ClaimOutcome, HeldStep, Retried, RetryAnswer, Rider
from execution.dependencies import (
    DependencyGuard,
    DependencyState,
    DependencySummary,
    Move,
)
from execution.dependency_records import PauseAnswer
from execution.errors import ParameterError
from execution.parking import ParkedExecutions
from execution.trials import DependencyTrials
from tests.polling import wait_until
from tests.racing import Arena, arena_of, run_at_once
from tests.rows import committed
from tests.sweeping import look
from tests.timeline import check_timeline, read_timeline

NOTHING = "test.nothing"
ERROR = '{"code": "E003", "message": "503"}'
RETRY = {"attempts": 9, "initial": "1ms", "jitter": "0s"}
FREE, PAUSED, CANARY, RAMP = DependencyState


@dataclass
class Scene:
    """An arena in which steps use a dependency that no other test uses."""

    arena: Arena
    name: str
    trials: DependencyTrials

    def submit(self, **fields: Any) -> str:
        """Begin an execution of one step that uses the dependency."""
        step = Step("a", action=NOTHING, retry=RETRY, uses=[self.name], **fields)
        return self.arena.submit(Plan(f"uses-{self.name}", steps=[step]))

    def submit_parked(self, count: int) -> list[str]:
        """Begin executions whose steps meet the pause."""
        begun = [self.submit() for _ in range(count)]
        for execution_id in begun:
            assert self.claim(execution_id) is None
        return begun

    def claim(self, execution_id: str) -> HeldStep | None:
        """Claim the first step; None where it is parked."""
        answer = self.arena.try_claim(execution_id)
        if answer.outcome is ClaimOutcome.PARKED:
            return None
        assert answer.claim is not None, answer
        return answer.claim.held

    def fail(self, held: HeldStep, attempt: int = 1) -> RetryAnswer:
        """Fail an attempt that another may follow in place."""
        return self.arena.records.retry(
            held,
            attempt=attempt,
            recorded_input="{}",
            error=ERROR,
            wait_seconds=0.01,
            parks=False,
            blamed=(self.name,),
        )

    def succeed(self, held: HeldStep) -> None:
        """End a step well."""
        self.arena.records.complete(
            held, StepStatus.COMPLETED, result="1", epoch=1, guards=(self.name,)
        )

    def guard(self, **fields: Any) -> None:
        """Pause it by itself."""
        self.arena.engine.guard_dependency(self.name, **fields)

    def pause(self) -> None:
        """Pause it by hand."""
        answer = self.arena.engine.pause_dependency(
            self.name, by="ann", reason="it is down"
        )
        assert answer.landed

    def pause_only(self) -> PauseAnswer:
        """Pause it by hand, on a connection of the caller's thread."""
        return self.arena.liveness.dependencies.pause(
            self.name, act_id=str(uuid.uuid4()), by="ann", reason="it is down"
        )

    def resume(self, *, at_once: bool = False) -> Any:
        """Resume it by hand, and leave the rest to the reconcilers."""
        return self.arena.liveness.dependencies.resume(
            self.name,
            act_id=str(uuid.uuid4()),
            at_once=at_once,
            by="bob",
            reason="it is up",
        )

    def settle(self, times: int = 1) -> list[str]:
        """Decide as a reconciler does; return the executions that may go on."""
        for _ in range(times):
            self.trials.settle(self.name)
        rows = self.arena.database.query(
            "SELECT execution_id FROM {schema}.dependency_passes WHERE name = %s"
            " ORDER BY given_at, execution_id",
            (self.name,),
        )
        return [str(row["execution_id"]) for row in rows]

    def let_pass(self, seconds: float) -> None:
        """Move what the dependency's times are counted from into the past."""
        self.arena.database.query(
            "WITH moved AS (UPDATE {schema}.dependency_passes"
            "   SET given_at = given_at - make_interval(secs => %s) WHERE name = %s)"
            " UPDATE {schema}.dependencies"
            "   SET since = since - make_interval(secs => %s),"
            "       look_at = look_at - make_interval(secs => %s)"
            " WHERE name = %s RETURNING 1",
            (seconds, self.name, seconds, seconds, self.name),
        )

    def read(self) -> DependencySummary:
        """Return how it stands."""
        (found,) = (
            one
            for one in self.arena.engine.list_dependencies()
            if one.name == self.name
        )
        return found

    def reach_ramp(self, parked: int) -> list[str]:
        """Pause, resume, and let the canary end well; return all that waited."""
        self.pause()
        begun = self.submit_parked(parked)
        self.resume()
        (canary,) = self.settle()
        held = self.claim(canary)
        assert held is not None
        self.succeed(held)
        self.settle()
        assert self.read().state is RAMP
        return begun


@pytest.fixture(scope="module")
def shared_arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


@pytest.fixture
def scene(shared_arena: Arena) -> Iterator[Scene]:
    """A dependency of the test's own, and nothing of it left."""
    shared_arena.enter_worker()
    engine = shared_arena.engine
    parking = ParkedExecutions(
        shared_arena.liveness, engine._dispatcher, engine._emitter
    )
    name = f"d{uuid.uuid4().hex[:12]}"
    trials = DependencyTrials(shared_arena.liveness.dependencies, parking)
    yield Scene(shared_arena, name, trials)
    engine.resume_dependency(name, at_once=True)


# people


def test_no_step_that_uses_it_starts_after_a_pause(scene: Scene) -> None:
    scene.pause()
    execution_id = scene.submit()

    assert scene.claim(execution_id) is None

    step = scene.arena.read_step(execution_id)
    assert (step["status"], step["waits_for"]) == (
        "waiting",
        f"dependency:{scene.name}",
    )
    assert (step["attempt"], step["failures"], step["archived"]) == (0, 0, 0)
    waiting = read_timeline(scene.arena.engine, execution_id)[-1]
    assert (waiting.data["by"], waiting.data["reason"]) == ("ann", "it is down")


def test_what_an_action_uses_is_waited_for_in_each_of_its_steps(scene: Scene) -> None:
    action = f"test.{scene.name}"
    scene.arena.enter_worker(json.dumps([{"name": action, "uses": [scene.name]}]))
    scene.pause()

    execution_id = scene.arena.submit(Plan("p", steps=[Step("a", action=action)]))

    assert scene.claim(execution_id) is None


def test_a_ride_does_not_go_by_a_pause(scene: Scene) -> None:
    steps = [Step("a", action=NOTHING), Step("b", action=NOTHING, uses=[scene.name])]
    execution_id = scene.arena.submit(Plan(f"ride-{scene.name}", steps=steps))
    answer = scene.arena.try_claim(execution_id)
    assert answer.claim is not None
    scene.pause()

    rider = Rider(answer.claim.run, str(uuid.uuid4()), scene.arena.worker_id, "by-hand")
    completion = scene.arena.records.complete(
        answer.claim.held, StepStatus.COMPLETED, result="1", epoch=1, rider=rider
    )

    assert completion.next_claim is None
    assert scene.arena.read_step(execution_id, 1)["attempt"] == 0


def test_a_failed_attempt_waits_for_the_resume(scene: Scene) -> None:
    execution_id = scene.submit(deadline="1h")
    held = scene.claim(execution_id)
    assert held is not None
    scene.pause()

    answers = [scene.fail(held) for _ in range(2)]

    # the same call again, after an unknown commit, answers the same
    assert [answer.outcome for answer in answers] == [Retried.WAITING] * 2
    step = scene.arena.read_step(execution_id)
    assert (step["status"], step["failures"], step["archived"]) == ("waiting", 1, 1)
    assert step["waits_for"] == f"dependency:{scene.name}"
    assert step["wake_at"] is None
    scene.resume(at_once=True)
    scene.trials._parking.release(execution_id)
    assert scene.claim(execution_id) is not None
    assert scene.arena.read_step(execution_id)["deadline"] > step["deadline"]
    check_timeline(scene.arena.engine, execution_id)


def test_running_steps_finish_during_a_pause(scene: Scene) -> None:
    execution_id = scene.submit()
    held = scene.claim(execution_id)
    assert held is not None
    scene.pause()

    scene.succeed(held)

    status = scene.arena.engine.get_status(execution_id).status
    assert status is ExecutionStatus.COMPLETED


def test_a_pause_and_a_resume_say_whether_they_landed(scene: Scene) -> None:
    engine = scene.arena.engine

    first = engine.pause_dependency(scene.name, by="ann", reason="it is down")
    second = engine.pause_dependency(scene.name, by="bob")
    resumes = [engine.resume_dependency(scene.name, by="bob") for _ in range(2)]

    assert (first.landed, second.landed, second.by) == (True, False, "ann")
    assert [(answer.landed, answer.state) for answer in resumes] == [
        *((True, FREE), (False, FREE))
    ]


def test_the_same_call_again_answers_the_same(scene: Scene) -> None:
    records = scene.arena.liveness.dependencies
    act = str(uuid.uuid4())
    pauses = [
        records.pause(scene.name, act_id=act, by="ann", reason=None) for _ in range(2)
    ]
    scene.submit_parked(1)
    act = str(uuid.uuid4())
    resumes = [
        records.resume(scene.name, act_id=act, at_once=False, by="bob", reason=None)
        for _ in range(2)
    ]

    assert [answer.landed for answer in pauses] == [True, True]
    assert [(answer.landed, answer.state) for answer in resumes] == [(True, CANARY)] * 2


def test_what_has_no_name_of_its_own_is_refused(scene: Scene) -> None:
    with pytest.raises(ParameterError, match="lower-case letter"):
        scene.arena.engine.pause_dependency("No Name")
    with pytest.raises(ParameterError, match="above 0, up to 1"):
        scene.guard(pause_at=50)


def test_at_once_lets_all_go_on(scene: Scene) -> None:
    scene.pause()
    begun = scene.submit_parked(3)

    answer = scene.resume(at_once=True)

    assert (answer.landed, answer.state, answer.parked_steps) == (True, FREE, 3)
    scene.trials._parking.try_release(100)
    assert all(scene.claim(execution_id) is not None for execution_id in begun)


# failures


def test_failures_pause_what_is_guarded(scene: Scene) -> None:
    scene.guard(pause_at=0.5, of_last=4)
    for _ in range(2):
        held = scene.claim(scene.submit())
        assert held is not None
        scene.succeed(held)
    held = scene.claim(last := scene.submit())
    assert held is not None

    first = scene.fail(held, attempt=1)
    second = scene.fail(held, attempt=2)

    # two of the last four: the very step waits before it tries once more
    assert (first.outcome, second.outcome) == (Retried.RETRYING, Retried.WAITING)
    found = scene.read()
    assert (found.state, found.by) == (PAUSED, "plans")
    assert found.reason == "2 of the last 4 attempts failed"
    assert scene.arena.read_step(last)["failures"] == 2
    assert scene.claim(scene.submit()) is None


def test_failures_of_what_is_not_guarded_are_not_counted(scene: Scene) -> None:
    scene.guard(pause_at=0.5, of_last=1)
    assert scene.arena.engine.unguard_dependency(scene.name)
    held = scene.claim(scene.submit())
    assert held is not None

    assert scene.fail(held).outcome is Retried.RETRYING
    assert scene.read().state is FREE


def test_failures_before_the_window_do_not_count(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=2, window_seconds=60)
    held = scene.claim(scene.submit())
    assert held is not None
    scene.fail(held)
    scene.arena.database.query(
        "UPDATE {schema}.dependency_outcomes SET at = at - interval '61 seconds'"
        " WHERE name = %s RETURNING 1",
        (scene.name,),
    )

    assert scene.fail(held, attempt=2).outcome is Retried.RETRYING
    assert scene.fail(held, attempt=3).outcome is Retried.WAITING


def test_a_timeout_counts_where_it_is_a_failure(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=1, not_on=["E002"])
    execution_id = scene.submit(timeout="1m")
    assert scene.claim(execution_id) is not None
    overrun(scene)
    assert scene.read().state is FREE

    scene.guard(pause_at=1, of_last=1)
    assert scene.claim(execution_id) is not None
    overrun(scene)

    assert scene.read().state is PAUSED


def overrun(scene: Scene) -> None:
    """Let what runs outlive its timeout, and take it away."""
    scene.arena.database.query(
        "UPDATE {schema}.execution_steps SET attempt_deadline = '2000-01-01'"
        " WHERE worker_id = %s AND status = 'running' RETURNING 1",
        (scene.arena.worker_id,),
    )
    overdue = look(scene.arena.liveness, worker_id=scene.arena.worker_id)
    (step,) = overdue.overdue_steps
    assert scene.arena.liveness.take_overdue(step, wait_seconds=0.0)


def test_failures_at_the_same_moment_are_all_seen(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=4)
    held = [scene.claim(scene.submit()) for _ in range(4)]

    run_at_once([lambda one=one: scene.fail(one) for one in held])  # type: ignore[misc]  # bound at once

    assert scene.read().state is PAUSED


def test_what_is_looked_at_no_more_is_cleared_away(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=2)
    for _ in range(3):
        held = scene.claim(scene.submit())
        assert held is not None
        scene.succeed(held)

    settings = scene.arena.settings
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "SELECT clear_outcomes(d) FROM dependencies d WHERE name = %s",
            (scene.name,),
        )

    assert scene.read().attempts == 2


# the trial


def test_exactly_one_canary_is_let_through(scene: Scene) -> None:
    scene.pause()
    begun = scene.submit_parked(3)

    assert scene.resume().state is CANARY
    passed = scene.settle(times=3)

    assert passed == begun[:1]
    assert scene.claim(begun[0]) is not None
    # who comes meanwhile waits as well
    assert scene.claim(scene.submit()) is None
    assert scene.settle() == begun[:1]


def test_who_asks_why_is_told_of_the_trial(scene: Scene) -> None:
    scene.pause()
    waiting = scene.submit_parked(2)
    scene.resume()
    (canary,) = scene.settle()

    (left,) = set(waiting) - {canary}
    (found,) = scene.arena.engine.why(left).steps[0].obstacles
    assert "it is tried again, with one step first" in found.text


def test_a_canary_is_one_under_many_reconcilers(scene: Scene) -> None:
    scene.pause()
    scene.submit_parked(6)
    scene.resume()

    run_at_once([lambda: scene.trials.settle(scene.name)] * 6)

    assert len(scene.settle()) == 1


def test_a_ramp_follows_a_good_canary(scene: Scene) -> None:
    begun = scene.reach_ramp(8)

    passed = [1]
    while scene.read().state is RAMP:
        scene.let_pass(5)
        for execution_id in scene.settle():
            if scene.arena.read_step(execution_id)["status"] == "ready":
                held = scene.claim(execution_id)
                assert held is not None
                scene.succeed(held)
        passed.append(scene.read().passed_steps)

    # one, then two, then four, then the last one; at its end the passes are gone
    assert passed == [1, 2, 4, 8, 0]
    assert {scene.arena.read_step(one)["status"] for one in begun} == {"completed"}
    for execution_id in begun:
        check_timeline(scene.arena.engine, execution_id)


def test_a_failure_within_a_ramp_pauses_again(scene: Scene) -> None:
    scene.reach_ramp(5)
    scene.let_pass(5)
    (execution_id,) = [
        one for one in scene.settle() if scene.arena.read_step(one)["status"] == "ready"
    ]
    held = scene.claim(execution_id)
    assert held is not None

    assert scene.fail(held).outcome is Retried.WAITING
    scene.settle()

    found = scene.read()
    assert (found.state, found.passed_steps) == (PAUSED, 0)
    assert found.reason == "1 of 2 failed that were let through"


def test_a_failed_canary_pauses_for_twice_as_long(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=1, cooldown_seconds=30)
    held = scene.claim(execution_id := scene.submit())
    assert held is not None
    scene.fail(held)
    waits = []
    for _ in range(3):
        scene.settle()
        found = scene.read()
        assert found.look_at is not None
        waits.append(round((found.look_at - found.since).total_seconds()))
        scene.let_pass(waits[-1])
        assert scene.settle() == [execution_id]
        held = scene.claim(execution_id)
        assert held is not None
        step = scene.arena.read_step(execution_id)
        assert scene.fail(held, attempt=step["attempt"]).outcome is Retried.WAITING
        scene.settle()

    assert waits == [30, 60, 120]
    assert scene.arena.read_step(execution_id)["failures"] == 4


def test_a_lost_canary_pauses_again(scene: Scene) -> None:
    scene.pause()
    (execution_id,) = scene.submit_parked(1)
    scene.resume()
    scene.settle()
    assert scene.claim(execution_id) is not None

    scene.arena.lose_all()
    scene.arena.lose_all()
    lost = [
        step
        for step in look(scene.arena.liveness).lost_steps
        if step.execution_id == execution_id
    ]
    assert scene.arena.liveness.take_lost(lost[0], is_patient=True)
    scene.settle()

    assert (scene.read().state, scene.read().reason) == (PAUSED, "the canary failed")


def test_a_canary_that_is_too_slow_pauses_again(scene: Scene) -> None:
    scene.pause()
    (execution_id,) = scene.submit_parked(1)
    scene.resume()
    scene.settle()
    assert scene.claim(execution_id) is not None
    scene.arena.database.query(
        "UPDATE {schema}.execution_steps SET claimed_at = '2000-01-01'"
        " WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )

    scene.settle()

    assert scene.read().state is PAUSED


@pytest.mark.parametrize("act", ["pause", "cancel"])
def test_a_canary_whose_execution_is_stopped_is_replaced(
    scene: Scene, act: str
) -> None:
    scene.pause()
    first, second = scene.submit_parked(2)
    scene.resume()
    assert scene.settle() == [first]

    getattr(scene.arena.engine, act)(first)

    assert scene.settle() == [second]
    assert scene.claim(second) is not None


def test_a_running_canary_is_not_replaced(scene: Scene) -> None:
    scene.pause()
    first, _ = scene.submit_parked(2)
    scene.resume()
    scene.settle()
    assert scene.claim(first) is not None
    scene.arena.engine.pause(first)

    assert scene.settle() == [first]


def test_what_began_before_the_pause_does_not_judge_the_trial(scene: Scene) -> None:
    old = scene.claim(scene.submit())
    assert old is not None
    scene.pause()
    (canary,) = scene.submit_parked(1)
    scene.resume()
    scene.settle()

    assert scene.fail(old).outcome is Retried.WAITING
    scene.settle()

    assert (scene.read().state, scene.settle()) == (CANARY, [canary])


def test_without_steps_that_wait_the_next_one_is_the_canary(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=1, cooldown_seconds=30)
    held = scene.claim(failing := scene.submit())
    assert held is not None
    scene.fail(held)
    scene.arena.engine.cancel(failing)
    scene.settle()
    scene.let_pass(30)
    assert (scene.settle(), scene.read().state) == ([], CANARY)
    scene.let_pass(30)
    assert scene.name not in look(scene.arena.liveness).due_dependencies

    execution_id = scene.submit()
    assert scene.claim(execution_id) is None

    assert scene.name in look(scene.arena.liveness).due_dependencies
    assert scene.settle() == [execution_id]


def test_who_gives_a_pass_and_dies_has_lost_nothing(scene: Scene) -> None:
    scene.pause()
    (execution_id,) = scene.submit_parked(1)
    scene.resume()
    records = scene.arena.liveness.dependencies
    seen = records.read_trial(scene.name)
    assert seen is not None
    move = Move(CANARY, seen.look_at, give=1)
    given = records.move(seen, move, act_id=str(uuid.uuid4()))
    assert given == (execution_id,)

    assert execution_id in look(scene.arena.liveness).resumable_executions
    scene.trials._parking.release(execution_id)

    assert scene.claim(execution_id) is not None


def test_a_pause_by_hand_takes_a_trial_over(scene: Scene) -> None:
    scene.pause()
    (execution_id,) = scene.submit_parked(1)
    scene.resume()
    scene.settle()

    answer = scene.arena.engine.pause_dependency(scene.name, by="eve", reason="not yet")

    assert (answer.landed, answer.by, answer.reason) == (True, "eve", "not yet")
    assert scene.read().look_at is None
    assert scene.claim(execution_id) is None


def test_reconcilers_carry_a_trial_to_its_end(scene: Scene) -> None:
    begun = scene.reach_ramp(2)
    scene.let_pass(5)

    found = look(scene.arena.liveness)

    assert scene.name in found.due_dependencies
    for _ in range(2):
        for execution_id in scene.settle():
            if scene.arena.read_step(execution_id)["status"] == "ready":
                held = scene.claim(execution_id)
                assert held is not None
                scene.succeed(held)
        scene.let_pass(5)
    assert scene.read().state is FREE
    assert scene.name not in look(scene.arena.liveness).due_dependencies
    status = scene.arena.engine.get_status(begun[1]).status
    assert status is ExecutionStatus.COMPLETED


def test_a_guard_is_listed_as_it_was_stated(scene: Scene) -> None:
    scene.guard(
        pause_at=0.25, of_last=8, on=["OSError"], by="ann", reason="it is flaky"
    )

    found = scene.read()

    assert found.guard == DependencyGuard(pause_at=0.25, of_last=8, on=("OSError",))
    assert (found.guarded_by, found.guard_reason) == ("ann", "it is flaky")
    assert (found.state, found.attempts, found.parked_steps) == (FREE, 0, 0)


# races


def test_no_claim_lands_after_a_pause(scene: Scene) -> None:
    for _ in range(20):
        execution_id = scene.submit()

        claim, _ = scene.arena.race_pair(
            lambda: scene.claim(execution_id),  # noqa: B023  # called within this round
            scene.pause_only,
            over=execution_id,
        )

        step = scene.arena.read_step(execution_id)
        assert (step["status"] == "running") == (claim is not None)
        if claim is None:
            assert step["attempt"] == 0
        assert scene.claim(scene.submit()) is None
        scene.resume(at_once=True)


@contextmanager
def behind(
    scene: Scene, call: Callable[[], Any]
) -> Iterator[tuple[Any, Callable[[], Future[Any]]]]:
    """Give an open transaction, and a way to have a call that waits for its end."""
    settings = scene.arena.settings
    with (
        ThreadPoolExecutor(1) as pool,
        committed(str(settings.database_url), settings.schema) as cursor,
    ):

        def begin() -> Future[Any]:
            begun = pool.submit(call)
            wait_until(
                lambda: begun.done() or scene.arena._count_waiting() > 0,
                what="the call to meet the transaction",
            )
            return begun

        yield cursor, begin


def test_a_pause_sees_an_attempt_that_follows_in_place(scene: Scene) -> None:
    held = scene.claim(scene.submit())
    assert held is not None

    with behind(scene, scene.pause_only) as (cursor, begin):
        cursor.execute(
            "SELECT outcome FROM retry_step(%s, 0, %s, 1, '{}', %s, 0.01, false)",
            (held.execution_id, held.token, ERROR),
        )
        assert cursor.fetchone() == ("retrying",)
        pausing = begin()
        assert not pausing.done()
    assert pausing.result().landed


def test_a_pass_that_did_well_does_not_deadlock_with_a_resume(scene: Scene) -> None:
    begun = scene.reach_ramp(3)
    (passed,) = set(scene.settle()) & set(begun[1:])
    held = scene.claim(passed)
    assert held is not None

    with behind(scene, lambda: scene.resume(at_once=True)) as (cursor, begin):
        cursor.execute(
            "SELECT FROM executions WHERE id = %s FOR NO KEY UPDATE", (passed,)
        )
        cursor.execute("SELECT note_attempt(%s, 0, %s, false)", (passed, [scene.name]))
        resuming = begin()
        cursor.execute("SELECT share_holds()")
    assert resuming.result().landed


def test_failures_and_pauses_at_the_same_moment_do_not_deadlock(scene: Scene) -> None:
    scene.guard(pause_at=1, of_last=1)
    for _ in range(10):
        held = scene.claim(scene.submit())
        assert held is not None

        run_at_once(
            [
                lambda: scene.fail(held),  # noqa: B023  # called within this round
                scene.pause_only,
                lambda: scene.trials.settle(scene.name),
            ]
        )

        found = scene.read()
        assert (found.state, found.by) == (PAUSED, "ann")
        scene.resume(at_once=True)


def test_a_pause_under_a_misspelt_name_names_the_nearest(
    engine: ExecutionEngine,
) -> None:
    step = Step("charge", action="test.nothing", uses=["warehouse"])
    engine.publish(Plan("buying", steps=[step]))

    misspelt = engine.pause_dependency("warehuose")
    meant = engine.pause_dependency("warehouse")
    for name in ("warehuose", "warehouse"):
        engine.resume_dependency(name)

    assert misspelt.warning == (
        "no plan and no action is known to use 'warehuose'; did you mean \"warehouse\"?"
    )
    assert (meant.landed, meant.warning) == (True, None)
