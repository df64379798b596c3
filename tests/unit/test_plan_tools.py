"""What the tools promise for every plan, whatever it uses of the language."""

import json
import xml.etree.ElementTree as ET
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from rich.console import Console

from execution.cli.explaining import print_comparison, print_explanation
from execution.cli.output import to_json
from execution.comparison import compare_plans
from execution.drawing.folding import fold
from execution.drawing.formats import DrawingFormat, draw
from execution.drawing.pictures import picture_plan
from execution.explanation import explain_plan
from execution.plan import Plan
from execution.states import Section
from tests.plan_documents import documents

VALIDATOR = Draft202012Validator(Plan.json_schema())


@given(documents(), st.booleans())
@settings(deadline=None)
def test_every_plan_is_explained(document: dict[str, Any], bound: bool) -> None:
    plan = Plan.from_mapping(document)

    explanation = explain_plan(plan, plan.bind({}) if bound else None)

    print_explanation(Console(quiet=True), explanation)
    assert json.dumps(to_json(explanation), allow_nan=False)
    in_waves = [name for wave in explanation.waves for name in wave]
    assert sorted(in_waves) == sorted(
        step.name
        for step in plan.steps
        if step.section is Section.STEPS and step.stands_in_for is None
    )
    for step, outlook in zip(plan.steps, explanation.steps, strict=True):
        assert (outlook.wave is not None) == (step.name in in_waves)
        assert bool(outlook.stands_in_for) == (step.stands_in_for is not None)
        assert (outlook.when is None) == (step.condition is None)


@given(documents())
@settings(deadline=None)
def test_every_plan_is_drawn(document: dict[str, Any]) -> None:
    plan = Plan.from_mapping(document)
    picture = picture_plan(plan)

    texts = [draw(picture, drawing_format) for drawing_format in DrawingFormat]
    folded = fold(picture, most_nodes=2, most_edges=2)

    ET.fromstring(texts[-1])  # noqa: S314  # our own
    fallbacks = sum(step.stands_in_for is not None for step in plan.steps)
    assert sum(bool(edge.label) for edge in picture.edges) == fallbacks
    assert sum(node.count for node in folded.nodes) == len(plan.steps)


@given(documents(), documents())
@settings(deadline=None)
def test_every_plan_is_compared(one: dict[str, Any], other: dict[str, Any]) -> None:
    before, after = Plan.from_mapping(one), Plan.from_mapping(other)

    forward, backward = compare_plans(before, after), compare_plans(after, before)

    print_comparison(Console(quiet=True), forward)
    assert compare_plans(before, before).is_same
    assert sorted(change.place for change in forward.changes) == sorted(
        change.place for change in backward.changes
    )


@given(documents())
@settings(deadline=None)
def test_every_plan_fits_the_schema(document: dict[str, Any]) -> None:
    plan = Plan.from_mapping(document)

    VALIDATOR.validate(document)
    VALIDATOR.validate(json.loads(json.dumps(plan.definition)))
