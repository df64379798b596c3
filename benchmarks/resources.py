"""What a workload costs in CPU time and memory, read from the processes themselves."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from benchmarks.stage import Stage

_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class CpuSeconds:
    """CPU time by who spent it."""

    workers: float
    postgres: float
    redis: float
    client: float

    def per_step_ms(self, before: "CpuSeconds", steps: int) -> dict[str, float]:
        """Return the milliseconds per step since `before`."""
        return {
            name: 1000 * (getattr(self, name) - getattr(before, name)) / steps
            for name in ("workers", "postgres", "redis", "client")
        }


def read_cpu(stage: Stage, workers: Sequence[psutil.Process]) -> CpuSeconds:
    """Return the CPU time that each has used since it was started."""
    return CpuSeconds(
        workers=sum(read_tree_seconds(worker) for worker in workers),
        postgres=read_tree_seconds(psutil.Process(stage.postgres.server_pid)),
        redis=read_tree_seconds(psutil.Process(stage.valkey.server_pid)),
        client=time.process_time(),
    )


def read_tree_seconds(root: psutil.Process) -> float:
    """Return the CPU time of a process and its children, ended ones included."""
    seconds = 0.0
    for process in [root, *root.children(recursive=True)]:
        # one that ends meanwhile is counted by its parent from the next look on
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds


def read_memory_mb(roots: Sequence[psutil.Process]) -> float:
    """Return what processes and their children take, shared pages by their share."""
    total = 0
    for root in roots:
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
    return total / 2**20


class PeakMemory:
    """Looks twice a second, for as long as its block runs, and keeps the most."""

    def __init__(self, roots: Sequence[psutil.Process]) -> None:
        """Watch those processes and their children."""
        self.megabytes = 0.0
        self._roots = roots
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        self.megabytes = max(self.megabytes, read_memory_mb(self._roots))

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Look once more, so that a short block has a figure."""
        self._ended.set()
        self._thread.join()
        self._look()
