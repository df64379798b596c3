"""Plans as callers see them: the ways in, the compiled steps, one digest for all."""

import hashlib
import json
import subprocess
import sys
from enum import IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from execution.errors import PlanValidationError
from execution.language.compilation import CompiledStep, OnFailure
from execution.language.document import PlanDocument
from execution.plan import Plan, Step
from execution.retry import RetryPolicy

YAML = """\
format: 1
name: census
version: "1.10"
description: Counts what there is.
x-owner: ann
tags: [nightly]
parameters:
  root: {type: string, required: true, x-note: where}
profiles:
  slow: {queue: cpu, timeout: 10m, deadline: 20m, retry: {attempts: 3, max_lost: 5}}
defaults: {timeout: 5m, priority: 4}
deadline: 1d
steps:
  - id: scan
    action: census.scan
    with: {root: "${parameters.root}", answer: NO, sizes: [1, 2.5]}
    needs: []
    x-colour: red
  - id: parse
    description: Reads one.
    action: census.parse
    needs: [scan]
    with:
      first: ${steps.scan.result.files.0}
    profile: slow
    retry: {attempts: 5}
    on_failure: skip
    priority: 0
  - id: report
    action: census.report
    needs: [parse, scan]
    queue: io
    timeout: 1h30m
    deadline: 2h
result: "${steps.report.result} of ${execution.id}"
"""


def census_in_python() -> Plan:
    return Plan(
        "census",
        version="1.10",
        description="Counts what there is.",
        tags=["nightly"],
        parameters={"root": {"type": "string", "required": True}},
        profiles={
            "slow": {
                "queue": "cpu",
                "timeout": "10m",
                "deadline": "20m",
                "retry": {"attempts": 3, "max_lost": 5},
            }
        },
        defaults={"timeout": "5m", "priority": 4},
        deadline="1d",
        steps=[
            Step(
                "scan",
                action=scan,
                with_={"root": "${parameters.root}", "answer": "NO", "sizes": (1, 2.5)},
                needs=[],
            ),
            Step(
                "parse",
                description="Reads one.",
                action="census.parse",
                needs=["scan"],
                with_={"first": "${steps.scan.result.files.0}"},
                profile="slow",
                retry={"attempts": 5},
                on_failure="skip",
                priority=0,
            ),
            Step(
                "report",
                action="census.report",
                needs=("parse", "scan"),
                queue="io",
                timeout="1h30m",
                deadline="2h",
            ),
        ],
        result="${steps.report.result} of ${execution.id}",
    )


class _Scan:
    action_name = "census.scan"


scan = _Scan()


def test_fields_of_the_document_are_properties() -> None:
    plan = Plan.from_text(YAML)

    assert plan.name == "census"
    assert plan.version == "1.10"
    assert plan.description == "Counts what there is."
    assert plan.tags == ("nightly",)
    assert plan.result == "${steps.report.result} of ${execution.id}"
    assert plan.result_reads == (2,)
    assert plan.deadline_seconds == 86_400.0
    assert plan.warnings == ()
    assert repr(plan) == f"<Plan census with 3 steps, {plan.digest[:12]}>"


def test_steps_are_compiled_with_policies_merged() -> None:
    assert Plan.from_text(YAML).steps == (
        CompiledStep(
            position=0,
            name="scan",
            action="census.scan",
            queue=None,
            priority=4,
            needs=(),
            successors=(1, 2),
            reads=(),
            survives_skips=False,
            on_failure=OnFailure.ABORT,
            timeout_seconds=300.0,
            deadline_seconds=None,
            retry=RetryPolicy(),
            max_attempts=1,
            max_lost=3,
            condition=None,
            inputs={"root": "${parameters.root}", "answer": "NO", "sizes": [1, 2.5]},
        ),
        CompiledStep(
            position=1,
            name="parse",
            action="census.parse",
            queue="cpu",
            priority=0,
            needs=(0,),
            successors=(2,),
            reads=(0,),
            survives_skips=False,
            on_failure=OnFailure.SKIP,
            timeout_seconds=600.0,
            deadline_seconds=1200.0,
            retry=RetryPolicy(max_attempts=5),
            max_attempts=5,
            max_lost=3,
            condition=None,
            inputs={"first": "${steps.scan.result.files.0}"},
        ),
        CompiledStep(
            position=2,
            name="report",
            action="census.report",
            queue="io",
            priority=4,
            needs=(0, 1),
            successors=(),
            reads=(),
            survives_skips=False,
            on_failure=OnFailure.ABORT,
            timeout_seconds=5400.0,
            deadline_seconds=7200.0,
            retry=RetryPolicy(),
            max_attempts=1,
            max_lost=3,
            condition=None,
            inputs={},
        ),
    )


