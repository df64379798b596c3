"""What a plan would do: waves, queues, reads, skips, and what is likely a mistake."""

from collections.abc import Sequence
from typing import Any

import pytest

from execution.explanation import Explanation, QueueShare, StepOutlook, explain_plan
from execution.plan import OnFailure, Plan, Repetition, Step

DIAMOND = Plan(
    "diamond",
    version="2",
    deadline="1h",
    parameters={
        "day": {"type": "string", "required": True},
        "more": {"type": "object"},
    },
    steps=[
        Step("start", action="a.start", needs=[], with_={"day": "${parameters.day}"}),
        Step("right", action="a.right", needs=["start"], on_failure="skip"),
        Step(
            "left",
            action="a.left",
            needs=["start"],
            queue="slow",
            timeout="10s",
            deadline="5m",
            priority=3,
            retry={"attempts": 4, "max_lost": 2},
            with_={
                "both": ["${steps.start.result.rows}", "on ${parameters.day}"],
                "more": "${parameters.more}",
                "fixed": {"n": 1},
            },
        ),
        Step("late", action="a.late", needs=["left"]),
        Step("end", action="a.end", needs=["right", "late"]),
    ],
)


def outlook(explanation: Explanation, name: str) -> StepOutlook:
    (found,) = [step for step in explanation.steps if step.name == name]
    return found


def explain(*steps: Step, **fields: Any) -> Explanation:
    """Explain a plan whose steps all have limits."""
    return explain_plan(Plan("p", steps=steps, deadline="1h", **fields))


def step(name: str, needs: Sequence[str] | None = None, **fields: Any) -> Step:
    return Step(name, action="a.b", needs=needs, **fields)


def test_steps_that_can_run_at_once_are_one_wave() -> None:
    explanation = explain_plan(DIAMOND)

    assert explanation.waves == (("start",), ("right", "left"), ("late",), ("end",))
    assert outlook(explanation, "late").wave == 3


def test_the_longest_path_is_the_one_with_most_steps() -> None:
    assert explain_plan(DIAMOND).longest_path == ("start", "left", "late", "end")


def test_a_plan_is_told_with_its_version_deadline_and_queues() -> None:
    explanation = explain_plan(DIAMOND)

    assert (explanation.plan, explanation.version) == ("diamond", "2")
    assert explanation.digest == DIAMOND.digest
    assert explanation.deadline_seconds == 3600
    assert explanation.queues == (QueueShare(None, 4), QueueShare("slow", 1))
    assert explanation.result_reads == ("end",)


def test_a_step_is_told_with_its_policies_and_reads() -> None:
    left = outlook(explain_plan(DIAMOND), "left")

    assert (left.action, left.queue, left.priority) == ("a.left", "slow", 3)
    assert (left.timeout_seconds, left.deadline_seconds) == (10, 300)
    assert (left.retry.max_attempts, left.max_lost) == (4, 2)
    assert left.on_failure is OnFailure.ABORT
    assert left.needs == ("start",)
    assert left.reads == (
        "parameters.day",
        "parameters.more",
        "steps.start.result.rows",
    )


def test_inputs_stay_as_written_without_parameters() -> None:
    explanation = explain_plan(DIAMOND)

    assert explanation.parameters is None
    assert outlook(explanation, "start").inputs == {"day": "${parameters.day}"}


def test_inputs_that_parameters_decide_are_filled_in() -> None:
    explanation = explain_plan(DIAMOND, DIAMOND.bind({"day": "Monday"}))

    assert explanation.parameters == {"day": "Monday", "more": None}
    assert outlook(explanation, "start").inputs == {"day": "Monday"}
    assert outlook(explanation, "left").inputs == {
        "both": ["${steps.start.result.rows}", "on ${parameters.day}"],
        "more": None,
        "fixed": {"n": 1},
    }


