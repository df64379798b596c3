"""Random plans that failed, retried once nothing fails any more.

What a preview has said is what runs, what had been done is not done again, and the end
is that of an execution that never failed.
"""

import random
import uuid
from dataclasses import replace
from typing import Any

import pytest

from execution import ExecutionEngine, Plan, Settings
from execution.acts import Act, Refusal
from execution.database import Database
from execution.operations import OperationRecords
from execution.repository import ExecutionRepository
from execution.results import StepSummary
from tests.conformance.nodes import Fate
from tests.conformance.scenarios import PARAMETERS, Scenario, draw_scenario
from tests.conformance.stage import Stage
from tests.timeline import check_timeline

# chance repeats what the rows of rules have covered
pytestmark = pytest.mark.usefixtures("untraced")

SEEDS = 30
SETTLED = {"completed", "skipped"}


def without_rollback(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document whose executions can be retried whatever they have done."""
    steps = [
        {name: value for name, value in step.items() if name != "undo"}
        for step in document["steps"]
    ]
    kept = {name: value for name, value in document.items() if name != "rollback"}
    return {**kept, "steps": steps}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_plan_that_failed_goes_on(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
    seed: int,
) -> None:
    dice, scenario = random.Random(f"retry {seed}"), draw_scenario(seed)
    scenario = replace(scenario, share_of_failures=0.4)
    plan = Plan.from_mapping(without_rollback(scenario.document))
    stage = Stage(settings, database, repository, dice, scenario.fate_of)
    stage.share_of_cancels = dice.choice([0.0, 0.0, 0.05])
    execution_id = stage.begin(plan, PARAMETERS)
    check_timeline(engine, execution_id)
    before = engine.list_steps(execution_id)
    stage.share_of_cancels = 0.0
    stage.fate_of = lambda step: heal(scenario, step)

    ran = go_on(engine, stage, execution_id)

    check_timeline(engine, execution_id)
    if ran is not None:
        check_what_stays(before, engine.list_steps(execution_id), ran)
    tolerated = any(step.reason == "failed" for step in before)
    ended = engine.get_result(execution_id)
    if ended.status == "completed" and not tolerated and ran is not None:
        again = stage.begin(plan, PARAMETERS)
        assert engine.get_result(again).value == ended.value
    stage.close()


def heal(scenario: Scenario, step: str) -> Fate:
    return replace(scenario.fate_of(step), failing_attempts=0)


def go_on(engine: ExecutionEngine, stage: Stage, execution_id: str) -> set[int] | None:
    """Retry an execution, and compare what runs with what was said of it."""
    operations = OperationRecords(stage.database)
    preview, refusal, _ = operations.preview(Act.RETRY, execution_id)
    execution = engine.get_status(execution_id)
    answer = operations.operate(
        Act.RETRY, execution_id, act_id=str(uuid.uuid4()), epoch=execution.epoch
    )
    assert answer.refusal == refusal
    if preview is None:
        expected = Refusal.STATE
        if execution.status == "failed":
            expected = Refusal.NOTHING_FAILED
        assert refusal is expected
        return None
    # items of a time before a restore have other names by now
    places = {step.name: step.position for step in engine.list_steps(execution_id)}
    said = {places[step.step] for step in preview.steps}
    stage.go_on(answer.move.windows)
    steps = {step.position: step for step in engine.list_steps(execution_id)}
    since = engine.list_events(execution_id, after=execution.last_seq, limit=100_000)

    def find(kind: str) -> set[int]:
        places = {step.name: at for at, step in steps.items()}
        return {places[str(event.step)] for event in since if event.type == kind}

    moved = find("step.added") | find("step.waiting")
    for event in since:
        if event.type == "checkpoint.restored":
            moved |= {places[name] for name in event.data["steps"] if name in places}
    assert find("step.started") - said <= moved, "what was not foreseen ran"
    for position in said - find("step.started"):
        assert str(steps[position].status) in {"skipped", "cancelled"}
    return said | moved


def check_what_stays(
    before: tuple[StepSummary, ...], after: tuple[StepSummary, ...], ran: set[int]
) -> None:
    """Assert that what was settled, and was not to run, is what it was."""
    for step, now in zip(before, after, strict=False):
        is_set_aside = now.reason in {"retried", "unused"}
        is_settled = str(step.status) in SETTLED and not is_set_aside
        if step.position not in ran and is_settled:
            assert (now.status, now.attempt) == (step.status, step.attempt)
