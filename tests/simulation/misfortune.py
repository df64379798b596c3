"""What goes wrong, drawn by dice within a budget, and how often it did.

Each seed enables some kinds and gives them a rate, so that rare meetings of two kinds
are not drowned by all the others. When the budget is spent, the world is kind again,
and everything has to come to its end.

Knows the kinds and their dice; `world` knows what they do.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What can go wrong where an actor touches the world."""

    UNANSWERED = "call failed and was not executed"
    UNKNOWN = "call was committed and its answer lost"
    BUSY = "row was held by a stranger"
    OUTAGE = "database went away"
    KILL_CHILD = "child killed"
    KILL_WORKER = "worker killed"
    KILL_MAIN = "main process killed, children orphaned"
    KILL_OWNER = "owner killed"
    STOP_CHILD = "child stopped"
    STOP_WORKER = "worker stopped"
    STOP_MAIN = "main process stopped"
    SIGN_OFF = "worker told to stop"
    CLOCK_FORWARD = "clock jumped forwards"
    CLOCK_BACKWARD = "clock jumped backwards"
    FLUSH = "broker flushed"
    BROKER_AWAY = "broker went away"


class MessageFault(StrEnum):
    """What can happen to one message."""

    DROPPED = "message dropped"
    REPEATED = "message repeated"
    DELAYED = "message delayed"
    OVERTAKEN = "messages reordered"


AT_A_CALL = frozenset({Fault.UNANSWERED, Fault.UNKNOWN, Fault.BUSY})
"""Faults of one call of the database; all others may strike anywhere."""

_DATABASE = (Fault.UNANSWERED, Fault.UNKNOWN, Fault.BUSY, Fault.OUTAGE)
_PROCESSES = (
    Fault.KILL_CHILD,
    Fault.KILL_WORKER,
    Fault.KILL_MAIN,
    Fault.KILL_OWNER,
    Fault.STOP_CHILD,
    Fault.STOP_WORKER,
    Fault.STOP_MAIN,
    Fault.SIGN_OFF,
)
_SURROUNDINGS = (
    Fault.CLOCK_FORWARD,
    Fault.CLOCK_BACKWARD,
    Fault.FLUSH,
    Fault.BROKER_AWAY,
)
_SHARE_OF_ORPHANS = 0.25


@dataclass
class Misfortune:
    """The dice of one seed for everything that goes wrong."""

    dice: random.Random
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        dice = self.dice
        self._message_rate = dice.choice((0.0, 0.05, 0.25))
        if dice.random() < _SHARE_OF_ORPHANS:
            # late writes need one misfortune at the right moment, and no other
            self.budget, self._rate = 1, 0.12
            self._message_rate = 0.0
            self._enabled = [Fault.KILL_MAIN]
            return
        self.budget = dice.choice((0, 2, 3, 4, 6, 8))
        self._rate = dice.choice((0.02, 0.05, 0.12))
        groups = (_DATABASE, _PROCESSES, _SURROUNDINGS)
        chosen = [g for g in groups if dice.random() < 0.6] or [dice.choice(groups)]
        every = [fault for group in chosen for fault in group]
        self._enabled = [f for f in every if dice.random() < 0.7] or every

    def draw(self, weight: float) -> Fault | None:
        """Return what goes wrong at this point, `weight` times as often as usual."""
        if self.budget <= 0 or self.dice.random() >= self._rate * weight:
            return None
        return self.dice.choice(self._enabled)

    def draw_for_message(self) -> MessageFault | None:
        """Return what happens to a message on its way; usually nothing."""
        if self.budget <= 0 or self.dice.random() >= self._message_rate:
            return None
        fault = self.dice.choice(list(MessageFault))
        self.spend(fault)
        return fault

    def spend(self, fault: Fault | MessageFault) -> None:
        """Count a fault that has struck."""
        self.budget -= 1
        self.count(fault.value)

    def count(self, what: str, times: int = 1) -> None:
        """Count something that happened."""
        self.counts[what] += times
