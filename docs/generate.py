"""Writes what derives from the code: states and moves, tables, rules, shapes of JSON.

python docs/generate.py            write them
python docs/generate.py --check    say which are out of date, and exit with 1
"""

import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from command_shapes import build_shapes
from meanings import MEANINGS, REASONS
from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from execution import models
from execution.acts import STEP_ACTS, Act, Verdict, can_be, judge
from execution.cli.exits import exit_code
from execution.cli.shapes import build_json_schema
from execution.diagnosis.codes import FindingCode, FindingSeverity
from execution.language.rules import Rule
from execution.language.subjects import Subject
from execution.sql.guards import ROW_RULES
from execution.states import (
    EXECUTION_MOVES,
    STEP_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    ExecutionMove,
    ExecutionStatus,
    StepMove,
    StepStatus,
)

DOCS = Path(__file__).parent
SCHEMA = build_json_schema()

EXECUTION_STATES: Mapping[ExecutionStatus, str] = {
    ExecutionStatus.PENDING: "submitted; no step has been claimed yet",
    ExecutionStatus.RUNNING: "steps start as soon as what they need is settled",
    ExecutionStatus.PAUSED: "running steps end and are recorded, none starts",
    ExecutionStatus.ENDING: "nothing starts any more; what runs is waited for",
    ExecutionStatus.COMPLETED: "all steps are settled and the result is recorded",
    ExecutionStatus.FAILED: "a step aborted it, or its result could not be made",
    ExecutionStatus.CANCELLED: "somebody asked for the end",
    ExecutionStatus.TIMED_OUT: "the deadline of its plan has passed",
}
EXECUTION_CAUSES: Mapping[ExecutionMove, str] = {
    ExecutionMove.START: "the first claim of one of its steps",
    ExecutionMove.PAUSE: "`pause`",
    ExecutionMove.RESUME: "`resume`; the epoch rises",
    ExecutionMove.REQUEUE: "`resume`, of one that still waits for its key",
    ExecutionMove.END: "its last step ended, an aborting failure, `cancel`, a deadline",
    ExecutionMove.COMPLETE: "the finish of one that ends by its result",
    ExecutionMove.FAIL: "the finish of one that was aborted, or has a faulty result",
    ExecutionMove.CANCEL: "the finish of one that was cancelled",
    ExecutionMove.TIME_OUT: "the finish of one that outlived its deadline",
    ExecutionMove.RETRY: "`retry`, or `skip` or `force` of a step that ended it; the"
    " epoch rises",
}
STEP_STATES: Mapping[StepStatus, str] = {
    StepStatus.PENDING: "waits for other steps",
    StepStatus.READY: "may run; a message is under way, or will be",
    StepStatus.RUNNING: "an attempt holds it, by a lease token",
    StepStatus.WAITING: "waits for a time before its next attempt, and holds nothing",
    StepStatus.COMPLETED: "recorded with its result",
    StepStatus.FAILED: "its attempts or losses are used up, or no other could help",
    StepStatus.SKIPPED: "its needs were all skipped, its condition was false, or its"
    " failure is skipped over, or somebody says so",
    StepStatus.CANCELLED: "the execution ended before it started",
    StepStatus.TIMED_OUT: "its last attempt outlived the timeout, or it its deadline",
}
STEP_CAUSES: Mapping[StepMove, str] = {
    StepMove.RIDE: "who completed all that it needs goes on to it, in the same write",
    StepMove.RELEASE: "the last of its needs is settled",
    StepMove.CLAIM: "a worker takes it; the attempt is counted",
    StepMove.COMPLETE: "an attempt has returned",
    StepMove.FAIL: "the last attempt has failed, or the last loss is used up",
    StepMove.SKIP: "its needs were all skipped, its condition came to false, it failed"
    " under `on_failure: skip`, or `skip`",
    StepMove.TIME_OUT: "its last attempt outlived its timeout, or a deadline passed",
    StepMove.CANCEL: "the execution ends before it starts; it ends after that",
    StepMove.GIVE_BACK: "its attempt was lost, outlived its timeout, yielded or was cut"
    " by the stop of its worker; another follows",
    StepMove.WAIT: "an attempt failed, and the next is to follow only later",
    StepMove.WAKE: "that time has come",
    StepMove.RESTORE: "it or a later step has failed, and the execution goes back",
    StepMove.RETRY: "its execution is retried: it begins anew",
    StepMove.REJOIN: "the same, and its items, or what runs within it, go on",
    StepMove.FORCE: "`force`: somebody says what it came to",
}


