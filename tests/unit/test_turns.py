"""Where a worker's loop comes round is told, also in the loops of few."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from execution.celery.turns import follow_turns


@pytest.fixture
def turns() -> list[bool]:
    """What was told, of each turn whether there was a connection."""
    return []


@pytest.fixture
def consumer(turns: list[bool]) -> Iterator[Any]:
    """The consumer of a worker whose transport cannot be polled."""
    app = Celery("host", broker="memory://", set_as_current=False)
    follow_turns(app, turns.append)
    worker = app.WorkController(pool="solo", hostname="w@host")
    assert not worker.use_eventloop
    yield worker.consumer
    worker.timer.stop()


def test_a_loop_that_does_not_poll_tells_of_each_turn(
    consumer: Any, turns: list[bool]
) -> None:
    consumer.perform_pending_operations()
    consumer.connection = consumer.app.connection()
    consumer.perform_pending_operations()

    assert turns == [False, True]


def test_who_looks_for_a_broker_tells_of_each_try(
    consumer: Any, turns: list[bool]
) -> None:
    connection = consumer.app.connection("redis://127.0.0.1:1")
    consumer.app.conf.broker_connection_max_retries = 1
    consumer.app.conf.broker_connection_retry_on_startup = True

    with pytest.raises(OperationalError):
        consumer.ensure_connected(connection)

    assert len(turns) > 2
    assert not any(turns)


def test_a_connection_is_made_as_ever(consumer: Any, turns: list[bool]) -> None:
    connection = consumer.app.connection()

    assert consumer.ensure_connected(connection) is connection

    assert connection.connected
    assert turns == [False]
