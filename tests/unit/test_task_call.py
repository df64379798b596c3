"""What a task raises to speak to Celery, and what that means for a step."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry

from execution.celery.task_call import call_task, translate
from execution.errors import FatalError, RetryableError

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
REQUEST = SimpleNamespace(task="unit.task", args=(), kwargs={"n": 1})
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (2.5, 2.5),
        (-1, 0.0),
        (NOW + timedelta(seconds=30), 30.0),
        (datetime(2026, 11, 21, 14, 0, 30, tzinfo=EAST), 30.0),
        (datetime(2026, 11, 21, 12, 0, 30), 30.0),  # noqa: DTZ001  # as tasks have them
        (NOW - timedelta(days=1), 0.0),
    ],
)
def test_a_retry_waits_for_its_countdown_or_eta(
    when: Any, seconds: float | None
) -> None:
    meant = translate(Retry(when=when), REQUEST, NOW)

    assert isinstance(meant, RetryableError)
    assert meant.retry_after == seconds


@pytest.mark.parametrize(
    ("retry", "said"),
    [
        (Retry(), "unit.task asked to be tried again"),
        (Retry(when=5), "unit.task asked to be tried again in 5 s"),
        (
            Retry(exc=OSError("busy"), when=1.5),
            "unit.task asked to be tried again in 1.5 s: OSError('busy')",
        ),
    ],
)
def test_a_retry_says_who_asked_and_why(retry: Retry, said: str) -> None:
    assert str(translate(retry, REQUEST, NOW)) == said


@pytest.mark.parametrize(
    ("args", "kwargs", "kind"),
    [
        ((), {"n": 1}, RetryableError),
        ([], {"n": 1}, RetryableError),
        ((1,), {}, FatalError),
        ((), {"n": 2}, FatalError),
    ],
)
def test_a_retry_keeps_its_arguments(
    args: Any, kwargs: Any, kind: type[Exception]
) -> None:
    asked = SimpleNamespace(args=args, kwargs=kwargs)

    assert isinstance(translate(Retry(sig=asked), REQUEST, NOW), kind)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Reject("no", requeue=True), RetryableError),
        (Reject("no"), FatalError),
        (Ignore(), FatalError),
    ],
    ids=["requeue", "reject", "ignore"],
)
def test_without_a_result_a_task_has_failed(
    error: Exception, kind: type[Exception]
) -> None:
    assert isinstance(translate(error, REQUEST, NOW), kind)


def test_any_other_error_means_what_it_says() -> None:
    error = ValueError("no")

    assert translate(error, REQUEST, NOW) is error


def make_task(function: Callable[[Any], Any]) -> Any:
    """Make a bound task of an app of its own."""
    app = Celery("unit", set_as_current=False)
    return app.task(bind=True, name="unit.task", shared=False)(function)


@pytest.fixture
def step() -> Any:
    """What a call needs to know of its step."""
    return SimpleNamespace(idempotency_key="e:s", execution_id="e", attempt=2)


def test_outside_of_a_worker_the_request_has_no_delivery(step: Any) -> None:
    def look(self: Any) -> Any:
        return self.request

    request = call_task(make_task(look), step, (), {})

    assert (request.id, request.retries, request.delivery_info) == ("e:s", 1, {})
    assert request.hostname


def test_a_call_leaves_no_request_behind(step: Any) -> None:
    def fail(self: Any) -> None:
        raise LookupError(str(self))

    task = make_task(fail)

    with pytest.raises(LookupError):
        call_task(task, step, (), {})

    assert task.request_stack.top is None
    assert task.app.current_task is None


def test_the_cause_of_a_retry_is_the_error_that_it_names(step: Any) -> None:
    def ask(self: Any) -> None:
        raise self.retry(exc=OSError("busy"))

    task = make_task(ask)

    with pytest.raises(RetryableError) as raised:
        call_task(task, step, (), {})

    assert raised.value.retry_after == task.default_retry_delay
    assert isinstance(raised.value.__cause__, OSError)


def test_beyond_its_own_limit_a_task_raises_what_it_has(step: Any) -> None:
    def ask(self: Any) -> None:
        raise self.retry(exc=OSError("busy"), max_retries=1)

    task = make_task(ask)
    step.attempt = 3

    with pytest.raises(OSError, match="busy"):
        call_task(task, step, (), {})
