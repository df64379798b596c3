"""Every rule that a plan can break has a document that breaks it, and no other."""

from collections.abc import Callable

import pytest

from execution import Plan
from execution.bulk import bind_all
from execution.catalogue import (
    ActionParameter,
    ActionSignature,
    check_inputs,
    check_names,
    check_subplans,
)
from execution.errors import PlanValidationError
from execution.explanation import explain_plan
from execution.language.findings import MAX_FAULTS, Findings
from execution.language.rules import Rule
from execution.language.subjects import Subject

HEAD = "format: 1\nname: p\n"
STEP = "id: a, action: t, timeout: 1s"
STEPS = f"steps: [{{{STEP}}}]\n"


def step(fields: str) -> str:
    """Return a plan of one step with more fields."""
    return f"{HEAD}steps: [{{{STEP}, {fields}}}]"


def steps(*written: str, more: str = "") -> str:
    """Return a plan of steps, each of them with an action and a timeout."""
    inner = ", ".join(f"{{action: t, timeout: 1s, {one}}}" for one in written)
    return f"{HEAD}{more}\nsteps: [{inner}]"


def declared(declaration: str) -> str:
    return f"{HEAD}parameters: {{n: {declaration}}}\n{STEPS}"


def says(expression: str) -> str:
    return step(f"when: '{expression}'")


BROKEN: dict[Rule, str] = {
    Rule.YAML_SYNTAX: "steps: [",
    Rule.YAML_EXTRA: f"{HEAD}x-a: &a 1\n{STEPS}",
    Rule.DOCUMENT_COUNT: f"{HEAD}{STEPS}---\n{HEAD}{STEPS}",
    Rule.JSON_SYNTAX: '{"format": 1,}',
    Rule.DUPLICATE_KEY: f"{HEAD}name: q\n{STEPS}",
    Rule.KEY_NOT_TEXT: f"{HEAD}x-a: {{1: 2}}\n{STEPS}",
    Rule.UNSTORABLE_TEXT: f"{HEAD}description: '\a'\n{STEPS}",
    Rule.NUMBER_RANGE: f"{HEAD}x-a: 9007199254740993\n{STEPS}",
    Rule.DOCUMENT_SIZE: f"{HEAD}description: {'x' * 4_200_000}\n{STEPS}",
    Rule.NESTING: f"{HEAD}x-a: {'[' * 70}{']' * 70}\n{STEPS}",
    Rule.STEP_COUNT: f"{HEAD}steps: [{', '.join(['{id: a}'] * 10_001)}]",
    Rule.VALUE_SIZE: step(f"with: {{x: {'x' * 300_000}}}"),
    Rule.UNKNOWN_FIELD: step("acton: t"),
    Rule.LATER_FIELD: f"{HEAD}budget: 1\n{STEPS}",
    Rule.RESERVED_FIELD: f"{HEAD}matrix: 1\n{STEPS}",
    Rule.EMPTY_FIELD: f"{HEAD}description:\n{STEPS}",
    Rule.MISSING_FIELD: f"format: 1\n{STEPS}",
    Rule.UNKNOWN_FORMAT: f"format: 2\nname: p\n{STEPS}",
    Rule.WRONG_TYPE: f"{HEAD}version: 2\n{STEPS}",
    Rule.WRONG_VALUE: f"{HEAD}failing: kill\n{STEPS}",
    Rule.WRONG_NAME: f"format: 1\nname: no name\n{STEPS}",
    Rule.WRONG_DURATION: f"{HEAD}deadline: soon\n{STEPS}",
    Rule.OUT_OF_RANGE: step("priority: 10"),
    Rule.FIELD_CLASH: declared("{type: integer, required: true, default: 1}"),
    Rule.IDLE_FIELD: step("max_parallel: 2"),
    Rule.DUPLICATE_ID: steps("id: a", "id: a"),
    Rule.UNKNOWN_STEP: step("needs: [b]"),
    Rule.MISSING_NEEDS: steps("id: a", "id: b, needs: [a]"),
    Rule.REPEATED_NEED: steps("id: a, needs: []", "id: b, needs: [a, a]"),
    Rule.FOREIGN_NEED: steps(
        "id: a, needs: [e]", "id: e, run_on: always, deadline: 1s"
    ),
    Rule.CYCLE: steps("id: a, needs: [b]", "id: b, needs: [a]"),
    Rule.SHARED_FALLBACK: steps(
        "id: a, on_failure: {fallback: f}", "id: b, on_failure: {fallback: f}", "id: f"
    ),
    Rule.FOREIGN_RESTORE: steps("id: a, on_failure: {restore: b, times: 1}", "id: b"),
    Rule.NO_FIRST_STEP: step("run_on: always, deadline: 1s"),
    Rule.ENDLESS_END: steps("id: a", "id: e, run_on: always"),
    Rule.UNKNOWN_PROFILE: step("profile: slow"),
    Rule.UNKNOWN_ERROR: step("retry: {on: [ValueEror]}"),
    Rule.WAIT_ORDER: step("retry: {initial: 2s, max: 1s}"),
    Rule.EXPRESSION_SYNTAX: says("1 +"),
    Rule.EXPRESSION_LIMIT: says(f"{'(' * 17}1{')' * 17} > 0"),
    Rule.UNKNOWN_FUNCTION: says("now() > 1"),
    Rule.UNKNOWN_NAME: says("env.HOME == 1"),
    Rule.UNKNOWN_STATUS: steps("id: a", 'id: b, when: steps.a.status == "complete"'),
    Rule.NO_VALUE: says("parameters"),
    Rule.UNSETTLED_STEP: steps("id: a, with: {x: '${steps.b.result}'}", "id: b"),
    Rule.VALUE_IN_TEXT: steps("id: a", "id: b, with: {x: 'why: ${steps.a.error}'}"),
    Rule.COMPUTED_KEY: f"{HEAD}concurrency: {{key: '${{execution.id}}'}}\n{STEPS}",
    Rule.WRONG_SECRET: f"{HEAD}result: secret://KEY\n{STEPS}",
    Rule.UNKNOWN_PARAMETER: says("parameters.n == 1"),
    Rule.WRONG_DECLARATION: declared("{type: integer, min: 2, max: 1}"),
    Rule.UNFIT_DEFAULT: declared("{type: integer, default: one}"),
}
"""What the text alone breaks."""

