"""`plans schedule`: begin executions by the clock, and stay in charge of that.

What a schedule is to do is checked where it is stored. It must not know how its times
come.
"""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from ..schedule_records import ScheduleSummary
from ..timing import CatchUp, Overlap, RunOutcome
from .completing import complete_plans
from .connecting import connect
from .delaying import read_moment_option
from .display import write_time
from .exits import ExitCode, UsageError, printable
from .options import AsJson, Local, Pairs, ParametersFile
from .output import print_json
from .reading import bind_given
from .steering import By, Reason, read_login
from .tables import open_console, print_table
from .timetables import (
    build_changes_table,
    build_runs_table,
    tell_schedule,
    write_last,
    write_next,
    write_rule,
)

_MOST_TIMES = 1_000

ScheduleName = Annotated[
    str, typer.Argument(metavar="NAME", help="The schedule's name.")
]
PlanName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A published plan: its current version, or NAME@VERSION.",
        autocompletion=complete_plans,
    ),
]
Cron = Annotated[
    str | None,
    typer.Option(
        metavar="FIELDS",
        help="Minute, hour, day of the month, month, day of the week.",
    ),
]
Every = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Or an interval, such as 15m."),
]
Zone = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="Time zone of --cron; UTC by default."),
]
CatchUpOption = Annotated[
    CatchUp | None,
    typer.Option(help="What becomes of missed times; `last` by default."),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--catch-up-window",
        metavar="DURATION",
        help="With `all`: how long ago they may be.",
    ),
]
OverlapOption = Annotated[
    Overlap | None,
    typer.Option(help="What becomes of a time while one runs; `skip` by default."),
]
Start = Annotated[
    str | None,
    typer.Option(metavar="MOMENT", help="No time before; intervals count from it."),
]
End = Annotated[str | None, typer.Option(metavar="MOMENT", help="No time after that.")]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="A tag of its executions; may be repeated."),
]
Priority = Annotated[int | None, typer.Option(min=0, max=9, help="From 0 to 9.")]
Count = Annotated[
    int, typer.Option(min=1, max=_MOST_TIMES, help="How many times to list.")
]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="""Begin executions by the clock, and stay in charge of that.

      plans schedule create nightly --plan rates --cron "0 3 * * *"
    """,
)


