"""All of a plan, of a tag, of a queue paused as one: what stops, what goes on."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from execution import ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.answers import ClaimAnswer, ClaimOutcome, Rider
from execution.errors import DatabaseError, ParameterError, PlanNotFoundError
from execution.holds import HoldKind
from execution.receipts import HoldAnswer
from tests.racing import Arena, arena_of
from tests.sweeping import look
from tests.timeline import check_timeline, heads, read_timeline

NOTHING = "test.nothing"
TWO = Plan("two", steps=[Step("a", action=NOTHING), Step("b", action=NOTHING)])
TAGGED = Plan("tagged", steps=[Step("a", action=NOTHING), Step("b", action=NOTHING)])
WIDE = Plan(
    "wide",
    steps=[Step(f"s{n}", needs=[], queue="wide", action=NOTHING) for n in range(40)],
)
TIMED = Plan("timed", steps=[Step("a", deadline="1h", action=NOTHING)])
TIDY = Plan(
    "tidy",
    rollback=["on_cancel"],
    steps=[
        Step("a", undo={"action": "test.nothing"}, action=NOTHING),
        Step("b", action=NOTHING),
        Step("z", run_on="always", deadline="1h", action=NOTHING),
    ],
)


@pytest.fixture(scope="module")
def shared_arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema."""
    with arena_of(settings) as opened:
        yield opened


@pytest.fixture
def arena(shared_arena: Arena) -> Iterator[Arena]:
    """The same with a queue of the test's own, and nothing held before or after."""
    shared_arena.enter_worker()
    yield shared_arena
    for hold in shared_arena.engine.list_holds():
        end_hold(shared_arena, hold.kind, hold.name)
    release_all(shared_arena)


def end_hold(arena: Arena, kind: HoldKind, name: str) -> HoldAnswer:
    """Resume, but wake nothing."""
    return arena.repository.end_hold(
        kind, name, resume_id=str(uuid.uuid4()), by="bob", reason="it is well"
    )


def submit_tagged(arena: Arena) -> str:
    return arena.repository.submit(
        TAGGED, {}, queue=arena.queue, tags=["eu"]
    ).execution_id


def read_statuses(arena: Arena, execution_id: str) -> list[StepStatus]:
    return [step.status for step in arena.engine.list_steps(execution_id)]


def release_all(arena: Arena) -> list[str]:
    """Do what a reconciler does; return the names of the steps that are sent."""
    sent: list[str] = []
    for execution_id in look(arena.liveness).resumable_executions:
        awakening = arena.liveness.unpark_steps(execution_id)
        sent += heads(awakening.windows) if awakening else []
    return sent


def let_hour_pass(arena: Arena, execution_id: str, *columns: str) -> None:
    """Move these moments of the steps an hour and a half back."""
    moved = ", ".join(f"{name} = {name} - interval '90 minutes'" for name in columns)
    arena.database.query(
        f"UPDATE {{schema}}.execution_steps SET {moved}"  # noqa: S608  # names of our own
        " WHERE execution_id = %s RETURNING 1",
        (execution_id,),
    )


# what stops


def pause_plan(arena: Arena) -> HoldAnswer:
    return arena.engine.pause_plan("tagged", by="ann", reason="a fault")


def pause_tag(arena: Arena) -> HoldAnswer:
    return arena.engine.pause_tag("eu", by="ann", reason="a fault")


def pause_queue(arena: Arena) -> HoldAnswer:
    return arena.engine.pause_queue(arena.queue, by="ann", reason="a fault")


PAUSES = pytest.mark.parametrize("pause", [pause_plan, pause_tag, pause_queue])


@PAUSES
def test_no_step_of_what_is_paused_starts(arena: Arena, pause: Any) -> None:
    execution_id = submit_tagged(arena)
    answer = pause(arena)

    claimed = arena.try_claim(execution_id)

    assert answer.landed
    assert claimed.outcome is ClaimOutcome.PARKED
    step = arena.read_step(execution_id)
    assert step["waits_for"] == f"{answer.hold.kind}:{answer.hold.name}"
    assert (step["status"], step["attempt"], step["losses"]) == ("waiting", 0, 0)
    assert step["parked_at"] is not None
    event = read_timeline(arena.engine, execution_id)[-1]
    assert (event.type, event.data["by"]) == ("step.waiting", "ann")
    assert event.data["reason"] == "a fault"
    check_timeline(arena.engine, execution_id)


