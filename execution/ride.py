"""How far one delivery goes: the steps that a worker runs on to before others' turn.

A message names a few steps of one execution. Who has completed one goes on to the next
without another message, for as long as the limits allow; what is left of the message's
own chain then goes on as messages.

Knows neither how a step is run nor what is written of it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

from .answers import Claim


@dataclass(frozen=True)
class Delivery:
    """One message: what it names, and the id under which the broker delivered it."""

    id: str
    execution_id: str
    positions: tuple[int, ...]
    epoch: int


_SHARE_OF_TIME_LIMIT = 0.1


@dataclass(frozen=True)
class RideLimits:
    """How long a worker goes on with the steps of one execution before others' turn.

    A delivery that is older than `seconds`, or has run `steps`, claims no further one.
    With `steps=1` every step has a message of its own.
    """

    seconds: float = 0.1
    steps: int = 64
    now: Callable[[], float] = time.monotonic

    def within(self, time_limit_seconds: float | None) -> Self:
        """Return limits that suit a Celery that ends deliveries after that time.

        It begins anew with each delivery and not with each step, so the last step of a
        ride would find less of it left: a tenth less, at most.
        """
        if time_limit_seconds is None:
            return self
        most = _SHARE_OF_TIME_LIMIT * time_limit_seconds
        return replace(self, seconds=min(self.seconds, most))


class Ride:
    """How far one delivery has come: what it has run, and what its chain names yet."""

    def __init__(self, delivery: Delivery, limits: RideLimits) -> None:
        """Begin with what a message names."""
        self.delivery = delivery
        self.rest: tuple[int, ...] = ()
        self._limits = limits
        self._begun = limits.now()
        self._steps = 0
        self._boarded: Claim | None = None
        self.claimed_at = self._begun

    def begin(self, claim: Claim, rest: tuple[int, ...]) -> None:
        """Run `claim`; the chain of the message names `rest` after it."""
        self.claim = claim
        self.rest = rest
        self.claimed_at = self._limits.now()
        self._steps += 1

    def go_on(self, claim: Claim) -> None:
        """Go on to `claim`; it may be the next link, or have left the chain."""
        is_next = self.rest[:1] == (claim.held.position,)
        self.begin(claim, self.rest[1:] if is_next else ())

    def board(self, claim: Claim) -> None:
        """Hold `claim` as well: the step that runs is let go of for it."""
        self._boarded = claim

    def leave(self) -> bool:
        """Let go of the step, which is not over; say whether another one is to run."""
        boarded, self._boarded, self.rest = self._boarded, None, ()
        if boarded is not None:
            self.begin(boarded, ())
        return boarded is not None

    @property
    def has_left_message(self) -> bool:
        """Say whether the step is another than that which the message was for."""
        return self._steps > 1

    @property
    def step_seconds(self) -> float:
        """How long the step has been running."""
        return self._limits.now() - self.claimed_at

    @property
    def may_go_on(self) -> bool:
        """Say whether one more step may be claimed for this delivery."""
        age_seconds = self._limits.now() - self._begun
        return self._steps < self._limits.steps and age_seconds < self._limits.seconds
