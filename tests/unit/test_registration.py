"""What registering plans does to an app, and to Celery."""

from celery import Celery, signals

from execution.celery.registration import register
from execution.dispatcher import STEP_TASK
from execution.settings import Settings

SETTINGS = Settings(database_url="postgresql://nobody@/none?host=/nowhere")


def test_the_step_task_is_added_and_no_setting_is_changed() -> None:
    app = Celery("host", set_as_current=False)
    before = dict(app.conf)

    register(app, SETTINGS)

    assert STEP_TASK in app.tasks
    assert dict(app.conf) == before


def test_a_second_sigterm_does_not_wait_for_the_first() -> None:
    register(Celery("host", set_as_current=False), SETTINGS)
    lock = signals.worker_shutting_down.lock

    with lock:
        # as the handler does that interrupts the first one, in the same thread
        assert lock.acquire(timeout=1)
        lock.release()