@PAUSES
def test_a_later_submit_waits_as_well(arena: Arena, pause: Any) -> None:
    submit_tagged(arena)
    pause(arena)

    execution_id = submit_tagged(arena)

    assert arena.try_claim(execution_id).outcome is ClaimOutcome.PARKED
    assert arena.engine.get_status(execution_id).status is ExecutionStatus.PENDING


@PAUSES
def test_what_runs_ends_and_what_follows_waits(arena: Arena, pause: Any) -> None:
    execution_id = submit_tagged(arena)
    held = arena.claim(execution_id)
    answer = pause(arena)

    completion = arena.complete(held)

    assert [step.name for step in answer.running_steps] == ["a"]
    assert completion.open_steps == 1
    assert arena.try_claim(execution_id, 1).outcome is ClaimOutcome.PARKED


@PAUSES
def test_a_worker_does_not_ride_on(arena: Arena, pause: Any) -> None:
    execution_id = submit_tagged(arena)
    begun = arena.try_claim(execution_id).claim
    assert begun is not None
    pause(arena)

    completion = ride(arena, begun)

    assert completion.next_claim is None
    assert heads(completion.windows) == ["b"]
    assert read_statuses(arena, execution_id) == ["completed", "ready"]


def ride(arena: Arena, begun: Any) -> Any:
    rider = Rider(begun.run, str(uuid.uuid4()), arena.worker_id, delivery="by-hand")
    return arena.records.complete(
        begun.held, StepStatus.COMPLETED, epoch=1, rider=rider
    )


@pytest.mark.parametrize("name", ["another plan", "us", "another queue"])
def test_what_is_not_paused_goes_on(arena: Arena, name: str) -> None:
    arena.repository.set_hold(HoldKind.TAG, name, hold_id=str(uuid.uuid4()))
    arena.repository.set_hold(HoldKind.QUEUE, name, hold_id=str(uuid.uuid4()))
    arena.repository.set_hold(HoldKind.PLAN, name, hold_id=str(uuid.uuid4()))
    execution_id = submit_tagged(arena)

    begun = arena.try_claim(execution_id).claim

    assert begun is not None
    assert ride(arena, begun).next_claim is not None


def test_what_waits_unsent_is_parked_with_the_first(arena: Arena) -> None:
    execution_id = arena.repository.submit(WIDE, {}, queue=arena.queue).execution_id
    arena.engine.pause_queue("wide")

    arena.try_claim(execution_id)

    statuses = read_statuses(arena, execution_id)
    assert statuses.count(StepStatus.READY) == 15, "those whose messages are on the way"
    for position in range(1, 16):
        arena.try_claim(execution_id, position)
    assert set(read_statuses(arena, execution_id)) == {StepStatus.WAITING}
    found = look(arena.liveness)
    assert execution_id not in found.unsent_executions
    assert execution_id not in found.resumable_executions
    check_timeline(arena.engine, execution_id)


# what goes on


@PAUSES
def test_a_resume_goes_on_exactly_there(arena: Arena, pause: Any) -> None:
    execution_id = submit_tagged(arena)
    held = arena.claim(execution_id)
    hold = pause(arena).hold
    arena.complete(held)
    arena.try_claim(execution_id, 1)

    ended = end_hold(arena, hold.kind, hold.name)
    sent = release_all(arena)

    assert ended.landed
    assert ended.hold == hold
    assert sent == ["b"]
    event = read_timeline(arena.engine, execution_id)[-1]
    assert (event.type, event.data["by"]) == ("step.ready", "bob")
    assert event.data["resumed"] == f"{hold.kind}:{hold.name}"
    arena.complete(arena.claim(execution_id, 1))
    assert arena.engine.get_status(execution_id).open_steps == 0
    check_timeline(arena.engine, execution_id)


