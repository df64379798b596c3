"""What registering plans does to an app, and to Celery."""

import pytest
from celery import Celery, signals

from execution.celery.registration import PlansInApp, register
from execution.dispatcher import STEP_TASK
from execution.settings import Settings

SETTINGS = Settings(database_url="postgresql://nobody@/none?host=/nowhere")


def test_the_step_task_is_added_and_no_setting_is_changed() -> None:
    app = Celery("host", set_as_current=False)
    before = dict(app.conf)

    register(app, SETTINGS)

    assert STEP_TASK in app.tasks
    assert dict(app.conf) == before


def test_each_app_has_a_step_task_of_its_own() -> None:
    apps = [Celery(name, set_as_current=False) for name in ("one", "other", "none")]
    for app in apps[:2]:
        register(app, SETTINGS)

    one, other, none = (app.tasks.get(STEP_TASK) for app in apps)

    assert none is None
    assert one.run is not other.run


def test_who_only_imports_an_app_need_not_know_the_servers() -> None:
    app = Celery("host", set_as_current=False)

    register(app, Settings())

    assert STEP_TASK in app.tasks


def test_a_worker_does_not_start_without_a_database() -> None:
    plans = PlansInApp(Celery("host", set_as_current=False), Settings())

    with pytest.raises(SystemExit, match="PLANS_DATABASE_URL is not set"):
        plans.prepare_worker(None)


def test_a_second_sigterm_does_not_wait_for_the_first() -> None:
    register(Celery("host", set_as_current=False), SETTINGS)
    lock = signals.worker_shutting_down.lock

    with lock:
        # as the handler does that interrupts the first one, in the same thread
        assert lock.acquire(timeout=1)
        lock.release()
