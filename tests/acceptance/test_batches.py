"""A batch that real workers carry out, through the end of all of them."""

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.batches import BatchStatus
from execution.filters import ExecutionFilter
from tests.polling import wait_until
from tests.worker_process import WorkerProcess

PLAN = Plan("waiting", steps=[Step("only", action="test.nothing", queue="nobody")])


@pytest.mark.usefixtures("untraced")
def test_a_batch_goes_on_when_all_workers_were_killed_in_the_middle(
    engine: ExecutionEngine, settings: Settings
) -> None:
    ids = engine.submit_many(PLAN, [{}] * 50)
    batch_id = engine.act_on_many(
        "pause", ExecutionFilter(plan="waiting"), by="ann", rate_per_second=5
    )

    with WorkerProcess.start(settings, slots=1) as worker:
        wait_until(lambda: engine.get_batch(batch_id).done >= 5, what="a few acts")
        worker.kill()
    half_way = engine.get_batch(batch_id)
    with WorkerProcess.start(settings, slots=1):
        batch = engine.wait_batch(batch_id, timeout_seconds=60)

    assert 5 <= half_way.done < 50
    assert (batch.status, batch.done) == (BatchStatus.COMPLETED, 50)
    paused = [e for i in ids for e in engine.list_events(i) if "paused" in e.type]
    assert len(paused) == 50
    assert {e.data["batch"] for e in paused} == {batch_id}
    assert {engine.get_status(i).status for i in ids} == {ExecutionStatus.PAUSED}
    # 50 acts at 5 a second, and a second's worth beforehand
    took = max(e.at for e in paused) - min(e.at for e in paused)
    assert took.total_seconds() > 7