def test_who_resumes_lets_it_go_on(arena: Arena) -> None:
    execution_id = arena.submit(TWO)
    arena.engine.pause_plan("two")
    arena.try_claim(execution_id)

    answer = arena.engine.resume_plan("two", by="bob")

    assert answer.landed
    assert read_statuses(arena, execution_id) == ["ready", "pending"]
    assert look(arena.liveness).resumable_executions == ()


def test_what_meets_another_hold_is_parked_anew(arena: Arena) -> None:
    execution_id = submit_tagged(arena)
    arena.engine.pause_tag("eu")
    arena.engine.pause_queue(arena.queue)
    arena.try_claim(execution_id)

    end_hold(arena, HoldKind.TAG, "eu")
    release_all(arena)

    assert arena.try_claim(execution_id).outcome is ClaimOutcome.PARKED
    assert arena.read_step(execution_id)["waits_for"] == f"queue:{arena.queue}"


def test_a_hold_that_was_set_again_keeps_what_is_parked(arena: Arena) -> None:
    execution_id = submit_tagged(arena)
    arena.engine.pause_tag("eu")
    arena.try_claim(execution_id)
    end_hold(arena, HoldKind.TAG, "eu")
    arena.engine.pause_tag("eu")

    assert look(arena.liveness).resumable_executions == ()
    assert arena.liveness.unpark_steps(execution_id) is None


def test_an_execution_that_somebody_has_locked_is_passed_over(arena: Arena) -> None:
    execution_id = submit_tagged(arena)
    arena.engine.pause_tag("eu")
    arena.try_claim(execution_id)
    end_hold(arena, HoldKind.TAG, "eu")

    with arena._holding(
        "SELECT FROM executions WHERE id = %s FOR UPDATE", execution_id
    ):
        assert arena.liveness.unpark_steps(execution_id) is None

    assert release_all(arena) == ["a"]


# asked twice


def test_a_second_pause_tells_whose_the_first_is(arena: Arena) -> None:
    first = arena.engine.pause_queue(arena.queue, by="ann", reason="a fault")

    second = arena.engine.pause_queue(arena.queue, by="bob", reason="another")

    assert not second.landed
    assert second.hold == first.hold
    assert second.hold is not None
    assert (second.hold.by, second.hold.reason) == ("ann", "a fault")


def test_a_second_resume_finds_nothing(arena: Arena) -> None:
    arena.engine.pause_tag("eu")
    arena.engine.resume_tag("eu")

    again = arena.engine.resume_tag("eu")

    assert (again.landed, again.hold) == (False, None)


def test_a_call_whose_commit_was_unknown_answers_the_same(arena: Arena) -> None:
    hold_id, resume_id = str(uuid.uuid4()), str(uuid.uuid4())

    def set_hold() -> HoldAnswer:
        return arena.repository.set_hold(HoldKind.TAG, "eu", hold_id=hold_id, by="ann")

    def resume() -> HoldAnswer:
        return arena.repository.end_hold(HoldKind.TAG, "eu", resume_id=resume_id)

    assert set_hold() == set_hold()
    assert resume() == resume()
    assert resume().landed
    assert set_hold().landed
    assert arena.engine.list_holds() == (), "it was resumed since"


def test_the_holds_are_listed(arena: Arena) -> None:
    arena.submit(TWO)
    arena.engine.pause_tag("eu", by="ann")
    arena.engine.pause_plan("two", by="bob", reason="slow")

    assert [(str(h), h.by, h.reason) for h in arena.engine.list_holds()] == [
        ("tag eu", "ann", None),
        ("plan two", "bob", "slow"),
    ]


def test_a_plan_that_nobody_knows_is_refused(arena: Arena) -> None:
    submit_tagged(arena)

    with pytest.raises(PlanNotFoundError, match='did you mean "tagged"'):
        arena.engine.pause_plan("taged")

    assert arena.engine.list_holds() == ()


def test_a_pause_of_nothing_is_refused(arena: Arena) -> None:
    with pytest.raises(ParameterError, match="name the tag"):
        arena.engine.pause_tag(" ")


