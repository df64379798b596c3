"""The JSON Schema of plans: it fits what the package accepts, and knows faults."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from execution.cli.app import app
from execution.errors import PlanValidationError
from execution.language.document import Fields
from execution.plan import Plan
from tests.worker_process import ROOT

SCHEMA = Plan.json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
SHOWN = [
    *sorted((ROOT / "examples").rglob("*.yaml")),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "README.md",
]
FULL: dict[str, Any] = {
    "format": 1,
    "name": "full",
    "version": "2026-b",
    "description": "Everything.",
    "tags": ["a b"],
    "x-owner": {"team": None},
    "parameters": {
        "size": {"type": "integer", "default": 1, "min": 0, "max": 9, "x-unit": "m"},
        "codes": {
            "type": "array",
            "required": True,
            "items": {"type": "string", "pattern": "[a-z]+", "enum": ["a", "b"]},
        },
    },
    "profiles": {"slow": {"queue": "slow", "timeout": "1h30m", "priority": 9}},
    "defaults": {"on_failure": "skip", "deadline": "2d", "uses": ["s3.eu-1"]},
    "deadline": "1d",
    "rollback": ["on_failure", "on_cancel"],
    "failing": "cancel_running",
    "concurrency": {
        "key": "of ${parameters.size}",
        "limit": 2,
        "on_conflict": "cancel_older",
    },
    "steps": [
        {
            "id": "one",
            "description": "First.",
            "action": "a.b",
            "needs": [],
            "with": {"n": None, "size": "${parameters.size}", "key": "secret://KEY"},
            "profile": "slow",
            "when": "${parameters.size > 0}",
            "cache": {"ttl": "1h", "key": "${parameters.size}"},
            "on_failure": {"fallback": "spare"},
            "retry": {
                "attempts": 5,
                "wait": "random",
                "initial": "250ms",
                "max": "1m",
                "jitter": "0s",
                "on": ["OSError"],
                "not_on": ["E002"],
                "max_lost": 1,
            },
        },
        {
            "id": "two",
            "action": "c",
            "needs": ["one"],
            "x-note": 1,
            "for_each": "steps.one.result",
            "max_parallel": 4,
            "tolerate": "2.5%",
            "undo": {"action": "d", "with": {"n": "${step.result}"}, "timeout": "5s"},
        },
        {"id": "spare", "action": "f", "with": {"why": "${failure.message}"}},
        {"id": "end", "action": "e", "run_on": "always", "deadline": "1m"},
    ],
    "result": ["${steps.two.result}"],
}
FAULTY: list[tuple[tuple[str | int, ...], object]] = [
    (("format",), 2),
    (("format",), "1"),
    (("format",), True),
    (("name",), "no@sign"),
    (("name",), ""),
    (("name",), None),
    (("version",), ""),
    (("version",), "2026 b"),
    (("version",), 1),
    (("version",), None),
    (("tags",), "a"),
    (("tags", 0), 1),
    (("owner",), "nobody"),
    (("when",), "true"),
    (("deadline",), 30),
    (("deadline",), "30"),
    (("deadline",), "0s"),
    (("deadline",), "1m1h"),
    (("deadline",), ""),
    (("result",), None),
    (("steps",), []),
    (("steps",), {}),
    (("steps", 0), "one"),
    (("steps", 0, "id"), "One"),
    (("steps", 0, "id"), "while"),
    (("steps", 0, "id"), "a" * 64),
    (("steps", 0, "acton"), "a.b"),
    (("steps", 0, "action"), "a b"),
    (("steps", 0, "action"), None),
    (("steps", 0, "with"), []),
    (("steps", 1, "tolerate"), "110"),
    (("steps", 0, "cache"), "1h"),
    (("steps", 0, "cache"), {}),
    (("steps", 0, "cache", "ttl"), "0s"),
    (("steps", 0, "cache", "ttl"), 60),
    (("steps", 0, "cache", "key"), ["a"]),
    (("steps", 0, "cache", "until"), "1h"),
    (("steps", 1, "undo", "cache"), {"ttl": "1h"}),
    (("defaults", "cache"), {"ttl": "1h"}),
    (("steps", 1, "tolerate"), 10_001),
    (("steps", 1, "max_parallel"), 0),
    (("steps", 1, "undo", "on_failure"), "skip"),
    (("steps", 3, "run_on"), "success"),
    (("steps", 0, "when"), True),
    (("steps", 0, "when"), ["true"]),
    (("steps", 0, "when"), None),
    (("steps", 0, "on_failure"), {}),
    (("steps", 0, "on_failure"), {"fallback": None}),
    (("steps", 0, "on_failure"), {"fallback": ["spare"]}),
    (("steps", 0, "on_failure"), {"fallback": "spare", "after": "1s"}),
    (("steps", 0, "on_failure"), {"retry": 1}),
    (("steps", 0, "on_failure"), {"restore": "one"}),
    (("steps", 0, "on_failure"), {"strategy": "a b"}),
    (("steps", 0, "on_failure"), {"strategy": "triage", "restore": "one"}),
    (("steps", 0, "on_failure"), {"restore": "one", "times": 11}),
    (("steps", 0, "on_failure"), {"restore": "one", "times": "1"}),
    (("steps", 1, "for_each"), ["a"]),
    (("steps", 1, "tolerate"), "110%"),
    (("steps", 1, "tolerate"), 1.5),
    (("steps", 1, "tolerate"), True),
    (("steps", 1, "max_parallel"), 10_001),
    (("steps", 1, "max_parallel"), "4"),
    (("steps", 1, "undo", "when"), "true"),
    (("steps", 1, "undo", "action"), None),
    (("defaults", "on_failure"), {"fallback": "spare"}),
    (("profiles", "slow", "on_failure"), {"fallback": "spare"}),
    (("profiles", "slow", "when"), "true"),
    (("rollback",), "on_monday"),
    (("rollback",), ["on_failure", 1]),
    (("failing",), ["finish_running"]),
    (("concurrency",), {"limit": 2}),
    (("concurrency", "key"), ""),
    (("concurrency", "limit"), 0),
    (("concurrency", "limit"), "2"),
    (("concurrency", "on_conflict"), "drop"),
    (("concurrency", "group"), "k"),
    (("steps", 0, "needs"), "one"),
    (("steps", 0, "needs"), None),
    (("steps", 0, "priority"), 10),
    (("defaults", "uses"), ["S3"]),
    (("defaults", "uses"), ["s3"] * 21),
    (("steps", 1, "undo", "uses"), "stripe"),
    (("steps", 0, "uses"), ["${parameters.size}"]),
    (("steps", 0, "on_failure"), "shrug"),
    (("steps", 0, "retry"), 3),
    (("steps", 0, "retry", "attempts"), 0),
    (("steps", 0, "retry", "attempts"), "3"),
    (("steps", 0, "retry", "wait"), "linear"),
    (("steps", 0, "retry", "initial"), "0s"),
    (("steps", 0, "retry", "jitter"), ""),
    (("steps", 0, "retry", "on"), "OSError"),
    (("steps", 0, "retry", "on"), ["E002"] * 101),
    (("steps", 0, "retry", "times"), 3),
    (("parameters", "size", "type"), "int"),
    (("parameters", "size", "min"), None),
    (("parameters", "size", "enum"), []),
    (("parameters", "size", "required"), "yes"),
    (("parameters", "a-b"), {"type": "string"}),
    (("parameters", "true"), {"type": "string"}),
    (("parameters", "codes", "items"), {}),
    (("parameters", "codes", "items", "default"), "a"),
    (("profiles", "slow", "id"), "slow"),
    (("profiles", ""), {}),
    (("defaults", "needs"), []),
]


def list_shown_plans(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the plans in a file: itself, or the blocks of a page."""
    text = path.read_text("utf-8")
    blocks = [text]
    if path.suffix == ".md":
        blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    yield from (Plan.from_text(block).definition for block in blocks)


