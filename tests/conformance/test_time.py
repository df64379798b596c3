"""The rules of time, one row each: limits, waits, lost processes, cancels."""

import pytest

from tests.conformance.nodes import Fate
from tests.conformance.rows import END, FAILS, LISTS, UNDO, Row, Theatre, steps

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
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule_holds(theatre: Theatre, row: Row) -> None:
    theatre.check(row)
