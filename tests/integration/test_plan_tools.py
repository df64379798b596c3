"""The tools for plans on real servers: pictures, versions, differences."""

from collections.abc import Iterator

import pytest

from execution.cli.exits import ExitCode
from tests.integration.test_cli import ADDING, Project, open_project


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


# versions


def write_version(project: Project, version: str, timeout: str = "30s") -> str:
    """Write the plan `adding` with a version; return the path of its file."""
    path = project.folder / f"adding-{version}-{timeout}.yaml"
    text = ADDING.replace("name: adding", f"name: versioned\nversion: '{version}'")
    path.write_text(text.replace("30s", timeout))
    return str(path)


@pytest.fixture(scope="module")
def versioned(project: Project) -> Project:
    """The project with two versions of a plan published."""
    for version in ("1", "2"):
        path = write_version(project, version)
        assert project.call("publish", path).code == ExitCode.OK
    return project


def list_current(project: Project) -> list[str]:
    items = project.call("versions", "versioned", "--json").json["items"]
    return [item["version"] for item in items if item["is_current"]]


def test_versions_are_listed(versioned: Project) -> None:
    shown = versioned.call("versions", "versioned")
    items = versioned.call("versions", "versioned", "--json").json["items"]

    assert shown.code == ExitCode.OK
    assert list(items[0]) == [
        *("name", "version", "digest", "published_at", "is_current")
    ]
    for item in items:
        assert item["digest"][:12] in shown.output


def test_versions_of_an_unknown_name_end_with_3(versioned: Project) -> None:
    answer = versioned.call("versions", "nobodys")

    assert answer.code == ExitCode.NOT_FOUND
    assert "no plan 'nobodys' is published" in answer.complaint


def test_a_certain_version_is_submitted(versioned: Project) -> None:
    answer = versioned.call("submit", "versioned@1", "-p", "n=1")

    shown = versioned.call("show", answer.output.strip(), "--json").json
    assert shown["execution"]["version"] == "1"


def test_a_version_with_another_body_is_not_published(versioned: Project) -> None:
    before = list_current(versioned)

    answer = versioned.call("publish", write_version(versioned, "2", "31s"))

    assert answer.code == ExitCode.FAILED
    assert answer.output == ""
    assert "version 2 of plan versioned is published with another" in answer.complaint
    assert list_current(versioned) == before


def test_an_older_version_is_made_current_by_its_name_or_its_file(
    versioned: Project,
) -> None:
    by_name = versioned.call("publish", "versioned@1")
    current = [list_current(versioned)]
    by_file = versioned.call("publish", write_version(versioned, "2"))
    current.append(list_current(versioned))

    assert by_name.output == "versioned 1 is published\n"
    assert by_file.output == "versioned 2 is published\n"
    assert current == [["1"], ["2"]]


def test_a_file_is_compared_with_what_is_published(versioned: Project) -> None:
    same = versioned.call("diff", "versioned@1", write_version(versioned, "1"))
    other = versioned.call("diff", "versioned@1", write_version(versioned, "1", "1m"))

    assert (same.code, same.output) == (ExitCode.OK, "the plans are the same\n")
    assert other.code == ExitCode.FAILED
    assert other.output == (
        '~ steps.one.timeout: "30s" → "1m"\n~ steps.two.timeout: "30s" → "1m"\n'
    )


def test_two_versions_are_compared(versioned: Project) -> None:
    answer = versioned.call("diff", "versioned@1", "versioned@2", "--json")

    assert answer.code == ExitCode.FAILED
    assert list(answer.json) == ["same", "before", "after", "changes"]
    assert answer.json["same"] is False
    assert answer.json["before"]["version"] == "1"
    assert answer.json["changes"] == [
        {"kind": "changed", "place": "version", "before": "1", "after": "2"}
    ]


def test_what_is_not_there_cannot_be_compared(versioned: Project) -> None:
    unknown = versioned.call("diff", "versioned", "versioned@9")
    missing = versioned.call("diff", "versioned", "nowhere.yaml")

    assert unknown.code == ExitCode.NOT_FOUND
    assert missing.code == ExitCode.USAGE
