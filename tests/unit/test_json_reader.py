"""The strict JSON reader: the same values as the standard one, and places."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from execution.errors import Fault
from execution.language.findings import Findings
from execution.language.json_reader import read_json
from execution.language.tree import Reading, UnreadableError


def faults_in(text: str) -> tuple[Fault, ...]:
    findings = Findings()
    try:
        reading = read_json(text, findings)
    except UnreadableError:
        reading = Reading(None, {}, text)
    assert findings
    return findings.faults("text", reading.locate)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('ab\n\t"\\é😀'), inner),
    max_leaves=30,
)


@given(json_values, st.sampled_from([None, 2]), st.booleans())
@settings(print_blob=True)
def test_what_python_writes_is_read_back(
    value: object, indent: int | None, ensure_ascii: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ensure_ascii)
    findings = Findings()

    assert read_json(text, findings).value == value
    assert not findings


@pytest.mark.parametrize(
    ("text", "place", "position", "message"),
    [
        ('{"a": 1, "a": 2}', "a", (1, 10), "given twice"),
        ('{"a": {"b": 1,\n "b": [1]}}', "a.b", (2, 2), "given twice"),
        ('{"a": NaN}', "a", (1, 7), '"NaN" is not JSON'),
        ("[1, -Infinity]", "text", (1, 5), "not JSON"),
        ("[1e999]", "[0]", (1, 2), "not a finite number"),
        ("[9007199254740993]", "[0]", (1, 2), "beyond ±2^53"),
        ("[" + "1" * 5000 + "]", "[0]", (1, 2), "5,000 characters"),
        ('["\\u0000"]', "[0]", (1, 2), "NUL"),
        ('["\\ud800"]', "[0]", (1, 2), "surrogate"),
        ('["\ud800"]', "[0]", (1, 2), "surrogate"),
        ('{"\\ud800": 1}', '["\\ufffd"]', (1, 2), "surrogate"),
        ('["\\x"]', "text", (1, 3), "escape"),
        ('["a\nb"]', "text", (1, 2), "that JSON has not"),
        ('["a', "text", (1, 2), "that JSON has not"),
        ("", "text", (1, 1), "expected a value, found the end"),
        ("[1,]", "text", (1, 4), "expected a value"),
        ("[,]", "text", (1, 2), "expected a value or `]`"),
        ("[1 2]", "text", (1, 4), "expected `,` or `]`"),
        ("[1}", "text", (1, 3), "expected `,` or `]`"),
        ("[01]", "text", (1, 3), "expected `,` or `]`"),
        ("{1: 2}", "text", (1, 2), "expected a key in quotes or `}`"),
        ('{"a" 1}', "text", (1, 6), "expected `:`"),
        ('{"a": 1]', "text", (1, 8), "expected `,` or `}`"),
        ('{"a": 1,}', "text", (1, 9), "expected a key in quotes"),
        ('{"a": }', "text", (1, 7), "expected a value"),
        ("{} {}", "text", (1, 4), "expected nothing more"),
        ("{'a': 1}", "text", (1, 2), "that JSON has not"),
        ("[1] // x", "text", (1, 5), "that JSON has not"),
        ("\ufeff[]", "text", (1, 1), "that JSON has not"),
    ],
)
def test_fault_has_its_place(
    text: str, place: str, position: tuple[int, int], message: str
) -> None:
    fault = faults_in(text)[-1]

    assert message in fault.message
    assert fault.place == place
    assert (fault.line, fault.column) == position


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_a_fault_and_not_a_crash(opening: str) -> None:
    (fault,) = faults_in(opening * 100_000)

    assert "nested deeper than 64" in fault.message


@given(st.text(alphabet='[]{},:"\\u0dtruefalsn-+.eE19 \n', max_size=60))
@settings(max_examples=10 * settings().max_examples)
def test_what_is_accepted_agrees_with_the_standard_reader(text: str) -> None:
    findings = Findings()
    try:
        value = read_json(text, findings).value
    except UnreadableError:
        assert findings
        return
    if not findings:
        assert json.loads(text) == value
