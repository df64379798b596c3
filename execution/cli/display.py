"""What people see: tables of executions and steps, and lines of the timeline.

Promises: nothing that came from a plan, an action or a parameter is taken for markup
or reaches the terminal as a control character. It must not know where the values come
from.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from ..holds import Hold
from ..narration import list_details, tell_holder, tell_waits
from ..results import (
    ErrorRecord,
    Event,
    ExecutionSummary,
    PlanVersion,
    RunningStep,
    StateChange,
    StepSummary,
    WorkerSummary,
)
from ..signal_records import Signal
from .exits import printable, write_count

_MOST_NAMED_STEPS = 5
_WIDE = 120
"""Columns of a terminal that hold an id, and what there is to say of it."""
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
    details = "; ".join(map(printable, list_details(event.data)))
    return line.append(f" ({details})" if details else "", style="dim")


def describe_running(
    running: Sequence[RunningStep], execution_id: str | None = None
) -> str:
    """Say which steps still run, of `execution_id` or any: the rest of a sentence."""
    if not running:
        return ""
    named = [
        step.name
        if step.execution_id == execution_id
        else f"{step.name} of {step.execution_id}"
        for step in running[:_MOST_NAMED_STEPS]
    ]
    more = len(running) - _MOST_NAMED_STEPS
    further = f" and {more:,} more" if more > 0 else ""
    return f"; still running: {', '.join(map(printable, named))}{further}"


def describe_cuts(running: Sequence[RunningStep]) -> str:
    """Say when steps that were told to end are cut, and which cannot be killed."""
    cuts = [step.cut_at for step in running if step.cut_at is not None]
    if not cuts:
        return ""
    deaf = [step.name for step in running if step.cut_at and not step.is_killable]
    named = ", ".join(map(printable, deaf[:_MOST_NAMED_STEPS]))
    more = f" and {left:,} more" if (left := len(deaf) - _MOST_NAMED_STEPS) > 0 else ""
    unkillable = (
        f"; in pools that cannot be killed, and may run on: {named}{more}"
        if deaf
        else ""
    )
    return f"; cut at {write_time(max(cuts))}{unkillable}"


def write_holder(hold: Hold) -> str:
    """Return who has paused it, since when and why, as the rest of a sentence."""
    return printable(tell_holder(hold, f" since {write_time(hold.created_at)}"))


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
        f"waits for {step.waits_for}" if step.waits_for else "",
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


def build_executions_table(
    executions: Sequence[ExecutionSummary], *, width: int = _WIDE
) -> Table:
    """Return a list of executions, with fewer columns where there is little width."""
    is_wide = width >= _WIDE
    has_parents = is_wide and any(execution.parent_id for execution in executions)
    table = Table("id", "plan", "state", "steps")
    table.columns[0].no_wrap = True
    for name in (
        *(("created", "time", "tags") if is_wide else ()),
        *(("part of",) if has_parents else ()),
    ):
        table.add_column(name, no_wrap=name == "part of")
    for execution in executions:
        table.add_row(
            execution.id,
            printable(" ".join(filter(None, (execution.plan, execution.version)))),
            styled(execution.status).append(_write_wait(execution)),
            f"{execution.total_steps - execution.open_steps}/{execution.total_steps}",
            *(_write_circumstances(execution) if is_wide else ()),
            *((execution.parent_id or "",) if has_parents else ()),
        )
    return table


def _write_circumstances(execution: ExecutionSummary) -> tuple[str, str, str]:
    return (
        write_time(execution.created_at),
        write_seconds(execution.started_at, execution.ended_at),
        printable(", ".join(execution.tags)),
    )


def _write_wait(execution: ExecutionSummary) -> str:
    waits = tell_waits(execution, write_time)
    return "".join(printable(f", {wait}") for wait in waits)


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
    for hold in execution.holds:
        table.add_row("paused", f"{printable(hold)}{write_holder(hold)}")
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


def build_signals_table(signals: Sequence[Signal]) -> Table:
    """Return the signals that were sent to an execution, and who has taken them."""
    table = Table("when", "signal", "by", "reason", "taken by", title="signals")
    for sent in signals:
        table.add_row(
            write_time(sent.sent_at),
            printable(sent.name),
            printable(sent.by or ""),
            printable(sent.reason or ""),
            printable(sent.taken_by or "-"),
        )
    return table


def build_events_table(events: Sequence[Event]) -> Table:
    """Return a timeline."""
    table = Table("seq", "when", "event", title="events")
    for event in events:
        table.add_row(str(event.seq), write_time(event.at), describe_event(event))
    return table
