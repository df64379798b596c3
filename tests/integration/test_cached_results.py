"""Results that are used again, driven by hand: hits, misses, races and age."""

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from execution import (
    ExecutionEngine,
    ExecutionRepository,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.answers import (
    Claim,
    Completion,
    HeldStep,
    Recorded,
    ReuseAnswer,
    Reused,
    Rider,
)
from execution.caching import CachePlace
from execution.database import Database
from execution.liveness import LivenessRecords
from execution.records import StepRecords
from tests.integration.test_liveness import shift_clock
from tests.integration.test_protocol import claim, nothing, register
from tests.racing import run_at_once
from tests.timeline import check_timeline, read_timeline

RULE = {"ttl": "1h"}
STEPS = [Step("a", action="test.nothing", cache=RULE)]
PLAN = Plan("cached", steps=STEPS)


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture
def place() -> CachePlace:
    """A place where nothing is stored yet."""
    return CachePlace(uuid.uuid4().hex, 3600.0)


@pytest.fixture
def moving_clock(database: Database) -> Iterator[None]:
    """The clock goes right again after the test."""
    yield
    shift_clock(database, "0")


def begin(engine: ExecutionEngine, records: StepRecords, worker_id: str) -> Claim:
    return claim(records, worker_id, engine.submit(PLAN), 0)


def complete(
    records: StepRecords, held: HeldStep, place: CachePlace, result: object = None
) -> Completion:
    return records.complete(
        held, StepStatus.COMPLETED, result=json.dumps(result), epoch=1, place=place
    )


def store(
    engine: ExecutionEngine,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
    result: object,
) -> str:
    """Let an execution store a result, and return its id."""
    begun = begin(engine, records, worker_id)
    assert complete(records, begun.held, place, result).outcome is Recorded.RECORDED
    return begun.held.execution_id


def test_a_claim_says_how_old_a_result_may_be(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    begun = begin(engine, records, worker_id)

    assert begun.cache is not None
    assert begun.cache.ttl_seconds == 3600


def test_nothing_is_found_before_something_is_stored(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    begun = begin(engine, records, worker_id)

    assert records.reuse(begun.held, place).outcome is Reused.MISSED


def test_a_stored_result_is_used_with_an_event_that_says_whose_it_is(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    source = store(engine, records, worker_id, place, {"n": [1, None]})
    begun = begin(engine, records, worker_id)
    execution_id = begun.held.execution_id

    answer = records.reuse(begun.held, place)

    assert answer.outcome is Reused.REUSED
    assert json.loads(str(answer.result)) == {"n": [1, None]}
    event = read_timeline(engine, execution_id)[-1]
    assert (event.type, event.seq) == ("step.cached", answer.last_seq)
    assert event.data["from"] == {"execution_id": source, "step": "a"}
    assert 0 <= event.data["age_seconds"] < 60
    (step,) = engine.list_steps(execution_id)
    assert step.cached_from is not None
    assert step.cached_from["execution_id"] == source
    records.complete(begun.held, StepStatus.COMPLETED, result=answer.result, epoch=1)
    assert engine.get_result(execution_id).unwrap() == {"n": [1, None]}
    check_timeline(engine, execution_id)


def test_null_is_a_result_too(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    store(engine, records, worker_id, place, None)

    answer = records.reuse(begin(engine, records, worker_id).held, place)

    assert (answer.outcome, answer.result) == (Reused.REUSED, "null")


def test_the_same_look_again_answers_the_same_and_tells_it_once(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    store(engine, records, worker_id, place, 7)
    begun = begin(engine, records, worker_id)

    first, again = (records.reuse(begun.held, place) for _ in range(2))

    assert first == again
    types = [e.type for e in read_timeline(engine, begun.held.execution_id)]
    assert types.count("step.cached") == 1


@pytest.mark.usefixtures("moving_clock")
def test_a_look_that_was_answered_holds_though_the_result_expires_meanwhile(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    store(engine, records, worker_id, place, 7)
    begun = begin(engine, records, worker_id)
    first = records.reuse(begun.held, place)
    shift_clock(database, "61 minutes")

    assert records.reuse(begun.held, place) == first


def test_a_look_whose_result_is_gone_when_it_is_made_again_is_a_miss(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    store(engine, records, worker_id, place, 7)
    begun = begin(engine, records, worker_id)
    records.reuse(begun.held, place)
    database.query(
        "DELETE FROM {schema}.cached_results WHERE digest = %s RETURNING 1",
        (place.digest,),
    )

    assert records.reuse(begun.held, place).outcome is Reused.MISSED
    (step,) = engine.list_steps(begun.held.execution_id)
    assert step.cached_from is None


@pytest.mark.usefixtures("moving_clock")
def test_a_result_is_used_until_its_time_is_over(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    store(engine, records, worker_id, place, 7)
    young, old = (begin(engine, records, worker_id).held for _ in range(2))

    shift_clock(database, "59 minutes")
    assert records.reuse(young, place).outcome is Reused.REUSED
    shift_clock(database, "61 minutes")
    assert records.reuse(old, place).outcome is Reused.MISSED


def test_who_looks_says_how_old_it_may_be(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    store(engine, records, worker_id, place, 7)
    impatient = CachePlace(place.digest, 1e-6)

    answer = records.reuse(begin(engine, records, worker_id).held, impatient)

    assert answer.outcome is Reused.MISSED


def test_a_token_that_holds_the_step_no_more_finds_nothing(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    source = store(engine, records, worker_id, place, 7)
    begun = begin(engine, records, worker_id)
    stranger = HeldStep(begun.held.execution_id, 0, str(uuid.uuid4()))
    ended = HeldStep(source, 0, begun.held.token)

    assert records.reuse(stranger, place).outcome is Reused.STALE
    assert records.reuse(ended, place).outcome is Reused.STALE
    nowhere = HeldStep(str(uuid.uuid4()), 0, stranger.token)
    assert records.reuse(nowhere, place) == ReuseAnswer(Reused.STALE, None, None)


def test_a_late_result_is_not_stored(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    begun = begin(engine, records, worker_id)
    stranger = HeldStep(begun.held.execution_id, 0, str(uuid.uuid4()))

    assert complete(records, stranger, place, "late").outcome is Recorded.STALE

    assert records.reuse(begun.held, place).outcome is Reused.MISSED


def test_two_that_find_nothing_both_run_and_the_later_result_stays(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    first, second, third = (begin(engine, records, worker_id).held for _ in range(3))
    looks = run_at_once([lambda h=h: records.reuse(h, place) for h in (first, second)])  # type: ignore[misc]  # bound to this round
    assert [look.outcome for look in looks] == [Reused.MISSED] * 2

    complete(records, first, place, 1)
    complete(records, second, place, 2)

    assert records.reuse(third, place).result == "2"
    results = [engine.get_result(h.execution_id).unwrap() for h in (first, second)]
    assert results == [1, 2]


def test_many_that_store_at_once_wait_for_nobody_crosswise(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
) -> None:
    places = [CachePlace(uuid.uuid4().hex, 3600.0) for _ in range(4)]
    for each in places:
        store(engine, records, worker_id, each, 0)
    # what is stored again is what the others remove
    database.query(
        "UPDATE {schema}.cached_results SET expires_at = expires_at - interval '1 day'"
        " WHERE digest = ANY (%s) RETURNING 1",
        ([each.digest for each in places],),
    )
    held = [begin(engine, records, worker_id).held for _ in range(8)]

    ends = run_at_once(
        [
            lambda h=h, p=places[n % 4], n=n: complete(records, h, p, n)  # type: ignore[misc]  # likewise
            for n, h in enumerate(held)
        ]
    )

    assert [end.outcome for end in ends] == [Recorded.RECORDED] * 8


def test_a_few_that_expired_long_ago_are_removed_with_each_that_is_stored(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    old = f"old {uuid.uuid4()}"
    database.query(
        "INSERT INTO {schema}.cached_results (digest, action, result, execution_id,"
        " step, created_at, expires_at)"
        " SELECT %s || n, 'a', '1', gen_random_uuid(), 'a', now() - interval '1 day',"
        "        now() - make_interval(mins => 45 + n, secs => 30)"
        "   FROM generate_series(1, 30) AS n RETURNING 1",
        (old,),
    )

    def count() -> int:
        rows = database.query(
            "SELECT count(*) AS n FROM {schema}.cached_results WHERE digest LIKE %s",
            (f"{old}%",),
        )
        return int(rows[0]["n"])

    counts = [count()]
    for _ in range(3):
        store(engine, records, worker_id, place, 1)
        counts.append(count())

    # of those that expired within the hour, none
    assert counts == [30, 20, 14, 14]


def test_a_result_can_be_used_when_its_execution_is_deleted(
    engine: ExecutionEngine,
    repository: ExecutionRepository,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    source = store(engine, records, worker_id, place, 7)
    assert repository.delete_execution(source)

    answer = records.reuse(begin(engine, records, worker_id).held, place)

    assert (answer.outcome, answer.result) == (Reused.REUSED, "7")


def test_a_result_is_stored_by_who_rides_on(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, place: CachePlace
) -> None:
    plan = Plan("two", steps=[*STEPS, nothing("b")])
    begun = claim(records, worker_id, engine.submit(plan), 0)
    rider = Rider(begun.run, str(uuid.uuid4()), worker_id, delivery="by-hand")

    answer = records.complete(
        begun.held,
        StepStatus.COMPLETED,
        result="5",
        epoch=1,
        rider=rider,
        place=place,
    )

    assert answer.next_claim is not None
    look = records.reuse(begin(engine, records, worker_id).held, place)
    assert look.result == "5"


def test_a_rider_is_told_the_rule_of_the_next_step(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan("two", steps=[nothing("b"), *STEPS])
    begun = claim(records, worker_id, engine.submit(plan), 0)
    rider = Rider(begun.run, str(uuid.uuid4()), worker_id, delivery="by-hand")

    answer = records.complete(begun.held, StepStatus.COMPLETED, epoch=1, rider=rider)

    assert answer.next_claim is not None
    assert answer.next_claim.cache is not None


def test_the_age_is_told_in_seconds(
    engine: ExecutionEngine,
    database: Database,
    records: StepRecords,
    worker_id: str,
    place: CachePlace,
) -> None:
    store(engine, records, worker_id, place, 7)
    database.query(
        "UPDATE {schema}.cached_results SET created_at = created_at - %s"
        " WHERE digest = %s RETURNING 1",
        (timedelta(minutes=10), place.digest),
    )
    begun = begin(engine, records, worker_id)

    records.reuse(begun.held, place)

    age = read_timeline(engine, begun.held.execution_id)[-1].data["age_seconds"]
    assert 600 <= age < 660
