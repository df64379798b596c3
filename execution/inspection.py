"""How executions, workers and actions stand: what an engine can be asked.

Promises: an answer is what PostgreSQL holds at that moment; asking changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from .catalogue import ActionSummary
from .errors import ExecutionNotFoundError
from .filters import ExecutionFilter
from .identity import is_execution_id
from .log_queries import LinePage
from .observations import LineLevel, LogLine, Metric
from .obstacles import Standstill
from .payloads import PayloadStore
from .plan import Plan
from .repository import ExecutionRepository
from .results import (
    Event,
    ExecutionPage,
    ExecutionResult,
    ExecutionSummary,
    Headway,
    RunningStep,
    StateChange,
    StepSummary,
    WorkerSummary,
    read_result,
)
from .settings import Settings


class InspectedExecutions:
    """What `ExecutionEngine` answers of executions, workers and actions."""

    settings: Settings
    _repository: ExecutionRepository
    _payloads: PayloadStore

    def get_status(self, execution_id: str) -> ExecutionSummary:
        """Return an execution; raises ExecutionNotFoundError when there is none."""
        is_id = is_execution_id(execution_id)
        found = self._repository.get_by_id(execution_id) if is_id else None
        if found is None:
            raise not_found(execution_id)
        return found

    def read_headway(self, execution_ids: Collection[str]) -> Mapping[str, Headway]:
        """Return how far executions have come, all in one question.

        What is missing in the answer does not exist.
        """
        return self._repository.read_headway(
            [one for one in execution_ids if is_execution_id(one)]
        )

    def get_result(self, execution_id: str) -> ExecutionResult:
        """Return how an execution ended; what is large in its result is read.

        Raises ExecutionNotFinishedError, ExecutionNotFoundError or PayloadError.
        """
        result = read_result(self.get_status(execution_id))
        return replace(result, value=self._payloads.resolve(result.value))

    def get_plan_of(self, execution_id: str) -> Plan:
        """Return the plan that an execution runs, as it was when that was submitted.

        Raises ExecutionNotFoundError when there is no such execution.
        """
        is_id = is_execution_id(execution_id)
        definition = self._repository.get_plan_of(execution_id) if is_id else None
        if definition is None:
            raise not_found(execution_id)
        return Plan.from_mapping(definition)

    def list_executions(
        self,
        wanted: ExecutionFilter | None = None,
        *,
        after: str | None = None,
        page_size: int = 50,
    ) -> ExecutionPage:
        """Return one page of up to 500 executions, newest first.

        `after` is the `next_cursor` of the page before. What is submitted meanwhile
        moves no page. Raises CursorError when it is none.
        """
        return self._repository.list_executions(
            wanted, after=after, page_size=page_size
        )

    def count_executions(self, wanted: ExecutionFilter | None = None) -> int:
        """Return how many executions a filter finds; it reads every one of them."""
        return self._repository.count_executions(wanted)

    def list_steps(self, execution_id: str) -> tuple[StepSummary, ...]:
        """Return the steps of an execution in their order."""
        self.get_status(execution_id)
        return self._repository.list_steps(execution_id)

    def list_running_steps(self, execution_id: str) -> tuple[RunningStep, ...]:
        """Return the steps that run: of an execution, and of those within it."""
        self.get_status(execution_id)
        return self._repository.list_running_steps(execution_id)

    def list_events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[Event, ...]:
        """Return up to `limit` entries of the timeline with a number above `after`."""
        self.get_status(execution_id)
        return self._repository.list_events(execution_id, after=after, limit=limit)

    def list_logs(
        self,
        execution_id: str,
        *,
        step: str | None = None,
        level: LineLevel | str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> tuple[LogLine, ...]:
        """Return up to `limit` lines that steps told, with an id above `after`.

        Those of `step`, or of its items and iterations; and of `level` or above.
        """
        page = self.read_logs(
            execution_id, step=step, level=level, after=after, limit=limit
        )
        return page.lines

    def read_logs(
        self,
        execution_id: str,
        *,
        step: str | None = None,
        level: LineLevel | str | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> LinePage:
        """Return what `list_logs` does, with the execution's state at that moment.

        For loops of a caller's own: one that has ended tells no more.
        """
        page = None
        if is_execution_id(execution_id):
            page = self._repository.read_lines(
                execution_id,
                step=step,
                level=LineLevel(level or LineLevel.DEBUG),
                after=after,
                limit=limit,
            )
        if page is None:
            raise not_found(execution_id)
        return page

    def list_metrics(self, execution_id: str) -> tuple[Metric, ...]:
        """Return the numbers that steps reported, in the order of writing."""
        self.get_status(execution_id)
        return self._repository.list_metrics(execution_id)

    def why(
        self, execution_id: str, *, step: str | None = None, most_steps: int = 100
    ) -> Standstill:
        """Return, for each step that does not run, every reason for that.

        Of `step` alone, or of up to `most_steps`: first those that are about to run,
        then those that failed, then those that wait for others. Raises
        ExecutionNotFoundError, and StepNotFoundError when there is no such step.
        """
        found = None
        if is_execution_id(execution_id):
            found = self._repository.find_standstill(
                execution_id,
                step=step,
                lease_seconds=self.settings.lease_seconds,
                most_steps=most_steps,
            )
        if found is None:
            raise not_found(execution_id)
        return found

    def list_unserved_actions(self, plan: Plan) -> tuple[str, ...]:
        """Return the actions of `plan` that no worker has ever published."""
        return self._repository.list_unserved_actions(plan)

    def list_unserved_queues(self, plan: Plan) -> tuple[str, ...]:
        """Return the queues of steps of `plan` that no living worker serves.

        Those of the plans that its steps run are not among them.
        """
        steps = [step for step in plan.steps if step.subplan is None]
        queues = self._repository.find_queues({step.action for step in steps})
        wanted = {
            step.queue or queues.get(step.action, self.settings.queue) for step in steps
        }
        served = {queue for worker in self._list_living() for queue in worker.queues}
        return tuple(sorted(wanted - served))

    def list_actions(self) -> tuple[ActionSummary, ...]:
        """Return the actions that workers have published, by name."""
        return self._repository.list_actions()

    def read_clock(self) -> datetime:
        """Return what time it is by the database, which decides what is due."""
        return self._repository.read_clock()

    def count_living_workers(self) -> int:
        """Return how many workers have beaten within a lease."""
        return len(self._list_living())

    def list_workers(self) -> tuple[WorkerSummary, ...]:
        """Return the workers that signed on, and what they mended, by hostname.

        One that was killed is among them until another declares it dead; see its
        `beat_age_seconds`.
        """
        return self._repository.list_workers()

    def _list_living(self) -> list[WorkerSummary]:
        lease_seconds = self.settings.lease_seconds
        return [w for w in self.list_workers() if w.beat_age_seconds <= lease_seconds]

    def get_state_history(self, execution_id: str) -> tuple[StateChange, ...]:
        """Return every change of an execution's state, in order."""
        self.get_status(execution_id)
        return self._repository.get_state_history(execution_id)


def not_found(execution_id: str) -> ExecutionNotFoundError:
    """Return the error for an id that no execution has."""
    return ExecutionNotFoundError(
        f"there is no execution {execution_id!r}; see `plans list`"
    )
