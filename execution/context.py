"""What an action sees of its attempt, and the only way it can write.

Everything an action tells goes to PostgreSQL under the attempt's lease token: once
the step belongs to somebody else, nothing that this attempt says is kept. Progress
may be reported as often as the code likes; it is written at most twice a second.

Knows neither Celery nor how the step was claimed.
"""

import logging
import math
import time
import traceback
from collections import UserDict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

from .answers import Claim, Saved
from .drains import YieldCause
from .errors import ExecutionCancelledError, StaleLeaseError
from .lines import MOST_LINE_CHARACTERS, LineCollector, write_message
from .patience import Patience
from .records import StepRecords
from .results import as_storable, encode_json
from .secrets import NO_SECRETS, StepSecrets
from .summons import Hearing, StepCalls, Summons
from .telling import LineWriter, Telling

_PROGRESS_INTERVAL_SECONDS = 0.5
_CANCEL_INTERVAL_SECONDS = 0.5
_TOLD_INTERVAL_SECONDS = 5.0
"""How often PostgreSQL is asked where a cancel is told: it knows of lost leases."""
_LOG_SOURCE = "ctx.log"

_process_logger = logging.getLogger("plans.step")


class Variables(UserDict[str, Any]):
    """The execution's variables as they were at the claim; keeps what the step sets."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Begin with `values`."""
        super().__init__()
        self._claimed = values
        self.changed: dict[str, Any] = {}
        self.forget()

    def __setitem__(self, name: str, value: Any) -> None:
        """Set a variable; it is kept if the attempt succeeds."""
        super().__setitem__(name, value)
        self.changed[name] = value

    def __ior__(self, values: Any) -> Self:  # type: ignore[override,misc]  # one signature is enough
        """Set every variable in `values`."""
        self.update(values)
        return self

    def __delitem__(self, name: str) -> None:
        """Take back what was set; a variable of the execution stays one."""
        super().__delitem__(name)
        self.changed.pop(name, None)

    def forget(self) -> None:
        """Be again as at the claim."""
        self.data = dict(self._claimed)
        self.changed.clear()


class _StepHandler(logging.Handler):
    """Hands the lines of one attempt on, without the values of secrets in them.

    What is stored does not depend on the level that the worker logs at; what the
    worker logs does.
    """

    def __init__(self, lines: LineCollector, secrets: StepSecrets) -> None:
        super().__init__()
        self._lines = lines
        self._secrets = secrets

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.tell_record(record, _LOG_SOURCE)
        if _process_logger.isEnabledFor(record.levelno):
            if self._secrets is not NO_SECRETS:
                record = _conceal_secrets(record, self._secrets)
            _process_logger.handle(record)


def _conceal_secrets(
    record: logging.LogRecord, secrets: StepSecrets
) -> logging.LogRecord:
    """Return a record as it would be written, with names in the place of values."""
    trace = traceback.format_exception(*record.exc_info) if record.exc_info else []
    fields = {
        **{
            name: secrets.conceal(value)
            if isinstance(value, str)
            else secrets.conceal_in(value)
            for name, value in vars(record).items()
        },
        "msg": secrets.conceal(write_message(record)),
        "args": None,
        "exc_info": None,
        "exc_text": secrets.conceal("".join(trace).rstrip()) or None,
    }
    return logging.makeLogRecord(fields)


class StepYield(BaseException):
    """Ends the code of an attempt at a checkpoint; no error, and not to be caught.

    Like KeyboardInterrupt it passes what catches every Exception; `finally` runs.
    """

    def __init__(self, cause: YieldCause) -> None:
        super().__init__(f"the attempt ends at its checkpoint: {cause}")
        self.cause = cause


