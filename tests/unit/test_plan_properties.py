"""Properties of all plans, and what no input may do."""

import json
from typing import Any

import yaml
from hypothesis import given, note, settings
from hypothesis import strategies as st

from execution.errors import ParameterError, PlanValidationError
from execution.plan import Plan
from tests.plan_documents import documents


class _QuotingDumper(yaml.SafeDumper):
    """Quotes all text, since PyYAML takes `0E0` for text and YAML 1.2 does not."""


_QuotingDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"'
    ),
)


@given(documents())
@settings(deadline=None)
def test_canonical_form_is_read_as_the_same_plan(document: dict[str, Any]) -> None:
    plan = Plan.from_mapping(document)

    again = Plan.from_mapping(plan.definition)
    from_json = Plan.from_text(json.dumps(document))
    text = yaml.dump(plan.definition, Dumper=_QuotingDumper)
    from_yaml = Plan.from_text(text, source="p.yaml")

    assert again.definition == plan.definition
    assert again.digest == from_json.digest == from_yaml.digest == plan.digest
    assert again.steps == plan.steps


@given(documents())
@settings(deadline=None)
def test_edges_agree_in_both_directions(document: dict[str, Any]) -> None:
    steps = Plan.from_mapping(document).steps

    forward = {
        (need, step.position)
        for step in steps
        if step.stands_in_for is None
        for need in step.needs
    }
    backward = {(step.position, after) for step in steps for after in step.successors}
    assert forward == backward
    assert [step.position for step in steps] == list(range(len(steps)))


any_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=3)
    | st.sampled_from(["${steps.a.result}", "${", "30s", "a", "string"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "format",
                    "name",
                    "steps",
                    "id",
                    "needs",
                    "with",
                    "retry",
                    "on",
                    "initial",
                    "max",
                    "type",
                    "x-a",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
field_names = st.sampled_from(
    [
        *("format", "name", "version", "tags", "parameters", "profiles", "defaults"),
        *("steps", "result", "deadline", "when", "env", "x-y", "junk"),
    ]
)


@given(st.dictionaries(field_names, any_values))
@settings(deadline=None)
def test_no_mapping_crashes_the_compiler(junk: dict[str, Any]) -> None:
    whole = {"format": 1, "name": "p", "steps": [{"id": "a", "action": "b"}]}
    try:
        Plan.from_mapping({**whole, **junk})
    except PlanValidationError:
        note("refused")


step_names = st.sampled_from(
    [
        *("id", "action", "with", "needs", "queue", "priority", "timeout", "retry"),
        *("on_failure", "profile", "description", "when", "plan", "deadline", "junk"),
    ]
)


@given(st.lists(st.dictionaries(step_names, any_values), max_size=4))
@settings(deadline=None)
def test_no_steps_crash_the_compiler(steps: list[dict[str, Any]]) -> None:
    named = [{"id": f"s{index}", **step} for index, step in enumerate(steps)]
    try:
        Plan.from_mapping({"format": 1, "name": "p", "steps": named})
    except PlanValidationError:
        note("refused")


declaration_names = st.sampled_from(
    ["type", "enum", "min", "max", "pattern", "items", "default", "required"]
)
types = st.sampled_from(
    ["string", "integer", "number", "boolean", "duration", "datetime", "array"]
)


@given(st.dictionaries(declaration_names, any_values), types, any_values)
@settings(deadline=None)
def test_no_declaration_or_value_crashes_the_binding(
    declaration: dict[str, Any], kind: str, value: object
) -> None:
    document = {
        "format": 1,
        "name": "p",
        "parameters": {"x": {**declaration, "type": kind}},
        "steps": [{"id": "a", "action": "b"}],
    }
    try:
        bound = Plan.from_mapping(document).bind({"x": value})
    except (PlanValidationError, ParameterError):
        note("refused")
    else:
        assert bound == {"x": value}


@given(st.text(alphabet="{}[]:,-\"'${}.aeims0 \n", max_size=100), st.booleans())
@settings(deadline=None)
def test_no_text_crashes_the_reading(text: str, whole: bool) -> None:
    start = "format: 1\nname: p\nsteps:\n" if whole else ""
    try:
        Plan.from_text(start + text)
    except PlanValidationError:
        note("refused")


def signatures(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return signatures whose tasks, arguments and options are drawn from `inner`."""
    lists = st.lists(inner, max_size=3)
    return st.fixed_dictionaries(
        {
            "task": st.sampled_from(["shop.add", "celery.chain", "import", ""]),
            "args": lists,
            "kwargs": st.dictionaries(
                st.sampled_from(["tasks", "header", "body", "kwargs", "x"]),
                inner | lists,
                max_size=3,
            ),
            "options": st.dictionaries(
                st.sampled_from(["link", "queue", "priority", "time_limit", "odd"]),
                inner | lists,
                max_size=2,
            ),
        },
        optional={
            "subtask_type": st.sampled_from(["chain", "group", "chord", None]),
            "immutable": st.booleans(),
        },
    )


@given(st.recursive(any_values, signatures, max_leaves=20), st.booleans())
@settings(deadline=None)
def test_no_canvas_crashes_the_drawing(canvas: Any, lossy: bool) -> None:
    try:
        Plan.from_canvas(canvas, name="drawn", lossy=lossy)
    except PlanValidationError:
        note("refused")
