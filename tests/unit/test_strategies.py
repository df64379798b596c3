"""Recovery strategies: how they are registered, and what plans make of them."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from execution import Recovery, recovery_strategy
from execution.actions import ActionRegistry, action, registry
from execution.catalogue import ActionSummary, check_names
from execution.cli.offering import build_actions_table, choose_action
from execution.comparison import compare_plans
from execution.drawing.pictures import picture_plan
from execution.errors import ActionRegistrationError, ResultError
from execution.explanation import explain_plan
from execution.language.compilation import OnFailure, is_recovery
from execution.language.findings import Findings
from execution.recovery import RecoveryKind, read_decision
from execution.states import Section
from execution.strategies import add_strategy
from tests.rows import NOW
from tests.unit.test_plan_fallbacks import falling_back, faults_of, plan_of


def asking(name: str, strategy: str = "triage", **fields: Any) -> dict[str, Any]:
    return {"id": name, "on_failure": {"strategy": strategy}, **fields}


def decide(failure: dict[str, Any]) -> Recovery:
    return Recovery.complete(failure["code"])


# what is decided


@pytest.mark.parametrize(
    ("decision", "written"),
    [
        (Recovery.complete([1]), {"kind": "complete", "result": [1], "step": None}),
        (Recovery.complete(), {"kind": "complete", "result": None, "step": None}),
        (Recovery.skip(), {"kind": "skip", "result": None, "step": None}),
        (Recovery.abort(), {"kind": "abort", "result": None, "step": None}),
        (Recovery.retry(), {"kind": "restore", "result": None, "step": None}),
        (Recovery.restore("a"), {"kind": "restore", "result": None, "step": "a"}),
    ],
)
def test_a_decision_is_written_as_json(
    decision: Recovery, written: dict[str, Any]
) -> None:
    assert read_decision(decision) == written
    assert decision.kind in RecoveryKind


def test_what_is_no_decision_is_refused() -> None:
    with pytest.raises(ResultError, match="this one returned dict"):
        read_decision({"kind": "skip"})


# how they are registered


@pytest.fixture
def clean() -> Iterator[None]:
    before = dict(registry._actions)
    yield
    registry._actions.clear()
    registry._actions.update(before)


@pytest.mark.usefixtures("clean")
def test_a_strategy_is_registered_and_stays_callable() -> None:
    registered = recovery_strategy("triage", timeout="30s")(decide)

    known = registry.get("strategy:triage")
    assert (registered, known.timeout_seconds) == (decide, 30.0)
    called = known.call(None, {"failure": {"code": "E003"}})
    assert called == {"kind": "complete", "result": "E003", "step": None}


def test_a_strategy_may_be_a_coroutine_and_take_its_context() -> None:
    async def wait(ctx: object, failure: dict[str, Any]) -> Recovery:
        return Recovery.complete([ctx, failure])

    known = add_strategy(ActionRegistry(), "triage", wait, None)

    assert known.call("here", {"failure": {}})["result"] == ["here", {}]


def test_a_strategy_has_to_take_the_failure() -> None:
    def choose(reason: str) -> Recovery:
        return Recovery.skip()

    with pytest.raises(ActionRegistrationError, match="is asked with `failure`"):
        add_strategy(ActionRegistry(), "triage", choose, None)


def test_a_strategy_and_an_action_may_have_one_name() -> None:
    known = ActionRegistry()
    known.add("triage", inspect.getdoc, None)
    add_strategy(known, "triage", decide, None)

    assert known.list_names() == ["strategy:triage", "triage"]


def test_an_action_is_not_called_as_a_strategy() -> None:
    with pytest.raises(ActionRegistrationError, match="use @recovery_strategy"):
        action("strategy:triage")(decide)


# what plans make of them


def test_a_strategy_is_asked_by_a_step_that_stands_in() -> None:
    plan = plan_of(
        {"id": "r", "undo": {"action": "x.u"}},
        asking("a", queue="big"),
        {"id": "b"},
        defaults={"timeout": "5s", "queue": "small"},
    )

    *_, undo, recovery = plan.steps
    a = plan.steps[1]
    assert (a.on_failure, a.fallback) == (OnFailure.STRATEGY, 4)
    assert (a.successors, plan.result_reads) == ((2,), (2,))
    assert (undo.name, recovery.name, recovery.position) == ("r.undo", "a.recovery", 4)
    assert (recovery.section, recovery.stands_in_for) == (Section.STEPS, 1)
    assert (recovery.action, recovery.queue) == ("strategy:triage", "big")
    assert (recovery.timeout_seconds, recovery.on_failure) == (5.0, OnFailure.ABORT)
    assert [is_recovery(step) for step in plan.steps] == [False] * 4 + [True]


def test_a_fallback_asks_as_well() -> None:
    plan = plan_of(falling_back("a", "f"), asking("f"))

    assert [step.stands_in_for for step in plan.steps] == [None, 0, 1]


@pytest.mark.parametrize(
    ("steps", "place", "message"),
    [
        (
            [asking("a", for_each="[1]")],
            "steps[0].on_failure",
            "`for_each` and a strategy cannot be stated together",
        ),
        (
            [{"id": "a"}, asking("e", run_on="always", deadline="1m")],
            "steps[1].on_failure",
            "`run_on` and a strategy cannot be stated together",
        ),
        ([asking("a", "two words")], "steps[0].on_failure", "without spaces"),
        (
            [{"id": "a", "on_failure": {"strategy": ["x"]}}],
            "steps[0].on_failure",
            "must be abort",
        ),
        (
            [{"id": "a", "on_failure": {"strategy": "x", "times": 1}}],
            "steps[0].on_failure",
            "must be abort",
        ),
    ],
)
def test_a_strategy_that_makes_no_sense_is_refused(
    steps: list[dict[str, Any]], place: str, message: str
) -> None:
    assert message in faults_of(*steps)[place]


def test_a_strategy_that_is_not_known_is_refused_with_the_nearest() -> None:
    plan, findings = plan_of({"id": "r"}, asking("a", "triag")), Findings()
    known = ["x.a", "strategy:triage", "triag.x"]

    check_names(plan.steps, known, findings)

    (fault,) = plan.locate(findings)
    assert (fault.place, fault.message) == (
        "steps[1].on_failure.strategy",
        'no worker has published the strategy "triag"; did you mean "triage"?',
    )


def test_a_strategy_is_no_suggestion_for_an_action() -> None:
    plan, findings = plan_of({"id": "a", "action": "strategytriage"}), Findings()

    check_names(plan.steps, ["strategy:triage"], findings)

    (fault,) = plan.locate(findings)
    assert "did you mean" not in fault.message


def test_a_strategy_is_compared_by_its_name() -> None:
    (change,) = compare_plans(plan_of(asking("a")), plan_of(asking("a", "b"))).changes

    assert change.place == "steps.a.on_failure.strategy"
    assert (change.before, change.after) == ("triage", "b")


def test_a_strategy_is_explained() -> None:
    explained = explain_plan(plan_of(asking("a"), {"id": "b"}))

    a, _, recovery = explained.steps
    assert explained.waves == (("a",), ("b",))
    assert (a.on_failure, a.fallback) == (OnFailure.STRATEGY, "a.recovery")
    assert a.skipped_if == ("it fails for good, and its strategy decides so",)
    assert recovery.stands_in_for == "a"


def test_a_strategy_hangs_on_its_step() -> None:
    picture = picture_plan(plan_of(asking("a"), {"id": "b"}))

    assert [edge.label for edge in picture.edges if edge.after == 2] == ["strategy"]


# how they are listed


def summarise(name: str) -> ActionSummary:
    return ActionSummary(name, None, None, None, None, NOW, (), ())


def test_strategies_are_listed_as_such() -> None:
    table = build_actions_table([summarise("strategy:triage"), summarise("triage")])

    assert list(table.columns[0].cells) == ["strategy triage", "triage"]


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("triage", "triage"),
        ("strategy:triage", "strategy:triage"),
        ("other", "strategy:other"),
    ],
)
def test_a_strategy_is_found_by_its_name(name: str, chosen: str) -> None:
    known = ["strategy:other", "strategy:triage", "triage"]

    assert choose_action([summarise(each) for each in known], name).name == chosen
