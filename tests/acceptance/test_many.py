"""A load of plans over two worker processes: all complete, none twice."""

from collections import Counter

from execution import ExecutionEngine, Plan, Settings, Step
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

EXECUTIONS = 100
STEPS = 10


def test_a_hundred_executions_record_every_step_once(
    engine: ExecutionEngine, settings: Settings
) -> None:
    plan = Plan(
        "many", steps=[Step(f"s{n}", action="test.nothing") for n in range(STEPS)]
    )
    with WorkerProcess.start(settings, slots=1), WorkerProcess.start(settings, slots=1):
        execution_ids = [engine.submit(plan) for _ in range(EXECUTIONS)]

        results = [engine.wait(i, timeout_seconds=60) for i in execution_ids]

    assert all(result.is_success for result in results)
    for execution_id in execution_ids:
        check_timeline(engine, execution_id)
        ends = Counter(
            event.step
            for event in read_timeline(engine, execution_id)
            if event.type == "step.completed"
        )
        assert ends == Counter(f"s{n}" for n in range(STEPS))
