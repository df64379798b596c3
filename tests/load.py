"""Executions that are submitted all the time, while something happens to the servers.

In the end each of them must have completed, and each step have run once.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from execution import ExecutionEngine
from execution.errors import PlansError
from tests.outages import read_lines, work_plan
from tests.timeline import check_timeline

STEPS = 2
_PAUSE_SECONDS = 0.25
_END_SECONDS = 60


@dataclass
class Load:
    """Submits executions, one after the other, until it is told to end."""

    engine: ExecutionEngine
    ledger: Path
    execution_ids: list[str] = field(default_factory=list)
    refusals: list[PlansError] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin."""
        self._plan = work_plan(self.ledger, steps=STEPS)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._submit_on)
        self._thread.start()

    def _submit_on(self) -> None:
        while not self._ending.wait(_PAUSE_SECONDS):
            key = f"{self.ledger} {len(self.execution_ids)}"
            try:
                submitted = self.engine.submit(self._plan, idempotency_key=key)
            except PlansError as error:
                # as the page says: again, under the same key
                self.refusals.append(error)
            else:
                self.execution_ids.append(submitted)

    def submit_more(self, count: int) -> None:
        """Submit so many at once."""
        self.execution_ids += self.engine.submit_many(self._plan, [{}] * count)

    def end(self) -> None:
        """Submit no more."""
        self._ending.set()
        self._thread.join()

    def check(self) -> None:
        """See all executions complete, and that no step has run twice."""
        for execution_id in self.execution_ids:
            result = self.engine.wait(execution_id, timeout_seconds=_END_SECONDS)
            assert result.is_success, result.error
            check_timeline(self.engine, execution_id)
        runs = Counter(read_lines(self.ledger))
        assert len(runs) == len(self.execution_ids) * (STEPS + 1)
        assert set(runs.values()) == {1}, runs.most_common(3)


@contextmanager
def under_load(engine: ExecutionEngine, ledger: Path) -> Iterator[Load]:
    """Run the block while executions are submitted and run; see that all complete."""
    load = Load(engine, ledger)
    try:
        yield load
    finally:
        load.end()
    load.check()
