"""JSON on a terminal: whole, and nothing that the terminal would obey."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from execution.cli.looking import _print_record
from execution.cli.output import print_json
from execution.cli.record import Record
from tests.unit.test_cli_values import EXECUTION

CONTROLS = "a\x1b[2J\x7f\x9b31m\u2028\u202eb"


@pytest.mark.parametrize("on_one_line", [True, False])
def test_json_carries_no_control_and_still_means_the_same(
    capsys: pytest.CaptureFixture[str], on_one_line: bool
) -> None:
    value = {CONTROLS: ["ü", CONTROLS]}

    print_json(value, on_one_line=on_one_line)

    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "ü" in printed
    assert all(line.isprintable() for line in printed.split("\n"))


def test_values_of_an_execution_are_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    execution = replace(EXECUTION, parameters={"text": CONTROLS})

    _print_record(Record(execution, (), (), (), ()), most_steps=1, with_events=False)

    printed = capsys.readouterr().out
    assert r"\u009b31m" in printed
    assert all(line.isprintable() for line in printed.split("\n"))


def test_where_letters_cannot_be_written_they_are_numbered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", plain)

    print_json({"a": "ü\x9b"})

    written = plain.buffer.getvalue()
    assert json.loads(written) == {"a": "ü\x9b"}


@pytest.mark.parametrize("arguments", ["--version", "--help", "schema"])
@pytest.mark.parametrize(
    ("where", "code", "said"), [(">&-", 0, ""), (">/dev/full", 1, "No space left")]
)
def test_output_that_nobody_takes_shows_no_trace(
    arguments: str, where: str, code: int, said: str
) -> None:
    plans = Path(sys.executable).with_name("plans")
    shell = ["/bin/sh", "-c", f'"$0" {arguments} {where}', str(plans)]

    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == code
