"""From what was seen to what is wrong: every finding, and what is none."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from execution.diagnosis.codes import FindingCode, FindingSeverity
from execution.diagnosis.facts import (
    AnswerFacts,
    AwayFacts,
    BrokerFacts,
    ClockFacts,
    ConnectionFacts,
    DueFacts,
    HeldMessage,
    MessageFacts,
    MessageTarget,
    NeededAction,
    Observations,
    PostgresFacts,
    ProgramFacts,
    QueueFacts,
    RedisFacts,
    SchemaFacts,
    SentStep,
    SettingFacts,
    StandingFacts,
    StrayStep,
    WorkerFacts,
)
from execution.diagnosis.findings import MOST_IDS, Finding
from execution.diagnosis.intents import find_missing
from execution.diagnosis.judging import judge, list_limits
from execution.diagnosis.programs import meets, split_requirement

ID = "019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1"
CLOCK = ClockFacts(0.001, 0.002)
PROGRAM = ProgramFacts(
    python="3.12.1",
    release="1.0",
    revision="0023",
    functions="abc",
    libraries={"celery": "5.7.1"},
    requirements=("python>=3.11", "celery[redis]<6,>=5.7", 'flower; extra == "f"'),
    queue="plans",
    lease_seconds=30.0,
)
POSTGRES = PostgresFacts(
    version=160_003,
    role="ann",
    is_standby=False,
    settings={
        "default_transaction_isolation": "read committed",
        "fsync": "on",
        "synchronous_commit": "on",
        "statement_timeout": "60000",
    },
    limits=(ConnectionFacts("max_connections", 7, 97), ConnectionFacts("r", 7, -1)),
    missing_rights=(),
    clock=CLOCK,
    schema_name="celery_plans",
    schema=SchemaFacts("0023", "abc"),
)
REDIS = RedisFacts("run", "Valkey", "7.2.4", "master", "noeviction", 1, 0, True, CLOCK)
BROKER = BrokerFacts("Valkey", "7.2.4", REDIS, (QueueFacts("plans", 0, 0),))
WORKER = WorkerFacts(
    "w1", "celery@a", ("plans",), 1.0, 2.0, True, "1.0", "abc", lease_seconds=30.0
)
SENT = SentStep(ID, 2, "send", "plans", epoch=3, publishes=1, sent_seconds=9.0)
STANDING = StandingFacts(workers=(WORKER,))
HEALTHY = Observations(
    PROGRAM, POSTGRES, BROKER, REDIS, STANDING, AnswerFacts(frozenset({"celery@a"}))
)
MISSED = replace(
    HEALTHY, standing=replace(STANDING, sent=(SENT,)), still_sent=frozenset({SENT})
)
MESSAGE = MessageFacts("plans", ID, (1, 2), epoch=3)


def with_program(**facts: Any) -> Observations:
    return replace(HEALTHY, program=replace(PROGRAM, **facts))


def with_postgres(**facts: Any) -> Observations:
    return replace(HEALTHY, postgres=replace(POSTGRES, **facts))


def with_settings(**settings: str) -> Observations:
    return with_postgres(settings={**POSTGRES.settings, **settings})


def with_broker(**facts: Any) -> Observations:
    redis = replace(REDIS, **facts)
    return replace(HEALTHY, broker=replace(BROKER, redis=redis), hints=redis)


def with_worker(**facts: Any) -> Observations:
    return with_standing(workers=(replace(WORKER, **facts),))


def with_standing(**facts: Any) -> Observations:
    return replace(HEALTHY, standing=replace(STANDING, **facts))


def with_target(**facts: Any) -> Observations:
    target = replace(MessageTarget("ready", "running", 3), **facts)
    return replace(HEALTHY, targets={MESSAGE: (target,)})


def setting(severity: str) -> tuple[SettingFacts, ...]:
    return (SettingFacts("task_time_limit", "3", severity, "it cuts", "unset it"),)


def stray(seconds: float = 40.0) -> tuple[StrayStep, ...]:
    return (StrayStep(ID, "send", seconds, "its worker is gone", "celery@b"),)


CASES: Mapping[str, tuple[Observations, FindingCode, str, str]] = {
    "an old library": (
        with_program(libraries={"celery": "5.6.9"}),
        FindingCode.LIBRARY_UNFIT,
        "celery 5.6.9 is installed, and <6,>=5.7 is needed",
        "pip install 'celery<6,>=5.7'",
    ),
    "an old Python": (
        with_program(python="3.10.12"),
        FindingCode.LIBRARY_UNFIT,
        "python 3.10.12 is installed, and >=3.11 is needed",
        "pip install 'python>=3.11'",
    ),
    "a setting that is refused": (
        with_program(app_settings=setting("refused")),
        FindingCode.SETTING_REFUSED,
        "task_time_limit = 3: it cuts",
        "unset it",
    ),
    "a setting that is a risk": (
        with_program(app_settings=setting("risk")),
        FindingCode.SETTING_RISK,
        "task_time_limit = 3: it cuts",
        "unset it",
    ),
    "a setting that costs": (
        with_program(app_settings=setting("cost")),
        FindingCode.SETTING_COST,
        "task_time_limit = 3: it cuts",
        "unset it",
    ),
    "no hints": (
        with_program(has_hints=False),
        FindingCode.NO_HINTS,
        "neither PLANS_REDIS_URL nor a Redis broker",
        "set PLANS_REDIS_URL",
    ),
    "an old PostgreSQL": (
        with_postgres(version=130_014),
        FindingCode.POSTGRES_OLD,
        "it is PostgreSQL 13.14",
        "upgrade PostgreSQL",
    ),
    "a standby": (
        with_postgres(is_standby=True),
        FindingCode.POSTGRES_READ_ONLY,
        "it is a standby",
        "let PLANS_DATABASE_URL name the primary",
    ),
    "transactions that only read": (
        with_settings(default_transaction_read_only="on"),
        FindingCode.POSTGRES_READ_ONLY,
        "it is default_transaction_read_only",
        "ALTER ROLE ann RESET default_transaction_read_only",
    ),
    "another isolation": (
        with_settings(default_transaction_isolation="serializable"),
        FindingCode.POSTGRES_ISOLATION,
        "default_transaction_isolation is 'serializable'",
        "ALTER ROLE ann SET default_transaction_isolation = 'read committed'",
    ),
    "no fsync": (
        with_settings(fsync="off"),
        FindingCode.POSTGRES_NOT_DURABLE,
        "fsync is off",
        "ALTER SYSTEM SET fsync = on",
    ),
    "no full page writes": (
        with_settings(full_page_writes="off"),
        FindingCode.POSTGRES_NOT_DURABLE,
        "full_page_writes is off",
        "ALTER SYSTEM SET full_page_writes = on",
    ),
    "no synchronous commit": (
        with_settings(synchronous_commit="off"),
        FindingCode.POSTGRES_ASYNCHRONOUS,
        "synchronous_commit is off",
        "ALTER ROLE ann SET synchronous_commit = on",
    ),
    "idle sessions that are cut": (
        with_settings(idle_session_timeout="5000"),
        FindingCode.POSTGRES_CUTS,
        "idle_session_timeout is 5000 ms",
        "ALTER ROLE ann SET idle_session_timeout = '0'",
    ),
    "transactions that are cut": (
        with_settings(transaction_timeout="100"),
        FindingCode.POSTGRES_CUTS,
        "transaction_timeout is 100 ms",
        "ALTER ROLE ann SET transaction_timeout = '0'",
    ),
    "a pooler that drops what we ask for": (
        with_settings(statement_timeout="0"),
        FindingCode.POSTGRES_CUTS,
        "statement_timeout is 0 ms",
        "let the pooler pass on the `options`",
    ),
    "few connections left": (
        with_postgres(limits=(ConnectionFacts("max_connections", 80, 100),)),
        FindingCode.POSTGRES_FULL,
        "80 of 100 connections (max_connections)",
        "raise max_connections",
    ),
    "rights that lack": (
        with_postgres(missing_rights=("UPDATE on p.a", "SELECT on p.b"), schema=None),
        FindingCode.POSTGRES_RIGHTS,
        "the role ann lacks UPDATE on p.a, SELECT on p.b",
        "GRANT UPDATE ON p.a TO ann",
    ),
    "PostgreSQL ahead": (
        with_postgres(clock=ClockFacts(3.0, 0.01)),
        FindingCode.POSTGRES_CLOCK,
        "PostgreSQL is 3.0 s ahead of this host, within 0.005 s",
        "NTP",
    ),
    "PostgreSQL behind": (
        with_postgres(clock=ClockFacts(-3.0, 0.01)),
        FindingCode.POSTGRES_CLOCK,
        "PostgreSQL is 3.0 s behind this host",
        "NTP",
    ),
    "no schema": (
        with_postgres(schema=SchemaFacts(None, None)),
        FindingCode.SCHEMA_MISSING,
        "there is no schema celery_plans",
        "plans db upgrade",
    ),
    "an older schema": (
        with_postgres(schema=SchemaFacts("0022", "abc")),
        FindingCode.SCHEMA_OLDER,
        "schema celery_plans is at revision 0022, not 0023",
        "plans db upgrade",
    ),
    "a newer schema": (
        with_postgres(schema=SchemaFacts("0024", "abc")),
        FindingCode.SCHEMA_NEWER,
        "schema celery_plans is at revision 0024, not 0023",
        "pip install --upgrade celery-plans",
    ),
    "other functions": (
        with_postgres(schema=SchemaFacts("0023", "abd")),
        FindingCode.FUNCTIONS_DIFFER,
        "in schema celery_plans",
        "plans db upgrade",
    ),
    "an old Redis": (
        with_broker(version="6.0.16", product="Redis"),
        FindingCode.BROKER_OLD,
        "the broker is Redis 6.0.16",
        "upgrade Redis",
    ),
    "a replica": (
        with_broker(role="slave"),
        FindingCode.BROKER_REPLICA,
        "the broker is a replica",
        "name the primary",
    ),
    "a Redis ahead": (
        with_broker(clock=ClockFacts(9.0, 1.0)),
        FindingCode.BROKER_CLOCK,
        "the broker is 9.0 s ahead of this host, within 0.500 s",
        "NTP",
    ),
    "a Redis that says nothing": (
        with_broker(clock=None, refusals=("TIME: NOPERM",)),
        FindingCode.BROKER_UNSEEN,
        "the broker: TIME: NOPERM",
        "INFO, TIME and LRANGE",
    ),
    "a queue that may not be read": (
        replace(HEALTHY, broker=replace(BROKER, refusals=("the queue plans: NO",))),
        FindingCode.BROKER_UNSEEN,
        "the queue plans: NO",
        "INFO, TIME and LRANGE",
    ),
    "a Redis that evicts": (
        with_broker(policy="allkeys-lru", most_bytes=100),
        FindingCode.BROKER_EVICTS,
        "maxmemory-policy is allkeys-lru",
        "CONFIG SET maxmemory-policy noeviction",
    ),
    "a full Redis": (
        with_broker(used_bytes=1900, most_bytes=2000),
        FindingCode.BROKER_FULL,
        "1,900 of 2,000 bytes are in use",
        "maxmemory",
    ),
    "a Redis that forgets": (
        with_broker(is_kept=False),
        FindingCode.BROKER_FORGETS,
        "neither appendonly nor save is set",
        "CONFIG SET appendonly yes",
    ),
    "another Redis for hints that is away": (
        replace(HEALTHY, hints=AwayFacts("refused")),
        FindingCode.HINTS_AWAY,
        "refused",
        "PLANS_REDIS_URL",
    ),
    "another Redis for hints that is old": (
        replace(HEALTHY, hints=replace(REDIS, run_id="other", version="5")),
        FindingCode.BROKER_OLD,
        "the Redis of hints is Valkey 5",
        "upgrade Redis",
    ),
    "a worker that has not looked": (
        with_worker(look_age_seconds=31.0),
        FindingCode.WORKERS_DO_NOT_LOOK,
        "no look of 1 workers, the last 31 s ago",
        "plans doctor --fix",
    ),
    "a worker that has never looked": (
        with_worker(look_age_seconds=None),
        FindingCode.WORKERS_DO_NOT_LOOK,
        "no look of 1 workers, none so far",
        "plans doctor --fix",
    ),
    "a worker of an older release": (
        with_worker(release=None, functions=None, lease_seconds=None),
        FindingCode.WORKER_RELEASE,
        "celery@a runs an older release, which does not say so",
        "restart it with the release 1.0",
    ),
    "a worker of another release": (
        with_worker(release="0.9"),
        FindingCode.WORKER_RELEASE,
        "celery@a runs the release 0.9, and not 1.0",
        "restart it with the release 1.0",
    ),
    "a worker with another schema's functions": (
        with_worker(functions="abd"),
        FindingCode.WORKER_RELEASE,
        "celery@a runs the release 1.0, with functions of another schema",
        "restart it",
    ),
    "a worker with another lease": (
        with_worker(lease_seconds=60.0),
        FindingCode.WORKER_LEASE,
        "celery@a goes by 60 s, this program by 30 s",
        "PLANS_LEASE_SECONDS",
    ),
    "a worker that does not answer": (
        replace(HEALTHY, answers=AnswerFacts()),
        FindingCode.WORKER_MUTE,
        "celery@a did not answer",
        "solo",
    ),
    "a queue that nobody uses": (
        with_standing(unused_queues=("plans", "old")),
        FindingCode.QUEUE_UNUSED,
        "the queue old",
        "-Q",
    ),
    "a queue that nobody serves": (
        with_standing(due=(DueFacts("late", "a.b", 1200, 61.0, 0, 0, (f"{ID} s",)),)),
        FindingCode.QUEUE_UNSERVED,
        "1,200 steps in the queue late, the oldest for 61 s",
        "plans worker -Q late",
    ),
    "an action that nobody has": (
        with_standing(due=(DueFacts("plans", "a.b", 1, 61.0, 2, 0),)),
        FindingCode.ACTION_MISSING,
        "1 step of a.b in the queue plans, the oldest for 61 s",
        "PLANS_IMPORTS",
    ),
    "an action that comes, and nobody has": (
        with_standing(needed=(NeededAction("plans", "a.c"),)),
        FindingCode.ACTION_COMING,
        "a.c in the queue plans",
        "start a worker of plans that has a.c",
    ),
    "a message that is nowhere": (
        MISSED,
        FindingCode.MESSAGE_MISSING,
        "1 step sent, and without a message; the oldest 9 s ago",
        "plans doctor --fix",
    ),
    "a message for a step that runs": (
        with_target(step_status="running"),
        FindingCode.MESSAGE_UNWANTED,
        "1 message in the queue plans",
        "none",
    ),
    "a message of an older epoch": (
        with_target(epoch=4),
        FindingCode.MESSAGE_UNWANTED,
        "1 message in the queue plans",
        "none",
    ),
    "a message of another installation": (
        with_target(step_status=None, execution_status=None, epoch=None),
        FindingCode.MESSAGE_STRANGE,
        "1 message in the queue plans",
        "PLANS_QUEUE",
    ),
    "a step that nobody runs": (
        with_standing(lost=stray()),
        FindingCode.STEP_LOST,
        "1 step run by no living worker, for 40 s at most; its worker is gone; cel",
        "plans doctor --fix",
    ),
    "an attempt that was taken": (
        with_standing(taken=stray()),
        FindingCode.ATTEMPT_TAKEN,
        "1 step taken away, and still run, for 40 s",
        "restart the worker",
    ),
    "an attempt beyond its timeout": (
        with_standing(overdue=stray()),
        FindingCode.STEP_OVERDUE,
        "1 step beyond the timeout, for 40 s",
        "worker",
    ),
    "a wait beyond its time": (
        with_standing(unwoken=stray()),
        FindingCode.STEP_UNWOKEN,
        "1 step waiting, beyond the time, for 40 s",
        "plans doctor --fix",
    ),
    "a step that was never sent": (
        with_standing(unsent=(ID,)),
        FindingCode.STEP_UNSENT,
        "steps of 1 execution were never sent",
        "plans doctor --fix",
    ),
    "an execution that was not finished": (
        with_standing(unfinished=(ID, ID)),
        FindingCode.EXECUTION_UNFINISHED,
        "2 executions",
        "plans doctor --fix",
    ),
    "an execution that nothing can move": (
        with_standing(stuck=(ID,)),
        FindingCode.EXECUTION_STUCK,
        "1 execution",
        f"plans why {ID}; plans cancel {ID}",
    ),
}
APART = (
    {FindingCode.POSTGRES_AWAY, FindingCode.BROKER_AWAY}
    | {FindingCode.WORKER_SILENT, FindingCode.NO_WORKER}
    | {FindingCode.PAYLOADS_APART}
)
"""Codes that have a test of their own."""


def codes(seen: Observations) -> list[FindingCode]:
    return [finding.code for finding in judge(seen)]


def test_where_all_is_well_nothing_is_found() -> None:
    assert judge(HEALTHY) == ()
    assert list_limits(HEALTHY) == ()


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_found_alone(name: str) -> None:
    seen, code, text, fix = CASES[name]

    (found,) = judge(seen)

    assert found.code is code
    assert found.severity is code.severity
    assert text in found.seen
    assert fix in found.fix


def test_every_code_is_tried() -> None:
    assert {code for _, code, _, _ in CASES.values()} | APART == set(FindingCode)


def test_a_server_that_is_away_is_found_and_the_others_are_judged() -> None:
    seen = replace(with_broker(is_kept=False), postgres=AwayFacts("no"), standing=None)

    assert codes(seen) == [FindingCode.POSTGRES_AWAY, FindingCode.BROKER_FORGETS]
    assert codes(replace(HEALTHY, broker=AwayFacts("gone"), hints=None)) == [
        FindingCode.BROKER_AWAY
    ]


def test_the_worst_comes_first() -> None:
    seen = replace(
        with_broker(is_kept=False),
        program=replace(PROGRAM, app_settings=setting("risk")),
        postgres=replace(POSTGRES, version=1),
    )

    assert [finding.severity for finding in judge(seen)] == list(FindingSeverity)


def test_a_clock_is_given_the_time_that_the_answer_may_have_taken() -> None:
    assert judge(with_postgres(clock=ClockFacts(4.0, 4.0))) == ()


def test_a_policy_matters_only_where_memory_has_a_limit() -> None:
    assert judge(with_broker(policy="allkeys-lru", most_bytes=0)) == ()


def test_a_connection_limit_that_is_none_is_never_near() -> None:
    assert judge(with_postgres(limits=(ConnectionFacts("r", 10_000, -1),))) == ()


def test_a_worker_is_silent_after_its_own_lease() -> None:
    silent = replace(WORKER, id="w2", hostname="celery@b", beat_age_seconds=31.0)
    patient = replace(silent, lease_seconds=60.0)
    impatient = replace(silent, lease_seconds=20.0, beat_age_seconds=25.0)
    unknown = replace(silent, lease_seconds=None)

    for worker in (silent, impatient, unknown):
        found = judge(with_standing(workers=(WORKER, worker)))
        assert [(one.code, one.ids) for one in found] == [
            (FindingCode.WORKER_SILENT, ("w2",))
        ]
    assert FindingCode.WORKER_SILENT not in codes(
        with_standing(workers=(WORKER, patient))
    )


def test_where_all_workers_are_silent_there_is_none() -> None:
    assert codes(with_worker(beat_age_seconds=31.0)) == [
        FindingCode.WORKER_SILENT,
        FindingCode.NO_WORKER,
    ]


def test_a_worker_that_has_not_beaten_yet_is_not_judged() -> None:
    seen = with_worker(has_told=False, release=None, look_age_seconds=None)

    assert judge(seen) == ()


def test_a_folder_of_large_values_must_be_that_of_all_hosts() -> None:
    other = replace(WORKER, id="w2", hostname="celery@b")
    standing = replace(STANDING, workers=(WORKER, other))
    answers = AnswerFacts(frozenset({"celery@a", "celery@b"}))
    both = replace(HEALTHY, standing=standing, answers=answers)
    local = replace(PROGRAM, payloads_are_local=True)

    (found,) = judge(replace(both, program=local))

    assert found.code is FindingCode.PAYLOADS_APART
    assert found.seen == "workers run on a, b"
    assert judge(both) == ()
    assert judge(replace(HEALTHY, program=local)) == ()


def test_steps_that_are_due_are_served_by_who_has_their_action() -> None:
    due = DueFacts("plans", "a.b", 1, 61.0, 1, 1)

    assert judge(with_standing(due=(due,))) == ()


def test_what_is_due_already_is_not_said_to_come() -> None:
    due = DueFacts("late", "a.b", 1, 61.0, 0, 0)
    needed = NeededAction("late", "a.b")

    assert codes(with_standing(due=(due,), needed=(needed,))) == [
        FindingCode.QUEUE_UNSERVED
    ]


@pytest.mark.parametrize(
    "seen",
    [
        replace(MISSED, still_sent=frozenset()),
        replace(MISSED, broker=replace(BROKER, messages=(MESSAGE,))),
        replace(MISSED, broker=replace(BROKER, queues=(QueueFacts("plans", 9, 8),))),
        replace(MISSED, broker=replace(BROKER, queues=())),
        replace(MISSED, broker=replace(BROKER, kept_are_read=False)),
        replace(MISSED, broker=AwayFacts("gone")),
        replace(MISSED, standing=None),
        replace(MISSED, answers=AnswerFacts()),
        replace(MISSED, answers=None),
        replace(
            MISSED,
            answers=AnswerFacts(
                frozenset({"celery@a"}), (HeldMessage(ID, "send", 3, "celery@a"),)
            ),
        ),
        replace(
            MISSED,
            standing=replace(STANDING, sent=(replace(SENT, sent_seconds=1.9),)),
            still_sent=frozenset({replace(SENT, sent_seconds=1.9)}),
        ),
    ],
    ids=[
        "it was claimed meanwhile",
        "it lies in the broker",
        "more messages than were read",
        "a queue that was not read",
        "what was delivered was not read",
        "no broker",
        "no PostgreSQL",
        "a worker that did not answer",
        "nobody was asked",
        "a worker has it in its hands",
        "it was sent just now",
    ],
)
def test_a_message_that_may_be_somewhere_is_not_missing(seen: Observations) -> None:
    assert find_missing(seen) == ()


@pytest.mark.parametrize(
    "elsewhere",
    [replace(MESSAGE, epoch=2), replace(MESSAGE, positions=(3,))],
    ids=["of an older epoch", "of another step"],
)
def test_another_message_is_not_the_one_that_is_missing(
    elsewhere: MessageFacts,
) -> None:
    broker = replace(BROKER, messages=(elsewhere,))

    assert find_missing(replace(MISSED, broker=broker)) == (SENT,)


def test_a_message_that_is_wanted_is_no_finding() -> None:
    settled = MessageTarget("completed", "running", 3)
    wanted = MessageTarget("ready", "running", 3)

    assert judge(replace(HEALTHY, targets={MESSAGE: (settled, wanted)})) == ()


def test_a_finding_names_twenty_ids_and_counts_all() -> None:
    found = judge(with_standing(unsent=tuple(str(n) for n in range(30))))[0]

    assert len(found.ids) == MOST_IDS
    assert "30 executions" in found.seen


def test_what_was_not_looked_at_is_said() -> None:
    assert list_limits(replace(HEALTHY, postgres=AwayFacts("no"), standing=None)) == (
        "workers, queues and steps were not looked at: PostgreSQL is away",
    )
    assert list_limits(replace(HEALTHY, standing=None)) == (
        (
            "workers, queues and steps were not looked at: the schema does not fit, or"
            " may not be read"
        ),
    )
    assert list_limits(with_standing(cut=frozenset({"stuck", "due"}))) == (
        (
            "not all were looked at, there may be more: steps that are due; executions"
            " that may be stuck"
        ),
    )
    assert list_limits(replace(HEALTHY, broker=AwayFacts("no"))) == (
        "messages were not looked at: the broker is away",
    )


def test_every_kind_that_may_be_cut_has_words() -> None:
    kinds = {field.name for field in fields(StandingFacts)} - {"cut"}

    (limit,) = list_limits(with_standing(cut=frozenset(kinds)))

    assert len(limit.split(";")) == len(kinds)


def test_what_was_delivered_and_not_read_is_said() -> None:
    broker = replace(BROKER, kept_are_read=False)

    (limit,) = list_limits(replace(HEALTHY, broker=broker))

    assert "no message is called missing" in limit


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("due", (DueFacts("late", "a.b", 5, 61.0, 0, 0),)),
        ("due", (DueFacts("plans", "a.b", 5, 61.0, 1, 0),)),
        ("lost", stray()),
        ("taken", stray()),
        ("overdue", stray()),
        ("unwoken", stray()),
        ("unsent", (ID,)),
        ("unfinished", (ID,)),
        ("stuck", (ID,)),
        ("needed", (NeededAction("plans", "a.c"),)),
    ],
)
def test_a_finding_says_whether_there_may_be_more(kind: str, found: Any) -> None:
    (whole,) = judge(with_standing(**{kind: found}))
    (cut,) = judge(with_standing(**{kind: found}, cut=frozenset({kind})))

    assert (whole.is_cut, cut.is_cut) == (False, True)
    assert "at least" in cut.seen or "not all were looked at" in cut.seen
    assert "at least" not in whole.seen


def test_messages_that_may_be_more_are_said_to_be_at_least_so_many() -> None:
    assert MISSED.standing is not None
    standing = replace(MISSED.standing, cut=frozenset({"sent"}))

    (found,) = judge(replace(MISSED, standing=standing))

    assert found.is_cut
    assert found.seen.startswith("at least 1 step sent")


def test_messages_that_were_not_read_are_counted() -> None:
    queues = (QueueFacts("plans", 9_000, 8_000), QueueFacts("b", 7, 0, consumers=1))

    assert list_limits(replace(HEALTHY, broker=replace(BROKER, queues=queues))) == (
        (
            "of the queue plans the oldest 8,000 of 9,000 messages were read, so none"
            " is called missing"
        ),
        "of the queue b only the number of messages is known, 7",
    )


@pytest.mark.parametrize(
    ("version", "needed", "is_met"),
    [
        ("5.7", ">=5.7,<6", True),
        ("6.0.0", ">=5.7,<6", False),
        ("5.6.10", ">=5.7", False),
        ("9.1.2.post2", "==9.1.2", True),
        ("2.1", "<=2.0", False),
        ("2.1", ">2.1.0", False),
        ("2.1", "!=2.1.0", False),
        ("2.2.7", "~=2.2", True),
        ("3.0", "~=2.2", False),
        ("2.3.0", "~=2.2.1", False),
        ("unknown", ">=1", False),
        ("1.0", "", True),
    ],
)
def test_a_version_is_compared_number_by_number(
    version: str, needed: str, is_met: bool
) -> None:
    assert meets(version, needed) is is_met


def test_a_requirement_that_depends_is_left_out() -> None:
    assert split_requirement("celery[redis]<6,>=5.7") == ("celery", "<6,>=5.7")
    assert split_requirement("PyYAML >= 6") == ("pyyaml", ">=6")
    assert split_requirement('flower~=2.2; extra == "flower"') == ("", "")
    assert split_requirement("=nonsense=") == ("", "")


def test_every_fix_that_has_no_blanks_can_be_printed() -> None:
    for finding in (judge(seen)[0] for seen, *_ in CASES.values()):
        assert isinstance(finding, Finding)
        assert "{" not in finding.fix
