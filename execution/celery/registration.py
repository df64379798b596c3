"""Ties the runner to a Celery app: the step task, and what a worker starts and ends.

Everything that a process needs is made once per process, when it is first needed:
a pool's child has connections of its own, never its parent's.
"""

import atexit
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

from celery import Celery, signals

from execution.actions import import_actions, registry
from execution.celery.acknowledgement import acknowledge_long_steps
from execution.celery.board import WorkerBoard
from execution.celery.facts import WorkerFacts
from execution.celery.heart import Heart, Pulse
from execution.celery.intake import STRATEGY
from execution.celery.interruption import Interruption
from execution.celery.ride_events import RideEvents
from execution.celery.tasks import TaskActions
from execution.celery.watch import Watch
from execution.database import Database, DatabaseUnavailableError
from execution.dispatcher import STEP_TASK, ExecutionDispatcher
from execution.errors import PlansError, SettingsError
from execution.events import ExecutionEventEmitter
from execution.identity import is_execution_id
from execution.liveness import LivenessRecords
from execution.patience import Patience
from execution.payloads import PayloadStore
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.ride import Delivery, RideLimits
from execution.runner import ExecutionTaskRunner
from execution.secrets import SecretStore
from execution.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Serving:
    """What a process runs messages with."""

    runner: ExecutionTaskRunner
    dispatcher: ExecutionDispatcher


@dataclass(frozen=True)
class _Parts:
    """What a process works with."""

    liveness: LivenessRecords
    records: StepRecords
    emitter: ExecutionEventEmitter
    dispatcher: ExecutionDispatcher


