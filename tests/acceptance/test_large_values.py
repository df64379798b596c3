"""Results that are too large for a row, by real workers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.cli.app import app
from execution.database import Database
from execution.errors import PayloadLostError
from execution.large_values import REFERENCE_KEY
from execution.local import LocalStack
from execution.schema import upgrade
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess, build_environment

ROWS = 20_000


@pytest.fixture(scope="module")
def settings(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a folder for large values."""
    return replace(settings, payloads=str(tmp_path_factory.mktemp("payloads")))


def fill(name: str = "fill", rows: int = ROWS) -> Step:
    return Step(name, "test.fill", {"length": rows})


def list_files(settings: Settings, execution_id: str) -> list[Path]:
    folder = Path(str(settings.payloads)) / settings.schema / execution_id
    return sorted(folder.iterdir()) if folder.exists() else []


def find_input(database: Database, execution_id: str, position: int) -> Any:
    rows = database.query(
        "SELECT input FROM {schema}.execution_steps"
        ' WHERE execution_id = %s AND "position" = %s',
        (execution_id, position),
    )
    return rows[0]["input"]


@pytest.mark.usefixtures("shared_worker")
def test_a_large_result_is_handed_to_the_next_step(
    engine: ExecutionEngine, database: Database, settings: Settings
) -> None:
    count = Step("count", "test.count_rows", {"table": "${steps.fill.result}"})

    result = engine.execute(Plan("p", steps=[fill(), count]), timeout_seconds=60)

    assert result.unwrap() == ROWS
    (file,) = list_files(settings, result.execution_id)
    assert file.stat().st_size > 2**20
    recorded = find_input(database, result.execution_id, 1)["table"][REFERENCE_KEY]
    assert Path(recorded["path"]).name == file.name
    assert recorded["bytes"] == file.stat().st_size
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_expressions_see_into_it(engine: ExecutionEngine) -> None:
    read = {
        "last": f"${{steps.fill.result.rows.{ROWS - 1}.n}}",
        "count": "${size(steps.fill.result.rows)}",
    }
    steps = [
        fill(),
        Step("read", "test.echo", {"value": read}, when="size(steps.fill.result) == 1"),
    ]

    result = engine.execute(Plan("p", steps=steps), timeout_seconds=60)

    assert result.unwrap() == {"last": ROWS - 1, "count": ROWS}


@pytest.mark.usefixtures("shared_worker")
def test_there_are_items_of_it(engine: ExecutionEngine, settings: Settings) -> None:
    each = Step(
        "each",
        "test.fill",
        {"length": "${item.n * 6000}"},
        for_each="steps.fill.result.rows.filter(r, r.n > 0 && r.n < 3)",
    )
    count = Step(
        "count",
        "test.count_rows",
        {"table": "${item}"},
        for_each="steps.each.results",
    )
    sizes = Step("sizes", "test.echo", {"value": "${steps.count.results}"})
    plan = Plan("p", steps=[fill(), each, count, sizes])

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == [6_000, 12_000]
    assert len(list_files(settings, result.execution_id)) == 3
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_an_attempt_that_is_repeated_gets_it_again(
    engine: ExecutionEngine, ledger: Path
) -> None:
    inputs = {"table": "${steps.fill.result}", "ledger": str(ledger)}
    # the second wait is sat out in the database: the inputs are those of the record
    retry = {"attempts": 2, "initial": "3s", "wait": "fixed"}
    steps = [fill(), Step("count", "test.count_rows", inputs, retry=retry)]

    result = engine.execute(Plan("p", steps=steps), timeout_seconds=60)

    assert result.unwrap() == ROWS
    assert read_lines(ledger) == [f"count 1 {ROWS}", f"count 2 {ROWS}"]


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("template", [None, "${steps.fill.result}"])
def test_the_result_of_an_execution_can_be_large(
    engine: ExecutionEngine, template: str | None
) -> None:
    plan = Plan("p", steps=[fill()], result=template)

    result = engine.execute(plan, timeout_seconds=60)

    assert len(result.unwrap()["rows"]) == ROWS
    recorded = engine.get_status(result.execution_id).result
    assert list(recorded) == [REFERENCE_KEY]
    assert len(engine.get_result(result.execution_id).value["rows"]) == ROWS


@pytest.mark.usefixtures("shared_worker")
def test_show_tells_where_it_lies_and_run_prints_it(
    engine: ExecutionEngine,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "format: 1\nname: p\nsteps: [{id: fill, action: test.fill, timeout: 20s,"
        f" with: {{length: {ROWS}}}}}]"
    )
    for name, value in build_environment(settings).items():
        monkeypatch.setenv(name, value)

    ran = CliRunner().invoke(app, ["run", str(path), "--json"])

    told = json.loads(ran.stdout)
    assert len(told["value"]["rows"]) == ROWS
    shown = CliRunner().invoke(app, ["show", told["execution_id"], "--json"])
    reference = json.loads(shown.stdout)["execution"]["result"][REFERENCE_KEY]
    assert reference["bytes"] > 2**20
    assert "$payload" in CliRunner().invoke(app, ["show", told["execution_id"]]).stdout


