"""What is said of the settings of a team's own Celery app."""

from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from kombu.entity import Queue

from execution.celery import Severity, register, report_settings
from execution.celery.host_report import _RULES, find_settings
from execution.celery.host_settings import HostSettings, load_app
from execution.dispatcher import create_app
from execution.errors import SettingsError
from execution.settings import Settings
from tests.worker_process import ROOT

SETTINGS = Settings(
    database_url="postgresql://nobody@/none?host=/nowhere",
    broker_url="redis://broker:6379/0",
)
GOOD = {
    "broker_url": "redis://broker:6379/0",
    "broker_transport_options": {"socket_timeout": 3},
    "task_queues": {"celery": {}, "plans": {}},
}
"""Settings of which there is nothing to say."""


def build_app(**settings: Any) -> Celery:
    app = Celery("host", set_as_current=False)
    app.conf.update({**GOOD, **settings})
    return app


def with_options(**options: Any) -> dict[str, Any]:
    return {"broker_transport_options": {"socket_timeout": 3, **options}}


def test_of_good_settings_there_is_nothing_to_say() -> None:
    assert report_settings(build_app(), SETTINGS) == ()


def test_of_the_stand_alone_app_there_is_nothing_to_say() -> None:
    assert report_settings(create_app(SETTINGS), SETTINGS) == ()


@pytest.mark.parametrize(
    ("settings", "setting", "severity"),
    [
        ({"accept_content": ["pickle"]}, "accept_content", Severity.REFUSED),
        ({"broker_url": "redis://other:6379/0"}, "broker_url", Severity.RISK),
        ({"broker_read_url": "redis://other:6379/0"}, "broker_url", Severity.RISK),
        (
            with_options(global_keyprefix="shop"),
            "broker_transport_options.global_keyprefix",
            Severity.RISK,
        ),
        (
            with_options(visibility_timeout=60),
            "broker_transport_options.visibility_timeout",
            Severity.COST,
        ),
        (
            {"broker_transport_options": {}},
            "broker_transport_options.socket_timeout",
            Severity.COST,
        ),
        (
            {"broker_connection_retry": False},
            "broker_connection_retry",
            Severity.RISK,
        ),
        (
            {"broker_connection_max_retries": 5},
            "broker_connection_max_retries",
            Severity.COST,
        ),
        (
            {"broker_connection_retry_on_startup": False},
            "broker_connection_retry_on_startup",
            Severity.COST,
        ),
        ({"broker_pool_limit": None}, "broker_pool_limit", Severity.COST),
        ({"broker_pool_limit": 0}, "broker_pool_limit", Severity.COST),
        ({"task_time_limit": 60}, "task_time_limit", Severity.RISK),
        ({"task_soft_time_limit": 60}, "task_soft_time_limit", Severity.RISK),
        (
            {"worker_cancel_long_running_tasks_on_connection_loss": True},
            "worker_cancel_long_running_tasks_on_connection_loss",
            Severity.RISK,
        ),
        ({"task_always_eager": True}, "task_always_eager", Severity.RISK),
        ({"worker_pool": "gevent"}, "worker_pool", Severity.RISK),
        ({"worker_pool": "eventlet"}, "worker_pool", Severity.RISK),
        (
            {"worker_max_tasks_per_child": 1},
            "worker_max_tasks_per_child",
            Severity.COST,
        ),
        (
            {"worker_max_memory_per_child": 512},
            "worker_max_memory_per_child",
            Severity.COST,
        ),
        (
            {"worker_prefetch_multiplier": 0},
            "worker_prefetch_multiplier",
            Severity.RISK,
        ),
        (
            {"worker_prefetch_multiplier": 64},
            "worker_prefetch_multiplier",
            Severity.COST,
        ),
        ({"task_compression": "gzip"}, "task_compression", Severity.COST),
        ({"task_send_sent_event": True}, "task_send_sent_event", Severity.COST),
        ({"task_queues": None}, "task_queues", Severity.RISK),
        ({"task_queues": {"celery": {}}}, "task_queues", Severity.RISK),
    ],
)
def test_a_setting_that_works_against_plans_is_named(
    settings: dict[str, Any], setting: str, severity: Severity
) -> None:
    found = report_settings(build_app(**settings), SETTINGS)

    assert [(one.setting, one.severity) for one in found] == [(setting, severity)]
    assert found[0].fix
    assert found[0].effect in str(found[0])


