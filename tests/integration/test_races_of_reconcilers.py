"""Reconcilers that meet over the same work, or over a step that ends after all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import pytest
from celery import Celery

from execution import ExecutionStatus, Settings
from execution.answers import Completion, Recorded
from execution.dispatcher import ExecutionDispatcher
from execution.reconciler import Reconciler, Round
from execution.sweeps import LostStep
from execution.windows import Window
from tests.integration.test_races import ONE, SILENT, count_events
from tests.racing import Arena, arena_of, count_wrong_rounds
from tests.sweeping import run_round
from tests.timeline import check_timeline

ROUNDS = 60


@pytest.fixture(scope="module")
def arena(settings: Settings) -> Iterator[Arena]:
    """An arena in the module's schema: reconcilers look at all that is in it."""
    with arena_of(settings) as opened:
        yield opened


class Recorder(ExecutionDispatcher):
    """Sends nothing; keeps what was to be sent."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(Celery(set_as_current=False))
        self.sent: list[Window] = []

    def publish(self, windows: Sequence[Window]) -> bool:
        """Keep the windows."""
        self.sent.extend(windows)
        return True


def build_reconciler(arena: Arena, dispatcher: ExecutionDispatcher) -> Reconciler:
    return Reconciler(arena.liveness, arena.records, dispatcher, SILENT, arena.settings)


def lose_messages(arena: Arena, execution_ids: Sequence[str]) -> None:
    """Date publications back, so that their messages count as missing."""
    arena.database.query(
        "UPDATE {schema}.execution_steps SET published_at = published_at"
        " - interval '1 hour' WHERE execution_id = ANY (%s::uuid[]) RETURNING 1",
        (list(execution_ids),),
    )


# reconciler against reconciler


def race_reconcilers(arena: Arena) -> None:
    """Two or three find steps lost and unsent, and executions unfinished."""
    arena.enter_worker()
    lost, unsent, unfinished = (
        [arena.submit(ONE) for _ in range(arena.random.randint(1, 2))] for _ in range(3)
    )
    for execution_id in unfinished:
        assert arena.complete(arena.claim(execution_id)).is_last
    for execution_id in lost:
        arena.claim(execution_id)
    lose_messages(arena, unsent)
    arena.lose_all()
    recorder = Recorder()
    reconcilers = [
        build_reconciler(arena, recorder) for _ in range(arena.random.choice((2, 3)))
    ]

    done = arena.race(
        [partial(run_round, reconciler) for reconciler in reconcilers],
        over=arena.random.choice([*lost, *unsent, *unfinished]),
    )
    # what was held by somebody was passed over until now
    done.append(run_round(reconcilers[0]))

    check_totals(done, len(lost), len(unsent), len(unfinished))
    sent = Counter(window.execution_id for window in recorder.sent)
    assert sent == Counter([*lost, *unsent])
    check_returned(arena, lost)
    for execution_id in unsent:
        assert arena.read_step(execution_id)["publishes"] == 2
    check_finished(arena, unfinished)
    arena.liveness.end_worker(arena.worker_id)


def check_totals(
    done: Sequence[Round], lost: int, unsent: int, unfinished: int
) -> None:
    assert sum(one.lost_steps for one in done) == lost
    assert sum(one.resent_steps for one in done) == unsent
    assert sum(one.finished_executions for one in done) == unfinished


def check_returned(arena: Arena, lost: Sequence[str]) -> None:
    for execution_id in lost:
        step = arena.read_step(execution_id)
        assert (step["status"], step["losses"], step["attempt"]) == ("ready", 1, 1)
        assert (step["publishes"], step["archived"]) == (2, 1)
        assert count_events(arena, execution_id, "step.lost") == 1
        check_timeline(arena.engine, execution_id)


def check_finished(arena: Arena, unfinished: Sequence[str]) -> None:
    for execution_id in unfinished:
        ended = arena.engine.get_status(execution_id)
        assert ended.status is ExecutionStatus.COMPLETED
        assert count_events(arena, execution_id, "execution.completed") == 1
        check_timeline(arena.engine, execution_id)


def test_reconcilers_that_meet_do_everything_once(arena: Arena) -> None:
    assert count_wrong_rounds(race_reconcilers, arena, ROUNDS) == 0


# reconciler against a late complete


def race_late_completion(arena: Arena) -> None:
    """A lost step ends after all: it is recorded or taken back, never both."""
    arena.enter_worker()
    execution_id = arena.submit(ONE)
    held = arena.claim(execution_id)
    arena.lose_all()
    lost = LostStep(execution_id, 0, held.token)
    take: list[partial[Completion | None] | partial[Round]] = [
        partial(arena.liveness.take_lost, lost, is_patient=True),
        partial(run_round, build_reconciler(arena, Recorder())),
    ]

    done, taken = arena.race_pair(
        partial(arena.complete, held), arena.random.choice(take), over=execution_id
    )

    step = arena.read_step(execution_id)
    execution = arena.engine.get_status(execution_id)
    found = (step["status"], step["losses"], step["archived"], execution.open_steps)
    if done.outcome is Recorded.RECORDED:
        # the reconciler may have finished what had just been completed
        assert not taken or isinstance(taken, Round)
        assert found == ("completed", 0, 0, 0)
    else:
        assert done.outcome is Recorded.STALE
        assert taken
        assert found == ("ready", 1, 1, 1)
    assert count_events(arena, execution_id, "step.lost") == step["losses"]
    check_timeline(arena.engine, execution_id)
    arena.liveness.end_worker(arena.worker_id)


def test_a_late_result_is_recorded_or_its_step_taken_back(arena: Arena) -> None:
    assert count_wrong_rounds(race_late_completion, arena, 2 * ROUNDS) == 0
