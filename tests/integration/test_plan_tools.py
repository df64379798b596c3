"""The tools for plans on real servers: pictures, versions, differences."""

from collections.abc import Iterator

import pytest

from execution.cli.exits import ExitCode
from tests.integration.test_cli import Project, open_project


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """A folder with plans, and a database with the schema; nobody works."""
    with open_project() as opened:
        assert opened.call("db", "upgrade").code == ExitCode.OK
        yield opened


# pictures


def test_an_execution_is_drawn_with_its_states(project: Project) -> None:
    path = project.file("adding.yaml")
    execution_id = project.call("submit", path, "-p", "n=1").output.strip()

    drawn = project.call("graph", execution_id)

    assert drawn.code == ExitCode.OK
    assert f'title: "adding {execution_id}: pending"' in drawn.output
    assert 'n0["one<br/>cli.add<br/>ready"]' in drawn.output
    assert 'n1["two<br/>cli.add<br/>pending"]' in drawn.output
    assert "class n0 ready" in drawn.output


def test_a_published_plan_is_drawn_by_its_name(project: Project) -> None:
    assert project.call("publish", project.file("adding.yaml")).code == ExitCode.OK

    by_name = project.call("graph", "adding", "--format", "dot")
    by_file = project.call("graph", project.file("adding.yaml"), "--format", "dot")

    assert by_name.code == ExitCode.OK
    assert by_name.output == by_file.output


@pytest.mark.parametrize(
    "source", ["nobodys", "01a1fc5f-ecfd-7f66-aad4-cad5b7662969"], ids=str
)
def test_what_is_not_there_cannot_be_drawn(project: Project, source: str) -> None:
    answer = project.call("graph", source)

    assert answer.code == ExitCode.NOT_FOUND
    assert answer.output == ""
    assert source in answer.complaint
