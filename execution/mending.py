"""Mends what a doctor may: what a reconciler would do as well, but at once.

Promises: what is sent again goes through the dispatcher, each by a compare-and-set on
how often it was sent; the rest is a reconciler's round. No message of anybody is
removed, and a second time there is nothing left to do. Must not know how what is to be
mended was seen.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

from celery import Celery

from .database import Database
from .diagnosis.facts import Observations
from .diagnosis.findings import MOST_IDS
from .diagnosis.fleet import list_living
from .diagnosis.intents import find_missing
from .dispatcher import ExecutionDispatcher
from .errors import DatabaseError
from .events import ExecutionEventEmitter
from .liveness import LivenessRecords
from .payloads import PayloadStore
from .reconciler import Reconciler, Round
from .records import StepRecords
from .settings import Settings
from .sweeps import UnsentStep

_NOBODY = str(UUID(int=0))


@dataclass(frozen=True)
class Deed:
    """Something that was done to mend, how often, and to which ids of those."""

    act: str
    count: int
    ids: tuple[str, ...] = ()


class Mender:
    """Sends what is missing, and does a reconciler's turn."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        app: Celery,
        wait: Callable[[float], None],
    ) -> None:
        """Write through `database`, send by `app`; `wait(seconds)` lets time pass."""
        self._settings = settings
        self._database = database
        self._app = app
        self._wait = wait

    def mend(self, seen: Observations) -> tuple[tuple[Deed, ...], tuple[str, ...]]:
        """Return what was done, and why not more was."""
        done: list[Deed] = []
        try:
            with closing(self._open_emitter()) as emitter:
                dispatcher = ExecutionDispatcher(self._app)
                done += self._send_missing(seen, dispatcher)
                done += _list_deeds(self._run_rounds(seen, dispatcher, emitter))
        except DatabaseError as error:
            return tuple(done), (f"not all could be mended: {error}",)
        return tuple(done), ()

    def _open_emitter(self) -> ExecutionEventEmitter:
        return ExecutionEventEmitter(self._settings.events_url, self._database.check())

    def _send_missing(
        self, seen: Observations, dispatcher: ExecutionDispatcher
    ) -> tuple[Deed, ...]:
        liveness = LivenessRecords(self._database)
        sent = []
        for step in find_missing(seen):
            if dispatcher.is_quiet:
                break
            windows = liveness.mark_resent(
                UnsentStep(step.execution_id, step.position, step.publishes)
            )
            if windows and dispatcher.publish(windows):
                sent.append(str(step))
        return (Deed("sent again", len(sent), tuple(sent[:MOST_IDS])),) if sent else ()

    def _run_rounds(
        self,
        seen: Observations,
        dispatcher: ExecutionDispatcher,
        emitter: ExecutionEventEmitter,
    ) -> Round:
        """Look and mend once, as a reconciler does; or until the silent are dead.

        Silence is measured in a pulse that moves by a tick at each look, so where no
        worker looks this takes about a lease.
        """
        settings = self._settings
        records = StepRecords(self._database, PayloadStore.from_settings(settings))
        reconciler = Reconciler(
            LivenessRecords(self._database), records, dispatcher, emitter, settings
        )
        done = reconciler.mend(reconciler.look(_NOBODY))
        for _ in range(self._count_further_looks(seen)):
            self._wait(settings.tick_seconds)
            done = done.add(reconciler.mend(reconciler.look(_NOBODY)))
        return done

    def _count_further_looks(self, seen: Observations) -> int:
        standing = seen.standing
        if standing is None or not standing.workers:
            return 0
        has_living = bool(list_living(standing, seen.program))
        lease, tick = self._settings.lease_seconds, self._settings.tick_seconds
        return 0 if has_living else int(lease / tick) + 2


def _list_deeds(done: Round) -> tuple[Deed, ...]:
    return tuple(
        Deed(name.replace("_", " "), count)
        for name, count in vars(done).items()
        if count
    )
