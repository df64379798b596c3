"""One seed: the world, what happens in it, and whether every promise was kept.

Puts the processes, the broker and the database together, brings misfortune over them,
and runs them until every execution has ended; then judges.
"""

import math
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from celery import Celery

from execution.actions import ActionRegistry
from execution.events import ExecutionEventEmitter
from execution.holds import HoldKind
from execution.liveness import LivenessRecords
from execution.operations import OperationRecords
from execution.plan import Plan
from execution.records import StepRecords
from execution.ride import RideLimits
from execution.settings import Settings
from execution.signal_records import SignalRecords
from execution.strategies import add_strategy
from tests.simulation.broker import SimulatedBroker, deliver_to
from tests.simulation.children import Parts
from tests.simulation.disguise import Disguise
from tests.simulation.gate import Gate, SimulatedDispatcher
from tests.simulation.havoc import Havoc
from tests.simulation.invariants import find_broken_promise
from tests.simulation.misfortune import Misfortune
from tests.simulation.operators import Operator
from tests.simulation.owners import Desk, Owner
from tests.simulation.pausers import Pauser
from tests.simulation.plans import ACTION, STRATEGY, StepFate, draw_fate
from tests.simulation.scheduler import Process, Scheduler, ViolationError
from tests.simulation.signallers import Signaller
from tests.simulation.store import SimulatedDatabase, SimulatedRepository, Store
from tests.simulation.watchdog import Watchdog
from tests.simulation.work import Work
from tests.simulation.workers import SimulatedWorker

LEASE_SECONDS = 30.0
_FAULTS_END_SECONDS = 200.0
_SWITCHES_BETWEEN_LOOKS = 4
_MOST_ZOMBIE_SWITCHES = 400
_LOOKS_A_TICK = (0.25, 4.0)
"""Of the few workers of a world; with the first, even a single one looks less often."""
_SHARE_WITH_KEYS = 0.12
_SHARE_WITH_HOLDS = 0.3
_QUIET = ExecutionEventEmitter(None, "")


@dataclass(frozen=True)
class Stage:
    """What seeds share, and what their worlds do without."""

    store: Store
    settings: Settings
    app: Celery
    muted: frozenset[str]
    most_seconds: float
    has_pausers: bool = True
    has_operators: bool = False
    """Whether steps wait for signals, operators act, and code yields and is cut."""


