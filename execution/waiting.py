"""Waits for the end of an execution, with as few looks at the database as it takes.

A look asks for one word. The hint that an execution has ended ends the wait at once;
where hints are lost, the next look does, two seconds later at most. An outage of
PostgreSQL is waited out.

Knows neither what an execution does nor how its result is made.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from execution.errors import ExecutionNotFoundError
from execution.events import EventSubscription
from execution.identity import is_execution_id
from execution.patience import Patience
from execution.repository import ExecutionRepository
from execution.states import ExecutionStatus, is_terminal

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

    `listen()` subscribes to its hints.

    Raises ExecutionNotFoundError, and after `timeout_seconds` TimeoutError, or
    DatabaseUnavailableError in an outage.
    """
    deadline = time.monotonic() + (
        float("inf") if timeout_seconds is None else timeout_seconds
    )
    patience = Patience(lambda: time.monotonic() >= deadline)

    def look() -> ExecutionStatus:
        return patience.until_answered(lambda: _ask_status(repository, execution_id))

    if is_terminal(look()):
        return patience.until_answered(read)
    with listen() as listener:
        while not is_terminal(status := look()):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"execution {execution_id} is still {status} after"
                    f" {timeout_seconds:g} s; it goes on"
                )
            listener.wait(min(left, _POLL_SECONDS), for_last=True)
    return patience.until_answered(read)


def _ask_status(repository: ExecutionRepository, execution_id: str) -> ExecutionStatus:
    status = None
    if is_execution_id(execution_id):
        status = repository.get_execution_status(execution_id)
    if status is None:
        raise ExecutionNotFoundError(
            f"there is no execution {execution_id!r}; see `plans list`"
        )
    return status
