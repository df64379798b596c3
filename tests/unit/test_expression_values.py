"""What expressions come to, and what is said when they come to nothing."""

import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from execution.errors import ErrorCode, ExpressionError
from execution.expressions import (
    CelExpression,
    evaluate_condition,
    evaluate_list,
    evaluate_template,
    names_steps,
    parse_expression,
)
from execution.expressions.complaints import describe_failure, describe_syntax
from tests.worker_process import ROOT

SCOPE: Mapping[str, Any] = {
    "parameters": {
        "n": 3,
        "rate": 0.5,
        "text": "é",
        "on": True,
        "none": None,
        "list": [3, 1, 2],
        "map": {"b": 1, "a": 2},
    },
    "steps": {
        "scan": {
            "status": "completed",
            "result": {"files": [{"name": "a", "size": 3}, {"name": "b", "size": 0}]},
            "results": None,
            "error": None,
            "attempt": 1,
        },
        "parse": {
            "status": "skipped",
            "result": None,
            "results": [1, None, 3],
            "error": {"code": "E003"},
            "attempt": 2,
        },
    },
    "execution": {
        "id": "018f",
        "created_at": "2026-11-21T08:00:00+00:00",
        "tags": ["x"],
    },
}


def evaluate(text: str) -> object:
    return evaluate_template(f"${{{text}}}", SCOPE, place="steps.s.with")


