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

from .actions import Action, ActionRegistry
from .answers import (
    Claim,
    ClaimAnswer,
    ClaimOutcome,
    Completion,
    Recorded,
    Rider,
)
from .attempts import (
    Outcome,
    StepAttempts,
    StepParkedError,
    end_by,
)
from .capture import Capture
from .context import Context, StepYield
from .ending import finish_execution
from .errors import ActionInputError, DatabaseError, ExecutionError, PayloadError
from .evaluation import evaluate_inputs, evaluate_place
from .faults import FaultPoint, reach
from .judgements import judge_condition
from .parts import StepParts
from .payloads import PayloadStore
from .recorder import StepRecorder
from .relay import ExecutionRelay
from .retrials import StepRetrials
from .reuse import ResultCache
from .ride import Delivery, Ride, RideLimits
from .secrets import NO_SECRETS, SCHEME, SecretStore, StepSecrets
from .settings import Settings
from .signal_waits import SignalWaits
from .sleeps import StepSleeps
from .states import ExecutionStatus, StepStatus
from .subplans import SubplanStarter
from .summons import StepCalls
from .telling import LineWriter
from .yields import StepYields

logger = logging.getLogger(__name__)


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

    def listen(self, token: str) -> StepCalls | None:
        """Return what is called out to the holder of `token`, which this thread is."""


class RideObserver(Protocol):
    """Who is told of the steps, also of those without a message of their own."""

    def began(self, delivery: Delivery, claim: Claim, *, is_ridden: bool) -> None:
        """Hear that a step begins, by the delivery itself or ridden."""

    def ended(
        self,
        delivery: Delivery,
        claim: Claim,
        outcome: Outcome | None,
        seconds: float,
        *,
        is_ridden: bool,
    ) -> None:
        """Hear how it ended, before it is recorded; None: it is to be tried later."""


_Interruption = Callable[[Claim, int], AbstractContextManager[None]]


