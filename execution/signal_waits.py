"""Lets a claimed step wait in the database for its signal.

Promises: a step that waits holds no slot and no message; whichever transaction brings
its signal, or finds its time over, ends it there and then. Must not know who sends
signals.
"""

from dataclasses import dataclass
from typing import Any

from .answers import Claim
from .attempts import Outcome, StepParkedError, end_by
from .built_in import WAIT_ACTION
from .durations import parse_duration_seconds
from .ending import finish_execution
from .errors import ExecutionError, ExpressionError
from .evaluation import evaluate_wait
from .recorder import StepRecorder
from .relay import ExecutionRelay
from .signal_records import AwaitAnswer, Awaited
from .states import StepStatus

_MOST_CHARACTERS = 255


@dataclass(frozen=True)
class SignalWaits:
    """Begins the waits of steps for their signals."""

    recorder: StepRecorder
    relay: ExecutionRelay

    def begin(self, claim: Claim) -> Outcome | None:
        """Let the step wait; None when it does something else.

        An outcome is one that ends the step. Raises StepParkedError when it waits, has
        found its signal there already, or belongs to somebody else.
        """
        if claim.action != WAIT_ACTION:
            return None
        recorded = None
        try:
            wait, recorded = evaluate_wait(claim)
            name = _read_name(claim, wait["wait_for"])
        except ExecutionError as error:
            return end_by(error, claim, recorded)
        seconds = None
        if "timeout" in wait:
            seconds = parse_duration_seconds(str(wait["timeout"]))
        answer = self.recorder.ask(
            lambda: self.recorder.records.signals.begin_wait(
                claim.held, recorded_input=recorded, name=name, seconds=seconds
            )
        )
        if answer.outcome is Awaited.REFUSED:
            return Outcome(StepStatus.CANCELLED, recorded)
        self._follow(claim, answer)
        raise StepParkedError

    def _follow(self, claim: Claim, answer: AwaitAnswer) -> None:
        execution_id = claim.held.execution_id
        completion = answer.completion
        self.recorder.tell(
            execution_id,
            completion.last_seq,
            completion.windows,
            is_last=completion.has_ended,
        )
        if answer.outcome is not Awaited.ENDED:
            return
        if completion.is_last:
            records, emitter = self.recorder.records, self.recorder.emitter
            self.recorder.ask(lambda: finish_execution(records, emitter, execution_id))
        if claim.run.has_parent and (completion.is_last or completion.has_ended):
            self.recorder.ask(lambda: self.relay.tell_parent(execution_id))


def _read_name(claim: Claim, value: Any) -> str:
    """Return the name of a signal; raises ExpressionError for what can be none."""
    is_name = isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS
    if is_name and value.isprintable() and " " not in value:
        return str(value)
    raise ExpressionError(
        f"steps.{claim.step}.wait_for: must come to 1 to {_MOST_CHARACTERS} printable"
        f" characters without spaces, and comes to {str(value)[:80]!r}"
    )
