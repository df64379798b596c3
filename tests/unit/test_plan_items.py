"""Steps that run once for each item of a list: what a plan may say of them."""

from typing import Any

import pytest

from execution.errors import ExpressionError, PlanValidationError
from execution.expressions import evaluate_list
from execution.plan import Plan, Step


def plan_of(**fields: Any) -> Plan:
    step = {
        "id": "each",
        "action": "x.each",
        "with": {"x": "${item.name}", "n": "${index}"},
        "for_each": "steps.scan.result",
        **fields,
    }
    steps = [{"id": "scan", "action": "x.scan"}, step]
    return Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


def faults_of(**fields: Any) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(**fields)
    return {fault.place: fault.message for fault in raised.value.faults}


@pytest.mark.parametrize("written", ["steps.scan.result", " ${steps.scan.result} "])
def test_the_list_is_a_bare_expression_or_one_in_braces(written: str) -> None:
    step = plan_of(for_each=written).steps[1]

    assert (step.for_each, step.reads) == ("${steps.scan.result}", (0,))


@pytest.mark.parametrize(
    ("tolerate", "count", "percent"),
    [(None, None, None), (0, 0, None), (7, 7, None), ("2.5%", None, 2.5)],
)
def test_a_number_or_a_share_is_tolerated(
    tolerate: object, count: int | None, percent: float | None
) -> None:
    step = Step("a", action="x.a", for_each="parameters.l", tolerate=tolerate)  # type: ignore[arg-type]  # what a caller may try
    plan = Plan("p", steps=[step], parameters={"l": {"type": "array"}})

    assert (plan.steps[0].tolerate, plan.steps[0].tolerate_percent) == (count, percent)


@pytest.mark.parametrize("tolerate", [-1, 10_001, "101%", "10", "%", True, 1.5])
def test_any_other_tolerance_is_refused(tolerate: object) -> None:
    assert "a share such as 10%" in faults_of(tolerate=tolerate)["steps[1].tolerate"]


@pytest.mark.parametrize("parallel", [0, 10_001, "2"])
def test_how_many_run_at_a_time_is_a_number(parallel: object) -> None:
    assert list(faults_of(max_parallel=parallel)) == ["steps[1].max_parallel"]


def test_what_belongs_to_a_list_needs_one() -> None:
    steps = [{"id": "a", "action": "x.a", "max_parallel": 2, "tolerate": 1}]

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping({"format": 1, "name": "p", "steps": steps})

    assert [fault.place for fault in raised.value.faults] == [
        *("steps[0].max_parallel", "steps[0].tolerate"),
    ]


def test_items_are_known_only_where_there_are_some() -> None:
    steps = [{"id": "a", "action": "x.a", "with": {"x": "${item}"}}]

    with pytest.raises(PlanValidationError, match="`item`"):
        Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


def test_the_list_itself_cannot_name_an_item() -> None:
    assert "`item`" in faults_of(for_each="item.children")["steps[1].for_each"]


def test_a_step_of_the_end_has_no_items() -> None:
    faults = faults_of(run_on="always", deadline="1m")

    assert "let the action loop" in faults["steps[1].for_each"]


def test_a_tolerance_without_skips_is_warned_of() -> None:
    assert any("`tolerate` of each" in str(w) for w in plan_of(tolerate=1).warnings)
    tolerant = plan_of(tolerate="10%", on_failure="skip")
    assert not any("tolerate" in str(warning) for warning in tolerant.warnings)


@pytest.mark.parametrize("value", [1, "text", {"a": 1}, None, True])
def test_a_list_is_a_list(value: object) -> None:
    with pytest.raises(ExpressionError, match=r"here: .* must be a list"):
        evaluate_list("x", {"x": value}, place="here")

    assert evaluate_list("${x}", {"x": [value]}, place="here") == [value]


def test_items_read_what_their_inputs_name_and_not_the_list() -> None:
    steps = [
        Step("scan", action="a"),
        Step("rate", action="a"),
        Step(
            "parse",
            action="a",
            for_each="steps.scan.result",
            with_={"rate": "${steps.rate.result}"},
        ),
    ]

    parse = Plan("p", steps=steps).steps[2]

    assert (parse.reads, parse.item_reads) == ((0, 1), (1,))


def test_what_is_not_undone_of_a_list_is_warned_of() -> None:
    warnings = list(map(str, plan_of(undo={"action": "x.undo"}).warnings))

    assert any("each.undo runs only when all items" in w for w in warnings)
