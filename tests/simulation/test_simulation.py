"""Thousands of worlds in which much goes wrong, and no promise is broken."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from execution.local import LocalStack
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.seeds import open_stage, play_seed
from tests.simulation.store import alter, install
from tests.simulation.world import Stage

pytestmark = pytest.mark.usefixtures("untraced")

_ROOT = Path(__file__).parents[2]
_PROCESSES = 2
_SHARE_WITH_OPERATORS = 0.3
_MOST_SECONDS_PER_SEED = 1.0
_SEEDS_OF_EXPECTED = 2000
_SEEDS_PER_MUTATION = 200
_MUTATED_SECONDS = 600.0
"""Virtual time after which a world without a safeguard is stuck."""


FAILED_ONCE = (
    (11, "a claim after the clock was set back was older than its worker's sample"),
    (41, "the same, two beats before the sample was younger again"),
    (1023, "a retry was told that it had landed; its step had been taken and ended"),
)
"""Seeds that found something, and what it was."""

EXPECTED = {
    "acts of operators: force": 20,
    "acts of operators: retry": 20,
    "acts of operators: skip": 20,
    "attempts interrupted": 10,
    "broker flushed": 100,
    "broker went away": 100,
    "call failed and was not executed": 50,
    "call was committed and its answer lost": 50,
    "calls during an outage": 500,
    "child killed": 50,
    "child stopped": 30,
    "claims answered again": 10,
    "claims not granted: dropped": 200,
    "claims not granted: satisfied": 30,
    "claims not granted: the message is of another epoch": 30,
    "claims not granted: unregistered": 50,
    "clock jumped backwards": 100,
    "clock jumped forwards": 100,
    "completions repeated": 10,
    "completions stale": 100,
    "decisions to abort": 3,
    "decisions to complete": 3,
    "decisions to restore": 20,
    "decisions to skip": 3,
    "executions admitted": 200,
    "executions cancelled": 50,
    "executions completed": 500,
    "executions expired": 10,
    "executions failed": 200,
    "executions sent late": 50,
    "executions superseded": 30,
    "executions timed_out": 10,
    "executions woken": 100,
    "iterations begun": 200,
    "iterations repeated": 3,
    "late writes refused: append_observations": 20,
    "late writes refused: complete_step": 100,
    "late writes refused: report_progress": 20,
    "late writes refused: retry_step": 10,
    "late writes refused: save_checkpoint": 5,
    "links of chains that could not be sent": 10,
    "lists empty": 50,
    "lists expanded": 100,
    "main process killed, children orphaned": 200,
    "main process stopped": 100,
    "message delayed": 30,
    "message dropped": 30,
    "message repeated": 30,
    "messages redelivered": 200,
    "messages reordered": 30,
    "overdue attempts killed": 30,
    "owner killed": 10,
    "pauses": 200,
    "processes killed by their step": 100,
    "publishes refused by an absent broker": 100,
    "resumes": 200,
    "restores": 100,
    "results missed": 20,
    "results reused": 5,
    "retries retrying": 200,
    "retries waiting": 100,
    "rides": 500,
    "rides answered again": 2,
    "row was held by a stranger": 50,
    "signals sent": 200,
    "steps expired: ended": 10,
    "steps sent again": 200,
    "steps taken back: lost, ended": 30,
    "steps taken back: lost, returned": 200,
    "steps taken back: timeout, ended": 20,
    "steps taken back: timeout, waiting": 10,
    "submits existing": 5,
    "submits refused": 10,
    "waits for signals ended": 30,
    "waits for signals waiting": 200,
    "worker killed": 50,
    "worker stopped": 50,
    "worker told to stop": 20,
    "workers declared dead": 100,
    "workers signed off": 30,
    "yields yielded": 10,
}
"""What must have happened at least so often in 2,000 worlds, or nothing was tried."""


@dataclass(frozen=True)
class Report:
    """What all seeds came to."""

    counts: Counter[str]
    failures: dict[str, str]


@pytest.fixture(scope="module")
def database_url(stack: LocalStack) -> str:
    """The database of the test run."""
    assert stack.urls.database_url is not None
    return stack.urls.database_url


@pytest.fixture(scope="module")
def seeds(request: pytest.FixtureRequest) -> int:
    """How many worlds are played."""
    return int(request.config.getoption("--seeds"))


@pytest.fixture(scope="module")
def report(database_url: str, seeds: int) -> Report:
    """Play every seed, in processes without coverage: it would triple the time.

    Some of them once more, with operators.
    """
    # one after the other: all would create what the schemas share
    for number in range(_PROCESSES + 1):
        install(database_url, f"simulation_{number}")
    shares = [seeds * number // _PROCESSES for number in range(_PROCESSES + 1)]
    processes = [
        _start(database_url, number, range(*share))
        for number, share in enumerate(pairwise(shares))
    ]
    operated = range(round(seeds * _SHARE_WITH_OPERATORS))
    processes.append(_start(database_url, _PROCESSES, operated, "--operators"))
    counts: Counter[str] = Counter()
    failures: dict[str, str] = {}
    for process in processes:
        output, errors = process.communicate(
            timeout=60 + seeds * _MOST_SECONDS_PER_SEED
        )
        assert output, errors
        told = json.loads(output)
        counts.update(told["counts"])
        failures |= {f"{told['stage']} {n}": why for n, why in told["failures"].items()}
    return Report(counts, failures)


@pytest.fixture(scope="module")
def stage(database_url: str) -> Iterator[Stage]:
    """A stage with the functions as they are."""
    install(database_url, "simulation")
    opened = open_stage(database_url, "simulation")
    yield opened
    opened.store.close()


# each waits for processes that have a time limit
@pytest.mark.timeout(0)
def test_no_promise_is_broken_in_any_world(report: Report) -> None:
    assert not report.failures


@pytest.mark.timeout(0)
def test_everything_that_can_go_wrong_did(report: Report, seeds: int) -> None:
    share = seeds / _SEEDS_OF_EXPECTED
    rare = {
        what: report.counts[what]
        for what, least in EXPECTED.items()
        if report.counts[what] < int(least * share)
    }
    assert not rare


def test_a_seed_plays_the_same_way_each_time(stage: Stage) -> None:
    for seed in range(5):
        first = play_seed(stage, seed, is_tracing=True)
        play_seed(stage, seed + 100)
        again = play_seed(stage, seed, is_tracing=True)
        assert first.trace == again.trace
        assert first.counts == again.counts


@pytest.mark.parametrize(("seed", "reason"), FAILED_ONCE)
def test_what_failed_once_does_not_fail_again(
    stage: Stage, seed: int, reason: str
) -> None:
    assert play_seed(stage, seed).reason is None, reason


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_missing_safeguard_is_noticed(
    database_url: str, stage: Stage, mutation: Mutation
) -> None:
    without = replace(
        stage,
        muted=mutation.muted,
        most_seconds=_MUTATED_SECONDS,
        has_pausers=mutation.has_pausers,
    )
    tried = range(mutation.first_seed, mutation.first_seed + _SEEDS_PER_MUTATION)
    with alter(database_url, stage.store.schema, mutation.apply()):
        assert any(play_seed(without, seed).reason for seed in tried)


def _start(
    database_url: str, number: int, seeds: range, *options: str
) -> subprocess.Popen[str]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COVERAGE_", "COV_"))
    }
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.simulation", "--json"),
            *("--seeds", f"{seeds.start}:{seeds.stop}"),
            *("--database-url", database_url, "--schema", f"simulation_{number}"),
            *options,
        ],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