def failure_of(text: str) -> str:
    with pytest.raises(ExpressionError) as raised:
        evaluate(text)
    assert raised.value.code is ErrorCode.EXPRESSION
    message = str(raised.value)
    assert message.startswith(f"steps.s.with: ${{{text[:200]}")
    return message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("parameters.n + 1", 4),
        ("double(parameters.n) * parameters.rate", 1.5),
        ("parameters.rate * 2.0", 1.0),
        ("-0.0", 0.0),
        ("parameters.n > 2.5", True),
        ("parameters.on ? 'yes' : 'no'", "yes"),
        ("parameters.none == null", True),
        ("size(steps.scan.result.files)", 2),
        ("steps.scan.result.files[1].name", "b"),
        ('steps["scan"].status == "completed"', True),
        ("steps.scan.result.files.filter(x, x.size > 0).map(x, x.name)", ["a"]),
        ("steps.scan.result.files.map(x, x.size > 0, x.name)", ["a"]),
        ("parameters.list.map(x, x * parameters.n)", [9, 3, 6]),
        ("parameters.list.filter(x, x in steps.parse.results)", [3, 1]),
        ("parameters.list.all(x, x > 0)", True),
        ("parameters.list.exists(x, x > 2)", True),
        ("parameters.map.exists(k, k == 'a')", True),
        ("keys(parameters.map).map(k, k + '!')", ["a!", "b!"]),
        ("has(steps.scan.result.nope)", False),
        ("has(steps.scan.result.files)", True),
        ("has(parameters.nope) || parameters.on", True),
        ("parameters.nope || true", True),
        ("'a' in parameters.map", True),
        ("timestamp(execution.created_at).getFullYear()", 2026),
        ("parameters.text + 'x'", "éx"),
        ("{'z': 1, 'a': [2.0, null]}", {"a": [2.0, None], "z": 1}),
        ("text(parameters.map)", '{"a":2,"b":1}'),
        ("text(parameters.text)", "é"),
        ("text(parameters.on)", "true"),
        ("text(null)", "null"),
        ("text(2.0)", "2.0"),
        ("keys(parameters.map)", ["a", "b"]),
        ("values(parameters.map)", [2, 1]),
        ("completed(steps.parse.results)", [1, 3]),
        ("sum(parameters.list)", 6),
        ("sum([])", 0),
        ("sum([0.1, 0.2, 0.3, 1])", 1.6),
        ("min(parameters.list)", 1),
        ("max(completed(steps.parse.results))", 3),
        ("get(steps.scan.result, 'files.1.name', '')", "b"),
        ("get(steps.scan.result, 'files.7.name', 'none')", "none"),
        ("get(steps.parse.result, 'a.b', 0)", 0),
        ("get(steps.parse.error, 'code', '')", "E003"),
        ("get(parameters.map, 'a', null)", 2),
    ],
)
def test_an_expression_comes_to_its_value(text: str, value: object) -> None:
    result = evaluate(text)

    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("parameters.nope + 1", 'parameters has no "nope"'),
        ("parameters.map.c + 1", 'parameters.map has no "c"'),
        (
            "has(parameters.c) || steps.parse.result.x + 1 > 0",
            "steps.parse.result is null",
        ),
        ("parameters.map['c'] + 1", 'parameters.map has no "c"'),
        ("{'a': 1}['b']", 'there is no key "b"'),
        ("steps.parse.result.x > 1", 'steps.parse.result is null, and so has no "x"'),
        ("parameters.list[7]", "index out of bounds: 7"),
        ("parameters.n + parameters.rate", "the types do not fit"),
        ("parameters.n && true", "the types do not fit"),
        ("parameters.text < 1", "the types do not fit"),
        ("parameters.list['a']", 'is a list, and "a" is no index'),
        ("size(parameters.none)", "size(…) does not take a value of this type"),
        ("string(true)", "string(…) does not take a value of this type"),
        ("int('x')", "int(…): string parse error"),
        ("'a'.matches('(')", "matches(…): '(' not a valid regex"),
        ("1 / 0", "division by zero"),
        ("9223372036854775807 + 1", "Arithmetic overflow"),
        ("9007199254740993", "is an integer beyond ±2^53"),
        ("1.0 / 0.0", "is inf, which is not a finite number"),
        ("b'a'", "is a bytes, which JSON has not"),
        ("[duration('1h')]", "is a timedelta, which JSON has not"),
        ("{1: 2}", "has a key that is not text"),
        (
            "parameters.map.map(k, k)",
            "map goes over a list, and this is a mapping; keys",
        ),
        ("[1].filter(x, x > 0)[0].filter(x, true)", "and this is a number"),
        ("[1].filter(x, x)", "the condition of filter is a number"),
        ("[1].map(x, x.y)", "the types do not fit"),
        ("[{}].map(x, x.y + parameters.nope)", 'there is no key "y"'),
        ("get(1)", 'get is written get(value, "a.b.0", default)'),
        ("get(parameters.map, 1, 2)", "get: the path is a number"),
        ("keys(1)", "keys: this is a number, not a mapping"),
        ("keys({1: 2})", "keys: the mapping has a key that is not text"),
        ("values([])", "values: this is a list, not a mapping"),
        ("completed({})", "completed: this is a mapping, not a list"),
        ("completed(b'a')", "completed: this is a bytes, not a list"),
        ("sum(['a'])", "sum: the list holds text"),
        ("sum([true])", "sum: the list holds a boolean"),
        ("sum([9007199254740992, 1])", "sum: the sum is an integer beyond"),
        ("sum([1.0 / 0.0, -1.0 / 0.0])", "sum: the sum is not a finite number"),
        ("min([])", "min: the list is empty"),
        ("text(b'a')", "cannot be written as text"),
        ("min([]) > 0 || true", "min: the list is empty"),
    ],
)
def test_a_failure_says_why(text: str, reason: str) -> None:
    assert reason in failure_of(text)


def test_a_failure_quotes_a_long_expression_in_part() -> None:
    message = failure_of("1 / 0 + " + "1 + " * 60 + "1")

    assert "…}: division by zero" in message


def test_a_failure_quotes_nothing_that_a_terminal_would_obey() -> None:
    with pytest.raises(ExpressionError) as raised:
        evaluate("'\x1b[31m' +\n 1")

    assert "${'\N{REPLACEMENT CHARACTER}[31m' + 1}: the types" in str(raised.value)


def test_expressions_stand_in_text_as_well() -> None:
    assert (
        evaluate_template("${1 + 1} of ${parameters.n}", SCOPE, place="p") == "2 of 3"
    )


def test_what_a_function_refuses_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        failure_of("min([])")

    assert caplog.records == []


