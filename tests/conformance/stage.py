"""A stage on which one execution is played in this process, by the real parts.

The runner, the dispatcher, the records and PostgreSQL are those of a worker. Only the
broker is a list, from which a seed draws who is next. While an action is under way it
may let another message through, so that steps run side by side, in an order that the
same seed repeats.

Time passes when a step takes some, or when nothing else is left to do: then the clock
of the database is set forward, and a reconciler looks once.

Knows nothing of what the outcome should be.
"""

import json
import random
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from execution import Context, ExecutionStatus, FatalError, Plan, Settings
from execution.actions import ActionRegistry
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.patience import Patience
from execution.payloads import PayloadStore
from execution.reconciler import Reconciler
from execution.recorder import StepRecorder
from execution.records import StepRecords
from execution.repository import ExecutionRepository
from execution.ride import Delivery, RideLimits
from execution.runner import ExecutionTaskRunner
from execution.windows import Window
from tests.beating import beat
from tests.conformance.actions import ACTIONS, VanishedError
from tests.conformance.nodes import Fate
from tests.conformance.scenarios import ACTION
from tests.integration.test_protocol import register
from tests.simulation.broker import Channel, Message, create_simulated_app
from tests.sweeping import look

_MOST_AT_ONCE = 3
_MOST_FOUND = 1000
_QUIET = ExecutionEventEmitter(None, "")


@dataclass(frozen=True)
class Player:
    """The holder that a runner claims for: nobody looks at what it shows."""

    worker_id: str

    def expose(self, token: str) -> None:
        """Show nothing."""

    def settle(self) -> None:
        """Show nothing."""

    def withdraw(self) -> None:
        """Show nothing."""

    def listen(self, _token: str) -> None:
        """Call nothing out: who plays it asks the database."""


