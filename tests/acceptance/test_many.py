"""Many executions that were submitted at once, run by a real worker."""

from execution import ExecutionEngine, Plan, Step
from tests.worker_process import WorkerProcess

PLAN = Plan(
    "many",
    parameters={"n": {"type": "integer", "required": True}},
    steps=[Step("one", action="test.echo", with_={"value": "${parameters.n}"})],
)


def test_all_of_them_are_run(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    ids = engine.submit_many(PLAN, [{"n": n} for n in range(300)])

    results = [engine.wait(i, timeout_seconds=60).unwrap() for i in ids]

    assert results == list(range(300))
