"""What every measured system can be asked to do, and how it says that it cannot."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager

import psutil

from benchmarks.stage import Stage

WAIT_SECONDS = 300.0
"""After this long a system is called stuck, and the benchmark fails."""


class NotThereError(Exception):
    """The system has no such thing, or is not installed; says which and why."""


class Running(ABC):
    """A system whose workers run: two slots in all."""

    workers: Sequence[psutil.Process]

    @abstractmethod
    def start_chain(self, steps: int) -> str:
        """Submit one chain of steps that do nothing, and return its id."""

    @abstractmethod
    def wait(self, ids: Sequence[str]) -> Mapping[str, float]:
        """Wait until all have ended; return the time of day at which each did."""

    @abstractmethod
    def check(self, ids: Sequence[str], steps: int) -> None:
        """Assert that each of them ran all its steps, and each step once."""

    def prepare_chain(self, steps: int) -> None:  # noqa: B027  # most need nothing
        """Do what is done once for each kind of chain, before any is timed."""

    def prepare_fan_out(self, width: int) -> None:  # noqa: B027  # most need nothing
        """Do what is done once for each kind of fan-out."""

    def start_fan_out(self, width: int) -> str:
        """Submit one step, `width` parallel ones after it, and one after all."""
        raise NotThereError("it has no joins")

    def time_chains(self, executions: int, steps: int) -> float:
        """Return the seconds from the first submit to the last end; check all."""
        begun = time.perf_counter()
        ids = [self.start_chain(steps) for _ in range(executions)]
        self.wait(ids)
        seconds = time.perf_counter() - begun
        self.check(ids, steps)
        return seconds


class System(ABC):
    """One row of the tables."""

    name: str
    title: str
    leaves_out: Collection[str] = ()
    """Workloads that it has no row in, for it is there to show something else."""

    def require(self, stage: Stage) -> None:  # noqa: B027  # most are there
        """Raise NotThereError when it cannot be run here."""

    @abstractmethod
    def run(self, stage: Stage) -> AbstractContextManager[Running]:
        """Run its workers for as long as the block runs."""

    def run_two_queues(self, stage: Stage) -> AbstractContextManager[Running]:
        """Run one worker for each of two queues; chains alternate between them."""
        raise NotThereError("not built for it")

    def time_submits(self, stage: Stage, executions: int, steps: int) -> float:
        """Return the seconds for submitting one by one, while no worker runs."""
        raise NotThereError("nothing is submitted")

    def time_bulk_submit(self, stage: Stage, executions: int, steps: int) -> float:
        """Return the seconds for submitting all with one call."""
        raise NotThereError("it has no call for many")