@dataclass
class Stage:
    """One worker that is played by hand, and the messages that wait for it."""

    settings: Settings
    database: Database
    repository: ExecutionRepository
    dice: random.Random
    fate_of: Callable[[str], Fate]
    share_of_cancels: float = 0.0
    tick_seconds: float | None = None
    """How far time goes on when nothing is under way; None: until something is due."""
    pause_seconds: float = 0.0
    """For how long somebody pauses the execution when nothing is under way first."""
    signals: list[tuple[str, object]] = field(default_factory=list)
    """What is sent, one after the other, when nothing is under way."""
    execution_id: str = ""
    tray: list[Message] = field(default_factory=list)
    at_once: int = 0
    was_cancelled: bool = False

    def __post_init__(self) -> None:
        payloads = PayloadStore.from_settings(self.settings)
        self.records = StepRecords(self.database, payloads)
        self.liveness = LivenessRecords(self.database)
        self.registry = ActionRegistry()
        self.registry.add(ACTION, self._build_action(), None)
        for name, function in ACTIONS.items():
            self.registry.add(name, function, None)
        actions = self.registry.to_json()
        worker_id = register(self.liveness, self.settings, actions=actions)
        self.player = Player(worker_id)
        Channel.deliver = lambda queue, raw: self.tray.append(Message(queue, raw, 0.0))
        self.dispatcher = ExecutionDispatcher(create_simulated_app(self.settings))
        self.runner = ExecutionTaskRunner(
            StepRecorder(
                self.records,
                _QUIET,
                self.dispatcher,
                Patience(sleep=lambda _: None),
            ),
            self.registry,
            self.player,
            # of a clock that stands still, so that only the number of steps counts
            ride_limits=RideLimits(steps=self.dice.choice([1, 2, 64]), now=lambda: 0.0),
            payloads=payloads,
        )
        self.reconciler = Reconciler(
            self.liveness, self.records, self.dispatcher, _QUIET, self.settings
        )

    def play(self, plan: Plan, parameters: Mapping[str, Any]) -> str:
        """Submit a plan, run it to its end without any sweep, and return its id."""
        self.begin(plan, parameters)
        self.close()
        return self.execution_id

    def begin(self, plan: Plan, parameters: Mapping[str, Any]) -> str:
        """Do the same, and let the worker stay."""
        bound = plan.bind(parameters)
        submitted = self.repository.submit(plan, bound, queue=self.settings.queue)
        self.execution_id = submitted.execution_id
        return self.go_on(submitted.windows)

    def go_on(self, windows: Sequence[Window]) -> str:
        """Send what is to be sent, run the execution to its end, and return its id."""
        self.dispatcher.publish(windows)
        while not self._has_ended():
            if self.dice.random() < self.share_of_cancels:
                self._change(ExecutionStatus.ENDING)
            elif self.tray:
                self._deliver()
            else:
                self._wake()
        return self.execution_id

    def close(self) -> None:
        """Sign the worker off."""
        self.liveness.end_worker(self.player.worker_id)

    def pass_time(self, seconds: float) -> None:
        """Set the clock forward, and let a reconciler and the worker's watch look."""
        lead = "extract(epoch FROM {schema}.plans_now() - clock_timestamp())"
        row = self.database.query(f"SELECT {lead} AS lead")[0]
        self.database.query(
            "CREATE OR REPLACE FUNCTION {schema}.plans_now() RETURNS timestamptz"
            " LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp()"
            f" + make_interval(secs => {float(row['lead']) + seconds}) $$; SELECT 1"
        )
        self._reconcile()

    def _reconcile(self) -> None:
        found = look(self.liveness, worker_id=self.player.worker_id)
        self.reconciler.mend(found)
        for step in found.overdue_steps:
            wait_seconds = step.retry.compute_wait_seconds(step.failures)
            completion = self.liveness.take_overdue(step, wait_seconds=wait_seconds)
            if completion is not None:
                self.reconciler.follow(step.execution_id, completion)

    def _notice_loss(self) -> None:
        """Let the worker beat without what it held, and a reconciler look."""
        beat(self.database, self.player.worker_id, [self.settings.queue])
        self._reconcile()

    def pause_and_resume(self) -> None:
        """Stop for a moment: the messages under way are of an older epoch then."""
        self._change(ExecutionStatus.PAUSED)
        self._change(ExecutionStatus.RUNNING)

    def _has_ended(self) -> bool:
        execution = self.repository.get_by_id(self.execution_id)
        assert execution is not None
        return execution.has_ended

    def _change(self, status: ExecutionStatus) -> None:
        move = self.repository.update_state(self.execution_id, status)
        if move.landed:
            self.was_cancelled |= status is ExecutionStatus.ENDING
            self.dispatcher.publish(move.windows)
            finish_execution(self.records, _QUIET, self.execution_id)

    def _deliver(self) -> None:
        message = self.tray.pop(self.dice.randrange(len(self.tray)))
        (execution_id, positions, epoch), links = message.read()
        delivery = Delivery(message.id, execution_id, tuple(positions), epoch)
        try:
            rest = self.runner.run(delivery)
        except VanishedError:
            self._notice_loss()
            return
        self.dispatcher.forward((links or ())[: len(rest)])

    def _wake(self) -> None:
        """Let the time pass that steps wait for; all else was sent by who caused it.

        Only a cancel leaves its end to reconcilers, which are told of it.
        """
        if (
            self.was_cancelled
            and self.execution_id in self.liveness.find_unsent_executions(_MOST_FOUND)
        ):
            self.dispatcher.publish(self.liveness.mark_sent(self.execution_id))
            return
        if self.pause_seconds:
            self._pause()
        elif self.signals:
            self._signal(*self.signals.pop(0))
        elif self.tick_seconds is not None:
            self.pass_time(self.tick_seconds)
        else:
            self._skip_waits()

    def _pause(self) -> None:
        self._change(ExecutionStatus.PAUSED)
        self.pass_time(self.pause_seconds)
        self.pause_seconds = 0.0
        self._change(ExecutionStatus.RUNNING)

    def _signal(self, name: str, payload: object) -> None:
        sent = self.records.signals.send(
            self.execution_id,
            name,
            json.dumps(payload),
            signal_id=str(uuid.uuid4()),
            by="the stage",
            reason=None,
            key=None,
        )
        assert sent.completion is not None, sent
        self.reconciler.follow(self.execution_id, sent.completion)

    def _skip_waits(self) -> None:
        self.database.query(
            "UPDATE {schema}.execution_steps SET wake_at = wake_at - interval '1 day'"
            " WHERE execution_id = %s AND wake_at IS NOT NULL RETURNING 1",
            (self.execution_id,),
        )
        woken = self.liveness.wake_steps(self.execution_id)
        assert woken is not None, "nothing is under way: " + self._describe()
        self.dispatcher.publish(woken.windows)

    def _describe(self) -> str:
        """Return where the execution stands, and how it has come there."""
        execution = self.repository.get_by_id(self.execution_id)
        assert execution is not None
        steps = [
            f"{step.name} {step.status}"
            for step in self.repository.list_steps(self.execution_id)
            if step.ended_at is None
        ]
        events = [
            f"{event.type} {event.step or ''}"
            for event in self.repository.list_events(self.execution_id, limit=1000)
        ]
        return f"{execution.status}, {steps}, after {events}"

    def _build_action(self) -> Callable[..., object]:
        def play(ctx: Context, saw: object = None) -> object:
            fate = self.fate_of(ctx.step)
            self._let_others_go_on()
            self._let_happen(fate, ctx.attempt)
            if ctx.attempt <= fate.failing_attempts:
                message = f"attempt {ctx.attempt} fails"
                raise FatalError(message) if fate.is_fatal else ValueError(message)
            if fate.asks:
                ctx.raise_if_cancelled()
            return fate.build_result(ctx.step, saw)

        return play

    def _let_happen(self, fate: Fate, attempt: int) -> None:
        while fate.lets_others_end and self.tray:
            self._deliver()
        if fate.cancels:
            self._change(ExecutionStatus.ENDING)
        if fate.takes_seconds and attempt <= fate.slow_attempts:
            self.pass_time(fate.takes_seconds)
        if attempt <= fate.lost_attempts:
            raise VanishedError

    def _let_others_go_on(self) -> None:
        self.at_once += 1
        while self.at_once < _MOST_AT_ONCE and self.tray and self.dice.random() < 0.5:
            self._deliver()
        if self.dice.random() < self.share_of_cancels:
            self._change(ExecutionStatus.ENDING)
        elif self.dice.random() < 0.03:
            self.pause_and_resume()
        self.at_once -= 1
