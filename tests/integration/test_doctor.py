"""`plans doctor` on real servers: what is wrong is found; where all is well, nothing.

Here it is about workers, queues, messages and steps. What nature would take long for is
played by workers that are only rows, and by moving what was written into the past.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pytest
import redis
from celery import Celery
from typer.testing import CliRunner

from execution import (
    ExecutionEngine,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.answers import HeldStep
from execution.cli.app import app as commands
from execution.cli.exits import ExitCode
from execution.diagnosis.codes import FindingCode, FindingSeverity
from execution.doctor import Diagnosis, Doctor
from execution.installation import Installation
from execution.local import LocalStack
from execution.mending import Deed
from execution.schema import upgrade
from tests.beating import Hands, beat
from tests.integration.test_protocol import claim, nothing, register
from tests.polling import wait_until
from tests.rows import committed, insert_execution, insert_step
from tests.ward import LIVING, Ward, about, examine, is_found, open_ward
from tests.worker_process import WorkerProcess, build_environment

ONE = Plan("one", steps=[nothing("one")])
LINE = Plan("line", steps=[nothing("one"), Step("two", action="nobodys.action")])


def write_message(positions: str, epoch: str = "1") -> str:
    """Return a message as somebody else's program might send one of ours."""
    body = f'[["{FOREIGN}", {positions}, {epoch}], {{}}, {{}}]'
    headers = {"task": "plans.step"}
    return json.dumps({"headers": headers, "properties": {}, "body": body})


FOREIGN = "019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1"
NOISE = (
    "noise",
    "[]",
    '{"headers": {"task": "x"}}',
    '{"headers": null}',
    '{"headers": [], "body": ""}',
    '{"headers": {"task": "plans.step"}, "properties": {}, "body": "[]"}',
    '{"headers": {"task": "plans.step"}, "properties": {}, "body": "[[1]]"}',
    "[" * 100_000,
    write_message("[1e999]"),
    write_message("[0]", epoch="1e999"),
)
"""What other programs, or nobody, would send."""
TIMED = Plan("timed", steps=[Step("one", action="test.nothing", timeout="1m")])


# a real worker


@dataclass(frozen=True)
class Served:
    """An installation with a worker of one slot, and an engine."""

    settings: Settings
    engine: ExecutionEngine
    worker: WorkerProcess

    def count_waiting(self) -> int:
        """Return how many messages wait in the queue, by Redis."""
        with redis.Redis.from_url(str(self.settings.redis_url)) as client:
            return int(client.llen(self.settings.queue))


@pytest.fixture(scope="module")
def served(
    settings: Settings, leaving_workers: list[WorkerProcess]
) -> Iterator[Served]:
    """Such an installation, with a lease that a busy machine keeps."""
    named = replace(
        settings, schema="doctor_served", queue="doctor_served", lease_seconds=6.0
    )
    upgrade(str(named.database_url), named.schema)
    worker = WorkerProcess.start(named, slots=1)
    other = replace(named, lease_seconds=9.0)
    # by what lease it goes it tells with its first beat
    wait_until(
        lambda: (
            FindingCode.WORKER_LEASE in {one.code for one in examine(other).findings}
        ),
        what="the worker to beat",
    )
    with ExecutionEngine(Installation(named, None)) as engine:
        yield Served(named, engine, worker)
    worker.process.terminate()
    leaving_workers.append(worker)


@pytest.fixture
def durable(stack: LocalStack) -> Iterator[None]:
    """Let the server be as a healthy one is; other tests do without, for speed."""
    url = str(stack.urls.database_url).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for value in ("on", "off"):
                for name in ("fsync", "full_page_writes"):
                    cursor.execute(f"ALTER SYSTEM SET {name} = {value}")
                cursor.execute("SELECT pg_reload_conf()")

                def is_there(value: str = value) -> bool:
                    cursor.execute("SHOW fsync")
                    return cursor.fetchone() == (value,)

                wait_until(is_there, what=f"fsync to be {value}")
                if value == "on":
                    yield


