"""Waiting for PostgreSQL to answer, without giving anything up meanwhile.

Every call that an attempt makes carries its token, so one that had landed does no harm
when it is made again: what decides answers the same, and what is only told (progress,
log lines) may be told twice. Only a process that is stopping gives up.

Knows neither why a process stops nor what the calls do.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from .database import DatabaseUnavailableError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_SLICE_SECONDS = 0.2
"""How long a process that is told to stop may not notice it."""

ASK_TWICE = Retrying(
    retry=retry_if_exception_type(DatabaseUnavailableError),
    stop=stop_after_attempt(2),
    reraise=True,
)
"""For connections that lie idle for long: one that was cut says so when it is used."""


def never_stop() -> bool:
    """Say that nobody stops, in the name of those whom nobody tells to."""
    return False


class Patience:
    """Makes calls again until they are answered, or until the process stops."""

    def __init__(
        self,
        is_stopping: Callable[[], bool] = never_stop,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Wait by `sleep(seconds)`, and give up once `is_stopping()` says so."""
        self.is_stopping = is_stopping
        self.may_stop = is_stopping is not never_stop
        self._sleep = sleep

    def until_answered(self, call: Callable[[], _T]) -> _T:
        """Return what `call` answers, however often it has to be made.

        Raises DatabaseUnavailableError only when the process is stopping.
        """
        try:
            # nearly always enough, and a twentieth of what the book-keeping costs
            return call()
        except DatabaseUnavailableError:
            if self.is_stopping():
                raise
        retrying = Retrying(
            retry=retry_if_exception_type(DatabaseUnavailableError),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            sleep=self.rest,
            stop=lambda _: self.is_stopping(),
            before_sleep=_tell,
            reraise=True,
        )
        return retrying(call)

    def rest(self, seconds: float) -> None:
        """Let `seconds` pass, fewer when the process is told to stop meanwhile."""
        left = seconds
        while left > 0 and not self.is_stopping():
            self._sleep(min(left, _SLICE_SECONDS))
            left -= _SLICE_SECONDS


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("waiting for PostgreSQL", extra={"cause": str(error)})