def test_a_queue_that_nobody_serves_is_warned_of(arena: Arena) -> None:
    served = arena.engine.pause_queue(arena.queue)
    unserved = arena.engine.pause_queue("nobody_serves")

    assert served.warning is None
    assert unserved.landed
    assert unserved.warning == "no worker serves queue 'nobody_serves'"


# beside other things that happen to an execution


def test_a_cancel_takes_what_is_parked(arena: Arena) -> None:
    execution_id = arena.submit(TWO)
    arena.engine.pause_plan("two")
    arena.try_claim(execution_id)

    arena.engine.cancel(execution_id)

    assert read_statuses(arena, execution_id) == ["cancelled", "cancelled"]
    assert arena.engine.get_status(execution_id).status is ExecutionStatus.CANCELLED
    check_timeline(arena.engine, execution_id)


def test_the_end_of_a_paused_plan_runs(arena: Arena) -> None:
    execution_id = arena.submit(TIDY)
    arena.complete(arena.claim(execution_id))
    arena.engine.pause_plan("tidy")

    arena.engine.cancel(execution_id)

    # what is undone, then the end
    for _ in range(2):
        arena.complete(arena.claim(execution_id, find_late_step(arena, execution_id)))
    assert arena.engine.get_status(execution_id).open_steps == 0


def find_late_step(arena: Arena, execution_id: str) -> int:
    """Return the position of the step that is due after those of the plan."""
    (row,) = arena.database.query(
        'SELECT "position" FROM {schema}.execution_steps WHERE execution_id = %s'
        " AND section <> 'steps' AND status = 'ready'",
        (execution_id,),
    )
    return int(row["position"])


def test_a_paused_queue_holds_the_end_as_well(arena: Arena) -> None:
    execution_id = arena.submit(TIDY)
    arena.complete(arena.claim(execution_id))
    arena.engine.pause_queue(arena.queue)
    arena.engine.cancel(execution_id)
    position = find_late_step(arena, execution_id)

    assert arena.try_claim(execution_id, position).outcome is ClaimOutcome.PARKED

    end_hold(arena, HoldKind.QUEUE, arena.queue)
    assert len(release_all(arena)) == 1
    assert arena.try_claim(execution_id, position).outcome is ClaimOutcome.CLAIMED


def test_what_is_parked_does_not_use_up_its_time(arena: Arena) -> None:
    execution_id = arena.submit(TIMED)
    arena.engine.pause_plan("timed")
    arena.try_claim(execution_id)
    let_hour_pass(arena, execution_id, "deadline", "parked_at")

    assert look(arena.liveness).expired_steps == ()

    end_hold(arena, HoldKind.PLAN, "timed")
    release_all(arena)
    assert look(arena.liveness).expired_steps == ()
    assert 59 < minutes_left(arena, execution_id) <= 60


def minutes_left(arena: Arena, execution_id: str) -> float:
    (row,) = arena.database.query(
        "SELECT extract(epoch FROM deadline - clock_timestamp()) / 60 AS left"
        ' FROM {schema}.execution_steps WHERE execution_id = %s AND "position" = 0',
        (execution_id,),
    )
    return float(row["left"])


@pytest.mark.parametrize("is_resumed_first", [True, False])
def test_a_pause_within_a_pause_gives_back_the_time_once(
    arena: Arena, is_resumed_first: bool
) -> None:
    execution_id = arena.submit(TIMED)
    arena.engine.pause_plan("timed")
    arena.try_claim(execution_id)
    arena.engine.pause(execution_id)
    let_hour_pass(arena, execution_id, "deadline", "parked_at")
    arena.database.query(
        "UPDATE {schema}.executions SET paused_at = paused_at - interval '90 minutes'"
        " WHERE id = %s RETURNING 1",
        (execution_id,),
    )

    if is_resumed_first:
        arena.engine.resume(execution_id)
    end_hold(arena, HoldKind.PLAN, "timed")
    sent = release_all(arena)
    if not is_resumed_first:
        assert sent == [], "it is still paused"
        arena.engine.resume(execution_id)

    assert 59 < minutes_left(arena, execution_id) <= 60
    assert read_statuses(arena, execution_id) == ["ready"]
    check_timeline(arena.engine, execution_id)


