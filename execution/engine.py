"""The engine: submit plans, wait for them, watch them, and stay in charge of them.

What most programs need, in blocking calls. It holds no state of its own: everything
it answers is read from PostgreSQL, so any number of engines, in any process, see the
same executions.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

from celery import Celery

from .acting import BatchedExecutions
from .actions import registry
from .admission import PlanAdmission
from .bulk import Order, bind_all, submit_chunks
from .events import ExecutionEventEmitter
from .faults import FaultPoint, reach
from .guarding import GuardedDependencies
from .holding import HeldExecutions
from .identity import draw_execution_id
from .installation import Installation, name_broker, open_installation
from .keys import KeyedExecutions
from .lifecycle import ExecutionStateManager
from .liveness import LivenessRecords
from .logs import follow_lines
from .observations import LineLevel, LogLine
from .operating import OperatedExecutions
from .parking import ParkedExecutions
from .patience import ASK_TWICE
from .payloads import PayloadStore
from .plan import Plan
from .pool import MOST_CONNECTIONS
from .receipts import Submitted
from .records import StepRecords
from .relay import ExecutionRelay
from .results import ExecutionResult
from .scheduled_runs import ScheduledRuns
from .schedules import ScheduledPlans
from .settings import Settings
from .signals import SignalledExecutions
from .states import ExecutionStatus
from .strategies import add_strategy
from .subscribing import SubscribedExecutions, Subscriptions
from .transactions import Transaction


class ExecutionEngine(
    SubscribedExecutions,
    HeldExecutions,
    ScheduledPlans,
    OperatedExecutions,
    BatchedExecutions,
    SignalledExecutions,
    GuardedDependencies,
):
    """Runs plans; `connect` makes one."""

    def __init__(self, installation: Installation) -> None:
        """Work with the servers of an opened installation; `connect` opens one."""
        settings = installation.settings
        self.settings = settings
        self._installation = installation
        self._database = installation.open_database()
        self.installation_id = self._database.check()
        self._payloads = PayloadStore.from_settings(settings)
        self._records = StepRecords(self._database, self._payloads)
        self._signals = self._records.signals
        self._repository = installation.open_repository(self._payloads)
        self._admission = PlanAdmission(self._repository, settings.check)
        self._emitter = ExecutionEventEmitter(settings.events_url, self.installation_id)
        self._subscriptions = Subscriptions()
        self._dispatcher = installation.build_dispatcher()
        self._relay = ExecutionRelay(
            self._records, self._dispatcher, self._emitter, makes_results=False
        )
        liveness = LivenessRecords(self._database)
        self._keyed = KeyedExecutions(
            liveness, self._relay, self._dispatcher, self._emitter
        )
        self._schedules = liveness.schedules
        self._scheduled_runs = ScheduledRuns(
            liveness, self._relay, self._dispatcher, self._emitter
        )
        self._parking = ParkedExecutions(liveness, self._dispatcher, self._emitter)
        self._dependencies = liveness.dependencies
        self._states = ExecutionStateManager(
            self._repository,
            self._dispatcher,
            self._emitter,
            self._finish,
            partial(ASK_TWICE, self._relay.carry),
        )

    @classmethod
    def connect(
        cls,
        settings: Settings | None = None,
        *,
        most_connections: int = MOST_CONNECTIONS,
        app: Celery | None = None,
    ) -> Self:
        """Return an engine for `settings`, by default those of the environment.

        So many of the program's threads may ask it at once, others wait for them. With
        an `app` of Celery, its broker and its way to send are used.
        Raises SettingsError saying what to set when a server is not named, and
        SchemaMismatchError when the database needs `plans db upgrade`.
        """
        settings = settings or Settings.from_environment()
        installation = open_installation(
            settings if app is None else name_broker(settings, app)
        )
        try:
            return cls(
                replace(installation, most_connections=most_connections, app=app)
            )
        except BaseException:
            # also an interrupt: nobody else would let go of the local stack
            installation.close()
            raise

    def close(self) -> None:
        """End subscriptions, close connections, and leave the local stack, if any."""
        self._subscriptions.close()
        self._emitter.close()
        self._repository.close()
        self._database.close()
        self._installation.close()

    def __enter__(self) -> Self:
        """Close at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    # run

    def submit(
        self,
        plan: Plan | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        execution_id: str | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
        at: datetime | None = None,
        transaction: Transaction | None = None,
    ) -> str:
        """Begin an execution of `plan` and return its id, without waiting.

        `plan` is one, or names one that was published, `NAME` or `NAME@VERSION`. What
        has returned is committed; in a `transaction` of the caller's (of SQLAlchemy,
        Django, psycopg2 or psycopg), it is there once that commits. The same
        `idempotency_key` or `execution_id` with the same body returns what exists.
        Raises ParameterError, PlanNotFoundError, PlanValidationError for what workers
        do not offer, SubmissionConflictError and ConcurrencyConflictError.
        """
        plan = self._take(plan)
        keys = [] if idempotency_key is None else [idempotency_key]
        self._admission.admit(
            plan, priority=priority, at=at, keys=keys, execution_id=execution_id
        )
        submit = partial(self._repository.submit, plan, plan.bind(parameters or {}))
        # with its id drawn, a call can be made again, if not in a caller's transaction
        submitted = (submit if transaction else partial(ASK_TWICE, submit))(
            queue=self.settings.queue,
            execution_id=execution_id or draw_execution_id(),
            key=idempotency_key,
            tags=[*plan.tags, *tags],
            priority=priority,
            at=at,
            transaction=transaction,
        )
        if transaction is None:
            self._follow_submit(submitted, is_awaited=execution_id is not None)
        return submitted.execution_id

    def _follow_submit(self, submitted: Submitted, *, is_awaited: bool) -> None:
        reach(FaultPoint.SUBMITTED)
        if is_awaited:
            # an id that was drawn here is known to nobody who could listen
            self._emitter.emit(submitted.execution_id, submitted.last_seq)
        self._dispatcher.publish(submitted.windows)
        if submitted.held_key is not None:
            self._keyed.try_settle(submitted.held_key)

    def submit_many(
        self,
        plan: Plan | str,
        parameters: Iterable[Mapping[str, Any]],
        *,
        keys: Sequence[str] | None = None,
        tags: Sequence[str] = (),
        priority: int = 0,
        at: datetime | None = None,
    ) -> tuple[str, ...]:
        """Begin an execution of `plan` for each of `parameters`; return ids in order.

        Everything is checked first: ParameterError names every fault by its index, and
        nothing is begun then. Then chunks of up to 250 are committed one by one.
        `keys` are idempotency keys, one for each; those that began an execution with
        the same body answer its id. For one with another body
        SubmissionConflictError is raised; of its chunk nothing is kept, the chunks
        before it are, and with keys the call may be repeated.
        """
        plan = self._take(plan)
        self._admission.admit(plan, priority=priority, at=at, keys=keys or ())
        bound = bind_all(plan, parameters, keys)
        tags = [*plan.tags, *tags]
        order = Order(plan, bound, keys, tags, priority, self.settings.queue, at)
        return submit_chunks(order, self._repository, self._dispatcher, self._keyed)

    def execute(
        self,
        plan: Plan | str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout_seconds: float | None = None,
        **options: Any,
    ) -> ExecutionResult:
        """Submit and wait for the end; `options` are those of `submit`.

        Raises TimeoutError after `timeout_seconds`: the execution goes on.
        """
        execution_id = self.submit(plan, parameters, **options)
        return self.wait(execution_id, timeout_seconds=timeout_seconds)

    def follow_logs(
        self,
        execution_id: str,
        *,
        step: str | None = None,
        level: LineLevel | str | None = None,
        after: int = 0,
    ) -> Iterator[LogLine]:
        """Yield the lines that steps tell, until the execution has ended.

        Every line with an id above `after` comes exactly once, in order: those of
        `step`, or of its items and iterations; and of `level` or above. An outage of
        PostgreSQL is waited out. Raises ExecutionNotFoundError when there is no such
        execution.
        """
        read = partial(self.read_logs, execution_id, step=step, level=level)
        return follow_lines(
            lambda seen: read(after=seen),
            partial(self._listen, execution_id),
            after=after,
        )

    # act

    def add_recovery_strategy(
        self, name: str, decide: Callable[..., Any], *, timeout: str | None = None
    ) -> None:
        """Register a recovery strategy in this process, as `@recovery_strategy` does.

        Workers are who run strategies: one that is to be asked has to be registered in
        theirs, when they start. Raises ActionRegistrationError for what cannot be one.
        """
        add_strategy(registry, name, decide, timeout)

    def pause(
        self, execution_id: str, *, by: str | None = None, reason: str | None = None
    ) -> ExecutionStatus:
        """Let running steps finish and start no other until `resume`."""
        return self._change(execution_id, ExecutionStatus.PAUSED, by, reason)

    def resume(
        self, execution_id: str, *, by: str | None = None, reason: str | None = None
    ) -> ExecutionStatus:
        """Go on where `pause` stopped."""
        return self._change(execution_id, ExecutionStatus.RUNNING, by, reason)

    def cancel(
        self,
        execution_id: str,
        *,
        by: str | None = None,
        reason: str | None = None,
        grace_seconds: float | None = None,
    ) -> ExecutionStatus:
        """Start no further step, and end once nothing runs any more.

        What runs is told, and cut after `grace_seconds`; without them, after the
        setting of its worker. What already ends can be given another time.
        """
        return self._change(
            execution_id, ExecutionStatus.ENDING, by, reason, grace_seconds
        )

    def delete_execution(self, execution_id: str) -> bool:
        """Delete an ended execution with its large values; say whether it was there."""
        return self._repository.delete_execution(execution_id)

    def _change(
        self,
        execution_id: str,
        target: ExecutionStatus,
        by: str | None,
        reason: str | None,
        grace_seconds: float | None = None,
    ) -> ExecutionStatus:
        self.get_status(execution_id)
        return self._states.change_state(
            execution_id, target, by=by, reason=reason, grace_seconds=grace_seconds
        )

    def _finish(self, execution_id: str) -> bool:
        # the connection may have been cut since it was used last, and says so only now
        return ASK_TWICE(self._relay.finish, execution_id)
