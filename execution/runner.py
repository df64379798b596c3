"""Runs what one message asks for: claim, evaluate, call, report.

A step run is a pipeline over one value, the claim. Whatever happens to the process
in between, PostgreSQL knows how far it came: the attempt was counted before the code
ran, and what it reports is refused once the step belongs to somebody else.

Knows nothing of Celery but the dispatcher that it hands windows to; the message's
own chain is cut by whoever called.
"""

import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from execution.actions import Action, ActionRegistry
from execution.attempts import (
    NoMoreAttemptsError,
    Outcome,
    StepAttempts,
    StepParkedError,
    describe_error,
)
from execution.context import Context
from execution.dispatcher import ExecutionDispatcher
from execution.ending import finish_execution
from execution.errors import ActionInputError, ExecutionError, StaleLeaseError
from execution.events import ExecutionEventEmitter
from execution.expressions import evaluate_template
from execution.faults import FaultPoint, reach
from execution.patience import Patience
from execution.records import (
    Claim,
    ClaimAnswer,
    ClaimOutcome,
    Completion,
    Recorded,
    Retried,
    StepRecords,
)
from execution.results import encode_json
from execution.states import ExecutionStatus, StepStatus

logger = logging.getLogger(__name__)

MOST_SECONDS_IN_PLACE = 2.0
"""The longest wait between two attempts that a slot is held for."""


class Holder(Protocol):
    """Who the runner claims for: the worker, and where it shows what it holds."""

    @property
    def worker_id(self) -> str:
        """The worker's id, as it is registered at this moment."""

    def expose(self, token: str) -> None:
        """Show that this process holds `token`, before it is claimed."""

    def withdraw(self) -> None:
        """Show that this process holds nothing any more."""


@dataclass(frozen=True)
class Delivery:
    """One message: what it names, and the id under which the broker delivered it."""

    id: str
    execution_id: str
    positions: tuple[int, ...]
    epoch: int