def test_an_input_that_parameters_make_fail_is_a_warning() -> None:
    plan = Plan(
        "p",
        deadline="1h",
        parameters={"more": {"type": "object"}},
        steps=[step("a", with_={"x": "${parameters.more.size}"})],
    )

    explanation = explain_plan(plan, {"more": {"sice": 1}})

    (warning,) = map(str, explanation.warnings)
    assert warning == (
        'steps.a.with.x: ${parameters.more.size}: parameters.more has no "size"; did'
        ' you mean "sice"?, so the step would fail'
    )
    assert outlook(explanation, "a").inputs == {"x": "${parameters.more.size}"}
    assert explain_plan(plan).warnings == ()


# skips


def test_a_failure_that_is_skipped_over_is_a_reason() -> None:
    explanation = explain_plan(DIAMOND)

    assert outlook(explanation, "right").skipped_if == ("it fails for good",)
    assert outlook(explanation, "start").skipped_if == ()


def test_a_skip_runs_down_a_line_and_stops_at_a_join_with_a_live_branch() -> None:
    explanation = explain(
        step("first", [], on_failure="skip"),
        step("second", ["first"], on_failure="skip"),
        step("other", []),
        step("join", ["second", "other"]),
    )

    second = outlook(explanation, "second")
    assert second.skipped_if == ("it fails for good", "first is skipped")
    assert outlook(explanation, "join").skipped_if == ()


def test_a_join_whose_branches_can_all_be_skipped_can_be_too() -> None:
    branches = [step(f"b{i}", [], on_failure="skip") for i in range(7)]

    explanation = explain(*branches, step("join", [b.id for b in branches]))

    assert outlook(explanation, "join").skipped_if == (
        "b0, b1, b2, b3, b4 and 2 more are all skipped",
    )


def test_in_a_sequence_a_skip_stops_nothing() -> None:
    explanation = explain(step("one", on_failure="skip"), step("two"))

    assert outlook(explanation, "two").skipped_if == ()


def test_a_step_for_each_item_is_told_with_its_list() -> None:
    explanation = explain(
        step("one", with_={"x": "${parameters.n}"}),
        step("two", for_each="steps.one.result.rows", max_parallel=3),
        parameters={"n": {"type": "integer"}},
    )

    two = outlook(explanation, "two")
    assert (two.for_each, two.max_parallel) == ("${steps.one.result.rows}", 3)
    assert two.reads == ("steps.one.result.rows",)
    assert explanation.warnings == ()


def test_a_sleep_is_told_with_what_is_known_of_its_length() -> None:
    plan = Plan(
        "p",
        parameters={"pause": {"type": "duration"}},
        steps=[
            Step("one", sleep="${parameters.pause}"),
            Step("two", sleep_until="2026-12-01T08:00:00Z"),
        ],
    )

    explanation = explain_plan(plan, plan.bind({"pause": "2h"}))

    one, two = outlook(explanation, "one"), outlook(explanation, "two")
    assert (one.action, one.sleep, one.inputs) == (None, {"for": "2h"}, {})
    assert two.sleep == {"until": "2026-12-01T08:00:00Z"}
    assert explanation.warnings == ()


def test_a_loop_is_told_with_what_it_repeats() -> None:
    explanation = explain(
        Step(
            "two",
            repeat={
                "action": "a.b",
                "with": {"n": "${parameters.n + 1}", "before": "${last}"},
                "until": "last.done",
                "times": 3,
            },
            timeout="1m",
        ),
        parameters={"n": {"type": "integer", "default": 1}},
    )

    two = outlook(explanation, "two")
    assert (two.action, two.repeat) == ("a.b", Repetition("last.done", 3, None))
    assert two.reads == ("last", "last.done", "parameters.n")
    assert explanation.warnings == ()


# what comes after the steps


ORDER = Plan(
    "order",
    rollback="on_failure",
    deadline="1h",
    steps=[
        Step(
            "charge",
            action="p.charge",
            undo={
                "action": "p.refund",
                "timeout": "5s",
                "deadline": "1m",
                "with": {
                    "one": "${steps.charge.result.id}",
                    "two": "${step.result.id}",
                },
            },
        ),
        Step("ship", action="p.ship"),
        Step("mend", action="p.mend", run_on="failure", deadline="1m"),
        Step(
            "report",
            action="p.report",
            run_on="always",
            deadline="1m",
            with_={"parcel": "${steps.ship.result.parcel}"},
        ),
    ],
)


