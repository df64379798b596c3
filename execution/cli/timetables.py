"""How a terminal shows schedules: their rules, their times, and who changed them.

Knows neither commands nor how a schedule is found.
"""

from collections.abc import Sequence

import typer
from rich.table import Table

from ..durations import write_duration
from ..schedule_records import ScheduleChange, ScheduleRun, ScheduleSummary
from .display import write_time
from .exits import printable
from .output import print_json


def tell_schedule(schedule: ScheduleSummary, *, as_json: bool) -> None:
    """Print a schedule: what it begins, by which rule, and when next."""
    if as_json:
        print_json(schedule)
        return
    typer.echo(
        f"{schedule.name}: {printable(schedule.plan)}, {write_rule(schedule)}"
        f" (catch up: {schedule.catch_up}, overlap: {schedule.overlap});"
        f" next: {write_next(schedule)}"
    )


def write_rule(schedule: ScheduleSummary) -> str:
    """Return the rule of a schedule, as it is stated."""
    if schedule.cron is not None:
        return printable(f"{schedule.cron} {schedule.time_zone}")
    return f"every {write_duration(schedule.every_seconds or 0)}"


def write_next(schedule: ScheduleSummary) -> str:
    """Return when the next time comes, if one does."""
    if schedule.paused_at is not None:
        return "paused"
    return "-" if schedule.next_at is None else write_time(schedule.next_at)


def write_last(run: ScheduleRun | None) -> str:
    """Return what became of the last time."""
    return "-" if run is None else f"{write_time(run.scheduled_at)} {run.outcome}"


def build_runs_table(runs: Sequence[ScheduleRun]) -> Table:
    """Return what became of the last times, as a table."""
    table = Table("time", "outcome", "execution", "by", "why")
    for run in runs:
        table.add_row(
            write_time(run.scheduled_at),
            run.outcome.value,
            run.execution_id or "-",
            printable(run.by or run.trigger.value),
            printable(run.detail or run.reason or ""),
        )
    return table


def build_changes_table(changes: Sequence[ScheduleChange]) -> Table:
    """Return who changed a schedule, and why, as a table."""
    table = Table("changed", "act", "by", "reason")
    for change in changes:
        table.add_row(
            write_time(change.at),
            change.act,
            printable(change.by or "-"),
            printable(change.reason or ""),
        )
    return table