def build_state_page() -> str:
    """Return docs/state_machine.md."""
    return "\n".join(
        [
            "# States and moves",
            "",
            "Generated from `execution/states.py` by `python docs/generate.py`. These",
            "tables make the guard in the database, which refuses every other move.",
            "",
            "## Execution",
            "",
            *_draw(EXECUTION_MOVES, TERMINAL_EXECUTION_STATUSES),
            *_list_states(EXECUTION_STATES, TERMINAL_EXECUTION_STATUSES),
            *_list_causes(EXECUTION_CAUSES, ExecutionMove),
            "## Step",
            "",
            *_draw(STEP_MOVES, TERMINAL_STEP_STATUSES),
            *_list_states(STEP_STATES, TERMINAL_STEP_STATUSES),
            *_list_causes(STEP_CAUSES, StepMove),
            "## What people can do",
            "",
            "What each act comes to, by the state of the execution: the state that it",
            "leads to; or the exit code and the error code with which it is refused,",
            "and changes nothing. Generated from `execution/acts.py`; a test walks it.",
            "",
            *_list_acts(),
            "`skip` and `force` are about one step, and depend on its state as well:",
            "",
            *_list_step_acts(),
        ]
    )


def _list_acts() -> Iterable[str]:
    yield f"| act | {' | '.join(f'`{status}`' for status in ExecutionStatus)} |"
    yield "|---" * (len(ExecutionStatus) + 1) + "|"
    for act in Act:
        if act not in STEP_ACTS:
            cells = (_say(judge(act, status)) for status in ExecutionStatus)
            yield f"| `{act}` | {' | '.join(cells)} |"
    yield ""


def _list_step_acts() -> Iterable[str]:
    yield f"| step | {' | '.join(f'`{status}`' for status in ExecutionStatus)} |"
    yield "|---" * (len(ExecutionStatus) + 1) + "|"
    for step in StepStatus:
        cells = (
            _say(judge(Act.SKIP, status, step)) if can_be(status, step) else ""
            for status in ExecutionStatus
        )
        yield f"| `{step}` | {' | '.join(cells)} |"
    yield ""


def _say(verdict: Verdict) -> str:
    if verdict.error is not None:
        return f"{exit_code(verdict.error('')).value}, {verdict.error.code}"
    states = [f"`{status}`" for status in ExecutionStatus if status in verdict.leads_to]
    return ", ".join([*states, verdict.says] if verdict.says else states)


Status = ExecutionStatus | StepStatus
Moves = (
    Mapping[tuple[ExecutionStatus, ExecutionMove], ExecutionStatus]
    | Mapping[tuple[StepStatus, StepMove], StepStatus]
)


