"""The patterns of control flow that plans can express, as their page shows them."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from execution import ExecutionEngine, ExecutionResult, ExecutionStatus, Plan
from execution.filters import ExecutionFilter
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import ROOT

PAGE = (ROOT / "docs/patterns.md").read_text("utf-8")

pytestmark = pytest.mark.usefixtures("shared_worker")


class Row(NamedTuple):
    """A row of the page's table."""

    number: int
    state: str
    test: str


ROWS = [
    Row(int(number), state, test)
    for number, state, test in re.findall(
        r"^\| (\d+) \| [^|]+ \| (\w+) \| [^|]+ \| (?:`(test_\w+)` )?\|$", PAGE, re.M
    )
]
PLANS = {
    plan.name: plan
    for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for plan in [Plan.from_text(text)]
}


@pytest.fixture
def plan(request: pytest.FixtureRequest, engine: ExecutionEngine) -> Plan:
    """The plan of the pattern for which the page names the test.

    The plans that it runs are published, itself as well where it is one of them.
    """
    test = request.function.__name__
    (number,) = [row.number for row in ROWS if row.test == test]
    name = f"pattern-{number}"
    inner = [plan for other, plan in PLANS.items() if other.startswith(f"{name}-")]
    for published in inner or [PLANS[name]]:
        engine.publish(published)
    return PLANS[name]


def run(engine: ExecutionEngine, plan: Plan, **parameters: Any) -> ExecutionResult:
    result = engine.execute(plan, parameters, timeout_seconds=60)
    check_timeline(engine, result.execution_id)
    assert result.status is ExecutionStatus.COMPLETED
    return result


def ends_of(engine: ExecutionEngine, execution_id: str) -> dict[str, str]:
    return {s.name: s.status.value for s in engine.list_steps(execution_id)}


def taken(engine: ExecutionEngine, result: ExecutionResult) -> set[str]:
    """Return which steps were not skipped."""
    ends = ends_of(engine, result.execution_id)
    return {name for name, end in ends.items() if end != "skipped"}


def find_child(engine: ExecutionEngine, execution_id: str) -> str:
    """Return the id of the only execution within one, as soon as it is there."""
    wanted = ExecutionFilter(parent_id=execution_id)
    (child,) = wait_until(
        lambda: engine.list_executions(wanted).items, what="a plan within"
    )
    return str(child.id)


def cancel_child(
    engine: ExecutionEngine, plan: Plan, ledger: Path, running: int
) -> tuple[ExecutionResult, dict[str, str]]:
    """Run a plan, cancel that within once so many of its steps run, and wait.

    Returns the result, and how the steps of the plan within have ended.
    """
    execution_id = engine.submit(plan, {"ledger": str(ledger)})
    wait_until(
        lambda: len(read_lines(ledger)) == running, what="the work to be under way"
    )
    child_id = find_child(engine, execution_id)

    engine.cancel(child_id)

    return finish(engine, execution_id), ends_of(engine, child_id)


def check_alternation(ledger: Path, executions: int) -> list[str]:
    """Assert that no two executions overlap; return them in their order.

    Each has noted its steps, one after another.
    """
    marks = [json.loads(line) for line in read_lines(ledger)]
    entered = [mark["execution"] for mark in marks if mark["step"] == "enter"]
    assert [(mark["execution"], mark["step"]) for mark in marks] == [
        (execution, step) for execution in entered for step in ("enter", "leave")
    ]
    assert len(set(entered)) == executions
    return entered


def wait_for_step(engine: ExecutionEngine, execution_id: str, step: str) -> None:
    """Wait until a step has completed."""
    wait_until(
        lambda: ends_of(engine, execution_id)[step] == "completed",
        what=f"the end of {step}",
    )


def finish(engine: ExecutionEngine, execution_id: str) -> ExecutionResult:
    """Wait for the end of an execution that is to succeed."""
    result = engine.wait(execution_id, timeout_seconds=60)
    check_timeline(engine, execution_id)
    assert result.status is ExecutionStatus.COMPLETED
    return result


def list_moves(engine: ExecutionEngine, result: ExecutionResult) -> list[str]:
    """Return what happened to which step, in the order of the timeline."""
    events = read_timeline(engine, result.execution_id)
    return [f"{e.step} {e.type.partition('.')[2]}" for e in events if e.step]


