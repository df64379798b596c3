"""What registering plans does to an app, and to Celery."""

import copy
from dataclasses import replace

import pytest
from celery import Celery, Task, signals

from execution.celery.registration import PlansInApp, register
from execution.dispatcher import STEP_TASK
from execution.errors import SettingsError
from execution.settings import Settings

SETTINGS = Settings(database_url="postgresql://nobody@/none?host=/nowhere")


def build_host() -> Celery:
    """Return an app with settings, a schedule, routes and a task of its own."""
    app = Celery("host", set_as_current=False)
    app.conf.update(
        beat_schedule={"nightly": {"task": "host.own", "schedule": 3600}},
        task_annotations={"*": {"rate_limit": "1/m", "time_limit": 5}},
        task_default_rate_limit="2/m",
        task_queues={"celery": {}, "fees": {}},
        task_routes={"host.*": {"queue": "fees"}},
        task_acks_late=False,
        task_store_errors_even_if_ignored=True,
    )

    @app.task(name="host.own", shared=False)  # type: ignore[untyped-decorator]  # Celery ships no types
    def own() -> None:
        """Do nothing."""

    return app


def test_the_step_task_is_added_and_no_setting_is_changed() -> None:
    app = build_host()
    before = copy.deepcopy(dict(app.conf))

    register(app, SETTINGS)

    assert STEP_TASK in app.tasks
    assert dict(app.conf) == before


def test_the_apps_own_tasks_and_queues_stay_as_they_are() -> None:
    plain, app = build_host(), build_host()
    register(app, SETTINGS)

    queues = [sorted(one.amqp.queues.consume_from) for one in (plain, app)]
    routes = [one.amqp.router.route({}, "host.own") for one in (plain, app)]
    own = [one.tasks["host.own"] for one in (plain, app)]

    assert queues[0] == queues[1]
    assert routes[0]["queue"].name == routes[1]["queue"].name == "fees"
    assert {(task.rate_limit, task.time_limit, task.acks_late) for task in own} == {
        ("1/m", 5, False)
    }
    assert set(app.tasks) - set(plain.tasks) == {STEP_TASK}


def test_what_the_app_says_of_its_tasks_does_not_hold_for_steps() -> None:
    app = build_host()
    register(app, SETTINGS)

    task = app.tasks[STEP_TASK]

    assert not task.rate_limit
    assert task.time_limit is None
    assert task.acks_late
    assert task.acks_on_failure
    assert task.reject_on_worker_lost
    assert not task.store_errors_even_if_ignored


def test_an_app_may_have_a_task_class_of_its_own() -> None:
    class Own(Task):  # type: ignore[misc]  # Celery ships no types
        abstract = True

    app = Celery("host", set_as_current=False, task_cls=Own)
    register(app, SETTINGS)

    assert isinstance(app.tasks[STEP_TASK], Own)


def test_a_worker_that_would_throw_steps_away_does_not_start() -> None:
    app = Celery("host", set_as_current=False)
    app.conf.accept_content = ["yaml"]

    with pytest.raises(SystemExit, match="add 'json' to it"):
        PlansInApp(app, SETTINGS).prepare_worker("w@host", None)


def test_to_register_again_changes_nothing() -> None:
    app = Celery("host", set_as_current=False)
    register(app, SETTINGS)
    task, handlers = app.tasks[STEP_TASK], len(signals.worker_init.receivers)

    register(app, replace(SETTINGS))

    assert app.tasks[STEP_TASK] is task
    assert len(signals.worker_init.receivers) == handlers


def test_to_register_again_with_other_settings_is_refused() -> None:
    app = Celery("host", set_as_current=False)
    register(app, SETTINGS)

    with pytest.raises(SettingsError, match="the app 'host' before, with other"):
        register(app, replace(SETTINGS, queue="other"))


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
        plans.prepare_worker("w@host", None)


def test_a_second_sigterm_does_not_wait_for_the_first() -> None:
    register(Celery("host", set_as_current=False), SETTINGS)
    lock = signals.worker_shutting_down.lock

    with lock:
        # as the handler does that interrupts the first one, in the same thread
        assert lock.acquire(timeout=1)
        lock.release()
