"""What errors ask for by a Retry-After: how long the wait is at least."""

import urllib.error
from datetime import timedelta
from decimal import Decimal
from email.message import Message
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from execution.errors import RetryableError
from execution.retry import (
    MAX_RETRY_AFTER_SECONDS,
    RetryPolicy,
    RetryWait,
    read_retry_after_seconds,
)

NO_JITTER = RetryPolicy(max_attempts=9, jitter_seconds=0.0)


class AskingError(Exception):
    """An error with what a client library hangs on it."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        vars(self).update(attributes)


def with_headers(**headers: object) -> AskingError:
    spelt = {name.replace("_", "-"): value for name, value in headers.items()}
    return AskingError(response=SimpleNamespace(headers=spelt))


def urllib_error(**headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://a", 503, "busy", message, None)


def test_a_wait_is_at_least_what_the_error_asks_for() -> None:
    assert NO_JITTER.compute_wait_seconds(1, RetryableError("a")) == 1
    asking = RetryableError("a", retry_after_seconds=7)
    assert NO_JITTER.compute_wait_seconds(1, asking) == 7
    assert NO_JITTER.compute_wait_seconds(5, asking) == 16
    assert NO_JITTER.compute_wait_seconds(1, with_headers(Retry_After="30")) == 30


def test_what_an_error_asks_for_may_exceed_the_maximum_but_not_a_day() -> None:
    two_days = RetryableError("a", retry_after_seconds=2 * 86_400)

    assert NO_JITTER.compute_wait_seconds(1, two_days) == MAX_RETRY_AFTER_SECONDS


def test_a_policy_may_wait_longer_than_an_error_can_ask_for() -> None:
    policy = RetryPolicy(
        wait=RetryWait.FIXED, initial_seconds=2 * 86_400.0, jitter_seconds=0.0
    )

    waited = policy.compute_wait_seconds(1, RetryableError("a", retry_after_seconds=5))

    assert waited == 2 * 86_400


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0),
        (3, 3),
        (2.5, 2.5),
        (Fraction(1, 2), 0.5),
        (timedelta(minutes=2), 120),
        (timedelta.max, MAX_RETRY_AFTER_SECONDS),
        (float("inf"), MAX_RETRY_AFTER_SECONDS),
        (10**400, MAX_RETRY_AFTER_SECONDS),
        (-1, None),
        (-(10**400), None),
        (timedelta(seconds=-1), None),
        (float("nan"), None),
        (True, None),
        (None, None),
        ("30", None),
        (Decimal(30), None),
        (lambda: 30, None),
    ],
)
def test_the_attribute_is_a_number_of_seconds_or_a_timedelta(
    value: object, seconds: float | None
) -> None:
    assert read_retry_after_seconds(AskingError(retry_after=value)) == seconds


DATE = "Sat, 21 Nov 2026 08:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "120"}, 120),
        ({"retry_after": "120"}, 120),
        ({"Retry_After": " 120 "}, 120),
        ({"Retry_After": "0"}, 0),
        ({"Retry_After": "9" * 5_000}, MAX_RETRY_AFTER_SECONDS),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "1.5"}, None),
        ({"Retry_After": "٣"}, None),
        ({"Retry_After": "soon", "Date": DATE}, None),
        ({"Retry_After": ""}, None),
        ({"Retry_After": 120}, None),
        ({"Retry_After": b"120"}, None),
        ({"Retry-Before": "120"}, None),
        ({"Retry_After": "Sat, 21 Nov 2026 08:01:30 GMT", "Date": DATE}, 90),
        ({"retry_after": "Sat, 21 Nov 2026 08:01:30 GMT", "date": DATE}, 90),
        ({"Retry_After": "Saturday, 21-Nov-26 08:01:30 GMT", "Date": DATE}, 90),
        ({"Retry_After": "Sat Nov 21 08:01:30 2026", "Date": DATE}, 90),
        ({"Retry_After": "Sat, 21 Nov 2026 09:01:30 +0100", "Date": DATE}, 90),
        (
            {"Retry_After": "Sat, 21 Nov 2099 08:00:00 GMT", "Date": DATE},
            MAX_RETRY_AFTER_SECONDS,
        ),
        ({"Retry_After": "Sat, 21 Nov 2026 07:00:00 GMT", "Date": DATE}, None),
        ({"Retry_After": "Sat, 21 Nov 2026 08:01:30 GMT"}, None),
        ({"Retry_After": "Sat, 21 Nov 2026 08:01:30 GMT", "Date": "today"}, None),
    ],
)
def test_the_header_is_a_number_of_seconds_or_a_date_beside_a_date(
    headers: dict[str, object], seconds: float | None
) -> None:
    error = with_headers(**headers)

    assert read_retry_after_seconds(error) == seconds
    own = AskingError(headers=vars(error)["response"].headers)
    assert read_retry_after_seconds(own) == seconds


def test_the_errors_of_urllib_are_understood() -> None:
    assert read_retry_after_seconds(urllib_error(RETRY_AFTER="9")) == 9
    later = "Sat, 21 Nov 2026 08:01:30 GMT"
    assert read_retry_after_seconds(urllib_error(Retry_After=later, Date=DATE)) == 90
    assert read_retry_after_seconds(urllib_error()) is None


def test_the_attribute_comes_before_the_headers() -> None:
    headers = {"Retry-After": "120"}

    assert read_retry_after_seconds(AskingError(retry_after=5, headers=headers)) == 5
    assert read_retry_after_seconds(AskingError(retry_after=-5, headers=headers)) == 120


@pytest.mark.parametrize(
    "error", [ValueError(), KeyboardInterrupt(), ExceptionGroup("a", [ValueError()])]
)
def test_most_errors_ask_for_nothing(error: BaseException) -> None:
    assert read_retry_after_seconds(error) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"response": None},
        {"response": SimpleNamespace()},
        {"response": SimpleNamespace(headers=None)},
        {"response": SimpleNamespace(headers=["Retry-After"])},
        {"response": {"headers": {"Retry-After": "5"}}},
        {"headers": SimpleNamespace(get=5)},
        {"headers": SimpleNamespace(get=lambda name: 1 / 0)},
    ],
)
def test_headers_of_another_kind_are_passed_over(attributes: dict[str, Any]) -> None:
    assert read_retry_after_seconds(AskingError(**attributes)) is None


class HostileError(Exception):
    """Raises wherever it is looked into, but for the headers of the response."""

    response: Any = None

    @property
    def retry_after(self) -> float:
        raise RuntimeError("no")

    @property
    def headers(self) -> object:
        raise KeyError("no")


class HostileNumber(float):
    def __lt__(self, other: object) -> bool:
        raise RuntimeError("no")

    __gt__ = __lt__


def test_nothing_that_an_error_raises_comes_out() -> None:
    error = HostileError()

    assert read_retry_after_seconds(error) is None
    assert read_retry_after_seconds(AskingError(retry_after=HostileNumber(5))) is None
    assert NO_JITTER.compute_wait_seconds(1, error) == 1


def test_what_raises_does_not_hide_what_is_there() -> None:
    error = HostileError()
    error.response = SimpleNamespace(headers={"Retry-After": "8"})

    assert read_retry_after_seconds(error) == 8
