"""`plans validate` and `plans db`: whether plans and a database are fit for use.

Promises: every fault of every plan comes at once, in the form that editors know
(`file:line:column: code rule place: message`); a database loses nothing without a
confirmation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .. import schema
from ..settings import Settings
from .consulting import open_catalogue
from .exits import ExitCode, UsageError, printable, write_count
from .judging import FileFault, Judged, judge_files
from .options import AsJson, Local
from .output import print_json, shape_judged
from .target import open_target

app = typer.Typer(add_completion=False)
_db = typer.Typer(
    help="Install, check or remove the database schema.", no_args_is_help=True
)
app.add_typer(_db, name="db")


@app.command()
def validate(
    plan_files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="The plans.")
    ],
    is_strict: Annotated[
        bool, typer.Option("--strict", help="Count warnings as faults.")
    ] = False,
    catalogue: Annotated[
        bool,
        typer.Option(
            help="Also ask the database, if one is named, which actions there are."
        ),
    ] = True,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Find every fault of a plan, or of several.

    Each is one line on the standard output, with its place. Ends with exit
    code 0 when there is none, with 1 when there is one, and with 2 when a
    file cannot be read, and then none is judged.

      plans validate --strict plans/*.yaml
    """
    with open_catalogue(is_wanted=catalogue) as consult:
        judged = judge_files(plan_files, consult, is_strict=is_strict)
    if as_json:
        print_json(shape_judged(judged))
    else:
        for one in judged:
            _print_findings(one)
    if not all(one.is_valid for one in judged):
        raise typer.Exit(ExitCode.FAILED)


def _print_findings(judged: Judged) -> None:
    for fault in judged.faults:
        typer.echo(_write_fault(fault))
    plan = judged.plan
    if plan is None or not judged.is_valid:
        return
    for warning in judged.warnings:
        typer.echo(
            f"{judged.file}: {warning.rule.code} {warning.rule}:"
            f" {printable(warning.message)}"
        )
    typer.echo(
        f"{judged.file}: plan {plan.name} with {write_count(len(plan.steps), 'step')}"
        " has no faults"
    )


def _write_fault(fault: FileFault) -> str:
    at = "" if fault.line is None else f":{fault.line}:{fault.column or 1}"
    # a fault of the whole document has the file itself for its place
    place = "" if fault.place == fault.file else f" {printable(fault.place)}"
    named = f"{fault.code} {fault.rule}{place}"
    return f"{fault.file}{at}: {named}: {printable(fault.message)}"


@_db.command("upgrade")
def upgrade(_local: Local = False) -> None:
    """Bring the schema to what this release needs.

    plans db upgrade
    """
    with open_target(Settings.from_environment()) as target, _translated_errors():
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
    """Take the schema back to an older revision, with the loss of what it added.

    plans db downgrade base --yes
    """
    with open_target(Settings.from_environment()) as target, _translated_errors():
        if not yes:
            typer.confirm(
                f"Data in {target} will be lost. Go back to {revision}?",
                abort=True,
                err=True,
            )
        schema.downgrade(target.url, target.schema, revision=revision)
        typer.echo(f"{target} is at {revision}")


@_db.command("check")
def check(as_json: AsJson = False, _local: Local = False) -> None:
    """Say what separates the schema from what this release needs.

    Ends with exit code 0 when nothing does, else with 1 and one line for each.

      plans db check
    """
    with open_target(Settings.from_environment()) as target, _translated_errors():
        differences = schema.check(target.url, target.schema)
        if as_json:
            print_json({"fits": not differences, "differences": differences})
        else:
            for difference in differences:
                typer.echo(printable(difference))
        if differences:
            raise typer.Exit(ExitCode.FAILED)
        if not as_json:
            typer.echo(f"{target} fits this release")


@contextmanager
def _translated_errors() -> Iterator[None]:
    from alembic.util import CommandError  # `plans validate` does without Alembic

    try:
        yield
    except CommandError as error:
        raise UsageError(f"Alembic refused: {error}") from error
