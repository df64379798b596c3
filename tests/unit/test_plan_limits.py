"""Limits of plans: which values JSON can hold, and how much of anything there is."""

import math
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from execution.errors import Fault, PlanValidationError
from execution.plan import Plan


def document() -> dict[str, Any]:
    return {"format": 1, "name": "p", "steps": [{"id": "a", "action": "demo.a"}]}


def faults_of(mapping: Any) -> tuple[Fault, ...]:
    with pytest.raises(PlanValidationError) as raised:
        Plan.from_mapping(mapping)
    return raised.value.faults


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "not a finite number"),
        (math.inf, "not a finite number"),
        (2**53 + 1, "beyond ±2^53"),
        (-(2**53) - 1, "beyond ±2^53"),
        ("a\x00b", "NUL"),
        ("\ud800", "surrogate"),
        (b"a", "is a bytes, and a plan holds JSON only"),
        ({1, 2}, "is a set"),
        (Decimal(1), "is a Decimal"),
        (date(2026, 11, 21), "is a date"),
        (object(), "is a object"),
        ({1: 2}, "not text"),
        ({"a\x00": 2}, "NUL"),
    ],
)
def test_value_that_json_cannot_hold_is_refused(value: object, message: str) -> None:
    mapping = document()
    mapping["steps"][0]["with"] = {"x": [0, value]}

    (fault,) = faults_of(mapping)

    assert fault.place.startswith("steps[0].with.x[1]")
    assert message in fault.message


@pytest.mark.parametrize("value", [2**53, -(2**53), 1e300, "é😀", -0.0])
def test_value_at_the_edge_is_accepted(value: object) -> None:
    mapping = document()
    mapping["steps"][0]["with"] = {"x": value}

    assert Plan.from_mapping(mapping).steps[0].inputs == {"x": value}


def test_value_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.extend([endless, endless])

    (fault,) = faults_of({**document(), "result": endless})

    assert "nested deeper than 64 levels" in fault.message
    assert len(fault.place) < 200


@pytest.mark.usefixtures("untraced")
def test_value_that_repeats_itself_without_measure_is_refused() -> None:
    bomb: list[object] = []
    for _ in range(40):
        bomb = [bomb, bomb]

    (fault,) = faults_of({**document(), "result": bomb})

    assert "holds more than 500,000 values" in fault.message


def test_too_many_steps_are_refused() -> None:
    step = {"id": "a", "action": "x"}

    (fault,) = faults_of({**document(), "steps": [step] * 10_001})

    assert fault == Fault(
        "steps", "has 10,001 steps; 10,000 are allowed", rule="step-count"
    )


def test_too_large_a_document_is_refused() -> None:
    text = "é" * (2 * 1024 * 1024)

    (fault,) = faults_of({**document(), "description": text})

    assert fault.place == "plan"
    assert "4,194,304 are allowed" in fault.message

    with pytest.raises(PlanValidationError, match="takes 4,194,306 bytes"):
        Plan.from_text(f"{text}aa")


def test_large_value_is_refused_inline() -> None:
    mapping = document()
    mapping["steps"][0]["with"] = {"x": "a" * (256 * 1024)}
    mapping["result"] = "a" * (256 * 1024)

    remedy = "262,144 are allowed: store it elsewhere, and pass on where it lies"
    assert [(fault.place, fault.message) for fault in faults_of(mapping)] == [
        ("result", f"takes 262,146 bytes; {remedy}"),
        ("steps[0].with", f"takes 262,152 bytes; {remedy}"),
    ]


def test_more_faults_than_anyone_reads_are_counted() -> None:
    extra = {f"field_{number}": 1 for number in range(1200)}

    faults = faults_of({**document(), **extra})

    assert len(faults) == 1001
    assert faults[-1] == Fault(
        "plan", "has 200 more faults, not shown", rule="more-faults"
    )
