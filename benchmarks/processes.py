"""Workers as processes: started here, and ended by nobody else."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from benchmarks.stage import ROOT

_STOP_SECONDS = 30


@contextmanager
def run_process(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[psutil.Process]:
    """Run a process for as long as the block runs; show its log if it failed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            # a Ctrl-C is for the benchmark, which ends them in its own time
            start_new_session=True,
        )
    try:
        yield psutil.Process(process.pid)
        assert process.poll() is None, f"it ended early: {log.read_text()[-3000:]}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def run_processes(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], home: Path
) -> Iterator[list[psutil.Process]]:
    """Run several, started at once."""
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    first = len(list(logs.iterdir()))
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                run_process(command, environment, logs / f"{first + index}.log")
            )
            for index, command in enumerate(commands)
        ]
