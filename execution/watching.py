"""Executions watched while they run: what an engine tells of them as it happens.

The timeline in PostgreSQL is what is told; a hint over Redis only says that it is
worth a look now, and where there is none a reader looks every two seconds. So no event
is lost or told twice whatever becomes of Redis, of PostgreSQL or of the reader, who
continues from a cursor. Who reads slowly, or no longer, costs nobody else anything.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial

from .cursors import Mark, read_mark
from .events import EventSubscription, Hint, subscription
from .identity import is_execution_id
from .inspection import InspectedExecutions, not_found
from .patience import Patience
from .progress import compute_progress
from .results import Event, ExecutionResult, ExecutionSummary
from .updates import ExecutionUpdate, collect_messages, mark_last
from .waiting import wait_for_end

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
_SLICE_SECONDS = 0.2
"""How long a reader that is told to stop may not notice it."""
_MOST_EVENTS = 1_000
"""So many are told at once; the rest follows in the next updates."""


class WatchedExecutions(InspectedExecutions):
    """What `ExecutionEngine` tells of executions while they run."""

    installation_id: str

    def wait(
        self, execution_id: str, *, timeout_seconds: float | None = None
    ) -> ExecutionResult:
        """Wait until the execution has ended and return how.

        An outage of PostgreSQL is waited out. Raises ExecutionNotFoundError, and after
        `timeout_seconds` TimeoutError, or DatabaseError in an outage.
        """
        return wait_for_end(
            execution_id,
            self._repository,
            partial(self._listen, execution_id),
            partial(self.get_result, execution_id),
            timeout_seconds=timeout_seconds,
        )

    def monitor(
        self, execution_id: str, *, after: int | str = 0
    ) -> Iterator[ExecutionUpdate]:
        """Yield where the execution stands, each time it has moved, until it has ended.

        Every event comes exactly once, in order: those after `after`, which is the
        `cursor` of an update or the number of an event. Where the database was restored
        from a backup from before that, the timeline is told anew from its start. An
        outage of PostgreSQL is waited out. Raises CursorError, and
        ExecutionNotFoundError when there is no such execution.
        """
        read_mark(after)
        return self._follow(execution_id, after, Patience())

    def look(
        self, execution_id: str, after: int | str = 0
    ) -> tuple[ExecutionUpdate, ExecutionSummary]:
        """Look once: return what `monitor` would yield now, and the execution.

        For loops of a caller's own. The update has no events if there is nothing new,
        and at most a thousand: there are more while the execution's `last_seq` is
        above that of the update. Waits for nothing. Raises CursorError,
        ExecutionNotFoundError or DatabaseError.
        """
        mark = read_mark(after)
        if not is_execution_id(execution_id):
            raise not_found(execution_id)
        standing = self._repository.get_standing(execution_id)
        if standing is None:
            # it never was, or was deleted while it was watched
            raise not_found(execution_id)
        events, mark = self._read_events(standing.execution, mark)
        reached = mark_last(events, mark)
        update = ExecutionUpdate(
            execution_id=execution_id,
            status=standing.execution.status,
            progress=compute_progress(standing.execution, standing.running),
            events=events,
            last_seq=reached.seq,
            cursor=str(reached),
            messages=collect_messages(events),
            metrics=standing.metrics,
            holds=standing.execution.holds,
        )
        return update, standing.execution

    def _follow(
        self, execution_id: str, after: int | str, patience: Patience
    ) -> Iterator[ExecutionUpdate]:
        ask = patience.until_answered
        ask(partial(self.get_status, execution_id))
        with self._listen(execution_id) as listener:
            while not patience.is_stopping():
                update, execution = ask(partial(self.look, execution_id, after))
                after = update.cursor
                if update.events:
                    yield update
                if execution.last_seq > update.last_seq:
                    continue
                if execution.has_ended:
                    return
                if not update.events:
                    await_hint(listener, POLL_SECONDS, patience)

    def _read_events(
        self, execution: ExecutionSummary, mark: Mark
    ) -> tuple[tuple[Event, ...], Mark]:
        """Return what follows `mark`, and that; or all, if that event is not there.

        Nothing that came after `execution` was read: an update that says how it ended
        would lack how.
        """
        # with the one that was read last: by it the timeline is known again
        first, limit = max(mark.seq - 1, 0), _MOST_EVENTS + min(mark.seq, 1)
        events = self._list_events(execution, first, limit)
        if mark.seq == 0:
            return events, mark
        if events and mark.is_at(events[0].seq, events[0].at):
            return events[1:], mark_last(events[:1], mark)
        logger.warning(
            "the timeline is not the one that was read; it is read from its start",
            extra={"execution_id": execution.id, "cursor": str(mark)},
        )
        return self._list_events(execution, 0, _MOST_EVENTS), Mark()

    def _list_events(
        self, execution: ExecutionSummary, after: int, limit: int
    ) -> tuple[Event, ...]:
        events = self._repository.list_events(execution.id, after=after, limit=limit)
        return tuple(event for event in events if event.seq <= execution.last_seq)

    def _listen(
        self, execution_id: str | None
    ) -> AbstractContextManager[EventSubscription]:
        url = self.settings.events_url
        return subscription(url, self.installation_id, execution_id)


def await_hint(
    listener: EventSubscription, seconds: float, patience: Patience
) -> Hint | None:
    """Return the next hint; None after `seconds` without one, or when it is to stop."""
    slice_seconds = _SLICE_SECONDS if patience.may_stop else seconds
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not patience.is_stopping():
        hint = listener.wait(min(left, slice_seconds))
        if hint is not None:
            return hint
    return None
