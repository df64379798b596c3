"""Overdue attempts of a worker: taken first, then their process is killed."""

import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from execution import ExecutionEngine, Plan, Settings, Step, StepStatus
from execution.celery.board import WorkerBoard
from execution.celery.facts import WorkerFacts
from execution.celery.watch import Watch
from execution.database import Database, DatabaseUnavailableError
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.integration.test_protocol import register

TOKEN = str(uuid.uuid4())
HOLDER = f"""
import sys
from execution.celery.board import WorkerBoard
WorkerBoard.open().expose({TOKEN!r})
print("shown", flush=True)
sys.stdin.read()
"""


class CutDatabase(Database):
    """Loses the answer to the first call of `take_step`, which has landed."""

    is_cut = False

    def call(self, function: str, *arguments: object) -> dict[str, object]:
        """Call; the server does what was asked of it."""
        answer = super().call(function, *arguments)
        if function == "take_step" and not self.is_cut:
            self.is_cut = True
            raise DatabaseUnavailableError("the answer is lost")
        return answer


@pytest.fixture
def board() -> Iterator[WorkerBoard]:
    """The board of a worker that is only a row."""
    made = WorkerBoard.create()
    yield made
    made.remove()


@pytest.fixture
def holder(board: WorkerBoard) -> Iterator[subprocess.Popen[str]]:
    """A child of this process that shows the token, and lives on."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "shown\n"
    with child:
        yield child
        child.kill()


def test_a_holder_is_killed_when_the_answer_to_the_taking_was_lost(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
    board: WorkerBoard,
    holder: subprocess.Popen[str],
) -> None:
    board.worker_id = register(liveness, settings)
    step = Step("a", action="test.nothing", timeout="1ms")
    execution_id = engine.submit(Plan("overdue", steps=[step]))
    records.claim(
        execution_id,
        [0],
        epoch=1,
        token=TOKEN,
        worker_id=board.worker_id,
        delivery="by-hand",
    )
    assert settings.database_url is not None
    database = CutDatabase(settings.database_url, settings.schema)
    cut = LivenessRecords(database)
    reconciler = Reconciler(
        cut,
        StepRecords(database),
        ExecutionDispatcher(create_app(settings)),
        ExecutionEventEmitter(None, ""),
        settings,
    )
    # of a pool whose processes are not asked first
    facts = WorkerFacts("h", "none", lambda: 1, set, lambda: {holder.pid})
    watch = Watch(cut, reconciler, board, facts, settings)

    with pytest.raises(DatabaseUnavailableError):
        watch.look()
    assert engine.list_steps(execution_id)[0].status is StepStatus.TIMED_OUT
    assert holder.poll() is None
    watch.look()

    assert holder.wait(60) == -signal.SIGKILL
    database.close()