def test_a_condition_is_one_of_the_reads() -> None:
    condition = "size(steps.a.result) > 0"
    steps = [
        Step("a", "demo.a"),
        Step("b", "demo.b"),
        Step("c", "demo.c", with_={"x": "${steps.b.result}"}, when=condition),
    ]
    text = f"""
format: 1
name: p
steps:
  - {{id: a, action: demo.a}}
  - {{id: b, action: demo.b}}
  - id: c
    action: demo.c
    with: {{x: "${{steps.b.result}}"}}
    when: {condition}
"""

    plan = Plan("p", steps=steps)

    assert [(step.condition, step.reads) for step in plan.steps] == [
        (None, ()),
        (None, ()),
        (condition, (0, 1)),
    ]
    assert Plan.from_text(text) == plan


def test_yaml_json_and_python_spell_the_same_plan() -> None:
    plan = Plan.from_text(YAML)

    spellings = [
        census_in_python(),
        Plan.from_mapping(plan.definition),
        Plan.from_text(json.dumps(plan.definition, indent=2)),
        Plan.from_text(json.dumps(plan.definition), source="plan.yaml"),
    ]

    assert {spelling.digest for spelling in spellings} == {plan.digest}
    assert set(spellings) == {plan}
    assert plan != "plan"


def test_digest_is_that_of_the_canonical_definition() -> None:
    plan = Plan.from_text(YAML)

    canonical = json.dumps(
        plan.definition, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )

    assert plan.digest == hashlib.sha256(canonical.encode()).hexdigest()


def test_digest_of_a_release_never_changes() -> None:
    plan = Plan("p", steps=[Step("a", action="demo.a")])

    expected = b'{"format":1,"name":"p","steps":[{"action":"demo.a","id":"a"}]}'
    assert plan.digest == hashlib.sha256(expected).hexdigest()


def test_definition_is_a_copy() -> None:
    plan = Plan.from_text(YAML)

    plan.definition.clear()

    assert plan.definition["name"] == "census"


def test_mapping_is_copied() -> None:
    inputs = {"a": [1]}
    plan = Plan("p", steps=[Step("a", action="demo.a", with_=inputs)])

    inputs["a"].append(2)

    assert plan.steps[0].inputs == {"a": [1]}


def test_empty_fields_say_as_much_as_none() -> None:
    bare: dict[str, Any] = {
        "format": 1,
        "name": "p",
        "steps": [{"id": "a", "action": "demo.a"}],
    }
    empty = {**bare, "tags": [], "parameters": {}, "profiles": {}, "defaults": {}}
    empty["steps"] = [{**bare["steps"][0], "with": {}, "x-note": 1}]

    assert Plan.from_mapping(empty) == Plan.from_mapping(bare)


def test_subclasses_of_json_types_count_as_these() -> None:
    class Colour(StrEnum):
        RED = "red"

    class Size(IntEnum):
        LARGE = 3

    class Ratio(float):
        pass

    plan = Plan(
        "p",
        steps=[
            Step(
                "a",
                action="demo.a",
                with_=MappingProxyType(
                    {Colour.RED: Size.LARGE, "c": Colour.RED, "f": Ratio(0.5)}
                ),
            )
        ],
    )

    inputs = plan.steps[0].inputs
    assert isinstance(inputs, dict)
    assert inputs == {"red": 3, "c": "red", "f": 0.5}
    assert {type(value) for value in inputs.values()} == {str, int, float}


