"""What people see: tables of executions and steps, and lines of the timeline.

Promises: nothing that came from a plan, an action or a parameter is taken for markup
or reaches the terminal as a control character; without a terminal nothing is cut off
to fit one. It must not know where the values come from.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from execution.cli.exits import printable, write_count
from execution.results import (
    ErrorRecord,
    Event,
    ExecutionSummary,
    PlanVersion,
    StateChange,
    StepSummary,
    WorkerSummary,
)
from execution.states import StepStatus

_WIDTH_WITHOUT_TERMINAL = 250
_STYLES = {
    "completed": "green",
    "running": "cyan",
    "started": "cyan",
    "failed": "red",
    "timed_out": "red",
    "lost": "yellow",
    "retrying": "yellow",
    "paused": "yellow",
    "ending": "yellow",
    "skipped": "dim",
    "cancelled": "dim",
    "pending": "dim",
    "ready": "dim",
}

_RANKS = {
    StepStatus.FAILED: 0,
    StepStatus.TIMED_OUT: 0,
    StepStatus.RUNNING: 1,
    StepStatus.WAITING: 2,
}


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on the standard output, or on the standard error."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL,
        highlight=False,
        markup=False,
        emoji=False,
    )


def styled(word: str) -> Text:
    """Return a state, or the last word of an event's type, in its colour."""
    return Text(word, style=_STYLES.get(word.rpartition(".")[2], ""))


def write_time(moment: datetime | None) -> str:
    """Return a moment in this machine's time zone, to the second."""
    if moment is None:
        return "-"
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def write_seconds(start: datetime | None, end: datetime | None) -> str:
    """Return the time between two moments, where both are known."""
    if start is None or end is None:
        return "-"
    return f"{(end - start).total_seconds():.1f} s"


def write_error(error: ErrorRecord) -> str:
    """Return an error as one line: code, step, message."""
    at = f" in step {error.step}" if error.step else ""
    return printable(f"{error.code}{at}: {error.message}")


def describe_event(event: Event) -> Text:
    """Return an entry of the timeline as one line."""
    line = Text.assemble(
        styled(event.type), f" {printable(event.step)}" if event.step else ""
    )
    details = "; ".join(_list_details(event.data))
    return line.append(f" ({details})" if details else "", style="dim")


def _list_details(data: Mapping[str, object]) -> list[str]:
    details = [
        f"{name} {printable(data[name])}"
        for name in ("attempt", "host", "to")
        if name in data
    ]
    if (iteration := data.get("iteration")) is not None:
        details.append(f"iteration {iteration}")
    if (child := data.get("child")) is not None:
        details.append(f"runs as {printable(child)}")
    if (percent := data.get("percent")) is not None:
        details.append(f"{percent:.0f} %")
    details.extend(
        printable(data[name])
        for name in ("key", "message", "reason", "comment", "by")
        if data.get(name)
    )
    match data:
        case {"error": {"code": code, "message": message}}:
            details.append(printable(f"{code} {message}"))
        case {"from": {"execution_id": execution_id, "step": step}, **others}:
            details.append(printable(f"from {execution_id} {step}"))
            details.append(f"{others.get('age_seconds', 0):.0f} s old")
        case _:
            pass
    return details


def choose_steps(steps: Sequence[StepSummary], most: int) -> Sequence[StepSummary]:
    """Return at most so many steps, in order: what needs a look comes before the rest.

    That is what went wrong, then what runs or waits, then what was begun last.
    """
    if len(steps) <= most:
        return steps
    ranked = sorted(steps, key=_rank_step)
    return sorted(ranked[:most], key=lambda step: step.position)


def _rank_step(step: StepSummary) -> tuple[int, float]:
    begun = step.claimed_at.timestamp() if step.claimed_at else 0.0
    return (_RANKS.get(step.status, 3 if step.claimed_at else 4), -begun)


def count_statuses(steps: Sequence[StepSummary]) -> str:
    """Say how many steps there are, and how many of them in each state."""
    counts = Counter(step.status for step in steps)
    listed = ", ".join(f"{n:,} {status}" for status, n in counts.most_common())
    return f"{len(steps):,} steps: {listed}"


def build_steps_table(
    steps: Sequence[StepSummary], hosts: Mapping[str, str] | None = None
) -> Table:
    """Return the steps of an execution; `hosts` maps workers to their names."""
    table = Table("step", "action", "state", "attempt", "progress", "time", "note")
    if hosts is not None:
        table.add_column("worker")
    for step in steps:
        holder = [printable((hosts or {}).get(step.worker_id or "", "-"))]
        table.add_row(
            printable(step.name),
            printable(f"plan {step.plan}" if step.plan else step.action),
            styled(step.status),
            str(step.attempt or "-"),
            _write_progress(step),
            write_seconds(step.claimed_at, step.ended_at),
            _write_note(step),
            *(holder if hosts is not None else ()),
        )
    return table