class ExecutionTaskRunner:
    """Runs steps for one worker process; every thread of it may call `run`."""

    def __init__(
        self,
        recorder: StepRecorder,
        registry: ActionRegistry,
        holder: Holder,
        interruptible: _Interruption = lambda *_: nullcontext(),
        ride_limits: RideLimits | None = None,
        observer: RideObserver | None = None,
        secrets: SecretStore | None = None,
        payloads: PayloadStore | None = None,
        capture: Capture | None = None,
        writer: LineWriter | None = None,
    ) -> None:
        """Claim for `holder`; what comes of it is written and told by `recorder`.

        Actions are called in `interruptible(claim, attempt)`, where StepTimeoutError or
        ExecutionCancelledError may be raised from outside. One delivery runs on to
        further steps as far as `ride_limits` allow; `observer` hears of each. By
        default `secrets` are in the environment and `payloads` in a folder of the home.
        `capture` hears what actions log and print; a `writer` writes lines as they run.
        """
        self._recorder = recorder
        self._records = records = recorder.records
        self._registry = registry
        self._holder = holder
        self._interruptible = interruptible
        self._ride_limits = ride_limits or RideLimits()
        self._observer = observer
        self._relay = ExecutionRelay(records, recorder.dispatcher, recorder.emitter)
        self._subplans = SubplanStarter(recorder)
        self._sleeps = StepSleeps(recorder)
        self._waits = SignalWaits(recorder, self._relay)
        self._cache = ResultCache(recorder)
        self._secrets = secrets or SecretStore()
        self._payloads = payloads or PayloadStore.from_settings(Settings())
        self._capture = capture or Capture()
        self._writer = writer
        self._retrials = StepRetrials(recorder)
        self._parts = StepParts(recorder, self._board_next)
        self._yields = StepYields(recorder)

    def run(self, delivery: Delivery) -> tuple[int, ...]:
        """Run the first step of the delivery that may run, and those that follow it.

        Returns the positions with which the message's chain goes on; none: it ends.
        Raises DatabaseUnavailableError only when the process is stopping.
        """
        if self._recorder.patience.is_stopping():
            return self._return(delivery)
        ride = Ride(delivery, self._ride_limits)
        token = str(uuid.uuid4())
        self._holder.expose(token)
        try:
            answer = self._claim(delivery, token)
            match answer.outcome:
                case ClaimOutcome.CLAIMED:
                    assert answer.claim is not None  # noqa: S101  # what CLAIMED means
                    self._recorder.tell(delivery.execution_id, answer.last_seq)
                    ride.begin(answer.claim, delivery.positions[answer.skipped + 1 :])
                    while self._run_step(ride):
                        pass
                    return ride.rest
                case ClaimOutcome.SATISFIED:
                    return delivery.positions[answer.skipped :]
                case ClaimOutcome.REFUSED:
                    logger.warning("message refused", extra=_ids(delivery, answer))
                case ClaimOutcome.PARKED:
                    self._recorder.tell(delivery.execution_id, answer.last_seq)
                    logger.info("step parked", extra=_ids(delivery, answer))
                case ClaimOutcome.DROPPED | ClaimOutcome.UNREGISTERED:
                    logger.info("message dropped", extra=_ids(delivery, answer))
            return ()
        finally:
            self._holder.withdraw()

    def _return(self, delivery: Delivery) -> tuple[()]:
        """Let others have a message that comes when the process is to stop."""
        try:
            windows = self._records.drains.return_message(
                delivery.execution_id, delivery.positions, delivery.epoch
            )
        except DatabaseError as error:
            # it will be missed
            logger.warning("message not returned", extra={"cause": str(error)})
        else:
            self._recorder.tell(delivery.execution_id, None, windows)
        return ()

    def _claim(self, delivery: Delivery, token: str) -> ClaimAnswer:
        # a delivery that is in hand is kept until the database answers: acknowledged
        # away, it would be found again only by a sweep
        while True:
            answer = self._recorder.ask(lambda: self._try_claim(delivery, token))
            if answer.outcome is not ClaimOutcome.UNREGISTERED:
                return answer
            # the main process sees at its next beat that it was declared dead
            self._recorder.patience.rest(0.2)
            if self._recorder.patience.is_stopping():
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
        completion = self._recorder.ask(
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
                guards=outcome.guards,
            )
        )
        reach(FaultPoint.COMPLETED)
        return self._follow(ride, completion)

    def _call_observed(self, ride: Ride) -> Outcome | None:
        """Call what the step calls; None when it is not over, and held no more."""
        observer, is_ridden = self._observer, ride.has_left_message
        if observer is not None:
            observer.began(ride.delivery, ride.claim, is_ridden=is_ridden)
        outcome = None
        with suppress(StepParkedError):
            outcome = self._decide(ride)
        if observer is not None:
            observer.ended(
                ride.delivery,
                ride.claim,
                outcome,
                ride.step_seconds,
                is_ridden=is_ridden,
            )
        return outcome

    def _decide(self, ride: Ride) -> Outcome:
        claim = ride.claim
        try:
            return (
                judge_condition(claim)
                or self._parts.expand(claim)
                or self._parts.repeat(ride)
                or self._subplans.begin(claim)
                or self._sleeps.begin(claim)
                or self._waits.begin(claim)
                or self._call(claim)
            )
        except PayloadError as error:
            return self._retrials.put_off(claim, error)

    def _board_next(self, ride: Ride) -> Rider | None:
        """Show the token of the next step, if this delivery may run one more."""
        if not ride.may_go_on or self._recorder.patience.is_stopping():
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
        self._recorder.tell(
            execution_id,
            completion.last_seq,
            completion.windows,
            is_last=completion.has_ended,
        )
        if completion.next_claim is not None:
            ride.go_on(completion.next_claim)
            return True
        if completion.is_last:
            self._recorder.ask(
                lambda: finish_execution(
                    self._records, self._recorder.emitter, execution_id
                )
            )
        if ride.claim.run.has_parent and (completion.is_last or completion.has_ended):
            self._recorder.ask(lambda: self._relay.tell_parent(execution_id))
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
                context := self._build_context(claim, secrets, may_yield=action.yields),
                self._retrials.build(claim, context, recorded),
                self._recorder.patience.rest,
                self._interruptible,
                secrets,
                self._payloads,
                self._capture,
            )
            try:
                outcome = attempts.run(inputs, recorded)
            except StepYield as end:
                return self._yields.give_back(claim, context, recorded, end.cause)
            return outcome if place is None else self._cache.keep(outcome, place)
        except ExecutionError as error:
            # after StaleLeaseError the completion is refused, and the log says so
            return end_by(error, claim, recorded, secrets)

    def _build_context(
        self, claim: Claim, secrets: StepSecrets, *, may_yield: bool
    ) -> Context:
        execution_id = claim.held.execution_id
        return Context(
            claim,
            self._records,
            lambda seq: self._recorder.tell(execution_id, seq),
            self._recorder.patience,
            secrets,
            self._writer,
            self._holder.listen(claim.held.token),
            may_yield=may_yield,
        )


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