def test_steps_run_as_written_when_none_has_needs() -> None:
    plan = Plan("p", steps=[Step(name, action="demo.a") for name in ("a", "b", "c")])

    assert [step.needs for step in plan.steps] == [(), (0,), (1,)]
    assert [step.successors for step in plan.steps] == [(1,), (2,), ()]
    assert all(step.survives_skips for step in plan.steps)
    assert plan.result_reads == (2,)


def test_result_of_several_leaves_is_none_of_theirs() -> None:
    plan = Plan("p", steps=[Step("a", action="x", needs=[]), Step("b", "x", needs=[])])

    assert plan.result is None
    assert plan.result_reads == ()


def test_result_may_be_any_template_and_read_any_step() -> None:
    plan = Plan(
        "p",
        steps=[Step("b", "x", needs=["a"]), Step("a", "x", needs=[])],
        result={"a": ["${steps.a.result}"], "b": "${steps.b.status}", "c": 1},
    )

    assert plan.result_reads == (0, 1)


def test_result_without_steps_reads_none() -> None:
    plan = Plan("p", steps=[Step("a", action="x")], result="done")

    assert plan.result_reads == ()


def test_steps_without_a_timeout_are_warned_about() -> None:
    few = Plan("p", steps=[Step("a", "x"), Step("b", "x", timeout="1s")])
    many = Plan("p", steps=[Step(f"s{number}", "x") for number in range(8)])

    assert tuple(map(str, few.warnings)) == (
        "steps without a timeout can run for ever: a",
    )
    assert tuple(map(str, many.warnings)) == (
        "steps without a timeout can run for ever: s0, s1, s2, s3, s4 and 3 more",
    )


@pytest.mark.parametrize("name", ["plan.yaml", "plan.yml", "plan"])
def test_plan_is_read_from_a_yaml_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("\ufeff" + YAML)

    assert Plan.from_file(path) == Plan.from_file(str(path)) == census_in_python()


@pytest.mark.parametrize("name", ["plan.json", "plan.JSON", "plan"])
def test_plan_is_read_from_a_json_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(" \n" + json.dumps(census_in_python().definition))

    assert Plan.from_file(path) == census_in_python()


def test_file_that_is_named_json_is_read_as_json(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(YAML)

    with pytest.raises(PlanValidationError, match="is not JSON") as raised:
        Plan.from_file(path)

    assert raised.value.faults[0].place == str(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not UTF-8 text: byte 1 is not"),
        (b"a" * (4 * 1024 * 1024 + 1), "takes 4,194,305 bytes"),
        (b"", "is empty"),
    ],
)
def test_unreadable_content_is_a_fault(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "plan"
    path.write_bytes(content)

    with pytest.raises(PlanValidationError, match=message):
        Plan.from_file(path)


def test_directory_and_missing_file_are_faults(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(PlanValidationError, match="is not a file"):
            Plan.from_file(path)


def test_file_that_cannot_be_opened_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the mode would not stop root, who runs the tests in containers
    path = tmp_path / "plan"
    path.write_text(YAML)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)

    with pytest.raises(PlanValidationError, match="cannot be read: Permission denied"):
        Plan.from_file(path)


def test_schema_for_editors_has_the_written_names() -> None:
    schema = PlanDocument.model_json_schema()

    assert "with" in schema["$defs"]["StepFields"]["properties"]
    assert schema["additionalProperties"] is False
    assert schema["patternProperties"] == {"^x-": {}}


@pytest.mark.parametrize("module", ["expressions", "durations", "language.compilation"])
def test_module_for_workers_imports_no_parser(module: str) -> None:
    code = (
        f"import sys, execution.{module}; "
        "sys.exit(bool({'pydantic', 'yaml'} & sys.modules.keys()))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