def test_what_comes_after_the_steps_is_in_no_wave() -> None:
    explanation = explain_plan(ORDER)

    assert explanation.waves == (("charge",), ("ship",))
    assert explanation.longest_path == ("charge", "ship")
    assert explanation.end == ("mend", "report")
    told = [(s.name, s.section.value, s.wave, s.undoes) for s in explanation.steps]
    assert told == [
        ("charge", "steps", 1, None),
        ("ship", "steps", 2, None),
        ("mend", "end", None, None),
        ("report", "end", None, None),
        ("charge.undo", "rollback", None, "charge"),
    ]


def test_what_comes_after_the_steps_is_told_with_what_leaves_it_out() -> None:
    explanation = explain_plan(ORDER)

    undo = outlook(explanation, "charge.undo")
    assert undo.skipped_if == ("charge has not completed, or is not undone",)
    assert outlook(explanation, "mend").skipped_if == ("all goes well",)
    assert outlook(explanation, "report").skipped_if == ()


def test_a_step_of_the_end_may_find_no_results() -> None:
    (warning,) = map(str, explain_plan(ORDER).warnings)

    assert warning == (
        "leads nowhere if that step did not complete: report reads"
        " steps.ship.result.parcel"
    )


# conditions, fallbacks, secrets


def test_what_undoes_and_what_has_items_may_read_their_own() -> None:
    explanation = explain(
        step(
            "one",
            for_each="[1, 2]",
            with_={"x": "${item}", "y": "${index + 1}"},
            undo={"action": "a.c", "with": {"z": "${step.result}"}},
        ),
        rollback="on_failure",
    )

    one, undo = explanation.steps
    assert (one.reads, undo.reads) == (("index", "item"), ("step.result",))


def test_paths_inside_of_expressions_are_read() -> None:
    explanation = explain(
        step("one"),
        step(
            "two",
            when="${size(steps.one.result.rows) > parameters.n}",
            with_={
                "x": "${[1].map(i, i + parameters.m)}",
                "y": 'a ${steps.one.result["net total"] + 1}',
            },
        ),
        parameters={"n": {"type": "integer"}, "m": {"type": "integer"}},
    )

    two = outlook(explanation, "two")
    assert two.reads == (
        *("parameters.m", "parameters.n"),
        *("steps.one.result.rows", 'steps.one.result["net total"]'),
    )
    assert two.when == "size(steps.one.result.rows) > parameters.n"
    assert explanation.warnings == ()


def test_expressions_are_worked_out_only_where_all_of_them_is_known() -> None:
    plan = Plan(
        "p",
        deadline="1h",
        parameters={"n": {"type": "integer", "default": 2}},
        steps=[
            step("one"),
            step(
                "two",
                with_={
                    "sum": "${parameters.n + 1}",
                    "open": "${parameters.n + steps.one.result}",
                    "id": "${execution.id}",
                    "key": "secret://KEY",
                },
            ),
        ],
    )

    two = outlook(explain_plan(plan, plan.bind({})), "two")

    assert two.inputs == {
        "sum": 3,
        "open": "${parameters.n + steps.one.result}",
        "id": "${execution.id}",
        "key": "secret://KEY",
    }
    assert two.secrets == ("KEY",)


def explain_condition(when: str, **values: object) -> Explanation:
    plan = Plan(
        "p",
        deadline="1h",
        parameters={"n": {"type": "integer", "default": 2}},
        steps=[
            step("one", [], when=when, with_={"x": "${parameters.n.x}"}),
            step("two", ["one"]),
        ],
    )
    return explain_plan(plan, plan.bind(values))


