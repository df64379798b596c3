"""`plans schema`: what a plan may hold and what one comes to, without running anything.

Promises: nothing is begun and nothing is stored. It must not know how workers run.
"""

import typer

from execution.cli.output import print_json
from execution.plan import Plan

app = typer.Typer()


@app.command()
def schema() -> None:
    """Print the JSON Schema of plans, for editors.

    Store it beside your plans and name it in their first line:

      plans schema > plan.schema.json

      # yaml-language-server: $schema=plan.schema.json
    """
    print_json(Plan.json_schema())