def test_the_page_lists_every_pattern_once() -> None:
    assert [row.number for row in ROWS] == list(range(1, 44))
    assert {row.state for row in ROWS} == {"supported", "partly", "not"}


def test_what_is_called_supported_has_a_plan_and_a_test() -> None:
    shown = [row for row in ROWS if row.test]

    plans = [name for name in PLANS if name.count("-") == 1]
    assert plans == [f"pattern-{row.number}" for row in shown]
    assert [row.number for row in shown if row.state == "not"] == []
    assert [row for row in ROWS if row.state == "supported" and not row.test] == []
    assert [row.test for row in shown if row.test not in globals()] == []


def test_steps_follow_each_other(engine: ExecutionEngine, plan: Plan) -> None:
    result = run(engine, plan)

    assert result.unwrap() == 2
    moves = list_moves(engine, result)
    assert moves.index("first completed") < moves.index("second started")


def test_branches_are_ready_together(engine: ExecutionEngine, plan: Plan) -> None:
    moves = list_moves(engine, run(engine, plan))

    begun = min(moves.index("left started"), moves.index("right started"))
    assert moves.index("root completed") < moves.index("left ready") < begun
    assert moves.index("root completed") < moves.index("right ready") < begun


def test_a_join_waits_for_every_branch(engine: ExecutionEngine, plan: Plan) -> None:
    result = run(engine, plan)

    assert result.unwrap() == 3
    moves = list_moves(engine, result)
    ended = max(moves.index("left completed"), moves.index("right completed"))
    assert moves.index("join ready") > ended


@pytest.mark.parametrize(("cents", "branch"), [(5, "cheap"), (5000, "dear")])
def test_one_branch_of_a_choice_is_taken(
    engine: ExecutionEngine, plan: Plan, cents: int, branch: str
) -> None:
    assert taken(engine, run(engine, plan, cents=cents)) == {"root", branch}


@pytest.mark.parametrize(("cents", "branch"), [(5, "cheap"), (5000, "dear")])
def test_what_follows_a_choice_runs_once(
    engine: ExecutionEngine, plan: Plan, cents: int, branch: str
) -> None:
    result = run(engine, plan, cents=cents)

    assert result.unwrap() == [branch]
    assert list_moves(engine, result).count("merge started") == 1


@pytest.mark.parametrize("ways", [[], ["text"], ["mail", "call"]])
def test_any_number_of_branches_is_taken(
    engine: ExecutionEngine, plan: Plan, ways: list[str]
) -> None:
    assert taken(engine, run(engine, plan, ways=ways)) == {"root", *ways}


@pytest.mark.parametrize(
    ("ways", "arrived"), [(["text"], [2]), (["mail", "call"], [1, 3])]
)
def test_a_merge_waits_for_the_branches_that_were_taken(
    engine: ExecutionEngine, plan: Plan, ways: list[str], arrived: list[int]
) -> None:
    result = run(engine, plan, ways=ways)

    assert result.unwrap() == arrived
    assert list_moves(engine, result).count("merge started") == 1


def test_each_branch_runs_what_follows_for_itself(
    engine: ExecutionEngine, plan: Plan
) -> None:
    result = run(engine, plan)

    assert result.unwrap() == ["after left", "after right"]
    assert engine.count_executions(ExecutionFilter(parent_id=result.execution_id)) == 2