ODD: dict[Rule, str] = {
    Rule.NO_TIMEOUT: f"{HEAD}steps: [{{id: a, action: t}}]",
    Rule.IDLE_ROLLBACK: f"{HEAD}rollback: on_failure\n{STEPS}",
    Rule.IDLE_TOLERATE: step("for_each: execution.tags, tolerate: 1"),
    Rule.CONSTANT_UNTIL: (
        f"{HEAD}steps: [{{id: a, timeout: 1s,"
        " repeat: {action: t, times: 2, until: 'execution.id == \"x\"'}}]"
    ),
    Rule.PARTIAL_UNDO: (
        f"{HEAD}rollback: on_failure\ndefaults: {{timeout: 1s}}\n"
        "steps: [{id: a, action: t, for_each: execution.tags, undo: {action: u}}]"
    ),
    Rule.UNUSED_NAME: declared("{type: integer}"),
    Rule.NO_RESULT: steps("id: a, needs: []", "id: b, needs: []"),
    Rule.RESULT_GAP: steps(
        "id: a, on_failure: skip", "id: b, with: {x: '${steps.a.result.y}'}"
    ),
    Rule.FAILING_STEP: (
        f"{HEAD}parameters: {{n: {{type: object, default: {{}}}}}}\n"
        f"steps: [{{{STEP}, with: {{x: '${{parameters.n.m}}'}}}}]"
    ),
}
"""What is a warning."""


class Lost:
    """Of a type that JSON has not."""


TYPED = ActionSignature(
    (ActionParameter("n", True, "int", False, None, {"type": "integer"}),), None, None
)


CANVAS: dict[str, object] = {
    "task": "t",
    "args": [],
    "kwargs": {},
    "options": {"link_error": [{"task": "u"}]},
    "subtask_type": None,
    "immutable": False,
}


def consult(fields: str, *known: str) -> None:
    """Ask a catalogue with the action `t`, which takes an integer `n`."""
    plan, findings = Plan.from_text(step(fields)), Findings()
    check_names(plan.steps, known, findings)
    check_inputs(plan.steps, {"t": TYPED}, findings)
    raise PlanValidationError(plan.locate(findings))


