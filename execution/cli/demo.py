"""The demo: a census of the standard library, and a worker killed in the middle of it.

Promises: it brings its own servers, workers and data, below a folder of its own, and
touches nothing else that this machine or the environment names; it ends with exit code
0 only if the record in the database shows that nothing was lost. The only thing that
it stages is the kill.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from ..assets import find_asset
from ..engine import ExecutionEngine
from ..errors import PlansError, SettingsError
from ..installation import open_installation
from ..local.locks import attempts, try_exclusive
from ..local.places import open_home
from ..plan import Plan
from ..schema import downgrade, upgrade
from ..settings import Settings
from .children import (
    Child,
    Program,
    build_environment,
    read_tail,
    running,
    worker_command,
)
from .exits import ExitCode
from .following import UNIMPORTANT, open_view
from .record import read_record
from .staging import Staging, print_outcome
from .tables import open_console
from .verdict import judge

_WORKERS = ("demo-1", "demo-2")
_PROCESSES = 2
_LEASE_SECONDS = 3.0
_MOST_SECONDS = 150
_WORKER_START_SECONDS = 45
_PATIENCE_SECONDS = 10

app = typer.Typer(add_completion=False)


class DemoError(PlansError):
    """The demo could not come to its end."""


@app.command("demo")
def demo(
    keep_output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Put the report into DIR, not into .plans/demo/report.",
        ),
    ] = None,
) -> None:
    """See a worker killed in the middle of real work.

    Two workers count what is in Python's standard library, on servers of the
    demo's own. One of them is killed with SIGKILL; the other one finishes its
    steps.

      plans demo --keep-output report
    """
    console = open_console()
    began = time.monotonic()
    with _time_limit(), _own_place() as place:
        output = (keep_output or place / "report").expanduser().resolve()
        with _servers(place, console) as engine:
            programs = [_build_worker(name, engine.settings) for name in _WORKERS]
            with running(programs, patience_seconds=_PATIENCE_SECONDS) as children:
                _await_workers(engine, programs, children)
                execution_id = _run(
                    engine, dict(zip(_WORKERS, children, strict=True)), output, console
                )
            record = read_record(engine, execution_id)
        verdict = judge(record)
        print_outcome(console, record, verdict, place)
        console.print(f"\ntook {time.monotonic() - began:.1f} s in all")
    if verdict.faults:
        raise typer.Exit(ExitCode.FAILED)


@contextmanager
def _time_limit() -> Iterator[None]:
    def give_up(*_: object) -> NoReturn:
        raise DemoError(
            f"the demo did not end within {_MOST_SECONDS} s;"
            " its logs are in the folder demo/logs of PLANS_HOME (.plans)"
        )

    def leave(*_: object) -> NoReturn:
        # so that SIGTERM, too, ends the workers before the servers
        raise typer.Exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, leave)
    signal.alarm(_MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


@contextmanager
def _own_place() -> Iterator[Path]:
    """Yield the demo's folder, which no other demo uses meanwhile."""
    home = open_home(Path(os.environ.get("PLANS_HOME") or ".plans"))
    place = open_home(home / "demo")
    for name in [name for name in os.environ if name.startswith("PLANS_")]:
        # the servers of the user's must not be seen by anything that runs here
        del os.environ[name]
    lock = try_exclusive(place / "demo.lock")
    if lock is None:
        raise SettingsError(
            f"another demo runs in {place}; wait for its end, or set PLANS_HOME to"
            " another directory"
        )
    try:
        yield place
    finally:
        os.close(lock)


@contextmanager
def _servers(place: Path, console: Console) -> Iterator[ExecutionEngine]:
    console.print(f"starting PostgreSQL and Valkey in {place}")
    settings = Settings(
        home=place,
        local=True,
        imports=("stdlib_census.actions",),
        lease_seconds=_LEASE_SECONDS,
    )
    installation = open_installation(settings)
    try:
        url = installation.settings.database_url
        assert url is not None  # noqa: S101  # an installation has every URL
        # What an interrupted demo has left behind would go on running in this one.
        downgrade(url, settings.schema, revision="base")
        upgrade(url, settings.schema)
        with ExecutionEngine(installation) as engine:
            yield engine
    finally:
        installation.close()


def _build_worker(name: str, settings: Settings) -> Program:
    census = find_asset("examples/stdlib_census")
    path = os.pathsep.join(
        filter(None, (str(census.parent), os.environ.get("PYTHONPATH")))
    )
    return Program(
        name=f"worker {name}",
        command=worker_command(
            name, ("--pool=prefork", f"--concurrency={_PROCESSES}", "--loglevel=INFO")
        ),
        environment=build_environment(settings, {**os.environ, "PYTHONPATH": path}),
        log=settings.home / "logs" / f"{name}.log",
        # the user's directory may hold modules of the same names
        directory=settings.home,
    )


def _await_workers(
    engine: ExecutionEngine, programs: Sequence[Program], children: Sequence[Child]
) -> None:
    for _ in attempts(_WORKER_START_SECONDS):
        if engine.count_living_workers() >= len(children):
            return
        for program, child in zip(programs, children, strict=True):
            if child.poll() is not None:
                raise DemoError(
                    f"{program.name} ended with code {child.returncode};"
                    f" {program.log} ends:\n{read_tail(program.log)}"
                )
    raise DemoError(
        f"the workers were not ready after {_WORKER_START_SECONDS} s; their logs are"
        f" in {programs[0].log.parent}"
    )


def _run(
    engine: ExecutionEngine,
    workers: Mapping[str, Child],
    output: Path,
    console: Console,
) -> str:
    plan = Plan.from_file(find_asset("examples/stdlib_census") / "plan.yaml")
    console.print(
        f"started {len(workers)} workers of {_PROCESSES} processes each;"
        f" submitting {plan.name}: {len(plan.steps)} steps\n"
    )
    execution_id = engine.submit(plan, {"output": str(output)})
    staging = Staging(engine, execution_id, workers)
    with open_view(
        console, staging.draw, hidden=UNIMPORTANT, told={"step.lost"}
    ) as view:
        for update in engine.monitor(execution_id):
            staging.note(update)
            view.show(update)
            staging.kill_in_the_middle(view)
    return execution_id
