"""Ties the runner to a Celery app: the step task, and what a worker starts and ends.

Everything that a process needs is made once per process, when it is first needed:
a pool's child has connections of its own, never its parent's.
"""

import atexit
import logging
import os
import threading
from dataclasses import dataclass
from typing import Any, TypeGuard

from celery import Celery, signals
from tenacity import Retrying, retry_if_exception_type, wait_fixed

from execution.actions import import_actions, registry
from execution.celery.board import WorkerBoard
from execution.celery.heart import Heart, Pulse, Watch, WorkerFacts
from execution.database import Database, DatabaseUnavailableError
from execution.dispatcher import STEP_TASK, ExecutionDispatcher
from execution.errors import PlansError, SettingsError
from execution.events import ExecutionEventEmitter
from execution.identity import is_execution_id
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.runner import Delivery, ExecutionTaskRunner
from execution.settings import Settings

logger = logging.getLogger(__name__)


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
        """Serve `app` with the servers that `settings` name."""
        if settings.database_url is None:
            raise SettingsError(
                "PLANS_DATABASE_URL is not set; workers record every step in PostgreSQL"
            )
        self._app = app
        self._settings = settings
        self._database = Database(settings.database_url, settings.schema)
        self._lock = threading.Lock()
        self._runner: tuple[int, ExecutionTaskRunner] | None = None
        self._board: WorkerBoard | None = None
        self._pulse: Pulse | None = None

    def find_runner(self) -> ExecutionTaskRunner:
        """Return this process's runner; the first call makes it."""
        runner = self._runner
        if runner is None or runner[0] != os.getpid():
            with self._lock:
                if self._runner is None or self._runner[0] != os.getpid():
                    self._runner = (os.getpid(), self._build_runner())
                runner = self._runner
        return runner[1]

    def prepare_worker(self) -> None:
        """Find the actions, check the database, make the board; the pool comes next.

        Raises SystemExit with the reason when the worker could never do its work.
        """
        try:
            import_actions(self._settings.imports)
            self._database.check()
        except DatabaseUnavailableError as error:
            logger.warning("starting without PostgreSQL", extra={"cause": str(error)})
        except PlansError as error:
            raise SystemExit(f"celery-plans: {error}") from error
        finally:
            # the pool is about to fork
            self._database.close()
        if not len(registry):
            logger.warning("no actions are registered; set PLANS_IMPORTS")
        self._board = WorkerBoard.create()

    def start_worker(self, worker: Any) -> None:
        """Begin to beat and to reconcile, once the worker consumes."""
        if self._pulse is not None or self._board is None:
            return
        try:
            parts = self._build_parts()
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
        self._pulse = Pulse(
            Heart(parts.liveness, self._board, _read_facts(worker)),
            Watch(parts.liveness, reconciler, self._board),
            self._settings,
        )
        self._pulse.start()
        # a cold shutdown sends no signal at its end
        atexit.register(self.stop_worker)

    def stop_waiting(self) -> None:
        """Let steps of this very process (threads, solo) give up on PostgreSQL."""
        if self._runner is not None:
            self._runner[1].patience.stopping.set()

    def stop_worker(self) -> None:
        """Sign off, once nothing runs any more."""
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()
        if self._board is not None:
            self._board.remove()

    def _build_runner(self) -> ExecutionTaskRunner:
        import_actions(self._settings.imports)
        parts = self._build_parts()
        board = self._board or WorkerBoard.open()
        return ExecutionTaskRunner(
            parts.records, parts.emitter, parts.dispatcher, registry, board
        )

    def _build_parts(self) -> _Parts:
        waiting = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError), wait=wait_fixed(1)
        )
        installation_id = waiting(self._database.check)
        return _Parts(
            LivenessRecords(self._database),
            StepRecords(self._database),
            ExecutionEventEmitter(self._settings.events_url, installation_id),
            ExecutionDispatcher(self._app),
        )


def register(app: Celery, settings: Settings | None = None) -> None:
    """Add plans to a Celery app: the step task, and what its workers need.

    `settings` are read from the environment by default. Changes no setting of the
    app. Raises SettingsError when no database is named.
    """
    plans = PlansInApp(app, settings or Settings.from_environment())

    @app.task(  # type: ignore[untyped-decorator]  # Celery ships no types
        name=STEP_TASK,
        bind=True,
        acks_late=True,
        reject_on_worker_lost=True,
        ignore_result=True,
        typing=False,
    )
    def run_step(task: Any, *arguments: object) -> None:
        delivery = _read_delivery(task.request, arguments)
        rest = plans.find_runner().run(delivery) if delivery else ()
        # Celery reads this after the task has returned; it keeps the links in reverse
        links = task.request.chain
        task.request.chain = links[: len(rest)] if links and rest else None

    _connect_signals(app, plans)


def _connect_signals(app: Celery, plans: PlansInApp) -> None:
    def prepare(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.prepare_worker()

    def start(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.start_worker(sender.controller)

    def begin_to_stop(**_: object) -> None:
        plans.stop_waiting()

    def stop(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.stop_worker()

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


def _read_facts(worker: Any) -> WorkerFacts:
    def list_pids() -> set[int]:
        processes = getattr(getattr(worker.pool, "_pool", None), "_pool", None) or ()
        return {os.getpid(), *(p.pid for p in processes if getattr(p, "pid", None))}

    return WorkerFacts(
        hostname=worker.hostname,
        pool=worker.pool_cls.__module__.rpartition(".")[2],
        count_slots=lambda: worker.pool.num_processes,
        list_queues=lambda: set(worker.app.amqp.queues.consume_from),
        list_pids=list_pids,
    )
