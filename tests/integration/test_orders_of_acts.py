"""Whatever is asked of an execution, and in whatever order: it does what a model says.

What the model refuses, the engine refuses, and changes nothing.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.answers import Claim, Completion, Recorded
from execution.drains import YieldCause, Yielded
from execution.ending import finish_execution
from execution.errors import InvalidExecutionStateError
from execution.events import ExecutionEventEmitter
from execution.holds import HoldKind
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.repository import ExecutionRepository
from execution.sweeps import LostStep
from tests.integration.test_protocol import nothing, register, try_claim
from tests.model_of_acts import UNSTARTED, WAIT, Model, Target
from tests.timeline import check_timeline

# chance repeats what other tests have covered
pytestmark = pytest.mark.usefixtures("untraced")

PLAN = Plan(
    "acts",
    steps=[
        nothing("one"),
        Step("two", wait_for="go"),
        Step("three", action="test.nothing", uses=["bank"]),
    ],
    tags=["acted-on"],
)
NAMES = tuple(step.name for step in PLAN.steps)
SILENT = ExecutionEventEmitter(None, "")
POSITIONS = st.integers(0, 2)
KINDS = st.sampled_from(HoldKind)
ERROR = json.dumps(
    {
        "code": "E003",
        "message": "no",
        "step": "one",
        "timestamp": "2026-11-21T12:00:00+00:00",
        "recoverable": True,
        "context": {},
    }
)


@dataclass
class Servers:
    """What a machine acts through; its worker dies now and then."""

    engine: ExecutionEngine
    records: StepRecords
    liveness: LivenessRecords
    repository: ExecutionRepository
    settings: Settings

    def __post_init__(self) -> None:
        self.names = {
            HoldKind.PLAN: PLAN.name,
            HoldKind.TAG: "acted-on",
            HoldKind.QUEUE: self.settings.queue,
            HoldKind.DEPENDENCY: "bank",
        }
        self.replace_worker()

    def replace_worker(self) -> None:
        """Go on in the name of a new worker."""
        self.worker_id = register(self.liveness, self.settings)


class Acts(RuleBasedStateMachine):
    """Acts on one execution, and on the model of it."""

    servers: ClassVar[Servers]

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.records = self.servers.engine, self.servers.records
        self.model = Model()
        self.execution_id = self.engine.submit(PLAN)
        self.held: dict[int, Claim] = {}
        self.gone: list[Claim] = []

    # what people ask of the execution

    def act(self, is_allowed: bool, act: Callable[..., object]) -> None:
        """Ask for what the model allows, or refuses."""
        if is_allowed:
            act(self.execution_id, by="ann", reason="a test")
        else:
            with pytest.raises(InvalidExecutionStateError):
                act(self.execution_id, by="ann", reason="a test")

    @rule()
    def pause(self) -> None:
        self.act(self.model.pause(), self.engine.pause)

    @rule()
    def resume(self) -> None:
        self.act(self.model.resume(), self.engine.resume)

    @rule(gives_time=st.booleans())
    def cancel(self, gives_time: bool) -> None:
        cancel = partial(self.engine.cancel, grace_seconds=5 if gives_time else None)
        self.act(self.model.cancel(gives_time=gives_time), cancel)

    @rule()
    def retry(self) -> None:
        self.act(self.model.retry(), self.engine.retry)

    @rule(position=POSITIONS)
    def skip(self, position: int) -> None:
        is_allowed = self.model.settle(position, StepStatus.SKIPPED)
        self.act(is_allowed, partial(self.engine.skip, step=NAMES[position]))

    @rule(position=POSITIONS)
    def force(self, position: int) -> None:
        is_allowed = self.model.settle(position, StepStatus.COMPLETED)
        force = partial(self.engine.force_result, step=NAMES[position], result=7)
        self.act(is_allowed, force)

    @rule()
    def signal(self) -> None:
        self.act(self.model.signal(), partial(self.engine.signal, name="go"))

    # what is paused beside it

    def name(self, kind: HoldKind) -> Target:
        return kind, self.servers.names[kind]

    @rule(kind=KINDS)
    def hold(self, kind: HoldKind) -> None:
        self.model.hold(self.name(kind))
        pause = {
            HoldKind.PLAN: self.engine.pause_plan,
            HoldKind.TAG: self.engine.pause_tag,
            HoldKind.QUEUE: self.engine.pause_queue,
            HoldKind.DEPENDENCY: self.engine.pause_dependency,
        }[kind]
        pause(self.servers.names[kind], by="ann", reason="a test")

    @rule(kind=KINDS)
    def lift(self, kind: HoldKind) -> None:
        self.model.lift(self.name(kind))
        if kind is HoldKind.DEPENDENCY:
            self.engine.resume_dependency("bank", at_once=True, by="ann")
            # it goes on with all that may, at once
            self.model.release()
        else:
            self.servers.repository.end_hold(
                *self.name(kind), resume_id=str(uuid.uuid4()), by="ann"
            )

    @rule()
    def release(self) -> None:
        """Let parked steps go on, as a reconciler does."""
        self.model.release()
        self.servers.liveness.unpark_steps(self.execution_id)

    # what workers do

    @rule(position=POSITIONS, is_late=st.booleans())
    def claim(self, position: int, is_late: bool) -> None:
        epoch = self.model.epoch - is_late
        answer = try_claim(
            self.records,
            self.servers.worker_id,
            self.execution_id,
            position,
            epoch=epoch,
        )
        assert answer.outcome == self.model.claim(position, epoch), answer
        if answer.claim is not None:
            self.held[position] = answer.claim

    @precondition(lambda self: WAIT in self.held)
    @rule()
    def begin_wait(self) -> None:
        """Let the second step wait for its signal, which may be there already."""
        answer = self.records.signals.begin_wait(
            self.held[WAIT].held,
            recorded_input='{"wait_for": "go"}',
            name="go",
            seconds=None,
        )
        assert answer.outcome == self.model.begin_wait()
        if answer.outcome != "refused":
            self.gone.append(self.held.pop(WAIT))

    @precondition(lambda self: self.held)
    @rule(succeeds=st.booleans())
    def end_step(self, succeeds: bool) -> None:
        position, claim = self.held.popitem()
        (self.model.complete if succeeds else self.model.fail)(position)
        done = self.report(claim, succeeds=succeeds)
        assert done.outcome is Recorded.RECORDED
        self.finish(done)
        self.gone.append(claim)

    @precondition(lambda self: self.held)
    @rule(cause=st.sampled_from(YieldCause))
    def yield_step(self, cause: YieldCause) -> None:
        position, claim = next(iter(self.held.items()))
        answer = self.records.yield_step(
            claim.held, attempt=claim.attempt, cause=cause, recorded_input=None
        )
        is_back = self.model.give_back(position)
        assert answer.outcome is (Yielded.YIELDED if is_back else Yielded.REFUSED)
        if is_back:
            self.gone.append(self.held.pop(position))

    @precondition(lambda self: self.held)
    @rule(has_died=st.booleans())
    def take_lost(self, has_died: bool) -> None:
        """Take a step from its worker, which is only done if it is no more."""
        position, claim = next(iter(self.held.items()))
        if has_died:
            self.servers.liveness.end_worker(self.servers.worker_id)
            self.servers.replace_worker()
        lost = LostStep(self.execution_id, position, claim.held.token)
        taken = self.servers.liveness.take_lost(lost, is_patient=True)
        assert (taken is not None) is has_died
        if taken is not None:
            self.model.lose(position)
            self.finish(taken)
            self.gone.append(self.held.pop(position))

    @precondition(lambda self: self.list_zombies())
    @rule(data=st.data(), succeeds=st.booleans())
    def tell_too_late(self, data: st.DataObject, succeeds: bool) -> None:
        """Tell of a step whose attempt has ended, and that has begun anew since."""
        zombie = data.draw(st.sampled_from(self.list_zombies()))
        done = self.report(zombie, succeeds=succeeds)
        assert done.outcome is Recorded.STALE

    def list_zombies(self) -> list[Claim]:
        begun_anew = {*UNSTARTED, StepStatus.RUNNING}
        return [
            claim
            for claim in self.gone
            if self.model.steps[claim.held.position] in begun_anew
        ]

    def report(self, claim: Claim, *, succeeds: bool) -> Completion:
        return self.records.complete(
            claim.held,
            StepStatus.COMPLETED if succeeds else StepStatus.FAILED,
            error=None if succeeds else ERROR,
            epoch=self.model.epoch,
        )

    def finish(self, done: Completion) -> None:
        if done.is_last:
            finish_execution(self.records, SILENT, self.execution_id)

    # what is looked at

    @invariant()
    def stands_as_the_model(self) -> None:
        execution = self.engine.get_status(self.execution_id)
        steps = self.engine.list_steps(self.execution_id)
        model = self.model
        assert (execution.status, execution.epoch) == (model.status, model.epoch)
        assert [step.status for step in steps] == model.steps
        parked = [s.waits_for for s in steps if s.waits_for not in (None, "signal:go")]
        assert parked == ([":".join(model.waits_for)] if model.waits_for else [])

    @invariant()
    def keeps_what_nobody_has_taken(self) -> None:
        taken = [s.taken_by for s in self.engine.list_signals(self.execution_id)]
        assert taken.count(None) == self.model.kept
        # no step takes two
        assert taken.count("two") == len(taken) - self.model.kept <= 1

    def teardown(self) -> None:
        for kind in HoldKind:
            self.lift(kind)
        self.release()
        check_timeline(self.engine, self.execution_id)


def test_every_order_of_acts_does_what_the_model_says(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    repository: ExecutionRepository,
    settings: Settings,
) -> None:
    servers = Servers(engine, records, liveness, repository, settings)
    run_state_machine_as_test(
        type("ActsHere", (Acts,), {"servers": servers}),
        settings=settings_of_hypothesis(stateful_step_count=30, deadline=None),
    )
