"""The rules of values, one row each: what expressions, lists and results come to."""

import random

import pytest

from execution import ExecutionEngine, Plan, Settings
from execution.database import Database
from execution.repository import ExecutionRepository
from tests.conformance.nodes import Fate
from tests.conformance.rows import FAILS, LISTS, UNDO, Row, Theatre, steps
from tests.conformance.stage import Stage

TWICE = "retry: {attempts: 2, initial: 1ms, jitter: 0s}"
DATA = (
    "parameters:\n"
    "  m: {type: object, default: {b: 1, a: {list: [5, {c: null}]}}}\n"
    "  l: {type: array, default: [3, null, 1]}\n"
    "  n: {type: array, default: [1.5, 2, -1]}\n"
    "  s: {type: string, default: text}\n"
    "  i: {type: integer, default: 2}\n"
)


def comes_to(expression: str, value: object) -> Row:
    """Return the row of an expression that is the whole of an input."""
    written = expression.replace("'", "''")
    return Row(
        DATA + steps(f"a, with: {{saw: '${{{written}}}'}}"),
        "completed",
        {"a": "completed"},
        saw={"a": value},
    )


def leads_nowhere(expression: str) -> Row:
    """Return the row of an expression that ends its step, and is not tried again."""
    written = expression.replace("'", "''")
    return Row(
        DATA + steps("z", f"a, {TWICE}, with: {{saw: '${{{written}}}'}}"),
        "failed",
        {"z": "completed", "a": "failed"},
        codes={"a": "E007"},
        code="E007",
    )


def outcome(of: str) -> str:
    """Return inputs with all that can be known of a step."""
    fields = ("status", "result", "results", "error", "attempt")
    read = ", ".join(f"'${{steps.{of}.{field}}}'" for field in fields)
    return f"with: {{saw: [{read}]}}"


