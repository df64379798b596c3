"""Waits for the end of an execution, with as few looks at the database as it takes.

A look asks for one word. The hint that an execution has ended ends the wait at once;
where hints are lost, the next look does, two seconds later at most. An outage of
PostgreSQL is waited out.

Knows neither what an execution does nor how its result is made.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from .errors import ExecutionNotFinishedError, ExecutionNotFoundError
from .events import EventSubscription
from .identity import is_execution_id
from .patience import Patience
from .repository import ExecutionRepository
from .states import ExecutionStatus, is_terminal

_T = TypeVar("_T")

_POLL_SECONDS = 2.0


def wait_for_end(
    execution_id: str,
    repository: ExecutionRepository,
    listen: Callable[[], AbstractContextManager[EventSubscription]],
    read: Callable[[], _T],
    *,
    timeout_seconds: float | None,
) -> _T:
    """Return what `read()` does, once the execution has ended.

    `listen()` subscribes to its hints. Raises ExecutionNotFoundError, and after
    `timeout_seconds` TimeoutError, or DatabaseUnavailableError in an outage.
    """
    deadline = time.monotonic() + (
        float("inf") if timeout_seconds is None else timeout_seconds
    )
    patience = Patience(lambda: time.monotonic() >= deadline)

    def look() -> ExecutionStatus:
        return patience.until_answered(lambda: _ask_status(repository, execution_id))

    def read_if_ended() -> tuple[_T] | ExecutionStatus:
        if is_terminal(status := look()):
            # retried between the two looks, it goes on, and so does the wait
            with suppress(ExecutionNotFinishedError):
                return (patience.until_answered(read),)
        return status

    if isinstance(answer := read_if_ended(), tuple):
        return answer[0]
    with listen() as listener:
        while not isinstance(answer := read_if_ended(), tuple):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"execution {execution_id} is still {answer} after"
                    f" {timeout_seconds:g} s; it goes on"
                )
            listener.wait(min(left, _POLL_SECONDS), for_last=True)
    return answer[0]


def _ask_status(repository: ExecutionRepository, execution_id: str) -> ExecutionStatus:
    status = None
    if is_execution_id(execution_id):
        status = repository.get_execution_status(execution_id)
    if status is None:
        raise ExecutionNotFoundError(
            f"there is no execution {execution_id!r}; see `plans list`"
        )
    return status
