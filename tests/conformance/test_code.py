"""The rules of code, one row each: errors, keys, variables and secrets of actions."""

import pytest

from execution import ExecutionEngine
from execution.database import Database
from tests.conformance.nodes import Fate
from tests.conformance.rows import FAILS, LISTS, UNDO, Row, Theatre, steps

OWN = "tests.conformance.actions"
TWICE = "retry: {attempts: 2, initial: 1ms, jitter: 0s"
FAILING = "action: play.fail, with: {error: %s, attempts: 1}"
SETS = "action: play.set_variable, with: {name: %s, value: %s}"
READS = "action: play.read_variables"
SECRET = "secret://CONFORMANCE"  # noqa: S105  # its name

_READ = "SELECT * FROM {{schema}}.{} WHERE execution_id = %s"

ROWS: dict[str, Row] = {
    "an error of somebody's own is named by its path": Row(
        steps(f"a, {FAILING % 'closed'}, {TWICE}, on: [{OWN}.ShopClosedError]}}"),
        "completed",
        {"a": "completed after 2"},
    ),
    "a path stands for subclasses": Row(
        steps(f"a, {FAILING % 'closed'}, {TWICE}, on: [{OWN}.ShopError]}}"),
        "completed",
        {"a": "completed after 2"},
    ),
    "a path that nothing has matches nothing": Row(
        steps(f"a, {FAILING % 'closed'}, {TWICE}, on: [{OWN}.ShopEror]}}"),
        "failed",
        {"a": "failed"},
    ),
    "a builtin error stands for its subclasses": Row(
        steps(f"a, {FAILING % 'missing'}, {TWICE}, on: [OSError]}}"),
        "completed",
        {"a": "completed after 2"},
    ),
    "a subclass can be left out": Row(
        steps(
            f"a, {FAILING % 'missing'},"
            f" {TWICE}, on: [OSError], not_on: [FileNotFoundError]}}"
        ),
        "failed",
        {"a": "failed"},
    ),
    "a code stands for all errors that the code raises": Row(
        steps(f"a, {FAILING % 'closed'}, {TWICE}, on: [E003]}}"),
        "completed",
        {"a": "completed after 2"},
    ),
    "code that asks for another attempt gets it, whatever the list": Row(
        steps(f"a, {FAILING % 'busy'}, {TWICE}, on: [OSError]}}"),
        "completed",
        {"a": "completed after 2"},
    ),
    "code that asks for another attempt has no more of them": Row(
        steps("a, action: play.fail, with: {error: busy}"),
        "failed",
        {"a": "failed"},
        codes={"a": "E005"},
    ),
    "the last attempt that fails has a code of its own": Row(
        steps(f"a, {TWICE}}}"),
        "failed",
        {"a": "failed after 2"},
        {"a": FAILS},
        codes={"a": "E005"},
        code="E005",
    ),
    "an error that is not tried again keeps its code": Row(
        steps(f"a, {TWICE}, not_on: [ValueError]}}"),
        "failed",
        {"a": "failed"},
        {"a": FAILS},
        codes={"a": "E003"},
    ),
    "inputs that do not fit are not tried again": Row(
        steps(f"a, action: play.echo, with: {{valeu: 1}}, {TWICE}}}"),
        "failed",
        {"a": "failed"},
        codes={"a": "E003"},
    ),
    "a result may be large, and others read of it what they like": Row(
        steps(
            "a, action: play.make_large, with: {size: 262145}",
            "b, with: {saw: '${size(steps.a.result)}'}",
            "c, action: play.measure, with: {text: '${steps.a.result}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed", "c": "completed"},
        saw={"b": 262143},
        results={"c": 262143},
    ),
    "within other inputs a value may take 256 kB": Row(
        steps(
            "a, action: play.make_large, with: {size: 262000}",
            "b, action: play.measure, with: {text: 'x${steps.a.result}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed"},
        results={"b": 261999},
    ),
    "inputs that take more fail, and are not tried again": Row(
        steps(
            "a, action: play.make_large, with: {size: 262145}",
            f"b, action: play.measure, {TWICE}}},"
            " with: {text: 'x${steps.a.result}'}",
        ),
        "failed",
        {"a": "completed", "b": "failed"},
        codes={"b": "E003"},
    ),
    "a result that is no JSON fails, and is not tried again": Row(
        steps(f"a, action: play.make_foreign, {TWICE}}}"),
        "failed",
        {"a": "failed"},
        codes={"a": "E003"},
    ),
    "a key has the names of the execution and the step": Row(
        steps("a, action: play.show_key"),
        "completed",
        {"a": "completed"},
        results={"a": ["ID:a"]},
    ),
    "a key survives another attempt": Row(
        steps(f"a, action: play.show_key, with: {{error: closed}}, {TWICE}}}"),
        "completed",
        {"a": "completed after 2"},
        results={"a": ["ID:a", "ID:a"]},
    ),
    "a key survives the loss of a process": Row(
        steps("a, action: play.show_key, with: {error: gone}"),
        "completed",
        {"a": "completed after 2"},
        results={"a": ["ID:a", "ID:a"]},
    ),
    "each item has a key, and so has what undoes": Row(
        "rollback: on_failure\n"
        + LISTS
        + steps(
            "a, for_each: parameters.list, action: play.show_key,"
            " undo: {action: play.show_key}",
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
        results={"a[0]": ["ID:a[0]"], "a[2]": ["ID:a[2]"], "a.undo": ["ID:a.undo"]},
    ),
    "what a step sets is seen by those after it": Row(
        steps(f"a, {SETS % ('x', 1)}", f"b, {READS}"),
        "completed",
        {"a": "completed", "b": "completed"},
        results={"b": {"x": [1, 1]}},
    ),
    "what an attempt sets counts only if it succeeds": Row(
        steps(
            "a, action: play.set_variable, on_failure: skip,"
            " with: {name: x, value: 1, failing_attempts: 1}",
            f"b, {READS}",
        ),
        "completed",
        {"a": "skipped failed", "b": "completed"},
        results={"b": {}},
    ),
    "of several attempts the last counts": Row(
        steps(
            f"a, action: play.set_variable, {TWICE}}},"
            " with: {name: x, value: 1, failing_attempts: 1}",
            f"b, {READS}",
        ),
        "completed",
        {"a": "completed after 2", "b": "completed"},
        results={"b": {"x": [1, 2]}},
    ),
    "who ends last has set a variable": Row(
        steps(
            f"a, {SETS % ('x', 1)}",
            f"b, {SETS % ('x', 2)}",
            f"c, {SETS % ('y', 3)}",
            f"d, {READS}",
        ),
        "completed",
        dict.fromkeys("abcd", "completed"),
        results={"d": {"x": [2, 1], "y": [3, 1]}},
    ),
    "a secret is revealed to the action, and recorded by its name": Row(
        steps(f"a, action: play.use_secret, with: {{token: '{SECRET}'}}"),
        "completed",
        {"a": "completed"},
        results={"a": {"length": 16, "token": SECRET}},
        inputs={"a": {"token": SECRET}},
    ),
    "a secret that is not to be had fails, and is not tried again": Row(
        steps(f"a, action: play.use_secret, with: {{token: 'secret://NO'}}, {TWICE}}}"),
        "failed",
        {"a": "failed"},
        codes={"a": "E003"},
    ),
    "what only looks like a secret stays as it is": Row(
        steps(
            "a, action: play.echo, with: {value: '$${x}://CONFORMANCE'}",
            "b, with: {saw: '${steps.a.result}'}",
        ),
        "completed",
        {"a": "completed", "b": "completed"},
        saw={"b": "${x}://CONFORMANCE"},
    ),
    "a text that becomes the name of a secret reveals nothing": Row(
        "parameters: {n: {type: string, default: CONFORMANCE}}\n"
        + steps(
            "a, action: play.use_secret, with: {token: \"${'secret:' + '//'"
            ' + parameters.n}"}'
        ),
        "completed",
        {"a": "completed"},
        results={"a": {"length": 20, "token": SECRET}},
    ),
    "an undo may have a secret": Row(
        "rollback: on_failure\n"
        + steps(
            f"a, undo: {{action: play.use_secret, with: {{token: '{SECRET}'}}}}", "b"
        ),
        "failed",
        {"a": "completed", "b": "failed", "a.undo": "completed"},
        {"b": FAILS},
        results={"a.undo": {"length": 16, "token": SECRET}},
    ),
    "each attempt sees how many there were": Row(
        steps(f"a, {UNDO}, {TWICE}}}", "b, with: {saw: '${steps.a.attempt}'}"),
        "completed",
        {"a": "completed after 2", "b": "completed"},
        {"a": Fate(failing_attempts=1)},
        saw={"b": 2},
    ),
}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret of this process."""
    value = "correct-horse-ba"
    monkeypatch.setenv("PLANS_SECRET_CONFORMANCE", value)
    return value


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_rule_holds(theatre: Theatre, row: Row) -> None:
    theatre.check(row)


def test_a_change_of_variables_is_an_event(
    theatre: Theatre, engine: ExecutionEngine
) -> None:
    row = ROWS["what a step sets is seen by those after it"]

    execution_id = theatre.check(row)

    events = engine.list_events(execution_id)
    told = [(e.step, e.data) for e in events if e.type == "execution.variables"]
    assert told == [("a", {"x": [1, 1]})]


@pytest.mark.parametrize("fails", [False, True], ids=["a success", "a failure"])
def test_nothing_that_is_stored_has_a_secret(
    theatre: Theatre, database: Database, secret: str, fails: bool
) -> None:
    row = Row(
        steps(
            "a, action: play.use_secret,"
            f" with: {{token: '{SECRET}', fails: {str(fails).lower()}}}"
        ),
        "failed" if fails else "completed",
        {"a": "failed" if fails else "completed"},
    )

    execution_id = theatre.check(row)

    assert secret not in read_everything(
        database, theatre.settings.schema, execution_id
    )


def read_everything(database: Database, schema: str, execution_id: str) -> str:
    """Return all that the tables hold of an execution, as text."""
    tables = database.query(
        "SELECT table_name FROM information_schema.columns"
        " WHERE table_schema = %s AND column_name = 'execution_id'",
        (schema,),
    )
    texts = [
        str(database.query(_READ.format(table["table_name"]), (execution_id,)))
        for table in tables
    ]
    assert SECRET in "".join(texts)
    return "".join(texts)
