"""What is said of a step that does not run, for facts that are rarely met."""

from typing import Any

import pytest

from execution.obstacles import Obstacle, ObstacleKind, explain_standstill

NOW = "2026-11-21T12:00:00+00:00"
ERROR = {"code": "E008", "message": "its process is gone"}


def explain(step: dict[str, Any], **execution: Any) -> tuple[Obstacle, ...]:
    """Return why a step does not run; what is not named is as usual."""
    usual: dict[str, Any] = {
        "name": "one",
        "action": "a.b",
        "queue": "plans",
        "status": "pending",
        "reason": None,
        "failures": 0,
        "losses": 0,
        "max_attempts": 1,
        "max_lost": 3,
        "error": None,
        "wake_at": None,
        "waits_for": None,
        "holds": [],
        "needs": {"count": 0, "first": []},
        "items": None,
        "iterations": None,
        "item_of": None,
        "fallback": None,
        "stands_in_for": None,
        "child": None,
        "living": 1,
        "serving": 1,
        "able": 1,
        "is_sent": True,
        "ahead": 0,
        "longest": None,
    }
    facts = {
        "id": "id",
        "status": "running",
        "reason": None,
        "parent": None,
        "running": [],
        "last_act": None,
        "key": None,
        "key_holders": [],
        "now": NOW,
        "steps_in_all": 1,
        "steps": [usual | step],
        **execution,
    }
    (found,) = explain_standstill(facts).steps
    return found.obstacles


def only(step: dict[str, Any], **execution: Any) -> Obstacle:
    (found,) = explain(step, **execution)
    return found


def test_who_is_paused_with_a_parent_is_resumed_with_it() -> None:
    found = only({}, status="paused", parent="outer")

    assert found.kind is ObstacleKind.PAUSED
    assert found.advice == "plans resume outer"


def test_a_pause_of_nobody_in_particular() -> None:
    assert only({}, status="paused").text == "its execution was paused"
    act = {"by": None, "reason": None}
    assert only({}, status="paused", last_act=act).text == "its execution was paused"


def test_a_key_that_becomes_free() -> None:
    found = only({}, key="acme")

    assert (
        found.text == "its execution waits for the key 'acme'; nobody any more has it"
    )


def test_many_ahead_in_the_queue_are_not_counted() -> None:
    found = only({"status": "ready", "ahead": 1000})

    assert found.text == "in the queue plans it is behind 1,000 steps or more"


def test_what_takes_the_last_slot_is_named() -> None:
    longest = {"execution": "other", "step": "hang", "seconds": 3600.2}
    found = only({"status": "ready", "slots": 2, "longest": longest})

    assert found.text.endswith("; 0 of 2 slots free: hang runs longest, for 1h")
    assert found.advice == "plans show other"


def test_other_queues_are_served() -> None:
    alone = only({"status": "ready", "serving": 0, "living": 0})
    beside = only({"status": "ready", "serving": 0})

    assert alone.text == "no living worker serves the queue plans"
    assert beside.text.endswith("; other queues are served")


def test_a_ready_step_of_a_paused_execution_has_no_place_in_a_queue() -> None:
    found = explain({"status": "ready"}, status="paused")

    assert [one.kind for one in found] == [ObstacleKind.PAUSED]


