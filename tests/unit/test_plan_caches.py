"""Results that are used again: what a plan says of them, what they are known by."""

from typing import Any

import pytest
from typer.testing import CliRunner

from execution.caching import CachePlace, CacheRule, compute_digest
from execution.cli.app import app
from execution.comparison import compare_plans
from execution.errors import PlanValidationError
from execution.explanation import explain_plan
from execution.plan import Plan, Step


def plan_of(**fields: Any) -> Plan:
    step = {"id": "a", "action": "x.a", **fields}
    return Plan.from_mapping({"format": 1, "name": "p", "steps": [step]})


def faults_of(**fields: Any) -> dict[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        plan_of(**fields)
    return {fault.place: fault.message for fault in raised.value.faults}


def test_a_step_says_how_old_a_result_may_be() -> None:
    assert plan_of(cache={"ttl": "1h30m"}).steps[0].cache == CacheRule(5400.0)


def test_a_plan_in_python_is_the_same_plan() -> None:
    cache = {"ttl": "1h", "key": "k"}
    steps = [Step("a", action="x.a", cache=cache)]

    assert Plan("p", steps=steps) == plan_of(cache=cache)


def test_a_step_without_a_rule_has_none() -> None:
    assert plan_of().steps[0].cache is None


@pytest.mark.parametrize(
    ("cache", "place", "message"),
    [
        ({}, "ttl", "is missing"),
        ({"key": "a"}, "ttl", "is missing"),
        ({"ttl": "0s"}, "ttl", "longer than nothing; 1ms is the shortest"),
        ({"ttl": 60}, "ttl", "a number needs a unit"),
        ({"ttl": "1h", "key": 5}, "key", "must be text"),
        ({"ttl": "1h", "key": "${item}"}, "key", "only for_each has it"),
        ({"ttl": "1h", "key": "${steps.b.result}"}, "key", "no step is called"),
        ({"ttl": "1h", "key": "${1 +}"}, "key", "1 +"),
        ({"ttl": "1h", "key": "secret://KEY"}, "key", "secret"),
        ({"ttl": "1h", "max_age": "1h"}, "max_age", 'write "ttl"'),
    ],
)
def test_a_faulty_rule_is_refused(
    cache: dict[str, object], place: str, message: str
) -> None:
    faults = faults_of(cache=cache)

    assert list(faults) == [f"steps[0].cache.{place}"]
    assert message in faults[f"steps[0].cache.{place}"]


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ({"run_on": "always", "deadline": "1m"}, "beside `run_on`"),
        ({"undo": {"action": "x.b"}}, "beside `undo`"),
    ],
)
def test_what_has_to_run_each_time_cannot_state_one(
    beside: dict[str, object], message: str
) -> None:
    assert message in faults_of(cache={"ttl": "1h"}, **beside)["steps[0].cache"]


def test_only_what_an_action_returns_is_used_again() -> None:
    steps = [{"id": "a", "cache": {"ttl": "1h"}}]

    with pytest.raises(PlanValidationError, match="only what an action returns"):
        Plan.from_mapping({"format": 1, "name": "p", "steps": steps})


def test_what_undoes_a_step_cannot_state_one() -> None:
    undo = {"action": "x.b", "cache": {"ttl": "1h"}}

    assert "has to run each time" in faults_of(undo=undo)["steps[0].undo.cache"]


def test_policies_cannot_state_one() -> None:
    steps = [{"id": "a", "action": "x.a"}]
    fields = {"format": 1, "name": "p", "defaults": {"cache": {"ttl": "1h"}}}

    with pytest.raises(PlanValidationError, match="by each step itself"):
        Plan.from_mapping({**fields, "steps": steps})


def test_a_document_without_steps_has_no_further_fault() -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping({"format": 1, "name": "p", "steps": "none"})

    assert [fault.place for fault in raised.value.faults] == ["steps"]


def test_an_item_reads_what_its_key_names() -> None:
    steps = [
        {"id": "list", "action": "x.a"},
        {"id": "rate", "action": "x.a"},
        {
            "id": "each",
            "action": "x.a",
            "for_each": "steps.list.result",
            "with": {"x": "${item}"},
            "cache": {"ttl": "1h", "key": "${item} at ${steps.rate.result}"},
        },
    ]

    plan = Plan.from_mapping({"format": 1, "name": "p", "steps": steps})

    assert (plan.steps[2].reads, plan.steps[2].item_reads) == ((0, 1), (1,))


def test_a_rule_is_stored_and_read_again() -> None:
    for rule in (CacheRule(1.5), CacheRule(2.0, "${parameters.x}")):
        assert CacheRule.from_json(rule.to_json()) == rule


def test_equal_inputs_have_one_digest_however_they_are_ordered() -> None:
    digest = compute_digest("x.a", "inputs", {"a": 1, "b": [2, {"c": 3, "d": 4}]})

    assert digest == compute_digest(
        "x.a", "inputs", {"b": [2, {"d": 4, "c": 3}], "a": 1}
    )
    assert len(CachePlace(digest, 1.0).digest) == 64


@pytest.mark.parametrize(
    ("action", "kind", "value"),
    [
        ("x.b", "inputs", {"a": 1}),
        ("x.a", "key", {"a": 1}),
        ("x.a", "inputs", {"a": True}),
        ("x.a", "inputs", {"a": "1"}),
        ("x.a", "inputs", {"a": 1, "b": None}),
    ],
)
def test_whatever_differs_has_another_digest(
    action: str, kind: str, value: object
) -> None:
    assert compute_digest(action, kind, value) != compute_digest(
        "x.a", "inputs", {"a": 1}
    )


def test_another_rule_is_a_change_and_another_spelling_is_none() -> None:
    before = plan_of(cache={"ttl": "60m", "key": "${ execution.id }"})
    after = plan_of(cache={"ttl": "2h", "key": "${execution.id}"})

    changes = compare_plans(before, after).changes

    assert [(c.place, c.before, c.after) for c in changes] == [
        ("steps.a.cache.ttl", "1h", "2h")
    ]


def test_an_explanation_has_the_rule_and_what_its_key_reads() -> None:
    plan = plan_of(cache={"ttl": "1h", "key": "k ${execution.id}"})

    (step,) = explain_plan(plan).steps

    assert step.cache == CacheRule(3600.0, "k ${execution.id}")
    assert step.reads == ("execution.id",)


@pytest.mark.parametrize(
    ("key", "said"),
    [("", "of equal inputs and up to 1h old"), (", key: k", "of equal key k and up")],
)
def test_people_are_told_what_may_be_used_again(
    tmp_path: Any, key: str, said: str
) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "format: 1\nname: p\nsteps:\n"
        f"  - {{id: a, action: x.a, cache: {{ttl: 1h{key}}}}}\n"
    )

    shown = CliRunner().invoke(app, ["explain", str(path)]).stdout

    assert f"a uses a result of x.a again, {said}" in " ".join(shown.split())
