"""Keyed executions with real workers, of which some are killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import ROOT, WorkerProcess, build_environment

CUSTOMERS = ("ann", "bob")
_SUBMIT = """
from execution import ExecutionEngine
with ExecutionEngine.connect() as engine:
    engine.submit("killed-submit")
"""


def plan_of(
    ledger: Path, name: str, *, queue: str | None = None, **concurrency: object
) -> Plan:
    inputs = {"ledger": str(ledger), "key": "${parameters.customer}"}
    return Plan(
        name,
        parameters={"customer": {"type": "string", "default": "ann"}},
        concurrency={"key": "${parameters.customer}", **concurrency},
        steps=[
            Step("enter", action="test.mark", queue=queue, with_=inputs),
            Step("leave", action="test.mark", queue=queue, with_=inputs),
        ],
    )


def most_at_once(ledger: Path) -> dict[str, int]:
    """Return how many executions of each key were between their two steps at once."""
    inside: dict[str, set[str]] = {}
    most: dict[str, int] = {}
    for line in ledger.read_text().splitlines():
        entry = json.loads(line)
        key, execution_id = entry["key"], entry["execution"]
        ids = inside.setdefault(key, set())
        # a step that was lost may be run once more
        (ids.add if entry["step"] == "enter" else ids.discard)(execution_id)
        most[key] = max(most.get(key, 0), len(ids))
    return most


def wait_for_all(engine: ExecutionEngine, ids: Sequence[str]) -> None:
    for execution_id in ids:
        assert engine.wait(execution_id, timeout_seconds=60).is_success
        check_timeline(engine, execution_id)


def test_one_runs_at_a_time_under_each_key(
    engine: ExecutionEngine, shared_worker: WorkerProcess, ledger: Path
) -> None:
    plan = plan_of(ledger, "one-at-a-time")

    ids = engine.submit_many(plan, [{"customer": c} for c in CUSTOMERS * 10])

    wait_for_all(engine, ids)
    assert most_at_once(ledger) == dict.fromkeys(CUSTOMERS, 1)


def test_as_many_run_as_the_limit_says(
    engine: ExecutionEngine, shared_worker: WorkerProcess, ledger: Path
) -> None:
    plan = plan_of(ledger, "two-at-a-time", limit=2)

    wait_for_all(engine, [engine.submit(plan) for _ in range(10)])

    assert most_at_once(ledger)["ann"] <= 2


def test_the_newest_is_what_completes(
    engine: ExecutionEngine, shared_worker: WorkerProcess, ledger: Path
) -> None:
    plan = plan_of(ledger, "newest", on_conflict="cancel_older")

    ids = [engine.submit(plan) for _ in range(6)]

    assert engine.wait(ids[-1], timeout_seconds=60).is_success
    ends = {engine.wait(i, timeout_seconds=60).status for i in ids[:-1]}
    # the first may have been through before there was a second
    assert ends <= {ExecutionStatus.CANCELLED, ExecutionStatus.COMPLETED}
    begun = [e for e in map(engine.get_status, ids) if e.admitted_at is not None]
    for one, following in pairwise(begun):
        assert one.ended_at is not None
        assert following.admitted_at is not None
        assert one.ended_at < following.admitted_at


def test_the_next_begins_soon_after_the_end(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = plan_of(ledger, "soon")
    # a lease so long that no look comes in between
    slow = replace(settings, lease_seconds=600.0)
    with WorkerProcess.start(slow):
        ids = [engine.submit(plan) for _ in range(4)]

        results = [engine.wait(i, timeout_seconds=60) for i in ids]

    assert all(result.is_success for result in results)


def test_a_submitter_killed_before_the_admission_keeps_nobody_waiting(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = plan_of(ledger, "killed-submit")
    engine.publish(plan)
    with WorkerProcess.start(settings):
        submitter = subprocess.run(
            [sys.executable, "-c", _SUBMIT],
            cwd=ROOT,
            env={**build_environment(settings), "PLANS_FAULT": "submitted:exit"},
            check=False,
        )
        (killed,) = (
            e for e in engine.list_executions().items if e.plan == "killed-submit"
        )

        wait_for_all(engine, [killed.id, engine.submit(plan)])

    assert submitter.returncode == -signal.SIGKILL


def test_a_killed_worker_keeps_nobody_waiting(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    # where no other worker of this module may take everything before the kill
    own = replace(settings, queue=f"{settings.queue}_killed")
    plan = plan_of(ledger, "killed", queue=own.queue)
    with WorkerProcess.start(own) as victim, WorkerProcess.start(own):
        ids = engine.submit_many(plan, [{"customer": c} for c in CUSTOMERS * 20])
        wait_until(lambda: ledger.read_text().count("\n") > 10, what="some to run")
        victim.kill()

        wait_for_all(engine, ids)

    assert most_at_once(ledger) == dict.fromkeys(CUSTOMERS, 1)