def test_filtering_ten_thousand_items_takes_no_minute() -> None:
    files = [{"ok": True, "n": number} for number in range(10_000)]
    scope = {"steps": {"a": {"result": files}}}

    kept = evaluate_template(
        "${steps.a.result.filter(x, x.ok).map(x, x.n)}", scope, place="p"
    )

    assert kept == list(range(10_000))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("parameters.on", True),
        ("${parameters.on}", True),
        ("!parameters.on", False),
        ("size(completed(steps.parse.results)) > 0", True),
        ("true", True),
        ('steps.scan.status == "failed"', False),
    ],
)
def test_a_condition_is_true_or_false(text: str, value: bool) -> None:
    assert evaluate_condition(text, SCOPE, place="steps.s.when") is value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("parameters.n", "${parameters.n} is a number, and a condition is true or"),
        ("parameters.none", "is null, and a condition"),
        ("'true'", "is text, and a condition"),
        ("parameters.nope", 'parameters has no "nope"'),
        ("1 +", "is no expression"),
        ("item.ok", 'the scope has no "item"'),
    ],
)
def test_a_condition_that_is_neither_is_an_error(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        evaluate_condition(text, SCOPE, place="steps.s.when")

    assert reason in str(raised.value)
    assert str(raised.value).startswith("steps.s.when: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("parameters.list", [3, 1, 2]),
        ("keys(parameters.map)", ["a", "b"]),
        ("${[1, 2]}", [1, 2]),
    ],
)
def test_a_list_is_returned(text: str, value: list[object]) -> None:
    assert evaluate_list(text, SCOPE, place="steps.s.for_each") == value


def test_what_is_no_list_is_an_error() -> None:
    with pytest.raises(ExpressionError, match=r"is a mapping, and must be a list"):
        evaluate_list("parameters.map", SCOPE, place="steps.s.for_each")


def test_names_of_later_places_are_taken_from_the_scope() -> None:
    scope = {**SCOPE, "item": {"ok": True}, "index": 2}

    assert evaluate_condition("item.ok && index > 1", scope, place="p")


def test_steps_are_named_in_expressions_too() -> None:
    template = {"a": "${size(steps.a.result)}", "b": ["x ${steps['b'].attempt + 1}"]}

    assert names_steps(template) == {"a", "b"}


def test_expressions_are_evaluated_in_many_threads_at_once() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert evaluate("sum(parameters.list.map(x, x + 1))") == 9
        except BaseException as error:  # noqa: BLE001  # told below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def run_alone(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


START = "import sys; from execution.expressions import *; "


def test_a_plain_path_loads_no_library() -> None:
    code = (
        "evaluate_template('${a.b}', {'a': {'b': 1}}, place='p');"
        "print('cel.cel' in sys.modules)"
    )

    assert run_alone(START + code) == "False\n"


def test_the_library_is_loaded_without_its_command_line() -> None:
    code = (
        "evaluate_template('${1 + 1}', {}, place='p');"
        "print([name in sys.modules for name in ('cel.cel', 'rich', 'typer')]);"
        "import cel; print(cel.evaluate('1 + 1'))"
    )

    assert run_alone(START + code) == "[True, False, False]\n2\n"


def test_the_library_may_be_loaded_already() -> None:
    code = "import cel; print(evaluate_template('${1 + 1}', {}, place='p'))"

    assert run_alone(START + code) == "2\n"


def test_the_first_expressions_of_many_threads_load_the_library_once() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor as Pool;"
        "evaluate = lambda n: evaluate_template('${%d + 1}' % n, {}, place='p');"
        "print(sum(Pool(8).map(evaluate, range(8))))"
    )

    assert run_alone(START + code) == "36\n"


class PanicError(BaseException):
    """What a panic of the library is: no Exception."""


def test_a_panic_is_a_reason() -> None:
    expression = parse_expression("1 + 1")
    assert isinstance(expression, CelExpression)
    panic = PanicError("index out of range")

    assert describe_syntax(panic) == "is no expression: PanicError"
    assert describe_failure(panic, expression, {}) == (
        "the library for expressions fails: PanicError: index out of range"
    )


def test_a_forked_child_evaluates() -> None:
    code = (
        "import os; from execution.expressions import programs;"
        "programs._starting.acquire();"
        "child = os.fork();"
        "print(evaluate_template('${1 + 1}', {}, place='p')) if not child else None;"
        "sys.stdout.flush();"
        "os._exit(0) if not child else os.waitpid(child, 0)"
    )

    assert run_alone(START + code) == "2\n"
