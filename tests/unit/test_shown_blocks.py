"""Whatever a page shows as code is run by a test, or said here not to be."""

import re
import shlex
from collections.abc import Mapping

import pytest

from execution import Plan
from tests.pages import FOLLOWED, Block, list_pages, list_sharing, read_page
from tests.worker_process import ROOT

JUDGED = {"python", "yaml", "sh", "sql", "json"}
RUN: Mapping[str, Mapping[str, str]] = {
    "docs/actions.md": {
        "python": "test_the_shown_action_is_published_and_compared_as_the_page_says",
        "yaml": "test_the_shown_action_is_published_and_compared_as_the_page_says",
    },
    "docs/asyncio.md": {"python": "test_the_shown_service_and_its_background_run"},
    "docs/existing_projects.md": {
        "python": "test_the_shown_app_can_be_inspected",
        "sh": "test_the_shown_app_can_be_inspected",
    },
    "docs/existing_tasks.md": {
        "python": "test_the_shown_tasks_run",
        "yaml": "test_the_shown_tasks_run",
        "sh": "test_the_shown_tasks_run",
    },
    "docs/guarantees.md": {
        "python": "test_the_shown_use_of_the_key_reaches_the_service"
    },
    "docs/logs.md": {"python": "test_the_shown_lines_are_stored"},
    "docs/models.md": {"sql": "test_example_queries_find_something"},
    "docs/patterns.md": {"yaml": "test_what_is_called_supported_has_a_plan_and_a_test"},
    "docs/plan_tools.md": {
        "yaml": "test_shown_plans_are_valid",
        "sh": "test_the_shown_tools_print_what_is_shown",
        "json": "test_the_shown_tools_print_what_is_shown",
    },
    "docs/plans.md": {
        "python": "test_the_plan_shown_in_python_is_valid",
        "yaml": "test_shown_plans_are_valid",
    },
    "docs/privileges.md": {"sh": "test_the_shown_commands_make_roles"},
    "docs/submitting.md": {
        "python": "test_the_shown_submits_join_a_transaction",
        "sql": "test_the_shown_submits_join_a_transaction",
    },
    "docs/testing.md": {
        "python": "test_the_shown_tests_pass",
        "yaml": "test_the_shown_tests_pass",
    },
    "docs/watching.md": {"python": "test_the_page_shows_what_runs"},
    # their commands, sent as requests: the tests start the servers
    "examples/django_project/README.md": {
        "sh": "test_an_order_and_its_execution_begin_with_the_view",
    },
    "examples/fastapi_project/README.md": {
        "sh": "test_a_report_is_made_and_shown",
    },
}
"""Which test runs the blocks of a language in a page, for pages that nobody follows."""
NOT_RUN: Mapping[str, str] = {
    '{"$payload": {"path": "celery_plans/0190…/3-77e1….json",': "a form, with gaps",
    "from celery_plans import ExecutionEngine, Plan, action": (
        "test_celery_plans.py imports every name"
    ),
}
"""Blocks that nothing runs, by how their first line begins, and why not."""


def list_blocks() -> list[Block]:
    """Return what is shown as code on pages that no test follows as a whole."""
    followed = {*FOLLOWED, *list_sharing()}
    pages = [*list_pages("docs"), *list_pages("."), *list_pages("examples/*")]
    return [
        block
        for page in pages
        if page not in followed
        for block in read_page(page)
        if block.language in JUDGED
    ]


def is_left_out(block: Block) -> bool:
    return any(block.text.startswith(line) for line in NOT_RUN)


def test_every_shown_block_is_run_or_is_said_not_to_be() -> None:
    assert [
        f"{block.page}:{block.line}"
        for block in list_blocks()
        if not is_left_out(block) and block.language not in RUN.get(block.page, {})
    ] == []


def test_no_block_is_listed_that_is_not_shown() -> None:
    blocks = list_blocks()
    shown = {(block.page, block.language) for block in blocks}

    assert {(page, language) for page in RUN for language in RUN[page]} <= shown
    assert sum(map(is_left_out, blocks)) == len(NOT_RUN)


@pytest.mark.parametrize(
    ("page", "name"), sorted({(page, n) for page in RUN for n in RUN[page].values()})
)
def test_the_test_that_is_named_reads_the_page(page: str, name: str) -> None:
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    (text,) = (text for text in texts if f"def {name}(" in text)

    assert page.removesuffix("/README.md").rpartition("/")[2] in text


def list_example_runs() -> list[tuple[str, str]]:
    """Return every `plans run` that the page of an example shows, with its folder."""
    return [
        (page.rpartition("/")[0], line)
        for page in list_pages("examples/*")
        for line in re.findall(
            r"^    plans run (.+)$", (ROOT / page).read_text("utf-8"), re.MULTILINE
        )
    ]


@pytest.mark.parametrize(("folder", "line"), list_example_runs())
def test_a_shown_run_of_an_example_has_the_parameters_of_its_plan(
    folder: str, line: str
) -> None:
    file, *options = shlex.split(line)
    given = dict(pair.split("=", 1) for pair in options if pair != "-p")
    plan = Plan.from_file(ROOT / folder / file)

    bound = plan.bind_text(given)

    assert set(given) <= set(bound)


def test_runs_of_examples_are_found() -> None:
    assert len(list_example_runs()) >= 5
