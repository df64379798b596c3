"""Waiting for PostgreSQL to answer, without giving anything up meanwhile.

Every call that an attempt makes carries its token, so one that had landed answers the
same when it is made again. Only a process that is stopping gives up.
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
    stop_when_event_set,
    wait_exponential_jitter,
)

from execution.database import DatabaseUnavailableError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


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
