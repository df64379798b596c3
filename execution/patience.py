"""Waiting for PostgreSQL to answer, without giving anything up meanwhile.

Every call that an attempt makes carries its token, so one that had landed does no harm
when it is made again: what decides answers the same, and what is only told (progress,
log lines) may be told twice. Only a process that is stopping gives up.
"""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential_jitter,
)

from execution.database import DatabaseUnavailableError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

ASK_TWICE = Retrying(
    retry=retry_if_exception_type(DatabaseUnavailableError),
    stop=stop_after_attempt(2),
    reraise=True,
)
"""For connections that lie idle for long: one that was cut says so when it is used."""


class Patience:
    """Makes calls again until they are answered, or until `stopping` is set."""

    def __init__(self) -> None:
        """Begin with the process not stopping."""
        self.stopping = threading.Event()

    def until_answered(self, call: Callable[[], _T]) -> _T:
        """Return what `call` answers, however often it has to be made.

        Raises DatabaseUnavailableError only when the process is stopping.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_exponential_jitter(multiplier=0.1, max=5.0),
            sleep=sleep_using_event(self.stopping),
            stop=stop_when_event_set(self.stopping),
            before_sleep=_tell,
            reraise=True,
        )
        return retrying(call)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("waiting for PostgreSQL", extra={"cause": str(error)})
