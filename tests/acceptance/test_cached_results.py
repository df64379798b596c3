"""Results that are used again, by a real worker."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Step
from tests.outages import read_lines
from tests.timeline import check_timeline, read_timeline

pytestmark = pytest.mark.usefixtures("shared_worker")
RULE = {"ttl": "1h"}


def noting(ledger: Path, **fields: Any) -> Plan:
    """A step that notes each call, and its reader."""
    step = {
        "action": "test.note",
        "with_": {"ledger": str(ledger)},
        "cache": RULE,
        **fields,
    }
    return Plan(
        "noting",
        parameters={"customer": {"type": "string", "default": "ann"}},
        steps=[
            Step("a", **step),
            Step("b", "test.echo", {"value": "${steps.a.result.step}"}),
        ],
    )


def list_cached(engine: ExecutionEngine, execution_id: str) -> list[object]:
    check_timeline(engine, execution_id)
    events = read_timeline(engine, execution_id)
    return [e.step for e in events if e.type == "step.cached"]


def test_equal_inputs_are_worked_on_once(engine: ExecutionEngine, ledger: Path) -> None:
    plan = noting(ledger)

    first, second = (engine.execute(plan, timeout_seconds=60) for _ in range(2))

    assert (first.unwrap(), second.unwrap()) == ("a", "a")
    assert len(read_lines(ledger)) == 1
    assert list_cached(engine, first.execution_id) == []
    assert list_cached(engine, second.execution_id) == ["a"]
    source = engine.list_steps(second.execution_id)[0].cached_from
    assert source is not None
    assert (source["execution_id"], source["step"]) == (first.execution_id, "a")


def test_other_plans_with_the_same_action_use_it_too(
    engine: ExecutionEngine, ledger: Path
) -> None:
    engine.execute(noting(ledger), timeout_seconds=60)
    step = Step("z", "test.note", {"ledger": str(ledger)}, cache={"ttl": "1s"})

    result = engine.execute(Plan("other", steps=[step]), timeout_seconds=60)

    assert result.unwrap() == {"step": "a", "attempt": 1}


def test_without_a_rule_a_step_runs_each_time(
    engine: ExecutionEngine, ledger: Path
) -> None:
    engine.execute(noting(ledger), timeout_seconds=60)

    engine.execute(noting(ledger, cache=None), timeout_seconds=60)

    assert len(read_lines(ledger)) == 2


def test_a_key_says_what_is_equal(engine: ExecutionEngine, tmp_path: Path) -> None:
    ledgers = [tmp_path / name for name in ("one", "two", "three")]
    key = f"{uuid.uuid4()} of ${{parameters.customer}}"
    for ledger, customer in zip(ledgers, ("ann", "ann", "bob"), strict=True):
        ledger.touch()
        plan = noting(ledger, cache={"ttl": "1h", "key": key})
        parameters = {"customer": customer}
        engine.execute(plan, parameters=parameters, timeout_seconds=60).unwrap()

    assert [len(read_lines(ledger)) for ledger in ledgers] == [1, 0, 1]


def test_a_key_that_leads_nowhere_fails_the_step(
    engine: ExecutionEngine, ledger: Path
) -> None:
    plan = noting(ledger, cache={"ttl": "1h", "key": "${parameters.customer.x}"})

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E007"
    assert "steps.a.cache.key" in result.error.message
    assert read_lines(ledger) == []


def test_each_item_looks_for_itself(engine: ExecutionEngine) -> None:
    def each(items: list[str]) -> Plan:
        return Plan(
            "each",
            parameters={"items": {"type": "array", "default": items}},
            steps=[
                Step(
                    "each",
                    "test.echo",
                    {"value": "${item}"},
                    for_each="parameters.items",
                    cache={**RULE, "key": "${item}"},
                ),
                Step("all", "test.echo", {"value": "${steps.each.results}"}),
            ],
        )

    a, b, c = (str(uuid.uuid4()) for _ in range(3))
    engine.execute(each([a, b]), timeout_seconds=60).unwrap()

    result = engine.execute(each([c, b, a]), timeout_seconds=60)

    assert result.unwrap() == [c, b, a]
    cached = list_cached(engine, result.execution_id)
    assert sorted(map(str, cached)) == ["each[1]", "each[2]"]


def test_what_failed_or_set_variables_is_not_stored(engine: ExecutionEngine) -> None:
    key = str(uuid.uuid4())
    step = Step(
        "a",
        "test.fail_until",
        {"attempt": 2},
        retry={"attempts": 2, "initial": "1ms"},
        cache={"ttl": "1h", "key": key},
    )

    results = [
        engine.execute(Plan("p", steps=[step]), timeout_seconds=60) for _ in range(2)
    ]

    assert [result.unwrap() for result in results] == [2, 2]
    assert list_cached(engine, results[1].execution_id) == []


def test_what_a_later_attempt_returned_is_stored(engine: ExecutionEngine) -> None:
    step = Step(
        "a",
        "test.throttled",
        {"seconds": 0.01},
        retry={"attempts": 2, "initial": "1ms"},
        cache={"ttl": "1h", "key": str(uuid.uuid4())},
    )
    plan = Plan("p", steps=[step])

    results = [engine.execute(plan, timeout_seconds=60) for _ in range(2)]

    assert [result.unwrap() for result in results] == [2, 2]
    assert list_cached(engine, results[1].execution_id) == ["a"]