def test_the_first_of_several_branches_is_enough(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    execution_id = engine.submit(plan, {"gate": str(gate)})

    wait_for_step(engine, execution_id, "next")
    assert ends_of(engine, execution_id)["left"] != "completed"
    gate.touch()
    moves = list_moves(engine, finish(engine, execution_id))
    assert moves.index("next completed") < moves.index("left completed")
    assert moves.count("next started") == 1


def test_a_failure_leads_back_from_several_places(
    engine: ExecutionEngine, plan: Plan
) -> None:
    moves = list_moves(engine, run(engine, plan))

    begun = [move.split()[0] for move in moves if move.endswith(" started")]
    assert begun == ["draw", "check", "draw", "check", "sign", "check", "sign"]


def test_an_execution_ends_when_nothing_is_left(
    engine: ExecutionEngine, plan: Plan
) -> None:
    result = run(engine, plan)

    assert set(ends_of(engine, result.execution_id).values()) == {"completed"}
    last = read_timeline(engine, result.execution_id)[-1]
    assert last.type == "execution.completed"


def test_nothing_need_wait_for_the_items(
    engine: ExecutionEngine, plan: Plan, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    execution_id = engine.submit(plan, {"gate": str(gate), "ledger": str(ledger)})

    def has_answered() -> bool:
        return ends_of(engine, execution_id)["answer"] == "completed"

    wait_until(has_answered, what="the answer, while an item holds")
    assert ends_of(engine, execution_id)["tell"] != "completed"
    gate.touch()
    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.COMPLETED
    assert len(read_lines(ledger)) == 3


def test_the_plan_may_know_the_items(engine: ExecutionEngine, plan: Plan) -> None:
    assert run(engine, plan).unwrap() == [1, 4, 9]


def test_a_result_may_say_what_the_items_are(
    engine: ExecutionEngine, plan: Plan
) -> None:
    assert run(engine, plan).unwrap() == [16, 25]


@pytest.mark.parametrize("wanted", [1, 4])
def test_instances_go_on_until_there_are_enough(
    engine: ExecutionEngine, plan: Plan, wanted: int
) -> None:
    result = run(engine, plan, wanted=wanted)

    assert result.unwrap() == wanted
    assert f"each[{wanted - 1}]" in taken(engine, result)
    assert f"each[{wanted}]" not in taken(engine, result)


def test_steps_run_one_at_a_time_and_some_in_order(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    result = run(engine, plan, ledger=str(ledger))

    entered = check_alternation(ledger, 3)
    children = {
        step.name: step.child_id for step in engine.list_steps(result.execution_id)
    }
    assert entered.index(str(children["weigh"])) < entered.index(str(children["pack"]))


def test_one_activity_is_cancelled_alone(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    result, inner = cancel_child(engine, plan, ledger, running=1)

    assert result.unwrap() == "skipped"
    assert inner == {"work": "cancelled"}


@pytest.mark.parametrize("event", ["mail", "call"])
def test_what_happens_first_chooses_the_branch(
    engine: ExecutionEngine, plan: Plan, event: str
) -> None:
    execution_id = engine.submit(plan)
    wait_until(
        lambda: ends_of(engine, execution_id)["event"] == "waiting",
        what="the choice to be open",
    )

    engine.signal(execution_id, "customer-answers", {"by": event})

    result = finish(engine, execution_id)
    answers = {name for name in taken(engine, result) if name.startswith("answer")}
    assert answers == {f"answer_{event}"}


@pytest.mark.parametrize(
    ("before", "after"), [("arrival", "gate"), ("gate", "arrival")]
)
def test_a_step_waits_until_another_branch_is_so_far(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path, before: str, after: str
) -> None:
    files = {name: tmp_path / name for name in (before, after)}
    execution_id = engine.submit(plan, {name: str(files[name]) for name in files})

    files[before].touch()
    wait_for_step(engine, execution_id, "join_in" if before == "arrival" else "closed")
    files[after].touch()

    joined = "join_in" in taken(engine, finish(engine, execution_id))
    assert joined is (before == "arrival")


def test_a_cancel_ends_all_of_an_execution(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    execution_id = engine.submit(plan, {"ledger": str(ledger)})
    wait_until(lambda: read_lines(ledger), what="the work to begin")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert set(ends_of(engine, execution_id).values()) == {"cancelled"}


@pytest.mark.parametrize(("least", "reached"), [(0, 1), (9, 16), (64, 64)])
def test_a_loop_runs_until_it_is_enough(
    engine: ExecutionEngine, plan: Plan, least: int, reached: int
) -> None:
    assert run(engine, plan, least=least).unwrap() == reached


def test_a_plan_runs_itself(engine: ExecutionEngine, plan: Plan) -> None:
    assert run(engine, plan, n=5).unwrap() == 120


def test_a_region_is_cancelled_and_what_is_beside_it_is_not(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    result, inner = cancel_child(engine, plan, ledger, running=2)

    assert result.unwrap() == "skipped"
    assert set(inner.values()) == {"cancelled"}
    assert ends_of(engine, result.execution_id)["beside"] == "completed"


def test_all_items_are_cancelled_together(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    result, inner = cancel_child(engine, plan, ledger, running=2)

    assert result.unwrap() == "skipped"
    assert [inner[f"each[{number}]"] for number in range(3)] == ["cancelled"] * 3


def test_a_round_begins_when_all_branches_of_the_last_have_ended(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path
) -> None:
    gates = [tmp_path / "first", tmp_path / "second"]
    execution_id = engine.submit(plan, {"gates": [str(gate) for gate in gates]})
    round_id = find_child(engine, execution_id)

    wait_for_step(engine, round_id, "next")

    assert ends_of(engine, execution_id)["rounds[1]"] in {"pending", "ready"}
    for gate in gates:
        gate.touch()
    moves = list_moves(engine, finish(engine, execution_id))
    assert moves.index("rounds[0] completed") < moves.index("rounds[1] started")


def test_the_first_branch_cancels_the_others(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    result = run(engine, plan, ledger=str(ledger))

    assert result.unwrap() == "skipped"
    inner = ends_of(engine, find_child(engine, result.execution_id))
    assert (inner["left"], inner["right"]) == ("cancelled", "completed")


def test_what_remains_of_an_event_is_waited_for(
    engine: ExecutionEngine, plan: Plan
) -> None:
    execution_id = engine.submit(plan)

    engine.signal(execution_id, "trigger", "early")

    assert finish(engine, execution_id).unwrap() == "early"


def test_two_of_three_branches_are_enough(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    execution_id = engine.submit(plan, {"gate": str(gate)})

    wait_for_step(engine, execution_id, "next")
    assert ends_of(engine, execution_id)["left"] != "completed"
    gate.touch()
    moves = list_moves(engine, finish(engine, execution_id))
    assert moves.index("middle completed") < moves.index("next started")
    assert moves.index("right completed") < moves.index("next started")


def test_two_of_three_items_are_enough(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"

    execution_id = engine.submit(plan, {"gates": [str(gate), None, None]})

    wait_for_step(engine, execution_id, "next")
    assert ends_of(engine, execution_id)["each"] != "completed"
    gate.touch()
    finish(engine, execution_id)


def test_enough_items_cancel_the_others(
    engine: ExecutionEngine, plan: Plan, tmp_path: Path
) -> None:
    result = run(engine, plan, gates=[None, None, str(tmp_path / "never")])

    assert result.unwrap() == "skipped"
    inner = ends_of(engine, find_child(engine, result.execution_id))
    assert [inner[f"each[{number}]"] for number in range(3)] == [
        "completed",
        "completed",
        "cancelled",
    ]


@pytest.mark.parametrize(
    ("ways", "live"),
    [
        (["left"], {"left", "after_left", "both", "merge"}),
        (["right"], {"right", "both", "merge"}),
        (["left", "right"], {"left", "right", "after_left", "both", "merge"}),
        ([], set()),
    ],
)
def test_a_skip_ends_where_a_live_branch_joins(
    engine: ExecutionEngine, plan: Plan, ways: list[str], live: set[str]
) -> None:
    assert taken(engine, run(engine, plan, ways=ways)) == live


def test_sections_with_one_key_never_overlap(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    run(engine, plan, ledger=str(ledger))

    check_alternation(ledger, 2)


def test_activities_run_one_at_a_time(
    engine: ExecutionEngine, plan: Plan, ledger: Path
) -> None:
    run(engine, plan, ledger=str(ledger))

    check_alternation(ledger, 3)


def test_threads_become_one_again(engine: ExecutionEngine, plan: Plan) -> None:
    assert run(engine, plan).unwrap() == 2 + 5 + 10


def test_a_branch_becomes_several_threads(engine: ExecutionEngine, plan: Plan) -> None:
    result = run(engine, plan, threads=[1, 2])

    assert result.unwrap() == [2, 5]
    children = engine.list_executions(ExecutionFilter(parent_id=result.execution_id))
    assert {len(engine.list_steps(child.id)) for child in children.items} == {2}
