"""The rules of execution, one row each: a plan, what its steps do, and how all ends."""

import pytest

from tests.conformance.nodes import Fate
from tests.conformance.rows import (
    END,
    FAILS,
    LISTS,
    UNDO,
    Row,
    Theatre,
    loop,
    step,
    steps,
)

ROWS: dict[str, Row] = {
    "without a condition a loop has all its iterations": Row(
        loop("times: 3, with: {saw: '${index}'}"),
        "completed",
        {
            "a": "completed after 4",
            **{f"a[{n}]": "completed" for n in range(3)},
        },
        saw={"a": 2, "a[0]": 0, "a[1]": 1, "a[2]": 2},
        order="a a[0] a a[1] a a[2] a",
    ),
    "a loop is over when its condition is true": Row(
        loop("times: 9, until: 'last.saw > 0', with: {saw: '${index}'}"),
        "completed",
        {"a": "completed after 3", "a[0]": "completed", "a[1]": "completed"},
        value={"step": "a[1]", "saw": 1, "ok": True, "items": []},
    ),
    "an iteration sees what the one before it came to, and the first null": Row(
        loop('times: 2, with: {saw: \'${get(last, "step", "none")}\'}'),
        "completed",
        {"a": "completed after 3", "a[0]": "completed", "a[1]": "completed"},
        saw={"a[0]": "none", "a[1]": "a[0]"},
    ),
    "a loop that comes to its bound fails": Row(
        loop("times: 2, until: 'index > 1'", more=step("b")),
        "failed",
        {
            "a": "failed after 3",
            "b": "cancelled",
            "a[0]": "completed",
            "a[1]": "completed",
        },
    ),
    "a bound that is just enough is no failure": Row(
        loop("times: 2, until: 'index == 1'"),
        "completed",
        {"a": "completed after 3", "a[0]": "completed", "a[1]": "completed"},
    ),
    "a loop may be skipped as a whole, an iteration is not": Row(
        loop("times: 3", ", on_failure: skip", step("b")),
        "completed",
        {
            "a": "skipped failed after 3",
            "b": "completed",
            "a[0]": "completed",
            "a[1]": "failed",
        },
        {"a[1]": FAILS},
    ),
    "a fallback stands in for a loop as a whole": Row(
        loop(
            "times: 3",
            ", on_failure: {fallback: c}",
            step("b, with: {saw: '${steps.a.result.saw}'}")
            + step("c, with: {saw: '${failure.step}'}"),
        ),
        "completed",
        {
            "a": "completed after 2",
            "b": "completed",
            "c": "completed",
            "a[0]": "failed",
        },
        {"a[0]": FAILS},
        saw={"b": "a[0]"},
    ),
    "each iteration has attempts of its own": Row(
        loop("times: 2", ", retry: {attempts: 2, initial: 1ms}"),
        "completed",
        {
            "a": "completed after 3",
            "a[0]": "completed after 2",
            "a[1]": "completed after 2",
        },
        {"a[0]": Fate(failing_attempts=1), "a[1]": Fate(failing_attempts=1)},
    ),
    "a loop has a result and no results": Row(
        loop("times: 1", more=step("b, with: {saw: '${steps.a.results}'}")),
        "completed",
        {"a": "completed after 2", "b": "completed", "a[0]": "completed"},
        saw={"b": None},
    ),
    "to go back to before a loop lets it begin anew": Row(
        loop("times: 2", more=step("b, on_failure: {restore: a, times: 1}")),
        "completed",
        {
            "a": "completed after 6",
            "b": "completed after 2",
            **{f"a[{n}]{old}": "completed" for n in (0, 1) for old in ("", "~1")},
        },
        {"b": Fate(failing_attempts=1)},
    ),
    "a loop that fails can let the execution go back": Row(
        loop("times: 2", ", on_failure: {restore: a, times: 1}"),
        "failed",
        {
            "a": "failed after 6",
            "a[0]~1": "completed",
            "a[1]~1": "failed",
            "a[0]": "completed",
            "a[1]": "failed",
        },
        {"a[1]": FAILS},
    ),
    "a loop that is not wanted has no iterations": Row(
        loop("times: 3", ", when: 'false'"), "completed", {"a": "skipped condition"}
    ),
    "what a loop did is undone once": Row(
        "rollback: on_failure\n"
        + loop(
            "times: 2",
            ", undo: {action: play.step, with: {saw: '${step.result.step}'}}",
            step("b"),
        ),
        "failed",
        {
            "a": "completed after 3",
            "b": "failed",
            "a[0]": "completed",
            "a[1]": "completed",
            "a.undo": "completed",
        },
        {"b": FAILS},
        saw={"a.undo": "a[1]"},
    ),
    "in a sequence a skip stops nothing": Row(
        steps("a, when: 'false'", "b, with: {saw: '${steps.a.result}'}"),
        "completed",
        {"a": "skipped condition", "b": "completed"},
        saw={"b": None},
    ),
    "in a graph a skip runs down its line": Row(
        steps("a, needs: [], when: 'false'", "b, needs: [a]", "c, needs: [b]"),
        "completed",
        {"a": "skipped condition", "b": "skipped needs", "c": "skipped needs"},
    ),
    "a skip stops at a join with a live branch": Row(
        steps(
            "a, needs: [], on_failure: skip",
            "b, needs: []",
            "c, needs: [a]",
            "d, needs: [c, b], with: {saw: '${steps.c.status}'}",
        ),
        "completed",
        {
            "a": "skipped failed",
            "b": "completed",
            "c": "skipped needs",
            "d": "completed",
        },
        {"a": FAILS},
        saw={"d": "skipped"},
    ),
    "a branch can be demanded": Row(
        steps(
            "a, needs: [], on_failure: skip",
            "b, needs: []",
            "c, needs: [a, b], when: 'steps.a.status == \"completed\"'",
        ),
        "completed",
        {"a": "skipped failed", "b": "completed", "c": "skipped condition"},
        {"a": FAILS},
    ),
    "what is skipped by its needs is not asked": Row(
        steps("a, needs: [], when: 'false'", "b, needs: [a], when: steps.a.result.ok"),
        "completed",
        {"a": "skipped condition", "b": "skipped needs"},
    ),
    "a condition that is no condition is a failure like others": Row(
        steps("a", "b, when: steps.a.result.step, on_failure: skip"),
        "completed",
        {"a": "completed", "b": "skipped failed"},
    ),
    "a wrong path is not tried again": Row(
        steps(
            "a, retry: {attempts: 3, initial: 1ms}",
            "b, retry: {attempts: 3, initial: 1ms}, on_failure: skip,"
            " with: {saw: '${steps.a.result.nothing}'}",
        ),
        "completed",
        {"a": "completed after 2", "b": "skipped failed"},
        {"a": Fate(failing_attempts=1)},
    ),
    "a failure aborts, and what has not begun is cancelled": Row(
        steps("a", "b", "c"),
        "failed",
        {"a": "completed", "b": "failed", "c": "cancelled"},
        {"b": FAILS},
    ),
    "attempts count the first": Row(
        steps("a, retry: {attempts: 2, initial: 1ms, jitter: 0s}"),
        "failed",
        {"a": "failed after 2"},
        {"a": Fate(failing_attempts=2)},
    ),
    "one attempt is the rule": Row(
        steps("a"), "failed", {"a": "failed"}, {"a": Fate(failing_attempts=1)}
    ),
    "what is on the list of errors is tried again": Row(
        steps("a, retry: {attempts: 2, initial: 1ms, on: [ValueError]}"),
        "completed",
        {"a": "completed after 2"},
        {"a": Fate(failing_attempts=1)},
    ),
    "a name on the list stands for its subclasses": Row(
        steps("a, retry: {attempts: 2, initial: 1ms, on: [Exception]}"),
        "completed",
        {"a": "completed after 2"},
        {"a": Fate(failing_attempts=1)},
    ),
    "what is not on the list is not tried again": Row(
        steps("a, retry: {attempts: 2, initial: 1ms, on: [OSError]}"),
        "failed",
        {"a": "failed"},
        {"a": Fate(failing_attempts=1)},
    ),
    "the list of what is not tried again wins": Row(
        steps(
            "a, retry: {attempts: 2, initial: 1ms, on: [ValueError], not_on: [E003]}"
        ),
        "failed",
        {"a": "failed"},
        {"a": Fate(failing_attempts=1)},
    ),
    "a fatal error is not tried again": Row(
        steps("a, retry: {attempts: 3, initial: 1ms}"),
        "failed",
        {"a": "failed"},
        {"a": Fate(failing_attempts=1, is_fatal=True)},
    ),
    "a fallback gives its result to the step": Row(
        steps(
            "a, on_failure: {fallback: f}",
            "b, with: {saw: '${steps.a.result.step}'}",
            "f, with: {saw: '${failure.step}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed", "f": "completed"},
        {"a": FAILS},
        saw={"f": "a", "b": "f"},
    ),
    "a fallback that is not needed is skipped": Row(
        steps("a, on_failure: {fallback: f}", "f, on_failure: {fallback: g}", "g"),
        "completed",
        {"a": "completed", "f": "skipped unused", "g": "skipped unused"},
    ),
    "where a fallback fails its policy counts": Row(
        steps("a, on_failure: {fallback: f}", "f, on_failure: skip", "b"),
        "completed",
        {"a": "skipped failed", "f": "skipped failed", "b": "completed"},
        {"a": FAILS, "f": FAILS},
    ),
    "a fallback that is not wanted skips its step": Row(
        steps("a, on_failure: {fallback: f}", "f, when: 'false'", "b"),
        "completed",
        {"a": "skipped failed", "f": "skipped condition", "b": "completed"},
        {"a": FAILS},
    ),
    "a restore begins anew at an earlier step": Row(
        steps(
            "a",
            "b, with: {saw: '${steps.a.attempt}'}",
            "c, on_failure: {restore: a, times: 2}",
        ),
        "completed",
        {"a": "completed after 3", "b": "completed after 3", "c": "completed after 3"},
        {"c": Fate(failing_attempts=2)},
        saw={"b": 3},
    ),
    "a restore is done so often, then the failure aborts": Row(
        steps("a", "b, on_failure: {restore: b, times: 2}", "c"),
        "failed",
        {"a": "completed", "b": "failed after 3", "c": "cancelled"},
        {"b": FAILS},
    ),
    "a restore comes when no attempt is left": Row(
        steps(
            "a",
            "b, retry: {attempts: 2, initial: 1ms}, on_failure: {restore: a, times: 1}",
        ),
        "completed",
        {"a": "completed after 2", "b": "completed after 4"},
        {"b": Fate(failing_attempts=3)},
    ),
    "a restore leaves other branches alone": Row(
        steps(
            "a, needs: []",
            "x, needs: []",
            "b, needs: [a, x], on_failure: {restore: a, times: 1}",
        ),
        "completed",
        {"a": "completed after 2", "x": "completed", "b": "completed after 2"},
        {"b": Fate(failing_attempts=1)},
    ),
    "what was restored is undone once": Row(
        "rollback: on_failure\n"
        + steps(f"a, {UNDO}", "b, on_failure: {restore: a, times: 1}"),
        "failed",
        {"a": "completed after 2", "b": "failed after 2", "a.undo": "completed"},
        {"b": FAILS},
    ),
    "items that a restore begins anew keep a name of their own": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list",
            "b, on_failure: {restore: a, times: 1}",
        ),
        "completed",
        {
            "a": "completed after 2",
            "b": "completed after 2",
            **{f"a[{n}]{old}": "completed" for n in range(3) for old in ("", "~1")},
        },
        {"b": Fate(failing_attempts=1)},
    ),
    "a fallback that aborts fails its step as well": Row(
        steps("a, on_failure: {fallback: f}", "f", "b"),
        "failed",
        {"a": "failed", "f": "failed", "b": "cancelled"},
        {"a": FAILS, "f": FAILS},
    ),
    "results keep the order and the gaps of items": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, on_failure: skip, with: {saw: '${item}'}",
            "b, with: {saw: '${steps.a.results.2.saw}'}",
            "c, with: {saw: ['${steps.a.results.1}', '${steps.a.result}']}",
        ),
        "completed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "skipped failed",
            "a[2]": "completed",
            "b": "completed",
            "c": "completed",
        },
        {"a[1]": FAILS},
        saw={"b": "z", "c": [None, None]},
    ),
    "no items are a success without results": Row(
        "parameters: {list: {type: array, default: []}}\n"
        + steps("a, for_each: parameters.list", "b, with: {saw: '${steps.a.results}'}"),
        "completed",
        {"a": "completed", "b": "completed"},
        saw={"b": []},
    ),
    "what is no list fails": Row(
        steps("a", "b, for_each: steps.a.result.step"),
        "failed",
        {"a": "completed", "b": "failed"},
    ),
    "as many items are skipped as are tolerated": Row(
        LISTS + steps("a, for_each: parameters.list, on_failure: skip, tolerate: 1"),
        "completed",
        {
            "a": "completed",
            "a[0]": "skipped failed",
            "a[1]": "completed",
            "a[2]": "completed",
        },
        {"a[0]": FAILS},
    ),
    "one more than tolerated ends the execution": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, on_failure: skip, tolerate: 0,"
            " max_parallel: 1"
        ),
        "failed",
        {
            "a": "failed",
            "a[0]": "completed",
            "a[1]": "skipped failed",
            "a[2]": "cancelled",
        },
        {"a[1]": FAILS},
    ),
    "a share of items is rounded down": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, on_failure: skip, tolerate: 60%,"
            " max_parallel: 1"
        ),
        "failed",
        {
            "a": "failed",
            "a[0]": "skipped failed",
            "a[1]": "skipped failed",
            "a[2]": "cancelled",
        },
        {"a[0]": FAILS, "a[1]": FAILS},
    ),
    "an item that aborts fails all": Row(
        LISTS + steps("a, for_each: parameters.list, max_parallel: 1"),
        "failed",
        {"a": "failed", "a[0]": "failed", "a[1]": "cancelled", "a[2]": "cancelled"},
        {"a[0]": FAILS},
    ),
    "items are asked for once": Row(
        LISTS + steps("a, for_each: parameters.list, when: 'false'"),
        "completed",
        {"a": "skipped condition"},
    ),
    "what has completed last is undone first": Row(
        "rollback: on_failure\n" + steps(f"a, {UNDO}", f"b, {UNDO}", f"c, {UNDO}"),
        "failed",
        {
            "a": "completed",
            "b": "completed",
            "c": "failed",
            "b.undo": "completed",
            "a.undo": "completed",
        },
        {"c": FAILS},
        saw={"b.undo": "b", "a.undo": "a"},
        order="a b c b.undo a.undo",
    ),
    "nothing is undone unless it is asked for": Row(
        "rollback: on_cancel\n" + steps(f"a, {UNDO}", "b"),
        "failed",
        {"a": "completed", "b": "failed"},
        {"b": FAILS},
    ),
    "what was skipped is not undone": Row(
        "rollback: on_failure\n" + steps(f"a, on_failure: skip, {UNDO}", "b"),
        "failed",
        {"a": "skipped failed", "b": "failed"},
        {"a": FAILS, "b": FAILS},
    ),
    "what cannot be undone stops nothing": Row(
        "rollback: on_failure\n" + steps(f"a, {UNDO}", f"b, {UNDO}", "c"),
        "failed",
        {
            "a": "completed",
            "b": "completed",
            "c": "failed",
            "b.undo": "failed",
            "a.undo": "completed",
        },
        {"c": FAILS, "b.undo": FAILS},
    ),
    "the end of a success runs what always runs": Row(
        steps("a", f"e, {END % 'failure'}", f"g, {END % 'always'}"),
        "completed",
        {"a": "completed", "g": "completed"},
        order="a g",
    ),
    "the end of a failure runs all after the undoing, as written": Row(
        "rollback: on_failure\n"
        + steps(f"e, {END % 'failure'}", f"a, {UNDO}", "b", f"g, {END % 'always'}"),
        "failed",
        {
            "a": "completed",
            "b": "failed",
            "a.undo": "completed",
            "e": "completed",
            "g": "completed",
        },
        {"b": FAILS},
        order="a b a.undo e g",
    ),
    "a failure at the end changes nothing": Row(
        steps("a", f"e, {END % 'always'}", f"g, {END % 'always'}"),
        "completed",
        {"a": "completed", "e": "failed", "g": "completed"},
        {"e": FAILS},
        order="a e g",
    ),
    "an end that did not run is skipped to others": Row(
        steps(
            "a",
            f"e, {END % 'failure'}",
            f"g, {END % 'always'}, with: {{saw: ['${{steps.e.status}}',"
            " '${steps.e.result}']}",
        ),
        "completed",
        {"a": "completed", "g": "completed"},
        saw={"g": ["skipped", None]},
    ),
    "the result of the only leaf is that of all": Row(
        steps("a, needs: []", "b, needs: [a]"),
        "completed",
        {"a": "completed", "b": "completed"},
        value={"step": "b", "saw": None, "ok": True, "items": []},
    ),
    "of several leaves none is": Row(
        steps("a, needs: []", "b, needs: []"),
        "completed",
        {"a": "completed", "b": "completed"},
        value=None,
    ),
    "a result may read what was skipped": Row(
        steps("a, on_failure: skip")
        + "result: ['${steps.a.status}', '${steps.a.result}']",
        "completed",
        {"a": "skipped failed"},
        {"a": FAILS},
        value=["skipped", None],
    ),
    "a result that leads nowhere fails the execution": Row(
        "rollback: on_failure\n"
        + steps(f"a, {UNDO}")
        + "result: ${steps.a.result.nothing}",
        "failed",
        {"a": "completed"},
    ),
    "alone an expression keeps its type, in text it becomes text": Row(
        steps("a", "b, with: {saw: ['${steps.a.attempt}', 'try ${steps.a.attempt}']}"),
        "completed",
        {"a": "completed", "b": "completed"},
        saw={"b": [1, "try 1"]},
    ),
    "in text only text, numbers and booleans can stand": Row(
        steps("a", "b, with: {saw: 'is ${steps.a.result}'}"),
        "failed",
        {"a": "completed", "b": "failed"},
    ),
    "an escaped opening is text": Row(
        steps("a, with: {saw: '$${steps}'}"),
        "completed",
        {"a": "completed"},
        value={"step": "a", "saw": "${steps}", "ok": True, "items": []},
    ),
    "a result is used again by its key": Row(
        steps(
            "a, with: {saw: 1}, cache: {ttl: 1h, key: again}",
            "b, with: {saw: 2}, cache: {ttl: 1h, key: again}",
            "c, with: {saw: 3}, cache: {ttl: 1h, key: other}",
        ),
        "completed",
        {"a": "completed", "b": "completed", "c": "completed"},
        saw={"a": 1, "b": 1, "c": 3},
    ),
    "a result is used again by its inputs": Row(
        steps(
            "a, with: {saw: equal inputs}, cache: {ttl: 1h}",
            "b, with: {saw: equal inputs}, cache: {ttl: 1h}",
            "c, with: {saw: '${steps.b.result.step}'}, cache: {ttl: 1h}",
        ),
        "completed",
        {"a": "completed", "b": "completed", "c": "completed"},
        saw={"c": "a"},
    ),
    "what has failed is not used again": Row(
        steps(
            "a, on_failure: skip, cache: {ttl: 1h, key: failing}",
            "b, with: {saw: 2}, cache: {ttl: 1h, key: failing}",
        ),
        "completed",
        {"a": "skipped failed", "b": "completed"},
        {"a": FAILS},
        saw={"b": 2},
    ),
    "items use the results of each other": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, max_parallel: 1, with: {saw: '${item}'},"
            " cache: {ttl: 1h, key: for all items}",
            "b, with: {saw: '${steps.a.results.map(r, r.saw)}'}",
        ),
        "completed",
        {
            **{f"a[{n}]": "completed" for n in range(3)},
            "a": "completed",
            "b": "completed",
        },
        saw={"b": ["x", "x", "x"]},
    ),
    "keys are left alone": Row(
        steps("a, with: {saw: {'${x}': 1}}"),
        "completed",
        {"a": "completed"},
        value={"step": "a", "saw": {"${x}": 1}, "ok": True, "items": []},
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule_holds(theatre: Theatre, row: Row) -> None:
    theatre.check(row)