@pytest.mark.usefixtures("shared_worker")
def test_a_fallback_stands_in_with_a_large_result(engine: ExecutionEngine) -> None:
    steps = [
        Step("fails", "test.refuse", on_failure={"fallback": "fill"}),
        Step("count", "test.count_rows", {"table": "${steps.fails.result}"}),
        fill(),
    ]

    assert engine.execute(Plan("p", steps=steps), timeout_seconds=60).unwrap() == ROWS


@pytest.mark.usefixtures("shared_worker")
def test_what_undoes_a_step_gets_its_large_result(
    engine: ExecutionEngine, database: Database
) -> None:
    undo = {"action": "test.count_rows", "with": {"table": "${step.result}"}}
    steps = [replace(fill(), undo=undo), Step("fails", "test.refuse")]
    plan = Plan("p", steps=steps, rollback="on_failure")

    result = engine.execute(plan, timeout_seconds=60)

    undone = engine.list_steps(result.execution_id)[-1]
    assert (undone.name, undone.status) == ("fill.undo", StepStatus.COMPLETED)


@pytest.mark.usefixtures("shared_worker")
def test_a_large_result_is_not_used_again(engine: ExecutionEngine) -> None:
    plan = Plan("p", steps=[replace(fill(), cache={"ttl": "1h"})])

    results = [engine.execute(plan, timeout_seconds=60) for _ in range(2)]

    assert all(result.is_success for result in results)
    assert engine.list_steps(results[1].execution_id)[0].cached_from is None


@pytest.mark.usefixtures("shared_worker")
def test_what_is_made_of_equal_large_values_is_used_again(
    engine: ExecutionEngine,
) -> None:
    count = Step(
        "count",
        "test.count_rows",
        {"table": "${steps.fill.result}"},
        cache={"ttl": "1h"},
    )
    plan = Plan("p", steps=[fill(), count])

    results = [engine.execute(plan, timeout_seconds=60) for _ in range(2)]

    assert [result.unwrap() for result in results] == [ROWS, ROWS]
    assert engine.list_steps(results[1].execution_id)[1].cached_from is not None


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("{}")])
def test_a_value_that_is_lost_fails_who_reads_it_and_says_where_it_was(
    engine: ExecutionEngine,
    settings: Settings,
    tmp_path: Path,
    damage: Any,
    ledger: Path,
) -> None:
    gate = tmp_path / "gate"
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    steps = [
        fill(),
        Step("hold", "test.hold", inputs),
        Step(
            "count",
            "test.count_rows",
            {"table": "${steps.fill.result}"},
            retry={"attempts": 5},
        ),
    ]
    execution_id = engine.submit(Plan("p", steps=steps))
    wait_until(lambda: read_lines(ledger), what="the step that holds to begin")
    (file,) = list_files(settings, execution_id)
    damage(file)
    gate.touch()

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E003"
    assert f"{execution_id}/{file.name}" in result.error.message
    # another attempt would find the same
    assert engine.list_steps(execution_id)[2].attempt == 1
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_deleted_execution_takes_its_large_values_with_it(
    engine: ExecutionEngine, settings: Settings
) -> None:
    plan = Plan("p", steps=[fill()])
    first, second = (
        engine.execute(plan, timeout_seconds=60).execution_id for _ in range(2)
    )

    assert engine.delete_execution(first)

    assert list_files(settings, first) == []
    assert len(list_files(settings, second)) == 1
    assert not engine.delete_execution(first)


@pytest.mark.usefixtures("shared_worker")
def test_what_looks_like_a_reference_is_no_result(
    engine: ExecutionEngine,
) -> None:
    forged = {"$payload": {"path": "x", "bytes": 1, "sha256": "y"}}
    plan = Plan(
        "p",
        parameters={"x": {"type": "object"}},
        steps=[Step("a", "test.echo", {"value": "${parameters.x}"})],
    )

    result = engine.execute(plan, {"x": forged}, timeout_seconds=60)

    assert result.error is not None
    assert "which stands for large values" in result.error.message


@pytest.mark.usefixtures("shared_worker")
def test_inputs_that_are_too_large_name_the_way_out(engine: ExecutionEngine) -> None:
    steps = [
        fill(),
        Step("rows", "test.echo", {"value": "${steps.fill.result.rows}"}),
    ]

    result = engine.execute(Plan("p", steps=steps), timeout_seconds=60)

    assert result.error is not None
    assert "the limit is 262,144; hand on the result of a step" in result.error.message


