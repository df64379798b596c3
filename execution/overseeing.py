"""All executions watched at once: what an engine tells of those that a filter names.

A hint says which execution is worth a look; every two seconds all are compared with
what was told of them. That alone decides what is told, so that events are neither lost
nor told twice, whatever becomes of hints, servers and readers: see `gathering`. Who
submits, and who works, does nothing for it.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from .cursors import Horizon, Mark, read_horizon, read_mark
from .errors import ExecutionNotFoundError
from .events import EventSubscription
from .filters import ExecutionFilter
from .gathering import Gathering, Moved, begin_after
from .identity import is_execution_id
from .patience import Patience
from .updates import ExecutionUpdate
from .watching import POLL_SECONDS, WatchedExecutions, await_hint

logger = logging.getLogger(__name__)

_MOST_ENDS = 200
"""So many that have ended are looked at in a round."""
_GATHER_SECONDS = 0.05
"""How long hints are gathered before they are looked after, so that a busy execution is
looked at twenty times a second at most."""
_MOST_HINTS = 200


class OverseenExecutions(WatchedExecutions):
    """What `ExecutionEngine` tells of all executions."""

    def monitor_all(
        self, wanted: ExecutionFilter | None = None, *, after: str | None = None
    ) -> Iterator[ExecutionUpdate]:
        """Yield an update for each execution that matches, each time it has moved.

        Every event comes exactly once, and those of one execution in order: of all that
        are there, those that have ended by the order of their ends, and of new ones,
        until the caller stops. `after` is the `cursor` of an update, and leaves out
        what was told up to that; `get_cursor` returns one that leaves out what there is
        now. Where `wanted` names states or has an expression, an execution is told
        while that applies to it, with all that was not told before. Those that come and
        go between two looks, and are in such a state only then, are not told. An outage
        of PostgreSQL is waited out. Raises CursorError.
        """
        mine = Horizon(self.installation_id[:8])
        horizon = mine if after is None else self._check_horizon(read_horizon(after))
        return self._oversee(wanted or ExecutionFilter(), horizon, Patience())

    def get_cursor(self, wanted: ExecutionFilter | None = None) -> str:
        """Return where `monitor_all` continues with what is yet to happen."""
        now = self._repository.read_moment().now
        horizon = begin_after(self.installation_id[:8], now)
        ended, those_open = self._repository.list_moving(
            wanted or ExecutionFilter(), horizon.place, limit=None
        )
        numbers = {row.execution_id: row.last_seq for row in (*ended, *those_open)}
        marks = self._repository.find_marks(numbers)
        return str(replace(horizon, marks=marks))

    def _oversee(
        self, wanted: ExecutionFilter, horizon: Horizon, patience: Patience
    ) -> Iterator[ExecutionUpdate]:
        gathering, incarnation = Gathering(horizon), None
        ask = patience.until_answered
        with self._listen(None) as listener:
            while not patience.is_stopping():
                moment = ask(self._repository.read_moment)
                if moment.incarnation != incarnation:
                    ask(partial(self._recognise, gathering))
                    incarnation = moment.incarnation
                rows, last = ask(partial(self._list_all, wanted, gathering))
                yield from self._tell(wanted, gathering, rows, patience)
                gathering.pass_on(moment, rows, last)
                if last is None:
                    yield from self._heed(wanted, gathering, listener, patience)

    def _check_horizon(self, horizon: Horizon) -> Horizon:
        """Return a horizon of this installation: that one, or the very first."""
        mine = self.installation_id[:8]
        if horizon.installation == mine:
            return horizon
        logger.warning(
            "the cursor is of another installation; all executions are read",
            extra={"installation": horizon.installation},
        )
        return Horizon(mine)

    def _recognise(self, gathering: Gathering) -> None:
        """Tell anew what is not as it was read: the database may have been restored."""
        numbers = {e: mark.seq for e, mark in gathering.marks.items() if mark.seq}
        there = self._repository.find_marks(numbers)
        for execution_id in numbers:
            mark, found = gathering.marks[execution_id], there.get(execution_id, Mark())
            if mark.seq != found.seq or mark.moment not in (None, found.moment):
                logger.warning(
                    "the timeline is not the one that was read; it is told anew",
                    extra={"execution_id": execution_id, "cursor": str(mark)},
                )
                gathering.mark(execution_id, Mark())

    def _list_all(
        self, wanted: ExecutionFilter, gathering: Gathering
    ) -> tuple[tuple[Moved, ...], Moved | None]:
        """Return all that may have to be told; and the last, if more have ended."""
        place = gathering.horizon.place
        ends, those_open = self._repository.list_moving(wanted, place, limit=_MOST_ENDS)
        rows = (*ends, *those_open)
        # whoever is in neither has ended behind those, or under a clock that went back
        missing = gathering.marks.keys() - {row.execution_id for row in rows}
        rows = (*rows, *self._repository.list_named(wanted, missing))
        self._meet(gathering, rows)
        return rows, ends[-1] if len(ends) == _MOST_ENDS else None

    def _meet(self, gathering: Gathering, rows: Sequence[Moved]) -> None:
        """Note of those of which nothing is known from where on they are told."""
        strangers = gathering.list_strangers(rows)
        ends = self._repository.find_last_ends(strangers, gathering.horizon.ended)
        for execution_id in strangers:
            gathering.mark(execution_id, ends.get(execution_id, Mark()))

    def _tell(
        self,
        wanted: ExecutionFilter,
        gathering: Gathering,
        rows: Sequence[Moved],
        patience: Patience,
    ) -> Iterator[ExecutionUpdate]:
        for row in gathering.choose(rows):
            has_more = True
            while has_more and not patience.is_stopping():
                after = str(gathering.marks[row.execution_id])
                look = partial(self.look, row.execution_id, after)
                try:
                    update, execution = patience.until_answered(look)
                except ExecutionNotFoundError:
                    gathering.forget(row.execution_id)
                    break
                if wanted.statuses and update.status not in wanted.statuses:
                    # it has moved on meanwhile
                    break
                gathering.mark(row.execution_id, read_mark(update.cursor))
                if update.events:
                    yield replace(update, cursor=gathering.cursor)
                has_more = execution.last_seq > update.last_seq

    def _heed(
        self,
        wanted: ExecutionFilter,
        gathering: Gathering,
        listener: EventSubscription,
        patience: Patience,
    ) -> Iterator[ExecutionUpdate]:
        """Tell of those that hints name, until it is time to look at all."""
        until = time.monotonic() + POLL_SECONDS
        while (left := until - time.monotonic()) > 0 and not patience.is_stopping():
            named = _gather_hints(listener, left, patience)
            if len(named) > _MOST_HINTS:
                return
            list_named = partial(self._repository.list_named, wanted, named)
            rows = gathering.leave_passed(patience.until_answered(list_named))
            patience.until_answered(partial(self._meet, gathering, rows))
            yield from self._tell(wanted, gathering, rows, patience)


def _gather_hints(
    listener: EventSubscription, seconds: float, patience: Patience
) -> set[str]:
    """Return the executions that were hinted at, within a moment after the first."""
    named: set[str] = set()
    hint = await_hint(listener, seconds, patience)
    until = time.monotonic() + _GATHER_SECONDS
    while hint is not None:
        if is_execution_id(hint.execution_id):
            named.add(hint.execution_id)
        left = until - time.monotonic()
        hint = listener.wait(left) if left > 0 else None
    return named