@pytest.mark.parametrize(
    ("step", "kind", "text"),
    [
        ({"iterations": 3}, ObstacleKind.ITEMS, "its iteration 3 has not ended"),
        (
            {"child": "inner", "child_status": "paused"},
            ObstacleKind.CHILD,
            "the plan that it runs is paused",
        ),
        (
            {"wake_at": NOW, "failures": 1, "max_attempts": 4},
            ObstacleKind.TIMER,
            "attempt 2 of 4 comes after a wait",
        ),
        ({"wake_at": NOW}, ObstacleKind.TIMER, "it waits for its time"),
    ],
)
def test_what_waits(step: dict[str, Any], kind: ObstacleKind, text: str) -> None:
    found = only({"status": "waiting", **step})

    assert (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize(
    ("trial", "text"),
    [("canary", "with one step first"), ("ramp", "with more and more steps")],
)
def test_what_is_tried_again_says_so(trial: str, text: str) -> None:
    hold = {"kind": "dependency", "name": "bank", "by": None, "reason": None}

    found = only(
        {
            "status": "waiting",
            "waits_for": "dependency:bank",
            "holds": [{**hold, "trial": trial}],
        }
    )

    assert found.text == f"the dependency bank is paused; it is tried again, {text}"
    assert found.advice == "plans resume --uses bank --at-once"


@pytest.mark.parametrize("step", [{"fallback": "other"}, {"iterations": 2}])
def test_what_is_parked_has_not_failed_nor_begun(step: dict[str, Any]) -> None:
    hold = {"kind": "queue", "name": "io", "by": None, "reason": None}
    parked = {"status": "waiting", "waits_for": "queue:io", "holds": [hold]}

    assert only({**parked, **step}).kind is ObstacleKind.HELD


def test_what_waits_for_something_unknown_says_nothing() -> None:
    assert explain({"status": "waiting"}) == ()


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (
            {"status": "failed", "losses": 3, "error": ERROR},
            "its worker was lost 3 times: E008 its process is gone",
        ),
        (
            {"status": "failed", "failures": 1},
            "1 attempt of 1",
        ),
        ({"status": "failed"}, "it failed"),
        ({"status": "timed_out"}, "it timed out"),
    ],
)
def test_what_failed(step: dict[str, Any], text: str) -> None:
    advice = "plans retry id --dry-run"
    assert only(step, status="failed") == Obstacle(ObstacleKind.ATTEMPTS, text, advice)


@pytest.mark.parametrize(
    ("step", "status", "text"),
    [
        (
            {"status": "skipped", "reason": "condition"},
            "running",
            "its condition was false",
        ),
        ({"status": "skipped", "reason": "other"}, "running", "skipped: other"),
        ({"status": "cancelled"}, "failed", "its execution is failed"),
        ({"status": "cancelled"}, "ending", "its execution is ending (cancel)"),
    ],
)
def test_what_ended_without_running(
    step: dict[str, Any], status: str, text: str
) -> None:
    found = only(step, status=status, reason="cancel")

    advice = "plans retry id --dry-run"
    can_go_on = status == "failed" and step["status"] == "cancelled"
    assert found == Obstacle(ObstacleKind.ENDED, text, advice if can_go_on else None)


def test_what_is_held_says_by_whom_and_how_to_resume_it() -> None:
    hold = {"kind": "queue", "name": "io", "by": "ann", "reason": "moving disks"}
    found = only({"status": "waiting", "waits_for": "queue:io", "holds": [hold]})

    text = "the queue io is paused by ann: moving disks"
    assert found == Obstacle(ObstacleKind.HELD, text, "plans resume --queue io")


def test_what_was_held_goes_on_soon() -> None:
    found = only({"status": "waiting", "waits_for": "tag:eu"})

    assert found.text == "the tag eu was resumed: it goes on in a moment"


def test_a_signal_that_has_not_come() -> None:
    endless = only({"status": "waiting", "waits_for": "signal:approval"})
    bounded = only({"status": "waiting", "waits_for": "signal:go", "wake_at": NOW})

    assert endless == Obstacle(
        ObstacleKind.SIGNAL,
        "it waits for the signal approval",
        "plans signal id approval PAYLOAD",
    )
    assert bounded.until is not None


def test_the_time_of_a_signal_stands_still_while_its_execution_is_paused() -> None:
    step = {"status": "waiting", "waits_for": "signal:go", "wake_at": NOW}
    _, waiting = explain(step, status="paused")

    assert waiting.text == "it waits for the signal go"
    assert waiting.until is None


def test_what_failures_have_paused_is_tried_again_by_itself() -> None:
    hold = {
        "kind": "dependency",
        "name": "bank",
        "by": "plans",
        "reason": "5 of 10 failed",
        "trial": "paused",
        "tried_at": NOW,
    }
    found = only({"status": "waiting", "waits_for": "dependency:bank", "holds": [hold]})

    assert found.text == (
        "the dependency bank is paused by plans: 5 of 10 failed; it is tried again by"
        " itself"
    )
    assert found.until is not None
    assert found.advice == "plans resume --uses bank"
