"""Where steps go that state no queue: to that of their action, if it has one."""

import json
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from execution import ExecutionEngine, ExecutionRepository, Plan, Settings, Step
from execution.liveness import LivenessRecords
from tests.integration.test_protocol import register


def publish(
    liveness: LivenessRecords, settings: Settings, *actions: dict[str, Any]
) -> None:
    """Register a worker that publishes `actions`."""
    register(liveness, settings, actions=json.dumps(actions))


PLAN = Plan(
    "queues",
    steps=[
        Step("routed", action="q.ship"),
        Step("stated", action="q.ship", queue="mine"),
        Step("plain", action="q.plain"),
    ],
)


@pytest.fixture(scope="module", autouse=True)
def _published(liveness: LivenessRecords, settings: Settings) -> None:
    publish(
        liveness, settings, {"name": "q.ship", "queue": "docks"}, {"name": "q.plain"}
    )


def read_queues(engine: ExecutionEngine, execution_id: str) -> list[str]:
    return [step.queue for step in engine.list_steps(execution_id)]


@pytest.fixture
def expected(settings: Settings) -> list[str]:
    """The queues of the steps of the plan."""
    return ["docks", "mine", settings.queue]


def test_a_submit_asks_the_catalogue(
    engine: ExecutionEngine, expected: list[str]
) -> None:
    assert read_queues(engine, engine.submit(PLAN)) == expected


def test_queues_that_no_worker_serves_are_named(
    engine: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    # it does not beat, and so lives for a lease
    publish(liveness, settings)

    assert engine.list_unserved_queues(PLAN) == ("docks", "mine")


def test_a_submit_of_many_asks_the_catalogue(
    engine: ExecutionEngine, expected: list[str]
) -> None:
    for execution_id in engine.submit_many(PLAN, [{}, {}]):
        assert read_queues(engine, execution_id) == expected


def test_a_submit_by_sql_asks_the_catalogue(
    engine: ExecutionEngine, settings: Settings, expected: list[str]
) -> None:
    engine.publish(PLAN)
    connecting = sa.create_engine(str(settings.database_url), poolclass=sa.NullPool)

    with connecting.begin() as connection:
        statement = f"SELECT {settings.schema}.submit('queues')"
        execution_id = str(connection.exec_driver_sql(statement).scalar_one())

    assert read_queues(engine, execution_id) == expected


def test_roots_are_sent_as_far_as_each_queue_has_use_for_them(
    repository: ExecutionRepository,
) -> None:
    steps = [
        Step(f"s{n}", action="q.ship" if n % 2 else "q.plain", needs=[])
        for n in range(100)
    ]

    submitted = repository.submit(Plan("wide", steps=steps), {}, queue="nobodys")

    sent = Counter(window.links[0].queue for window in submitted.windows)
    assert sent == {"docks": 16, "nobodys": 16}


def test_the_queue_that_was_published_last_holds(
    engine: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    plan = Plan("moved", steps=[Step("s", action="q.moved")])

    publish(liveness, settings, {"name": "q.moved", "queue": "before"})
    first = engine.submit(plan)
    publish(liveness, settings, {"name": "q.moved"})

    assert read_queues(engine, first) == ["before"]
    assert read_queues(engine, engine.submit(plan)) == [settings.queue]
