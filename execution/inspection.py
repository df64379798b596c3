"""How executions, workers and actions stand: what an engine can be asked.

Promises: an answer is what PostgreSQL holds at that moment; asking changes nothing.
"""

from dataclasses import replace

from execution.catalogue import ActionSummary
from execution.errors import ExecutionNotFoundError
from execution.identity import is_execution_id
from execution.payloads import PayloadStore
from execution.plan import Plan
from execution.queries import ExecutionFilter
from execution.repository import ExecutionRepository
from execution.results import (
    Event,
    ExecutionPage,
    ExecutionResult,
    ExecutionSummary,
    StateChange,
    StepSummary,
    WorkerSummary,
    read_result,
)
from execution.settings import Settings


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
        page: int = 1,
        page_size: int = 50,
    ) -> ExecutionPage:
        """Return one page of executions, newest first, and the total."""
        return self._repository.list_executions(wanted, page=page, page_size=page_size)

    def list_steps(self, execution_id: str) -> tuple[StepSummary, ...]:
        """Return the steps of an execution in their order."""
        self.get_status(execution_id)
        return self._repository.list_steps(execution_id)

    def list_events(
        self, execution_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[Event, ...]:
        """Return up to `limit` entries of the timeline with a number above `after`."""
        self.get_status(execution_id)
        return self._repository.list_events(execution_id, after=after, limit=limit)

    def list_unserved_actions(self, plan: Plan) -> tuple[str, ...]:
        """Return the actions of `plan` that no worker has ever published."""
        return self._repository.list_unserved_actions(plan)

    def list_actions(self) -> tuple[ActionSummary, ...]:
        """Return the actions that workers have published, by name."""
        return self._repository.list_actions()

    def count_living_workers(self) -> int:
        """Return how many workers have beaten within a lease."""
        return sum(
            worker.beat_age_seconds <= self.settings.lease_seconds
            for worker in self.list_workers()
        )

    def list_workers(self) -> tuple[WorkerSummary, ...]:
        """Return the workers that signed on, and what they mended, by hostname.

        One that was killed is among them until another declares it dead; see its
        `beat_age_seconds`.
        """
        return self._repository.list_workers()

    def get_state_history(self, execution_id: str) -> tuple[StateChange, ...]:
        """Return every change of an execution's state, in order."""
        self.get_status(execution_id)
        return self._repository.get_state_history(execution_id)


def not_found(execution_id: str) -> ExecutionNotFoundError:
    """Return the error for an id that no execution has."""
    return ExecutionNotFoundError(
        f"there is no execution {execution_id!r}; see `plans list`"
    )