class Context:
    """One attempt of one step.

    Attributes:
        execution_id, plan, step: what this is an attempt of.
        attempt: its number, from 1.
        idempotency_key: the same for every attempt of the step; hand it to services
            that can recognise a repeated request.
        checkpoint: what an earlier attempt saved, `{}` at first.
        variables: the execution's variables; what is set is kept with success.
        log: a standard logger; its lines, from INFO up, are stored with the execution.
    """

    _progress: tuple[float, str | None, int | None, int | None] | None = None
    _progress_due = _yield_due = _cancel_due = 0.0
    _is_asked = _is_unwanted = False

    def __init__(
        self,
        claim: Claim,
        records: StepRecords,
        emit: Callable[[int | None], None],
        patience: Patience,
        secrets: StepSecrets = NO_SECRETS,
        writer: LineWriter | None = None,
        calls: StepCalls | None = None,
        *,
        may_yield: bool = False,
    ) -> None:
        """Speak for `claim` through `records`; `emit` tells that the timeline grew.

        While PostgreSQL is away, what an action tells waits with `patience`: an outage
        is not an error of the action's. The values of `secrets` are concealed in all
        that it tells. A `writer` writes lines while the action runs; without one they
        are when it ends. What the worker says meanwhile is heard from `calls`. An
        attempt that `may_yield` ends at a checkpoint when that is asked for.
        """
        self._may_yield = may_yield
        self._is_stopping = patience.is_stopping
        self._secrets = secrets
        self._until_answered = patience.until_answered
        self._held = claim.held
        self._records = records
        self._emit = emit
        self._telling = Telling(
            claim.held, records, secrets, patience.until_answered, writer
        )
        self._hearing = Hearing(claim.step, calls)
        self.execution_id = claim.held.execution_id
        self.plan = claim.run.plan
        self.step = claim.step
        self.attempt = claim.attempt
        self.idempotency_key = f"{claim.held.execution_id}:{claim.step}"
        self.checkpoint: Mapping[str, Any] = claim.checkpoint
        self.variables = Variables(claim.variables)

    @cached_property
    def log(self) -> logging.Logger:
        """A standard logger; its lines, from INFO up, are stored with the execution."""
        log = logging.Logger(_process_logger.name, logging.INFO)  # noqa: LOG001  # one per attempt, then gone
        log.addHandler(_StepHandler(self.lines, self._secrets))
        return log

    @property
    def lines(self) -> LineCollector:
        """Where what is logged and printed goes; actions have `log` for that."""
        return self._telling.lines

    def progress(
        self,
        percent: float,
        message: str | None = None,
        *,
        chunks: int | None = None,
        records: int | None = None,
    ) -> None:
        """Say how far the step is: `percent` of 100, a word on it, and counts.

        A percentage beyond its bounds is moved to the nearer one, NaN to zero. Raises
        StaleLeaseError when the step belongs to somebody else by now.
        """
        bounded = min(max(percent, 0.0), 100.0) if not math.isnan(percent) else 0.0
        said = self._secrets.conceal(message) if message else None
        text = as_storable(said[:MOST_LINE_CHARACTERS]) if said else None
        self._progress = (bounded, text, chunks, records)
        if time.monotonic() >= self._progress_due:
            self._write_progress()

    def save_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Store what is done so far; the next attempt finds it as `checkpoint`.

        An action that `yields` may end here, when its execution is paused or its worker
        is to stop: the next attempt goes on from this checkpoint. Raises ResultError
        when `data` is no JSON, StaleLeaseError when the step belongs to somebody else
        by now.
        """
        kept = self._secrets.conceal_in(data)
        text = encode_json(kept, place=f"the checkpoint of step {self.step}")
        saved = self._until_answered(
            lambda: self._records.save_checkpoint(self._held, text)
        )
        if saved is Saved.STALE:
            raise self._stale()
        self.checkpoint = data
        if self._may_yield and (cause := self._find_cause(saved)) is not None:
            raise StepYield(cause)

    def is_asked_to_yield(self) -> bool:
        """Say whether the attempt would end at a checkpoint saved now.

        For code whose checkpoints are costly: it saves one when this is so. Asks the
        database at most twice a second, so it can stand in a tight loop. Of an action
        that does not yield it is never so.
        """
        if not self._may_yield or self._is_asked:
            return self._is_asked
        if self._is_stopping():
            return True
        if time.monotonic() >= self._yield_due:
            self._yield_due = time.monotonic() + _CANCEL_INTERVAL_SECONDS
            self._is_asked = self._until_answered(
                lambda: self._records.is_wanted_to_yield(self._held)
            )
        return self._is_asked

    def metric(self, name: str, value: float) -> None:
        """Record a number under a name; stored when the attempt ends.

        Ten thousand wait for that at most; the log says where there were more.
        """
        encode_json({name: value}, place=f"the metric {name!r} of step {self.step}")
        self._telling.add_metric(self._secrets.conceal(name), float(value))

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the step's work any more.

        That is when the execution is being cancelled, or when the step was given to
        another attempt. It can be asked in a tight loop: the worker hears of a cancel,
        and PostgreSQL is asked every few seconds at most; twice a second where there is
        no worker, as in a test.
        """
        if self._is_unwanted or self._hearing.is_told:
            self._is_unwanted = True
        elif time.monotonic() >= self._cancel_due:
            self._cancel_due = time.monotonic() + (
                _TOLD_INTERVAL_SECONDS
                if self._hearing.is_called
                else _CANCEL_INTERVAL_SECONDS
            )
            self._is_unwanted = self._until_answered(
                lambda: self._records.is_unwanted(self._held)
            )
        return self._is_unwanted

    def raise_if_cancelled(self) -> None:
        """Raise ExecutionCancelledError when nobody wants the step's work any more.

        See `is_cancelled`; it can stand in a tight loop as well.
        """
        if self.is_cancelled:
            raise ExecutionCancelledError(
                f"execution {self.execution_id} no longer wants step {self.step}"
            )

    def find_summons(self) -> Summons | None:
        """Return what the attempt is told by its worker, None while it may go on.

        The event loop of an `async def` action asks, and cancels it.
        """
        return self._hearing.find(self.attempt)

    def flush(self) -> None:
        """Write what was told and is not stored yet."""
        if self._progress is not None:
            self._write_progress()
        self._telling.write()

    def end_attempt(self) -> None:
        """Write what was told; the runner calls it when the action has ended."""
        self.lines.end()
        self.flush()

    def begin_attempt(self, attempt: int) -> None:
        """Go on as the next attempt in place: what the last one set is forgotten."""
        self.attempt = attempt
        self._is_asked = False
        self._progress = None
        self.lines.begin()
        self.variables.forget()

    def _find_cause(self, saved: Saved) -> YieldCause | None:
        # a resume may have come since it was said that there is a cause
        self._is_asked = saved is Saved.ASKED
        if self._is_asked:
            return YieldCause.PAUSE
        return YieldCause.DRAIN if self._is_stopping() else None

    def _write_progress(self) -> None:
        assert self._progress is not None  # noqa: S101  # both callers have looked
        percent, message, chunks, records = self._progress
        self._progress = None
        self._progress_due = time.monotonic() + _PROGRESS_INTERVAL_SECONDS
        seq = self._until_answered(
            lambda: self._records.report_progress(
                self._held, percent, message, chunks=chunks, records=records
            )
        )
        if seq is None:
            raise self._stale()
        self._emit(seq)

    def _stale(self) -> StaleLeaseError:
        return StaleLeaseError(
            f"step {self.step} of execution {self.execution_id} is no longer held by"
            f" this attempt ({self.attempt}); stop working on it"
        )
