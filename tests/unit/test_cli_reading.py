"""Plan files and parameters on the command line, and `plans validate`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from execution.cli.app import app
from execution.cli.exits import ExitCode, UsageError
from execution.cli.reading import bind_parameters, read_plan
from execution.errors import ParameterError
from execution.plan import Plan

GOOD = """\
format: 1
name: good
steps:
  - {id: one, action: a.b}
"""
FAULTY = """\
format: 1
name: faulty
steps:
  - id: one
    acton: a.b
  - id: one
    action: a.b
    needs: [nobody]
"""
PLAN = Plan.from_text(
    """\
format: 1
name: typed
parameters:
  count: {type: integer, required: true}
  share: {type: number, default: 0.5}
  names: {type: array}
  label: {type: string, default: none}
steps:
  - {id: one, action: a.b}
"""
)


def validate(path: Path, *options: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["validate", str(path), *options])
    return result.exit_code, result.stdout, result.stderr


def test_every_fault_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(FAULTY)

    code, output, _ = validate(path)

    assert code == ExitCode.FAILED
    assert all(line.startswith(f"{path}:") for line in output.splitlines())
    places = [
        line.removeprefix(f"{path}:").split(" ")[:2] for line in output.splitlines()
    ]
    assert places == [
        ["4:5:", "steps[0].action:"],
        ["4:5:", "steps[0].needs:"],
        ["5:5:", "steps[0].acton:"],
        ["6:5:", "steps[1].id:"],
        ["8:13:", "steps[1].needs[0]:"],
    ]


def test_plan_without_faults_ends_with_0_and_shows_warnings(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD)

    code, output, _ = validate(path)

    assert code == ExitCode.OK
    assert "warning: steps without a timeout" in output
    assert "plan good with 1 steps has no faults" in output


def test_json_of_a_valid_plan_has_the_documented_keys(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD)

    code, output, _ = validate(path, "--json")

    assert code == ExitCode.OK
    shape = json.loads(output)
    assert list(shape) == [
        "valid",
        "plan",
        "version",
        "digest",
        "steps",
        "faults",
        "warnings",
    ]
    assert shape["valid"] is True
    assert shape["plan"] == "good"
    assert len(shape["digest"]) == 64


def test_json_of_a_faulty_plan_lists_the_faults(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(FAULTY)

    code, output, _ = validate(path, "--json")

    assert code == ExitCode.FAILED
    shape = json.loads(output)
    assert shape["valid"] is False
    assert {"place", "message", "line", "column"} == set(shape["faults"][0])


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "unreadable"])
def test_file_that_is_no_text_ends_with_2_in_one_line(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.yaml"
    match kind:
        case "folder":
            path.mkdir()
        case "binary":
            path.write_bytes(b"format: 1\nname: \xff\xfe\x00")
        case "unreadable":
            # a link to itself cannot be opened, not even by root
            path.symlink_to(path)
        case _:
            pass

    code, output, complaint = validate(path)

    assert code == ExitCode.USAGE
    assert output == ""
    assert len(complaint.splitlines()) == 1
    assert complaint.startswith(f"plans: {path} ")


def test_plan_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD)

    assert read_plan(path).name == "good"


def test_texts_are_read_as_declared_and_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text('{"count": 1, "names": ["x"], "label": "from the file"}')

    values = bind_parameters(PLAN, ["count=7", "share=1.5", "label=a=b"], file)

    assert values == {"count": 7, "share": 1.5, "names": ["x"], "label": "a=b"}


def test_every_parameter_that_does_not_fit_is_named() -> None:
    with pytest.raises(ParameterError) as caught:
        bind_parameters(PLAN, ["share=much", "cuont=1"], None)

    places = {fault.place for fault in caught.value.faults}
    assert places == {"parameters.share", "parameters.cuont", "parameters.count"}


@pytest.mark.parametrize("pairs", [["count"], ["=1"], ["count=1", "count=2"]], ids=str)
def test_malformed_pairs_are_wrong_usage(pairs: list[str]) -> None:
    with pytest.raises(UsageError, match="-p"):
        bind_parameters(PLAN, pairs, None)


@pytest.mark.parametrize("text", ["[1]", "{", '{"count": NaN}', "\udcff"], ids=ascii)
def test_parameters_file_must_hold_a_json_object(text: str, tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(UsageError, match=r"parameters\.json"):
        bind_parameters(PLAN, [], file)


def test_parameters_file_that_is_missing_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        bind_parameters(PLAN, [], tmp_path / "nowhere.json")