def change(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the full plan with another value at a place."""
    changed = deepcopy(FULL)
    inner: Any = changed
    for part in path[:-1]:
        inner = inner[part]
    inner[path[-1]] = value
    return changed


def list_models(model: type[Fields]) -> Iterator[type[Fields]]:
    for inner in model.__subclasses__():
        yield inner
        yield from list_models(inner)


def test_the_schema_is_one_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_every_plan_that_is_shown_fits(path: Path) -> None:
    for plan in list_shown_plans(path):
        VALIDATOR.validate(plan)


def test_a_plan_with_every_field_fits() -> None:
    Plan.from_mapping(FULL)

    VALIDATOR.validate(FULL)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steps", 0, "when"), "parameters.size > 0"),
        (("steps", 0, "when"), '"}" in ["${"]'),
        (("steps", 0, "with", "key"), {"deep": ["secret://A.b-c_1"]}),
        (("steps", 1, "undo", "with", "n"), "secret://KEY"),
        (("steps", 1, "tolerate"), 0),
        (("steps", 1, "tolerate"), "0%"),
        (("steps", 1, "tolerate"), "100%"),
        (("steps", 1, "for_each"), "[1, 2].map(x, x + 1)"),
        (("steps", 2, "on_failure"), "skip"),
        (("steps", 2, "on_failure"), {"strategy": "triage"}),
        (("steps", 2, "on_failure"), {"restore": "one", "times": 10}),
        (("steps", 2, "when"), 'failure.code == "E002"'),
        (("rollback",), "on_failure"),
    ],
    ids=str,
)
def test_what_a_plan_may_say_fits(path: tuple[str | int, ...], value: object) -> None:
    changed = change(path, value)

    Plan.from_mapping(changed)

    VALIDATOR.validate(changed)


@pytest.mark.parametrize(("path", "value"), FAULTY, ids=str)
def test_a_fault_of_form_is_one_for_both(
    path: tuple[str | int, ...], value: object
) -> None:
    faulty = change(path, value)

    with pytest.raises(PlanValidationError):
        Plan.from_mapping(faulty)
    assert not VALIDATOR.is_valid(faulty)


@pytest.mark.parametrize("name", ["format", "name", "steps"])
def test_what_is_required_is_required_by_both(name: str) -> None:
    faulty = {key: value for key, value in FULL.items() if key != name}

    with pytest.raises(PlanValidationError):
        Plan.from_mapping(faulty)
    assert not VALIDATOR.is_valid(faulty)


@pytest.mark.parametrize("model", [*list_models(Fields)], ids=lambda m: m.__name__)
def test_every_field_is_described(model: type[Fields]) -> None:
    bare = [name for name, info in model.model_fields.items() if not info.description]

    assert bare == []


def test_the_command_prints_the_schema() -> None:
    result = CliRunner().invoke(app, ["schema"])

    assert json.loads(result.stdout) == SCHEMA