@pytest.mark.usefixtures("shared_worker")
def test_a_result_that_cannot_be_read_leaves_the_rest_to_be_read(
    engine: ExecutionEngine, settings: Settings
) -> None:
    execution_id = engine.execute(Plan("p", steps=[fill()])).execution_id
    (file,) = list_files(settings, execution_id)
    file.unlink()

    with pytest.raises(PayloadLostError, match=file.name):
        engine.get_result(execution_id)

    assert engine.get_status(execution_id).status is ExecutionStatus.COMPLETED


@pytest.mark.usefixtures("shared_worker")
def test_what_looks_into_a_value_that_is_away_is_tried_again(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate, count = tmp_path / "gate", "size(steps.fill.result.rows)"
    # more than can be used up before the value is back
    again = {"attempts": 99, "wait": "fixed", "initial": "500ms"}
    looks: dict[str, dict[str, Any]] = {
        "inputs": {"with_": {"value": f"${{{count}}}"}},
        "condition": {"when": f"{count} > 0"},
        "items": {"for_each": f"${{[{count}]}}"},
    }
    held = {"ledger": str(ledger), "gate": str(gate)}
    hold = Step("hold", "test.hold", held, needs=["fill"])
    steps = [
        Step(name, "test.echo", needs=["hold"], retry=again, **look)
        for name, look in looks.items()
    ]
    execution_id = engine.submit(
        Plan("p", steps=[replace(fill(), needs=[]), hold, *steps])
    )
    wait_until(lambda: "hold" in ledger.read_text(), what="the value to be there")
    (file,) = list_files(settings, execution_id)
    file.rename(tmp_path / "aside")
    file.mkdir()

    gate.touch()
    wait_until(lambda: set(looks) <= waiting(engine, execution_id), what="a failure")
    file.rmdir()
    (tmp_path / "aside").rename(file)

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    check_timeline(engine, execution_id)


def waiting(engine: ExecutionEngine, execution_id: str) -> set[str | None]:
    """Return the steps that have waited for another attempt."""
    events = engine.list_events(execution_id)
    return {event.step for event in events if event.type == "step.waiting"}


def test_a_child_killed_between_write_and_record_leaves_a_file_that_goes_later(
    stack: LocalStack, settings: Settings, tmp_path: Path
) -> None:
    del stack
    alone = replace(settings, schema="large_values_killed", queue="large_killed")
    assert alone.database_url is not None
    upgrade(alone.database_url, alone.schema)
    with ExecutionEngine.connect(alone) as engine:
        execution_id = engine.submit(Plan("p", steps=[fill()]))
        with WorkerProcess.start(
            alone, slots=1, environment={"PLANS_FAULT": "called:exit"}
        ) as victim:
            wait_until(
                lambda: len(list_files(alone, execution_id)) > 0,
                what="the value to be written",
            )
            victim.kill()
        with WorkerProcess.start(alone, slots=1):
            result = engine.wait(execution_id, timeout_seconds=60)

        assert len(result.unwrap()["rows"]) == ROWS
        assert len(list_files(alone, execution_id)) >= 2
        assert engine.delete_execution(execution_id)
        assert list_files(alone, execution_id) == []


@pytest.mark.usefixtures("shared_worker")
def test_a_loop_looks_into_what_its_last_iteration_returned(
    engine: ExecutionEngine,
) -> None:
    grow = Step(
        "grow",
        repeat={
            "action": "test.fill",
            "with": {"length": "${6000 + 6000 * index}"},
            "until": "size(last.rows) > 10000",
            "times": 5,
        },
    )
    count = Step("count", "test.count_rows", {"table": "${steps.grow.result}"})

    result = engine.execute(Plan("p", steps=[grow, count]), timeout_seconds=60)

    assert result.unwrap() == 12_000


@pytest.mark.usefixtures("shared_worker")
def test_a_plan_within_a_plan_hands_a_large_result_up_and_takes_none(
    engine: ExecutionEngine,
) -> None:
    inner = Plan("inner", parameters={"table": {"type": "object"}}, steps=[fill()])
    engine.publish(inner)
    count = Step("count", "test.count_rows", {"table": "${steps.inner.result}"})
    up = Plan("up", steps=[Step("inner", plan="inner"), count])
    down = Step("inner", plan="inner", with_={"table": "${steps.fill.result}"})

    handed_up = engine.execute(up, timeout_seconds=60)
    handed_down = engine.execute(Plan("down", steps=[fill(), down]), timeout_seconds=60)

    assert handed_up.unwrap() == ROWS
    assert handed_down.error is not None
    assert "store it elsewhere, and pass on where it lies" in handed_down.error.message
