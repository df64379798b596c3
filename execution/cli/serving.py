"""`plans worker` and `plans up`: what runs plans, in the foreground.

Promises: `plans worker` becomes the worker, so that signals and exit codes are the
worker's own; `plans up` leaves nothing behind, however it ends, and says where
everything is without saying a password that it did not make.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..database import Database
from ..installation import open_installation
from ..local.locks import try_exclusive
from ..local.places import open_home
from ..settings import Settings
from .announcing import build_speaker, print_places
from .children import Program, build_environment, worker_command
from .exits import UsageError
from .flower import build_flower, choose_port, is_installed
from .options import Local, Queues
from .supervision import Post, Supervisor
from .tables import open_console

app = typer.Typer(add_completion=False)


class Pool(StrEnum):
    """How a worker runs steps side by side."""

    PREFORK = "prefork"
    THREADS = "threads"
    SOLO = "solo"


class Level(StrEnum):
    """How much a worker tells."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Concurrency = Annotated[
    int | None,
    typer.Option(
        "-c",
        "--concurrency",
        min=1,
        help="Steps at a time in each worker; by default one per processor.",
    ),
]


@app.command()
def worker(
    queues: Queues = None,
    concurrency: Concurrency = None,
    pool: Annotated[Pool, typer.Option(help="What runs the steps.")] = Pool.PREFORK,
    log_level: Annotated[
        Level,
        typer.Option("-l", "--log-level", case_sensitive=False, help="What to log."),
    ] = Level.INFO,
    _local: Local = False,
) -> None:
    """Run one worker.

    This process becomes a Celery worker, which finds the actions that
    PLANS_IMPORTS names, in the working directory too. SIGTERM and Ctrl-C let
    running steps finish, for PLANS_DRAIN_SECONDS; a second one does not.

      plans worker --queues reports,plans --concurrency 4
    """
    installation = open_installation(Settings.from_environment())
    command = worker_command(
        f"plans-{os.getpid()}",
        [
            f"--pool={pool}",
            f"--loglevel={log_level}",
            *_write_work_options(queues, concurrency),
        ],
    )
    if installation.stack is not None:
        installation.stack.keep_across_exec()
    environment = build_environment(installation.settings, os.environ)
    # from here on, the worker itself obeys it: a mask outlives the exec
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.execvpe(command[0], command, environment)  # noqa: S606  # no shell is wanted


@app.command()
def up(
    concurrency: Concurrency = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="How many workers; 0 leaves them to your own app."),
    ] = 1,
    queues: Queues = None,
    flower_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Flower's port; by default 5555 or any free one."
        ),
    ] = None,
    no_flower: Annotated[
        bool, typer.Option("--no-flower", help="Run no Flower.")
    ] = False,
    _local: Local = False,
) -> None:
    """Run servers, workers and Flower until Ctrl-C.

    Servers without a URL are those of the local stack. Ctrl-C lets running
    steps finish; a second one does not.

      plans up --workers 2 --no-flower
    """
    console = open_console()
    settings = replace(Settings.from_environment(), local=True)
    with _own_logs(settings.home) as logs, _open_servers(settings) as filled:
        environment = build_environment(filled, os.environ)
        options = _write_work_options(queues, concurrency)
        posts = _build_workers(workers, options, environment, logs)
        login = None
        if not no_flower and _has_flower(console):
            port = choose_port(flower_port)
            flower, login = build_flower(port, environment, logs / "flower.log")
            posts.append(Post(flower, is_vital=False))
        print_places(console, settings, filled, logs, login)
        code = Supervisor(posts, build_speaker(console)).run()
    raise typer.Exit(code)


def _write_work_options(queues: str | None, concurrency: int | None) -> list[str]:
    options = []
    if queues is not None:
        options.append(f"--queues={queues}")
    if concurrency is not None:
        options.append(f"--concurrency={concurrency}")
    return options


@contextmanager
def _own_logs(home: Path) -> Iterator[Path]:
    """Yield the folder for logs, to which no other `plans up` writes meanwhile."""
    place = open_home(home)
    lock = try_exclusive(place / "up.lock")
    if lock is None:
        raise UsageError(
            f"`plans up` runs in {place} already; `plans --local worker` adds a worker"
            " to it, and another PLANS_HOME makes room for a second one"
        )
    try:
        logs = place / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        for log in logs.glob("*.log"):
            if not log.name.endswith(".old.log"):
                log.replace(log.with_suffix(".old.log"))
        yield logs
    finally:
        os.close(lock)


@contextmanager
def _open_servers(settings: Settings) -> Iterator[Settings]:
    """Yield the settings with every URL filled in, of servers that are fit for use."""
    installation = open_installation(settings)
    try:
        filled = installation.settings
        assert filled.database_url is not None  # noqa: S101  # an installation has every URL
        with closing(Database(filled.database_url, filled.schema)) as database:
            # each worker would refuse as well, but in its log, again and again
            database.check()
        yield filled
    finally:
        installation.close()


def _build_workers(
    count: int, options: list[str], environment: Mapping[str, str], logs: Path
) -> list[Post]:
    return [
        Post(_build_worker(number, options, environment, logs), is_vital=True)
        for number in range(1, count + 1)
    ]


def _build_worker(
    number: int, options: list[str], environment: Mapping[str, str], logs: Path
) -> Program:
    return Program(
        name=f"worker {number}",
        # the process id tells it from workers of other folders at the same broker
        command=worker_command(
            f"up-{os.getpid()}-{number}", ["--loglevel=info", *options]
        ),
        # several would write to one file, and this program sees how they do
        environment={**environment, "PLANS_HEALTH_FILE": ""},
        log=logs / f"worker-{number}.log",
    )


def _has_flower(console: Console) -> bool:
    if is_installed():
        return True
    console.print("going on without Flower: pip install 'celery-plans[flower]' adds it")
    return False
