"""Lists of executions: judged as plans would judge, in pages that stay put."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from execution import (
    ExecutionEngine,
    ExecutionFilter,
    ExecutionStatus,
    Plan,
)
from execution.errors import CursorError, ExpressionError
from execution.expressions import evaluate_condition
from execution.results import ExecutionSummary

ANYTHING = {
    "format": 1,
    "name": "anything",
    "parameters": {"o": {"type": "object"}},
    "steps": [{"id": "one", "action": "tests.nobody"}],
}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 1.0, 2.5, -3, 1e23, "", "x", "Z", "ä", "1"),
    *([], [1, "x", None], [[1]], {}, {"x": 1}, {"x": {"y": "x"}}, [{"x": True}]),
)
LITERALS = ("null", "true", "1", "1.0", "2.5", "-3", "1e23", '""', '"x"', '"Z"', '"ä"')
PATHS = (
    *("parameters.o.a", "parameters.o.b", "parameters.o.a.x", "parameters.o.b.x.y"),
    *(
        'parameters.o.a["x"]',
        "parameters.o.b[0]",
        "parameters.o.a[0].x",
        "parameters.p",
    ),
)
ORDER = ("<", "<=", ">", ">=")


@pytest.fixture(scope="module")
def crowd(engine: ExecutionEngine) -> Sequence[ExecutionSummary]:
    """Executions whose parameters are of every kind."""
    plan = Plan.from_mapping(ANYTHING)
    pairs = list(zip(VALUES, VALUES[5:] + VALUES[:5], strict=True))
    alike = [(value, value) for value in VALUES]
    parameters = [{"o": {"a": a, "b": b}} for a, b in pairs + alike]
    engine.submit_many(plan, parameters, tags=["crowd"])
    return engine.list_executions(ExecutionFilter(tag="crowd"), page_size=500).items


def compare(left: str, operator: str, right: str) -> str:
    return f"{left} {operator} {right}"


values = st.sampled_from(LITERALS)
paths = st.sampled_from(PATHS)
comparisons = st.one_of(
    st.builds(compare, paths, st.sampled_from(("==", "!=")), values | paths),
    st.builds(compare, paths, st.sampled_from(ORDER), values.filter("null".__ne__)),
    st.builds(compare, values.filter("null".__ne__), st.sampled_from(ORDER), paths),
    st.builds(compare, paths, st.sampled_from(ORDER), paths),
    st.builds(compare, values, st.just("in"), paths),
    st.builds(
        lambda path, listed: f"{path} in [{', '.join(listed)}]",
        paths,
        st.lists(values, min_size=1, max_size=3),
    ),
    st.builds("has({})".format, st.sampled_from(PATHS[:4])),
    st.builds(
        compare, st.just("plan"), st.just("=="), st.sampled_from(('"x"', *PATHS))
    ),
    paths,
)
clauses = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("!({})".format, inner),
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
    ),
    max_leaves=4,
)


def is_true(text: str, execution: ExecutionSummary) -> bool:
    """Say what the language says, to whom an error is no yes."""
    scope = {"parameters": execution.parameters, "plan": execution.plan}
    try:
        return evaluate_condition(text, scope, place="here")
    except ExpressionError:
        return False


@pytest.mark.usefixtures("untraced")
@settings_of_hypothesis(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=clauses)
def test_the_database_judges_an_expression_as_plans_would(
    engine: ExecutionEngine, crowd: Sequence[ExecutionSummary], text: str
) -> None:
    wanted = ExecutionFilter(tag="crowd", where=text)

    found = engine.list_executions(wanted, page_size=500).items

    expected = [e for e in crowd if is_true(text, e)]
    # values, which tell more than ids do
    assert [e.parameters for e in found] == [e.parameters for e in expected]


# what is asked beside expressions


def begin(engine: ExecutionEngine, tag: str, count: int = 1, **parameters: Any) -> str:
    """Submit executions under a tag; return the id of the last one."""
    plan = Plan.from_mapping(ANYTHING)
    bound = [{"o": parameters}] * count
    return engine.submit_many(plan, bound, tags=[tag, "begun"])[-1]


def list_ids(engine: ExecutionEngine, **options: Any) -> list[str]:
    return [e.id for e in engine.list_executions(ExecutionFilter(**options)).items]


def test_of_several_states_one_and_of_several_tags_all_must_apply(
    engine: ExecutionEngine,
) -> None:
    paused, pending = begin(engine, "several"), begin(engine, "several")
    engine.pause(paused)
    both = [ExecutionStatus.PAUSED, ExecutionStatus.PENDING]

    assert list_ids(engine, tag="several", status=both) == [pending, paused]
    assert list_ids(engine, tag="several", status=both[:1]) == [paused]
    assert list_ids(engine, tag=["several", "begun"], status=both[:1]) == [paused]
    assert list_ids(engine, tag=["several", "other"]) == []


def test_times_bound_what_is_listed_the_later_one_excluded(
    engine: ExecutionEngine,
) -> None:
    first, second = begin(engine, "timed"), begin(engine, "timed")
    created_at = engine.get_status(second).created_at
    stamp = f'timestamp("{created_at.isoformat()}")'

    assert list_ids(engine, tag="timed", since=created_at) == [second]
    assert list_ids(engine, tag="timed", until=created_at) == [first]
    assert list_ids(engine, tag="timed", where=f"created_at < {stamp}") == [first]
    assert list_ids(engine, tag="timed", where=f"{stamp} == created_at") == [second]


def test_a_time_may_lie_in_any_zone(engine: ExecutionEngine) -> None:
    execution_id = begin(engine, "zoned")
    created_at = engine.get_status(execution_id).created_at
    # further from Greenwich than PostgreSQL goes
    far = created_at.astimezone(timezone(timedelta(hours=23, minutes=59)))
    first, last = datetime.min.replace(tzinfo=far.tzinfo), far + timedelta(seconds=1)
    stamp = f'timestamp("{far.isoformat()}")'

    found = list_ids(engine, tag="zoned", since=far, until=last)

    assert found == list_ids(engine, tag="zoned", since=first) == [execution_id]
    assert list_ids(engine, tag="zoned", where=f"created_at == {stamp}") == found


def test_a_column_without_a_value_is_null_and_no_failure(
    engine: ExecutionEngine,
) -> None:
    execution_id = begin(engine, "nulls")
    asked = {
        "ended_at == null": True,
        "ended_at != null": False,
        'ended_at != timestamp("2026-11-21T08:00:00Z")': True,
        '!(ended_at == timestamp("2026-11-21T08:00:00Z"))': True,
        'ended_at > timestamp("2026-11-21T08:00:00Z")': False,
        "created_at >= started_at": False,
        '!(version == "1")': True,
        "version == reason": True,
        "!(started_at == ended_at)": False,
        "!(plan == version)": True,
        "version == parameters.o.none": False,
        "result == null": True,
        "has(error.code)": False,
        'status in ["pending", "running"]': True,
        'plan > "Z" && plan < "ä" && status > plan': True,
        "status != plan": True,
    }

    for text, is_found in asked.items():
        found = list_ids(engine, tag="nulls", where=text)
        assert (text, found) == (text, [execution_id] * is_found)


def test_a_plan_may_be_named_with_its_version(engine: ExecutionEngine) -> None:
    plan = Plan.from_mapping({**ANYTHING, "name": "dated", "version": "7"})
    execution_id = engine.submit(plan, {"o": {}})

    assert list_ids(engine, plan="dated") == [execution_id]
    assert list_ids(engine, plan="dated@7") == [execution_id]
    assert list_ids(engine, plan="dated@8") == []


# pages


def test_pages_stay_put_while_more_is_submitted(engine: ExecutionEngine) -> None:
    begin(engine, "paged", 7)
    wanted = ExecutionFilter(tag="paged")
    whole = engine.list_executions(wanted)
    seen: list[str] = []
    cursor: str | None = None

    while True:
        page = engine.list_executions(wanted, after=cursor, page_size=3)
        seen += [execution.id for execution in page.items]
        begin(engine, "paged")
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == [execution.id for execution in whole.items]
    assert whole.next_cursor is None
    assert engine.count_executions(wanted) == 10


def test_a_page_that_is_just_full_is_the_last_one(engine: ExecutionEngine) -> None:
    begin(engine, "full", 3)

    page = engine.list_executions(ExecutionFilter(tag="full"), page_size=3)

    assert (len(page.items), page.next_cursor) == (3, None)


def test_a_malformed_cursor_is_refused(engine: ExecutionEngine) -> None:
    with pytest.raises(CursorError, match="is no cursor"):
        engine.list_executions(after="nonsense")