@pytest.mark.usefixtures("durable")
def test_a_healthy_installation_has_no_findings(served: Served) -> None:
    assert served.engine.execute(ONE, timeout_seconds=60).is_success

    assert examine(served.settings) == Diagnosis((), ())


@pytest.mark.usefixtures("durable")
def test_a_flushed_redis_is_healed_at_once_and_only_once(
    served: Served, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    held = Plan("held", steps=[Step("one", action="test.hold", with_=inputs)])
    ids = [served.engine.submit(held) for _ in range(5)]
    wait_until(ledger.read_text, what="the first to run")
    assert served.count_waiting() == 4

    with redis.Redis.from_url(str(served.settings.redis_url)) as client:
        client.flushdb()
    # a message may be on its way for two seconds
    lost = wait_until(
        lambda: [
            finding
            for finding in examine(served.settings).findings
            if finding.code is FindingCode.MESSAGE_MISSING and len(finding.ids) == 4
        ],
        what="the messages to be missed",
    )
    healed = examine(served.settings, mends=True)
    again = examine(served.settings, mends=True)

    assert set(lost[0].ids) == {f"{one} one" for one in ids[1:]}
    assert healed.done == (Deed("sent again", 4, lost[0].ids),)
    assert (healed.findings, again.findings, again.done) == ((), (), ())
    assert served.count_waiting() == 4
    gate.touch()
    for execution_id in ids:
        assert served.engine.wait(execution_id, timeout_seconds=60).is_success
    assert len(ledger.read_text().splitlines()) == 5


@pytest.mark.usefixtures("durable")
def test_nothing_is_wrong_while_all_goes_on(served: Served, ledger: Path) -> None:
    inputs = {"ledger": str(ledger), "seconds": 0.02}
    names = [f"{line}{n}" for line in "ab" for n in range(3)]
    steps = [Step(name, action="test.work", with_=inputs, needs=[]) for name in names]
    busy = Plan("busy", steps=[*steps, nothing("join", needs=names)])
    served.engine.submit_many(busy, [{}] * 10)

    found: list[tuple[FindingSeverity, str]] = []
    while served.engine.count_executions(LIVING):
        found += [(one.severity, one.seen) for one in examine(served.settings).findings]

    assert [one for one in found if one[0] is not FindingSeverity.NOTE] == []


@pytest.mark.usefixtures("durable")
@pytest.mark.parametrize(
    ("lease", "shown", "code"),
    [
        (6.0, "nothing is wrong\n", ExitCode.OK),
        (9.0, "\nworker-lease: ", ExitCode.WARNED),
    ],
)
def test_the_exit_code_says_whether_all_is_well(
    served: Served, lease: float, shown: str, code: ExitCode
) -> None:
    settings = replace(served.settings, lease_seconds=lease)

    answer = CliRunner().invoke(commands, ["doctor"], env=build_environment(settings))

    assert shown in answer.stdout
    assert answer.exit_code == code


def test_a_worker_of_another_lease_is_found(served: Served) -> None:
    diagnosis = examine(replace(served.settings, lease_seconds=9.0))

    found = about(diagnosis, FindingCode.WORKER_LEASE, "goes by 6 s")
    assert "this program by 9 s" in found.seen


# workers that are only rows


@pytest.fixture
def ward(settings: Settings) -> Iterator[Ward]:
    """Such an installation without a worker."""
    with open_ward(settings) as opened:
        yield opened


@pytest.fixture
def worker_id(ward: Ward) -> str:
    """A worker that is only a row, and has beaten just now."""
    return register(ward.liveness, ward.settings)


def test_a_queue_with_work_and_no_worker_is_found(ward: Ward) -> None:
    execution_id = ward.engine.submit(ONE)

    found = about(ward.examine(), FindingCode.QUEUE_UNSERVED, execution_id)

    assert found.fix == f"plans worker -Q {ward.settings.queue}"
    about(ward.examine(), FindingCode.NO_WORKER, "no worker")


def test_an_action_that_no_worker_has_is_found(ward: Ward) -> None:
    register(ward.liveness, ward.settings, actions="[]")
    execution_id = ward.engine.submit(ONE)

    found = about(ward.examine(), FindingCode.ACTION_MISSING, execution_id)

    assert "1 step of test.nothing" in found.seen


@pytest.mark.usefixtures("worker_id")
def test_an_action_that_will_be_needed_is_found(ward: Ward) -> None:
    actions = '[{"name": "nobodys.action"}]'
    gone = register(ward.liveness, ward.settings, actions=actions)
    ward.liveness.end_worker(gone)
    ward.engine.submit(LINE)

    about(ward.examine(), FindingCode.ACTION_COMING, "nobodys.action")


def test_a_queue_that_nobody_uses_is_found(ward: Ward) -> None:
    register(ward.liveness, ward.settings, "forgotten")

    about(ward.examine(), FindingCode.QUEUE_UNUSED, "forgotten")


def test_a_worker_that_answers_nobody_is_found(ward: Ward, worker_id: str) -> None:
    about(ward.examine(), FindingCode.WORKER_MUTE, worker_id)


def test_workers_on_several_hosts_need_a_place_for_large_values(
    ward: Ward, worker_id: str
) -> None:
    register(ward.liveness, ward.settings)
    ward.database.query(
        "UPDATE {schema}.workers SET hostname = 'celery@elsewhere' WHERE id = %s"
        " RETURNING 1",
        (worker_id,),
    )

    about(ward.examine(), FindingCode.PAYLOADS_APART, "elsewhere")


def test_a_worker_of_an_older_release_that_does_not_look_is_found(
    ward: Ward, worker_id: str
) -> None:
    ward.database.query(
        'UPDATE {schema}.workers SET rounds = \'{"totals": {}, "age": 60}\''
        " WHERE id = %s RETURNING 1",
        (worker_id,),
    )

    diagnosis = ward.examine()

    about(diagnosis, FindingCode.WORKER_RELEASE, worker_id)
    about(diagnosis, FindingCode.WORKERS_DO_NOT_LOOK, worker_id)


def test_a_silent_worker_is_declared_dead_and_its_step_taken_back(
    ward: Ward, worker_id: str
) -> None:
    ward = replace(ward, settings=replace(ward.settings, lease_seconds=1.0))
    execution_id = ward.engine.submit(ONE)
    claim(ward.records, worker_id, execution_id, 0)
    silent = wait_until(
        lambda: [
            finding
            for finding in ward.examine().findings
            if finding.code is FindingCode.WORKER_SILENT
        ],
        what="the worker to be silent",
    )

    healed = ward.examine(mends=True)

    assert silent[0].ids == (worker_id,)
    assert {"dead workers", "lost steps"} <= {deed.act for deed in healed.done}
    assert not is_found(healed, FindingCode.WORKER_SILENT, worker_id)
    assert ward.get_status(execution_id) is StepStatus.READY


def test_a_step_that_nobody_runs_is_found_and_taken_back(
    ward: Ward, worker_id: str
) -> None:
    execution_id = ward.engine.submit(ONE)
    claim(ward.records, worker_id, execution_id, 0)
    ward.liveness.end_worker(worker_id)
    ward.database.query(
        "UPDATE {schema}.workers SET ended_at = ended_at - interval '1m'"
        " WHERE id = %s RETURNING 1",
        (worker_id,),
    )

    found = about(ward.examine(), FindingCode.STEP_LOST, execution_id)
    healed = ward.examine(mends=True)

    assert "its worker is gone" in found.seen
    assert not is_found(healed, FindingCode.STEP_LOST, execution_id)
    assert ward.get_status(execution_id) is StepStatus.READY


def test_an_attempt_beyond_its_timeout_is_found_also_when_it_was_taken(
    ward: Ward, worker_id: str
) -> None:
    execution_id = ward.engine.submit(TIMED)
    held = claim(ward.records, worker_id, execution_id, 0).held
    ward.let_pass(execution_id, "attempt_deadline", seconds=120)
    overdue = ward.liveness.sweep(
        worker_id, tick_seconds=0, lease_seconds=3600, beat_seconds=1, most=9
    ).overdue_steps[0]

    about(ward.examine(), FindingCode.STEP_OVERDUE, execution_id)
    assert ward.liveness.take_overdue(overdue, wait_seconds=0) is not None
    show(ward, worker_id, held)
    just_now = look_patiently(ward)
    let_attempts_pass(ward, execution_id)

    # a worker may need a beat to end what it was told to end
    assert not is_found(just_now, FindingCode.ATTEMPT_TAKEN, execution_id)
    about(look_patiently(ward), FindingCode.ATTEMPT_TAKEN, execution_id)


def look_patiently(ward: Ward) -> Diagnosis:
    """Look with a lease that workers who are only rows keep on a busy machine."""
    patient = replace(ward.settings, lease_seconds=600.0)
    return replace(ward, settings=patient).examine()


def show(ward: Ward, worker_id: str, held: HeldStep) -> None:
    """Beat for a worker that runs a step."""
    delivery = f"{held.execution_id}:one:1:1"
    hands = Hands(deliveries=(delivery,), tokens=(held.token,))
    beat(ward.database, worker_id, [ward.settings.queue], hands=hands)


def let_attempts_pass(ward: Ward, execution_id: str) -> None:
    """Move the end of the attempts of an execution into the past."""
    ward.database.query(
        "UPDATE {schema}.step_attempts SET ended_at = ended_at - interval '1h'"
        " WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )


def fail_and_go_on(ward: Ward, held: HeldStep, *, attempt: int, parks: bool) -> None:
    ward.records.retry(
        held,
        attempt=attempt,
        recorded_input="{}",
        error='{"code": "E001", "message": "no"}',
        wait_seconds=0.0,
        parks=parks,
    )


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_retry_in_place_that_has_ended_since_was_not_taken_away(
    ward: Ward, worker_id: str, ends_well: bool
) -> None:
    execution_id = ward.engine.submit(ONE)
    held = claim(ward.records, worker_id, execution_id, 0).held
    fail_and_go_on(ward, held, attempt=1, parks=False)
    let_attempts_pass(ward, execution_id)
    show(ward, worker_id, held)
    while_it_ran = look_patiently(ward)

    if ends_well:
        ward.records.complete(held, StepStatus.COMPLETED, covered=0, epoch=1)
    else:
        fail_and_go_on(ward, held, attempt=2, parks=True)

    assert not is_found(while_it_ran, FindingCode.ATTEMPT_TAKEN, execution_id)
    since = look_patiently(ward)
    assert not is_found(since, FindingCode.ATTEMPT_TAKEN, execution_id)


def test_a_retry_in_place_that_was_taken_away_is_found(
    ward: Ward, worker_id: str
) -> None:
    execution_id = ward.engine.submit(ONE)
    held = claim(ward.records, worker_id, execution_id, 0).held
    for attempt in (1, 2):
        # the second time, it lets go of the step, and runs on
        fail_and_go_on(ward, held, attempt=attempt, parks=attempt == 2)
    let_attempts_pass(ward, execution_id)
    show(ward, worker_id, held)

    found = about(look_patiently(ward), FindingCode.ATTEMPT_TAKEN, execution_id)

    assert found.seen.startswith("1 step ")


@pytest.mark.usefixtures("worker_id")
def test_a_step_that_was_never_sent_is_found_and_sent(ward: Ward) -> None:
    execution_id = str(uuid.uuid4())
    with committed(str(ward.settings.database_url), ward.settings.schema) as cursor:
        execution_id = ward.engine.submit(ONE, transaction=cursor.connection)
    ward.let_pass(execution_id, "ready_at")

    about(ward.examine(), FindingCode.STEP_UNSENT, execution_id)
    healed = ward.examine(mends=True)

    assert Deed("sent executions", 1) in healed.done
    assert not is_found(healed, FindingCode.STEP_UNSENT, execution_id)


def test_a_wait_beyond_its_time_is_found_and_ended(ward: Ward, worker_id: str) -> None:
    plan = Plan("sleeps", steps=[Step("one", sleep="1h")])
    execution_id = ward.engine.submit(plan)
    held = claim(ward.records, worker_id, execution_id, 0).held
    ward.records.sleep(held, recorded_input="{}", seconds=3600.0, until=None)
    ward.let_pass(execution_id, "wake_at", seconds=3660)

    about(ward.examine(), FindingCode.STEP_UNWOKEN, execution_id)
    healed = ward.examine(mends=True)

    assert not is_found(healed, FindingCode.STEP_UNWOKEN, execution_id)


def test_an_execution_that_nobody_finished_is_found_and_finished(
    ward: Ward, worker_id: str
) -> None:
    plan = Plan("told", steps=[nothing("one")], result="${steps.one.status}")
    execution_id = ward.engine.submit(plan)
    held = claim(ward.records, worker_id, execution_id, 0).held
    ward.records.complete(held, StepStatus.COMPLETED, covered=0, epoch=1)
    ward.database.query(
        "UPDATE {schema}.execution_events SET at = at - interval '1m'"
        " WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )

    about(ward.examine(), FindingCode.EXECUTION_UNFINISHED, execution_id)
    ward.examine(mends=True)

    assert ward.engine.wait(execution_id, timeout_seconds=60).is_success


def test_an_execution_that_nothing_can_move_is_found(ward: Ward) -> None:
    url, schema = str(ward.settings.database_url), ward.settings.schema
    with committed(url, schema) as cursor:
        execution_id = insert_execution(cursor)
        insert_step(cursor, execution_id)

    found = about(ward.examine(), FindingCode.EXECUTION_STUCK, execution_id)

    assert f"plans why {execution_id}" in found.fix
    with committed(url, schema) as cursor:
        cursor.execute("DELETE FROM executions WHERE id = %s", (execution_id,))


def test_more_executions_than_are_looked_at_are_said_to_be_more(ward: Ward) -> None:
    with committed(str(ward.settings.database_url), ward.settings.schema) as cursor:
        # which come first is nobody's choice: no others than these
        cursor.execute("DELETE FROM executions")
        ids = [insert_execution(cursor) for _ in range(4)]
        for execution_id in ids:
            status = "pending" if execution_id in ids[:2] else "waiting"
            insert_step(cursor, execution_id, status=status)

    all_of_them = ward.examine()
    first_of_them = ward.examine(most_rows=3)

    for diagnosis, is_cut, seen in (
        (all_of_them, False, "2 executions"),
        (first_of_them, True, "at least "),
    ):
        (found,) = (
            one for one in diagnosis.findings if one.code is FindingCode.EXECUTION_STUCK
        )
        assert found.is_cut is is_cut
        assert found.seen.startswith(seen)
        assert any("may be stuck" in one for one in diagnosis.limits) is is_cut
    with committed(str(ward.settings.database_url), ward.settings.schema) as cursor:
        cursor.execute("DELETE FROM executions")


def test_a_message_of_an_older_epoch_is_found_to_be_harmless(ward: Ward) -> None:
    execution_id = ward.engine.submit(ONE)
    ward.engine.pause(execution_id)
    ward.engine.resume(execution_id)

    found = about(ward.examine(), FindingCode.MESSAGE_UNWANTED, execution_id)

    assert "1 message" in found.seen
    assert not is_found(ward.examine(), FindingCode.MESSAGE_MISSING, execution_id)


def test_a_message_of_another_installation_is_found(ward: Ward, served: Served) -> None:
    foreign = replace(served.settings, queue=ward.settings.queue)
    with ExecutionEngine(Installation(foreign, None)) as engine:
        execution_id = engine.submit(ONE)

    about(ward.examine(), FindingCode.MESSAGE_STRANGE, execution_id)
    served.engine.cancel(execution_id)


@pytest.mark.parametrize("position", [2**31, -(2**40)])
def test_a_message_for_a_position_that_there_cannot_be_is_foreign(
    ward: Ward, position: int
) -> None:
    execution_id = ward.engine.submit(ONE)
    with redis.Redis.from_url(str(ward.settings.redis_url)) as client:
        client.lpush(ward.settings.queue, write_message(f"[{position}]"))

    diagnosis = ward.examine()

    about(diagnosis, FindingCode.MESSAGE_STRANGE, FOREIGN)
    about(diagnosis, FindingCode.QUEUE_UNSERVED, execution_id)


def test_a_queue_that_is_not_read_wholly_misses_nothing(ward: Ward) -> None:
    for _ in range(3):
        ward.engine.submit(ONE)

    diagnosis = examine(ward.settings, messages=2, answer_seconds=0.1)

    assert any("the oldest 2 of" in limit for limit in diagnosis.limits)


def test_a_message_that_was_delivered_and_is_kept_is_not_missing(ward: Ward) -> None:
    execution_id = ward.engine.submit(ONE)
    ward.let_pass(execution_id, "published_at")
    # by itself Celery lets Redis keep what is in hand; ours does not
    app = Celery(broker=ward.settings.broker_url, set_as_current=False)
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(ward.settings.queue)
        with closing(Doctor(ward.settings, app)) as doctor:
            kept = doctor.examine()
        unkept = ward.examine()
        message.requeue()

    assert not is_found(kept, FindingCode.MESSAGE_MISSING, execution_id)
    assert is_found(unkept, FindingCode.MESSAGE_MISSING, execution_id)


def test_where_not_all_that_is_kept_was_read_no_message_is_missing(ward: Ward) -> None:
    execution_ids = [ward.engine.submit(ONE) for _ in range(2)]
    for execution_id in execution_ids:
        ward.let_pass(execution_id, "published_at")
    app = Celery(broker=ward.settings.broker_url, set_as_current=False)
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        messages = [channel.basic_get(ward.settings.queue) for _ in execution_ids]
        with closing(Doctor(ward.settings, app, most_messages=1)) as doctor:
            diagnosis = doctor.examine()
        for message in messages:
            message.requeue()

    for execution_id in execution_ids:
        assert not is_found(diagnosis, FindingCode.MESSAGE_MISSING, execution_id)
    assert any("kept until it is acknowledged" in one for one in diagnosis.limits)


def test_more_messages_than_are_read_at_once_are_sent_again(ward: Ward) -> None:
    ids = [ward.engine.submit(ONE) for _ in range(5)]
    for execution_id in ids:
        ward.let_pass(execution_id, "published_at")
    with redis.Redis.from_url(str(ward.settings.redis_url)) as client:
        client.delete(ward.settings.queue)
        with closing(Doctor(ward.settings, most_rows=2)) as doctor:
            healed = doctor.examine(mends=True)
        waiting = client.llen(ward.settings.queue)

    (sent,) = [deed for deed in healed.done if deed.act == "sent again"]
    assert sent.count == waiting == 5
    assert set(sent.ids) == {f"{one} one" for one in ids}


def test_what_is_no_message_of_ours_is_passed_over(ward: Ward) -> None:
    execution_id = ward.engine.submit(ONE)
    with redis.Redis.from_url(str(ward.settings.redis_url)) as client:
        client.lpush(ward.settings.queue, *NOISE)

    diagnosis = ward.examine()

    about(diagnosis, FindingCode.QUEUE_UNSERVED, execution_id)
    assert not is_found(diagnosis, FindingCode.MESSAGE_MISSING, execution_id)