def test_a_condition_that_may_be_false_is_a_reason_and_runs_on() -> None:
    explanation = explain_condition("execution.id != ''")

    one, two = explanation.steps
    assert (one.when, one.when_holds) == ("execution.id != ''", None)
    assert one.skipped_if == ("its condition is false: execution.id != ''",)
    assert two.skipped_if == ("one is skipped",)


def test_a_condition_that_parameters_make_true_is_no_reason() -> None:
    explanation = explain_condition("parameters.n > 1")

    one, two = explanation.steps
    assert one.when_holds is True
    assert (one.skipped_if, two.skipped_if) == ((), ())
    assert len(explanation.warnings) == 1  # of the input that leads nowhere


def test_where_a_condition_is_false_no_input_can_fail() -> None:
    explanation = explain_condition("parameters.n > 1", n=0)

    one, two = explanation.steps
    assert one.when_holds is False
    assert one.skipped_if == ("its condition is false: parameters.n > 1",)
    assert two.skipped_if == ("one is skipped",)
    assert explanation.warnings == ()


def test_a_condition_that_parameters_make_fail_is_a_warning() -> None:
    (of_condition, _) = map(str, explain_condition("parameters.n").warnings)

    assert of_condition == (
        "steps.one.when: ${parameters.n} is a number, and a condition is true or"
        " false, so the step would fail"
    )


def test_items_are_counted_where_parameters_decide_them() -> None:
    plan = Plan(
        "p",
        deadline="1h",
        parameters={"rows": {"type": "array", "default": [1, 2]}},
        steps=[
            step("one", for_each="parameters.rows", tolerate="2.50%"),
            step("two", for_each="parameters.rows", tolerate=3, on_failure="skip"),
            step("three", for_each="parameters.rows", deadline="1m", on_failure="skip"),
        ],
    )

    one, two, three = explain_plan(plan, plan.bind({})).steps

    assert (one.items, one.tolerate, one.skipped_if) == (2, "2.5%", ())
    assert (two.items, two.tolerate) == (2, 3)
    assert two.skipped_if == ("its list cannot be evaluated",)
    assert three.skipped_if == ("its list cannot be evaluated, or its deadline passes",)
    assert explain_plan(plan).steps[0].items is None


