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
    findings = [
        line.removeprefix(f"{path}:").split(" ")[:4] for line in output.splitlines()
    ]
    assert findings == [
        ["4:5:", "E001", "missing-field", "steps[0]:"],
        ["4:5:", "E001", "missing-needs", "steps[0].needs:"],
        ["5:5:", "E001", "unknown-field", "steps[0].acton:"],
        ["6:5:", "E001", "duplicate-id", "steps[1].id:"],
        ["8:13:", "E001", "unknown-step", "steps[1].needs[0]:"],
    ]


def test_plan_without_faults_ends_with_0_and_shows_warnings(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(GOOD)

    code, output, _ = validate(path)

    assert code == ExitCode.OK
    assert f"{path}: W001 no-timeout: steps without a timeout" in output
    assert "plan good with 1 step has no faults" in output


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
        "file",
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
    assert shape["faults"][0] == {
        "place": "steps[0]",
        "message": "must state `action`, `plan`, `repeat`, `sleep`, `sleep_until` or"
        " `wait_for`: what the step does",
        "line": 4,
        "column": 5,
        "file": str(path),
        "code": "E001",
        "rule": "missing-field",
    }


def write_three(folder: Path) -> list[str]:
    """Write a good plan, a faulty one and one with a warning; return their paths."""
    texts = {
        "good.yaml": GOOD.replace("action: a.b", "action: a.b, timeout: 1s"),
        "faulty.yaml": FAULTY,
        "warned.yaml": GOOD,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [str(folder / name) for name in texts]


def test_several_files_are_judged_each(tmp_path: Path) -> None:
    good, faulty, warned = write_three(tmp_path)

    code, output, _ = validate(Path(good), faulty, warned)

    assert code == ExitCode.FAILED
    lines = output.splitlines()
    assert lines[0] == f"{good}: plan good with 1 step has no faults"
    assert len([line for line in lines if line.startswith(f"{faulty}:")]) == 5
    assert lines[-1] == f"{warned}: plan good with 1 step has no faults"


def test_several_files_without_faults_end_with_0(tmp_path: Path) -> None:
    good, _, warned = write_three(tmp_path)

    code, _, _ = validate(Path(good), warned)

    assert code == ExitCode.OK


def test_json_of_several_files_lists_all_faults(tmp_path: Path) -> None:
    files = write_three(tmp_path)

    code, output, _ = validate(Path(files[0]), *files[1:], "--json")

    assert code == ExitCode.FAILED
    shape = json.loads(output)
    assert list(shape) == ["valid", "faults", "files"]
    assert shape["valid"] is False
    assert [one["file"] for one in shape["files"]] == files
    assert [one["valid"] for one in shape["files"]] == [True, False, True]
    assert {fault["file"] for fault in shape["faults"]} == {files[1]}


def test_strict_makes_a_warning_a_fault(tmp_path: Path) -> None:
    good, _, warned = write_three(tmp_path)

    code, output, _ = validate(Path(good), warned, "--strict")
    _, as_json, _ = validate(Path(warned), "--strict", "--json")

    assert code == ExitCode.FAILED
    message = "steps without a timeout can run for ever: one"
    assert output.splitlines()[1:] == [f"{warned}: W001 no-timeout: {message}"]
    (fault,) = json.loads(as_json)["faults"]
    assert fault == {
        "place": warned,
        "message": message,
        "line": None,
        "column": None,
        "file": warned,
        "code": "W001",
        "rule": "no-timeout",
    }


def test_files_that_cannot_be_read_are_all_named_and_none_is_judged(
    tmp_path: Path,
) -> None:
    good, faulty, _ = write_three(tmp_path)
    missing = [str(tmp_path / "no.yaml"), str(tmp_path / "nothing.yaml")]

    code, output, complaint = validate(Path(good), faulty, *missing)

    assert code == ExitCode.USAGE
    assert output == ""
    assert complaint.splitlines() == [
        f"plans: {missing[0]} is not a file",
        f"plans: {missing[1]} is not a file",
    ]


def test_no_file_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["validate"]).exit_code == ExitCode.USAGE


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
