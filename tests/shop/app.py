"""The Celery app of the project, and what listens to its tasks.

What is told of a task is noted in the file that the task has as its argument `ledger`.
What is published is noted in the file that `SHOP_PUBLISHED` names.
"""

import os
from typing import Any

from celery import Celery, signals

from execution.celery import register
from execution.dispatcher import STEP_TASK
from tests.actions import note

SHIPPING = os.environ.get("SHOP_QUEUE", "shipping")

app = Celery(
    "shop",
    broker=os.environ["PLANS_BROKER_URL"],
    backend=os.environ["PLANS_BROKER_URL"],
    include=["tests.shop.tasks"],
)
app.conf.task_default_queue = os.environ["PLANS_QUEUE"]
app.conf.task_routes = {"shop.ship": {"queue": SHIPPING}}
app.conf.broker_connection_retry_on_startup = True
register(app)


def note_for(task: Any, line: str) -> None:
    """Note a line in the ledger of the task that runs, if it has one."""
    ledger = (task.request.kwargs or {}).get("ledger")
    if ledger is not None:
        note(ledger, line)


@signals.task_prerun.connect
def see_begin(sender: Any, task_id: str, **_: object) -> None:
    note_for(sender, f"prerun {task_id == sender.request.id} {sender.request.is_eager}")


@signals.task_postrun.connect
def see_end(sender: Any, state: str, **_: object) -> None:
    note_for(sender, f"postrun {state} {sender.request.is_eager}")


@signals.task_success.connect
def see_success(sender: Any, result: object, **_: object) -> None:
    note_for(sender, f"success {result}")


@signals.task_failure.connect
def see_failure(sender: Any, exception: Exception, einfo: Any, **_: object) -> None:
    note_for(sender, f"failure {exception!r} {type(exception).__name__ in str(einfo)}")


@signals.task_retry.connect
def see_retry(sender: Any, reason: Any, **_: object) -> None:
    note_for(sender, f"retry {reason.exc!r}")


@signals.before_task_publish.connect
def see_message(sender: str, **_: object) -> None:
    if sender != STEP_TASK and "SHOP_PUBLISHED" in os.environ:
        note(os.environ["SHOP_PUBLISHED"], sender)
