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
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol

from execution.actions import Action, ActionRegistry
from execution.answers import (
    Claim,
    ClaimAnswer,
    ClaimOutcome,
    Completion,
    Recorded,
    Retried,
    Rider,
)
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
from execution.errors import ActionInputError, ExecutionError
from execution.evaluation import evaluate_inputs, evaluate_place
from execution.events import ExecutionEventEmitter
from execution.faults import FaultPoint, reach
from execution.judgements import judge_condition
from execution.parts import StepParts
from execution.patience import Patience
from execution.payloads import PayloadStore
from execution.records import StepRecords
from execution.relay import ExecutionRelay
from execution.reuse import ResultCache
from execution.ride import Delivery, Ride, RideLimits
from execution.secrets import NO_SECRETS, SCHEME, SecretStore, StepSecrets
from execution.settings import Settings
from execution.states import ExecutionStatus, StepStatus
from execution.subplans import SubplanStarter

logger = logging.getLogger(__name__)

MOST_SECONDS_IN_PLACE = 2.0
"""The longest wait between two attempts that a slot is held for."""


class Holder(Protocol):
    """Who the runner claims for: the worker, and where it shows what it holds."""

    @property
    def worker_id(self) -> str:
        """The worker's id, as it is registered at this moment."""

    def expose(self, token: str) -> None:
        """Show that this process holds `token`, before it is claimed.

        What was shown last stays shown beside it: it is held until the claim.
        """

    def settle(self) -> None:
        """Show only the token that was exposed last."""

    def withdraw(self) -> None:
        """Show that this process holds nothing any more."""


