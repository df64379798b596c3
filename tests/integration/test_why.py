"""`why`: each reason for which a step may not run, one by one, and what ends it."""

import json
from datetime import timedelta

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.errors import ExecutionNotFoundError, StepNotFoundError
from execution.liveness import LivenessRecords
from execution.obstacles import Obstacle, ObstacleKind, Standstill
from execution.records import StepRecords
from tests.integration.test_protocol import claim, nothing, register, try_claim

SEQUENCE = Plan("line", steps=[nothing("one"), nothing("two"), nothing("three")])
FAILURE = json.dumps(
    {
        "code": "E003",
        "message": "the bank is down",
        "step": "one",
        "timestamp": "2026-11-21T12:00:00+00:00",
        "recoverable": True,
        "context": {},
    }
)


@pytest.fixture
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row, and has beaten just now."""
    return register(liveness, settings)


def find(standstill: Standstill, step: str) -> tuple[Obstacle, ...]:
    """Return why a step does not run."""
    return {still.name: still.obstacles for still in standstill.steps}[step]


def only(engine: ExecutionEngine, execution_id: str, step: str) -> Obstacle:
    """Return the one reason why a step does not run."""
    (found,) = find(engine.why(execution_id), step)
    return found


def test_a_step_waits_for_those_before_it(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    claim(records, worker_id, execution_id, 0)

    found = engine.why(execution_id)

    assert [still.name for still in found.steps] == ["two", "three"]
    assert found.running == ("one",)
    assert find(found, "two") == (
        Obstacle(ObstacleKind.NEEDS, "it waits for one (running)"),
    )


def test_a_join_names_ten_of_the_steps_that_it_waits_for(
    engine: ExecutionEngine, worker_id: str
) -> None:
    many = [nothing(f"n{n}", []) for n in range(12)]
    last = nothing("last", [step.id for step in many])

    found = only(engine, engine.submit(Plan("wide", steps=[*many, last])), "last")

    assert found.text.endswith("n9 (ready) and 2 more")


def test_a_pause_says_who_and_why_for_every_step(
    engine: ExecutionEngine, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    engine.pause(execution_id, by="ann", reason="the bank is down")

    found = engine.why(execution_id)

    text = "its execution was paused by ann: the bank is down"
    paused = Obstacle(ObstacleKind.PAUSED, text, f"plans resume {execution_id}")
    assert find(found, "one") == (paused,)
    assert find(found, "two")[0] == paused
    assert find(found, "two")[1].kind is ObstacleKind.NEEDS


def test_a_queue_that_nobody_serves(engine: ExecutionEngine, worker_id: str) -> None:
    step = Step("one", action="test.nothing", queue="far")

    found = only(engine, engine.submit(Plan("far", steps=[step])), "one")

    assert found.kind is ObstacleKind.NO_WORKER
    assert "no living worker serves the queue far" in found.text
    assert found.advice == "plans worker -Q far"


def test_workers_that_lack_the_action(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    execution_id = engine.submit(SEQUENCE)
    lacking = Step("one", action="test.nothing", queue="poor")
    register(liveness, settings, "poor", actions='[{"name": "test.other"}]')
    poor = engine.submit(Plan("poor", steps=[lacking]))

    assert only(engine, execution_id, "one").kind is ObstacleKind.QUEUE
    found = only(engine, poor, "one")
    assert found.kind is ObstacleKind.NO_ACTION
    assert "1 worker of the queue poor run" in found.text


def test_the_place_in_the_queue(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    settings: Settings,
) -> None:
    register(liveness, settings, "line")
    plan = Plan("one", steps=[Step("one", action="test.nothing", queue="line")])
    ids = [engine.submit(plan) for _ in range(3)]

    places = [only(engine, execution_id, "one").text for execution_id in ids]

    assert [text.partition("it is ")[2] for text in places] == [
        "the next one",
        "behind 1 step",
        "behind 2 steps",
    ]


def test_steps_that_take_all_slots_are_told_of(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    records: StepRecords,
    settings: Settings,
) -> None:
    busy = register(liveness, settings, "full")
    steps = [Step(f"n{n}", "test.nothing", queue="full", needs=[]) for n in range(9)]
    execution_id = engine.submit(Plan("full", steps=steps))
    for position in range(7):
        claim(records, busy, execution_id, position)
    assert only(engine, execution_id, "n8").advice is None

    claim(records, busy, execution_id, 7)

    found = only(engine, execution_id, "n8")
    assert found.kind is ObstacleKind.QUEUE
    assert "; 0 of 8 slots free: n0 runs longest, for " in found.text
    assert found.advice == f"plans show {execution_id}"


def test_what_is_not_sent_yet_says_so(
    engine: ExecutionEngine, liveness: LivenessRecords, settings: Settings
) -> None:
    register(liveness, settings, "narrow")
    steps = [
        Step(f"n{n}", action="test.nothing", queue="narrow", needs=[])
        for n in range(40)
    ]
    execution_id = engine.submit(Plan("wide", steps=steps))

    found = engine.why(execution_id)

    kinds = {find(found, f"n{n}")[0].kind for n in (0, 39)}
    assert kinds == {ObstacleKind.QUEUE, ObstacleKind.UNSENT}


def test_a_retry_says_when_it_is_due_and_what_failed(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    step = Step("one", action="test.nothing", retry={"attempts": 3})
    execution_id = engine.submit(Plan("again", steps=[step]))
    begun = claim(records, worker_id, execution_id, 0)
    records.retry(
        begun.held,
        attempt=1,
        recorded_input="{}",
        error=FAILURE,
        wait_seconds=3600,
        parks=True,
    )

    seen = engine.why(execution_id)
    (found,) = find(seen, "one")

    assert found.kind is ObstacleKind.TIMER
    assert found.text == "attempt 2 of 3 comes after a wait: the bank is down"
    assert found.until is not None
    left = found.until - seen.seen_at
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


def test_a_sleep_says_until_when(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(Plan("nap", steps=[Step("nap", sleep="2h")]))
    begun = claim(records, worker_id, execution_id, 0)
    records.sleep(
        begun.held, recorded_input='{"for": "2h"}', seconds=7200.0, until=None
    )

    found = only(engine, execution_id, "nap")

    assert (found.kind, found.text) == (ObstacleKind.TIMER, "it sleeps")
    assert found.until is not None


def test_a_step_waits_for_its_items_and_they_for_their_turn(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    step = Step("each", action="test.nothing", for_each="[1, 2, 3]", max_parallel=2)
    execution_id = engine.submit(Plan("items", steps=[step]))
    begun = claim(records, worker_id, execution_id, 0)
    records.expand(begun.held, attempt=1, items="[1, 2, 3]")

    found = engine.why(execution_id)

    assert find(found, "each") == (
        Obstacle(ObstacleKind.ITEMS, "3 of its 3 items have not ended"),
    )
    assert find(found, "each[2]") == (
        Obstacle(ObstacleKind.TURN, "at most 2 of each run at once"),
    )


def test_a_hold_is_named_before_and_after_a_step_has_met_it(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE, tags=["eu"])
    engine.pause_tag("eu", by="ann", reason="the law")
    before = find(engine.why(execution_id), "one")
    try_claim(records, worker_id, execution_id, 0)
    parked = find(engine.why(execution_id), "one")
    engine.resume_tag("eu", by="ann")

    held = Obstacle(
        ObstacleKind.HELD,
        "the tag eu is paused by ann: the law",
        "plans resume --tag eu",
    )
    assert before[0] == held
    assert parked == (held,)


def test_a_key_that_others_have(engine: ExecutionEngine, worker_id: str) -> None:
    plan = Plan(
        "keyed", steps=[nothing("one")], concurrency={"key": "acme", "limit": 1}
    )
    first, second = engine.submit(plan), engine.submit(plan)

    found = find(engine.why(second), "one")[0]

    text = f"its execution waits for the key 'acme'; {first} has it"
    assert found == Obstacle(ObstacleKind.KEY, text)


def test_used_up_attempts_say_with_what_they_ended(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    begun = claim(records, worker_id, execution_id, 0)
    records.complete(begun.held, StepStatus.FAILED, error=FAILURE, epoch=1)

    found = engine.why(execution_id)

    assert find(found, "one")[0].kind is ObstacleKind.ATTEMPTS
    assert "E003 the bank is down" in find(found, "one")[0].text
    assert find(found, "two")[0].kind is ObstacleKind.ENDED


def test_a_fallback_waits_for_a_failure(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan(
        "spare",
        steps=[
            Step("main", action="test.nothing", on_failure={"fallback": "spare"}),
            Step("spare", action="test.nothing"),
        ],
    )
    execution_id = engine.submit(plan)
    before = only(engine, execution_id, "spare")
    begun = claim(records, worker_id, execution_id, 0)
    records.complete(begun.held, StepStatus.FAILED, error=FAILURE, epoch=1)

    after = only(engine, execution_id, "main")

    assert before == Obstacle(ObstacleKind.STAND_IN, "it runs only if main fails")
    assert after == Obstacle(ObstacleKind.FALLBACK, "it failed, and waits for spare")


def test_what_was_cancelled_says_by_whom(
    engine: ExecutionEngine, worker_id: str
) -> None:
    execution_id = engine.submit(SEQUENCE)
    engine.cancel(execution_id, by="ann", reason="sent twice")

    found = only(engine, execution_id, "one")

    assert found == Obstacle(
        ObstacleKind.ENDED,
        "its execution is cancelled by ann: sent twice",
        f"plans retry {execution_id} --dry-run",
    )


def test_one_step_can_be_asked_about(engine: ExecutionEngine, worker_id: str) -> None:
    execution_id = engine.submit(SEQUENCE)

    assert [s.name for s in engine.why(execution_id, step="two").steps] == ["two"]
    with pytest.raises(StepNotFoundError, match="has no step 'four'"):
        engine.why(execution_id, step="four")


def test_so_many_steps_are_told_of_as_are_asked_for(
    engine: ExecutionEngine, worker_id: str
) -> None:
    found = engine.why(engine.submit(SEQUENCE), most_steps=2)

    assert (len(found.steps), found.steps_in_all) == (2, 3)


@pytest.mark.parametrize("unknown", ["019f3b52-6b0a-7cc1-9d57-3f1b2a90c4d1", "x"])
def test_an_execution_that_is_not_there(engine: ExecutionEngine, unknown: str) -> None:
    with pytest.raises(ExecutionNotFoundError):
        engine.why(unknown)
