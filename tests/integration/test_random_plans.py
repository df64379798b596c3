"""Random plans under random misfortune: every one ends, and as its edges say.

Each seed draws a plan, and fates for its steps, its messages and its workers. The
steps are claimed and completed by hand, through the real functions; messages are
dropped, repeated and reordered, workers die with a step in hand and write late, the
execution is paused and resumed. What the end must be is worked out separately, from
the edges alone.
"""

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import Claim, Completion, Recorded, Rider
from execution.database import Database
from execution.ending import finish_execution
from execution.engine import ExecutionEngine
from execution.events import ExecutionEventEmitter
from execution.expressions import evaluate_condition
from execution.language.compilation import CompiledStep
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from execution.repository import ExecutionRepository
from execution.windows import Window
from tests.beating import beat
from tests.integration.test_protocol import register, try_claim
from tests.sweeping import look
from tests.timeline import check_timeline

# chance repeats what other tests have covered
pytestmark = pytest.mark.usefixtures("untraced")

SEEDS = 120
QUIET = ExecutionEventEmitter(None, "")


@dataclass(frozen=True)
class Message:
    """One link in the broker: the rest of its window, and its epoch."""

    positions: tuple[int, ...]
    epoch: int


@dataclass
class World:
    """One execution, the messages under way, and those who died with a step."""

    dice: random.Random
    settings: Settings
    database: Database
    repository: ExecutionRepository
    fates: dict[str, StepStatus]
    execution_id: str = ""
    worker_id: str = ""
    messages: list[Message] = field(default_factory=list)
    zombies: list[Claim] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.share_of_rides = self.dice.choice([0.0, 0.5, 1.0])
        self.records = StepRecords(self.database)
        self.liveness = LivenessRecords(self.database)
        self.worker_id = register(self.liveness, self.settings)

    def send(self, windows: tuple[Window, ...]) -> None:
        """Let most of the messages arrive, some of them twice."""
        for window in windows:
            message = Message(
                tuple(link.position for link in window.links), window.epoch
            )
            self.messages += [message] * self.dice.choices([0, 1, 2], [1, 8, 1])[0]

    def step(self) -> None:
        """Let one thing happen."""
        if self.dice.random() < 0.05:
            self.pause_and_resume()
        if self.zombies and self.dice.random() < 0.3:
            self.write_late()
        if not self.messages:
            self.reconcile()
            return
        message = self.messages.pop(self.dice.randrange(len(self.messages)))
        answer = try_claim(
            self.records,
            self.worker_id,
            self.execution_id,
            *message.positions,
            epoch=message.epoch,
        )
        if answer.claim is None:
            if answer.outcome == "satisfied" and message.positions[answer.skipped :]:
                rest = message.positions[answer.skipped :]
                self.messages.append(Message(rest, message.epoch))
        elif self.dice.random() < 0.1:
            self.die(answer.claim)
        else:
            rest = message.positions[answer.skipped + 1 :]
            self.complete(answer.claim, rest, message.epoch)

    def complete(self, claim: Claim, rest: tuple[int, ...], epoch: int) -> None:
        """Record the step's fate, and those of the steps that it is ridden on to."""
        while True:
            done = self.record(claim, rest, epoch)
            if done.next_claim is None:
                break
            is_next = rest[:1] == (done.next_claim.held.position,)
            claim, rest = done.next_claim, rest[1:] if is_next else ()
            if self.dice.random() < 0.1:
                self.die(claim)
                return
        if done.is_last:
            finish_execution(self.records, QUIET, self.execution_id)
        if rest and done.epoch == epoch and done.status is ExecutionStatus.RUNNING:
            self.messages.append(Message(rest, epoch))

    def record(self, claim: Claim, rest: tuple[int, ...], epoch: int) -> Completion:
        """Record a step's fate, as often as its commit stays unknown."""
        status = self.judge(claim)
        rider = None
        if status is StepStatus.COMPLETED and self.dice.random() < self.share_of_rides:
            token = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
            rider = Rider(claim.run, token, self.worker_id, delivery="by-hand")
        answers = [
            self.records.complete(
                claim.held,
                status,
                error=ERROR if status is StepStatus.FAILED else None,
                covered=rest[0] if rest else None,
                epoch=epoch,
                rider=rider,
            )
            for _ in range(self.dice.choice([1, 1, 1, 2]))
        ]
        for done in answers:
            assert done.outcome is not Recorded.STALE
            assert done.next_claim == answers[0].next_claim
            self.send(done.windows)
        return answers[-1]

    def judge(self, claim: Claim) -> StepStatus:
        """Return what becomes of a step: what its condition says, or else its fate."""
        wanted = is_wanted(claim, claim.scope)
        return self.fates[claim.step] if wanted else StepStatus.SKIPPED

    def die(self, claim: Claim) -> None:
        """Lose the worker with the step in its hand."""
        self.zombies.append(claim)
        self.liveness.end_worker(self.worker_id)
        self.worker_id = register(self.liveness, self.settings)

    def write_late(self) -> None:
        """Let one who died write after all; it may land only if nobody noticed yet."""
        zombie = self.zombies.pop()
        step = self.repository.list_steps(self.execution_id)[zombie.held.position]
        status = self.judge(zombie)
        error = ERROR if status is StepStatus.FAILED else None
        late = self.records.complete(zombie.held, status, error=error, epoch=-1)
        if late.outcome is Recorded.RECORDED:
            assert step.status is StepStatus.RUNNING
            self.send(late.windows)

    def pause_and_resume(self) -> None:
        """Stop for a moment; the messages under way are of an older epoch then."""
        move = self.repository.update_state(self.execution_id, ExecutionStatus.PAUSED)
        if move.landed:
            back = self.repository.update_state(
                self.execution_id, ExecutionStatus.RUNNING
            )
            self.send(back.windows)

    def reconcile(self) -> None:
        """Find what is lost, unsent or unfinished, as a reconciler does."""
        for step in look(self.liveness).lost_steps:
            if step.execution_id == self.execution_id:
                taken = self.liveness.take_lost(step, is_patient=True)
                self.send(taken.windows if taken else ())
        self.database.query(
            "UPDATE {schema}.execution_steps SET published_at = published_at"
            " - interval '1 hour' WHERE execution_id = %s RETURNING 1",
            (self.execution_id,),
        )
        beat(self.database, self.worker_id, [self.settings.queue])
        found = look(self.liveness)
        for unsent in found.unsent_steps:
            if unsent.execution_id == self.execution_id:
                self.send(self.liveness.mark_resent(unsent))
        if self.execution_id in found.unsent_executions:
            self.send(self.liveness.mark_sent(self.execution_id))
        finish_execution(self.records, QUIET, self.execution_id)


