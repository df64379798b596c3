"""`plans inspect-app`: what the settings of a team's own Celery app do to plans.

It imports the app as `celery -A` does, reads its settings, and asks no server.
"""

from typing import Annotated

import typer

from ..celery.host_report import SettingFinding, Severity, report_settings
from ..celery.host_settings import load_app
from ..masking import mask
from .exits import ExitCode, printable
from .options import AsJson
from .output import print_json
from .tables import open_console

app = typer.Typer(add_completion=False)


@app.command("inspect-app")
def inspect_app(
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:APP", help="The app, as in `celery -A MODULE:APP`."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Say which settings of a Celery app work against plans, and how to mend them.

    Nothing is changed, and no server is asked. The exit code is 1 when one of
    them is a risk, or would keep a worker from starting.

      plans inspect-app shop.celery:app
    """
    findings = report_settings(load_app(name))
    if as_json:
        print_json({"findings": findings})
    else:
        _print(findings)
    if any(finding.severity is not Severity.COST for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


def _print(findings: tuple[SettingFinding, ...]) -> None:
    console = open_console()
    if not findings:
        console.print("no setting works against plans")
    for finding in findings:
        title = f"{finding.severity}: {finding.setting} = {mask(finding.value)}"
        text = f"{finding.effect};\n    {finding.fix}"
        console.print(f"{printable(title)}\n    {text}", soft_wrap=True)
