"""A worker says in a file how it does, whatever happens to it and to its servers."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from execution import ExecutionEngine, Plan, Settings, Step
from execution.health import HealthState, HealthVerdict, judge_file
from execution.local import LocalStack
from tests.outages import let_pass
from tests.polling import wait_until
from tests.proxy import Proxy
from tests.worker_process import ROOT, WorkerProcess, build_environment

WITHIN_SECONDS = 1.5
"""More than the file is ever left alone by a worker whose loop turns."""


@dataclass
class Ward:
    """A worker behind proxies, and its file."""

    process: subprocess.Popen[bytes]
    postgres: Proxy
    broker: Proxy
    file: Path

    def judge(self) -> HealthVerdict:
        return judge_file(self.file, WITHIN_SECONDS)

    def await_ready(self, *, is_ready: bool = True, reason: str = "") -> None:
        wait_until(
            lambda: self.judge().is_ready is is_ready and reason in self.judge().reason,
            what=f"readiness to be {is_ready}, as {reason!r}",
        )

    def outlast(self) -> None:
        """Let pass what would make a worker look dead that says nothing."""
        let_pass(1.3 * WITHIN_SECONDS)
        # at any moment the machine may be slow; a loop that hangs never speaks again
        wait_until(lambda: self.judge().is_live, what="the worker to live")


@contextmanager
def behind_proxies(
    settings: Settings, stack: LocalStack
) -> Iterator[tuple[Settings, Proxy, Proxy]]:
    """Yield settings that lead to the servers through proxies, and these."""
    assert stack.postgres is not None
    assert stack.valkey is not None
    with (
        Proxy(str(stack.postgres.socket)) as postgres,
        Proxy(str(stack.valkey.socket)) as valkey,
    ):
        url = f"redis://127.0.0.1:{valkey.port}/0"
        database_url = f"postgresql://plans@127.0.0.1:{postgres.port}/plans"
        behind = replace(
            settings, database_url=database_url, broker_url=url, redis_url=url
        )
        yield behind, postgres, valkey


@pytest.fixture(scope="module")
def ward(
    settings: Settings, stack: LocalStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ward]:
    """A worker that lives through every test of the module."""
    folder = tmp_path_factory.mktemp("health")
    with ExitStack() as exits:
        behind, postgres, broker = exits.enter_context(behind_proxies(settings, stack))
        variables = {"PLANS_HEALTH_FILE": str(folder / "%n")}
        worker = exits.enter_context(
            WorkerProcess.start(behind, slots=1, environment=variables)
        )
        ward = Ward(worker.process, postgres, broker, folder / worker.log.stem)
        ward.await_ready()
        yield ward


def call_health(*options: str) -> tuple[int, str]:
    plans = Path(sys.executable).with_name("plans")
    done = subprocess.run(
        [plans, "health", *options], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def test_a_loop_that_hangs_falls_silent(ward: Ward) -> None:
    file = str(ward.file)
    wait_until(
        lambda: call_health("--ready", "--file", file) == (0, "ready\n"),
        what="it to be ready",
    )
    ward.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not ward.judge().is_live, what="the worker to look dead")
        code, said = call_health("--live", "--file", file, "--within", "1")
    finally:
        ward.process.send_signal(signal.SIGCONT)
    assert code == 1
    assert said.startswith("the loop of the worker has said nothing for ")

    ward.await_ready()


def test_who_waits_for_its_broker_lives_and_is_not_ready(ward: Ward) -> None:
    ward.broker.refuse()
    try:
        ward.await_ready(is_ready=False, reason="the broker is not connected")
        ward.outlast()
    finally:
        ward.broker.admit()

    ward.await_ready()


def test_who_asks_a_broker_that_is_silent_lives_and_is_not_ready(ward: Ward) -> None:
    ward.broker.swallow()
    try:
        ward.await_ready(is_ready=False, reason="the broker is not connected")
        ward.outlast()
    finally:
        ward.broker.recover()

    ward.await_ready()


def test_who_waits_for_postgresql_lives_and_is_not_ready(ward: Ward) -> None:
    ward.postgres.refuse()
    try:
        ward.await_ready(is_ready=False, reason="PostgreSQL does not answer")
        ward.outlast()
    finally:
        ward.postgres.admit()

    ward.await_ready()


def test_who_has_never_met_its_servers_lives_and_is_not_ready(
    settings: Settings, stack: LocalStack, tmp_path: Path
) -> None:
    file = tmp_path / "health"
    command = [sys.executable, "-m", "celery", "-A", "workers.app", "worker"]
    command += ["-P", "solo", "-n", "early@test"]
    with ExitStack() as exits:
        behind, postgres, broker = exits.enter_context(behind_proxies(settings, stack))
        postgres.refuse()
        broker.refuse()
        variables = {**build_environment(behind), "PLANS_HEALTH_FILE": str(file)}
        log = exits.enter_context((tmp_path / "log").open("wb"))
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log
        )
        exits.callback(process.wait, 60)
        exits.callback(process.send_signal, signal.SIGQUIT)
        ward = Ward(process, postgres, broker, file)
        wait_until(file.exists, what="the worker to begin")
        ward.outlast()
        broker.admit()
        wait_until(lambda: "broker" not in ward.judge().reason, what="the broker")
        ward.outlast()
        assert not ward.judge().is_ready
        postgres.admit()
        ward.await_ready()

    assert not file.exists()


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_who_drains_lives_and_is_not_ready(
    engine: ExecutionEngine,
    settings: Settings,
    ledger: Path,
    tmp_path: Path,
    pool: str,
) -> None:
    file, gate = tmp_path / "health", tmp_path / "gate"

    def judge_live() -> HealthVerdict | None:
        verdict = judge_file(file, WITHIN_SECONDS)
        return verdict if verdict.is_live else None

    aside = replace(settings, queue=f"{settings.queue}-{pool}", drain_seconds=300.0)
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    step = Step("s", action="test.hold", with_=inputs, queue=aside.queue)
    variables = {"PLANS_HEALTH_FILE": str(file)}
    with WorkerProcess.start(aside, slots=1, pool=pool, environment=variables) as one:
        execution_id = engine.submit(Plan("held", steps=[step]))
        wait_until(ledger.read_text, what="the step to begin")
        wait_until(lambda: judge_file(file, WITHIN_SECONDS).is_ready, what="the worker")
        one.process.terminate()
        wait_until(
            lambda: not judge_file(file, WITHIN_SECONDS).is_ready, what="the drain"
        )
        let_pass(1.3 * WITHIN_SECONDS)
        verdict = wait_until(judge_live, what="the worker to live")
        gate.touch()
        assert one.process.wait(60) == 0

    assert verdict is not None
    assert not verdict.is_ready
    assert verdict.health is not None
    assert verdict.health.state is HealthState.DRAINING
    assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert not file.exists()


def test_what_a_killed_worker_leaves_is_no_health(ward: Ward) -> None:
    # the last of this module: nobody needs the worker any more
    ward.process.kill()
    ward.process.wait(60)

    verdict = ward.judge()

    assert not verdict.is_live
    assert f"process {ward.process.pid} of the worker" in verdict.reason
