"""Where actors touch the world: each transaction, each publish, each effect.

There, and nowhere else, another actor may go on and something may go wrong.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from celery import Celery

from execution.database import DatabaseBusyError, DatabaseUnavailableError
from execution.dispatcher import ExecutionDispatcher
from execution.errors import DatabaseError
from execution.windows import Window
from tests.simulation.havoc import Havoc
from tests.simulation.misfortune import Fault
from tests.simulation.scheduler import Scheduler
from tests.simulation.store import Call, Rows, Store
from tests.simulation.watchdog import Watchdog

_MOST_TRANSACTION_SECONDS = 0.003


@dataclass
class Gate:
    """The way of every call to the database, and of everything else that can fail."""

    scheduler: Scheduler
    dice: random.Random
    store: Store
    havoc: Havoc
    watchdog: Watchdog
    muted: frozenset[str] = frozenset()
    """What sweeps do not find, for a world without that act."""

    def touch(self, what: str) -> None:
        """Let others go on, and something go wrong, before an act."""
        self.scheduler.switch(what)
        self.havoc.strike()

    def transact(self, call: Call, run: Callable[[], Rows]) -> Rows:
        """Make one transaction, unless it fails; its answer may be lost."""
        self.scheduler.switch(f"calls {call.function}")
        fault = self.havoc.strike(at_a_call=True)
        if self.havoc.is_database_away:
            self.havoc.misfortune.count("calls during an outage")
            raise DatabaseUnavailableError("PostgreSQL is not available: away")
        if fault is Fault.BUSY:
            raise DatabaseBusyError("PostgreSQL is busy: by dice")
        if fault is Fault.UNANSWERED:
            raise DatabaseUnavailableError("PostgreSQL is not available: by dice")
        rows = self._execute(call, run)
        if fault is Fault.UNKNOWN:
            self.scheduler.switch(f"answer of {call.function} is lost")
            raise DatabaseUnavailableError("PostgreSQL is not available: no answer")
        self.touch(f"answered {call.function}")
        return rows

    def _execute(self, call: Call, run: Callable[[], Rows]) -> Rows:
        self.scheduler.now += self.dice.random() * _MOST_TRANSACTION_SECONDS
        self.store.seconds = self.scheduler.now + self.havoc.clock_seconds
        try:
            rows = run()
        except DatabaseError as error:
            self.scheduler.fail(f"{call.function}{call.arguments}: {error}")
        if call.function == "sweep":
            rows[0].update(dict.fromkeys(self.muted))
        if self.scheduler.is_tracing:
            self.scheduler.note(f"{call.function}{call.arguments} -> {rows}")
        if rows:
            self.watchdog.saw(call, rows[0])
        return rows


class SimulatedDispatcher(ExecutionDispatcher):
    """The dispatcher of one process; others may go on before and after it sends."""

    def __init__(
        self, app: Celery, now: Callable[[], float], touch: Callable[[str], None]
    ) -> None:
        """Send through `app`, in the time of `now`."""
        super().__init__(app, now)
        self._touch = touch

    def publish(self, windows: Sequence[Window]) -> bool:
        """Send the windows, if the process lives to do it."""
        if not windows:
            return True
        self._touch(f"publishes {len(windows)} windows")
        is_sent = super().publish(windows)
        self._touch("published" if is_sent else "could not publish")
        return is_sent

    def forward(self, links: Sequence[Mapping[str, Any]]) -> bool:
        """Send the rest of a chain, if the process lives to do it."""
        if not links:
            return True
        self._touch("forwards the rest of its chain")
        is_sent = super().forward(links)
        self._touch("forwarded" if is_sent else "could not forward")
        return is_sent
