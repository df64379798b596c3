"""Random plans end as a second opinion says, whatever order chance has given them."""

import random
from typing import Any

import pytest

from execution import ExecutionEngine, Plan, Settings
from execution.database import Database
from execution.repository import ExecutionRepository
from execution.results import Event
from tests.conformance.interpreter import Interpreter
from tests.conformance.scenarios import PARAMETERS, draw_scenario
from tests.conformance.stage import Stage
from tests.timeline import check_timeline, read_timeline

# chance repeats what the rows of rules have covered
pytestmark = pytest.mark.usefixtures("untraced")

SEEDS = 60
ENDS = {
    *("step.waiting", "step.completed", "step.failed", "step.skipped"),
    *("step.cancelled", "step.timed_out", "recovery.initiated"),
}
"""What a running step comes to, for all that its worker tells."""


@pytest.fixture(scope="module", autouse=True)
def few_lanes(database: Database) -> None:
    """Let a fan-out of a few steps be wider than what is sent of it."""
    database.query(
        "CREATE OR REPLACE FUNCTION {schema}.publish_limit(p_queue text) RETURNS int"
        " LANGUAGE sql VOLATILE AS $$ SELECT 2 $$; SELECT 1"
    )


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_plan_ends_as_the_pages_say(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
    seed: int,
) -> None:
    dice = random.Random(f"stage {seed}")
    scenario = draw_scenario(seed)
    stage = Stage(settings, database, repository, dice, scenario.fate_of)
    stage.share_of_cancels = dice.choice([0.0, 0.0, 0.0, 0.05])
    plan = Plan.from_mapping(scenario.document)

    execution_id = stage.play(plan, PARAMETERS)

    check_timeline(engine, execution_id)
    opinion = Interpreter(scenario.document, PARAMETERS, scenario.fate_of)
    for event in read_timeline(engine, execution_id):
        follow(opinion, event)
    assert list_steps(engine, database, execution_id) == foretell(opinion)
    ended = engine.get_result(execution_id)
    assert (str(ended.status), ended.value) == opinion.conclude()


def follow(opinion: Interpreter, event: Event) -> None:
    """Tell the interpreter what chance has decided, and nothing else."""
    step = name_then(opinion, str(event.step))
    node = opinion.nodes.get(step)
    is_running = node is not None and node.status == "running"
    match event.type:
        case "step.started":
            opinion.start(step)
        case "step.retrying":
            opinion.retry(step, parks=False)
        case "step.waiting" if not {"items", "iteration", "fallback"} & set(event.data):
            opinion.retry(step, parks=True)
        case "step.ready" if node is not None and node.parks:
            opinion.wake(step)
        case "execution.ending" if event.data["reason"] == "cancel":
            opinion.cancel()
        case kind if kind in ENDS and is_running:
            opinion.end(step)


def name_then(opinion: Interpreter, name: str) -> str:
    """Return what a step was called: items from before a restore have later names."""
    return name if name in opinion.nodes else name.partition("~")[0]


def list_steps(
    engine: ExecutionEngine, database: Database, execution_id: str
) -> dict[str, Any]:
    """Return what the tables say of every step, without times and ids."""
    rows = database.query(
        "SELECT name, status, reason, attempt, result, error ->> 'code' AS code"
        " FROM {schema}.execution_steps WHERE execution_id = %s",
        (execution_id,),
    )
    return {
        row["name"]: (
            row["status"],
            row["reason"] in {"condition", "failed"} and row["reason"],
            row["attempt"],
            row["result"],
            row["code"],
        )
        for row in rows
    }


def foretell(opinion: Interpreter) -> dict[str, Any]:
    """Return what the interpreter says of every step."""
    return {
        name: (
            node.status,
            node.reason in {"condition", "failed"} and node.reason,
            node.attempt,
            node.result,
            node.error and node.error["code"],
        )
        for name, node in opinion.list_ended().items()
    }
