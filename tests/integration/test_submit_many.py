"""Many executions of one plan at once: what begins, what is refused, what is sent."""

import json
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from execution import ExecutionEngine, Plan, Settings, Step
from execution.cli.app import app
from execution.cli.exits import ExitCode
from execution.database import Database
from execution.errors import ParameterError, SubmissionConflictError
from execution.filters import ExecutionFilter
from execution.repository import ExecutionRepository
from tests.racing import run_at_once

PLAN = Plan(
    "many",
    parameters={"n": {"type": "integer", "required": True, "max": 10_000}},
    steps=[
        Step("one", action="test.nothing"),
        Step("two", action="test.echo", with_={"value": "${parameters.n}"}),
    ],
    tags=["bulk"],
)
MORE_THAN_A_CHUNK = 600


def draw_keys(count: int) -> list[str]:
    return [str(uuid.uuid4()) for _ in range(count)]


def count_executions(database: Database) -> int:
    rows = database.query("SELECT count(*) AS n FROM {schema}.executions")
    return int(rows[0]["n"])


def test_ids_come_in_the_order_of_the_parameters(engine: ExecutionEngine) -> None:
    values = [{"n": n} for n in range(MORE_THAN_A_CHUNK)]

    ids = engine.submit_many(PLAN, iter(values), tags=["mine"], priority=2)

    assert len(set(ids)) == MORE_THAN_A_CHUNK
    for n in (0, 1, 249, 250, MORE_THAN_A_CHUNK - 1):
        found = engine.get_status(ids[n])
        assert (found.parameters, found.tags) == ({"n": n}, ("bulk", "mine"))


def test_each_begins_as_one_that_was_submitted_alone(
    engine: ExecutionEngine, database: Database
) -> None:
    alone = engine.submit(PLAN, {"n": 1}, priority=3)
    (together,) = engine.submit_many(PLAN, [{"n": 1}], priority=3)

    def describe(table: str, execution_id: str) -> Any:
        columns = "'execution_id,id,created_at,at,ready_at,published_at'"
        return database.query(
            f"SELECT to_jsonb(t) - string_to_array({columns}, ',') AS row"  # noqa: S608  # names of our own
            f" FROM {{schema}}.{table} t WHERE"
            f" {'id' if table == 'executions' else 'execution_id'} = %s ORDER BY 1",
            (execution_id,),
        )

    for table in (
        "executions",
        "execution_steps",
        "execution_events",
        "execution_states",
    ):
        assert describe(table, together) == describe(table, alone) != []


def test_nothing_is_asked_for_and_nothing_begins(engine: ExecutionEngine) -> None:
    assert engine.submit_many(PLAN, []) == ()


def test_every_fault_is_named_and_nothing_begins(
    engine: ExecutionEngine, database: Database
) -> None:
    before = count_executions(database)
    wrong: list[Any] = [{"n": 1}, {"n": "x"}, {}, 7, {"n": 1, "m": 2}]

    with pytest.raises(ParameterError) as refusal:
        engine.submit_many(PLAN, wrong)

    assert [f.place for f in refusal.value.faults] == [
        "parameters[1].n",
        "parameters[2].n",
        "parameters[3]",
        "parameters[4].m",
    ]
    assert count_executions(database) == before


@pytest.mark.parametrize(
    ("keys", "place"),
    [(["a"], "keys"), (["a", "b\0"], "keys[1]"), (["a", "a"], "keys[1]")],
    ids=["too_few", "no_text", "one_key_for_two_bodies"],
)
def test_keys_are_checked_before_anything_begins(
    engine: ExecutionEngine, database: Database, keys: Sequence[str], place: str
) -> None:
    before = count_executions(database)

    with pytest.raises(ParameterError) as refusal:
        engine.submit_many(PLAN, [{"n": 1}, {"n": 2}], keys=keys)

    assert [fault.place for fault in refusal.value.faults] == [place]
    assert count_executions(database) == before


def test_a_key_answers_the_execution_that_it_began(engine: ExecutionEngine) -> None:
    keys = draw_keys(3)
    alone = engine.submit(PLAN, {"n": 1}, idempotency_key=keys[1])
    values = [{"n": 0}, {"n": 1}, {"n": 2}]

    first = engine.submit_many(PLAN, values, keys=keys)
    again = engine.submit_many(PLAN, values, keys=keys)

    assert first[1] == alone
    assert again == first
    assert len(set(first)) == 3


def test_the_same_key_and_body_twice_is_one_execution(engine: ExecutionEngine) -> None:
    key, other = draw_keys(2)

    ids = engine.submit_many(PLAN, [{"n": 1}] * 3, keys=[key, other, key])

    assert ids[0] == ids[2] != ids[1]


def test_a_conflict_keeps_nothing_of_its_chunk(
    engine: ExecutionEngine, database: Database
) -> None:
    keys = draw_keys(3)
    owner = engine.submit(PLAN, {"n": 99}, idempotency_key=keys[1])
    before = count_executions(database)

    with pytest.raises(SubmissionConflictError, match=f"{keys[1]}.*{owner}"):
        engine.submit_many(PLAN, [{"n": n} for n in range(3)], keys=keys)

    assert count_executions(database) == before
    # neither are its keys
    assert len(set(engine.submit_many(PLAN, [{"n": 7}] * 2, keys=keys[::2]))) == 2


