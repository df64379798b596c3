"""`plans publish`, `submit` and `run`: store a plan, begin an execution, wait for it.

Promises: the standard output carries the id or the result and nothing else, so that a
shell can take it; everything that is said besides goes to the standard error.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..results import ExecutionResult
from .connecting import connect, outliving
from .delaying import At, In, check_delay, find_moment
from .display import write_error
from .exits import ExitCode, UsageError
from .following import UNIMPORTANT, draw_bar, open_view
from .idleness import warn_of_idleness
from .options import AsJson, Local, Pairs, ParametersFile
from .output import print_json
from .reading import bind_parameters, names_file, read_many, read_plan
from .tables import open_console

if TYPE_CHECKING:
    from ..engine import ExecutionEngine
    from ..plan import Plan

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

app = typer.Typer(add_completion=False)


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
    with connect() as engine:
        plan = plan or engine.get_plan(source)
        engine.publish(plan)
        if as_json:
            print_json(
                {"plan": plan.name, "version": plan.version, "digest": plan.digest}
            )
        else:
            typer.echo(f"{plan.name} {plan.version or plan.digest[:12]} is published")
        warn_of_idleness(engine, plan)


@app.command()
def submit(
    plan_source: PlanSource,
    parameter: Pairs = None,
    parameters_file: ParametersFile = None,
    key: Key = None,
    tag: Tags = None,
    many: ParametersLines = None,
    at: At = None,
    delay: In = None,
    as_json: AsJson = False,
    _local: Local = False,
) -> None:
    """Begin an execution and print its id.

    With --many, begin one for each line and print their ids in that order;
    nothing is begun unless every line is right. With --at or --in, they are
    there at once, and begin later.

      plans submit hello.yaml -p name=Ann --key greet-ann --tag greetings

      plans submit hello --many names.jsonl

      plans submit hello -p name=Ann --at 2026-12-01T08:00:00+01:00
    """
    check_delay(at, delay)
    if many is not None:
        if parameter or parameters_file or key:
            raise UsageError("--many brings all parameters, and takes no key")
        _submit_many(plan_source, many, tag or (), (at, delay), as_json=as_json)
        return
    with _open(plan_source, parameter or (), parameters_file) as (engine, plan, values):
        execution_id = engine.submit(
            plan,
            values,
            idempotency_key=key,
            tags=tag or (),
            at=find_moment(engine, at, delay),
        )
        _tell_begun(execution_id, as_json=as_json)
        warn_of_idleness(engine, plan)


def _tell_begun(execution_id: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"execution_id": execution_id})
    else:
        typer.echo(execution_id)


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
    ends the waiting, not the execution. Ends with exit code 0 when the
    execution completed, else with 1.

      plans run hello.yaml -p name=Ann
    """
    with _open(plan_source, parameter or (), parameters_file) as (engine, plan, values):
        execution_id = engine.submit(plan, values, idempotency_key=key, tags=tag or ())
        warn_of_idleness(engine, plan)
        result = _wait(engine, execution_id)
    _print_result(result, as_json=as_json)


def _submit_many(
    plan_source: str,
    lines: Path,
    tags: Sequence[str],
    moment: tuple[str | None, str | None],
    *,
    as_json: bool,
) -> None:
    plan, values = None, None
    if names_file(plan_source):
        plan = read_plan(Path(plan_source))
        values = read_many(plan, lines)
    with connect() as engine:
        plan = plan or engine.get_plan(plan_source)
        if values is None:
            values = read_many(plan, lines)
        at = find_moment(engine, *moment)
        ids = engine.submit_many(plan, values, tags=tags, at=at)
        if as_json:
            print_json({"execution_ids": ids})
        else:
            typer.echo("".join(f"{execution_id}\n" for execution_id in ids), nl=False)
        warn_of_idleness(engine, plan)


@contextmanager
def _open(
    source: str, pairs: Sequence[str], parameters_file: Path | None
) -> Iterator[tuple["ExecutionEngine", "Plan", dict[str, object]]]:
    """Give an engine, the plan that is meant, and its parameters.

    What is wrong with a file and its parameters is said without any server.
    """
    plan, values = None, {}
    if names_file(source):
        plan = read_plan(Path(source))
        values = bind_parameters(plan, pairs, parameters_file)
    with connect() as engine:
        if plan is None:
            plan = engine.get_plan(source)
            values = bind_parameters(plan, pairs, parameters_file)
        yield engine, plan, values


def _wait(engine: "ExecutionEngine", execution_id: str) -> ExecutionResult:
    console = open_console(stderr=True)
    with (
        outliving(engine, execution_id),
        open_view(console, draw_bar, hidden=UNIMPORTANT) as view,
    ):
        view.say(f"execution {execution_id}")
        for update in engine.monitor(execution_id):
            view.show(update)
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