def test_an_execution_that_is_paused_itself_parks_nothing(arena: Arena) -> None:
    execution_id = arena.submit(TWO)
    arena.engine.pause(execution_id)
    arena.engine.pause_plan("two")

    assert arena.try_claim(execution_id).outcome is ClaimOutcome.DROPPED

    epoch = resume_epoch(arena, execution_id)
    answer = try_claim(arena, execution_id, epoch)
    assert answer.outcome is ClaimOutcome.PARKED


def resume_epoch(arena: Arena, execution_id: str) -> int:
    arena.engine.resume(execution_id)
    return arena.engine.get_status(execution_id).epoch


def try_claim(arena: Arena, execution_id: str, epoch: int) -> ClaimAnswer:
    return arena.records.claim(
        execution_id,
        [0],
        epoch=epoch,
        token=str(uuid.uuid4()),
        worker_id=arena.worker_id,
        delivery="by-hand",
    )


# what is shown


def test_an_execution_says_what_holds_it(arena: Arena) -> None:
    execution_id = submit_tagged(arena)
    arena.engine.pause_tag("eu", by="ann", reason="a fault")
    arena.engine.pause_queue(arena.queue, by="bob")
    arena.engine.pause_queue("another", by="eve")

    holds = arena.engine.get_status(execution_id).holds

    assert [(str(hold), hold.by) for hold in holds] == [
        ("tag eu", "ann"),
        (f"queue {arena.queue}", "bob"),
    ]
    (listed,) = [
        one for one in arena.engine.list_executions().items if one.id == execution_id
    ]
    assert listed.holds == holds
    assert arena.engine.look(execution_id)[1].holds == holds


def test_a_parked_step_says_what_it_waits_for(arena: Arena) -> None:
    execution_id = submit_tagged(arena)
    arena.engine.pause_tag("eu")
    arena.try_claim(execution_id)

    assert [step.waits_for for step in arena.engine.list_steps(execution_id)] == [
        "tag:eu",
        None,
    ]


# what lies within others


EACH = Plan(
    "each",
    steps=[Step("a", for_each="[1, 2]", deadline="1h", action=NOTHING)],
)


def test_the_time_of_parked_items_is_that_of_their_step(arena: Arena) -> None:
    execution_id = arena.submit(EACH)
    begun = arena.claim(execution_id)
    arena.records.expand(begun, attempt=1, items="[1, 2]")
    arena.engine.pause_plan("each")
    arena.try_claim(execution_id, 1)
    let_hour_pass(arena, execution_id, "deadline", "parked_at")

    assert look(arena.liveness).expired_steps == ()

    end_hold(arena, HoldKind.PLAN, "each")
    release_all(arena)
    assert look(arena.liveness).expired_steps == ()
    assert 59 < minutes_left(arena, execution_id) <= 60
    check_timeline(arena.engine, execution_id)


def test_a_paused_plan_holds_the_plans_within(arena: Arena) -> None:
    parent = submit_tagged(arena)
    child = arena.submit(TWO)
    arena.database.query(
        "UPDATE {schema}.executions SET parent_id = %s, parent_position = 0"
        " WHERE id = %s RETURNING 1",
        (parent, child),
    )
    arena.engine.pause_plan("tagged")

    assert arena.try_claim(child).outcome is ClaimOutcome.PARKED
    assert [str(hold) for hold in arena.engine.get_status(child).holds] == [
        "plan tagged"
    ]


@pytest.mark.parametrize("text", ["a\x00b", "a\udcffb"])
def test_what_is_no_text_is_refused(arena: Arena, text: str) -> None:
    with pytest.raises(DatabaseError, match="cannot hold that text"):
        arena.engine.pause_tag("odd", by="ann", reason=text)
    with pytest.raises(DatabaseError, match="cannot hold that text"):
        arena.engine.pause_tag(text)
    assert arena.engine.list_holds() == ()
