"""Programs that the command line starts, watches and ends: workers and Flower.

Promises: a child ends with this process, however that ends (Linux: the kernel sees to
it); the terminal's Ctrl-C reaches this process alone, which then decides; what a child
writes goes to a file of its own. It must not know what the programs do.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import SetupError
from ..settings import FILED_VARIABLES, Settings
from ..variables import FILE_SUFFIX, SECRET_PREFIX

_PR_SET_PDEATHSIG = 1
_LONGEST_TAIL_BYTES = 1500

Child = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Program:
    """What to start; `name` is what people are told; `directory` is ours if None."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    directory: Path | None = None


def celery_command(*arguments: str) -> tuple[str, ...]:
    """Return the command line of Celery with the stand-alone app."""
    # -P, and this name: the working directory may hold an `execution` of its own
    return (sys.executable, "-P", "-m", "celery_plans.celery.standalone", *arguments)


def worker_command(name: str, options: Sequence[str]) -> tuple[str, ...]:
    """Return the command line of a worker that Celery knows as `name`."""
    return celery_command(
        "worker",
        f"--hostname={name}@%h",
        # what these two tell workers of each other is in PostgreSQL
        "--without-gossip",
        "--without-mingle",
        *options,
    )


def build_environment(
    settings: Settings, inherited: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment in which a child has exactly these settings.

    It keeps the variables that hold secrets, and those that name files with settings.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name.startswith(SECRET_PREFIX) or not name.startswith(("PLANS_", "FLOWER_"))
    }
    kept.pop("PLANS_SECRET_RESOLVER", None)
    for field in fields(settings):
        text = _write_setting(getattr(settings, field.name))
        variable = f"PLANS_{field.name.upper()}"
        pointer = f"{variable}{FILE_SUFFIX}"
        if variable in FILED_VARIABLES and inherited.get(pointer):
            kept[pointer] = str(Path(inherited[pointer]).resolve())
        # the URLs are known by now: a child must not start servers of its own
        elif text is not None and field.name != "local":
            kept[variable] = text
    return kept


def _write_setting(value: object) -> str | None:
    match value:
        case None | ():
            return None
        case tuple():
            return ",".join(value)
        case Path():
            return str(value.resolve())
        case bool():
            return "1" if value else "0"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def start(program: Program) -> Child:
    """Start the program; call it in the main thread, with which the child ends.

    Raises SetupError when it cannot be started.
    """
    try:
        program.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  the commands are our own
                program.command,
                env=dict(program.environment),
                cwd=program.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_tie_to_this_process(),
            )
    except OSError as error:
        raise SetupError(f"{program.name} cannot be started: {error}") from error


def kill(child: Child) -> None:
    """End the child and all that it has started, at once."""
    try:
        # it leads a group of its own
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def stop_all(children: Sequence[Child], *, patience_seconds: float) -> None:
    """Ask every child to finish what it does, then end what has not."""
    for child in children:
        child.terminate()
    for child in children:
        try:
            child.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            kill(child)
            child.wait()


@contextmanager
def running(
    programs: Sequence[Program], *, patience_seconds: float
) -> Iterator[tuple[Child, ...]]:
    """Run the programs for the time of the block."""
    children: list[Child] = []
    try:
        for program in programs:
            # one by one: those that were started must end if the next one cannot
            children.append(start(program))  # noqa: PERF401
        yield tuple(children)
    finally:
        stop_all(children, patience_seconds=patience_seconds)


def read_tail(log: Path, *, lines: int = 10) -> str:
    """Return the last lines of a log, for people to find out what went wrong."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def _tie_to_this_process() -> Callable[[], None]:
    parent_pid = os.getpid()
    system = ctypes.CDLL(None) if sys.platform == "linux" else None

    def tie() -> None:
        if system is None:
            return
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # a parent that was killed before that line has sent no signal
        if os.getppid() != parent_pid:
            os._exit(1)

    return tie
