"""A Celery app whose settings were made for its own tasks, and not for steps."""

import os
from typing import Any

from celery import Celery

from execution.celery import register
from tests.actions import note

app = Celery("strict", broker=os.environ["PLANS_BROKER_URL"], set_as_current=False)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": "strict:"},
    task_queues={"strict": {}, os.environ["PLANS_QUEUE"]: {}},
    task_default_queue="strict",
    task_create_missing_queues=False,
    # elsewhere, by every way that there is to say so
    task_routes=(
        lambda name, args, kwargs, options, task=None, **more: {"queue": "strict"},
        {"*": {"exchange": "elsewhere", "routing_key": "elsewhere"}},
    ),
    task_annotations={"*": {"rate_limit": "1/h", "time_limit": 1, "acks_late": False}},
    task_default_rate_limit="1/h",
    task_protocol=1,
    task_serializer="yaml",
    accept_content=["json", "yaml"],
    task_acks_late=False,
    task_acks_on_failure=False,
    task_reject_on_worker_lost=False,
    task_always_eager=True,
    task_track_started=True,
    task_ignore_result=False,
    result_backend="redis+socket:///nowhere.sock",
    worker_direct=True,
)
register(app)


@app.task(name="strict.note", shared=False)
def note_call(ledger: str, line: str) -> str:
    """Note that it was called."""
    note(ledger, line)
    return line


@app.task(name="strict.later", shared=False)
def send_other(ledger: str) -> Any:
    """Send another task, as it would outside of steps."""
    return note_call.delay(ledger, "by delay").state
