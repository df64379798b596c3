"""What is found in an expression before anything compiles it, and what is refused."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from execution.errors import ExpressionError
from execution.expressions import (
    CelExpression,
    PlainPath,
    TemplateError,
    find_syntax_faults,
    names_steps_bare,
    parse_bare,
    parse_expression,
)
from execution.expressions.paths import read_path
from execution.expressions.programs import _Running, evaluate_cel
from execution.expressions.scanner import scan_expression

SEEDS = 300


def parse(text: str) -> CelExpression:
    expression = parse_expression(text)
    assert isinstance(expression, CelExpression)
    return expression


def reads(text: str) -> list[str]:
    return [".".join(path.parts) for path in parse(text).reads]


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("parameters.a + 1", ["parameters.a"]),
        ("steps.a.result.files[0].name", ["steps.a.result.files"]),
        ('steps["a"]["result"].x + 1', ["steps.a.result.x"]),
        ("steps['a'].result['b c'] + 1", ["steps.a.result.b c"]),
        ("steps[r'a'].result", ["steps"]),
        ("steps['a\\n'].result", ["steps"]),
        ("steps[item].result", ["steps", "item"]),
        ("steps.a.result.size()", ["steps.a.result"]),
        ("parameters.a.contains(parameters.b)", ["parameters.a", "parameters.b"]),
        ("has(steps.a.result.x)", ["steps.a.result.x"]),
        ("parameters.a == parameters.a", ["parameters.a"]),
        ("'steps.a' == \"steps.b\"", []),
        ("true && !false || null == null", []),
        ("1 in parameters.list", ["parameters.list"]),
        (
            "parameters.l.exists(x, x.a == parameters.b)",
            ["parameters.l", "parameters.b"],
        ),
        ("parameters.l.map(x, x.a + parameters.b)", ["parameters.l", "parameters.b"]),
        ("parameters.l.exists(x, x) && x", ["parameters.l", "x"]),
        ("parameters.l.map(x, x).size() > x", ["parameters.l", "x"]),
        ("parameters.l.map(x, {'k': [x, item]})", ["parameters.l", "item"]),
        ("{a: 1}", ["a"]),
        ("size", None),
        ("size > 1", ["size"]),
    ],
)
def test_paths_are_found(text: str, paths: list[str] | None) -> None:
    if paths is None:
        assert parse_expression(text) == PlainPath(text, (text,))
    else:
        assert reads(text) == paths


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a.map(x, x)", "plans_loop_0(a)"),
        ("1 + size(a.b[0].filter(x, x > 1))", "1 + size(plans_loop_0(a.b[0]))"),
        ("a.filter(x, x).map(y, y)", "plans_loop_1(plans_loop_0(a))"),
        ("!(a + [1]).map(x, x)", "!plans_loop_0((a + [1]))"),
        ("[1, 2].map(x, x)", "plans_loop_0([1, 2])"),
        ("{'a': 1}.map(x, x)", "plans_loop_0({'a': 1})"),
        ("keys(a).map(x, x)", "plans_loop_0(keys(a))"),
        ("1 in (a).map(x, x)", "1 in plans_loop_0((a))"),
        ("[a.map(x, x), b.map(x, x)]", "[plans_loop_0(a), plans_loop_1(b)]"),
        ("(a.map(x, x) + b).filter(y, y)", "plans_loop_1((plans_loop_0(a) + b))"),
        ("a.all(x, x > 1)", "a.all(x, x > 1)"),
    ],
)
def test_loops_are_taken_out(text: str, source: str) -> None:
    assert parse(text).source == source


@pytest.mark.parametrize(
    ("text", "condition", "value"),
    [
        ("a.map(x, x + 1)", None, "x + 1"),
        ("a.filter(x, x > (1))", "x > (1)", None),
        ("a.map(x, x > 1, [x, 2])", "x > 1", "[x, 2]"),
    ],
)
def test_bodies_of_loops_are_kept(
    text: str, condition: str | None, value: str | None
) -> None:
    (loop,) = parse(text).loops

    assert loop.variable == "x"
    assert (loop.condition.text if loop.condition else None) == condition
    assert (loop.value.text if loop.value else None) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no expression"),
        ("  ", "holds no expression"),
        ("a" * 1025, "1,025 characters; 1,024 are allowed"),
        ("(" * 17 + "1" + ")" * 17, "brackets 17 deep; 16 are allowed"),
        ("1" + "+1" * 65, "has 65 operators; 64 are allowed"),
        ("-" * 65 + "1", "has 65 operators"),
        (" + ".join(["a.all(x, x)"] * 5), "more than 4 of map, filter"),
        ("a.map(x, x.map(y, y))", "`map` at character 12 stands inside of another"),
        ("a.all(x, x.map(y, y))", "stands inside of another"),
        ("a.map(x, x.all(y, y))", "stands inside of another"),
        ("a.map(x, b.filter(y, y))", "stands inside of another"),
        ("a.map(x)", "is written list.map(x, …), with a name"),
        ("a.map(1, x)", "with a name for the item"),
        ("a.map()", "with a name for the item"),
        ("a.map(x, )", "is written list.map(x, …)"),
        ("a.map(x,, x)", "is written list.map(x, …)"),
        ("a.map(x, x, x, x)", "is written list.map(x, …)"),
        ("a.filter(x, x, x)", "is written list.filter(x, …)"),
        ("a.map(item, 1)", "`item` at character 7 has a meaning already"),
        ("a.all(steps, true)", "has a meaning already"),
        ("nope(1)", 'there is no function "nope"'),
        ("tex(1)", 'did you mean "text"?'),
        ("plans_loop_0(a)", "there is no function"),
        ("a.nope()", 'there is no method "nope"'),
        ("a.starsWith('x')", 'did you mean "startsWith"?'),
        ("a.text()", "is a function; write text(…) around it"),
        ("a.get('x', 1)", "is a function"),
        ("a.in > 1", 'is a word of the language; write ["in"]'),
        ("a.true == 1", 'write ["true"]'),
        ("a.(b)", "`.` at character 2 is not followed by a name"),
        ("a. + 1", "is not followed by a name"),
        ("a.?b", "is not followed by a name"),
        (".a + 1", "`.` at character 1 follows no value"),
        ("a.b.0 + 1", "`.0` at character 4 is no index; write [0] in brackets"),
        ("a{b: 1}", "`a` at character 1 cannot be followed by {"),
        ("1 // one", "holds a comment at character 3; remove it"),
        ("a.`b`", 'holds "`" at character 3, which is not of the language'),
        ("a; b", 'holds ";"'),
        ("ä + 1", 'holds "\\u00e4" at character 1'),
        ("'a", "holds a text that begins at character 1 and never ends"),
        ("a + 'b\nc'", "holds a text that begins at character 5"),
        ("(a", "`(` at character 1 is not closed"),
        ("a)", "`)` at character 2 closes nothing"),
        ("(a]", "`]` at character 3 closes nothing"),
        ("a ${b}", 'holds "$"'),
    ],
)
def test_what_exceeds_a_limit_or_is_not_there_is_refused(
    text: str, message: str
) -> None:
    with pytest.raises(TemplateError) as raised:
        parse_expression(text)

    assert message in str(raised.value)


@pytest.mark.parametrize(
    "text", ["1 +", "a b", "?", "a ? b", "[1 2]", "'\\q'", "a[?'b']"]
)
def test_what_does_not_compile_is_found(text: str) -> None:
    expression = parse(text)

    faults = find_syntax_faults([expression, parse("1 + 1")])

    assert list(faults) == [expression]
    assert faults[expression].startswith("is no expression: ")


def test_nothing_is_compiled_where_there_is_nothing() -> None:
    assert find_syntax_faults([]) == {}


@pytest.mark.parametrize("text", ["a.b", "${a.b}", " ${ a.b } ", "  a.b  "])
def test_bare_expression_may_stand_in_braces(text: str) -> None:
    assert parse_bare(text) == PlainPath("a.b", ("a", "b"))


@pytest.mark.parametrize("text", ["${a} + ${b}", "${a", "x ${a}", "$${a}"])
def test_other_braces_are_no_bare_expression(text: str) -> None:
    with pytest.raises(TemplateError):
        parse_bare(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("size(steps.a.result) > 0 && steps['b'].attempt > 1", {"a", "b"}),
        ("${steps.a.status}", {"a"}),
        ("parameters.l.filter(x, x in steps.c.result)", {"c"}),
        ("true", set()),
    ],
)
def test_steps_of_a_bare_expression_are_named(text: str, names: set[str]) -> None:
    assert names_steps_bare(text) == names


def test_what_is_no_bare_expression_names_no_steps() -> None:
    with pytest.raises(ExpressionError, match="holds no expression"):
        names_steps_bare("")


@pytest.mark.parametrize("text", ["true", "false", "null", "true.x"])
def test_literals_are_no_paths(text: str) -> None:
    assert read_path(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '"""a\nb"""',
        "'''a\\'''b'''",
        'r"""a\\"""',
        "R'\\'",
        'b"\\""',
        'Br"\\"',
        "''",
        '""',
        "0x1Fu",
        "1.5e-3",
        ".5",
        "1e9",
    ],
)
def test_every_form_of_a_literal_is_one_token(text: str) -> None:
    assert [token.text for token in scan_expression(text).tokens] == [text]


def draw_text(dice: random.Random) -> str:
    pieces = [
        *("'", '"', "'''", '"""', "r", "b", "\\", "{", "}", "(", ")", "[", "]"),
        *(".", ",", ":", "?", "&&", "||", "!", "-", "+", "*", "in", "==", "<"),
        *("a", "steps.a.result", "parameters.l", "x", "true", "null", "1", "2.5", "0"),
        *(".map(x, ", ".filter(x, ", ".all(x, ", ".size()", "get(", "has(", "text("),
        *(" ", "\n", "//", "$", "ä", "\x00", "1u", "keys(", "sum("),
    ]
    return "".join(dice.choice(pieces) for _ in range(dice.randint(1, 30)))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_text_crashes_the_scanner_or_the_library(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(10):
        text = draw_text(dice)
        try:
            expression = parse_expression(text)
            if isinstance(expression, CelExpression):
                evaluate_cel(expression, {"a": 1, "parameters": {"l": [1, 2]}})
        except TemplateError:
            continue


def call_on_a_stack_of_one_megabyte(function: Callable[[], object]) -> object:
    future: Future[object] = Future()
    before = threading.stack_size(1024 * 1024)
    thread = threading.Thread(target=lambda: future.set_result(function()))
    thread.start()
    threading.stack_size(before)
    return future.result(timeout=30)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(" * 16 + "1 + 1" + ")" * 16, 2),
        ("1" + "+1" * 64, 65),
        ("!" * 64 + "true", True),
        ("-" * 63 + "(1)", -1),
        ("false ? 2 : " * 64 + "1", 1),
        ("(true ? " * 16 + "1" + " : 2)" * 16, 1),
        ("{'a': " * 16 + "1" + "}" * 16, None),
        ("[" * 16 + "1" + "]" * 16, None),
        ("text(" * 16 + "1" + ")" * 16, "1"),
        ("1 > 2 || " * 32 + "true", True),
        ("true" + " && true" * 64, True),
        ("a" + ".b" * 64 + "+ 0", 7),
        (
            "a" + ".b" * 500 + "+ 0",
            "a" + ".b" * 64 + ' is a number, and so has no "b"',
        ),
        ("a" + "['b']" * 200 + "+ 0", None),
        ("[" + "1," * 510 + "1]", [1] * 511),
        ("'" + "x" * 1022 + "'", "x" * 1022),
        ("'x'" + ".size()" + " == 1" + " && 'x'.contains('x')" * 32, True),
    ],
    ids=range(17),
)
def test_the_limits_fit_a_stack_of_one_megabyte(text: str, value: object) -> None:
    data: dict[str, object] = {"b": 7}
    for _ in range(63):
        data = {"b": data}
    expression = parse(text)

    def evaluate() -> object:
        try:
            # not through evaluate_cel, which takes a larger stack
            return _Running(expression, {"a": data}).run({})
        except TemplateError as error:
            return str(error)

    result = call_on_a_stack_of_one_megabyte(evaluate)

    assert value is None or result == value
