"""The rules of time, one row each: limits, waits, lost processes, cancels."""

import pytest

from tests.conformance.nodes import Fate
from tests.conformance.rows import END, FAILS, LISTS, UNDO, Row, Theatre, step, steps

MINUTES = 60.0
HOURS = 3600.0

ROWS: dict[str, Row] = {
    "an attempt beyond its timeout is over, whatever it returns": Row(
        steps("a, timeout: 5m"),
        "failed",
        {"a": "timed_out"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
        codes={"a": "E002"},
    ),
    "a timeout is for one attempt, and counts as one": Row(
        steps("a, timeout: 5m, retry: {attempts: 2, initial: 1ms, jitter: 0s}"),
        "completed",
        {"a": "completed after 2"},
        {"a": Fate(takes_seconds=6 * MINUTES, slow_attempts=1)},
        tick_seconds=1.0,
    ),
    "attempts that outlive their timeouts are used up as others are": Row(
        steps("a, timeout: 5m, retry: {attempts: 2, initial: 1ms, jitter: 0s}"),
        "failed",
        {"a": "timed_out after 2"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
        codes={"a": "E002"},
        tick_seconds=1.0,
    ),
    "a timeout is tried again where it is on the list": Row(
        steps("a, timeout: 5m, retry: {attempts: 2, initial: 1ms, on: [E002]}"),
        "completed",
        {"a": "completed after 2"},
        {"a": Fate(takes_seconds=6 * MINUTES, slow_attempts=1)},
        tick_seconds=1.0,
    ),
    "a timeout is not tried again where only others are": Row(
        steps("a, timeout: 5m, retry: {attempts: 2, initial: 1ms, on: [OSError]}"),
        "failed",
        {"a": "timed_out"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
    ),
    "the list of what is not tried again wins over timeouts, too": Row(
        steps("a, timeout: 5m, retry: {attempts: 2, initial: 1ms, not_on: [E002]}"),
        "failed",
        {"a": "timed_out"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
    ),
    "what has no limit takes its time": Row(
        steps("a", "b, timeout: 2h"),
        "completed",
        {"a": "completed", "b": "completed"},
        {
            "a": Fate(takes_seconds=1000 * HOURS),
            "b": Fate(takes_seconds=1 * HOURS),
        },
    ),
    "a timeout can be skipped over": Row(
        steps("a, timeout: 5m, on_failure: skip", "b"),
        "completed",
        {"a": "skipped failed", "b": "completed"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
        codes={"a": "E002"},
    ),
    "a timeout has a fallback": Row(
        steps(
            "a, timeout: 5m, on_failure: {fallback: f}",
            "f, with: {saw: '${failure.code}'}",
        ),
        "completed",
        {"a": "completed", "f": "completed"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
        saw={"f": "E002"},
    ),
    "a deadline is for all attempts and the waits between them": Row(
        steps("a, deadline: 1h, retry: {attempts: 9, initial: 25m, max: 25m}"),
        "failed",
        {"a": "timed_out after 3"},
        {"a": FAILS},
        codes={"a": "E002"},
        tick_seconds=26 * MINUTES,
    ),
    "after a deadline no attempt follows": Row(
        steps("a, deadline: 5m, retry: {attempts: 9, initial: 1ms}"),
        "failed",
        {"a": "timed_out"},
        {"a": Fate(takes_seconds=6 * MINUTES)},
        codes={"a": "E002"},
    ),
    "the deadline of a step begins when it is ready": Row(
        steps("a", "b, deadline: 1h"),
        "completed",
        {"a": "completed", "b": "completed"},
        {"a": Fate(takes_seconds=9 * HOURS)},
    ),
    "while people have stopped it a step keeps its time": Row(
        steps("a, deadline: 1h, retry: {attempts: 2, initial: 10m, max: 10m}"),
        "completed",
        {"a": "completed after 2"},
        {"a": Fate(failing_attempts=1, takes_seconds=20 * MINUTES)},
        tick_seconds=11 * MINUTES,
        pause_seconds=9 * HOURS,
    ),
    "a step that has outlived its deadline can be skipped over": Row(
        steps(
            "a, deadline: 1h, on_failure: skip,"
            " retry: {attempts: 2, initial: 2h, max: 2h}",
            "b",
        ),
        "completed",
        {"a": "skipped failed", "b": "completed"},
        {"a": FAILS},
        codes={"a": "E002"},
        tick_seconds=61 * MINUTES,
    ),
    "a plan that has outlived its deadline is timed out": Row(
        "deadline: 1h\n" + steps("a", "b, run_on: always, deadline: 1m", "c"),
        "timed_out",
        {"a": "timed_out", "b": "completed", "c": "cancelled"},
        {"a": Fate(takes_seconds=2 * HOURS)},
        codes={"a": "E002"},
        code="E002",
    ),
    "the deadline of a plan goes on while people have stopped it": Row(
        "deadline: 1h\n" + steps("a, retry: {attempts: 2, initial: 10m, max: 10m}"),
        "timed_out",
        {"a": "cancelled"},
        {"a": Fate(failing_attempts=1)},
        tick_seconds=11 * MINUTES,
        pause_seconds=9 * HOURS,
    ),
    "what the deadline of a plan ends is undone as after a failure": Row(
        "deadline: 1h\nrollback: on_failure\n" + steps(f"a, {UNDO}", "b"),
        "timed_out",
        {"a": "completed", "b": "timed_out", "a.undo": "completed"},
        {"b": Fate(takes_seconds=2 * HOURS)},
        order="a b a.undo",
    ),
    "what undoes and ends has time beyond the deadline of the plan": Row(
        "deadline: 1h\nrollback: on_failure\n"
        + steps(f"a, {UNDO}", "b", f"e, {END % 'failure'}"),
        "timed_out",
        {
            "a": "completed",
            "b": "timed_out",
            "a.undo": "completed",
            "e": "completed",
        },
        {
            "b": Fate(takes_seconds=2 * HOURS),
            "a.undo": Fate(takes_seconds=9 * HOURS),
            "e": Fate(takes_seconds=30 * MINUTES),
        },
    ),
    "the end is cut off by its own deadline, and stops nothing": Row(
        steps("a", f"e, {END % 'always'}", f"g, {END % 'always'}"),
        "completed",
        {"a": "completed", "e": "timed_out", "g": "completed"},
        {"e": Fate(takes_seconds=2 * HOURS)},
        order="a e g",
    ),
    "the deadline of items is for all of them together": Row(
        LISTS + steps("a, for_each: parameters.list, max_parallel: 1, deadline: 1h"),
        "failed",
        {
            "a": "timed_out",
            "a[0]": "completed",
            "a[1]": "timed_out",
            "a[2]": "cancelled",
        },
        {
            "a[0]": Fate(takes_seconds=35 * MINUTES),
            "a[1]": Fate(takes_seconds=35 * MINUTES),
        },
    ),
    "the timeout of items is for each of them": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, max_parallel: 1, timeout: 1h,"
            " on_failure: skip"
        ),
        "completed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "skipped failed",
            "a[2]": "completed",
        },
        {
            "a[0]": Fate(takes_seconds=35 * MINUTES),
            "a[1]": Fate(takes_seconds=65 * MINUTES),
            "a[2]": Fate(takes_seconds=35 * MINUTES),
        },
    ),
    "lost processes are no failures": Row(
        steps("a"),
        "completed",
        {"a": "completed after 3"},
        {"a": Fate(lost_attempts=2)},
    ),
    "the third loss is the last": Row(
        steps("a, retry: {attempts: 9, initial: 1ms}"),
        "failed",
        {"a": "failed after 3"},
        {"a": Fate(lost_attempts=9)},
        codes={"a": "E008"},
    ),
    "how many losses are borne can be stated": Row(
        steps("a, retry: {max_lost: 1}"),
        "failed",
        {"a": "failed"},
        {"a": Fate(lost_attempts=1)},
        codes={"a": "E008"},
    ),
    "losses and failures count apart": Row(
        steps("a, retry: {attempts: 2, initial: 1ms, jitter: 0s, max_lost: 3}"),
        "completed",
        {"a": "completed after 4"},
        {"a": Fate(lost_attempts=2, failing_attempts=3)},
        tick_seconds=1.0,
    ),
    "a step whose processes are lost can be skipped over": Row(
        steps("a, retry: {max_lost: 2}, on_failure: skip", "b"),
        "completed",
        {"a": "skipped failed after 2", "b": "completed"},
        {"a": Fate(lost_attempts=9)},
        codes={"a": "E008"},
    ),
    "what runs when another fails ends and is recorded": Row(
        steps("a, needs: []", "b, needs: []", "c, needs: [a]"),
        "failed",
        {"a": "completed", "b": "failed", "c": "cancelled"},
        {"a": Fate(lets_others_end=True), "b": FAILS},
    ),
    "what runs when another fails is told to stop where the plan says so": Row(
        "failing: cancel_running\n"
        + steps("a, needs: []", "b, needs: []", "c, needs: [a]"),
        "failed",
        {"a": "cancelled", "b": "failed", "c": "cancelled"},
        {"a": Fate(lets_others_end=True, asks=True), "b": FAILS},
        codes={"a": "E004"},
    ),
    "a cancel lets what runs end, and begins nothing": Row(
        steps("a", "b"),
        "cancelled",
        {"a": "completed", "b": "cancelled"},
        {"a": Fate(cancels=True)},
    ),
    "after a cancel code may stop, and is cancelled then": Row(
        steps("a", "b"),
        "cancelled",
        {"a": "cancelled", "b": "cancelled"},
        {"a": Fate(cancels=True, asks=True)},
        codes={"a": "E004"},
    ),
    "a cancel undoes where it is asked for, and runs the end": Row(
        "rollback: on_cancel\n"
        + steps(
            f"a, {UNDO}", "b", "c", f"e, {END % 'failure'}", f"g, {END % 'always'}"
        ),
        "cancelled",
        {
            "a": "completed",
            "b": "completed",
            "c": "cancelled",
            "a.undo": "completed",
            "e": "completed",
            "g": "completed",
        },
        {"b": Fate(cancels=True)},
        order="a b a.undo e g",
    ),
    "a cancel undoes nothing that only a failure would": Row(
        "rollback: on_failure\n" + steps(f"a, {UNDO}", "b"),
        "cancelled",
        {"a": "completed", "b": "completed"},
        {"b": Fate(cancels=True)},
    ),
    "the first reason for an end is the one": Row(
        steps("a, needs: []", "b, needs: []"),
        "cancelled",
        {"a": "failed", "b": "cancelled"},
        {"a": Fate(cancels=True, failing_attempts=9)},
        order="a",
    ),
    "a step that sleeps waits, and runs nothing": Row(
        "steps:\n" + step("a") + "  - {id: b, sleep: 2h}\n" + step("c"),
        "completed",
        {"a": "completed", "b": "completed after 2", "c": "completed"},
        results={"b": None},
        inputs={"b": {"for": "2h"}},
        order="a b b c",
        tick_seconds=1800.0,
    ),
    "a moment that is past is not waited for": Row(
        "steps:\n" + step("a") + "  - {id: b, sleep_until: 2020-02-29T00:00:00Z}\n",
        "completed",
        {"a": "completed", "b": "completed"},
    ),
    "what comes to no duration is no sleep": Row(
        LISTS + "steps:\n  - {id: a, sleep: '${text(parameters.list)}'}\n",
        "failed",
        {"a": "failed"},
        codes={"a": "E007"},
    ),
    "a sleep is cut by the deadline of its step": Row(
        "steps:\n  - {id: a, sleep: 2h, deadline: 1h}\n",
        "failed",
        {"a": "timed_out"},
        codes={"a": "E002"},
        tick_seconds=1800.0,
    ),
    "a sleep goes on while people have stopped the execution": Row(
        "steps:\n" + step("a") + "  - {id: b, sleep: 2h}\n" + step("c"),
        "completed",
        {"a": "completed", "b": "completed after 2", "c": "completed"},
        tick_seconds=1800.0,
        pause_seconds=9 * HOURS,
    ),
    "who goes back to before a sleep sleeps again": Row(
        "steps:\n"
        + step("a")
        + "  - {id: b, sleep: 2h}\n"
        + step("c, on_failure: {restore: a, times: 1}"),
        "completed",
        {
            "a": "completed after 2",
            "b": "completed after 4",
            "c": "completed after 2",
        },
        {"c": Fate(failing_attempts=1)},
        order="a b b c a b b c",
        tick_seconds=1800.0,
    ),
    "a step waits for its signal, whose payload is its result": Row(
        "steps:\n" + step("a") + "  - {id: b, wait_for: yes-please}\n" + step("c"),
        "completed",
        {"a": "completed", "b": "completed", "c": "completed"},
        results={"b": {"ok": True}},
        inputs={"b": {"wait_for": "yes-please"}},
        order="a b c",
        signals=(("yes-please", {"ok": True}),),
    ),
    "after its time a wait comes to its default": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h, default: {ok: false}}\n",
        "completed",
        {"a": "completed"},
        results={"a": {"ok": False}},
        tick_seconds=1800.0,
    ),
    "null is a default": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h, default: null}\n",
        "completed",
        {"a": "completed"},
        results={"a": None},
        tick_seconds=1800.0,
    ),
    "without a default a wait has timed out": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h}\n",
        "failed",
        {"a": "timed_out"},
        codes={"a": "E002"},
        tick_seconds=1800.0,
    ),
    "a wait that has timed out has the policy of its step": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h, on_failure: {fallback: b}}\n"
        "  - {id: b, wait_for: then, timeout: 1h, default: late}\n",
        "completed",
        {"a": "completed", "b": "completed"},
        results={"a": "late"},
        tick_seconds=1800.0,
    ),
    "a deadline cuts a wait that has a default": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h, default: 1, deadline: 1h}\n",
        "failed",
        {"a": "timed_out"},
        codes={"a": "E002"},
        tick_seconds=1800.0,
    ),
    "the time of a wait stands still while people have stopped the execution": Row(
        "steps:\n  - {id: a, wait_for: go, timeout: 2h, default: 1}\n",
        "completed",
        {"a": "completed"},
        results={"a": "yes"},
        tick_seconds=1800.0,
        pause_seconds=9 * HOURS,
        signals=(("go", "yes"),),
    ),
    "two that wait for one name take one each, in their order": Row(
        "steps:\n  - {id: a, wait_for: go, needs: []}\n"
        "  - {id: b, wait_for: go, needs: []}\n",
        "completed",
        {"a": "completed", "b": "completed"},
        results={"a": 1, "b": 2},
        signals=(("go", 1), ("go", 2)),
    ),
    "each item waits for a name of its own": Row(
        LISTS + "steps:\n  - {id: a, for_each: parameters.list, wait_for: '${item}'}\n",
        "completed",
        {"a": "completed", **dict.fromkeys(("a[0]", "a[1]", "a[2]"), "completed")},
        results={"a[0]": 3, "a[1]": 2, "a[2]": 1},
        signals=(("z", 1), ("y", 2), ("x", 3)),
    ),
    "a loop waits until it has heard what it wants": Row(
        "steps:\n  - id: a\n    repeat: {wait_for: go, until: last.ok, times: 3}\n",
        "completed",
        {"a": "completed after 3", "a[0]": "completed", "a[1]": "completed"},
        results={"a": {"ok": True}},
        signals=(("go", {"ok": False}), ("go", {"ok": True})),
    ),
    "a wait of the end hears what comes while the execution ends": Row(
        "steps:\n" + step("a, on_failure: abort") + "  - id: b\n    wait_for: go\n"
        "    run_on: always\n    deadline: 1h\n",
        "failed",
        {"a": "failed", "b": "completed"},
        {"a": FAILS},
        results={"b": 1},
        signals=(("go", 1),),
    ),
    "a condition can leave a wait out": Row(
        "steps:\n  - {id: a, wait_for: go, when: 'false'}\n",
        "completed",
        {"a": "skipped condition"},
    ),
    "a condition can leave a sleep out": Row(
        "steps:\n  - {id: a, sleep: 2h, when: 'false'}\n",
        "completed",
        {"a": "skipped condition"},
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule_holds(theatre: Theatre, row: Row) -> None:
    theatre.check(row)
