"""What Flower hears of tasks, and for how long it remembers.

Promises: however much is told, what waits to be taken in is bounded, and the pages are
answered meanwhile; a broker that is away is asked again within seconds of its return,
and is one line in the log and not one for each try. Workers that are gone are
forgotten, with all that is counted of them: their names are new with each deployment.
"""

import logging
import threading
import time
from collections import OrderedDict, deque
from typing import Any

from celery import Celery
from celery.events import EventReceiver
from flower.events import Events
from kombu.exceptions import KombuError
from tornado.ioloop import IOLoop

from ..celery.ride_events import STEP_SHOWN

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_MOST_WAITING = 10_000
_SLICE = 500
"""How many events are taken in before whoever else waits has a turn."""
_MOST_SHOWN = 1_000
"""For so many tasks, what we were told is kept to be said again."""
_SHOWN = frozenset({"args", "state", "result", "exception", "runtime"})
"""What may be told of the task of a step, beyond what Celery tells."""


class StepEvents(Events):  # type: ignore[misc]  # Flower ships no types
    """Flower's events, with what the workers tell of steps."""

    def __init__(self, capp: Celery, io_loop: IOLoop, options: Any) -> None:
        """Listen at the broker of `capp`, as much as Flower's `options` say."""
        super().__init__(
            capp,
            io_loop,
            db=options.db,
            persistent=options.persistent,
            state_save_interval=options.state_save_interval,
            enable_events=options.enable_events,
            max_workers_in_memory=options.max_workers,
            max_tasks_in_memory=options.max_tasks,
        )
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MOST_WAITING)
        self._is_taking = threading.Event()
        self._shown: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._is_away = False

    def start(self) -> None:
        """Begin to listen, and ask workers for events: now, and every few seconds."""
        super().start()
        if self.enable_events:
            self.io_loop.add_callback(self.on_enable_events)

    def run(self) -> None:
        """Listen, for as long as the process lives."""
        pause_seconds = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                with self.capp.connection() as connection:
                    receiver = EventReceiver(
                        connection, handlers={"*": self.on_event}, app=self.capp
                    )
                    self._note_broker(None)
                    pause_seconds = _SHORTEST_PAUSE_SECONDS
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # noqa: BLE001  # whatever it was, Flower is to hear again
                self._note_broker(error)
                time.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _note_broker(self, error: Exception | None) -> None:
        was_away, self._is_away = self._is_away, error is not None
        if error is not None and not was_away:
            logger.warning("the broker is away, and no events come: %s", error)
        if error is None and was_away:
            logger.info("the broker is back")

    async def on_enable_events(self) -> None:
        """Ask all workers for events; by themselves they send none."""
        try:
            await self.io_loop.run_in_executor(None, self.capp.control.enable_events)
        except (KombuError, OSError) as error:
            logger.debug("workers were not asked for events: %s", error)
        except Exception as error:
            # what a transport does not wrap has its own classes, known to it alone
            connection = self.capp.connection_for_write()
            known = (*connection.connection_errors, *connection.channel_errors)
            if not isinstance(error, known):
                raise
            logger.debug("workers were not asked for events: %s", error)

    def on_event(self, event: dict[str, Any]) -> None:
        """Let the event loop take an event in; called in the thread that listens."""
        # at the limit the oldest go: events promise nothing
        self._waiting.append(event)
        if not self._is_taking.is_set():
            self._is_taking.set()
            self.io_loop.add_callback(self._take_slice)

    def _take_slice(self) -> None:
        # what is told from here on finds the flag down, or its event taken
        self._is_taking.clear()
        for _ in range(min(_SLICE, len(self._waiting))):
            event = self._waiting.popleft()
            try:
                self._take(event)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                # who may use the broker can tell anything; the others are heard
                logger.debug("an event is none: %r", error)
        if self._waiting and not self._is_taking.is_set():
            self._is_taking.set()
            self.io_loop.add_callback(self._take_slice)

    def _take(self, event: dict[str, Any]) -> None:
        uuid = event.get("uuid", "")
        if event["type"] != STEP_SHOWN:
            self.state.event(event)
            # Celery tells of its message what is not so of the step, before or after us
            self._show(uuid)
            return
        told = {name: event["shown"][name] for name in _SHOWN & event["shown"].keys()}
        self._shown[uuid] = {**self._shown.pop(uuid, {}), **told}
        if len(self._shown) > _MOST_SHOWN:
            self._shown.popitem(last=False)
        self._show(uuid)

    def _show(self, uuid: str) -> None:
        """Show of a task what a worker has told of its step, if it has."""
        told = self._shown.get(uuid)
        task = self.state.tasks.get(uuid) if told else None
        if told and task is not None:
            vars(task).update(told)
            self.state.search_engine.upsert(task)

    def forget_workers(self, silent_seconds: float) -> set[str]:
        """Forget the workers that were silent for so long, and return their names."""
        state = self.state
        gone = {
            name
            for name in {*state.counter, *state.workers}
            if _is_gone(state.workers.get(name), silent_seconds)
        }
        for name in gone:
            state.workers.pop(name, None)
            state.counter.pop(name, None)
            state.tasks_by_worker.pop(name, None)
        state.metrics.remove_workers(gone)
        return gone


def _is_gone(worker: Any, silent_seconds: float) -> bool:
    if worker is None:
        return True
    # one that has signed off has no heartbeats left
    heard_at = max(worker.heartbeats, default=getattr(worker, "timestamp", 0))
    return not worker.alive and time.time() - heard_at >= silent_seconds
