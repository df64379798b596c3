"""Shows to Flower which steps run, also those without a message of their own.

Celery tells of each message: received, started, succeeded. A worker that rides on runs
further steps within one message, and these tell for themselves here, under names of
their own, while somebody watches the tasks of the worker; without a watcher it costs a
look at the board. Of a step with a message that is told which its message and Celery
cannot say: as which attempt of which plan it runs, and how it ended, for to Celery a
message is a success once a failure is recorded. `execution.flower` reads it.

Events are kept and sent together, a moment later, by a thread; when the broker fails,
they are dropped. They promise nothing: PostgreSQL knows what ran.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from ..answers import Claim
from ..attempts import Outcome
from ..ride import Delivery
from ..states import StepStatus

logger = logging.getLogger(__name__)

STEP_SHOWN = "plans-step"
"""An event of our own: what is to be shown of the task of a message."""

_STATES = {"retried": "RETRY", "succeeded": "SUCCESS", "failed": "FAILURE"}
_PAUSE_SECONDS = 0.05
_MOST_KEPT = 100
_QUIET_SECONDS = 5.0
_MOST_CHARACTERS = 256


class RideEvents:
    """Tells of the ridden steps of one process, as Celery would of messages."""

    def __init__(self, app: Celery, hostname: str, is_watched: Callable[[], bool]):
        """Tell through the broker of `app`, as the worker `hostname`."""
        self._app = app
        self._hostname = hostname
        self._is_watched = is_watched
        self._lock = threading.Lock()
        self._kept: Any = None
        self._thread: threading.Thread | None = None
        self._quiet_until = float("-inf")

    def began(self, delivery: Delivery, claim: Claim, *, is_ridden: bool) -> None:
        """Tell that a step begins, by a message of its own or ridden."""
        if not self._is_watched():
            return
        args = f"{claim.run.plan}/{claim.step} of {delivery.execution_id}"
        args += f", attempt {claim.attempt}"
        if not is_ridden:
            self._send(STEP_SHOWN, uuid=delivery.id, shown={"args": args})
            return
        uuid = _name_step(delivery, claim)
        self._send(
            "task-received",
            uuid=uuid,
            name=claim.action,
            args=args,
            kwargs="{}",
            root_id=delivery.id,
            parent_id=delivery.id,
            retries=claim.attempt - 1,
            eta=None,
            expires=None,
        )
        self._send("task-started", uuid=uuid)

    def ended(
        self,
        delivery: Delivery,
        claim: Claim,
        outcome: Outcome | None,
        seconds: float,
        *,
        is_ridden: bool,
    ) -> None:
        """Tell how it ended; `outcome` is None when its next attempt comes later."""
        if not self._is_watched():
            return
        end, fields = _read_end(outcome, seconds)
        if is_ridden:
            self._send(f"task-{end}", uuid=_name_step(delivery, claim), **fields)
        else:
            shown = {"state": _STATES[end], "runtime": seconds, **fields}
            self._send(STEP_SHOWN, uuid=delivery.id, shown=shown)

    def _send(self, kind: str, **fields: object) -> None:
        if time.monotonic() < self._quiet_until:
            return
        with self._lock:
            if self._kept is None:
                self._kept = self._app.events.Dispatcher(
                    self._app.connection_for_write(),
                    hostname=self._hostname,
                    buffer_group=frozenset({"task", STEP_SHOWN.partition("-")[0]}),
                    # it is the thread that sends; beyond this it does not keep up
                    buffer_limit=_MOST_KEPT,
                    buffer_while_offline=False,
                )
            self._guard(lambda: self._kept.send(kind, **fields))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._send_kept, name="plans-ride-events", daemon=True
                )
                self._thread.start()

    def _send_kept(self) -> None:
        time.sleep(_PAUSE_SECONDS)
        with self._lock:
            self._thread = None
            if self._kept is not None:
                self._guard(self._kept.flush)

    def _guard(self, send: Callable[[], object]) -> None:
        try:
            send()
        except (KombuError, OSError) as error:
            self._drop(error)
        except Exception as error:
            # what a transport does not wrap has its own classes, known to it alone
            failures = self._kept.connection.connection_errors
            if not isinstance(
                error, (*failures, *self._kept.connection.channel_errors)
            ):
                raise
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        self._quiet_until = time.monotonic() + _QUIET_SECONDS
        kept, self._kept = self._kept, None
        kept.connection.collect()
        logger.warning("task events are dropped", extra={"cause": str(error)})


def _name_step(delivery: Delivery, claim: Claim) -> str:
    return f"{delivery.execution_id}:{claim.step}:{delivery.epoch}:ride-{claim.attempt}"


def _read_end(outcome: Outcome | None, seconds: float) -> tuple[str, dict[str, Any]]:
    """Return the kind of event that tells of an end, and what it tells."""
    if outcome is None:
        return "retried", {"exception": "waiting", "traceback": ""}
    if outcome.status in (StepStatus.COMPLETED, StepStatus.SKIPPED):
        result = (outcome.result or "null")[:_MOST_CHARACTERS]
        return "succeeded", {"result": result, "runtime": seconds}
    said = (outcome.error or "")[:_MOST_CHARACTERS]
    return "failed", {"exception": said, "traceback": ""}