def _write_note(step: StepSummary) -> str:
    """Say what the state alone does not: how often before, until when, and why."""
    notes = [
        write_count(step.iterations, "iteration") if step.iterations else "",
        f"{step.failures} failed" if step.failures else "",
        f"{step.losses} lost" if step.losses else "",
        f"runs as {step.child_id}" if step.child_id else "",
        f"waits until {write_time(step.wake_at)}" if step.wake_at else "",
        _write_source(step),
        step.error.message if step.error else "",
    ]
    return printable("; ".join(filter(None, notes)))


def _write_source(step: StepSummary) -> str:
    """Say where a result was taken from, if the step did not run for it."""
    source = step.cached_from
    return f"cached from {source['execution_id']} {source['step']}" if source else ""


def _write_progress(step: StepSummary) -> str:
    if step.progress is None:
        return ""
    message = f" {step.progress_message}" if step.progress_message else ""
    return printable(f"{step.progress:.0f} %{message}")


def build_executions_table(executions: Sequence[ExecutionSummary]) -> Table:
    """Return a list of executions."""
    table = Table("id", "plan", "state", "steps", "created", "time", "tags")
    table.columns[0].no_wrap = True
    for execution in executions:
        ended = execution.total_steps - execution.open_steps
        table.add_row(
            execution.id,
            printable(" ".join(filter(None, (execution.plan, execution.version)))),
            styled(execution.status).append(_write_wait(execution)),
            f"{ended}/{execution.total_steps}",
            write_time(execution.created_at),
            write_seconds(execution.started_at, execution.ended_at),
            printable(", ".join(execution.tags)),
        )
    return table


def _write_wait(execution: ExecutionSummary) -> str:
    if not execution.waits_for_key:
        return ""
    return f", waits for its key {printable(execution.concurrency_key or '')}"


def build_versions_table(versions: Sequence[PlanVersion]) -> Table:
    """Return the versions of a plan."""
    table = Table("version", "digest", "published", "current")
    for version in versions:
        table.add_row(
            printable(version.version or "-"),
            version.digest[:12],
            write_time(version.published_at),
            "yes" if version.is_current else "",
        )
    return table


def build_workers_table(
    workers: Sequence[WorkerSummary], *, lease_seconds: float
) -> Table:
    """Return the workers: what they serve, have in hand, and have mended."""
    table = Table(
        "worker", "pid", "pool", "busy", "queues", "beat", "looked", "mended", "last"
    )
    for worker in workers:
        table.add_row(
            printable(worker.hostname),
            str(worker.pid),
            worker.pool,
            f"{worker.in_hand}/{worker.slots}",
            printable(", ".join(worker.queues)),
            _write_beat(worker.beat_age_seconds, lease_seconds),
            _write_age(worker.round_age_seconds),
            _write_deeds(worker.deeds),
            _write_age(worker.last_deeds_age_seconds),
        )
    return table


def _write_beat(age_seconds: float, lease_seconds: float) -> str:
    silent = " (silent)" if age_seconds > lease_seconds else ""
    return _write_age(age_seconds) + silent


def _write_age(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s ago"


def _write_deeds(deeds: Mapping[str, int]) -> str:
    done = [f"{name.replace('_', ' ')}: {n}" for name, n in deeds.items() if n]
    return printable(", ".join(done)) or "nothing yet"


def build_summary(execution: ExecutionSummary) -> Table:
    """Return the head of an execution: what it is and how it stands."""
    table = Table.grid(padding=(0, 2))
    reason = f" ({execution.reason})" if execution.reason else ""
    ended = execution.total_steps - execution.open_steps
    table.add_row("execution", execution.id)
    table.add_row(
        "plan", printable(" ".join(filter(None, (execution.plan, execution.version))))
    )
    if execution.parent_id:
        table.add_row("part of", execution.parent_id)
    state = styled(execution.status).append(reason).append(_write_wait(execution))
    table.add_row("state", state)
    table.add_row("steps", f"{ended} of {execution.total_steps} ended")
    if execution.tags:
        table.add_row("tags", printable(", ".join(execution.tags)))
    table.add_row("created", write_time(execution.created_at))
    table.add_row("started", write_time(execution.started_at))
    table.add_row("ended", write_time(execution.ended_at))
    table.add_row("time", write_seconds(execution.started_at, execution.ended_at))
    return table


def build_history_table(changes: Sequence[StateChange]) -> Table:
    """Return every change of an execution's state."""
    table = Table("when", "from", "to", "by", "reason", title="history")
    for change in changes:
        table.add_row(
            write_time(change.at),
            styled(change.from_status or "-"),
            styled(change.to_status),
            printable(change.by or ""),
            printable(change.reason or ""),
        )
    return table


def build_events_table(events: Sequence[Event]) -> Table:
    """Return a timeline."""
    table = Table("seq", "when", "event", title="events")
    for event in events:
        table.add_row(str(event.seq), write_time(event.at), describe_event(event))
    return table
