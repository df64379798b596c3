"""`plans validate` and `plans db`: whether a plan and a database are fit for use.

Promises: every fault of a plan comes at once, in the form that editors know
(`file:line:column: place: message`); a database loses nothing without a confirmation.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from alembic.util import CommandError

from execution import schema
from execution.admission import PlanAdmission
from execution.cli.exits import ExitCode, UsageError, mask, printable
from execution.cli.options import AsJson, Local
from execution.cli.output import print_json, shape_plan
from execution.cli.reading import read_plan
from execution.database import Database
from execution.errors import (
    Fault,
    PlanValidationError,
    ServerError,
    SettingsError,
    SetupError,
)
from execution.local import LocalStack
from execution.plan import Plan
from execution.queries import ExecutionQueries
from execution.settings import Settings

app = typer.Typer()
_db = typer.Typer(
    help="Install, check or remove the database schema.", no_args_is_help=True
)
app.add_typer(_db, name="db")


@dataclass(frozen=True)
class _Target:
    """The database that is meant, and the schema in it."""

    url: str
    schema: str

    def __str__(self) -> str:
        return f"schema {self.schema} of {mask(self.url)}"


@app.command()
def validate(
    plan_file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan.")],
    catalogue: Annotated[
        bool,
        typer.Option(
            help="Also ask the database, if one is named, which actions there are."
        ),
    ] = True,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Find every fault of a plan.

    Each is one line on the standard output, with its place. Ends with exit
    code 0 when there is none, else with 1.
    """
    plan: Plan | None = None
    faults: tuple[Fault, ...] = ()
    try:
        plan = read_plan(plan_file)
        faults = find_catalogue_faults(plan) if catalogue else ()
    except PlanValidationError as error:
        faults = error.faults
    plan = None if faults else plan
    if as_json:
        print_json(shape_plan(plan, faults))
    else:
        _print_findings(plan_file, plan, faults)
    if faults:
        raise typer.Exit(ExitCode.FAILED)


def find_catalogue_faults(plan: Plan) -> tuple[Fault, ...]:
    """Return what the catalogue has against a plan: nothing where no server is named.

    A catalogue that cannot be asked is no fault of the plan, and a warning.
    """
    settings = Settings.from_environment()
    if settings.database_url is None and not settings.local:
        return ()
    try:
        with _open_target() as target:
            if settings.database_url is None:
                # a local one is brought up to date by whoever comes first
                schema.upgrade_if_needed(target.url, target.schema)
            with closing(Database(target.url, target.schema)) as database:
                database.check()
            with closing(ExecutionQueries(target.url, target.schema)) as queries:
                return PlanAdmission(queries, settings.check).find_faults(plan)
    except (ServerError, SetupError) as error:
        reason = mask(str(error))
        typer.echo(f"warning: actions were not checked: {printable(reason)}", err=True)
        return ()


def _print_findings(path: Path, plan: Plan | None, faults: tuple[Fault, ...]) -> None:
    for fault in faults:
        typer.echo(_write_fault(path, fault))
    if plan is None:
        return
    for warning in plan.warnings:
        typer.echo(f"{path}: warning: {printable(warning)}")
    typer.echo(f"{path}: plan {plan.name} with {len(plan.steps)} steps has no faults")


def _write_fault(path: Path, fault: Fault) -> str:
    at = "" if fault.line is None else f":{fault.line}:{fault.column or 1}"
    # a fault of the whole document has the file itself for its place
    place = "" if fault.place == str(path) else f" {printable(fault.place)}:"
    return f"{path}{at}:{place} {printable(fault.message)}"


@_db.command("upgrade")
def upgrade(_local: Local = False) -> None:
    """Bring the schema to what this release needs."""
    with _open_target() as target, _translated_errors():
        schema.upgrade(target.url, target.schema)
        typer.echo(f"{target} is up to date")


@_db.command("downgrade")
def downgrade(
    revision: Annotated[
        str, typer.Argument(help="Where to go back to; `base` leaves nothing.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    _local: Local = False,
) -> None:
    """Take the schema back to an older revision, with the loss of what it added."""
    with _open_target() as target, _translated_errors():
        if not yes:
            typer.confirm(
                f"Data in {target} will be lost. Go back to {revision}?",
                abort=True,
                err=True,
            )
        schema.downgrade(target.url, target.schema, revision=revision)
        typer.echo(f"{target} is at {revision}")


@_db.command("check")
def check(_local: Local = False) -> None:
    """Say what separates the schema from what this release needs.

    Ends with exit code 0 when nothing does, else with 1 and one line for each.
    """
    with _open_target() as target, _translated_errors():
        differences = schema.check(target.url, target.schema)
        for difference in differences:
            typer.echo(printable(difference))
        if differences:
            raise typer.Exit(ExitCode.FAILED)
        typer.echo(f"{target} fits this release")


@contextmanager
def _open_target() -> Iterator[_Target]:
    settings = Settings.from_environment()
    if settings.database_url is not None:
        yield _Target(settings.database_url, settings.schema)
        return
    if not settings.local:
        raise SettingsError(
            "PLANS_DATABASE_URL is not set; name your database there, or use --local"
        )
    with LocalStack.start(settings.home, valkey=False) as stack:
        assert stack.urls.database_url is not None  # noqa: S101  # PostgreSQL was asked for
        yield _Target(stack.urls.database_url, settings.schema)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except CommandError as error:
        raise UsageError(f"Alembic refused: {error}") from error
