"""What `plans doctor --fix` leaves alone, how long it takes, and when it stops."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.diagnosis.codes import FindingCode
from execution.ending import finish_execution
from execution.events import ExecutionEventEmitter
from execution.payloads import PayloadStore
from execution.records import StepRecords
from tests.integration.test_protocol import claim, nothing, register
from tests.polling import wait_until
from tests.rows import connect
from tests.ward import Ward, is_found, open_ward

ONE = Plan("one", steps=[nothing("one")])
LARGE = {"rows": ["x" * 100] * 4_000}
QUIET = ExecutionEventEmitter(None, "")


@pytest.fixture
def ward(settings: Settings) -> Iterator[Ward]:
    """An installation without a worker."""
    with open_ward(settings) as opened:
        yield opened


# large values of another host


def finish_elsewhere(ward: Ward, worker_id: str, store: PayloadStore) -> str:
    """Run the only step of a plan whose result reads a large value; return its id."""
    plan = Plan("large", steps=[nothing("a")], result="${steps.a.result.rows.0}")
    held = claim(ward.records, worker_id, ward.engine.submit(plan), 0).held
    result = store.keep(
        LARGE,
        execution_id=held.execution_id,
        position=held.position,
        token=held.token,
        place="the result",
    )
    ward.records.complete(held, StepStatus.COMPLETED, result=result, epoch=1)
    return held.execution_id


def test_an_execution_whose_values_cannot_be_read_here_is_left_to_the_workers(
    ward: Ward, tmp_path: Path
) -> None:
    theirs = PayloadStore(str(tmp_path / "theirs"), ward.settings.schema)
    worker_id = register(ward.liveness, ward.settings)
    execution_id = finish_elsewhere(ward, worker_id, theirs)
    here = replace(ward.settings, payloads=str(tmp_path / "ours"))

    healed = replace(ward, settings=here).examine(mends=True)

    status = ward.engine.get_status(execution_id).status
    assert status is ExecutionStatus.ENDING
    assert any("left to the workers" in one for one in healed.limits)
    assert any(execution_id in one for one in healed.limits)
    # one of the workers finishes it
    assert finish_execution(StepRecords(ward.database, theirs), QUIET, execution_id)
    assert ward.engine.get_result(execution_id).unwrap() == "x" * 100


def test_an_execution_whose_values_can_be_read_here_is_finished(
    ward: Ward, tmp_path: Path
) -> None:
    shared = PayloadStore(str(tmp_path), ward.settings.schema)
    worker_id = register(ward.liveness, ward.settings)
    execution_id = finish_elsewhere(ward, worker_id, shared)
    here = replace(ward.settings, payloads=str(tmp_path))

    healed = replace(ward, settings=here).examine(mends=True)

    assert ward.engine.get_result(execution_id).unwrap() == "x" * 100
    assert not any("left to the workers" in one for one in healed.limits)


# how long


def test_a_worker_of_a_longer_lease_is_waited_for_as_long_as_that_says(
    ward: Ward,
) -> None:
    ward = replace(ward, settings=replace(ward.settings, lease_seconds=1.0))
    worker_id = register(ward.liveness, ward.settings, lease_seconds=1.5)
    execution_id = ward.engine.submit(ONE)
    claim(ward.records, worker_id, execution_id, 0)
    ward.database.query(
        "UPDATE {schema}.workers SET beat_at = beat_at - interval '1m'"
        " WHERE id = %s RETURNING 1",
        (worker_id,),
    )

    healed = ward.examine(mends=True)

    assert {"dead workers", "lost steps"} <= {deed.act for deed in healed.done}
    assert ward.get_status(execution_id) is StepStatus.READY


def test_no_longer_is_waited_than_until_the_silent_are_dead(ward: Ward) -> None:
    ward = replace(ward, settings=replace(ward.settings, lease_seconds=3600.0))
    worker_id = register(ward.liveness, ward.settings, lease_seconds=3600.0)
    ward.database.query(
        "UPDATE {schema}.workers SET beat_at = beat_at - interval '1d',"
        " pulse = pulse - 4000 WHERE id = %s RETURNING 1",
        (worker_id,),
    )

    def wait(seconds: float) -> None:
        raise AssertionError(f"waited for {seconds} s")

    healed = ward.examine(mends=True, wait=wait)

    assert [deed.act for deed in healed.done] == ["dead workers"]


# when it stops


class Thief:
    """Another installation: it takes all messages, time and again.

    Its clock is the doctor's, who reads it at each look, and by whom a minute has
    passed then.
    """

    def __init__(self, ward: Ward, ids: list[str]) -> None:
        self.looks = 0
        self._ward = ward
        self._ids = ids

    def __call__(self) -> float:
        assert self.looks < 200, "there is no end to it"
        self.looks += 1
        for execution_id in self._ids:
            self._ward.let_pass(execution_id, "published_at")
        with redis.Redis.from_url(str(self._ward.settings.redis_url)) as client:
            client.delete(self._ward.settings.queue)
        return time.time()


def test_what_others_take_again_is_sent_once_and_said_to_be_gone(ward: Ward) -> None:
    ids = [ward.engine.submit(ONE) for _ in range(3)]

    healed = ward.examine(mends=True, now=Thief(ward, ids))

    (sent,) = (deed for deed in healed.done if deed.act == "sent again")
    assert sent.count == 3
    assert any("3 messages sent again just now and gone" in x for x in healed.limits)
    assert all(is_found(healed, FindingCode.MESSAGE_MISSING, one) for one in ids)


def test_no_more_rounds_are_made_than_there_may_be(ward: Ward) -> None:
    ids = [ward.engine.submit(ONE) for _ in range(5)]
    for execution_id in ids:
        ward.let_pass(execution_id, "published_at")
    with redis.Redis.from_url(str(ward.settings.redis_url)) as client:
        client.delete(ward.settings.queue)

    healed = ward.examine(mends=True, most_rows=2, most_rounds=2)

    (sent,) = (deed for deed in healed.done if deed.act == "sent again")
    assert sent.count == 4
    assert any("1 message still to be sent again" in one for one in healed.limits)


def test_what_the_broker_refuses_is_not_said_to_be_gone(ward: Ward) -> None:
    for execution_id in [ward.engine.submit(ONE) for _ in range(3)]:
        ward.let_pass(execution_id, "published_at")
    with redis.Redis.from_url(str(ward.settings.redis_url)) as client:
        client.delete(ward.settings.queue)
        client.config_set("maxmemory", 1)
        try:
            refused = ward.examine(mends=True)
        finally:
            client.config_set("maxmemory", 0)

    assert not [deed for deed in refused.done if deed.act == "sent again"]
    assert any("still to be sent again" in one for one in refused.limits), refused


# one moment


def test_what_is_wanted_is_read_of_one_moment(ward: Ward) -> None:
    worker_id = register(ward.liveness, ward.settings)
    plan = Plan("waits", steps=[Step("one", wait_for="go", timeout="1h")])
    execution_id = ward.engine.submit(plan)
    held = claim(ward.records, worker_id, execution_id, 0).held
    ward.records.signals.begin_wait(
        held, recorded_input="{}", name="go", seconds=3600.0
    )
    ward.engine.pause(execution_id)
    ward.let_pass(execution_id, "wake_at", seconds=7200)
    url, schema = str(ward.settings.database_url), ward.settings.schema
    with (
        closing(connect(url, schema)) as other,
        other.cursor() as cursor,
        ThreadPoolExecutor(1) as threads,
    ):
        # what is read before that, and not what is read after it
        cursor.execute("LOCK TABLE step_attempts IN ACCESS EXCLUSIVE MODE")
        looking = threads.submit(ward.examine)
        wait_until(
            lambda: ward.database.query(
                "SELECT FROM pg_locks WHERE NOT granted AND relation ="
                " to_regclass('{schema}.step_attempts')"
            ),
            what="the look to come there",
        )
        cursor.execute(
            "UPDATE executions SET status = 'running', paused_at = NULL WHERE id = %s",
            (execution_id,),
        )
        other.commit()
        diagnosis = looking.result(timeout=60)

    assert not is_found(diagnosis, FindingCode.STEP_UNWOKEN, execution_id)
