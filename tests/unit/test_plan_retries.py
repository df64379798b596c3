"""Retry policies and deadlines in plans: what they compile to, and what is refused."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.language.document import RetryFields
from execution.plan import Plan, Step
from execution.retry import RetryPolicy, RetryWait

PAGE = Path(__file__).parent.parent.parent / "docs" / "plans.md"


def policy_of(retry: dict[str, Any]) -> RetryPolicy:
    (step,) = Plan("p", steps=[Step("a", "x", retry=retry)]).steps
    assert step.max_attempts == step.retry.max_attempts
    return step.retry


def fault_of(retry: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(PlanValidationError) as raised:
        policy_of(retry)
    (fault,) = raised.value.faults
    return fault.place.removeprefix("steps[0].retry."), fault.message


def test_a_whole_retry_is_compiled() -> None:
    text = """\
format: 1
name: p
steps:
  - id: a
    action: x
    retry:
      attempts: 5
      wait: random
      initial: 500ms
      max: 1m30s
      jitter: 0s
      on: [OSError, requests.ConnectionError, E002]
      not_on: [FileNotFoundError]
      max_lost: 7
"""

    (step,) = Plan.from_text(text).steps

    assert step.retry == RetryPolicy(
        max_attempts=5,
        wait=RetryWait.RANDOM,
        initial_seconds=0.5,
        max_seconds=90.0,
        jitter_seconds=0.0,
        on=("OSError", "requests.ConnectionError", "E002"),
        not_on=("FileNotFoundError",),
    )
    assert step.max_attempts == 5
    assert step.max_lost == 7


@pytest.mark.parametrize(
    ("retry", "change"),
    [
        ({}, {}),
        ({"attempts": 2}, {"max_attempts": 2}),
        ({"wait": RetryWait.FIXED}, {"wait": RetryWait.FIXED}),
        ({"initial": "60s"}, {"initial_seconds": 60.0}),
        ({"max": "1s"}, {"max_seconds": 1.0}),
        ({"max": "3650d"}, {"max_seconds": 3650 * 86_400.0}),
        ({"jitter": "0s"}, {"jitter_seconds": 0.0}),
        ({"on": []}, {}),
        ({"on": ("E002",)}, {"on": ("E002",)}),
        ({"not_on": ["execution.RetryableError"]}, None),
        # what a fixed wait never reaches is no bound for it
        (
            {"wait": "fixed", "initial": "5m"},
            {"wait": RetryWait.FIXED, "initial_seconds": 300.0},
        ),
    ],
)
def test_what_is_not_written_has_its_default(
    retry: dict[str, Any], change: dict[str, Any] | None
) -> None:
    if change is None:
        change = {"not_on": ("execution.RetryableError",)}

    assert policy_of(retry) == replace(RetryPolicy(), **change)


@pytest.mark.parametrize(
    ("retry", "place", "message"),
    [
        ({"wait": "expo"}, "wait", "must be 'exponential', 'fixed' or 'random'"),
        ({"wait": 1}, "wait", "must be 'exponential', 'fixed' or 'random'"),
        ({"initial": "0s"}, "initial", '"0s": must be longer than nothing; 1ms is'),
        ({"initial": "-1s"}, "initial", '"-1s": is not a duration'),
        ({"initial": 1}, "initial", "1: a number needs a unit: 1s, 1m or 1h"),
        ({"initial": ["1s"]}, "initial", "must be text"),
        ({"max": "0m"}, "max", '"0m": must be longer than nothing'),
        ({"max": True}, "max", "true: is not a duration"),
        ({"jitter": "-1s"}, "jitter", "is not a duration"),
        ({"jitter": 0}, "jitter", "0: a number needs a unit"),
        (
            {"initial": "2s", "max": "1s"},
            "initial",
            '"2s": is longer than `max`, 1 s; lower it or raise that',
        ),
        (
            {"initial": "61s", "wait": "random"},
            "initial",
            '"61s": is longer than `max`, 60 s by default; lower it or raise that',
        ),
        (
            {"max": "999ms"},
            "max",
            '"999ms": is shorter than `initial`, 1 s by default; write both',
        ),
        ({"wait": "fixed", "initial": "2s", "max": "1s"}, "initial", "is longer than"),
        ({"on": "OSError"}, "on", 'must be a list, and is "OSError"'),
        ({"on": ["OSError", 3]}, "on[1]", "must be text, and is 3"),
        ({"on": ["E002"] * 101}, "on", "at most 100 items"),
        (
            {"on": ["ValueErorr"]},
            "on[0]",
            'is called "ValueErorr"; did you mean "ValueError"?',
        ),
        ({"not_on": ["E091"]}, "not_on[0]", 'is called "E091"; did you mean "E0'),
        ({"on": ["e002"]}, "on[0]", 'did you mean "E002"?'),
        (
            {"on": ["ConnectTimeoutOfHttpx"]},
            "on[0]",
            "; write any other with its module, such as requests.ConnectionError",
        ),
        # what ends a process, and what is no error, can never be retried
        ({"on": ["SystemExit"]}, "on[0]", "no builtin exception"),
        ({"on": ["dict"]}, "on[0]", "no builtin exception"),
        (
            {"not_on": ["RetryableError"]},
            "not_on[0]",
            "write it with its module, execution.errors.RetryableError",
        ),
        ({"on": ["a b"]}, "on[0]", '"a b": must be a builtin exception, an import'),
        ({"on": [""]}, "on[0]", "such as OSError, requests.ConnectionError or E002"),
        ({"on": ["requests."]}, "on[0]", "must be a builtin exception"),
        ({"on": [".ConnectionError"]}, "on[0]", "must be a builtin exception"),
        ({"on": ["a." * 127 + "bc"]}, "on[0]", "must be a builtin exception"),
        ({"no_on": []}, "no_on", 'is not a field here; did you mean "not_on"?'),
    ],
)
def test_a_bad_retry_is_refused_with_its_place(
    retry: dict[str, Any], place: str, message: str
) -> None:
    found_place, found_message = fault_of(retry)

    assert found_place == place
    assert message in found_message


def test_an_import_path_as_long_as_any_is_taken() -> None:
    name = "a." * 127 + "b"

    assert policy_of({"on": [name]}).on == (name,)


def test_retries_of_profiles_and_defaults_are_checked_too() -> None:
    bad = {"retry": {"on": ["Nothing"]}}

    with pytest.raises(PlanValidationError) as raised:
        Plan("p", steps=[Step("a", "x")], profiles={"slow": bad}, defaults=bad)

    assert [fault.place for fault in raised.value.faults] == [
        "defaults.retry.on[0]",
        "profiles.slow.retry.on[0]",
    ]


def test_retry_is_replaced_whole_when_policies_are_merged() -> None:
    plan = Plan(
        "p",
        defaults={"retry": {"attempts": 9, "wait": "fixed", "max_lost": 9}},
        profiles={"slow": {"retry": {"jitter": "0s", "on": ["E002"]}}},
        steps=[
            Step("a", "x"),
            Step("b", "x", profile="slow"),
            Step("c", "x", profile="slow", retry={"attempts": 2}),
        ],
    )

    assert [(step.retry, step.max_lost) for step in plan.steps] == [
        (RetryPolicy(max_attempts=9, wait=RetryWait.FIXED), 9),
        (RetryPolicy(jitter_seconds=0.0, on=("E002",)), 3),
        (RetryPolicy(max_attempts=2), 3),
    ]


def test_a_compiled_retry_comes_back_from_what_is_stored() -> None:
    policy = policy_of({"attempts": 3, "on": ["E002"], "max": "2m", "wait": "random"})

    assert RetryPolicy.from_json(policy.to_json()) == policy


def test_deadlines_are_merged_from_step_over_profile_over_defaults() -> None:
    plan = Plan(
        "p",
        defaults={"deadline": "1h"},
        profiles={"slow": {"deadline": "2h"}, "plain": {"timeout": "1s"}},
        steps=[
            Step("a", "x"),
            Step("b", "x", profile="slow"),
            Step("c", "x", profile="slow", deadline="250ms"),
            Step("d", "x", profile="plain"),
        ],
    )

    assert [step.deadline_seconds for step in plan.steps] == [3600, 7200, 0.25, 3600]
    assert plan.deadline_seconds is None


def test_a_plan_without_deadlines_has_none() -> None:
    plan = Plan("p", steps=[Step("a", "x")])

    assert plan.deadline_seconds is None
    assert plan.steps[0].deadline_seconds is None


def test_the_deadline_of_a_plan_is_not_that_of_its_steps() -> None:
    plan = Plan("p", steps=[Step("a", "x")], deadline="1h")

    assert plan.deadline_seconds == 3600
    assert plan.steps[0].deadline_seconds is None
    assert plan == Plan.from_mapping(plan.definition)


@pytest.mark.parametrize(
    ("deadline", "message"),
    [
        ("0s", '"0s": must be longer than nothing; leave it out for no limit'),
        ("-1h", '"-1h": is not a duration'),
        (30, "30: a number needs a unit: 30s, 30m or 30h"),
        ("3651d", "is longer than 3650 days"),
        ({}, "must be text"),
    ],
)
def test_a_bad_deadline_is_refused_wherever_it_stands(
    deadline: Any, message: str
) -> None:
    with pytest.raises(PlanValidationError) as raised:
        Plan(
            "p",
            steps=[Step("a", "x", deadline=deadline)],
            profiles={"slow": {"deadline": deadline}},
            defaults={"deadline": deadline},
            deadline=deadline,
        )

    faults = raised.value.faults
    assert {fault.place for fault in faults} == {
        "deadline",
        "defaults.deadline",
        "profiles.slow.deadline",
        "steps[0].deadline",
    }
    assert all(message in fault.message for fault in faults)


def test_a_step_with_a_deadline_cannot_run_for_ever() -> None:
    plan = Plan("p", steps=[Step("a", "x", deadline="1h"), Step("b", "x")])

    assert tuple(map(str, plan.warnings)) == (
        "steps without a timeout can run for ever: b",
    )


def test_no_step_runs_for_ever_in_a_plan_with_a_deadline() -> None:
    assert Plan("p", steps=[Step("a", "x")], deadline="1h").warnings == ()


def test_every_field_of_a_retry_is_described_with_its_default() -> None:
    section = (
        PAGE.read_text("utf-8").partition("\n## Retries\n")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| `?([\w ]+)", section, re.MULTILINE)
    defaults = {name: text for name, text in rows if name not in ("on", "not_on")}

    assert [name for name, _ in rows] == list(RetryFields.model_fields)
    numbers = {name: int(defaults.pop(name)[:1]) for name in ("attempts", "max_lost")}
    assert policy_of({**defaults, **numbers}) == RetryPolicy()
    assert numbers["max_lost"] == RetryFields().max_lost