@pytest.mark.parametrize(
    ("policy", "reasons"),
    [
        ({}, ()),
        ({"on_failure": "skip"}, ("it fails for good, and spare is skipped",)),
        (
            {"when": 'failure.code == "E002"'},
            ("it fails for good, and spare is skipped",),
        ),
    ],
)
def test_a_fallback_is_outside_of_the_order(
    policy: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    explanation = explain(
        step("one", on_failure={"fallback": "spare"}),
        step("spare", **policy),
        step("two"),
    )

    one, spare, two = explanation.steps
    assert explanation.waves == (("one",), ("two",))
    assert explanation.longest_path == ("one", "two")
    assert (one.fallback, one.stands_in_for, one.skipped_if) == ("spare", None, reasons)
    assert (spare.wave, spare.needs, spare.stands_in_for) == (None, (), "one")
    assert spare.skipped_if[0] == "one does not fail for good"
    assert two.needs == ("one",)
    assert explanation.warnings == ()


# warnings


@pytest.mark.parametrize(
    "fields",
    [
        {
            "when": 'steps.one.status == "completed"',
            "with_": {"x": "${steps.one.result.rows}"},
        },
        {"with_": {"x": "${steps.one.result == null ? 0 : steps.one.result.rows}"}},
        {"with_": {"x": '${steps.one.error == null ? steps.one.result["rows"] : 0}'}},
        {"with_": {"x": '${get(steps.one.result, "rows", 0)}'}},
    ],
    ids=["when", "result", "error", "get"],
)
def test_who_asks_how_a_step_ended_is_not_warned(fields: dict[str, Any]) -> None:
    assert explain(step("one", on_failure="skip"), step("two", **fields)).warnings == ()


def test_a_condition_about_something_else_is_no_guard() -> None:
    read = {"x": "${1 + steps.one.result.rows}"}

    explanation = explain(
        step("one", on_failure="skip"), step("two", when="1 < 2", with_=read)
    )

    (warning,) = map(str, explanation.warnings)
    assert warning.endswith(": two reads steps.one.result.rows")


@pytest.mark.parametrize(
    ("path", "is_warned_of"),
    [("steps.one.result.rows", True), ("steps.one.result", False)],
)
def test_a_path_into_a_result_that_may_be_missing_is_a_warning(
    path: str, is_warned_of: bool
) -> None:
    explanation = explain(
        step("one", on_failure="skip"), step("two", with_={"x": f"${{{path}}}"})
    )

    expected = f"leads nowhere if that step did not complete: two reads {path}"
    sentences = [str(warning) for warning in explanation.warnings]
    assert sentences == ([expected] if is_warned_of else [])


def test_a_reader_that_is_skipped_along_is_no_warning() -> None:
    read = {"x": "${steps.one.result.rows}"}

    explanation = explain(
        step("one", [], on_failure="skip"),
        step("two", ["one"]),
        step("three", ["one", "two"], with_=read),
    )

    assert explanation.warnings == ()


def test_a_join_behind_one_step_is_skipped_with_it() -> None:
    explanation = explain(
        step("one", [], on_failure="skip"),
        step("left", ["one"]),
        step("right", ["one"]),
        step("more", ["right"]),
        step("join", ["left", "more"], with_={"x": "${steps.one.result.rows}"}),
    )

    assert explanation.warnings == ()


def test_a_join_with_another_root_is_not_skipped_along() -> None:
    explanation = explain(
        step("one", [], on_failure="skip"),
        step("two", ["one"]),
        step("other", []),
        step("beside", ["other"]),
        step("join", ["two", "beside"], with_={"x": "${steps.one.result.rows}"}),
    )

    (warning,) = map(str, explanation.warnings)
    assert warning.endswith(": join reads steps.one.result.rows")


@pytest.mark.usefixtures("untraced")
def test_the_longest_plan_is_explained_in_time() -> None:
    read = {"x": "${steps.s0.result.rows}"}
    steps = [step("s0", [], on_failure="skip")]
    steps += [
        step(f"s{i}", [f"s{i - 1}"], on_failure="skip", with_=read)
        for i in range(1, 10_000)
    ]

    explanation = explain(*steps)

    assert explanation.warnings == ()
    assert len(explanation.waves) == 10_000


def test_a_result_that_reads_into_a_skipped_step_is_a_warning() -> None:
    explanation = explain(
        step("one", on_failure="skip"), result="${steps.one.result.rows}"
    )

    (warning,) = map(str, explanation.warnings)
    assert warning.endswith(": the result reads steps.one.result.rows")


def test_what_nothing_reads_is_a_warning() -> None:
    explanation = explain(
        step("one", with_={"x": "${parameters.used}"}, profile="taken"),
        parameters={"used": {"type": "string"}, "not_used": {"type": "string"}},
        profiles={"taken": {"priority": 1}, "b": {"priority": 2}, "c": {"priority": 3}},
    )

    assert tuple(map(str, explanation.warnings)) == (
        "nothing reads the parameter not_used",
        "nothing reads the profiles b, c",
    )


def test_several_leaves_without_a_result_are_a_warning() -> None:
    explanation = explain(step("one", []), step("two", []))

    (warning,) = map(str, explanation.warnings)
    assert warning == (
        "2 steps end the plan (one, two) and no `result` is written, so the result is"
        " null"
    )


def test_warnings_of_the_plan_come_first() -> None:
    explanation = explain_plan(Plan("endless", steps=[step("a"), step("b")]))

    (warning,) = map(str, explanation.warnings)
    assert warning == "steps without a timeout can run for ever: a, b"


def test_what_a_step_uses_is_told() -> None:
    plan = Plan("p", steps=[step("one", uses=["mail", "bank"])])

    assert outlook(explain_plan(plan), "one").uses == ("bank", "mail")
