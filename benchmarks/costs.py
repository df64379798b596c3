"""The costs of celery-plans in counts, for the shapes that differ in them."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial

from benchmarks.counting import Costs, open_meter, take_least
from benchmarks.plans import build_chain, build_fan_out
from benchmarks.results import Collector
from benchmarks.stage import Stage
from benchmarks.workloads import Size
from execution import ExecutionEngine, Plan
from execution.installation import Installation
from tests.worker_process import WorkerProcess

_RUNS = 3
_STEPS = 32


def count_costs(stage: Stage, collector: Collector, size: Size) -> None:
    """Count on a worker of two processes; keep what each step costs."""
    with (
        ExecutionEngine(Installation(stage.settings, None)) as engine,
        open_meter(stage.stack) as meter,
        WorkerProcess.start(meter.name_worker(stage.settings), slots=2),
    ):
        for shape, (steps, run) in _list_shapes(engine, size).items():
            run()
            costs = [meter.measure(run, steps=steps) for _ in range(_RUNS)]
            _keep(collector, shape, take_least(costs))


def _list_shapes(
    engine: ExecutionEngine, size: Size
) -> Mapping[str, tuple[int, Callable[[], None]]]:
    chain, wide = build_chain(_STEPS), build_fan_out(_STEPS - 2)
    short = build_chain(size.steps)
    many = size.executions
    return {
        f"a chain of {_STEPS}": (_STEPS, partial(_run, engine, chain, 1)),
        f"a fan-out of {_STEPS}": (_STEPS, partial(_run, engine, wide, 1)),
        f"{many} chains of {size.steps} at once": (
            many * size.steps,
            partial(_run, engine, short, many),
        ),
    }


def _run(engine: ExecutionEngine, plan: Plan, executions: int) -> None:
    ids = [engine.submit(plan) for _ in range(executions)]
    for execution_id in ids:
        assert engine.wait(execution_id, timeout_seconds=120).is_success


def _keep(collector: Collector, shape: str, costs: Costs) -> None:
    for field in fields(costs):
        if field.name != "calls":
            measure = field.name.replace("_", " ")
            collector.add("counts", shape, measure, "", getattr(costs, field.name))
