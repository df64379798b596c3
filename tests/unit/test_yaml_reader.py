"""The strict YAML reader: which scalars mean what, and what is refused where."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.errors import Fault
from execution.language.findings import Findings
from execution.language.tree import Reading, UnreadableError
from execution.language.yaml_reader import read_yaml


def read(text: str) -> object:
    findings = Findings()
    value = read_yaml(text, findings).value
    assert not findings, list(findings)
    return value


def faults_in(text: str) -> tuple[Fault, ...]:
    findings = Findings()
    try:
        reading = read_yaml(text, findings)
    except UnreadableError:
        reading = Reading(None, {}, text)
    assert findings
    return findings.faults("text", reading.locate)


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30:45", "12:30:45"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("012", 12),
        ("0o17", 15),
        ("0xff", 255),
        ("0b1", "0b1"),
        ("+5", 5),
        ("-5", -5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-0.0", 0.0),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ('"1"', "1"),
        ("'${x} #'", "${x} #"),
        ("${steps.a.result}", "${steps.a.result}"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        (">\n  1\n", "1\n"),
    ],
)
def test_scalars_follow_the_core_schema(scalar: str, value: object) -> None:
    assert read(f"a: {scalar}") == {"a": value}


def test_containers_are_read_in_both_styles() -> None:
    text = "a:\n  - {b: [1, 2]}\n  - c: {}\n    d: []\n? e\n: f\n"

    assert read(text) == {"a": [{"b": [1, 2]}, {"c": {}, "d": []}], "e": "f"}


def test_scalar_document_is_read() -> None:
    assert read("3") == 3


@pytest.mark.parametrize(
    ("text", "place", "position", "message"),
    [
        ("a: 1\na: 2", "a", (2, 1), "given twice"),
        ("a:\n  b: 1\n  b: [2]", "a.b", (3, 3), "given twice"),
        ("a: &x 1", "a", (1, 4), "has an anchor (&x)"),
        ("a: &x [1]", "a", (1, 4), "has an anchor (&x)"),
        ("- &x {b: 1}", "[0]", (1, 3), "has an anchor (&x)"),
        ("a: &x 1\nb: *x", "b", (2, 4), "is an alias (*x)"),
        ("&x a: 1", "a", (1, 1), "has an anchor"),
        ("a: &x 1\n*x : 1", "text", (2, 1), "for a key"),
        ("? [a]\n: 1", "text", (1, 3), "for a key"),
        ("{a: {[b]: 1}}", "text", (1, 6), "for a key"),
        ("a: !!python/object:os.system x", "a", (1, 4), "!!python/object:os.system"),
        ("a: !!str 1", "a", (1, 4), "has the tag"),
        ("a: !x {}", "a", (1, 4), "has the tag"),
        ("a: !x []", "a", (1, 4), "has the tag"),
        ("<<: {a: 1}", '["<<"]', (1, 1), "is a merge key"),
        ("1: a", '["1"]', (1, 1), "key that is not text; put it in quotes"),
        ("a: {null: 1}", "a.null", (1, 5), "key that is not text"),
        ("a: .inf", "a", (1, 4), "not a finite number"),
        ("a: -.INF", "a", (1, 4), "not a finite number"),
        ("a: .nan", "a", (1, 4), "not a finite number"),
        ("a: 1e999", "a", (1, 4), "not a finite number"),
        ("a: 9007199254740993", "a", (1, 4), "beyond ±2^53"),
        ("a: " + "9" * 5000, "a", (1, 4), "5,000 characters"),
        ("a: 1\n---\nb: 2", "text", (2, 1), "second document"),
        ("", "text", (1, 1), "is empty"),
        ("# nothing", "text", (1, 1), "is empty"),
        ("a: b: c", "text", (1, 5), "text with `: ` in it needs quotes"),
        ("a: {b: ${c}}", "text", (1, 9), "text with ${…} needs quotes"),
        ("a: @b", "text", (1, 4), "needs quotes"),
        ('a: "b" == c', "text", (1, 8), "text that goes on after"),
        ("a: [1] == c", "text", (1, 8), "needs quotes"),
        ('a: "\\q"', "text", (1, 5), "use single quotes"),
        ("a:\n\t- b", "text", (2, 1), "is not YAML"),
        ("a: 'b", "text", (1, 6), "is not YAML"),
        ("a: \x00", "text", (1, 4), "U+0000"),
        ("ä\r\nb: \x1b[31m", "text", (2, 4), "U+001B"),
        ("a: \ud800", "text", (1, 4), "U+D800"),
        ('a: "\\0"', "a", (1, 4), "NUL"),
        ('"\\0": 1', '["\\ufffd"]', (1, 1), "has a key that holds a NUL"),
        ("a: *x", "a", (1, 4), "is an alias"),
    ],
)
def test_fault_has_its_place(
    text: str, place: str, position: tuple[int, int], message: str
) -> None:
    fault = faults_in(text)[-1]

    assert message in fault.message
    assert fault.place == place
    assert (fault.line, fault.column) == position


def test_every_fault_is_found_in_one_go() -> None:
    faults = faults_in("a: &x 1\nb: *x\nb: !y z\n1: .nan\n")

    assert [(fault.place, fault.line) for fault in faults] == [
        ("a", 1),
        ("b", 2),
        ('["1"]', 4),
    ]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_a_fault_and_not_a_crash(opening: str) -> None:
    (fault,) = faults_in(opening * 100_000)

    assert "nested deeper than 64" in fault.message or "a key" in fault.message


def test_nesting_up_to_the_limit_is_read() -> None:
    value = read("[" * 64 + "]" * 64)

    assert isinstance(value, list)


def test_alias_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]

    assert len(faults_in("\n".join(lines))) == 30 + 29 * 9


@given(st.text(alphabet="ab1:-?[]{},#&*!|>'\"%@`~ \n\t.\\<=$", max_size=80))
@settings(max_examples=10 * settings().max_examples)
def test_no_text_crashes_the_reader(text: str) -> None:
    findings = Findings()
    try:
        read_yaml(text, findings)
    except UnreadableError:
        assert findings


@given(st.text(max_size=200))
@settings(print_blob=True)
def test_no_unicode_crashes_the_reader(text: str) -> None:
    findings = Findings()
    try:
        read_yaml(text, findings)
    except UnreadableError:
        assert findings