ERROR = (
    '{"code": "E003", "message": "by fate", "step": "s", "recoverable": true,'
    ' "timestamp": "2026-01-01T00:00:00+00:00", "context": {}}'
)


def draw_plan(dice: random.Random) -> tuple[Plan, dict[str, StepStatus]]:
    """Return a plan of up to nine steps, and what becomes of each that runs."""
    names = [f"s{n}" for n in range(dice.randint(1, 9))]
    is_sequence = dice.random() < 0.3
    needs = {
        name: sorted(dice.sample(names[:n], dice.randint(0, min(n, 3))))
        for n, name in enumerate(names)
    }
    steps = [
        Step(
            name,
            action="test.nothing",
            needs=None if is_sequence else needs[name],
            when=draw_condition(dice, names[:n] if is_sequence else needs[name]),
            on_failure=dice.choice(["skip", "skip", "skip", "abort"]),
            retry={"max_lost": 100},
        )
        for n, name in enumerate(names)
    ]
    fate = {
        name: dice.choices([StepStatus.COMPLETED, StepStatus.FAILED], [4, 1])[0]
        for name in names
    }
    return Plan("random", steps=steps), fate


def draw_condition(dice: random.Random, readable: list[str]) -> str | None:
    """Return a condition on a step that is settled before, or none."""
    if not readable or dice.random() < 0.6:
        return None
    wanted = dice.choice(["completed", "completed", "skipped"])
    return f'steps.{dice.choice(readable)}.status == "{wanted}"'


def is_wanted(step: CompiledStep | Claim, scope: Mapping[str, object]) -> bool:
    condition = step.condition
    return condition is None or evaluate_condition(condition, scope, place="when")


def foretell(plan: Plan, fates: dict[str, StepStatus]) -> dict[str, StepStatus] | None:
    """Return how each step must end, from the edges alone; None if a step aborts."""
    ends: dict[int, StepStatus] = {}
    for step in plan.steps:
        skipped = [ends[need] is StepStatus.SKIPPED for need in step.needs]
        is_cut_off = skipped and all(skipped) and not step.survives_skips
        known = {plan.steps[n].name: {"status": str(end)} for n, end in ends.items()}
        if is_cut_off or not is_wanted(step, {"steps": known}):
            ends[step.position] = StepStatus.SKIPPED
        elif fates[step.name] is StepStatus.COMPLETED:
            ends[step.position] = StepStatus.COMPLETED
        elif step.on_failure == "skip":
            ends[step.position] = StepStatus.SKIPPED
        else:
            return None
    return {step.name: ends[step.position] for step in plan.steps}


@pytest.fixture(scope="module", autouse=True)
def few_lanes(database: Database) -> None:
    """Let a fan-out of a few steps be wider than what is sent of it."""
    database.query(
        "CREATE OR REPLACE FUNCTION {schema}.publish_limit(p_queue text) RETURNS int"
        " LANGUAGE sql VOLATILE AS $$ SELECT 2 $$; SELECT 1"
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_plan_ends_as_its_edges_say(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
    seed: int,
) -> None:
    dice = random.Random(seed)
    plan, fates = draw_plan(dice)
    world = World(dice, settings, database, repository, fates)
    submitted = repository.submit(plan, {}, queue=settings.queue)
    world.execution_id = submitted.execution_id
    world.send(submitted.windows)

    for _ in range(500):
        if engine.get_status(world.execution_id).has_ended:
            break
        world.step()

    execution = engine.get_status(world.execution_id)
    assert execution.has_ended, f"seed {seed} is stuck"
    check_timeline(engine, world.execution_id)
    foretold = foretell(plan, fates)
    if foretold is None:
        assert execution.status is ExecutionStatus.FAILED
    else:
        assert execution.status is ExecutionStatus.COMPLETED
        ends = {s.name: s.status for s in engine.list_steps(world.execution_id)}
        assert ends == foretold
    world.liveness.end_worker(world.worker_id)
