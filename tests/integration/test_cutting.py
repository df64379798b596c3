"""What a worker that is to stop takes of what it runs, with somebody in its way."""

import threading

from execution import ExecutionEngine, Plan, Settings, StepStatus
from execution.celery.board import WorkerBoard
from execution.celery.draining import Drain
from execution.celery.facts import WorkerFacts
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from tests.integration.test_protocol import claim, nothing, register
from tests.polling import wait_until
from tests.rows import committed

PLAN = Plan("cut", steps=[nothing("only")])


def test_who_holds_one_execution_does_not_keep_others_from_being_given_back(
    engine: ExecutionEngine,
    records: StepRecords,
    liveness: LivenessRecords,
    settings: Settings,
) -> None:
    worker_id = register(liveness, settings)
    for _ in range(2):
        claim(records, worker_id, engine.submit(PLAN), 0)
    board = WorkerBoard.create()
    board.worker_id = worker_id
    dispatcher = ExecutionDispatcher(create_app(settings))
    quiet = ExecutionEventEmitter(None, "")
    drain = Drain(
        records.drains,
        Reconciler(liveness, records, dispatcher, quiet, settings),
        dispatcher,
        board,
        WorkerFacts("cut@here", "prefork", lambda: 2, tuple, tuple),
        kill=lambda _: None,
        end=lambda: None,
    )
    first, other = records.drains.find_held(worker_id)
    cutting = threading.Thread(target=drain._cut_steps)

    def is_given_back(execution_id: str) -> bool:
        (step,) = engine.list_steps(execution_id)
        return step.status is StepStatus.READY

    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "SELECT FROM executions WHERE id = %s FOR UPDATE", (first.execution_id,)
        )
        cutting.start()
        try:
            wait_until(lambda: is_given_back(other.execution_id), what="the other")
        finally:
            cursor.connection.rollback()
            cutting.join(30)
            board.remove()
