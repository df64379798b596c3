"""Ties the runner to a Celery app: the step task, and what a worker starts and ends.

Everything that a process needs is made once per process, when it is first needed:
a pool's child has connections of its own, never its parent's.
"""

import atexit
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery, signals

from ..actions import import_actions, registry
from ..capture import Capture
from ..database import Database, DatabaseUnavailableError
from ..dispatcher import STEP_TASK, ExecutionDispatcher
from ..errors import PlansError, SettingsError
from ..events import ExecutionEventEmitter
from ..liveness import LivenessRecords
from ..patience import Patience
from ..payloads import PayloadStore
from ..reconciler import Reconciler
from ..recorder import StepRecorder
from ..records import StepRecords
from ..ride import Delivery, RideLimits
from ..runner import ExecutionTaskRunner
from ..secrets import SecretStore
from ..settings import Settings
from ..telling import LineWriter
from .acknowledgement import acknowledge_long_steps
from .board import WorkerBoard
from .cold_shutdown import guard_cold_shutdowns
from .django_connections import with_fresh_connections
from .draining import Drain
from .facts import read_facts
from .heart import Heart, Pulse
from .host_pools import find_time_limit, is_green, stand_aside
from .host_report import find_settings, refuse_settings, tell_settings
from .host_settings import HostSettings
from .intake import STRATEGY, read_delivery
from .interruption import Interruption
from .ride_events import RideEvents
from .tasks import TaskActions
from .turns import follow_tasks, follow_turns
from .vitals import Vitals
from .watch import Watch

logger = logging.getLogger(__name__)


_UNTOUCHED: Mapping[str, object] = {
    # what is None here would come from the app's settings, which are for its own tasks
    "rate_limit": 0,
    "acks_on_failure": True,
    "acks_on_timeout": True,
    "retry_on_worker_lost": False,
    "store_errors_even_if_ignored": False,
    "annotate": classmethod(lambda _: None),
}
"""Keeps the app's `task_annotations` and defaults of tasks off the task of steps."""