def consult_plans(fields: str) -> None:
    """Ask for published plans where there are none."""
    plan = Plan.from_text(f"{HEAD}steps: [{{id: a, {fields}}}]")
    findings = Findings()
    check_subplans(plan.steps, {}, (), findings)
    raise PlanValidationError(plan.locate(findings))


def bind(**values: object) -> object:
    return Plan.from_text(declared("{type: integer, required: true}")).bind(values)


CALLS: dict[Rule, Callable[[], object]] = {
    Rule.UNREADABLE_FILE: lambda: Plan.from_file("/nowhere/plan.yaml"),
    Rule.NOT_JSON: lambda: Plan.from_mapping(
        {"format": 1, "name": "p", "x-a": Lost(), "steps": [{"id": "a", "action": "t"}]}
    ),
    Rule.MISSING_PARAMETER: bind,
    Rule.UNFIT_PARAMETER: lambda: bind(n="1"),
    Rule.WRONG_SUBMIT: lambda: bind_all(Plan.from_text(HEAD + STEPS), [{}], ["a", "b"]),
    Rule.UNKNOWN_ACTION: lambda: consult("with: {n: 1}", "u"),
    Rule.UNKNOWN_STRATEGY: lambda: consult(
        "with: {n: 1}, on_failure: {strategy: u}", "t"
    ),
    Rule.UNKNOWN_PLAN: lambda: consult_plans("plan: q"),
    Rule.MISSING_INPUT: lambda: consult("with: {}", "t"),
    Rule.UNKNOWN_INPUT: lambda: consult("with: {n: 1, m: 1}", "t"),
    Rule.UNFIT_INPUT: lambda: consult("with: {n: one}", "t"),
    Rule.CANVAS_LOSS: lambda: Plan.from_canvas(CANVAS, name="p"),
}
"""What more than a text breaks: a file, a submit, the catalogue, a canvas."""


@pytest.mark.parametrize(("rule", "text"), BROKEN.items(), ids=BROKEN.keys())
def test_a_text_breaks_this_rule_and_no_other(rule: Rule, text: str) -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(text, source="p.json" if text[0] == "{" else "p.yaml")

    assert [fault.rule for fault in raised.value.faults] == [rule]


@pytest.mark.parametrize(("rule", "breach"), CALLS.items(), ids=CALLS.keys())
def test_a_call_breaks_this_rule_and_no_other(
    rule: Rule, breach: Callable[[], object]
) -> None:
    with pytest.raises(PlanValidationError) as raised:
        breach()

    assert [fault.rule for fault in raised.value.faults] == [rule]


@pytest.mark.parametrize(("rule", "text"), ODD.items(), ids=ODD.keys())
def test_a_plan_is_warned_of_by_this_rule_and_no_other(rule: Rule, text: str) -> None:
    plan = Plan.from_text(text)

    warnings = explain_plan(plan, plan.bind({})).warnings

    assert [warning.rule for warning in warnings] == [rule]


def test_what_is_left_out_of_a_canvas_is_a_warning() -> None:
    plan = Plan.from_canvas(CANVAS, name="p", lossy=True)

    assert [found.rule for found in plan.warnings] == [
        Rule.NO_TIMEOUT,
        Rule.LOST_OPTION,
    ]


def test_faults_that_are_not_listed_are_one_more() -> None:
    fields = "".join(f"f{number}: 1\n" for number in range(MAX_FAULTS + 1))

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(HEAD + fields + STEPS)

    found = [fault.rule for fault in raised.value.faults]
    assert found == [*[Rule.UNKNOWN_FIELD] * MAX_FAULTS, Rule.MORE_FAULTS]


def test_no_rule_is_without_a_breach() -> None:
    shown = BROKEN.keys() | CALLS.keys() | ODD.keys()

    assert set(Rule) - shown == {Rule.LOST_OPTION, Rule.MORE_FAULTS}


def test_warnings_are_of_a_class_of_their_own() -> None:
    assert {rule for rule in Rule if rule.code == "W001"} == {
        *ODD,
        Rule.LOST_OPTION,
    }