class World:
    """Everything that exists in one seed."""

    def __init__(self, stage: Stage, seed: int, *, is_tracing: bool) -> None:
        """Build it; `play` lets it happen."""
        self._dice = random.Random(f"world {seed}")
        # of their own, so that the worlds without keys are those of before
        self._key_dice = random.Random(f"key {seed}")
        self._hold_dice = random.Random(f"hold {seed}")
        self._act_dice = random.Random(f"act {seed}")
        self._has_operators = stage.has_operators
        self._operators: list[Process] = []
        self.scheduler = Scheduler(random.Random(f"order {seed}"), is_tracing)
        self.misfortune = Misfortune(random.Random(f"misfortune {seed}"))
        self._stage = stage
        self._fates: dict[tuple[str, int], StepFate] = {}
        self._broker = SimulatedBroker(self.scheduler, self.misfortune)
        self._havoc = Havoc(
            self.scheduler,
            self.misfortune,
            self._broker,
            self.misfortune.dice,
            LEASE_SECONDS,
            self._replace_worker,
        )
        self._watchdog = Watchdog(
            self.scheduler, self.misfortune, stage.store, self._havoc
        )
        self._gate = Gate(
            self.scheduler,
            self._dice,
            stage.store,
            self._havoc,
            self._watchdog,
            stage.muted,
        )
        self._keeps_unacknowledged = self._dice.random() < 0.4
        self._build_parts()

    def play(self) -> str | None:
        """Let everything happen; return the promise that was broken, if one was."""
        try:
            with self._disguise.worn():
                deliver_to(self._broker)
                self._populate()
                self._run_to_the_end()
                self._let_zombies_write()
        except ViolationError as error:
            return str(error)
        finally:
            self.scheduler.end()
        return find_broken_promise(self._stage.store, self._watchdog)

    def _build_parts(self) -> None:
        database = SimulatedDatabase(self._stage.store, self._gate.transact)
        records = StepRecords(database)
        registry = ActionRegistry()
        work = Work(self._gate, self._fates, self._has_operators)
        action = work.build_action()
        registry.add(ACTION, action, None, yields=self._has_operators)
        add_strategy(registry, STRATEGY, work.build_strategy(), None)
        self._disguise = Disguise(
            self._havoc,
            self._stage.store,
            registry,
            self._dice,
            looks_a_tick=self._dice.choice(_LOOKS_A_TICK),
        )
        self._parts = Parts(
            scheduler=self.scheduler,
            dice=self._dice,
            broker=self._broker,
            settings=self._stage.settings,
            registry=registry,
            records=records,
            liveness=LivenessRecords(database),
            build_dispatcher=self._build_dispatcher,
            emitter=_QUIET,
            keeps_unacknowledged=self._keeps_unacknowledged,
            ride_limits=self._draw_ride_limits(),
            drain_seconds=6.0 if self._has_operators else math.inf,
            count=self.misfortune.count,
        )
        self._desk = Desk(
            scheduler=self.scheduler,
            dice=self._dice,
            repository=SimulatedRepository(self._stage.store, self._gate.transact),
            records=records,
            liveness=LivenessRecords(database),
            build_dispatcher=self._build_dispatcher,
            emitter=_QUIET,
            transaction=self._stage.store.connection,
            queue=self._stage.settings.queue,
            stands_still=self._watchdog.stands_still,
            count=self.misfortune.count,
        )

    def _draw_ride_limits(self) -> RideLimits:
        return RideLimits(
            # the longest: who was stopped for a while still goes on
            seconds=self._dice.choice([0.1, 5.0, 1000.0]),
            # one: not at all
            steps=self._dice.choice([1, 2, 64, 64]),
            now=lambda: self.scheduler.now,
        )

    def _build_dispatcher(self) -> SimulatedDispatcher:
        return SimulatedDispatcher(
            self._stage.app, lambda: self.scheduler.now, self._gate.touch
        )

    def _populate(self) -> None:
        for _ in range(self._dice.choices([1, 2, 3], [5, 4, 1])[0]):
            self._start_worker()
        plans = [
            self._dice.choice(self._stage.store.plans)
            for _ in range(self._dice.choices([1, 2], [3, 1])[0])
        ]
        if self._key_dice.random() < _SHARE_WITH_KEYS:
            # all of them want the same key
            keyed = self._key_dice.choice(self._stage.store.keyed_plans)
            plans = [keyed] * self._key_dice.randint(2, 4)
        if self._has_operators:
            awaiting = self._stage.store.awaiting_plans
            plans = [self._act_dice.choice(awaiting) for _ in plans]
        for number, plan in enumerate(plans):
            execution_id = str(uuid.UUID(int=self._dice.getrandbits(128), version=4))
            for step in plan.steps:
                self._fates[execution_id, step.position] = draw_fate(self._dice)
            process = Process(f"owner{number}")
            self._havoc.owners.append(process)
            owner = Owner(self._desk, execution_id, plan)
            after_seconds = self._dice.random() * 3.0
            self.scheduler.start(process.name, process, owner.live, after_seconds)
            if self._has_operators:
                self._start_operators(execution_id)
        has_pauser = self._hold_dice.random() < _SHARE_WITH_HOLDS
        if has_pauser and self._stage.has_pausers:
            self._start_pauser(plans)

    def _start_pauser(self, plans: Sequence[Plan]) -> None:
        target = self._hold_dice.choice(
            [
                (HoldKind.QUEUE, self._stage.settings.queue),
                (HoldKind.PLAN, self._hold_dice.choice(plans).name),
            ]
        )
        pauser = Pauser(self._desk, target, self._watchdog.held, self._hold_dice)
        after_seconds = self._hold_dice.random() * 3.0
        process = Process("pauser")
        self.scheduler.start("pauser", process, pauser.live, after_seconds)

    def _start_operators(self, execution_id: str) -> None:
        database = self._parts.records.signals._database
        store, dice = self._stage.store, self._act_dice
        signaller = Signaller(
            self._desk, SignalRecords(database), store, dice, self._is_left
        )
        operator = Operator(
            self._desk, OperationRecords(database), store, dice, self._has_ended
        )
        self._operators.append(Process("operator"))
        for actor, process in (
            (signaller, Process("signaller")),
            (operator, self._operators[-1]),
        ):
            live = partial(actor.live, execution_id)
            self.scheduler.start(process.name, process, live, dice.random() * 3.0)

    def _has_ended(self, execution_id: str) -> bool:
        return execution_id in self._watchdog.ended and not self._are_at_work(
            self._havoc.owners
        )

    def _is_left(self, execution_id: str) -> bool:
        return self._has_ended(execution_id) and not self._are_at_work(self._operators)

    def _are_at_work(self, processes: Sequence[Process]) -> bool:
        return any(actor.process in processes for actor in self.scheduler.actors)

    def _start_worker(self) -> None:
        name = f"w{len(self._havoc.workers)}"
        slots = self._dice.randint(1, 2)
        self._havoc.workers.append(SimulatedWorker(self._parts, name, slots))

    def _replace_worker(self) -> None:
        after_seconds = self._dice.choice([0.1, 0.1, 10.0])
        supervisor = Process("supervisor")
        self.scheduler.start(
            "supervisor", supervisor, self._start_worker, after_seconds
        )

    def _run_to_the_end(self) -> None:
        while self.scheduler.switches % _SWITCHES_BETWEEN_LOOKS or not self._is_over():
            if self.scheduler.now > _FAULTS_END_SECONDS:
                self.misfortune.budget = 0
            if not self.scheduler.step():
                self.scheduler.fail("nobody will ever go on")
            if self.scheduler.now > self._stage.most_seconds:
                open_ones = sorted(self._watchdog.created - set(self._watchdog.ended))
                self.scheduler.fail(f"stuck: {open_ones}")

    def _is_over(self) -> bool:
        watchdog = self._watchdog
        if self._are_at_work(self._havoc.owners):
            return False
        for execution_id in sorted(watchdog.paused):
            # its owner is no more; somebody else goes on with it
            watchdog.paused.discard(execution_id)
            heir = Owner(self._desk, execution_id, None)
            self.scheduler.start("heir", Process("heir"), heir.inherit)
        has_ended = watchdog.created <= watchdog.ended.keys()
        return has_ended and not self._are_at_work(self._operators)

    def _let_zombies_write(self) -> None:
        self.misfortune.budget = 0
        for worker in self._havoc.workers:
            # nobody takes anything back any more, and late writes still come
            worker.main.is_alive = False
        for actor in list(self._broker.waiting):
            actor.process.is_alive = False
        for _ in range(_MOST_ZOMBIE_SWITCHES):
            if not self.scheduler.step():
                return
