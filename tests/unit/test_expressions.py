"""Templates: how they are split, walked and filled in."""

from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from execution.errors import ErrorCode, ExpressionError
from execution.expressions import (
    CelExpression,
    PlainPath,
    TemplateError,
    evaluate_template,
    names_steps,
    parse_template_text,
)

SCOPE: dict[str, object] = {
    "parameters": {"root": "/lib", "count": 3, "rate": 0.5, "on": True, "none": None},
    "steps": {
        "scan": {
            "status": "completed",
            "result": {"files": ["a.py", "b.py"], "0": "zero", "size": 12},
            "results": None,
            "error": None,
            "attempt": 1,
        }
    },
    "execution": {"id": "018f", "created_at": "2026-11-21T08:00:00Z", "tags": ("x",)},
}


def evaluate(template: object) -> object:
    return evaluate_template(template, SCOPE, place="steps.parse.with")


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${parameters.count}", 3),
        ("${ parameters.rate }", 0.5),
        ("${parameters.none}", None),
        ("${steps.scan.result.files}", ["a.py", "b.py"]),
        ("${steps.scan.result.files.1}", "b.py"),
        ("${steps.scan.result.0}", "zero"),
        ("${steps.scan.status}", "completed"),
        ("${execution.tags.0}", "x"),
    ],
)
def test_single_expression_keeps_its_type(template: str, value: object) -> None:
    assert evaluate(template) == value


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("in ${parameters.root}", "in /lib"),
        ("${parameters.count} files", "3 files"),
        ("${parameters.rate}!", "0.5!"),
        ("on: ${parameters.on}", "on: true"),
        ("${parameters.count}${parameters.count}", "33"),
        ("$${parameters.root}", "${parameters.root}"),
        ("$$${parameters.root}", "$${parameters.root}"),
        ("$${a} ${parameters.count}", "${a} 3"),
        ("${parameters.count} $${a}", "3 ${a}"),
        ("costs $5 {x}", "costs $5 {x}"),
        ("{{''.__class__}}", "{{''.__class__}}"),
        ("", ""),
    ],
)
def test_expression_inside_text_becomes_text(template: str, text: str) -> None:
    assert evaluate(template) == text


def test_containers_are_filled_and_keys_are_not() -> None:
    template = {"${parameters.root}": [{"n": "${parameters.count}"}, 1, None, False]}

    assert evaluate(template) == {"${parameters.root}": [{"n": 3}, 1, None, False]}


def test_evaluation_leaves_the_template_alone() -> None:
    template: dict[str, Any] = {"list": ["${parameters.count}"]}

    filled = evaluate(template)

    assert template == {"list": ["${parameters.count}"]}
    assert filled is not template


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("${parameters.rot}", 'parameters has no "rot"; did you mean "root"?'),
        ("${steps.scan.result.nope}", 'steps.scan.result has no "nope"'),
        ("${steps.scan.error.code}", "steps.scan.error is null"),
        ("${parameters.root.x}", 'parameters.root is text, and so has no "x"'),
        ("${parameters.count.x}", "parameters.count is a number"),
        ("${parameters.rate.x}", "parameters.rate is a number"),
        ("${parameters.on.x}", "parameters.on is a boolean"),
        ("${steps.scan.result.files.2}", "has 2 items, and so no item 2"),
        ("${steps.scan.result.files.a}", '"a" is no index'),
        ("${steps.scan.result.files.00}", '"00" is no index'),
        ("${steps.scan.result.files." + "9" * 999 + "}", "is no index"),
        ("${other.x}", 'the scope has no "other"'),
        ("${steps}!", "is a mapping, and inside text"),
        ("x${steps.scan.result.files}", "is a list, and inside text"),
        ("x${parameters.none}", "is null, and inside text"),
        ("${1 +}", "is no expression: mismatched input"),
        ("${", "is not closed"),
    ],
)
def test_failure_names_place_expression_and_reason(template: str, message: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        evaluate({"files": [template]})

    assert message in str(raised.value)
    assert str(raised.value).startswith("steps.parse.with.files[0]: ")
    assert raised.value.code is ErrorCode.EXPRESSION


def test_place_of_a_bare_template_is_the_place_that_was_given() -> None:
    with pytest.raises(ExpressionError, match=r"^result: \$\{parameters\.x\}: "):
        evaluate_template("${parameters.x}", SCOPE, place="result")


def test_place_inside_a_list_is_an_index() -> None:
    with pytest.raises(ExpressionError, match=r"^result\[1\]: "):
        evaluate_template(["a", "${parameters.x}"], SCOPE, place="result")


def test_template_that_is_too_deep_is_refused_and_does_not_crash() -> None:
    template: object = "x"
    for _ in range(100_000):
        template = [template]

    with pytest.raises(ExpressionError, match="nested deeper than 64"):
        evaluate(template)

    while isinstance(template, list):  # or freeing it would recurse
        template = template.pop()


@pytest.mark.parametrize(
    "text", ["${", "a ${b", "${'}", '${"\\"}', "${{}", "${a ${b}", "${a} ${"]
)
def test_expression_that_is_not_closed_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match=r"is not closed; write `\$\$\{`"):
        parse_template_text(text)


def test_position_of_an_open_expression_is_counted_from_one() -> None:
    with pytest.raises(TemplateError, match="at character 5 is not closed"):
        parse_template_text("abc ${d")


@pytest.mark.parametrize(
    "inside",
    [
        "'}'",
        '"}"',
        "'\\'}'",
        "{'a': '}'}",
        "{'a': {'b': 1}}",
        "r'\\' + '}'",
        "'''it's }'''",
        '"""a "} b"""',
        "b'}'",
        "bR'}'",
        "bar + '}'",
    ],
)
def test_braces_in_texts_and_nested_braces_do_not_close(inside: str) -> None:
    expression, after = parse_template_text(f"${{{inside}}} after")

    assert isinstance(expression, CelExpression)
    assert expression.text == inside
    assert after == " after"


def test_long_expression_is_refused() -> None:
    with pytest.raises(TemplateError, match="does not end within 1,024 characters"):
        parse_template_text("${" + "a" * 1025 + "}")


def test_longest_expression_is_allowed() -> None:
    assert parse_template_text("${" + "a" * 1024 + "}")


def test_text_is_split_into_literals_and_paths() -> None:
    assert parse_template_text("a ${b.c} $${d}") == [
        "a ",
        PlainPath("b.c", ("b", "c")),
        " ${d}",
    ]


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("${steps.scan.result}", {"scan"}),
        ({"a": ["${steps.b.result}", "x ${steps.c.error}"]}, {"b", "c"}),
        ({"${steps.b.result}": 1}, set()),
        ("$${steps.b.result}", set()),
        ("${parameters.steps}", set()),
        ("${steps}", set()),
        (None, set()),
    ],
)
def test_steps_that_a_template_reads_are_named(
    template: object, names: set[str]
) -> None:
    assert names_steps(template) == names


def test_broken_template_names_no_steps_but_its_place() -> None:
    with pytest.raises(ExpressionError, match=r"^a\[0\]: "):
        names_steps({"a": ["${"]})


@given(st.text(alphabet="${}'\"\\ab.0 \n{}$", max_size=60))
@settings(max_examples=10 * settings().max_examples)
def test_no_text_crashes_the_scanner(text: str) -> None:
    try:
        evaluate(text)
    except ExpressionError:
        note("refused")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
@settings(print_blob=True)
def test_value_without_expressions_is_its_own_value(value: object) -> None:
    escaped = _escape(value)

    assert evaluate(escaped) == value


def _escape(value: object) -> object:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [_escape(item) for item in value]
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    return value
