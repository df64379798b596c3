"""Rows of the rules of execution: a plan, what its steps do, and how all ends.

A row is named by its rule, in words of its own. Steps that are not mentioned succeed;
what one returns has its name as `step` and its input `saw`.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from execution import ExecutionEngine, Plan, Settings
from execution.database import Database
from execution.repository import ExecutionRepository
from execution.results import ErrorRecord, Event
from tests.conformance.nodes import Fate
from tests.conformance.stage import Stage
from tests.timeline import check_timeline, read_timeline

FAILS = Fate(failing_attempts=99)
LISTS = "parameters: {list: {type: array, default: [x, y, z]}}\n"
END = "run_on: %s, deadline: 1h"
UNDO = "undo: {action: play.step, with: {saw: '${step.result.step}'}}"


@dataclass(frozen=True)
class Row:
    """A plan, what becomes of its steps, and what must come of it.

    A step's end is its status, with the reason of a skip and the number of attempts, if
    there were several. `saw` is what one has read, `results` all that it returned,
    `codes` are those of errors, `code` that of the execution's, `inputs` what was
    recorded of them. Where `tick_seconds` are given, time goes on by them when nothing
    else is left to do; but `signals` are sent first, one by one.
    """

    plan: str
    status: str
    ends: Mapping[str, str]
    fates: Mapping[str, Fate] = field(default_factory=dict)
    saw: Mapping[str, object] = field(default_factory=dict)
    value: object = ...
    order: str = ""
    results: Mapping[str, object] = field(default_factory=dict)
    codes: Mapping[str, str | None] = field(default_factory=dict)
    inputs: Mapping[str, object] = field(default_factory=dict)
    code: object = ...
    tick_seconds: float | None = None
    pause_seconds: float = 0.0
    signals: tuple[tuple[str, object], ...] = ()
    most_at_once: int | None = None


def step(fields: str) -> str:
    """Return a step of a document, which calls the action of the stage by default."""
    action = "" if "action: " in fields.partition("undo:")[0] else ", action: play.step"
    return f"  - {{id: {fields.partition(',')[0]}{action}{fields[1:]}}}\n"


def steps(*written: str) -> str:
    """Return the steps of a document; each begins with its id, of one letter."""
    return "steps:\n" + "".join(step(fields) for fields in written)


def loop(repeat: str, fields: str = "", more: str = "") -> str:
    """Return steps of which the first, `a`, calls the action again and again."""
    repeated = f"repeat: {{action: play.step, {repeat}}}"
    return f"steps:\n  - {{id: a, {repeated}{fields}}}\n{more}"


@dataclass(frozen=True)
class Ended:
    """How a step has ended, by its row."""

    end: str
    result: Any
    code: str | None
    input: Any


@dataclass(frozen=True)
class Theatre:
    """What every row is played with."""

    engine: ExecutionEngine
    settings: Settings
    database: Database
    repository: ExecutionRepository

    def check(self, row: Row) -> str:
        """Play a row and assert that all ends as it says; return the execution's id."""
        stage = Stage(
            self.settings,
            self.database,
            self.repository,
            random.Random(row.plan),
            lambda name: row.fates.get(name, Fate()),
            tick_seconds=row.tick_seconds,
            pause_seconds=row.pause_seconds,
            signals=list(row.signals),
        )

        execution_id = stage.play(Plan.from_text(f"format: 1\nname: p\n{row.plan}"), {})

        self._check_steps(row, execution_id)
        ended = self.engine.get_result(execution_id)
        assert str(ended.status) == row.status
        assert row.value is ... or ended.value == row.value
        assert row.code is ... or _find_code(ended.error) == row.code
        check_timeline(self.engine, execution_id)
        self._check_order(row, read_timeline(self.engine, execution_id))
        return execution_id

    def _check_steps(self, row: Row, execution_id: str) -> None:
        found = dict(self._list_steps(execution_id))
        assert {name: step.end for name, step in found.items()} == row.ends
        assert {name: found[name].result["saw"] for name in row.saw} == row.saw
        assert {name: found[name].result for name in row.results} == row.results
        assert {name: found[name].code for name in row.codes} == row.codes
        assert {name: found[name].input for name in row.inputs} == row.inputs

    def _list_steps(self, execution_id: str) -> Iterator[tuple[str, Ended]]:
        rows = self.database.query(
            "SELECT name, status, reason, attempt, result, input,"
            " error ->> 'code' AS code FROM {schema}.execution_steps"
            " WHERE execution_id = %s",
            (execution_id,),
        )
        for row in rows:
            reason = f" {row['reason']}" if row["reason"] else ""
            again = f" after {row['attempt']}" if row["attempt"] > 1 else ""
            end = f"{row['status']}{reason}{again}"
            yield row["name"], Ended(end, row["result"], row["code"], row["input"])

    def _check_order(self, row: Row, events: tuple[Event, ...]) -> None:
        begun = [str(e.step) for e in events if e.type == "step.started"]
        assert not row.order or " ".join(begun) == row.order
        if row.most_at_once is not None:
            assert _count_most(events) == row.most_at_once


def _find_code(error: ErrorRecord | None) -> str | None:
    return None if error is None else str(error.code)


def _count_most(events: tuple[Event, ...]) -> int:
    """Return how many items were under way at once."""
    running = most = 0
    for event in events:
        if "[" in str(event.step):
            running += event.type == "step.started"
            running -= event.type in {"step.completed", "step.failed", "step.skipped"}
            most = max(most, running)
    return most