class PlansInApp:
    """The plans of one Celery app, in this process."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        """Serve `app` with the servers that `settings` name.

        They are looked for when a worker starts: whoever only imports the app, a web
        server or a test, need not know them.
        """
        self._app = app
        self._settings = settings
        self._lock = threading.Lock()
        self._serving: tuple[int, _Serving] | None = None
        self._board: WorkerBoard | None = None
        self._time_limit: float | None = None
        self._pulse: Pulse | None = None

    @cached_property
    def _database(self) -> Database:
        return Database(require_database_url(self._settings), self._settings.schema)

    @cached_property
    def _payloads(self) -> PayloadStore:
        return PayloadStore.from_settings(self._settings)

    def run(
        self,
        delivery: Delivery,
        links: Sequence[Mapping[str, Any]] | None,
        hostname: str,
    ) -> None:
        """Run what a message asks for, and send on what follows of its chain.

        `links` are those after this one, in Celery's order: the next one last.
        """
        serving = self._find_serving(hostname)
        rest = serving.runner.run(delivery)
        serving.dispatcher.forward((links or ())[: len(rest)])

    def prepare_worker(self, time_limit: float | None) -> None:
        """Find the actions, check the database, make the board; the pool comes next.

        `time_limit` is that after which Celery ends deliveries, in seconds, if any.
        Raises SystemExit with the reason when the worker could never do its work.
        """
        try:
            require_database_url(self._settings)
            self._find_actions()
            SecretStore.from_settings(self._settings)
            self._payloads.check()
            self._check_database()
        except DatabaseUnavailableError as error:
            logger.warning("starting without PostgreSQL", extra={"cause": str(error)})
        except PlansError as error:
            raise SystemExit(f"celery-plans: {error}") from error
        if not len(registry):
            logger.warning("there are no actions and no tasks; set PLANS_IMPORTS")
        if time_limit is not None:
            logger.warning(
                "Celery's time limit ends steps, too, whatever their timeout;"
                " leave task_time_limit and task_soft_time_limit unset, or make"
                " both longer than the longest timeout of a step",
                extra={"time_limit_seconds": time_limit},
            )
        self._time_limit = time_limit
        self._board = WorkerBoard.create()

    def _check_database(self) -> None:
        try:
            self._database.check()
        finally:
            # the pool is about to fork
            self._database.close()

    def start_worker(self, worker: Any) -> None:
        """Begin to beat and to reconcile, once the worker consumes."""
        if self._pulse is not None or self._board is None:
            return
        try:
            parts = self._build_parts(self._board)
        except DatabaseUnavailableError:
            # told to stop before PostgreSQL came
            return
        except PlansError as error:
            # Celery logs what a signal's handler raises and goes on without us
            raise SystemExit(f"celery-plans: {error}") from error
        finally:
            # this thread needs it again only at the end, and idle ones get cut
            self._database.close()
        reconciler = Reconciler(
            parts.liveness,
            parts.records,
            parts.dispatcher,
            parts.emitter,
            self._settings,
        )
        facts = _read_facts(worker)
        watch = Watch(parts.liveness, reconciler, self._board, facts, self._settings)
        heart = Heart(parts.liveness, self._board, facts, watch)
        self._pulse = Pulse(heart, watch, self._settings)
        self._pulse.start()
        acknowledge_long_steps(worker, 2 * self._settings.lease_seconds)
        # a cold shutdown sends no signal at its end
        atexit.register(self.stop_worker)

    def stop_waiting(self) -> None:
        """Let the steps of every process of this worker give up on PostgreSQL."""
        if self._board is not None:
            self._board.stop()

    def stop_worker(self) -> None:
        """Sign off, once nothing runs any more."""
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()
        if self._board is not None:
            self._board.remove()

    def _find_serving(self, hostname: str) -> _Serving:
        serving = self._serving
        if serving is None or serving[0] != os.getpid():
            with self._lock:
                if self._serving is None or self._serving[0] != os.getpid():
                    self._serving = (os.getpid(), self._build_serving(hostname))
                serving = self._serving
        return serving[1]

    def _find_actions(self) -> None:
        import_actions(self._settings.imports)
        registry.add_source(TaskActions(self._app))

    def _build_serving(self, hostname: str) -> _Serving:
        self._find_actions()
        board = self._board or WorkerBoard.open()
        parts = self._build_parts(board)
        limits = RideLimits() if self._settings.ride else RideLimits(steps=1)
        runner = ExecutionTaskRunner(
            parts.records,
            parts.emitter,
            parts.dispatcher,
            registry,
            board,
            Patience(board.is_stopping),
            Interruption(board).interruptible,
            limits.within(self._time_limit),
            RideEvents(self._app, hostname, lambda: board.is_watched),
            SecretStore.from_settings(self._settings),
            self._payloads,
        )
        return _Serving(runner, parts.dispatcher)

    def _build_parts(self, board: WorkerBoard) -> _Parts:
        installation_id = Patience(board.is_stopping).until_answered(
            self._database.check
        )
        return _Parts(
            LivenessRecords(self._database),
            StepRecords(self._database, self._payloads),
            ExecutionEventEmitter(self._settings.events_url, installation_id),
            ExecutionDispatcher(self._app),
        )


def require_database_url(settings: Settings) -> str:
    """Return the URL of the database; raises SettingsError when none is named."""
    if settings.database_url is None:
        raise SettingsError(
            "PLANS_DATABASE_URL is not set; workers record every step in PostgreSQL"
        )
    return settings.database_url


def register(app: Celery, settings: Settings | None = None) -> None:
    """Add plans to a Celery app: the step task, and what its workers need.

    The app's own tasks are actions then, under their names. `settings` are read from
    the environment by default. Changes no setting of the app. A worker of it does not
    start when no database is named.
    """
    plans = PlansInApp(app, settings or Settings.from_environment())

    @app.task(  # type: ignore[untyped-decorator]  # Celery ships no types
        name=STEP_TASK,
        bind=True,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
        typing=False,
        # by itself Celery gives a task to every other app of the process, too
        shared=False,
        Strategy=STRATEGY,
    )
    def run_step(task: Any, *arguments: object) -> None:
        # the rest of the chain is ours to send: Celery reads this after the return
        links, task.request.chain = task.request.chain, None
        delivery = _read_delivery(task.request, arguments)
        if delivery is not None:
            plans.run(delivery, links, str(task.request.hostname))

    _connect_signals(app, plans)


def _connect_signals(app: Celery, plans: PlansInApp) -> None:
    def prepare(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.prepare_worker(_find_time_limit(sender))

    def start(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.start_worker(sender.controller)

    def begin_to_stop(**_: object) -> None:
        plans.stop_waiting()

    def stop(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.stop_worker()

    # Celery sends this one from the handler of SIGTERM: a second SIGTERM a moment later
    # would wait for ever for the lock that the first one, below it on the stack, holds
    signals.worker_shutting_down.lock = threading.RLock()
    signals.worker_init.connect(prepare, weak=False)
    signals.worker_ready.connect(start, weak=False)
    signals.worker_shutting_down.connect(begin_to_stop, weak=False)
    signals.worker_shutdown.connect(stop, weak=False)


def _read_delivery(request: Any, arguments: tuple[object, ...]) -> Delivery | None:
    match arguments:
        case [str(execution_id), [_, *_] as positions, epoch] if is_execution_id(
            execution_id
        ) and all(map(_is_count, [*positions, epoch])):
            return Delivery(str(request.id), execution_id, tuple(positions), epoch)  # type: ignore[arg-type]  # all are counts
    logger.warning("message is no step of ours", extra={"task_id": request.id})
    return None


def _is_count(value: object) -> TypeGuard[int]:
    # what PostgreSQL takes for an integer: a forged message must not fail there
    return type(value) is int and 0 <= value < 2**31


def _find_time_limit(worker: Any) -> float | None:
    """Return after how many seconds a worker ends deliveries: the shorter limit."""
    limits = (worker.time_limit, worker.soft_time_limit)
    return min((float(limit) for limit in limits if limit), default=None)


def _read_facts(worker: Any) -> WorkerFacts:
    def list_pids() -> set[int]:
        processes = getattr(getattr(worker.pool, "_pool", None), "_pool", None) or ()
        return {os.getpid(), *(p.pid for p in processes if getattr(p, "pid", None))}

    def is_watched() -> bool:
        events = getattr(worker.consumer, "event_dispatcher", None)
        # no groups at all means every group
        return bool(
            events and events.enabled and (not events.groups or "task" in events.groups)
        )

    return WorkerFacts(
        hostname=worker.hostname,
        pool=worker.pool_cls.__module__.rpartition(".")[2],
        count_slots=lambda: worker.pool.num_processes,
        list_queues=lambda: set(worker.app.amqp.queues.consume_from),
        list_pids=list_pids,
        is_watched=is_watched,
    )
