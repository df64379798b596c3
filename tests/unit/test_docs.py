"""The pages list what there is: tables, fields, modules, commands, moves."""

import json
import re
import tomllib
from collections.abc import Iterable
from dataclasses import fields as fields_of
from itertools import pairwise
from pathlib import Path

import pytest

from execution import models
from execution.cli.app import _COMMANDS
from execution.explanation import Explanation, StepOutlook
from execution.expressions import evaluate_template
from execution.expressions.functions import FUNCTIONS
from execution.language import fields
from execution.language.document import (
    Fields,
    ParameterFields,
    PlanDocument,
    PolicyFields,
    RetryFields,
    StepFields,
)
from execution.language.parameter_types import ParameterType
from execution.states import EXECUTION_MOVES, STEP_MOVES, ExecutionStatus, StepStatus

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def read_page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def read_section(page: str, title: str) -> str:
    """Return what stands below a heading, up to the next one."""
    _, _, rest = read_page(page).partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Return the names in the first column of every table in a text."""
    cells = re.findall(r"^\| (`[^|]*`) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def list_shown_commands(page: Path) -> set[str]:
    """Return the commands of `plans` that a page shows as code."""
    text = page.read_text("utf-8")
    shown = re.findall(r"^```sh.*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown += re.findall(r"`([^`\n]+)`", text)
    return set(re.findall(r"\bplans (?:--local )?([a-z][a-z-]*)", "\n".join(shown)))


def written_names(*levels: type[Fields]) -> set[str]:
    """Return the names of fields as they stand in a document."""
    return {
        info.alias or name
        for level in levels
        for name, info in level.model_fields.items()
    }


def test_every_table_and_column_is_listed_and_no_other() -> None:
    page = read_page("docs/models.md")
    listed = {
        heading: first_cells(body)
        for heading, body in re.findall(
            r"^### `(\w+)`.*?\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL
        )
    }

    assert listed == {
        table.name: [column.name for column in table.columns]
        for table in models.Base.metadata.tables.values()
    }


def test_every_reference_between_tables_is_drawn() -> None:
    (drawing,) = re.findall(
        r"```mermaid\nerDiagram\n(.*?)```", read_page("docs/models.md"), re.DOTALL
    )
    drawn = set(re.findall(r"^ +(\w+) \S+ (\w+) :", drawing, re.MULTILINE))

    references = {
        (key.column.table.name, table.name)
        for table in models.Base.metadata.tables.values()
        for key in table.foreign_keys
    }
    # these two are drawn and not enforced; the page says why
    assert drawn == references | {
        ("submissions", "executions"),
        ("workers", "execution_steps"),
    }


@pytest.mark.parametrize(
    ("title", "states", "moves"),
    [
        ("Execution", ExecutionStatus, {move for _, move in EXECUTION_MOVES}),
        ("Step", StepStatus, {move for _, move in STEP_MOVES}),
    ],
)
def test_every_state_and_move_has_its_sentence(
    title: str, states: Iterable[str], moves: set[str]
) -> None:
    section = read_section("docs/state_machine.md", title)

    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    said = {name.strip("`") for name, sentence in rows if len(sentence) > 5}

    assert said >= {str(state) for state in states}
    assert said >= {move.replace("_", " ") for move in moves}


def test_the_modules_are_listed_from_the_top_layer_down() -> None:
    contract = tomllib.loads(read_page("pyproject.toml"))["tool"]["importlinter"]
    depth = {
        name.strip().removeprefix("execution."): level
        for level, layer in enumerate(contract["contracts"][0]["layers"])
        for name in layer.split("|")
    }
    listed = re.findall(
        r"^\| [a-zA-Z ]+ \| `(\w+)` \|", read_page("docs/architecture.md"), re.MULTILINE
    )

    assert set(listed) == set(depth)
    assert [
        f"{above} above {below}"
        for above, below in pairwise(listed)
        if depth[above] > depth[below]
    ] == []


def test_every_field_of_a_document_is_listed() -> None:
    listed = first_cells(read_section("docs/plans.md", "The document"))

    assert set(listed) == written_names(PlanDocument)


def test_every_field_of_a_step_is_listed_with_the_policies_last() -> None:
    section = read_section("docs/plans.md", "Steps")
    listed = first_cells(section)

    assert set(listed) == written_names(StepFields)
    assert set(listed[-7:]) == written_names(PolicyFields)
    assert all(f"`{name}`" in section for name in written_names(RetryFields))


def test_shown_expressions_come_to_what_is_said() -> None:
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \|$",
        read_section("docs/plans.md", "Expressions"),
        re.MULTILINE,
    )

    assert len(rows) > 15
    for text, value in rows:
        come_to = evaluate_template(f"${{{text}}}", {}, place=text)
        assert come_to == json.loads(value), text


def test_every_function_of_expressions_is_shown() -> None:
    section = read_section("docs/plans.md", "Expressions")

    assert [name for name in FUNCTIONS if f"{name}(" not in section] == []


def test_every_field_and_type_of_a_parameter_is_listed() -> None:
    listed = first_cells(read_section("docs/plans.md", "Parameters"))

    assert set(listed) == written_names(ParameterFields) | set(map(str, ParameterType))


def test_fields_of_later_releases_are_listed_as_such() -> None:
    listed = re.findall(r"`(\w+)`", read_section("docs/plans.md", "Not yet"))

    assert set(listed) == (
        fields._LATER_IN_DOCUMENT | fields._LATER_IN_STEP | fields._RESERVED
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_commands_are_there(page: Path) -> None:
    assert list_shown_commands(page) - set(_COMMANDS) == set()


def test_the_readme_shows_how_to_run_a_plan() -> None:
    assert list_shown_commands(ROOT / "README.md") >= {"up", "run", "list", "db"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_make_targets_are_there(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", read_page("Makefile"), re.MULTILINE)

    shown = re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text("utf-8"), re.M)

    assert set(shown) - set(targets) == set()


def test_the_page_of_the_tools_lists_what_an_explanation_has() -> None:
    listed = first_cells(read_section("docs/plan_tools.md", "Explained"))

    assert listed == [
        field.name for shape in (Explanation, StepOutlook) for field in fields_of(shape)
    ]
