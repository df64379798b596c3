"""Large values beside the rows: what goes with an execution, and what is lost."""

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution import (
    ExecutionEngine,
    ExecutionRepository,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.answers import HeldStep
from execution.database import Database
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.payloads import PayloadStore
from execution.records import StepRecords
from tests.integration.test_protocol import claim, nothing, register

QUIET = ExecutionEventEmitter(None, "")
LARGE = {"rows": ["x" * 100] * 4_000}


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture
def store(settings: Settings, tmp_path: Path) -> PayloadStore:
    """A folder where nothing lies yet."""
    return PayloadStore(str(tmp_path), settings.schema)


@pytest.fixture
def records(database: Database, store: PayloadStore) -> StepRecords:
    """What a worker with that store would write."""
    return StepRecords(database, store)


@pytest.fixture
def owner(settings: Settings, store: PayloadStore) -> Iterator[ExecutionRepository]:
    """Executions as their owners change them, with that store."""
    opened = ExecutionRepository(str(settings.database_url), settings.schema, store)
    yield opened
    opened.close()


def complete(records: StepRecords, store: PayloadStore, held: HeldStep) -> None:
    result = store.keep(
        LARGE,
        execution_id=held.execution_id,
        position=held.position,
        token=held.token,
        place="the result",
    )
    records.complete(held, StepStatus.COMPLETED, result=result, epoch=1)


def run(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    worker_id: str,
    result: object = None,
) -> str:
    """Run a plan of one step to its end; return the id of the execution."""
    plan = Plan("p", steps=[nothing("a")], result=result)
    held = claim(records, worker_id, engine.submit(plan), 0).held
    complete(records, store, held)
    finish_execution(records, QUIET, held.execution_id)
    return held.execution_id


def folder_of(settings: Settings, tmp_path: Path, execution_id: str) -> Path:
    return tmp_path / settings.schema / execution_id


def test_the_next_claim_sees_the_value(
    engine: ExecutionEngine, records: StepRecords, store: PayloadStore, worker_id: str
) -> None:
    reader = Step("b", "test.echo", {"value": "${steps.a.result}"})
    plan = Plan("p", steps=[nothing("a"), reader])
    held = claim(records, worker_id, engine.submit(plan), 0).held
    complete(records, store, held)

    begun = claim(records, worker_id, held.execution_id, 1)

    assert begun.scope["steps"]["a"]["result"].value == LARGE


def test_the_result_of_an_execution_may_see_into_a_large_value(
    engine: ExecutionEngine, records: StepRecords, store: PayloadStore, worker_id: str
) -> None:
    template = "${size(steps.a.result.rows)}"

    execution_id = run(engine, records, store, worker_id, template)

    assert engine.get_result(execution_id).unwrap() == 4_000


def test_an_execution_whose_result_reads_a_lost_value_fails(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    worker_id: str,
) -> None:
    plan = Plan("p", steps=[nothing("a")], result="${steps.a.result.rows.0}")
    held = claim(records, worker_id, engine.submit(plan), 0).held
    complete(records, store, held)
    store.remove(held.execution_id)

    assert finish_execution(records, QUIET, held.execution_id)

    result = engine.get_result(held.execution_id)
    assert result.error is not None
    assert result.error.code == "E003"
    assert f"{held.execution_id}/0-{held.token}.json" in result.error.message


def test_an_execution_whose_result_cannot_be_read_at_the_moment_ends_later(
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    store: PayloadStore,
    worker_id: str,
    tmp_path: Path,
) -> None:
    plan = Plan("p", steps=[nothing("a")], result="${steps.a.result.rows.0}")
    held = claim(records, worker_id, engine.submit(plan), 0).held
    complete(records, store, held)
    (file,) = folder_of(settings, tmp_path, held.execution_id).iterdir()
    file.rename(tmp_path / "aside")
    file.mkdir()

    assert not finish_execution(records, QUIET, held.execution_id)
    file.rmdir()
    (tmp_path / "aside").rename(file)
    assert finish_execution(records, QUIET, held.execution_id)

    assert engine.get_result(held.execution_id).unwrap() == "x" * 100


def test_what_is_large_goes_with_its_execution_and_not_before(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    owner: ExecutionRepository,
    settings: Settings,
    tmp_path: Path,
    worker_id: str,
) -> None:
    plan = Plan("p", steps=[nothing("a"), nothing("b")])
    held = claim(records, worker_id, engine.submit(plan), 0).held
    complete(records, store, held)
    running = folder_of(settings, tmp_path, held.execution_id)
    ended = run(engine, records, store, worker_id)

    assert not owner.delete_execution(held.execution_id)
    assert owner.delete_execution(ended)

    assert running.exists()
    assert not folder_of(settings, tmp_path, ended).exists()


def test_what_was_written_too_late_goes_when_it_is_deleted_again(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    owner: ExecutionRepository,
    settings: Settings,
    tmp_path: Path,
    worker_id: str,
) -> None:
    execution_id = run(engine, records, store, worker_id)
    assert owner.delete_execution(execution_id)
    complete(records, store, HeldStep(execution_id, 0, str(uuid.uuid4())))
    folder = folder_of(settings, tmp_path, execution_id)
    assert folder.exists()

    assert not owner.delete_execution(execution_id)

    assert not folder.exists()


def test_what_cannot_be_removed_is_logged_and_can_be_removed_later(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    owner: ExecutionRepository,
    settings: Settings,
    tmp_path: Path,
    worker_id: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    execution_id = run(engine, records, store, worker_id)
    folder = folder_of(settings, tmp_path, execution_id)
    folder.rename(folder.with_name("aside"))
    folder.write_text("no folder")

    with caplog.at_level(logging.WARNING):
        assert owner.delete_execution(execution_id)

    (record,) = [r for r in caplog.records if "left behind" in r.getMessage()]
    assert vars(record)["execution_id"] == execution_id
    assert execution_id in vars(record)["cause"]
    assert owner.get_by_id(execution_id) is None
    folder.unlink()
    folder.with_name("aside").rename(folder)
    assert not owner.delete_execution(execution_id)
    assert not folder.exists()


def test_a_row_holds_the_reference_alone(
    engine: ExecutionEngine,
    records: StepRecords,
    store: PayloadStore,
    database: Database,
    worker_id: str,
) -> None:
    execution_id = run(engine, records, store, worker_id)

    (row,) = database.query(
        "SELECT result FROM {schema}.execution_steps WHERE execution_id = %s",
        (execution_id,),
    )

    assert len(json.dumps(row["result"])) < 400
    assert store.resolve(row["result"]) == LARGE
