"""Filters and cursors: what cannot be asked is refused, with its place."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execution import ExecutionFilter, ExecutionStatus, FilterError
from execution.errors import CursorError
from execution.expressions.clauses import (
    Compared,
    Every,
    Field,
    FieldKind,
    Held,
    Listed,
    Literal,
    Negated,
    Operator,
    Present,
    Some,
    Truth,
    describe_kind,
)
from execution.filters import PageCursor
from execution.identity import draw_execution_id

CUSTOMER = Field("parameters", ("customer",))
NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
NAIVE = datetime(2026, 11, 21)  # noqa: DTZ001  # it is to be refused


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ('parameters.customer == "x"',
         Compared(CUSTOMER, Operator.EQUAL, Literal("x"))),
        ("1 < parameters.customer", Compared(CUSTOMER, Operator.MORE, Literal(1))),
        ("-1.5 >= parameters.customer",
         Compared(CUSTOMER, Operator.AT_MOST, Literal(-1.5))),
        ("0x10u != parameters.customer",
         Compared(CUSTOMER, Operator.UNEQUAL, Literal(16))),
        ("parameters.customer in [1, null]",
         Listed(CUSTOMER, (Literal(1), Literal(None)))),
        ('"a" in tags', Held(Field("tags"), Literal("a"))),
        ("has(result.a.b)", Present(Field("result", ("a",)), "b")),
        ('parameters["a b"][2]', Truth(Field("parameters", ("a b", 2)))),
        ('"a\\n" == plan', Compared(Field("plan"), Operator.EQUAL, Literal("a\n"))),
        ("status != plan", Compared(Field("status"), Operator.UNEQUAL, Field("plan"))),
        ('created_at < timestamp("2026-11-21T08:00:00Z")',
         Compared(Field("created_at"), Operator.LESS, Literal(NOW))),
        ('created_at > timestamp("0001-01-01T00:00:00+01:00")',
         Compared(Field("created_at"), Operator.MORE,
                  Literal(datetime.min.replace(tzinfo=UTC)))),
        ('created_at < timestamp("9999-12-31T23:59:59-01:00")',
         Compared(Field("created_at"), Operator.LESS,
                  Literal(datetime.max.replace(tzinfo=UTC)))),
        ("ended_at == null",
         Compared(Field("ended_at"), Operator.EQUAL, Literal(None))),
        ("parameters.customer && !result.a || (error.b)",
         Some((Every((Truth(CUSTOMER), Negated(Truth(Field("result", ("a",)))))),
               Truth(Field("error", ("b",)))))),
    ],
)  # fmt: skip
def test_an_expression_is_read_as_it_is_meant(text: str, clause: object) -> None:
    assert ExecutionFilter(where=text).clause == clause


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "where: is empty; a filter compares"),
        ("parameters.a =", 'holds "=" at character 14'),
        ("parameters.a ==", "where: ends too soon"),
        ("parameters.a + 1 == 2", "`+` at character 14 is not expected"),
        ("parameters.a ? true : false", "`?` at character 14 is not expected"),
        ("size(tags) > 1", "`size` at character 1 is a function"),
        ('plan.startsWith("x")', "`startsWith` at character 6 is a method"),
        ("parameters.7 == 1", "`.7` at character 11 is not expected"),
        ("parameters.in == 1", "`in` at character 12 stands where the name of a key"),
        ("parameter.a == 1", 'no field of executions; did you mean "parameters"?'),
        ("xyz == 1", "is no field of executions: parameters, variables"),
        ("created_at.x == 1", "`created_at` at character 1 is a time, and has no"),
        ("plan", "`plan` at character 1 says nothing alone"),
        ("!plan", "`plan` at character 2 says nothing alone"),
        ("true", "`true` at character 1 says nothing alone"),
        ("1 == 1", "`==` at character 3 stands between a field and a value"),
        ("parameters.a == 1 == 2", "`==` at character 19 compares a comparison"),
        ("parameters.a in parameters.b", "`in` at character 14 is written PATH in ["),
        ("parameters.a in []", "`[` at character 17 begins an empty list"),
        ("parameters.a in [1 2]", "`2` at character 20 stands where `,` or `]`"),
        ("parameters.a in [plan]", "`plan` at character 18 is no plain value"),
        ("(parameters.a", "`(` at character 1 is not closed"),
        ("(parameters.a 1)", "`1` at character 15 stands where `)` closes"),
        ("has(parameters)", "`parameters` at character 5 is no path to a key"),
        ("has(parameters.a[0])", "is no path to a key"),
        ("has(1)", "`1` at character 5 is no path to a key"),
        ("parameters[1.5] == 1", "`1.5` at character 12 is neither the index"),
        ("parameters[9999999999]", "is neither the index"),
        ("parameters[1 2]", "`2` at character 14 stands where `]` closes the index"),
        ("parameters[plan]", "`plan` at character 12 is neither the index"),
        ("parameters.a < null", "`<` at character 14 compares with null"),
        ("parameters.a == 1e999", "`1e999` at character 17 is too large"),
        ("parameters.a == 9007199254740993", "is an integer beyond ±2^53"),
        ("parameters.a == -0x8000000000000000u", "is an integer beyond ±2^53"),
        ("parameters.a == b'x'", "`b'x'` at character 17 is no text"),
        ("parameters.a == '\\x00'", "holds a character that no value can have"),
        ("parameters.a == '\udcff'", "holds a character that no value can have"),
        ('status == "runing"', '"runing", which is none; did you mean "running"?'),
        ("plan == 1", "`==` at character 6 compares plan, which is text"),
        ("plan == null", "compares plan, which is text"),
        ('created_at > "2026"', "`>` at character 12 compares created_at, a time"),
        ('timestamp("x") < created_at', '`"x"` at character 11 is no time like'),
        ('timestamp("2026-11-21") < created_at', "is no time like"),
        ("timestamp(1) < created_at", "`1` at character 11 is no time like"),
        ("created_at < plan", "`<` at character 12 compares a time"),
        ('parameters.a == timestamp("2026-11-21T08:00:00Z")', "a time with JSON"),
        ('timestamp("2026-11-21T08:00:00Z") in parameters.a', "seeks a time in JSON"),
        ('tags == "x"', "`==` at character 6 compares tags"),
        ("tags == plan", "`==` at character 6 compares tags"),
        ("1 in tags", "`in` at character 3 seeks what is no text in tags"),
        ('"x" in plan', "`in` at character 5 seeks in plan, which is text"),
        ("parameters.a == 1 // a", "holds a comment"),
        ("!" * 65 + "parameters.a", "has 65 operators"),
        ("parameters.a == 1 parameters.b", "`parameters` at character 19 is not exp"),
    ],
)  # fmt: skip
def test_what_a_database_cannot_judge_is_refused_with_its_place(
    text: str, complaint: str
) -> None:
    with pytest.raises(FilterError, match=re.escape(complaint)) as refusal:
        ExecutionFilter(where=text)

    assert "\n" not in str(refusal.value)


@given(st.text("()[]!&|=<>.,\"'-1a ", max_size=30) | st.text(max_size=30))
def test_no_text_breaks_the_reading(text: str) -> None:
    with suppress(FilterError):
        ExecutionFilter(where=text)


def test_every_kind_of_field_has_a_description() -> None:
    roots = {"plan": "text", "tags": "a list of texts", "result": "JSON"}

    assert {name: describe_kind(Field(name)) for name in roots} == roots
    assert {Field(name).kind for name in (*roots, "ended_at")} == set(FieldKind)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"status": "runing"}, '"runing" is no state; did you mean "running"?'),
        ({"status": ["running", "x"]}, '"x" is no state'),
        ({"tag": "\udcff"}, "tag '\\udcff' holds what no tag can hold"),
        ({"tag": ["a", "b\0"]}, "holds what no tag can hold"),
        ({"plan": "a\0"}, "plan 'a\\x00' holds what no plan can hold"),
        ({"since": NAIVE}, "since 2026-11-21 00:00:00 has no time zone"),
        ({"until": NAIVE}, "until 2026-11-21 00:00:00 has no time zone"),
        ({"parent_id": "x"}, '"x" is not the id of an execution'),
    ],
)  # fmt: skip
def test_a_filter_that_nothing_can_fit_is_refused(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(FilterError, match=re.escape(complaint)):
        ExecutionFilter(**options)


def test_one_state_or_tag_may_stand_for_a_list_of_one() -> None:
    one = ExecutionFilter(status=ExecutionStatus.FAILED, tag="t")
    several = ExecutionFilter(status=["failed"], tag=["t"])  # type: ignore[list-item]  # as JSON has it

    assert one.statuses == several.statuses == (ExecutionStatus.FAILED,)
    assert one.tags == several.tags == ("t",)
    assert ExecutionFilter().statuses == ExecutionFilter().tags == ()


@given(st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # naive is asked for
def test_a_cursor_is_read_as_it_was_written(moment: datetime) -> None:
    cursor = PageCursor(moment, draw_execution_id())

    assert PageCursor.read(str(cursor)) == cursor
    assert re.fullmatch(r"[\w-]+", str(cursor))


@pytest.mark.parametrize("text", ["", "nonsense", "ä", "A" * 31, "A" * 36, "f" * 32])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorError, match=r"is no cursor; take the one that"):
        PageCursor.read(text)
