"""Code that awaits is cancelled when its attempt is told to end."""

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import pytest

from execution.coroutines import is_attending, run_coroutine
from execution.errors import ExecutionCancelledError
from execution.summons import Hearing, Summons

PRESENT: ContextVar[str] = ContextVar("present", default="nothing")


@dataclass
class Caller:
    """Calls out what a test says, and the context that hears it."""

    told: bool = False
    asked: bool = False

    def __post_init__(self) -> None:
        self._hearing = Hearing("s", self)

    def is_told(self) -> bool:
        return self.told

    def heed(self, attempt: int) -> bool:
        return self.asked and attempt == 1

    def find_summons(self) -> Summons | None:
        return self._hearing.find(1)


def test_code_that_nobody_calls_returns_what_it_does() -> None:
    async def work() -> str:
        await asyncio.sleep(0)
        assert is_attending()
        return PRESENT.get()

    token = PRESENT.set("something")
    try:
        assert run_coroutine(work(), Caller()) == "something"
        assert run_coroutine(work(), None) == "something"
    finally:
        PRESENT.reset(token)
    assert not is_attending()


def test_code_is_cancelled_where_it_awaits_and_tidies_up() -> None:
    caller, tidied = Caller(), []

    async def work() -> None:
        caller.told = True
        try:
            await asyncio.sleep(20)
        finally:
            await asyncio.sleep(0.01)
            tidied.append(True)

    with pytest.raises(ExecutionCancelledError, match="step s was ended") as raised:
        run_coroutine(work(), caller)

    assert tidied == [True]
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)


def test_code_that_goes_on_is_cancelled_once_more_when_it_is_asked() -> None:
    caller, cancels = Caller(told=True), []

    async def work() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancels.append(True)
                if len(cancels) == 2:
                    raise
                caller.asked = True

    with pytest.raises(ExecutionCancelledError):
        run_coroutine(work(), caller)

    assert len(cancels) == 2


def test_what_code_returns_in_spite_of_a_cancel_counts() -> None:
    async def work() -> int:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            return 7
        return 8

    assert run_coroutine(work(), Caller(told=True)) == 7


@pytest.mark.parametrize("error", [ValueError("wrapped"), asyncio.CancelledError()])
def test_an_error_after_a_cancel_is_that_of_the_cancel(error: BaseException) -> None:
    async def work() -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            raise error from None

    with pytest.raises(ExecutionCancelledError) as raised:
        run_coroutine(work(), Caller(told=True))

    assert raised.value.__cause__ is error


def test_an_error_of_the_codes_own_is_raised_as_it_is() -> None:
    async def fail() -> None:
        raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        run_coroutine(fail(), Caller())


def test_a_loop_that_is_kept_busy_does_not_attend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(look: Callable[[], bool]) -> bool:
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1.0)
        return look()

    assert run_coroutine(work(is_attending), None) is False
