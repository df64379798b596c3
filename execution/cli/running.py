"""`plans publish`, `submit` and `run`: store a plan, begin an execution, wait for it.

Promises: the standard output carries the id or the result and nothing else, so that a
shell can take it; everything that is said besides goes to the standard error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from execution.cli.display import open_console, write_error
from execution.cli.exits import ExitCode, UsageError
from execution.cli.following import UNIMPORTANT, draw_bar, open_view
from execution.cli.options import AsJson, Local, Pairs, ParametersFile
from execution.cli.output import print_json
from execution.cli.reading import bind_parameters, names_file, read_many, read_plan
from execution.engine import ExecutionEngine
from execution.plan import Plan
from execution.results import ExecutionResult

PlanSource = Annotated[
    str,
    typer.Argument(
        metavar="FILE|NAME",
        help="The plan: a file, or a name it was published under; NAME@VERSION for a"
        " certain version.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(help="Idempotency key: the same key gives the same execution."),
]
ParametersLines = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Begin an execution for each line, a JSON object of parameters;"
        " - reads the standard input.",
    ),
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", help="A tag; may be repeated.")
]

app = typer.Typer()


@app.command()
def publish(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NAME@VERSION",
            help="The plan: a file, or a version that was published before.",
        ),
    ],
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Store a plan, to be submitted by its name.

    From now on the name stands for it, in `plans submit`, in Python and in SQL.
    A version that was published cannot be published with another body. An
    older version that is published again is the current one again:

      plans publish hello.yaml

      plans publish hello@1.4
    """
    plan = read_plan(Path(source)) if names_file(source) else None
    with ExecutionEngine.connect() as engine:
        plan = plan or engine.get_plan(source)
        engine.publish(plan)
        if as_json:
            print_json(
                {"plan": plan.name, "version": plan.version, "digest": plan.digest}
            )
        else:
            typer.echo(f"{plan.name} {plan.version or plan.digest[:12]} is published")
        _warn_of_idleness(engine, plan)


@app.command()
def submit(
    plan_source: PlanSource,
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    key: Key = None,
    tag: Tags = None,
    many: ParametersLines = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Begin an execution and print its id.

    With --many, begin one for each line and print their ids in that order;
    nothing is begun unless every line is right.
    """
    if many is not None:
        if parameter or parameters_file or key:
            raise UsageError("--many brings all parameters, and takes no key")
        _submit_many(plan_source, many, tag or (), as_json=as_json)
        return
    with _open(plan_source, parameter or (), parameters_file) as (engine, plan, values):
        execution_id = engine.submit(plan, values, idempotency_key=key, tags=tag or ())
        if as_json:
            print_json({"execution_id": execution_id})
        else:
            typer.echo(execution_id)
        _warn_of_idleness(engine, plan)


@app.command()
def run(
    plan_source: PlanSource,
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    key: Key = None,
    tag: Tags = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Begin an execution, wait, and print its result.

    The result is printed as JSON; with --json, together with the execution's
    id, state, error and times. Progress goes to the standard error. Ctrl-C
    ends the waiting, not the execution.
    """
    with _open(plan_source, parameter or (), parameters_file) as (engine, plan, values):
        execution_id = engine.submit(plan, values, idempotency_key=key, tags=tag or ())
        _warn_of_idleness(engine, plan)
        result = _wait(engine, execution_id)
    _print_result(result, as_json=as_json)


def _submit_many(
    plan_source: str, lines: Path, tags: Sequence[str], *, as_json: bool
) -> None:
    plan, values = None, None
    if names_file(plan_source):
        plan = read_plan(Path(plan_source))
        values = read_many(plan, lines)
    with ExecutionEngine.connect() as engine:
        plan = plan or engine.get_plan(plan_source)
        if values is None:
            values = read_many(plan, lines)
        ids = engine.submit_many(plan, values, tags=tags)
        if as_json:
            print_json({"execution_ids": ids})
        else:
            typer.echo("".join(f"{execution_id}\n" for execution_id in ids), nl=False)
        _warn_of_idleness(engine, plan)


@contextmanager
def _open(
    source: str, pairs: Sequence[str], parameters_file: Path | None
) -> Iterator[tuple[ExecutionEngine, Plan, dict[str, object]]]:
    """Give an engine, the plan that is meant, and its parameters.

    What is wrong with a file and its parameters is said without any server.
    """
    plan, values = None, {}
    if names_file(source):
        plan = read_plan(Path(source))
        values = bind_parameters(plan, pairs, parameters_file)
    with ExecutionEngine.connect() as engine:
        if plan is None:
            plan = engine.get_plan(source)
            values = bind_parameters(plan, pairs, parameters_file)
        yield engine, plan, values


def _wait(engine: ExecutionEngine, execution_id: str) -> ExecutionResult:
    console = open_console(stderr=True)
    try:
        with open_view(console, draw_bar, hidden=UNIMPORTANT) as view:
            view.say(f"execution {execution_id}")
            for update in engine.monitor(execution_id):
                view.show(update)
    except KeyboardInterrupt:
        typer.echo(
            f"execution {execution_id} goes on; follow it with:"
            f" plans {'--local ' if engine.settings.local else ''}watch {execution_id}",
            err=True,
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    return engine.get_result(execution_id)


def _print_result(result: ExecutionResult, *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    elif result.is_success:
        print_json(result.value)
    if result.is_success:
        return
    cause = f": {write_error(result.error)}" if result.error else ""
    typer.echo(f"execution {result.execution_id} is {result.status}{cause}", err=True)
    raise typer.Exit(ExitCode.FAILED)


def _warn_of_idleness(engine: ExecutionEngine, plan: Plan) -> None:
    if engine.count_living_workers() == 0:
        typer.echo(
            "warning: no worker runs; start one with `plans worker` or `plans up`",
            err=True,
        )
    if unserved := engine.list_unserved_actions(plan):
        typer.echo(
            f"warning: no worker has ever offered {', '.join(unserved)}; does"
            " PLANS_IMPORTS of the workers name the modules?",
            err=True,
        )
