"""The catalogue in PostgreSQL: what workers write, and what submits read of it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from execution import (
    ExecutionEngine,
    ExecutionFilter,
    Plan,
    Recovery,
    Settings,
    Step,
)
from execution.actions import ActionRegistry, registry
from execution.database import Database
from execution.errors import ParameterError, PlanValidationError
from execution.identity import draw_execution_id
from execution.installation import Installation
from execution.liveness import LivenessRecords
from execution.settings import CatalogueCheck
from tests.integration.test_protocol import register
from tests.rows import committed


def add(left: int, right: int = 1, *, label: str | None = None) -> int:
    """Add two numbers.

    And that is all.
    """
    return left + right


def halve(number: float) -> float:
    return number / 2


def publish(registry: Sequence[Any]) -> str:
    actions = ActionRegistry()
    for function in registry:
        actions.add(f"math.{function.__name__}", function, "5s")
    return actions.to_json()


def plan_of(action: str = "math.add", **inputs: Any) -> Plan:
    return Plan("sums", steps=[Step("one", action=action, with_=inputs)])


@pytest.fixture(autouse=True)
def empty(settings: Settings) -> None:
    """Begin each test with a catalogue in which there is nothing."""
    assert settings.database_url is not None
    with committed(settings.database_url, settings.schema) as cursor:
        cursor.execute("TRUNCATE actions, workers")


@pytest.fixture
def published(liveness: LivenessRecords, settings: Settings) -> str:
    """Two actions, and the worker that has them."""
    return register(liveness, settings, actions=publish([add, halve]))


@pytest.fixture
def asker(settings: Settings) -> Iterator[ExecutionEngine]:
    """An engine that remembers nothing of other tests."""
    with ExecutionEngine(Installation(settings, None)) as opened:
        yield opened


def open_engine(settings: Settings, check: CatalogueCheck) -> ExecutionEngine:
    return ExecutionEngine(Installation(replace(settings, check=check), None))


def read_versions(database: Database) -> dict[str, int]:
    """Return which transaction has written each row last."""
    rows = database.query("SELECT name, xmin::text AS n FROM {schema}.actions")
    return {row["name"]: int(row["n"]) for row in rows}


# what workers write


@pytest.mark.usefixtures("published")
def test_the_catalogue_lists_what_workers_have_published(
    asker: ExecutionEngine,
) -> None:
    added, halved = asker.list_actions()

    assert (added.name, halved.name) == ("math.add", "math.halve")
    assert added.doc == "Add two numbers.\n\nAnd that is all."
    assert added.timeout_seconds == 5.0
    assert (added.published_by, added.workers) == ("by-hand", ("by-hand",))
    assert str(added.signature) == (
        "(left: int, right: int = 1, label: str | None = null)"
    )
    assert added.signature is not None
    assert added.signature.result == {"type": "integer"}
    assert halved.doc is None


def test_an_action_stays_when_its_workers_have_gone(
    asker: ExecutionEngine, liveness: LivenessRecords, published: str
) -> None:
    liveness.end_worker(published)

    assert [action.workers for action in asker.list_actions()] == [(), ()]


@pytest.mark.usefixtures("published")
def test_a_start_of_the_same_code_writes_no_row_of_the_catalogue(
    database: Database, liveness: LivenessRecords, settings: Settings
) -> None:
    before = read_versions(database)

    register(liveness, settings, actions=publish([add, halve]))
    locked = database.query("SELECT xmax::text AS n FROM {schema}.actions")

    assert read_versions(database) == before
    assert {row["n"] for row in locked} == {"0"}


@pytest.mark.usefixtures("published")
def test_only_what_has_changed_is_published_anew_and_the_last_one_wins(
    database: Database,
    asker: ExecutionEngine,
    liveness: LivenessRecords,
    settings: Settings,
) -> None:
    before = read_versions(database)
    actions = ActionRegistry()
    actions.add("math.add", lambda left: left, "5s")
    actions.add("math.halve", halve, "5s")

    register(liveness, settings, actions=actions.to_json())

    after = read_versions(database)
    assert after["math.halve"] == before["math.halve"]
    assert after["math.add"] != before["math.add"]
    added, _ = asker.list_actions()
    assert str(added.signature) == "(left)"
    assert added.workers == ("by-hand", "by-hand")


# what submits are told


@pytest.mark.usefixtures("published")
def test_a_submit_is_told_of_every_misfit_and_begins_nothing(
    asker: ExecutionEngine,
) -> None:
    plan = Plan(
        "wrong",
        steps=[
            Step("one", action="math.ad", with_={"left": 1}),
            Step("two", action="math.add", with_={"left": "1", "rihgt": 2}),
            Step("three", action="math.halve"),
        ],
    )

    with pytest.raises(PlanValidationError) as refusal:
        asker.submit(plan)

    assert not isinstance(refusal.value, ParameterError)
    assert [fault.place for fault in refusal.value.faults] == [
        "steps[0].action",
        "steps[1].with.left",
        "steps[1].with.rihgt",
        "steps[2].with.number",
    ]
    assert asker.count_executions(ExecutionFilter(plan="wrong")) == 0


@pytest.mark.usefixtures("published")
def test_nothing_that_does_not_fit_is_submitted_many_times_or_published(
    asker: ExecutionEngine, settings: Settings
) -> None:
    assert settings.database_url is not None
    alchemy = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
    plan = plan_of(left="x")

    with pytest.raises(PlanValidationError, match="left"):
        asker.submit_many(plan, [{}, {}])
    with pytest.raises(PlanValidationError, match="left"):
        asker.publish(plan)
    with (
        alchemy.begin() as connection,
        pytest.raises(PlanValidationError, match="left"),
    ):
        asker.submit(plan, transaction=connection)


def test_a_plan_that_was_published_before_is_compared_with_what_there_is_now(
    asker: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    asker.publish(plan_of("math.halve", left="x"))
    register(liveness, settings, actions=publish([add, halve]))

    with (
        open_engine(settings, CatalogueCheck.KNOWN) as other,
        pytest.raises(PlanValidationError, match="number"),
    ):
        other.submit("sums")


@pytest.mark.usefixtures("published")
def test_what_fits_is_submitted(asker: ExecutionEngine, settings: Settings) -> None:
    assert settings.database_url is not None
    alchemy = sa.create_engine(settings.database_url, poolclass=sa.NullPool)
    plan = plan_of(left=1, label=None)

    assert asker.submit(plan)
    assert len(asker.submit_many(plan, [{}, {}])) == 2
    with alchemy.begin() as connection:
        assert asker.submit(plan, transaction=connection)


def test_the_first_submit_may_come_before_the_first_worker(
    settings: Settings,
) -> None:
    for check in (CatalogueCheck.KNOWN, CatalogueCheck.OFF):
        with open_engine(settings, check) as engine:
            assert engine.submit(plan_of())


def test_a_strict_submit_needs_a_worker_that_has_the_action(
    settings: Settings,
) -> None:
    with (
        open_engine(settings, CatalogueCheck.STRICT) as engine,
        pytest.raises(PlanValidationError, match=r'has published "math\.add"'),
    ):
        engine.submit(plan_of())


@pytest.mark.usefixtures("published")
def test_a_check_that_is_off_lets_all_pass(settings: Settings) -> None:
    with open_engine(settings, CatalogueCheck.OFF) as engine:
        assert engine.submit(plan_of("nobodys", left="x"))


@pytest.mark.usefixtures("published")
def test_a_submit_in_a_transaction_that_holds_the_catalogue_does_not_wait_for_it(
    asker: ExecutionEngine, settings: Settings
) -> None:
    assert settings.database_url is not None
    alchemy = sa.create_engine(settings.database_url, poolclass=sa.NullPool)

    with alchemy.begin() as connection:
        connection.exec_driver_sql(f"SET search_path TO {settings.schema}")
        connection.exec_driver_sql("UPDATE actions SET doc = 'held'")
        execution_id = asker.submit(plan_of(left=2), transaction=connection)

    assert asker.get_status(execution_id).plan == "sums"


@pytest.mark.usefixtures("published")
def test_a_plan_that_was_let_in_is_not_compared_again_for_a_while(
    asker: ExecutionEngine, settings: Settings
) -> None:
    plan = plan_of(left=3)
    asker.submit(plan)
    assert settings.database_url is not None
    with committed(settings.database_url, settings.schema) as cursor:
        cursor.execute("UPDATE actions SET name = name || '.other'")

    assert asker.submit(plan)
    with pytest.raises(PlanValidationError):
        asker.submit(plan_of(left=4))


def test_a_submit_that_is_repeated_is_answered_whatever_is_published_since(
    settings: Settings, liveness: LivenessRecords, asker: ExecutionEngine
) -> None:
    plan, keys = plan_of("math.halve", left="x"), ["first", "second"]
    begun = asker.submit_many(plan, [{}, {}], keys=keys)
    by_id = asker.submit(plan, execution_id=draw_execution_id())
    register(liveness, settings, actions=publish([add, halve]))

    with open_engine(settings, CatalogueCheck.KNOWN) as other:
        assert other.submit(plan, idempotency_key="first") == begun[0]
        assert other.submit_many(plan, [{}, {}], keys=keys) == begun
        assert other.submit(plan, execution_id=by_id) == by_id
        for refused in (
            lambda: other.submit(plan, idempotency_key="third"),
            lambda: other.submit_many(plan, [{}, {}], keys=["first", "third"]),
            lambda: other.submit(plan, execution_id=draw_execution_id()),
        ):
            with pytest.raises(PlanValidationError):
                refused()


def test_a_foreign_entry_without_a_signature_is_known_by_its_name(
    asker: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    actions = json.dumps([{"name": "math.add", "queue": "ignored"}])
    register(liveness, settings, actions=actions)

    assert asker.submit(plan_of(anything=1))
    (action,) = asker.list_actions()
    assert action.signature is None
    assert asker.list_unserved_actions(plan_of("other")) == ("other",)


def test_a_strategy_is_published_like_an_action(
    engine: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    def triage(failure: dict[str, Any]) -> Recovery:
        return Recovery.abort()

    engine.add_recovery_strategy("math.triage", triage, timeout="5s")
    try:
        register(liveness, settings, actions=registry.to_json())
    finally:
        registry._actions.pop("strategy:math.triage")

    known = {action.name: action for action in engine.list_actions()}
    published = known["strategy:math.triage"]
    assert published.timeout_seconds == 5.0
    assert published.signature is not None
    assert [p.name for p in published.signature.parameters] == ["failure"]