def test_a_conflict_keeps_the_chunks_before(
    engine: ExecutionEngine, database: Database
) -> None:
    keys = draw_keys(MORE_THAN_A_CHUNK)
    engine.submit(PLAN, {"n": 9_999}, idempotency_key=keys[-1])
    before = count_executions(database)
    values = [{"n": n} for n in range(MORE_THAN_A_CHUNK)]

    with pytest.raises(SubmissionConflictError):
        engine.submit_many(PLAN, values, keys=keys)

    kept = count_executions(database) - before
    assert 0 < kept < MORE_THAN_A_CHUNK
    assert len(set(engine.submit_many(PLAN, values[:-1], keys=keys[:-1]))) == len(
        values[:-1]
    )
    assert count_executions(database) - before == MORE_THAN_A_CHUNK - 1


def test_the_same_keys_at_once_in_any_order_begin_once(settings: Settings) -> None:
    keys = draw_keys(40)
    values = [{"n": n} for n in range(40)]
    repositories = [
        ExecutionRepository(str(settings.database_url), settings.schema)
        for _ in range(4)
    ]

    def submit(repository: ExecutionRepository, step: int) -> dict[str, str]:
        chunk = repository.submit_chunk(
            PLAN,
            values[::step],
            execution_ids=[str(uuid.uuid4()) for _ in values],
            keys=keys[::step],
            queue="nobody",
        )
        return dict(zip(keys[::step], chunk.execution_ids, strict=True))

    answers = run_at_once(
        [partial(submit, each, (-1) ** n) for n, each in enumerate(repositories)]
    )

    for each in repositories:
        each.close()
    assert all(answer == answers[0] for answer in answers)


def test_a_chunk_that_is_made_again_is_sent_again(
    repository: ExecutionRepository,
) -> None:
    drawn = [str(uuid.uuid4()) for _ in range(3)]
    first, again = (
        repository.submit_chunk(
            PLAN, [{"n": 1}] * 3, execution_ids=drawn, keys=None, queue="nobody"
        )
        for _ in range(2)
    )

    assert first == again
    assert [window.execution_id for window in again.windows] == drawn


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    """The plan as a file."""
    path = tmp_path / "many.json"
    path.write_text(json.dumps(PLAN.definition))
    return path


@pytest.fixture
def plans(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command on these servers."""
    monkeypatch.setenv("PLANS_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("PLANS_BROKER_URL", str(settings.broker_url))
    monkeypatch.setenv("PLANS_SCHEMA", settings.schema)

    def run(*arguments: object, given: str | None = None) -> Result:
        return CliRunner().invoke(app, [str(a) for a in arguments], input=given)

    return run


@pytest.mark.parametrize("by_pipe", [False, True], ids=["file", "standard_input"])
def test_the_command_prints_an_id_for_each_line(
    engine: ExecutionEngine, plans: Any, plan_file: Path, by_pipe: bool
) -> None:
    lines = '{"n": 3}\n\n{"n": 4}\n'
    path = plan_file.with_name("lines.jsonl")
    path.write_text(lines)

    done = plans(
        "submit",
        plan_file,
        "--many",
        "-" if by_pipe else path,
        given=lines if by_pipe else None,
    )

    assert done.exit_code == ExitCode.OK, done.output
    found = [engine.get_status(i).parameters for i in done.stdout.split()]
    assert found == [{"n": 3}, {"n": 4}]


def test_the_command_prints_json(plans: Any, plan_file: Path) -> None:
    done = plans("submit", plan_file, "--many", "-", "--json", given='{"n": 3}\n')

    assert len(json.loads(done.stdout)["execution_ids"]) == 1


def test_a_bad_line_is_named_and_nothing_begins(
    engine: ExecutionEngine, plans: Any, plan_file: Path
) -> None:
    lines = '{"n": 1}\n\n{"n": "x"}\n[1]\n{"n": 1\n'

    done = plans("submit", plan_file, "--many", "-", "--tag", "bad-lines", given=lines)

    assert done.exit_code == ExitCode.USAGE
    assert all(f"<stdin>:{n}" in done.output for n in (3, 4, 5))
    assert "<stdin>:1" not in done.output
    assert engine.count_executions(ExecutionFilter(tag="bad-lines")) == 0


@pytest.mark.parametrize("other", [["-p", "n=1"], ["--key", "k"]])
def test_many_brings_all_parameters(
    plans: Any, plan_file: Path, other: list[str]
) -> None:
    done = plans("submit", plan_file, "--many", "-", *other, given='{"n": 1}\n')

    assert done.exit_code == ExitCode.USAGE


def test_a_file_that_is_not_there_is_wrong_usage(plans: Any, plan_file: Path) -> None:
    done = plans("submit", plan_file, "--many", plan_file.with_name("none.jsonl"))

    assert done.exit_code == ExitCode.USAGE


def test_messages_are_sent_for_all_at_once(
    engine: ExecutionEngine, database: Database
) -> None:
    ids = engine.submit_many(PLAN, [{"n": 1}] * MORE_THAN_A_CHUNK)

    def count_unsent() -> int:
        rows = database.query(
            "SELECT count(*) AS n FROM {schema}.execution_steps WHERE"
            " execution_id = ANY (%s::uuid[]) AND status = 'ready'"
            " AND published_at IS NULL",
            (list(ids),),
        )
        return int(rows[0]["n"])

    assert count_unsent() == 0
