"""Plays seeds on a stage: a schema with a clock that can be set, plans, an app.

A stage is opened once and used by many seeds, which leave nothing behind on it.
"""

import random
from collections import Counter
from dataclasses import dataclass

from execution.settings import Settings
from tests.simulation.broker import create_simulated_app
from tests.simulation.store import Store
from tests.simulation.world import LEASE_SECONDS, Stage, World

MOST_SECONDS = 3000.0
"""After so much virtual time, what is not over is stuck."""


@dataclass(frozen=True)
class Outcome:
    """What became of a seed; `reason` is None when every promise was kept."""

    seed: int
    reason: str | None
    counts: Counter[str]
    trace: tuple[str, ...]


class _CoarseSettings(Settings):
    """Settings with longer ticks: half as many rounds in which nothing happens."""

    @property
    def tick_seconds(self) -> float:
        """Time between two rounds of a reconciler, and its share of the pulse."""
        return self.beat_seconds


def open_stage(
    url: str,
    schema: str,
    *,
    muted: frozenset[str] = frozenset(),
    most_seconds: float = MOST_SECONDS,
    has_operators: bool = False,
) -> Stage:
    """Connect to a schema that `install` has made.

    `muted` functions answer nothing.
    """
    settings = _CoarseSettings(
        database_url=url,
        broker_url="memory://",
        schema=schema,
        lease_seconds=LEASE_SECONDS,
    )
    return Stage(
        store=Store(url, schema),
        settings=settings,
        app=create_simulated_app(settings),
        muted=muted,
        most_seconds=most_seconds,
        has_operators=has_operators,
    )


def play_seed(stage: Stage, seed: int, *, is_tracing: bool = False) -> Outcome:
    """Play one seed; the same one plays the same way each time."""
    state = random.getstate()
    random.seed(seed)
    try:
        with stage.store.seed():
            world = World(stage, seed, is_tracing=is_tracing)
            reason = world.play()
    finally:
        random.setstate(state)
    trace = tuple(world.scheduler.trace)
    return Outcome(seed, reason, world.misfortune.counts, trace)
