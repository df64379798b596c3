"""Operators act on one execution: retry it, skip a step of it, force the result of one.

Promises: an act is done whole or refused with what to do instead, and is recorded with
who did it and why; a preview says what it would come to, and changes nothing. Must not
know how an execution goes on: that is the database's to decide.
"""

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from .acts import Act, ActPreview, explain_refusal
from .database import Database
from .dispatcher import ExecutionDispatcher
from .events import ExecutionEventEmitter
from .inspection import InspectedExecutions
from .keys import KeyedExecutions
from .operations import ActAnswer, OperationRecords
from .patience import ASK_TWICE
from .relay import ExecutionRelay
from .renewal import InputRenewal, RenewedInput
from .states import ExecutionStatus


class OperatedExecutions(InspectedExecutions):
    """What operators do to executions by an `ExecutionEngine`."""

    _database: Database
    _dispatcher: ExecutionDispatcher
    _emitter: ExecutionEventEmitter
    _keyed: KeyedExecutions
    _relay: ExecutionRelay

    def retry(
        self,
        execution_id: str,
        *,
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
        by: str | None = None,
        reason: str | None = None,
        act_id: str | None = None,
    ) -> ExecutionStatus:
        """Let an execution that has ended go on from what failed; return its state.

        Steps that have failed, timed out or were cancelled begin anew, with attempts
        and deadlines of their own; what has completed or was skipped stays. `inputs`,
        by the names of steps that begin anew, replace those of the same names; the
        timeline has the names alone. The same `act_id`, a UUID, once done is not done
        again. Raises InvalidExecutionStateError, ExecutionNotFoundError,
        StepNotFoundError, ParameterError for inputs that do not fit, and
        ConcurrencyConflictError when its plan rejects it.
        """
        epoch = self.get_status(execution_id).epoch
        renewed = self._renew(execution_id, inputs or {})
        written = {at: vars(one) for at, one in renewed.items()}
        return self._operate(
            Act.RETRY,
            execution_id,
            act_id,
            inputs=written,
            epoch=epoch,
            by=by,
            reason=reason,
        )

    def skip(
        self,
        execution_id: str,
        step: str,
        *,
        by: str | None = None,
        reason: str | None = None,
        act_id: str | None = None,
    ) -> ExecutionStatus:
        """Count a step that does not run as skipped; return the execution's state.

        One that has ended for it goes on without it, as by `retry`. Raises what
        `retry` does, and StepNotFoundError.
        """
        return self._operate(
            Act.SKIP, execution_id, act_id, step=step, by=by, reason=reason
        )

    def force_result(
        self,
        execution_id: str,
        step: str,
        result: Any,
        *,
        by: str | None = None,
        reason: str | None = None,
        act_id: str | None = None,
    ) -> ExecutionStatus:
        """Complete a step that does not run with `result`, as if it had returned that.

        An execution that has ended for it goes on with that, as by `retry`. Returns
        its state. Raises what `skip` does, ResultError for what is no JSON, and
        PayloadError.
        """
        act_id = act_id or str(uuid.uuid4())
        text = self._keep(execution_id, step, result, act_id)
        return self._operate(
            Act.FORCE,
            execution_id,
            act_id,
            step=step,
            result=text,
            by=by,
            reason=reason,
        )

    def preview_retry(
        self,
        execution_id: str,
        *,
        inputs: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> ActPreview:
        """Return what `retry` would come to now; raises what it would."""
        self.get_status(execution_id)
        renewed = tuple(self._renew(execution_id, inputs or {}))
        return self._preview(Act.RETRY, execution_id, renewed=renewed)

    def preview_skip(self, execution_id: str, step: str) -> ActPreview:
        """Return what `skip` would come to now; raises what it would."""
        return self._preview(Act.SKIP, execution_id, step)

    def preview_force_result(self, execution_id: str, step: str) -> ActPreview:
        """Return what `force_result` would come to now; raises what it would."""
        return self._preview(Act.FORCE, execution_id, step)

    def _preview(
        self,
        act: Act,
        execution_id: str,
        step: str | None = None,
        renewed: tuple[int, ...] = (),
    ) -> ActPreview:
        self.get_status(execution_id)
        preview = OperationRecords(self._database).preview
        found, refusal, about = ASK_TWICE(
            preview, act, execution_id, step=step, renewed=renewed
        )
        if refusal is not None:
            raise explain_refusal(act, execution_id, step, refusal, about)
        assert found is not None  # noqa: S101  # what no refusal means
        return found

    def _operate(
        self, act: Act, execution_id: str, act_id: str | None, **said: Any
    ) -> ExecutionStatus:
        epoch = said.pop("epoch", None) or self.get_status(execution_id).epoch
        operate = partial(
            OperationRecords(self._database).operate,
            act,
            execution_id,
            act_id=act_id or str(uuid.uuid4()),
            epoch=epoch,
            **said,
        )
        answer = ASK_TWICE(operate)
        if answer.refusal is not None:
            raise explain_refusal(
                act, execution_id, said.get("step"), answer.refusal, answer.about
            )
        return self._follow_act(execution_id, answer)

    def _follow_act(self, execution_id: str, answer: ActAnswer) -> ExecutionStatus:
        move = answer.move
        assert move.status is not None  # noqa: S101  # it is there, or was refused
        self._emitter.emit(execution_id, move.last_seq)
        self._dispatcher.publish(move.windows)
        if answer.held_key is not None:
            self._keyed.try_settle(answer.held_key)
        ASK_TWICE(self._relay.carry, execution_id)
        if move.status is ExecutionStatus.ENDING and move.open_steps == 0:
            ASK_TWICE(self._relay.finish, execution_id)
            return self.get_status(execution_id).status
        return move.status

    def _renew(
        self, execution_id: str, inputs: Mapping[str, Mapping[str, Any]]
    ) -> dict[int, RenewedInput]:
        records = OperationRecords(self._database)
        renewal = InputRenewal(self._repository, records, self._payloads)
        return ASK_TWICE(renewal.renew, execution_id, inputs)

    def _keep(self, execution_id: str, step: str, result: Any, act_id: str) -> str:
        """Return a result as JSON text, what is large in it by reference."""
        self.get_status(execution_id)
        positions = {
            one.name: one.position for one in self._repository.list_steps(execution_id)
        }
        return self._payloads.keep(
            result,
            execution_id=execution_id,
            # of no step, the act is refused
            position=positions.get(step, 0),
            token=act_id,
            place=f"the result of step {step}",
        )