class ExecutionTaskRunner:
    """Runs steps for one worker process; every thread of it may call `run`."""

    def __init__(
        self,
        records: StepRecords,
        emitter: ExecutionEventEmitter,
        dispatcher: ExecutionDispatcher,
        registry: ActionRegistry,
        holder: Holder,
        patience: Patience,
        interruptible: Callable[
            [Claim, int], AbstractContextManager[None]
        ] = lambda *_: nullcontext(),
    ) -> None:
        """Claim for `holder`; wait for PostgreSQL with `patience`.

        `interruptible(claim, attempt)` is a block in which StepTimeoutError may be
        raised from outside: in it, actions are called.
        """
        self._records = records
        self._emitter = emitter
        self._dispatcher = dispatcher
        self._registry = registry
        self._holder = holder
        self._patience = patience
        self._interruptible = interruptible

    def run(self, delivery: Delivery) -> tuple[int, ...]:
        """Run the first step of the delivery that may run.

        Returns the positions with which the message's chain goes on; none: it ends.
        Raises DatabaseUnavailableError only when the process is stopping.
        """
        token = str(uuid.uuid4())
        self._holder.expose(token)
        try:
            answer = self._claim(delivery, token)
            match answer.outcome:
                case ClaimOutcome.CLAIMED:
                    assert answer.claim is not None  # noqa: S101  # what CLAIMED means
                    rest = delivery.positions[answer.skipped + 1 :]
                    self._emitter.emit(delivery.execution_id, answer.last_seq)
                    return self._run_claimed(answer.claim, rest, delivery.epoch)
                case ClaimOutcome.SATISFIED:
                    return delivery.positions[answer.skipped :]
                case ClaimOutcome.REFUSED:
                    logger.warning("message refused", extra=_ids(delivery, answer))
                case ClaimOutcome.DROPPED | ClaimOutcome.UNREGISTERED:
                    logger.info("message dropped", extra=_ids(delivery, answer))
            return ()
        finally:
            self._holder.withdraw()

    def _claim(self, delivery: Delivery, token: str) -> ClaimAnswer:
        # a delivery that is in hand is kept until the database answers: acknowledged
        # away, it would be found again only by a sweep
        while True:
            answer = self._patience.until_answered(
                lambda: self._try_claim(delivery, token)
            )
            if answer.outcome is not ClaimOutcome.UNREGISTERED:
                return answer
            # the main process sees at its next beat that it was declared dead
            self._patience.rest(0.2)
            if self._patience.is_stopping():
                return answer

    def _try_claim(self, delivery: Delivery, token: str) -> ClaimAnswer:
        return self._records.claim(
            delivery.execution_id,
            delivery.positions,
            epoch=delivery.epoch,
            token=token,
            worker_id=self._holder.worker_id,
            delivery=delivery.id,
        )

    def _run_claimed(
        self, claim: Claim, rest: tuple[int, ...], epoch: int
    ) -> tuple[int, ...]:
        reach(FaultPoint.CLAIMED)
        try:
            outcome = self._call(claim)
        except StepParkedError:
            return ()
        reach(FaultPoint.CALLED)
        completion = self._patience.until_answered(
            lambda: self._records.complete(
                claim.held,
                outcome.status,
                result=outcome.result,
                recorded_input=outcome.recorded_input,
                error=outcome.error,
                variables=outcome.variables,
                covered=rest[0] if rest else None,
                epoch=epoch,
            )
        )
        reach(FaultPoint.COMPLETED)
        return self._follow(claim, completion, rest, epoch)

    def _follow(
        self, claim: Claim, completion: Completion, rest: tuple[int, ...], epoch: int
    ) -> tuple[int, ...]:
        if completion.outcome is Recorded.STALE:
            logger.warning(
                "late result dropped",
                extra={"execution_id": claim.held.execution_id, "step": claim.step},
            )
            return ()
        self._emitter.emit(claim.held.execution_id, completion.last_seq)
        self._dispatcher.publish(completion.windows)
        if completion.is_last:
            self._patience.until_answered(
                lambda: finish_execution(
                    self._records, self._emitter, claim.held.execution_id
                )
            )
        # the chain sends the next link only in the epoch that was completed in: after
        # a resume, that link was sent by somebody else
        is_current = completion.epoch == epoch
        return (
            rest if is_current and completion.status is ExecutionStatus.RUNNING else ()
        )

    def _call(self, claim: Claim) -> Outcome:
        recorded = None
        try:
            inputs, recorded = _evaluate_inputs(claim)
            action = self._registry.get(claim.action)
            _refuse_misfit(claim, action, inputs)
            attempts = StepAttempts(
                claim,
                action,
                context := self._build_context(claim),
                self._build_retry(claim, context, recorded),
                self._patience.rest,
                self._interruptible,
            )
            return attempts.run(inputs, recorded)
        except StaleLeaseError as error:
            # the completion that follows is refused, and the log says so
            return Outcome(
                StepStatus.FAILED, recorded, error=describe_error(error, claim)
            )
        except ExecutionError as error:
            return Outcome(
                StepStatus.FAILED, recorded, error=describe_error(error, claim)
            )

    def _build_context(self, claim: Claim) -> Context:
        execution_id = claim.held.execution_id
        return Context(
            claim,
            self._records,
            lambda seq: self._emitter.emit(execution_id, seq),
            self._patience,
        )

    def _build_retry(
        self, claim: Claim, context: Context, recorded: str
    ) -> Callable[[str, float], None]:
        def begin_retry(error: str, wait_seconds: float) -> None:
            # a process that stops does not sit a wait out, however short
            parks = wait_seconds > MOST_SECONDS_IN_PLACE or self._patience.is_stopping()
            answer = self._patience.until_answered(
                lambda: self._records.retry(
                    claim.held,
                    attempt=context.attempt,
                    recorded_input=recorded,
                    error=error,
                    wait_seconds=wait_seconds,
                    parks=parks,
                )
            )
            match answer.outcome:
                case Retried.REFUSED:
                    raise NoMoreAttemptsError
                case Retried.WAITING:
                    self._emitter.emit(claim.held.execution_id, answer.last_seq)
                    self._dispatcher.publish(answer.windows)
                    raise StepParkedError
                case Retried.RETRYING:
                    self._emitter.emit(claim.held.execution_id, answer.last_seq)
                    context.begin_attempt(answer.attempt)

        return begin_retry


def _evaluate_inputs(claim: Claim) -> tuple[Mapping[str, Any], str]:
    place = f"steps.{claim.step}.with"
    inputs = claim.recorded_input
    if inputs is None:
        inputs = evaluate_template(claim.inputs, claim.scope, place=place)
    return inputs, encode_json(inputs, place=place)


def _refuse_misfit(claim: Claim, action: Action, inputs: Mapping[str, Any]) -> None:
    misfit = action.check_inputs(inputs)
    if misfit is not None:
        raise ActionInputError(f"step {claim.step}: {misfit}")


def _ids(delivery: Delivery, answer: ClaimAnswer) -> dict[str, object]:
    return {
        "execution_id": delivery.execution_id,
        "positions": delivery.positions,
        "epoch": delivery.epoch,
        "detail": answer.detail,
    }
