"""Rounds: every system has its turn in each, so that all see the same machine.

In a turn a system's workers are started, warmed up, measured and stopped; no worker of
another system is there meanwhile. Whatever is not there says why, and nothing else may
fail.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from benchmarks.results import Collector
from benchmarks.stage import Stage
from benchmarks.systems.system import NotThereError, System
from benchmarks.workloads import WITH_WORKERS, Size, Turn, measure_hops, warm_up


@dataclass(frozen=True)
class Rounds:
    """What is run, on what, how often."""

    stage: Stage
    systems: Sequence[System]
    workloads: Collection[str]
    size: Size
    number: int
    collector: Collector
    say: Callable[[str], None]

    def run(self) -> None:
        """Run all rounds; the order of systems turns with them."""
        for number in range(self.number):
            self.say(f"round {number + 1} of {self.number}")
            shift = number % len(self.systems)
            for system in [*self.systems[shift:], *self.systems[:shift]]:
                self.say(f"  {system.title}")
                self._run_turn(system)

    def _run_turn(self, system: System) -> None:
        try:
            system.require(self.stage)
        except NotThereError as error:
            for workload in self.workloads:
                if self._is_wanted(workload, system):
                    self._leave_out(workload, system, str(error))
            return
        self._run_with_workers(system)
        if self._is_wanted("hops", system):
            self._try("hops", system, self._run_hops)
        if self._is_wanted("submit", system):
            self._try("submit", system, self._run_submits)

    def _run_with_workers(self, system: System) -> None:
        names = [name for name in WITH_WORKERS if self._is_wanted(name, system)]
        if not names:
            return
        with system.run(self.stage) as running:
            turn = Turn(self.stage, system, running, self.size, self.collector)
            warm_up(turn)
            for name in names:
                measure = WITH_WORKERS[name]
                self._try(name, system, lambda _, run=measure: run(turn))  # type: ignore[misc]  # bound to this pass

    def _run_hops(self, system: System) -> None:
        with system.run_two_queues(self.stage) as running:
            turn = Turn(self.stage, system, running, self.size, self.collector)
            warm_up(turn)
            measure_hops(turn)

    def _run_submits(self, system: System) -> None:
        executions, steps = self.size.submitted, self.size.steps
        for measure, time_it in (
            ("one by one", system.time_submits),
            ("in bulk", system.time_bulk_submit),
        ):
            key = ("submit", system.name, measure, "s")
            try:
                seconds = time_it(self.stage, executions, steps)
            except NotThereError as error:
                self.collector.leave_out(*key, str(error))
            else:
                self.collector.add(*key, seconds)

    def _try(
        self, workload: str, system: System, run: Callable[[System], None]
    ) -> None:
        try:
            run(system)
        except NotThereError as error:
            self._leave_out(workload, system, str(error))

    def _is_wanted(self, workload: str, system: System) -> bool:
        return workload in self.workloads and workload not in system.leaves_out

    def _leave_out(self, workload: str, system: System, reason: str) -> None:
        self.collector.leave_out(workload, system.name, "", "", reason)