def test_every_rule_says_what_to_do() -> None:
    assert all(rule.meaning for rule in Rule)
    assert {rule.subject for rule in Rule} == set(Subject)


@pytest.mark.parametrize(
    ("expression", "rule", "hint"),
    [
        ("true and false", Rule.EXPRESSION_SYNTAX, "write &&"),
        ("true or false", Rule.EXPRESSION_SYNTAX, "write ||"),
        ("not true", Rule.EXPRESSION_SYNTAX, "write !"),
        ("not (true)", Rule.EXPRESSION_SYNTAX, "write !"),
        ("null is null", Rule.EXPRESSION_SYNTAX, "write =="),
        ("1 = 1", Rule.EXPRESSION_SYNTAX, "write =="),
        ("true & false", Rule.EXPRESSION_SYNTAX, "write &&"),
        ("true | false", Rule.EXPRESSION_SYNTAX, "write ||"),
        ("len([1]) > 0", Rule.UNKNOWN_FUNCTION, "write size(…)"),
        ("siz([1]) > 0", Rule.UNKNOWN_FUNCTION, 'did you mean "size"?'),
    ],
)
def test_what_other_languages_write_is_refused_with_the_word_for_it(
    expression: str, rule: Rule, hint: str
) -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(says(expression))

    (fault,) = raised.value.faults
    assert fault.rule == rule
    assert hint in fault.message


@pytest.mark.parametrize(
    "expression",
    ["[1, 2].filter(and, and > 1) == [2]", "[1, 2].all(not, not > 0)"],
)
def test_an_item_may_be_called_like_a_word_of_other_languages(expression: str) -> None:
    assert Plan.from_text(says(expression)).steps


@pytest.mark.parametrize(
    "condition",
    [
        'steps.a.status == "complete"',
        '"complete" != steps.a.status',
        'steps.a.status in ["skipped", "complete"]',
        'execution.tags.exists(x, x == "y" || steps.a.status == "complete")',
    ],
)
def test_a_status_that_there_is_not_is_named_with_the_nearest(condition: str) -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(steps("id: a", f"id: b, when: '{condition}'"))

    (fault,) = raised.value.faults
    assert fault.rule == Rule.UNKNOWN_STATUS
    assert 'did you mean "completed"?' in fault.message


@pytest.mark.parametrize(
    "condition",
    [
        'steps.a.status == "skipped"',
        'steps.a.result.steps.a.status == "complete"',
        'steps.a.result.step.status == "complete"',
        "steps.a.status == steps.a.result",
        "steps.a.status in steps.a.result",
        'steps.a.status.size() > 1 && "x" == "y"',
        'steps.a.status == r"complete"',
        'execution.id == "complete"',
    ],
)
def test_other_comparisons_are_none_of_a_status(condition: str) -> None:
    assert Plan.from_text(steps("id: a", f"id: b, when: '{condition}'")).steps


def test_an_undo_compares_the_status_of_its_step() -> None:
    undo = "undo: {action: u, with: {x: '${step.status == \"done\"}'}}"

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(step(undo))

    assert [fault.rule for fault in raised.value.faults] == [Rule.UNKNOWN_STATUS]


@pytest.mark.parametrize("path", ["steps.a.error", "steps.a.results", "execution.tags"])
def test_what_is_never_text_does_not_stand_in_text(path: str) -> None:
    whole = steps("id: a", f"id: b, with: {{x: '${{{path}}}'}}")

    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(steps("id: a", f"id: b, with: {{x: 'it is ${{{path}}}'}}"))

    assert [fault.rule for fault in raised.value.faults] == [Rule.VALUE_IN_TEXT]
    assert Plan.from_text(whole).steps


def test_an_unknown_profile_of_a_step_of_the_end_is_one_fault() -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(steps("id: a", "id: e, run_on: always, profile: slow"))

    assert [fault.rule for fault in raised.value.faults] == [Rule.UNKNOWN_PROFILE]


def test_a_version_that_is_a_number_is_refused_with_the_quotes_it_needs() -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_text(f"{HEAD}version: 2\n{STEPS}")

    (fault,) = raised.value.faults
    assert fault.message == "must be text, and is 2; put text in quotes"
