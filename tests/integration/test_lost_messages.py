"""Messages that are lost: which ones are missed, which are not, and how often."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.beating import Hands, beat
from tests.integration.test_protocol import register
from tests.sweeping import look, run_round

PLAN = Plan("queued", steps=[Step("a", action="test.nothing")])


@dataclass(frozen=True)
class Queue:
    """A queue with one worker that is only a row, and what was sent to it."""

    engine: ExecutionEngine
    records: StepRecords
    liveness: LivenessRecords
    database: Database
    settings: Settings
    worker_id: str

    def send(self, *, seconds_ago: float) -> str:
        """Submit an execution as if so long ago; return its id."""
        execution_id = self.engine.submit(PLAN)
        self.database.query(
            "UPDATE {schema}.execution_steps"
            " SET published_at = clock_timestamp() - make_interval(secs => %s)"
            " WHERE execution_id = %s RETURNING 1",
            (seconds_ago, execution_id),
        )
        return execution_id

    def receive(self, execution_id: str, *, publishes: int = 1) -> None:
        """Claim an execution's step by its message."""
        self.records.claim(
            execution_id,
            [0],
            epoch=1,
            token=execution_id,
            worker_id=self.worker_id,
            delivery=f"{execution_id}:a:1:{publishes}",
        )

    def find_missing(self, *, beat_seconds: float = 0.5) -> set[str]:
        """Return the executions whose message a reconciler takes for lost."""
        return {
            step.execution_id
            for step in look(self.liveness, beat_seconds=beat_seconds).unsent_steps
        }


@pytest.fixture
def queue(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    database: Database,
    settings: Settings,
) -> Queue:
    """An empty queue whose only worker has no slot free."""
    database.query("DELETE FROM {schema}.executions RETURNING 1")
    database.query("DELETE FROM {schema}.queues RETURNING 1")
    database.query("DELETE FROM {schema}.workers RETURNING 1")
    worker_id = register(liveness, settings)
    beat(database, worker_id, [settings.queue], hands=Hands(waiting=8))
    return Queue(engine, records, liveness, database, settings, worker_id)


def test_what_a_later_message_has_overtaken_is_missing(queue: Queue) -> None:
    lost = queue.send(seconds_ago=60)
    before = queue.find_missing()

    queue.receive(queue.send(seconds_ago=50))

    assert before == set()
    assert queue.find_missing() == {lost}


def test_a_backlog_that_moves_misses_nothing(queue: Queue) -> None:
    sent = [queue.send(seconds_ago=100 - n) for n in range(50)]

    for execution_id in sent[:20]:
        queue.receive(execution_id)

        assert queue.find_missing() == set()


def test_messages_that_were_sent_together_do_not_overtake_each_other(
    queue: Queue,
) -> None:
    queue.send(seconds_ago=60)

    queue.receive(queue.send(seconds_ago=58.5))

    assert queue.find_missing() == set()


def test_the_first_message_of_a_step_that_was_sent_twice_proves_nothing(
    queue: Queue,
) -> None:
    twice = queue.send(seconds_ago=90)
    queue.send(seconds_ago=60)
    queue.database.query(
        "UPDATE {schema}.execution_steps"
        " SET publishes = 2, published_at = clock_timestamp()"
        " WHERE execution_id = %s RETURNING 1",
        (twice,),
    )

    queue.receive(twice, publishes=1)

    assert queue.find_missing() == set()


def test_other_queues_prove_nothing(queue: Queue) -> None:
    lost = queue.send(seconds_ago=60)
    queue.database.query(
        "UPDATE {schema}.execution_steps SET queue = 'other'"
        " WHERE execution_id = %s RETURNING 1",
        (lost,),
    )

    queue.receive(queue.send(seconds_ago=50))

    assert queue.find_missing() == set()


def test_what_no_worker_could_run_is_not_sent_again(queue: Queue) -> None:
    stranded = queue.send(seconds_ago=60)
    queue.database.query(
        "UPDATE {schema}.execution_steps SET action = 'nobodys.action'"
        " WHERE execution_id = %s RETURNING 1",
        (stranded,),
    )

    queue.receive(queue.send(seconds_ago=50))
    beat(queue.database, queue.worker_id, [queue.settings.queue])

    assert queue.find_missing() == set()


def test_a_front_in_the_future_proves_nothing_and_is_put_right(queue: Queue) -> None:
    queue.send(seconds_ago=60)
    queue.receive(queue.send(seconds_ago=50))
    queue.database.query(
        "UPDATE {schema}.queues SET front = clock_timestamp() + interval '1 hour'"
        " RETURNING 1"
    )
    in_the_future = queue.find_missing()

    queue.receive(queue.send(seconds_ago=40))

    assert in_the_future == set()
    assert len(queue.find_missing()) == 1


def test_each_time_a_message_is_missed_later(queue: Queue) -> None:
    lost = queue.send(seconds_ago=60)
    queue.receive(queue.send(seconds_ago=1))
    found = []
    for publishes, seconds_ago in [(1, 1.1), (2, 1.9), (2, 2.1), (3, 3.9), (3, 4.1)]:
        queue.database.query(
            "UPDATE {schema}.execution_steps SET publishes = %s,"
            " published_at = clock_timestamp() - make_interval(secs => %s)"
            " WHERE execution_id = %s RETURNING 1",
            (publishes, 5 * seconds_ago, lost),
        )
        queue.database.query(
            "UPDATE {schema}.queues SET front = clock_timestamp() RETURNING 1"
        )
        found.append(lost in queue.find_missing(beat_seconds=5))

    assert found == [True, False, True, False, True]


def test_no_more_are_sent_again_than_there_are_free_slots(queue: Queue) -> None:
    sent = [queue.send(seconds_ago=100 - n) for n in range(20)]

    beat(
        queue.database, queue.worker_id, [queue.settings.queue], hands=Hands(waiting=5)
    )

    assert queue.find_missing() == set(sent[:3])


def test_what_was_missed_often_does_not_hide_what_was_lost_just_now(
    queue: Queue,
) -> None:
    for _ in range(3):
        waiting = queue.send(seconds_ago=60)
        queue.database.query(
            "UPDATE {schema}.execution_steps SET publishes = 9"
            " WHERE execution_id = %s RETURNING 1",
            (waiting,),
        )
    lost = queue.send(seconds_ago=30)

    queues = [queue.settings.queue]
    beat(queue.database, queue.worker_id, queues, hands=Hands(waiting=6))

    assert queue.find_missing() == {lost}


def test_while_the_broker_is_away_nothing_is_counted_as_sent(
    queue: Queue, tmp_path: Path
) -> None:
    lost = [queue.send(seconds_ago=60) for _ in range(5)]
    beat(queue.database, queue.worker_id, [queue.settings.queue])
    away = replace(
        queue.settings, broker_url=f"redis+socket://{tmp_path}/none?virtual_host=0"
    )
    reconciler = Reconciler(
        queue.liveness,
        queue.records,
        ExecutionDispatcher(create_app(away)),
        ExecutionEventEmitter(None, ""),
        away,
    )

    run_round(reconciler)

    sent = queue.database.query(
        "SELECT count(*) AS n FROM {schema}.execution_steps WHERE publishes > 1"
    )
    # the first one finds out
    assert sent[0]["n"] == 1
    assert len(queue.find_missing()) == len(lost) - 1