def _draw(moves: Moves, terminal: Iterable[Status]) -> Iterable[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> pending"
    for (before, move), after in moves.items():
        yield f"    {before} --> {after}: {move.replace('_', ' ')}"
    for status in sorted(terminal):
        yield f"    {status} --> [*]"
    yield "```"
    yield ""


def _list_states(
    states: Mapping[ExecutionStatus, str] | Mapping[StepStatus, str],
    terminal: Iterable[Status],
) -> Iterable[str]:
    yield "| state | | |"
    yield "|---|---|---|"
    for status, meaning in states.items():
        yield f"| `{status}` | {meaning} | {'terminal' if status in terminal else ''} |"
    yield ""


def _list_causes(
    causes: Mapping[ExecutionMove, str] | Mapping[StepMove, str],
    moves: type[ExecutionMove] | type[StepMove],
) -> Iterable[str]:
    said: dict[str, str] = {str(move): cause for move, cause in causes.items()}
    yield "| move | what makes it |"
    yield "|---|---|"
    for move in moves:
        yield f"| {move.replace('_', ' ')} | {said[move]} |"
    yield ""


def build_tables() -> str:
    """Return the part of docs/models.md that lists every table."""
    classes = {
        str(mapper.class_.__tablename__): mapper.class_
        for mapper in models.Base.registry.mappers
    }
    ordered = sorted(classes)
    return "\n".join(line for name in ordered for line in _describe(classes[name]))


def _describe(model: type) -> Iterable[str]:
    table: Table = model.__table__  # type: ignore[attr-defined]  # every model has one
    yield f"### `{table.name}`: {model.__name__}"
    yield ""
    yield inspect.cleandoc(model.__doc__ or "")
    yield ""
    yield "| field | type | | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        kind = column.type.compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        kind = kind.replace("timestamp with time zone", "timestamptz")
        yield f"| `{column.name}` | {kind} | {_keys(column)} | {_mean(column)} |"
    yield ""
    yield from _list_rules(table)
    yield from _list_indexes(table)


def _list_rules(table: Table) -> Iterable[str]:
    rules = {
        str(constraint.name).removeprefix(f"ck_{table.name}_"): str(constraint.sqltext)
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    rules |= ROW_RULES.get(table.name, {})
    if rules:
        yield "What the database lets no row break, and why:"
        yield ""
        yield from (f"- `{rules[name]}`: {REASONS[name]}" for name in sorted(rules))
        yield ""


def _list_indexes(table: Table) -> Iterable[str]:
    indexes = {str(index.name): _write_index(index) for index in table.indexes}
    indexes |= {
        str(constraint.name): f"{_write_columns(constraint.columns)}, unique"
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    if indexes:
        yield "Besides its key it has an index on:"
        yield ""
        yield from (f"- {indexes[name]}: {REASONS[name]}" for name in sorted(indexes))
        yield ""


def _write_index(index: Index) -> str:
    condition = index.dialect_options["postgresql"]["where"]
    return (
        _write_columns(index.expressions)
        + (", unique" if index.unique else "")
        + (f", where `{condition}`" if condition is not None else "")
    )


def _write_columns(columns: Iterable[object]) -> str:
    # a column, or an expression such as one that is sorted downwards
    return ", ".join(f"`{getattr(column, 'name', column)}`" for column in columns)


def _keys(column: Column[object]) -> str:
    marks = ["key"] if column.primary_key else []
    marks += [f"→ `{key.column.table.name}`" for key in column.foreign_keys]
    marks += ["may be null"] if column.nullable else []
    return ", ".join(dict.fromkeys(marks))


def _mean(column: Column[object]) -> str:
    return MEANINGS.get(f"{column.name}@{column.table.name}") or MEANINGS[column.name]


def build_rules() -> str:
    """Return the part of docs/plan_tools.md that lists what plans can break."""
    return "\n".join(line for subject in Subject for line in _list_rules_of(subject))


def _list_rules_of(subject: Subject) -> Iterable[str]:
    rules = [rule for rule in Rule if rule.subject is subject]
    yield f"### {subject}: {rules[0].code}"
    yield ""
    yield "| rule | what is wrong; what to do |"
    yield "|---|---|"
    yield from (f"| `{rule}` | {rule.meaning} |" for rule in rules)
    yield ""


def build_findings() -> str:
    """Return the part of docs/operations/doctor.md that lists what can be found."""
    return "\n".join(
        line for severity in FindingSeverity for line in _list_findings(severity)
    )


def _list_findings(severity: FindingSeverity) -> Iterable[str]:
    yield f"### {str(severity).capitalize()}s"
    yield ""
    yield "| finding | what is wrong | what to do | `--fix` |"
    yield "|---|---|---|---|"
    for code in FindingCode:
        if code.severity is severity:
            # what stands in braces is filled in; as it is, it is all of the fix
            fix = "as it says" if code.fix == "{fix}" else code.fix
            mark = "mends it" if code.is_mended else ""
            yield f"| `{code}` | {code.meaning} | {fix} | {mark} |"
    yield ""


def build_pages() -> dict[Path, str]:
    """Return every derived page with what it should hold."""
    return {
        DOCS / "state_machine.md": build_state_page() + "\n",
        DOCS / "models.md": _end_page(DOCS / "models.md", build_tables()),
        DOCS / "command_line.schema.json": json.dumps(SCHEMA, indent=1) + "\n",
        DOCS / "command_line.md": _end_page(
            DOCS / "command_line.md", build_shapes(SCHEMA)
        ),
        DOCS / "plan_tools.md": _end_page(DOCS / "plan_tools.md", build_rules()),
        DOCS / "operations" / "doctor.md": _end_page(
            DOCS / "operations" / "doctor.md", build_findings()
        ),
    }


def _end_page(page: Path, text: str) -> str:
    """Return a page with its derived part, which follows what is written by hand."""
    head, mark, _ = page.read_text("utf-8").partition("<!-- generated -->\n")
    return f"{head}{mark}\n{text}"


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    stale = [
        (path, text)
        for path, text in build_pages().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"{path} is out of date; run: python docs/generate.py\n")
        else:
            path.write_text(text, "utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