class RideObserver(Protocol):
    """Who is told of the steps that have no message of their own."""

    def began(self, delivery: Delivery, claim: Claim) -> None:
        """Hear that a ridden step begins."""

    def ended(
        self, delivery: Delivery, claim: Claim, outcome: Outcome | None, seconds: float
    ) -> None:
        """Hear how it ended, before it is recorded; None: it is to be tried later."""


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
        ride_limits: RideLimits | None = None,
        observer: RideObserver | None = None,
        secrets: SecretStore | None = None,
        payloads: PayloadStore | None = None,
    ) -> None:
        """Claim for `holder`; wait for PostgreSQL with `patience`.

        `interruptible(claim, attempt)` is a block in which StepTimeoutError may be
        raised from outside: in it, actions are called. One delivery runs on to further
        steps of its execution as far as `ride_limits` allow; `observer` hears of these.
        `secrets` finds those that inputs name, by default in the environment; large
        results go to `payloads`, by default a folder of the home.
        """
        self._records = records
        self._emitter = emitter
        self._dispatcher = dispatcher
        self._registry = registry
        self._holder = holder
        self._patience = patience
        self._interruptible = interruptible
        self._ride_limits = ride_limits or RideLimits()
        self._observer = observer
        self._relay = ExecutionRelay(records, dispatcher, emitter)
        self._subplans = SubplanStarter(records.children, emitter, dispatcher, patience)
        self._cache = ResultCache(records, emitter, patience)
        self._secrets = secrets or SecretStore()
        self._payloads = payloads or PayloadStore.from_settings(Settings())
        self._parts = StepParts(
            records, emitter, dispatcher, patience, self._board_next
        )

    def run(self, delivery: Delivery) -> tuple[int, ...]:
        """Run the first step of the delivery that may run, and those that follow it.

        Returns the positions with which the message's chain goes on; none: it ends.
        Raises DatabaseUnavailableError only when the process is stopping.
        """
        ride = Ride(delivery, self._ride_limits)
        token = str(uuid.uuid4())
        self._holder.expose(token)
        try:
            answer = self._claim(delivery, token)
            match answer.outcome:
                case ClaimOutcome.CLAIMED:
                    assert answer.claim is not None  # noqa: S101  # what CLAIMED means
                    self._emitter.emit(delivery.execution_id, answer.last_seq)
                    ride.begin(answer.claim, delivery.positions[answer.skipped + 1 :])
                    while self._run_step(ride):
                        pass
                    return ride.rest
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

    def _run_step(self, ride: Ride) -> bool:
        """Run the step that the ride has come to; say whether it goes on to another."""
        claim = ride.claim
        reach(FaultPoint.CLAIMED)
        outcome = self._call_observed(ride)
        if outcome is None:
            return self._leave(ride)
        reach(FaultPoint.CALLED)
        has_succeeded = outcome.status is StepStatus.COMPLETED
        rider = self._board_next(ride) if has_succeeded else None
        completion = self._patience.until_answered(
            lambda: self._records.complete(
                claim.held,
                outcome.status,
                result=outcome.result,
                recorded_input=outcome.recorded_input,
                error=outcome.error,
                variables=outcome.variables,
                covered=ride.rest[0] if ride.rest else None,
                epoch=ride.delivery.epoch,
                rider=rider,
                place=outcome.place,
                decision=outcome.decision,
            )
        )
        reach(FaultPoint.COMPLETED)
        return self._follow(ride, completion)

    def _call_observed(self, ride: Ride) -> Outcome | None:
        """Call what the step calls; None when it is not over, and held no more."""
        observer = self._observer if ride.has_left_message else None
        if observer is not None:
            observer.began(ride.delivery, ride.claim)
        outcome = None
        with suppress(StepParkedError):
            outcome = (
                judge_condition(ride.claim)
                or self._parts.expand(ride.claim)
                or self._parts.repeat(ride)
                or self._subplans.begin(ride.claim)
                or self._call(ride.claim)
            )
        if observer is not None:
            observer.ended(ride.delivery, ride.claim, outcome, ride.step_seconds)
        return outcome

    def _board_next(self, ride: Ride) -> Rider | None:
        """Show the token of the next step, if this delivery may run one more."""
        if not ride.may_go_on or self._patience.is_stopping():
            return None
        token = str(uuid.uuid4())
        # beside that of the step that is to be written, which is held until then
        self._holder.expose(token)
        return Rider(
            ride.claim.run, token, self._holder.worker_id, delivery=ride.delivery.id
        )

    def _leave(self, ride: Ride) -> bool:
        """Let go of a step that is not over; say whether another one is to run."""
        if not ride.leave():
            return False
        self._holder.settle()
        return True

    def _follow(self, ride: Ride, completion: Completion) -> bool:
        execution_id = ride.delivery.execution_id
        if completion.outcome is Recorded.STALE:
            logger.warning(
                "late result dropped",
                extra={"execution_id": execution_id, "step": ride.claim.step},
            )
            ride.rest = ()
            return False
        if completion.next_claim is not None:
            # at once: a token that is shown is one that its process is killed for
            self._holder.settle()
        self._emitter.emit(
            execution_id, completion.last_seq, is_last=completion.has_ended
        )
        self._dispatcher.publish(completion.windows)
        if completion.next_claim is not None:
            ride.go_on(completion.next_claim)
            return True
        if completion.is_last:
            self._patience.until_answered(
                lambda: finish_execution(self._records, self._emitter, execution_id)
            )
        if ride.claim.run.has_parent and (completion.is_last or completion.has_ended):
            self._patience.until_answered(lambda: self._relay.tell_parent(execution_id))
        # the chain sends the next link only in the epoch that was completed in: after
        # a resume, that link was sent by somebody else
        is_current = completion.epoch == ride.delivery.epoch
        if not is_current or completion.status is not ExecutionStatus.RUNNING:
            ride.rest = ()
        return False

    def _call(self, claim: Claim) -> Outcome:
        recorded = None
        secrets = NO_SECRETS
        try:
            inputs, recorded = evaluate_inputs(claim)
            action = self._registry.get(claim.action)
            _refuse_misfit(claim, action, inputs)
            place = evaluate_place(claim, inputs)
            if place is not None and (found := self._cache.find(claim, place)):
                return Outcome(StepStatus.COMPLETED, recorded, found)
            if SCHEME in recorded:
                secrets = StepSecrets(claim.inputs, self._secrets)
            attempts = StepAttempts(
                claim,
                action,
                context := self._build_context(claim, secrets),
                self._build_retry(claim, context, recorded),
                self._patience.rest,
                self._interruptible,
                secrets,
                self._payloads,
            )
            outcome = attempts.run(inputs, recorded)
            return outcome if place is None else self._cache.keep(outcome, place)
        except ExecutionError as error:
            # after StaleLeaseError the completion is refused, and the log says so
            said = describe_error(error, claim, secrets=secrets)
            return Outcome(StepStatus.FAILED, recorded, error=said)

    def _build_context(self, claim: Claim, secrets: StepSecrets) -> Context:
        execution_id = claim.held.execution_id
        return Context(
            claim,
            self._records,
            lambda seq: self._emitter.emit(execution_id, seq),
            self._patience,
            secrets,
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