@pytest.mark.parametrize(
    ("url", "severity"),
    [("memory://", Severity.RISK), ("sqs://aws", Severity.COST)],
)
def test_a_broker_that_plans_were_not_made_for_is_named(
    url: str, severity: Severity
) -> None:
    plans = replace(SETTINGS, broker_url=url)

    found = report_settings(build_app(broker_url=url), plans)

    assert [(one.setting, one.severity) for one in found] == [("broker_url", severity)]


def test_queues_may_be_declared_as_objects() -> None:
    declared = [Queue(name) for name in ("celery", "plans")]  # type: ignore[no-untyped-call]  # kombu ships no types

    assert report_settings(build_app(task_queues=declared), SETTINGS) == ()


def test_a_queue_that_no_worker_could_make_is_named() -> None:
    app = build_app(task_queues={"celery": {}}, task_create_missing_queues=False)

    found = report_settings(app, SETTINGS)

    assert "task_create_missing_queues" in {one.setting for one in found}
    assert "Queue('plans')" in found[-1].fix


@pytest.mark.parametrize(
    "settings",
    [
        {"task_routes": {"*": {"queue": "celery"}}},
        {"task_annotations": {"*": {"rate_limit": "1/m"}}},
        {"task_acks_late": False},
        {"task_reject_on_worker_lost": False},
        {"task_protocol": 1},
        {"task_serializer": "pickle"},
        {"task_default_rate_limit": "1/m"},
        {"task_ignore_result": False, "result_backend": "redis://broker:6379/1"},
        {"worker_enable_remote_control": False},
        {"enable_utc": False, "timezone": "Asia/Kolkata"},
        {"worker_direct": True},
        {"task_publish_retry": False},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_steps_do_not_heed_is_not_reported(settings: dict[str, Any]) -> None:
    assert report_settings(build_app(**settings), SETTINGS) == ()


def test_the_worst_comes_first() -> None:
    app = build_app(task_compression="gzip", accept_content=["yaml"], task_time_limit=9)

    found = report_settings(app, SETTINGS)

    assert [one.severity for one in found] == ["refused", "risk", "cost"]


def test_passwords_are_not_shown() -> None:
    app = build_app(broker_url="redis://ann:geheim@other/0")

    (found,) = report_settings(app, SETTINGS)

    assert "other" in found.value
    assert "geheim" not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:geheim@one:26379;sentinel://ann:geheim@two:26379",
        "kafka://ann:ge/heim@one,two",
        ["sqs://ann:ge#heim@one", "sqs://ann:geheim@two"],
        "kafka://one/two?sasl_password=geheim",
    ],
)
def test_a_broker_url_of_any_shape_is_shown_without_its_password(
    url: str | list[str],
) -> None:
    app = build_app(broker_url=url)

    found = [one.value for one in report_settings(app, SETTINGS)]

    assert all("one" in value and "heim" not in value for value in found)
    assert found


def test_a_pool_may_be_named_by_its_class() -> None:
    app = build_app(worker_pool="celery.concurrency.prefork:TaskPool")

    assert report_settings(app, SETTINGS) == ()


def test_another_way_to_write_the_same_broker_is_no_other_broker() -> None:
    plans = replace(SETTINGS, broker_url="redis://broker:6379")

    assert report_settings(build_app(), plans) == ()


def test_an_app_that_names_no_broker_is_not_compared() -> None:
    app = build_app(broker_url=None)

    assert report_settings(app, SETTINGS) == ()


@pytest.mark.parametrize(
    ("served", "named"), [({"plans"}, []), ({"celery", "fees"}, ["task_queues"])]
)
def test_a_worker_is_judged_by_the_queues_that_it_serves(
    served: set[str], named: list[str]
) -> None:
    host = HostSettings.of_app(build_app(task_queues=None), SETTINGS)

    found = find_settings(replace(host, served=served))

    assert [one.setting for one in found] == named
    assert all(one.value == "celery, fees" for one in found)


def test_the_page_lists_every_setting_that_is_reported() -> None:
    page = (ROOT / "docs" / "existing_projects.md").read_text("utf-8")

    assert {rule.setting for rule in _RULES if rule.setting not in page} == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.shop.nowhere", "there is no Celery app 'tests.shop.nowhere'"),
        ("tests.polling:wait_until", "is no Celery app, but a function"),
    ],
)
def test_what_is_no_app_is_named(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_app(name)


def test_to_report_changes_no_setting() -> None:
    app = build_app(task_routes={"*": {"queue": "celery"}}, task_time_limit=3)
    register(app, SETTINGS)
    before = dict(app.conf)

    report_settings(app, SETTINGS)

    assert dict(app.conf) == before