ROWS: dict[str, Row] = {
    "get follows a path": comes_to('get(parameters.m, "a.list.0", 7)', 5),
    "get has another value where the path leads nowhere": comes_to(
        'get(parameters.m, "a.list.9", 7)', 7
    ),
    "get returns null where null is": comes_to(
        'get(parameters.m, "a.list.1.c", 7)', None
    ),
    "get of nothing is the other value": comes_to('get(null, "a", "none")', "none"),
    "text leaves text as it is": comes_to("text(parameters.s)", "text"),
    "text writes all else as JSON": comes_to(
        "text(parameters.m)", '{"a":{"list":[5,{"c":null}]},"b":1}'
    ),
    "keys are sorted": comes_to("keys(parameters.m)", ["a", "b"]),
    "values are in the order of keys": comes_to('values({"y": 2, "x": 1})', [1, 2]),
    "sum adds": comes_to("sum([1, 2, 3])", 6),
    "sum of doubles is one": comes_to("sum(parameters.n)", 2.5),
    "sum of nothing is zero": comes_to("sum([])", 0),
    "min is the least": comes_to("min(parameters.n)", -1),
    "max is the greatest": comes_to("max(parameters.n)", 2),
    "min of nothing leads nowhere": leads_nowhere("min([])"),
    "sum of texts leads nowhere": leads_nowhere('sum(["1"])'),
    "completed leaves out null": comes_to("completed(parameters.l)", [3, 1]),
    "an item of a list has a number": comes_to("parameters.m.a.list.0", 5),
    "brackets lead to what has no name": comes_to('{"a b": [1]}["a b"][0]', 1),
    "a choice is made": comes_to('parameters.i > 1 ? "many" : "few"', "many"),
    "conditions are joined": comes_to('parameters.i == 2 && !("x" in ["y"])', True),
    "lists are gone over": comes_to("[1, 2, 3].filter(x, x > 1).map(x, x * 2)", [4, 6]),
    "integers and doubles differ": comes_to("double(parameters.i) / 4.0", 0.5),
    "a missing key leads nowhere": leads_nowhere("parameters.m.x"),
    "a missing key leads nowhere in the language, too": leads_nowhere(
        "parameters.m.x == 1"
    ),
    "a missing item leads nowhere": leads_nowhere("parameters.l.9"),
    "null has no parts": leads_nowhere("parameters.m.a.list.1.c.d"),
    "null has no parts in the language, either": leads_nowhere(
        "parameters.m.a.list[1].c.d == 1"
    ),
    "text has no parts": leads_nowhere("parameters.s.x"),
    "types are not turned into others": leads_nowhere("parameters.i + parameters.s"),
    "an integer is not added to a double": leads_nowhere("parameters.i + 1.5"),
    "a division by zero leads nowhere": leads_nowhere("parameters.i / 0"),
    "an integer beyond 2^53 leads nowhere": leads_nowhere("9007199254740992 + 1"),
    "what is no JSON leads nowhere": leads_nowhere('duration("1s")'),
    "in text null cannot stand": Row(
        DATA + steps("a, with: {saw: 'x ${parameters.m.a.list.1.c}'}"),
        "failed",
        {"a": "failed"},
        codes={"a": "E007"},
    ),
    "in text stand texts, numbers and booleans": comes_to(
        'text([1, true, "x"])', '[1,true,"x"]'
    ),
    "several expressions make one text": Row(
        DATA + steps("a, with: {saw: '${parameters.s}-${parameters.i}-${1 == 1}'}"),
        "completed",
        {"a": "completed"},
        saw={"a": "text-2-true"},
    ),
    "inputs keep their form": Row(
        DATA + steps("a, with: {saw: {k: ['${parameters.l}', 1, null, true]}}"),
        "completed",
        {"a": "completed"},
        saw={"a": {"k": [[3, None, 1], 1, None, True]}},
    ),
    "what was evaluated is recorded": Row(
        DATA + steps("a, with: {saw: '${parameters.i + 1}'}"),
        "completed",
        {"a": "completed"},
        inputs={"a": {"saw": 3}},
    ),
    "what is read is not evaluated once more": Row(
        DATA + steps('a, action: play.echo, with: {value: \'${"${" + "x}"}\'}'),
        "completed",
        {"a": "completed"},
        results={"a": "${x}"},
    ),
    "of a success all is known": Row(
        steps("a, action: play.echo, with: {value: 1}", f"b, {outcome('a')}"),
        "completed",
        {"a": "completed", "b": "completed"},
        saw={"b": ["completed", 1, None, None, 1]},
    ),
    "of what its condition has skipped all is known": Row(
        steps("a, when: 'false'", f"b, {outcome('a')}"),
        "completed",
        {"a": "skipped condition", "b": "completed"},
        saw={"b": ["skipped", None, None, None, 1]},
    ),
    "what was skipped for a failure keeps the error": Row(
        steps(
            "a, on_failure: skip",
            "b, with: {saw: ['${steps.a.status}', '${steps.a.error.code}',"
            " '${steps.a.error.step}', '${steps.a.result}']}",
        ),
        "completed",
        {"a": "skipped failed", "b": "completed"},
        {"a": FAILS},
        saw={"b": ["skipped", "E005", "a", None]},
    ),
    "of what was never asked all is known": Row(
        steps(
            "a, needs: [], when: 'false'",
            "b, needs: [a]",
            "c, needs: []",
            f"d, needs: [b, c], {outcome('b')}",
        ),
        "completed",
        {
            "a": "skipped condition",
            "b": "skipped needs",
            "c": "completed",
            "d": "completed",
        },
        saw={"d": ["skipped", None, None, None, 0]},
    ),
    "the end may read what failed": Row(
        steps(
            "a",
            "e, run_on: failure, deadline: 1h,"
            " with: {saw: ['${steps.a.status}', '${steps.a.error.code}']}",
        ),
        "failed",
        {"a": "failed", "e": "completed"},
        {"a": FAILS},
        saw={"e": ["failed", "E005"]},
    ),
    "the execution has tags": comes_to("execution.tags", []),
    "the execution has an id, which does not change": Row(
        steps(
            "a, action: play.echo, with: {value: '${execution.id}'}",
            "b, with: {saw: '${steps.a.result == execution.id}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed"},
        saw={"b": True},
    ),
    "the execution has a time, which does not change": Row(
        steps(
            "a, action: play.echo, with: {value: '${execution.created_at}'}",
            "b, with: {saw: '${steps.a.result == execution.created_at}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed"},
        {"b": Fate(takes_seconds=60.0)},
        saw={"b": True},
    ),
    "an item and its place have names": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, action: play.echo,"
            " with: {value: ['${item}', '${index}', '${index + 1}', 'no ${index}']}"
        ),
        "completed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "completed",
            "a[2]": "completed",
        },
        results={"a[0]": ["x", 0, 1, "no 0"], "a[2]": ["z", 2, 3, "no 2"]},
        inputs={"a[1]": {"value": ["y", 1, 2, "no 1"]}},
    ),
    "an item may have parts": Row(
        "parameters: {list: {type: array, default: [{k: [1, 2]}, {k: []}]}}\n"
        + steps(
            "a, for_each: parameters.list, action: play.echo,"
            " with: {value: ['${item.k}', '${size(item.k)}']}"
        ),
        "completed",
        {"a": "completed", "a[0]": "completed", "a[1]": "completed"},
        results={"a[0]": [[1, 2], 2], "a[1]": [[], 0]},
    ),
    "an item that leads nowhere is a failure of its own": Row(
        "parameters: {list: {type: array, default: [{k: 1}, {}]}}\n"
        + steps(
            "a, for_each: parameters.list, on_failure: skip, with: {saw: '${item.k}'}"
        ),
        "completed",
        {"a": "completed", "a[0]": "completed", "a[1]": "skipped failed"},
        codes={"a[1]": "E007"},
        saw={"a[0]": 1},
    ),
    "a list may be worked out": Row(
        LISTS
        + steps(
            "a, for_each: 'parameters.list.filter(x, x != \"y\")', action: play.echo,"
            " with: {value: '${item}'}"
        ),
        "completed",
        {"a": "completed", "a[0]": "completed", "a[1]": "completed"},
        results={"a[0]": "x", "a[1]": "z"},
    ),
    "a mapping is no list": Row(
        DATA + steps("a, for_each: parameters.m"),
        "failed",
        {"a": "failed"},
        codes={"a": "E007"},
    ),
    "text is no list": Row(
        DATA + steps("a, for_each: parameters.s"),
        "failed",
        {"a": "failed"},
        codes={"a": "E007"},
    ),
    "each item has attempts of its own": Row(
        LISTS + steps(f"a, for_each: parameters.list, {TWICE}"),
        "completed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "completed after 2",
            "a[2]": "completed after 2",
        },
        {"a[1]": Fate(failing_attempts=1), "a[2]": Fate(failing_attempts=1)},
    ),
    "without a number any may be skipped": Row(
        LISTS
        + steps(
            "a, for_each: parameters.list, on_failure: skip",
            "b, with: {saw: ['${steps.a.status}', '${steps.a.results}']}",
        ),
        "completed",
        {
            "a": "completed",
            "a[0]": "skipped failed",
            "a[1]": "skipped failed",
            "a[2]": "skipped failed",
            "b": "completed",
        },
        {f"a[{number}]": FAILS for number in range(3)},
        saw={"b": ["completed", [None, None, None]]},
    ),
    "no more items run at once than the step says": Row(
        "parameters: {list: {type: array, default: [1, 2, 3, 4, 5, 6]}}\n"
        + steps("a, for_each: parameters.list, max_parallel: 2"),
        "completed",
        {"a": "completed", **{f"a[{number}]": "completed" for number in range(6)}},
        {f"a[{number}]": Fate(lets_others_end=True) for number in range(6)},
        most_at_once=2,
    ),
    "the undo of items sees all results": Row(
        "rollback: on_failure\n"
        + LISTS
        + steps(
            "a, for_each: parameters.list, action: play.echo, with: {value: '${item}'},"
            " undo: {action: play.echo, with: {value: '${step.results}'}}",
            "b",
        ),
        "failed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "completed",
            "a[2]": "completed",
            "b": "failed",
            "a.undo": "completed",
        },
        {"b": FAILS},
        results={"a.undo": ["x", "y", "z"]},
    ),
    "an undo sees how its step ended": Row(
        "rollback: on_failure\n"
        + steps(
            "a, undo: {action: play.echo,"
            " with: {value: ['${step.status}', '${step.attempt}', '${step.error}']}}",
            "b",
        ),
        "failed",
        {"a": "completed", "b": "failed", "a.undo": "completed"},
        {"b": FAILS},
        results={"a.undo": ["completed", 1, None]},
    ),
    "a fallback sees all of the failure": Row(
        steps(
            "a, on_failure: {fallback: f}",
            "f, action: play.echo, with: {value: ['${failure.code}', '${failure.step}',"
            " '${failure.recoverable}', '${failure.message}']}",
        ),
        "completed",
        {"a": "completed", "f": "completed"},
        {"a": FAILS},
        results={
            "f": [
                "E005",
                "a",
                True,
                "attempt 1 of 1 failed: ValueError: attempt 1 fails",
            ]
        },
    ),
    "a result is a template of any form": Row(
        DATA
        + steps("a, action: play.echo, with: {value: 1}")
        + "result: {k: ['${steps.a.result}', 'is ${steps.a.status}', 5, null]}",
        "completed",
        {"a": "completed"},
        value={"k": [1, "is completed", 5, None]},
    ),
    "a result keeps its type": Row(
        DATA + steps("a") + "result: ${parameters.i == 2}",
        "completed",
        {"a": "completed"},
        value=True,
    ),
    "a result without an expression is what is written": Row(
        steps("a") + "result: done", "completed", {"a": "completed"}, value="done"
    ),
    "a result is evaluated when all has ended": Row(
        steps(f"a, {UNDO}", "e, run_on: always, deadline: 1h")
        + "result: ['${steps.e.status}', '${steps.a.status}']",
        "completed",
        {"a": "completed", "e": "completed"},
        value=["completed", "completed"],
    ),
    "what ends the plan in items has no result": Row(
        LISTS + steps("a, for_each: parameters.list"),
        "completed",
        {
            "a": "completed",
            "a[0]": "completed",
            "a[1]": "completed",
            "a[2]": "completed",
        },
        value=None,
    ),
    "what failed has no result": Row(
        steps("a", "b") + "result: ${steps.a.status}",
        "failed",
        {"a": "completed", "b": "failed"},
        {"b": FAILS},
        value=None,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule_holds(theatre: Theatre, row: Row) -> None:
    theatre.check(row)


def test_attempts_repeat_with_what_was_evaluated_once(
    engine: ExecutionEngine,
    settings: Settings,
    database: Database,
    repository: ExecutionRepository,
) -> None:
    text = DATA + steps(
        "a, when: parameters.i == 2, with: {saw: '${parameters.i}'},"
        " retry: {attempts: 2, initial: 5s}"
    )

    def change_parameters(_step: str) -> Fate:
        database.query(
            "UPDATE {schema}.executions SET parameters = %s WHERE id = %s RETURNING 1",
            ('{"i": 3}', stage.execution_id),
        )
        return Fate(failing_attempts=1)

    stage = Stage(settings, database, repository, random.Random(1), change_parameters)

    execution_id = stage.play(Plan.from_text(f"format: 1\nname: p\n{text}"), {})

    (step,) = engine.list_steps(execution_id)
    assert step.attempt == 2
    assert engine.get_result(execution_id).value["saw"] == 2
