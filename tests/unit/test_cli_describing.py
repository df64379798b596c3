"""`plans graph` and `plans explain` of files, as people and programs read them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from execution.cli.app import app
from execution.cli.exits import ExitCode

PLAN = """\
format: 1
name: rates
version: "3"
deadline: 2h
parameters:
  currency: {type: string, required: true}
steps:
  - id: fetch
    action: rates.[red]fetch
    queue: slow
    timeout: 90s
    retry: {attempts: 3, initial: 500ms, not_on: [ValueError]}
    on_failure: skip
    with: {currency: "${parameters.currency}"}
  - id: store
    action: rates.store
    retry: {attempts: 2, wait: fixed}
    with: {rates: "${steps.fetch.result}"}
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file with the plan."""
    file = tmp_path / "rates.yaml"
    file.write_text(PLAN)
    return str(file)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def find_table(lines: list[str]) -> int:
    """Return where the first row of the steps stands, below their head."""
    return 1 + next(i for i, line in enumerate(lines) if line.startswith("wave "))


def read_rows(lines: list[str]) -> list[list[str]]:
    """Return the cells of the steps, as they come into a pipe."""
    rows = [re.split("  +", line) for line in lines[find_table(lines) :]]
    return [row for row in rows if len(row) >= 8]


def test_a_plan_is_explained_to_people(path: str) -> None:
    result = call("explain", path, "-p", "currency=EUR")

    assert result.exit_code == ExitCode.OK
    lines = result.stdout.splitlines()
    assert lines[:6] == [
        "plan rates 3: 2 steps in 2 waves",
        "longest path: fetch → store",
        "queues: slow 1, (default) 1",
        "deadline: 2h",
        'parameters: currency="EUR"',
        "result: from store",
    ]
    assert read_rows(lines) == [
        [
            *("1", "fetch", "rates.[red]fetch", "slow", "1m30s", "none"),
            *("3, exponential 500ms to 1m", "skip", "parameters.currency"),
        ],
        [
            *("2", "store", "rates.store", "(default)", "none", "none"),
            *("2, fixed 1s", "abort", "steps.fetch.result"),
        ],
    ]
    assert lines[-1] == "fetch is left out if it fails for good"


def test_what_comes_after_the_steps_is_explained_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "order.yaml"
    path.write_text(
        "format: 1\nname: order\nrollback: on_failure\nsteps:\n"
        "  - {id: tell, action: m.tell, run_on: failure, deadline: 5m}\n"
        "  - {id: charge, action: p.charge, undo: {action: p.refund}}\n"
    )

    lines = call("explain", str(path)).stdout.splitlines()

    assert [row[:2] for row in read_rows(lines)] == [
        ["1", "charge"],
        ["rollback", "charge.undo"],
        ["end", "tell"],
    ]
    assert "at the end: tell" in lines
    assert "tell is left out if all goes well" in lines


def test_what_is_special_about_steps_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "special.yaml"
    path.write_text(
        "format: 1\nname: special\ndeadline: 1h\n"
        "concurrency: {key: 'n-${parameters.n}', limit: 2}\n"
        "parameters: {n: {type: integer, default: 3}}\n"
        "steps:\n"
        "  - {id: fetch, action: a.b, when: parameters.n > 2,\n"
        "     with: {key: secret://KEY}, on_failure: {fallback: recall}}\n"
        "  - {id: recall, action: a.c}\n"
        "  - {id: each, action: a.d, for_each: '[1, 2]', max_parallel: 1,\n"
        "     on_failure: skip, tolerate: 10%}\n"
        "  - {id: every, action: a.d, for_each: steps.fetch.result}\n"
        "  - {id: some, action: a.d, for_each: steps.fetch.result,\n"
        "     on_failure: skip, when: parameters.n > 9}\n"
        "  - {id: turn, repeat: {action: a.e, until: last.ok, times: 9},\n"
        "     on_failure: {restore: fetch, times: 1}}\n"
    )

    lines = call("explain", str(path)).stdout.splitlines()

    assert (
        "concurrency: 2 at once under the key n-${parameters.n}; on conflict queue"
        in lines
    )
    rows = read_rows(lines)
    assert [(row[0], row[1], row[7]) for row in rows] == [
        ("1", "fetch", "fallback recall"),
        ("2", "each", "skip"),
        ("3", "every", "abort"),
        ("4", "some", "skip"),
        ("5", "turn", "restore fetch, 1 time at most"),
        ("fallback", "recall", "abort"),
    ]
    assert lines[find_table(lines) + len(rows) :] == [
        "fetch is given secret://KEY",
        "fetch has a condition that is true with these parameters",
        (
            "each runs for each of [1, 2] (2 items), 1 at a time, and skips those that"
            " fail, 10% at most"
        ),
        "each is left out if its list cannot be evaluated",
        "every runs for each of steps.fetch.result",
        "some runs for each of steps.fetch.result, and skips those that fail",
        "some has a condition that is false with these parameters",
        "some is left out if its condition is false: parameters.n > 9",
        "some is left out if its list cannot be evaluated",
        "turn repeats a.e until last.ok, 9 times at most",
        "recall stands in for fetch, if that fails for good",
        "recall is left out if fetch does not fail for good",
    ]


def test_a_plan_is_explained_without_its_required_parameters(path: str) -> None:
    result = call("explain", path)

    assert result.exit_code == ExitCode.OK
    assert "parameters: not given, and some are required" in result.stdout


def test_parameters_that_do_not_fit_are_wrong_usage(path: str) -> None:
    result = call("explain", path, "-p", "curency=EUR")

    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert "parameters.curency" in result.stderr
    assert "parameters.currency: is required" in result.stderr


def test_json_of_an_explanation_has_the_documented_keys(path: str) -> None:
    shape: dict[str, Any] = json.loads(
        call("explain", path, "-p", "currency=EUR", "--json").stdout
    )

    assert list(shape) == [
        *("plan", "version", "digest", "parameters", "deadline_seconds"),
        *("concurrency", "waves"),
        *("longest_path", "end", "queues", "steps", "result_reads", "warnings"),
    ]
    assert shape["waves"] == [["fetch"], ["store"]]
    assert shape["queues"] == [
        {"queue": "slow", "steps": 1},
        {"queue": None, "steps": 1},
    ]
    fetch = shape["steps"][0]
    assert list(fetch) == [
        *("position", "name", "action", "plan", "sleep", "wait", "section"),
        *("wave", "undoes"),
        *("queue", "priority", "needs", "reads", "secrets"),
        *("inputs", "timeout_seconds", "deadline_seconds", "retry", "max_lost"),
        *("on_failure", "fallback", "stands_in_for", "restore", "restore_times"),
        *("skipped_if", "when"),
        *("when_holds", "for_each", "items", "max_parallel", "tolerate", "cache"),
        *("repeat", "uses"),
    ]
    assert fetch["inputs"] == {"currency": "EUR"}
    assert fetch["retry"]["not_on"] == ["ValueError"]


@pytest.mark.usefixtures("untraced")
def test_of_many_steps_the_first_hundred_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    steps = "".join(f"  - {{id: s{i}, action: a.b}}\n" for i in range(1_200))
    path.write_text(f"format: 1\nname: long\nsteps:\n{steps}")

    result = call("explain", str(path))

    names = [row[1] for row in read_rows(result.stdout.splitlines())]
    assert names == [f"s{number}" for number in range(100)]
    assert "the first 100 of 1,200 steps; --json prints all" in result.stdout
    assert "s5 → … 1,188 more … → s1194" in result.stdout
    assert (
        len(json.loads(call("explain", str(path), "--json").stdout)["steps"]) == 1_200
    )


def test_a_plan_with_faults_is_neither_explained_nor_drawn(tmp_path: Path) -> None:
    path = tmp_path / "faulty.yaml"
    path.write_text(PLAN.replace("rates.store", "a b"))

    for command in ("explain", "graph"):
        result = call(command, str(path))

        assert result.exit_code == ExitCode.FAILED
        assert result.stdout == ""
        assert "steps[1].action" in result.stderr


def test_files_are_compared(path: str, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        PLAN.replace("  - id: store", "  - {id: check, action: c.d}\n  - id: store")
        .replace("deadline: 2h\n", "")
        .replace("queue: slow", "queue: fast[/red]")
    )

    result = call("diff", path, str(other))

    assert result.exit_code == ExitCode.FAILED
    lines = result.stdout.splitlines()
    assert '~ steps.fetch.queue: "slow" → "fast[/red]"' in lines
    assert '~ steps.store.needs: ["fetch"] → ["check"]' in lines
    assert '- deadline: "2h"' in lines
    (added,) = [line for line in lines if line.startswith("+ ")]
    assert added.startswith('+ steps.check: {"action": "c.d", ')


def test_another_spelling_is_no_difference(path: str, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(PLAN.replace("deadline: 2h", "deadline: 120m"))

    result = call("diff", path, str(other))

    assert result.exit_code == ExitCode.OK
    assert result.stdout == "the plans do the same, and are written differently\n"


@pytest.mark.parametrize(
    ("drawing_format", "start"),
    [("mermaid", "---\n"), ("dot", "digraph"), ("svg", "<svg ")],
)
def test_a_plan_is_drawn_in_a_format(
    path: str, drawing_format: str, start: str
) -> None:
    result = call("graph", path, "--format", drawing_format)

    assert result.exit_code == ExitCode.OK
    assert result.stdout.startswith(start)


def test_a_format_that_is_not_known_is_wrong_usage(path: str) -> None:
    assert call("graph", path, "--format", "png").exit_code == ExitCode.USAGE