_registered: WeakKeyDictionary[Celery, Settings] = WeakKeyDictionary()
"""The apps that have plans: a second heart in a worker would beat for nothing."""


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
        self._drain: Drain | None = None
        self._stands_aside = False
        self.vitals = Vitals(settings)
        """How the worker of this process does."""

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
        if self._stands_aside:
            # sent again to whoever can run it
            logger.warning("step not run in this pool")
            return
        serving = self._find_serving(hostname)
        rest = serving.runner.run(delivery)
        serving.dispatcher.forward((links or ())[: len(rest)])

    def prepare(self, worker: Any) -> None:
        """Prepare a worker that begins, if its pool can run steps.

        Raises SystemExit with the reason when it could never do its work.
        """
        if is_green(worker):
            stand_aside(worker, self._settings.queue)
            self._stands_aside = True
        else:
            self.prepare_worker(worker.hostname, find_time_limit(worker))

    def prepare_worker(self, hostname: str, time_limit: float | None) -> None:
        """Find the actions, check the database, make the board; the pool comes next.

        `time_limit` is that after which Celery ends deliveries, in seconds, if any.
        Raises SystemExit with the reason when the worker could never do its work.
        """
        refuse_settings(find_settings(HostSettings.of_app(self._app, self._settings)))
        try:
            self.vitals.open(hostname)
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
        self.vitals.turn(is_connected=True)
        try:
            parts = self._build_parts(self._is_stopping)
        except DatabaseUnavailableError:
            # told to stop before PostgreSQL came
            return
        except PlansError as error:
            # Celery logs what a signal's handler raises and goes on without us
            raise SystemExit(f"celery-plans: {error}") from error
        finally:
            # this thread needs it again only at the end, and idle ones get cut
            self._database.close()
        self.vitals.begin(self._database.check)
        drain = self._start_threads(worker, parts, self._board)
        guard_cold_shutdowns(self._app, self._settings, drain)
        acknowledge_long_steps(worker, 2 * self._settings.lease_seconds)
        # a cold shutdown sends no signal at its end
        atexit.register(self.stop_worker)

    def _start_threads(self, worker: Any, parts: _Parts, board: WorkerBoard) -> Drain:
        reconciler = Reconciler(
            parts.liveness,
            parts.records,
            parts.dispatcher,
            parts.emitter,
            self._settings,
        )
        tell_settings(find_settings(HostSettings.of_worker(worker, self._settings)))
        facts = read_facts(worker)
        watch = Watch(parts.liveness, reconciler, board, facts, self._settings)
        heart = Heart(parts.liveness, board, facts, watch, self._settings)
        self._pulse = Pulse(heart, watch, self._settings, self.vitals)
        self._pulse.start()
        self._drain = drain = Drain(
            parts.records.drains,
            reconciler,
            parts.dispatcher,
            board,
            facts,
            kill=watch.kill_holder,
            end=self.stop_worker,
        )
        drain.start()
        return drain

    def begin_to_stop(self) -> None:
        """Let no process of this worker begin a step; give back what it will not run.

        Whoever asks a second time does not wait for what runs. Called in a handler of
        signals.
        """
        if self._board is not None:
            self._board.stop()
        self.vitals.begin_to_stop()
        if self._drain is not None:
            self._drain.ask(self._settings.drain_seconds)
            # a first Ctrl-C has made the second one cold
            guard_cold_shutdowns(self._app, self._settings, self._drain)

    def stop_worker(self) -> None:
        """Sign off, once nothing runs any more."""
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.stop()
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()
        if self._board is not None:
            self._board.remove()
        self.vitals.end()

    def _is_stopping(self) -> bool:
        # asked while PostgreSQL is waited for, in the thread of the loop
        self.vitals.turn()
        return self._board is not None and self._board.is_stopping()

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
        parts = self._build_parts(board.is_stopping)
        capture = Capture(self._settings.capture)
        capture.listen()
        limits = RideLimits() if self._settings.ride else RideLimits(steps=1)
        runner = ExecutionTaskRunner(
            StepRecorder(
                parts.records,
                parts.emitter,
                parts.dispatcher,
                Patience(board.is_stopping),
            ),
            registry,
            board,
            with_fresh_connections(Interruption(board).interruptible),
            limits.within(self._time_limit),
            RideEvents(self._app, hostname, lambda: board.is_watched),
            SecretStore.from_settings(self._settings),
            self._payloads,
            capture,
            LineWriter(),
        )
        return _Serving(runner, parts.dispatcher)

    def _build_parts(self, is_stopping: Callable[[], bool]) -> _Parts:
        installation_id = Patience(is_stopping).until_answered(self._database.check)
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
    start when no database is named. To register again changes nothing; raises
    SettingsError when that is with other settings.
    """
    settings = settings or Settings.from_environment()
    if _is_registered(app, settings):
        return
    plans = PlansInApp(app, settings)

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
        **_UNTOUCHED,
    )
    def run_step(task: Any, *arguments: object) -> None:
        # the rest of the chain is ours to send: Celery reads this after the return
        links, task.request.chain = task.request.chain, None
        delivery = read_delivery(task.request, arguments)
        if delivery is not None:
            plans.run(delivery, links, str(task.request.hostname))

    _connect_signals(app, plans)
    if settings.health_file is not None:
        follow_turns(app, plans.vitals.turn)
        follow_tasks(app, plans.vitals.work, plans.vitals.rest)


def _is_registered(app: Celery, settings: Settings) -> bool:
    """Say whether the app has plans; else it has from now on."""
    known = _registered.get(app)
    if known is None:
        _registered[app] = settings
    elif known != settings:
        raise SettingsError(
            f"plans were registered with the app {app.main!r} before, with other"
            " settings; call register(app) once"
        )
    return known is not None


def _connect_signals(app: Celery, plans: PlansInApp) -> None:
    def prepare(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.prepare(sender)

    def start(sender: Any, **_: object) -> None:
        if sender.app is app:
            plans.start_worker(sender.controller)

    def begin_to_stop(**_: object) -> None:
        plans.begin_to_stop()

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
