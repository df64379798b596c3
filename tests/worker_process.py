"""A real worker in a process of its own, to run steps and to be killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from execution.database import Database
from execution.settings import Settings
from tests.polling import wait_until

ROOT = Path(__file__).parent.parent


class WorkerProcess:
    """A worker, started with the settings of a test."""

    def __init__(
        self, process: subprocess.Popen[bytes], log: Path, environment: dict[str, str]
    ) -> None:
        """Hold a process that was started; `start` starts one."""
        self.process = process
        self.log = log
        self.environment = environment

    @classmethod
    def start(
        cls,
        settings: Settings,
        *,
        slots: int = 2,
        pool: str = "prefork",
        app: str | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        directory: Path = ROOT,
        is_measured: bool = False,
    ) -> Self:
        """Start a worker in `directory` and wait until it has signed on.

        It is started as `plans worker` starts one, or as `celery -A APP worker`. What
        it covers counts if it `is_measured`, which takes half as long again; one that
        is killed leaves no measurement.
        """
        log = Path(tempfile.mkstemp(prefix="plans-worker-", suffix=".log")[1])
        said = ["-c", str(slots), "-P", pool, "-Q", settings.queue, "-l", "INFO"]
        said += ["--without-gossip", "--without-mingle", "-n", f"{log.stem}@test"]
        variables = {**build_environment(settings), **(environment or {})}
        if not is_measured:
            variables.pop("COVERAGE_PROCESS_CONFIG", None)
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_choose_program(app), "worker", *said, *options],
                cwd=directory,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = cls(process, log, variables)
        try:
            worker._await_sign_on(settings)
        except BaseException:
            # nobody else knows of it yet, and it would wait for its servers for ever
            worker.kill()
            raise
        return worker

    def _await_sign_on(self, settings: Settings) -> None:
        assert settings.database_url is not None
        database = Database(settings.database_url, settings.schema)

        def has_signed_on() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            statement = (
                "SELECT count(*) AS n FROM {schema}.workers"
                " WHERE pid = %s AND ended_at IS NULL"
            )
            return bool(database.query(statement, (self.process.pid,))[0]["n"])

        # one that has ended is noticed at once; the rest is how busy the machine is
        wait_until(has_signed_on, what="the worker to sign on", timeout_seconds=60)
        database.close()

    def list_children(self) -> list[int]:
        """Return the pids of the pool's processes."""
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def kill(self) -> None:
        """Kill the main process; its children die with it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)

    def stop(self) -> int:
        """Ask for a warm shutdown and return the exit code."""
        self.process.terminate()
        # a process of Celery's pool stays for half a minute where a task came to it at
        # the very moment
        return self.process.wait(60)

    def __enter__(self) -> Self:
        """End the worker with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the worker unless it was killed, and remove its log."""
        if self.process.poll() is None:
            if error is None:
                self.stop()
            else:
                self.kill()
        self.log.unlink()


def _choose_program(app: str | None) -> list[str]:
    alone = ["-P", "-m", "execution.celery.standalone"]
    return [sys.executable, *(["-m", "celery", "-A", app] if app else alone)]


def build_environment(settings: Settings) -> dict[str, str]:
    """Return this process's environment with the settings in it."""
    urls = (settings.database_url, settings.broker_url, settings.redis_url)
    assert all(urls)
    values = {
        "PLANS_DATABASE_URL": settings.database_url,
        "PLANS_BROKER_URL": settings.broker_url,
        "PLANS_REDIS_URL": settings.redis_url,
        "PLANS_SCHEMA": settings.schema,
        "PLANS_QUEUE": settings.queue,
        "PLANS_IMPORTS": ",".join(settings.imports),
        "PLANS_LEASE_SECONDS": str(settings.lease_seconds),
        "PLANS_DRAIN_SECONDS": str(settings.drain_seconds),
        "PLANS_RIDE": str(int(settings.ride)),
        "PLANS_PAYLOADS": settings.payloads,
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **{name: value or "" for name, value in values.items()}}
