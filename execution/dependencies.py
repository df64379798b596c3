"""What steps call on, and when it is paused and tried again.

    free ──(many fail, or a person)──▶ paused ──(cooldown, or a person)──▶ canary
      ▲                                  ▲ ▲                                │  │
      │                                  │ └───────────(it failed)──────────┘  │
      └──(none waits any more)─── ramp ──┘◀────────────(it went well)──────────┘
                             (some failed)

Promises: pure. A dependency is known by its name alone, which steps and actions state
under `uses`. What becomes of one that is paused follows from where it stands and what
was seen of it: `decide` looks at nothing else, and at no clock. Must not know how
attempts are counted, who acts, or where any of it is kept.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from .states import StepStatus

_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

NAME_PATTERN = _NAME.pattern
NAME_RULE = (
    "must be a lower-case letter followed by up to 63 of a-z, 0-9, dots, hyphens and _"
)

MOST_ROUNDS = 10
"""After so many rounds of a ramp, a thousand in the last, all others go on at once."""

MOST_COUNTED = 1_000
"""The most attempts of which a share can be asked for."""

_DEFAULT_PAUSE_AT = 0.5
_MOST_SECONDS = 30 * 86_400
_TIMES = (
    *("window_seconds", "cooldown_seconds", "most_cooldown_seconds"),
    *("canary_seconds", "ramp_seconds"),
)
_MOST_DOUBLINGS = 30


def is_dependency_name(text: str) -> bool:
    """Say whether a dependency can be called `text`."""
    return bool(_NAME.fullmatch(text))


class DependencyState(StrEnum):
    """Whether steps that use something start.

    In the words of circuit breakers, `free` is closed, `paused` is open, and `canary`
    and `ramp` are half-open.
    """

    FREE = "free"
    PAUSED = "paused"
    CANARY = "canary"
    RAMP = "ramp"


@dataclass(frozen=True)
class DependencyGuard:
    """When a dependency is paused by itself, and how it is tried again.

    It is paused when `pause_at`, a share, of its last `of_last` attempts have failed,
    if there were as many within `window_seconds`; without `pause_at` only people pause
    it. After `cooldown_seconds`, which double with each pause in a row up to
    `most_cooldown_seconds`, one step is let through, which may run for
    `canary_seconds`; then more, every `ramp_seconds`. `on` and `not_on` name the errors
    that are its failures, as in a retry.
    """

    pause_at: float | None = None
    of_last: int = 20
    window_seconds: float | None = None
    cooldown_seconds: float = 30.0
    most_cooldown_seconds: float = 600.0
    canary_seconds: float = 300.0
    ramp_seconds: float = 5.0
    on: tuple[str, ...] = ()
    not_on: tuple[str, ...] = ()

    def compute_cooldown(self, pauses: int) -> timedelta:
        """Return how long the `pauses`-th pause in a row lasts, counted from 1."""
        doublings = min(max(pauses - 1, 0), _MOST_DOUBLINGS)
        seconds = self.cooldown_seconds * 2**doublings
        return timedelta(seconds=min(seconds, self.most_cooldown_seconds))

    def find_faults(self) -> dict[str, str]:
        """Return what is wrong with fields, by their names."""
        faults = {}
        if self.pause_at is not None and not 0 < self.pause_at <= 1:
            faults["pause_at"] = f"is {self.pause_at:g}, not a share above 0, up to 1"
        if not 1 <= self.of_last <= MOST_COUNTED:
            faults["of_last"] = f"is {self.of_last}, not 1 to {MOST_COUNTED:,}"
        for name in _TIMES:
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= _MOST_SECONDS:
                faults[name] = f"is {seconds:g}, not above 0, up to {_MOST_SECONDS:,}"
        if "most_cooldown_seconds" not in faults and (
            self.most_cooldown_seconds < self.cooldown_seconds
        ):
            faults["most_cooldown_seconds"] = (
                f"is less than cooldown_seconds, {self.cooldown_seconds:g}"
            )
        return faults


@dataclass(frozen=True)
class Canary:
    """The step that is let through first, and how far it is.

    `has_failed` is None as long as its attempt says nothing of the dependency.
    """

    status: StepStatus
    is_parked: bool
    is_paused: bool
    """Whether its execution is, so that it does not start."""
    has_failed: bool | None
    given_at: datetime
    began_at: datetime | None


@dataclass(frozen=True)
class Trial:
    """A dependency as it stands at `now`, with what was seen since it is tried again.

    Of those that were let through, the canary among them, `failed` and `well` have been
    judged, and `open_passes` will be; `parked` are steps that wait and can be let
    through.
    """

    name: str
    state: DependencyState
    since: datetime
    now: datetime
    is_paused_by_rate: bool
    pauses: int
    round: int
    look_at: datetime | None
    reason: str | None = None
    guard: DependencyGuard = field(default_factory=DependencyGuard)
    parked: int = 0
    canary: Canary | None = None
    failed: int = 0
    well: int = 0
    open_passes: int = 0


@dataclass(frozen=True)
class DependencySummary:
    """How a dependency stands, and why.

    `parked_steps` wait for it, `passed_steps` were let through since it is tried. Where
    it is guarded, `failures` of its last `attempts` have failed.
    """

    name: str
    state: DependencyState
    since: datetime
    by: str | None
    reason: str | None
    look_at: datetime | None
    pauses: int
    parked_steps: int
    passed_steps: int
    attempts: int
    failures: int
    guard: DependencyGuard
    guarded_by: str | None
    guard_reason: str | None
    guarded_at: datetime | None


@dataclass(frozen=True)
class Move:
    """What becomes of a dependency: where it stands then, and who is let through.

    `give` steps are let through, as the canary if that is the new state; `look_at` is
    when it is to be decided upon again, None for never. `withdraws` takes back what
    the canary was given.
    """

    state: DependencyState
    look_at: datetime | None
    give: int = 0
    withdraws: bool = False
    reason: str | None = None


def decide(seen: Trial) -> Move:
    """Return what becomes of a dependency."""
    match seen.state:
        case DependencyState.FREE:
            return Move(DependencyState.FREE, None)
        case DependencyState.PAUSED:
            return _decide_paused(seen)
        case DependencyState.CANARY:
            return _decide_canary(seen)
        case DependencyState.RAMP:
            return _decide_ramp(seen)


def _decide_paused(seen: Trial) -> Move:
    if not seen.is_paused_by_rate:
        # who has paused it resumes it
        return Move(DependencyState.PAUSED, None)
    until = seen.since + seen.guard.compute_cooldown(seen.pauses)
    if seen.now < until:
        return Move(DependencyState.PAUSED, until)
    return _try_one(seen, reason="its cooldown is over")


def _decide_canary(seen: Trial) -> Move:
    canary = seen.canary
    if canary is None:
        return _try_one(seen)
    if canary.has_failed is not None:
        return _follow_canary(seen, has_failed=canary.has_failed)
    latest = timedelta(seconds=seen.guard.canary_seconds)
    match canary.status:
        case StepStatus.RUNNING:
            is_slow = seen.now >= (canary.began_at or canary.given_at) + latest
            if is_slow:
                reason = f"the canary ran for more than {latest.total_seconds():g} s"
                return Move(DependencyState.PAUSED, seen.now, reason=reason)
            return _watch(seen)
        case StepStatus.READY:
            waits_on = not canary.is_paused and seen.now < canary.given_at + latest
        case StepStatus.WAITING:
            waits_on = (
                canary.is_parked
                and not canary.is_paused
                and seen.now < canary.given_at + latest
            )
        case _:
            # it has ended, or begins anew, and has shown nothing
            waits_on = False
    return _watch(seen) if waits_on else _try_one(seen, withdraws=True)


def _follow_canary(seen: Trial, *, has_failed: bool) -> Move:
    if has_failed:
        return Move(DependencyState.PAUSED, seen.now, reason="the canary failed")
    return Move(DependencyState.RAMP, seen.now, reason="the canary went well")


def _try_one(
    seen: Trial, *, withdraws: bool = False, reason: str | None = None
) -> Move:
    # without any that waits, the next one to come is it
    give = min(1, seen.parked)
    look_at = seen.now + timedelta(seconds=1)
    return Move(DependencyState.CANARY, look_at, give, withdraws, reason)


def _watch(seen: Trial) -> Move:
    return Move(DependencyState.CANARY, seen.now + timedelta(seconds=1))


def _decide_ramp(seen: Trial) -> Move:
    judged = seen.failed + seen.well
    share = seen.guard.pause_at or _DEFAULT_PAUSE_AT
    if seen.failed and seen.failed >= share * judged:
        reason = f"{seen.failed} of {judged} failed that were let through"
        return Move(DependencyState.PAUSED, seen.now, reason=reason)
    if seen.look_at is not None and seen.now < seen.look_at:
        return Move(DependencyState.RAMP, seen.look_at)
    is_over = not seen.parked and not seen.open_passes
    if is_over or seen.round >= MOST_ROUNDS:
        return Move(DependencyState.FREE, None, reason="the ramp is over")
    # those under way are never more than twice those that went well
    room = max(0, 2 * seen.well - seen.open_passes)
    look_at = seen.now + timedelta(seconds=seen.guard.ramp_seconds)
    return Move(DependencyState.RAMP, look_at, min(2**seen.round, room, seen.parked))
