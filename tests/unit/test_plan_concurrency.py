"""Keyed executions: what a plan may say of its key."""

from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.explanation import explain_plan
from execution.plan import Concurrency, OnConflict, Plan, Step

PARAMETERS = {
    "customer": {"type": "string"},
    "count": {"type": "integer"},
    "more": {"type": "object"},
    "parts": {"type": "array"},
}


def plan_of(**concurrency: object) -> Plan:
    return Plan(
        "p",
        parameters=PARAMETERS,
        concurrency=concurrency,
        steps=[Step("a", action="x.a")],
    )


def fault_of(**concurrency: object) -> str:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(**concurrency)
    (fault,) = raised.value.faults
    return str(fault)


def test_a_plan_has_no_key_unless_it_says_so() -> None:
    assert Plan("p", steps=[Step("a", action="x.a")]).concurrency is None


def test_what_is_stated_is_kept() -> None:
    key = "eu-${parameters.customer}"

    plan = plan_of(key=key, limit=3, on_conflict="reject")

    parts = ("eu-", ("customer",))
    assert plan.concurrency == Concurrency(key, parts, 3, OnConflict.REJECT)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("all", ("all",)),
        ("${parameters.count}", (("count",),)),
        ("${parameters.more.a.0}!", (("more", "a", "0"), "!")),
        ("${ parameters.parts.1 }", (("parts", "1"),)),
        ("$${parameters.x}", ("${parameters.x}",)),
    ],
)
def test_a_key_is_made_of_texts_and_paths(key: str, parts: tuple[Any, ...]) -> None:
    concurrency = plan_of(key=key).concurrency

    assert concurrency is not None
    assert concurrency.key_parts == parts


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("${steps.a.result}", "${steps.a.result}: a key is made of texts"),
        ("${execution.id}", "a key is made of texts"),
        ("${parameters.count + 1}", "a key is made of texts"),
        ("${text(parameters.more)}", "a key is made of texts"),
        ("${parameters}", "`parameters` alone is no value"),
        ("${parameters.custmer}", 'did you mean "customer"?'),
        ("${parameters.more}", "which is no text; name a part of it"),
        ("${parameters.parts}", "is of type array, which is no text"),
        ("${parameters.customer.x}", "is of type string, and has no parts"),
        ("${parameters.customer", "is not closed"),
        ("secret://KEY", "secret"),
        ("", "1 character"),
        ("x" * 1025, "1024"),
        (7, "must be text"),
    ],
)
def test_any_other_key_is_refused(key: object, message: str) -> None:
    fault = fault_of(key=key)

    assert fault.startswith("concurrency.key: ")
    assert message in fault


def test_every_fault_of_a_key_is_told() -> None:
    fault = fault_of(key="${parameters.x}-${parameters.more}")

    assert 'no parameter is called "x"' in fault
    assert "name a part of it" in fault


@pytest.mark.parametrize("limit", [0, -1, 10_001, "2", True, 1.5])
def test_a_limit_is_a_number(limit: object) -> None:
    assert fault_of(key="k", limit=limit).startswith("concurrency.limit: ")


def test_what_becomes_of_more_is_one_of_three() -> None:
    assert "'queue', 'reject' or 'cancel_older'" in fault_of(
        key="k", on_conflict="drop"
    )


def test_a_field_of_another_tool_names_ours() -> None:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(group="k")

    assert 'concurrency.group: is not a field here; write "key"' in str(raised.value)


def test_faulty_parameters_are_told_once() -> None:
    document = {
        "format": 1,
        "name": "p",
        "parameters": {"customer": "string"},
        "concurrency": {"key": "${parameters.customer}"},
        "steps": [{"id": "a", "action": "x.a"}],
    }

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping(document)

    assert [fault.place for fault in raised.value.faults] == ["parameters.customer"]


@pytest.mark.parametrize("parameters", [[], {"customer": {"type": []}}])
def test_what_is_not_understood_is_left_to_others(parameters: object) -> None:
    document = {
        "format": 1,
        "name": "p",
        "parameters": parameters,
        "concurrency": {"key": "${parameters.customer}"},
        "steps": [{"id": "a", "action": "x.a"}],
    }

    with pytest.raises(PlanValidationError):
        Plan.from_mapping(document)


def test_what_only_the_key_reads_is_used() -> None:
    plan = Plan(
        "p",
        parameters={"customer": {"type": "string"}},
        concurrency={"key": "${parameters.customer}"},
        steps=[Step("a", action="x.a", timeout="1s")],
    )

    assert explain_plan(plan).warnings == ()


def test_concurrency_is_a_mapping() -> None:
    with pytest.raises(PlanValidationError, match="must be a mapping"):
        Plan.from_mapping(
            {
                "format": 1,
                "name": "p",
                "concurrency": "k",
                "steps": [{"id": "a", "action": "x.a"}],
            }
        )
