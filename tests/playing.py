"""A worker that is played by hand: it claims steps, tells of them, and ends them."""

import json
import uuid

from execution import Settings, StepStatus
from execution.answers import Claim, Recorded
from execution.liveness import LivenessRecords
from execution.records import StepRecords

ACTIONS = '[{"name": "test.nothing"}]'


class PlayedWorker:
    """Runs steps of `test.nothing`, each when it is told to."""

    def __init__(
        self, records: StepRecords, liveness: LivenessRecords, settings: Settings
    ) -> None:
        """Sign on."""
        self._records = records
        self._id = str(uuid.uuid4())
        liveness.register_worker(
            self._id,
            hostname="played",
            pid=1,
            pool="none",
            slots=8,
            queues=[settings.queue],
            actions=ACTIONS,
        )

    def begin(self, execution_id: str, position: int = 0, *, epoch: int = 1) -> Claim:
        """Claim a step."""
        answer = self._records.claim(
            execution_id,
            (position,),
            epoch=epoch,
            token=str(uuid.uuid4()),
            worker_id=self._id,
            delivery="played",
        )
        assert answer.claim is not None, answer
        return answer.claim

    def tell(self, begun: Claim, percent: float, message: str | None = None) -> None:
        """Report progress."""
        assert self._records.report_progress(
            begun.held, percent, message, chunks=None, records=None
        )

    def report(self, begun: Claim, *metrics: tuple[str, float]) -> None:
        """Report metrics."""
        rows = [{"name": name, "value": value} for name, value in metrics]
        assert self._records.append_observations(begun.held, "[]", json.dumps(rows))

    def complete(self, begun: Claim) -> None:
        """End a step with success."""
        done = self._records.complete(begun.held, StepStatus.COMPLETED, epoch=1)
        assert done.outcome is Recorded.RECORDED

    def run(self, execution_id: str, *, steps: int = 1, since: int = 0) -> None:
        """Run what is left of an execution whose steps follow each other."""
        for position in range(since, steps):
            self.complete(self.begin(execution_id, position))