@app.command("create")
def create(
    name: ScheduleName,
    plan: PlanName = None,
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    cron: Cron = None,
    every: Every = None,
    zone: Zone = None,
    catch_up: CatchUpOption = None,
    catch_up_window: Window = None,
    overlap: OverlapOption = None,
    start: Start = None,
    end: End = None,
    tag: Tags = None,
    priority: Priority = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Begin an execution of a published plan at each of these times.

    plans schedule create nightly --plan rates --cron "0 3 * * *" --zone Europe/Berlin

    plans schedule create poll --plan inbox --every 15m --overlap queue -p box=sales
    """
    if plan is None:
        raise UsageError("name a published plan: --plan NAME")
    fields = _read_times(cron, every, zone, start, end)
    fields |= _read_choices(catch_up, catch_up_window, overlap, tag, priority)
    with connect() as engine:
        values = bind_given(engine.get_plan(plan), parameter or (), parameters_file)
        schedule = engine.create_schedule(
            name, plan, values, by=by or read_login(), reason=reason, **fields
        )
    tell_schedule(schedule, as_json=as_json)


@app.command("update")
def update(
    name: ScheduleName,
    plan: PlanName = None,
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    cron: Cron = None,
    every: Every = None,
    zone: Zone = None,
    catch_up: CatchUpOption = None,
    catch_up_window: Window = None,
    overlap: OverlapOption = None,
    start: Start = None,
    end: End = None,
    tag: Tags = None,
    priority: Priority = None,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Change what is given of a schedule; parameters are replaced as a whole.

    plans schedule update nightly --cron "30 4 * * *" --reason "the source is later"
    """
    fields = _collect(plan=plan) | _read_times(cron, every, zone, start, end)
    fields |= _read_choices(catch_up, catch_up_window, overlap, tag, priority)
    with connect() as engine:
        if parameter or parameters_file:
            wanted = plan or engine.get_schedule(name).plan
            fields["parameters"] = bind_given(
                engine.get_plan(wanted), parameter or (), parameters_file
            )
        schedule = engine.update_schedule(
            name, by=by or read_login(), reason=reason, **fields
        )
    tell_schedule(schedule, as_json=as_json)


@app.command("list")
def list_schedules(as_json: AsJson = False, _local: Local = False) -> None:
    """List schedules: when each is due next, and what became of its last time.

    plans schedule list
    """
    with connect() as engine:
        schedules = engine.list_schedules()
    if as_json:
        print_json({"items": schedules})
        return
    table = Table("name", "plan", "when", "next", "last")
    for schedule in schedules:
        table.add_row(
            schedule.name,
            printable(schedule.plan),
            write_rule(schedule),
            write_next(schedule),
            write_last(schedule.last_run),
        )
    print_table(open_console(), table)


@app.command("show")
def show(name: ScheduleName, as_json: AsJson = False, _local: Local = False) -> None:
    """Show a schedule: its last times, what became of them, and who changed it.

    plans schedule show nightly
    """
    with connect() as engine:
        schedule = engine.get_schedule(name)
        runs = engine.list_schedule_runs(name)
        changes = engine.list_schedule_changes(name)
    if as_json:
        print_json({"schedule": schedule, "runs": runs, "changes": changes})
        return
    tell_schedule(schedule, as_json=False)
    console = open_console()
    print_table(console, build_runs_table(runs))
    print_table(console, build_changes_table(changes))


@app.command("next")
def list_next(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The schedule's name.")
    ] = None,
    cron: Cron = None,
    every: Every = None,
    zone: Zone = None,
    start: Start = None,
    end: End = None,
    count: Count = 5,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List the next times of a schedule, or of one that is not stored.

    They are written in the time zone of the schedule; with --json in UTC.

    plans schedule next nightly --count 10

    plans schedule next --cron "30 2 * * *" --zone Europe/Berlin
    """
    times = _read_times(cron, every, zone, start, end)
    if (name is None) == (not times):
        raise UsageError("give the name of a schedule, or --cron or --every")
    with connect() as engine:
        if name is not None:
            found = engine.list_next_times(name, count=count)
            zone = _read_zone(engine.get_schedule(name))
        else:
            found = engine.preview_times(count=count, **times)
    if as_json:
        print_json({"times": found})
    else:
        here = ZoneInfo(zone or "UTC")
        for time in found:
            typer.echo(time.astimezone(here).isoformat())


def _read_zone(schedule: ScheduleSummary) -> str:
    """Return the zone of a schedule; say if its times begin nothing for now."""
    if schedule.paused_at is not None:
        typer.echo(
            f"plans: warning: {schedule.name} is paused since"
            f" {write_time(schedule.paused_at)}, and begins nothing at these times"
            f" before `plans schedule resume {schedule.name}`",
            err=True,
        )
    return schedule.time_zone


@app.command("pause")
def pause(
    name: ScheduleName,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Let no time come until `plans schedule resume`; what runs goes on.

    plans schedule pause nightly --reason "the source is down"
    """
    with connect() as engine:
        schedule = engine.pause_schedule(name, by=by or read_login(), reason=reason)
    tell_schedule(schedule, as_json=as_json)


@app.command("resume")
def resume(
    name: ScheduleName,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Let its times come again; --catch-up says what becomes of those of the pause.

    plans schedule resume nightly
    """
    with connect() as engine:
        schedule = engine.resume_schedule(name, by=by or read_login(), reason=reason)
    tell_schedule(schedule, as_json=as_json)


@app.command("run")
def run_now(
    name: ScheduleName,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Begin an execution now, besides the times; print its id.

    Ends with exit code 1 when it is skipped, or cannot begin.

    plans schedule run nightly --reason "the file came late"
    """
    with connect() as engine:
        run = engine.run_schedule_now(name, by=by or read_login(), reason=reason)
    if as_json:
        print_json(run)
    elif run.execution_id is not None:
        typer.echo(run.execution_id)
    else:
        detail = f": {printable(run.detail)}" if run.detail else ""
        typer.echo(f"the run is {run.outcome}{detail}", err=True)
    if run.outcome not in (RunOutcome.STARTED, RunOutcome.QUEUED):
        raise typer.Exit(ExitCode.FAILED)


@app.command("delete")
def delete(
    name: ScheduleName,
    by: By = None,
    reason: Reason = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Forget a schedule; what it has begun goes on.

    plans schedule delete nightly --reason "replaced"
    """
    with connect() as engine:
        engine.delete_schedule(name, by=by or read_login(), reason=reason)
    if as_json:
        print_json({"schedule": name, "deleted": True})
    else:
        typer.echo(f"schedule {name} is deleted")


def _read_times(
    cron: str | None,
    every: str | None,
    zone: str | None,
    start: str | None,
    end: str | None,
) -> dict[str, Any]:
    return _collect(
        cron=cron,
        every=every,
        time_zone=zone,
        start_at=read_moment_option("--start", start),
        end_at=read_moment_option("--end", end),
    )


def _read_choices(
    catch_up: CatchUp | None,
    catch_up_window: str | None,
    overlap: Overlap | None,
    tags: list[str] | None,
    priority: int | None,
) -> dict[str, Any]:
    return _collect(
        catch_up=catch_up,
        catch_up_window=catch_up_window,
        overlap=overlap,
        tags=tags,
        priority=priority,
    )


def _collect(**given: object) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
