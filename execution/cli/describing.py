"""`plans schema`, `graph`, `explain`, `versions`, `diff`: what plans say, side by side.

Promises: nothing is begun and nothing is stored; a plan in a file needs no server. It
must not know how workers run.
"""

from pathlib import Path
from typing import Annotated

import typer

from ..comparison import compare_plans
from ..drawing.formats import DrawingFormat, draw
from ..drawing.pictures import Picture, picture_plan
from ..errors import ParameterError
from ..explanation import explain_plan
from ..identity import is_execution_id
from ..plan import Plan
from .completing import complete_plans
from .connecting import connect
from .display import build_versions_table
from .exits import ExitCode
from .explaining import print_comparison, print_explanation
from .options import AsJson, Local, Pairs, ParametersFile
from .output import print_json, shape_comparison
from .reading import bind_parameters, names_file, read_plan
from .tables import open_console, print_table

_COMPARED = "A file, or NAME or NAME@VERSION of a published plan."

app = typer.Typer(add_completion=False)


@app.command()
def schema() -> None:
    """Print the JSON Schema of plans, for editors.

    Store it beside your plans and name it in their first line:

      plans schema > plan.schema.json

      # yaml-language-server: $schema=plan.schema.json
    """
    print_json(Plan.json_schema())


@app.command()
def graph(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ID|NAME",
            help="A plan, an execution, or the name of a published plan.",
        ),
    ],
    drawing_format: Annotated[
        DrawingFormat, typer.Option("--format", help="What to draw it as.")
    ] = DrawingFormat.MERMAID,
    _local: Local = False,
) -> None:
    """Draw a plan, or an execution with the states of its steps.

    Of a plan with hundreds of steps, those that are alike become one node.

      plans graph hello.yaml

      plans graph hello.yaml --format svg > hello.svg
    """
    typer.echo(draw(_picture(source), drawing_format), nl=False)


@app.command()
def explain(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME", help="A plan, or the name of a published one."
        ),
    ],
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Say what a plan would do: in which order, where, and for how long.

    A wave are steps that can run at the same time. With parameters, the
    inputs that they decide are filled in, and what would fail is said.

      plans explain hello.yaml -p name=Ann
    """
    plan = _find_plan(source)
    values = None
    if parameter or parameters_file or not _needs_parameters(plan):
        values = bind_parameters(plan, parameter or (), parameters_file)
    explanation = explain_plan(plan, values)
    if as_json:
        print_json(explanation)
    else:
        print_explanation(open_console(), explanation)


@app.command()
def versions(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="The plan's name.", autocompletion=complete_plans
        ),
    ],
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """List what was published under a name, the current version first.

    plans versions hello
    """
    with connect() as engine:
        found = engine.list_versions(name)
    if as_json:
        print_json({"items": found})
    else:
        print_table(open_console(), build_versions_table(found))


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help=_COMPARED)],
    after: Annotated[str, typer.Argument(metavar="B", help=_COMPARED)],
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Say what B does differently from A.

    Steps that are added, removed or changed, with the policies that take
    effect in them, parameters and the result; not how it is written. Ends
    with exit code 0 when both do the same, else with 1.

      plans diff hello hello.yaml

      plans diff hello@1.4 hello@1.5
    """
    comparison = compare_plans(*_find_plans(before, after))
    if as_json:
        print_json(shape_comparison(comparison))
    else:
        print_comparison(open_console(), comparison)
    if not comparison.is_same:
        raise typer.Exit(ExitCode.FAILED)


def _find_plan(source: str) -> Plan:
    (plan,) = _find_plans(source)
    return plan


def _find_plans(*sources: str) -> list[Plan]:
    """Return the plans that are meant; servers are asked only for published ones."""
    in_files = {
        source: read_plan(Path(source)) for source in sources if names_file(source)
    }
    if all(source in in_files for source in sources):
        return [in_files[source] for source in sources]
    with connect() as engine:
        return [in_files.get(source) or engine.get_plan(source) for source in sources]


def _needs_parameters(plan: Plan) -> bool:
    try:
        plan.bind({})
    except ParameterError:
        return True
    return False


def _picture(source: str) -> Picture:
    if names_file(source):
        return picture_plan(read_plan(Path(source)))
    with connect() as engine:
        if not is_execution_id(source):
            return picture_plan(engine.get_plan(source))
        execution = engine.get_status(source)
        return picture_plan(
            engine.get_plan_of(source),
            title=f"{execution.plan} {source}: {execution.status}",
            states={step.name: step for step in engine.list_steps(source)},
        )
