"""What an action sees of its attempt, and the only way it can write.

Everything an action tells goes to PostgreSQL under the attempt's lease token: once
the step belongs to somebody else, nothing that this attempt says is kept. Progress
may be reported as often as the code likes; it is written at most twice a second.

Knows neither Celery nor how the step was claimed.
"""

import json
import logging
import math
import time
import traceback
from collections import UserDict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Self

from execution.answers import Claim
from execution.errors import ExecutionCancelledError, StaleLeaseError
from execution.patience import Patience
from execution.records import StepRecords
from execution.results import as_storable, encode_json
from execution.secrets import NO_SECRETS, StepSecrets

_PROGRESS_INTERVAL_SECONDS = 0.5
_CANCEL_INTERVAL_SECONDS = 0.5
_MOST_LOG_LINES = 1000
_MOST_LINE_CHARACTERS = 4000

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


class _LineCollector(logging.Handler):
    """Keeps the lines of one attempt until they are written, up to a bound.

    What is kept does not depend on the level that the worker logs at; what the
    worker logs does. Neither has the values of secrets in it.
    """

    def __init__(self, secrets: StepSecrets) -> None:
        super().__init__()
        self._secrets = secrets
        self.lines: list[dict[str, str]] = []
        self.count = 0

    def take(self) -> list[dict[str, str]]:
        """Return the lines that are kept, and keep them no more."""
        lines, self.lines = self.lines, []
        return lines

    def emit(self, record: logging.LogRecord) -> None:
        if self._secrets is not NO_SECRETS:
            record = _conceal_secrets(record, self._secrets)
        try:
            self._keep(record)
        except Exception:  # noqa: BLE001  # arguments that do not fit the line, as in every handler
            self.handleError(record)
        if _process_logger.isEnabledFor(record.levelno):
            _process_logger.handle(record)

    def _keep(self, record: logging.LogRecord) -> None:
        self.count += 1
        if self.count <= _MOST_LOG_LINES:
            message = as_storable(record.getMessage()[:_MOST_LINE_CHARACTERS])
            self.lines.append({"level": record.levelname.lower(), "message": message})


def _conceal_secrets(
    record: logging.LogRecord, secrets: StepSecrets
) -> logging.LogRecord:
    """Return a record as it would be written, with names in the place of values."""
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  # arguments that do not fit, or raise when shown
        message = f"{record.msg} (and arguments that do not fit)"
    trace = traceback.format_exception(*record.exc_info) if record.exc_info else []
    fields = {
        **{
            name: secrets.conceal(value) if isinstance(value, str) else value
            for name, value in vars(record).items()
        },
        "msg": secrets.conceal(message),
        "args": None,
        "exc_info": None,
        "exc_text": secrets.conceal("".join(trace).rstrip()) or None,
    }
    return logging.makeLogRecord(fields)


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

    def __init__(
        self,
        claim: Claim,
        records: StepRecords,
        emit: Callable[[int | None], None],
        patience: Patience,
        secrets: StepSecrets = NO_SECRETS,
    ) -> None:
        """Speak for `claim` through `records`; `emit` tells that the timeline grew.

        While PostgreSQL is away, what an action tells waits with `patience`: an outage
        is not an error of the action's. The values of `secrets` are concealed in all
        that it tells.
        """
        self._secrets = secrets
        self._until_answered = patience.until_answered
        self._held = claim.held
        self._records = records
        self._emit = emit
        self._metrics: list[dict[str, Any]] = []
        self._progress: tuple[float, str | None, int | None, int | None] | None = None
        self._progress_due = 0.0
        self._cancel_due = 0.0
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
        log.addHandler(self._collector)
        return log

    @cached_property
    def _collector(self) -> _LineCollector:
        return _LineCollector(self._secrets)

    @property
    def _has_logged(self) -> bool:
        # most steps write no line, and a logger costs more than a short step does
        return "log" in vars(self)

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
        text = as_storable(said[:_MOST_LINE_CHARACTERS]) if said else None
        self._progress = (bounded, text, chunks, records)
        if time.monotonic() >= self._progress_due:
            self._write_progress()

    def save_checkpoint(self, data: Mapping[str, Any]) -> None:
        """Store what is done so far; the next attempt finds it as `checkpoint`.

        Raises ResultError when `data` is no JSON, StaleLeaseError when the step
        belongs to somebody else by now.
        """
        kept = self._secrets.conceal_in(data)
        text = encode_json(kept, place=f"the checkpoint of step {self.step}")
        if not self._until_answered(
            lambda: self._records.save_checkpoint(self._held, text)
        ):
            raise self._stale()
        self.checkpoint = data

    def metric(self, name: str, value: float) -> None:
        """Record a number under a name; stored when the attempt ends."""
        encode_json({name: value}, place=f"the metric {name!r} of step {self.step}")
        self._metrics.append(
            {"name": self._secrets.conceal(name), "value": float(value)}
        )

    def raise_if_cancelled(self) -> None:
        """Raise ExecutionCancelledError when nobody wants the step's work any more.

        That is when the execution is being cancelled, or when the step was given to
        another attempt. Asks the database at most twice a second, so it can stand in a
        tight loop.
        """
        if time.monotonic() < self._cancel_due:
            return
        self._cancel_due = time.monotonic() + _CANCEL_INTERVAL_SECONDS
        if self._until_answered(lambda: self._records.is_unwanted(self._held)):
            raise ExecutionCancelledError(
                f"execution {self.execution_id} no longer wants step {self.step}"
            )

    def flush(self) -> None:
        """Write what was told and is not stored yet; the runner calls it at the end."""
        if self._progress is not None:
            self._write_progress()
        told = self._collector.take() if self._has_logged else []
        if told or self._metrics:
            lines, metrics = json.dumps(told), json.dumps(self._metrics)
            self._metrics = []
            # after an unknown commit these may stand there twice, as logs may
            self._until_answered(
                lambda: self._records.append_observations(self._held, lines, metrics)
            )

    def begin_attempt(self, attempt: int) -> None:
        """Go on as the next attempt in place: what the last one set is forgotten."""
        self.attempt = attempt
        self._progress = None
        if self._has_logged:
            self._collector.count = 0
        self.variables.forget()

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
