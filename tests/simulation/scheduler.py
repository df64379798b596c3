"""Runs actors one at a time, and decides by dice who goes on and when time moves.

Actors are greenlets: our code runs in them unmodified and comes back here wherever it
would wait for a server or for time. There is one thread and one dice, so the same seed
runs the same way. A process that is killed gets `Killed` at the point where it stands
and at every later one, so that nothing it does in a `finally` reaches the world; one
that is stopped is not chosen until its time has come.

Knows nothing of plans, databases or messages.
"""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from greenlet import getcurrent, greenlet

_NEVER_SECONDS = float("inf")


class Killed(BaseException):
    """The process of this actor is no more; no code of ours may catch it."""


class ViolationError(BaseException):
    """A promise was broken; past every `except Exception` on its way to the runner."""


@dataclass(eq=False)
class Process:
    """What is killed and stopped as one: its actors share its fate."""

    name: str
    is_alive: bool = True
    stopped_until: float = 0.0
    was_stopped: bool = False


@dataclass(eq=False)
class Actor:
    """One strand of a process, and when it wants to go on."""

    name: str
    process: Process
    wake_at: float
    strand: Any = None

    @property
    def due_at(self) -> float:
        """When it may be chosen: at once, if it is only to find out that it is dead."""
        if not self.process.is_alive:
            return 0.0
        return max(self.wake_at, self.process.stopped_until)


@dataclass
class Scheduler:
    """The actors, the virtual time in seconds, and what happened."""

    dice: random.Random
    is_tracing: bool = False
    now: float = 0.0
    actors: list[Actor] = field(default_factory=list)
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=20_000))
    switches: int = 0
    violation: ViolationError | None = None

    def __post_init__(self) -> None:
        self._hub = getcurrent()
        self._current: Actor | None = None

    @property
    def current(self) -> Actor:
        """The actor that runs at this moment."""
        assert self._current is not None
        return self._current

    def start(
        self, name: str, process: Process, body: Callable[[], None], after: float = 0.0
    ) -> Actor:
        """Add an actor that runs `body` from `after` seconds on."""
        actor = Actor(name, process, self.now + after)
        actor.strand = greenlet(lambda: self._live(actor, body), parent=self._hub)
        self.actors.append(actor)
        return actor

    def note(self, what: str) -> None:
        """Add a line to the trace, if somebody reads it."""
        if self.is_tracing:
            who = self._current.name if self._current else "-"
            self.trace.append(f"{self.now:9.3f} {who:<14} {what}")

    def switch(self, what: str) -> None:
        """Let others go on; raises Killed in a process that is no more."""
        actor = self.current
        self.note(what)
        if actor.process.is_alive:
            self._hub.switch()
        if not actor.process.is_alive:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Go on after `seconds` of virtual time."""
        self.current.wake_at = self.now + seconds
        self.switch(f"sleeps {seconds:.3f} s")

    def wait_until(self, moment: float | None) -> None:
        """Go on at `moment`, or when `wake` names this actor."""
        self.current.wake_at = _NEVER_SECONDS if moment is None else moment
        self.switch("waits")

    def wake(self, actor: Actor, moment: float) -> None:
        """Let a waiting actor go on at `moment`, if it would not before."""
        actor.wake_at = min(actor.wake_at, moment)

    def fail(self, what: str) -> NoReturn:
        """End the run: a promise was broken."""
        self.note(f"VIOLATION {what}")
        self.violation = self.violation or ViolationError(what)
        raise self.violation

    def kill(self, process: Process) -> None:
        """End a process: nothing that it does from now on has an effect."""
        self.note(f"KILL {process.name}")
        process.is_alive = False

    def stop(self, process: Process, seconds: float) -> None:
        """Hold a process still for `seconds`, and let it go on then."""
        self.note(f"STOP {process.name} for {seconds:.1f} s")
        process.stopped_until = self.now + seconds
        process.was_stopped = True

    def step(self) -> bool:
        """Let one actor run up to its next switch; False when nobody ever will."""
        due = [actor for actor in self.actors if actor.due_at <= self.now]
        if not due:
            moment = min((a.due_at for a in self.actors), default=_NEVER_SECONDS)
            if moment == _NEVER_SECONDS:
                return False
            self.now = moment
            due = [actor for actor in self.actors if actor.due_at <= moment]
        self._current = due[self.dice.randrange(len(due))]
        self.switches += 1
        try:
            if self._current.process.is_alive:
                self._current.strand.switch()
            else:
                self._unwind(self._current)
        finally:
            self._current = None
        if self.violation is not None:
            raise self.violation
        return True

    def end(self) -> None:
        """Unwind whoever is left."""
        for actor in list(self.actors):
            actor.process.is_alive = False
            self._current = actor
            self._unwind(actor)
        self._current = None

    def _unwind(self, actor: Actor) -> None:
        if actor.strand:
            actor.strand.throw(Killed)
        else:
            # it never began, and has nothing to leave
            self.actors.remove(actor)

    def _live(self, actor: Actor, body: Callable[[], None]) -> None:
        try:
            body()
        except Killed:
            self.note("is no more")
        except ViolationError as error:
            self.violation = self.violation or error
        except Exception as error:  # noqa: BLE001  # our code must not let one out
            self.violation = ViolationError(f"{actor.name} raised {error!r}")
            self.violation.__cause__ = error
        finally:
            self.actors.remove(actor)
