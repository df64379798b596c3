"""Somebody who pauses all of a plan, or a queue, and lets it go on after a while.

What they are promised, the watchdog holds them to: between the answer to the pause and
the question for the resume no step of it starts. That all of it goes on afterwards, the
end of the world shows.
"""

import random
import uuid
from collections.abc import Callable
from typing import TypeVar

from execution.errors import DatabaseError
from execution.holds import HoldKind
from execution.parking import ParkedExecutions
from tests.simulation.owners import Desk

_T = TypeVar("_T")

_MOST_RELEASED = 1
"""Less than there may be: the reconcilers have to do the rest."""


class Pauser:
    """Pauses and resumes one thing, once or twice."""

    def __init__(
        self,
        desk: Desk,
        target: tuple[HoldKind, str],
        held: set[tuple[HoldKind, str]],
        dice: random.Random,
    ) -> None:
        """Say in `held` what is paused for certain."""
        self._desk = desk
        self._target = target
        self._held = held
        self._dice = dice
        self._parking = ParkedExecutions(
            desk.liveness, desk.build_dispatcher(), desk.emitter
        )

    def live(self) -> None:
        """Pause and resume, at moments of their own."""
        for _ in range(self._dice.choice([1, 1, 2])):
            self._desk.scheduler.sleep(self._dice.choice([0.01, 0.5, 3.0]))
            self._pause()
            self._desk.scheduler.sleep(self._dice.choice([0.01, 0.5, 5.0, 40.0]))
            self._resume()

    def _pause(self) -> None:
        hold_id = self._draw_id()
        repository = self._desk.repository
        answer = self._until_answered(
            lambda: repository.set_hold(*self._target, hold_id=hold_id)
        )
        assert answer.landed
        self._held.add(self._target)
        self._desk.count("pauses of many")

    def _resume(self) -> None:
        resume_id = self._draw_id()
        repository = self._desk.repository
        self._held.discard(self._target)
        answer = self._until_answered(
            lambda: repository.end_hold(*self._target, resume_id=resume_id)
        )
        assert answer.landed
        self._parking.try_release(_MOST_RELEASED)

    def _draw_id(self) -> str:
        return str(uuid.UUID(int=self._dice.getrandbits(128), version=4))

    def _until_answered(self, act: Callable[[], _T]) -> _T:
        while True:
            try:
                return act()
            except DatabaseError:
                self._desk.count("pausers asked again")
                self._desk.scheduler.sleep(1.0)
