"""Mends what a doctor may: what a reconciler would do as well, but at once.

Promises: what is sent again goes through the dispatcher, each by a compare-and-set on
how often it was sent; the rest is a reconciler's round. No message of anybody is
removed, and a second time there is nothing left to do. What depends on large values
that cannot be read here is left to the workers. Must not know how what is to be mended
was seen.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from uuid import UUID

from celery import Celery

from .database import Database
from .diagnosis.facts import Observations, SentStep, WorkerFacts
from .diagnosis.findings import MOST_IDS, count
from .diagnosis.fleet import find_lease, list_living
from .dispatcher import ExecutionDispatcher
from .errors import DatabaseError, PayloadError, PayloadLostError
from .events import ExecutionEventEmitter
from .large_values import LargeValue
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


@dataclass(frozen=True)
class Mending:
    """What was done, what was left and why; `has_failed`: to go on would not help.

    `tried` are the steps that were sent again, or were so by somebody else: not those
    that the broker refused, and those behind.
    """

    done: tuple[Deed, ...] = ()
    tried: tuple[SentStep, ...] = ()
    left: tuple[str, ...] = ()
    has_failed: bool = False


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

    def mend(self, seen: Observations, missing: Sequence[SentStep]) -> Mending:
        """Send what is `missing`, and do whatever else a reconciler does."""
        done: list[Deed] = []
        tried: list[SentStep] = []
        payloads = _ForeignPayloads.from_settings(self._settings)
        try:
            with closing(self._open_emitter()) as emitter:
                dispatcher = ExecutionDispatcher(self._app)
                done += self._send(missing, tried, dispatcher)
                records = StepRecords(self._database, payloads)
                reconciler = Reconciler(
                    LivenessRecords(self._database),
                    records,
                    dispatcher,
                    emitter,
                    self._settings,
                )
                done += _list_deeds(self._run_rounds(seen, reconciler))
        except DatabaseError as error:
            left = f"not all could be mended: {error}"
            return Mending(
                tuple(done),
                tuple(tried),
                (*payloads.list_left(), left),
                has_failed=True,
            )
        return Mending(tuple(done), tuple(tried), payloads.list_left())

    def _open_emitter(self) -> ExecutionEventEmitter:
        return ExecutionEventEmitter(self._settings.events_url, self._database.check())

    def _send(
        self,
        missing: Sequence[SentStep],
        tried: list[SentStep],
        dispatcher: ExecutionDispatcher,
    ) -> tuple[Deed, ...]:
        """Send what is missing, and note what was `tried`."""
        liveness = LivenessRecords(self._database)
        sent = []
        for step in missing:
            windows = liveness.mark_resent(
                UnsentStep(step.execution_id, step.position, step.publishes)
            )
            if windows and not dispatcher.publish(windows):
                break
            tried.append(step)
            if windows:
                sent.append(str(step))
        return (Deed("sent again", len(sent), tuple(sent[:MOST_IDS])),) if sent else ()

    def _run_rounds(self, seen: Observations, reconciler: Reconciler) -> Round:
        """Look and mend once, as a reconciler does; or until the silent are dead.

        Silence is measured in a pulse that moves by a tick at each look, so where no
        worker looks this takes about the longest of their leases.
        """
        done = reconciler.mend(reconciler.look(_NOBODY))
        silent = _list_silent(seen)
        for _ in range(self._count_further_looks(silent)):
            if done.dead_workers >= len(silent):
                break
            self._wait(self._settings.tick_seconds)
            done = done.add(reconciler.mend(reconciler.look(_NOBODY)))
        return done

    def _count_further_looks(self, silent: Sequence[WorkerFacts]) -> int:
        lease, tick = self._settings.lease_seconds, self._settings.tick_seconds
        longest = max((find_lease(worker, lease) for worker in silent), default=0.0)
        return int(longest / tick) + 2


def _list_silent(seen: Observations) -> tuple[WorkerFacts, ...]:
    """Return the workers whom nobody declares dead: where one lives, that one does."""
    standing = seen.standing
    if standing is None or list_living(standing, seen.program):
        return ()
    return standing.workers


class _ForeignPayloads(PayloadStore):
    """Large values as somebody reads them who may be on another host than the workers.

    There a value that is not found, or is another, is as good as away: an execution
    must not fail of that, which a worker would finish.
    """

    def __init__(self, url: str, schema: str) -> None:
        super().__init__(url, schema)
        self._unread: dict[str, None] = {}

    def read(self, reference: LargeValue) -> object:
        try:
            return super().read(reference)
        except PayloadError as error:
            # SCHEMA/EXECUTION/VALUE
            place, _, _ = reference.path.rpartition("/")
            self._unread[place.rpartition("/")[2]] = None
            if isinstance(error, PayloadLostError):
                raise PayloadError(str(error)) from error
            raise

    def list_left(self) -> tuple[str, ...]:
        """Return what to say of the executions that could not be finished."""
        if not self._unread:
            return ()
        ids = tuple(self._unread)
        left = (
            f"{count(len(ids), 'execution')} left to the workers, for large values"
            f" could not be read here: {', '.join(ids[:MOST_IDS])}"
        )
        return (left,)


def _list_deeds(done: Round) -> tuple[Deed, ...]:
    return tuple(
        Deed(name.replace("_", " "), count)
        for name, count in vars(done).items()
        if count
    )
