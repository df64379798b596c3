"""`plans doctor`: what is wrong with an installation, and what of it can be mended.

Looking changes nothing; `--fix` sends and settles what a reconciler would, and asks
nothing.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..masking import mask
from ..settings import Settings
from .exits import ExitCode, printable, write_count
from .options import AsJson, Local
from .output import print_json
from .tables import open_console, print_table

if TYPE_CHECKING:
    from ..diagnosis.findings import Finding
    from ..doctor import Diagnosis

_STYLES = {"error": "red", "warning": "yellow", "note": "dim"}

app = typer.Typer(add_completion=False)

_Fixes = Annotated[
    bool, typer.Option("--fix", help="Mend what is safe to mend, without a question.")
]
_AppName = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:APP",
        help="A Celery app of your own, whose settings and broker are looked at.",
    ),
]
_MostMessages = Annotated[
    int,
    typer.Option(
        "--messages", min=1, help="Read so many messages of each queue, at most."
    ),
]


@app.command("doctor")
def doctor(
    fixes: _Fixes = False,
    app_name: _AppName = None,
    most_messages: _MostMessages = 10_000,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Look at the whole installation, and say what is wrong with it.

    Versions, settings, PostgreSQL, the broker, clocks, workers, and what
    PostgreSQL wants beside what the broker has and what workers run. A server
    that is away is a finding, and the rest is looked at. With --fix, messages
    that are missing are sent again, and a reconciler's turn is done at once;
    nothing is removed.

    The exit code is 0 when there are notes at most, 5 when there are
    warnings, 1 when there is an error, and 4 when PostgreSQL or the broker
    is away.

      plans doctor --fix
    """
    diagnosis = _conceal(_examine(app_name, most_messages, fixes=fixes))
    if as_json:
        print_json(diagnosis)
    else:
        _print(open_console(), diagnosis, fixes=fixes)
    code = _choose_code(diagnosis.findings)
    if code is not ExitCode.OK:
        raise typer.Exit(code)


def _examine(app_name: str | None, most_messages: int, *, fixes: bool) -> "Diagnosis":
    # it takes a second to load, which help and completion must not wait for
    from ..doctor import open_doctor

    settings = Settings.from_environment()
    with open_doctor(settings, app_name, most_messages=most_messages) as doctor:
        return doctor.examine(mends=fixes)


def _conceal(diagnosis: "Diagnosis") -> "Diagnosis":
    """Return it without the passwords of URLs that servers and libraries quote."""
    return replace(
        diagnosis,
        findings=tuple(
            replace(one, seen=mask(one.seen), fix=mask(one.fix))
            for one in diagnosis.findings
        ),
        limits=tuple(map(mask, diagnosis.limits)),
    )


def _choose_code(findings: "tuple[Finding, ...]") -> ExitCode:
    if any(finding.code.is_away for finding in findings):
        return ExitCode.UNAVAILABLE
    severities = {str(finding.severity) for finding in findings}
    if "error" in severities:
        return ExitCode.FAILED
    return ExitCode.WARNED if "warning" in severities else ExitCode.OK


def _print(console: Console, diagnosis: "Diagnosis", *, fixes: bool) -> None:
    for deed in diagnosis.done:
        ids = f": {', '.join(deed.ids)}" if deed.ids else ""
        console.print(f"done: {deed.count:,} {deed.act}{printable(ids)}")
    if fixes and not diagnosis.done and not diagnosis.limits:
        console.print("nothing done: there was nothing to mend by itself")
    if diagnosis.findings:
        print_table(console, _build_table(diagnosis.findings))
        _print_ids(console, diagnosis.findings)
    else:
        console.print("nothing is wrong")
    for limit in diagnosis.limits:
        console.print(printable(limit), soft_wrap=True)
    mended = sum(finding.is_mended for finding in diagnosis.findings)
    if mended and not fixes:
        counted = write_count(mended, "finding")
        console.print(f"`plans doctor --fix` sees to {counted} of these")
    if fixes:
        _print_rest(console, diagnosis.findings)


def _print_ids(console: Console, findings: "tuple[Finding, ...]") -> None:
    # in a column, those of one finding would make the rows of all as long
    for finding in findings:
        if finding.ids:
            text = f"{finding.code}: {', '.join(finding.ids)}"
            console.print(printable(text), soft_wrap=True)


def _print_rest(console: Console, findings: "tuple[Finding, ...]") -> None:
    fixes = {one.fix: one.code for one in findings if one.severity != "note"}
    if fixes:
        console.print("left to you:")
    for fix, code in fixes.items():
        console.print(printable(f"  {code}: {fix}"), soft_wrap=True)


def _build_table(findings: "tuple[Finding, ...]") -> Table:
    table = Table()
    for name in ("", "finding", "seen", "what to do"):
        table.add_column(name)
    for finding in findings:
        table.add_row(
            Text(finding.severity, style=_STYLES[finding.severity]),
            str(finding.code),
            printable(finding.seen),
            printable(finding.fix),
        )
    return table
