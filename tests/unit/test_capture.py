"""Whose lines they are that code logs and prints, and who hears them besides."""

import asyncio
import contextlib
import contextvars
import copy
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest
from celery.utils.log import LoggingProxy

from execution import capture as capturing
from execution.capture import Capture
from execution.lines import MOST_LINE_CHARACTERS, LineCollector
from execution.observations import NO_CAPTURE, CaptureChoice, LineLevel
from execution.secrets import NO_SECRETS

EVERYTHING = CaptureChoice(LineLevel.DEBUG)
HearIt: TypeAlias = Callable[[Callable[[], Any]], list[tuple[str, str, str]]]
shop = logging.getLogger("tests.shop.orders")


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every test begin with streams and loggers that nobody hears."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setattr(shop, "level", logging.DEBUG)
    shop.manager._clear_cache()  # type: ignore[attr-defined]  # of what the level lets through
    make = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(make)
    shop.manager._clear_cache()  # type: ignore[attr-defined]  # the same


def listen(choice: CaptureChoice = EVERYTHING) -> Capture:
    capture = Capture(choice)
    capture.listen()
    return capture


def hear(
    tell: Callable[[], Any], choice: CaptureChoice = EVERYTHING
) -> list[tuple[str, str, str]]:
    """Return the lines of an attempt that does `tell`: source, level, message."""
    lines = LineCollector(NO_SECRETS)
    listen(choice).call(lines, tell)
    lines.end()
    return [(line.source, line.level, line.message) for line in lines.look(100)]


def test_what_is_printed_is_heard_and_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def tell() -> None:
        print("to", "people")
        print("to others", file=sys.stderr)

    assert hear(tell) == [
        ("stdout", "info", "to people"),
        ("stderr", "warning", "to others"),
    ]
    assert capsys.readouterr() == ("to people\n", "to others\n")


def test_a_stream_that_is_heard_is_used_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)

    def tell() -> None:
        copy.copy(sys.stdout).write("copied\n")
        with sys.stdout as opened:
            opened.write("entered\n")

    assert [message for *_, message in hear(tell)] == ["copied", "entered"]
    assert stream.closed


def test_what_is_logged_is_heard_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert hear(lambda: shop.warning("sold %d", 3)) == [
        ("tests.shop.orders", "warning", "sold 3")
    ]
    assert caplog.messages == ["sold 3"]


def test_a_logger_that_keeps_to_itself_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shop, "propagate", False)

    assert hear(lambda: shop.info("sold")) == [("tests.shop.orders", "info", "sold")]


@pytest.mark.parametrize(
    ("choice", "heard"),
    [
        (NO_CAPTURE, []),
        (CaptureChoice(None), ["printed"]),
        (CaptureChoice(LineLevel.WARNING, output=False), ["warned"]),
        (CaptureChoice(LineLevel.INFO), ["printed", "informed", "warned"]),
        (CaptureChoice(LineLevel.CRITICAL), ["printed"]),
    ],
)
def test_no_more_is_heard_than_is_chosen(
    choice: CaptureChoice, heard: list[str]
) -> None:
    # both are there, as in a process with several apps
    listen(EVERYTHING)

    def tell() -> None:
        print("printed")
        shop.debug("debugged")
        shop.info("informed")
        shop.warning("warned")

    assert [message for _, _, message in hear(tell, choice)] == heard


@pytest.mark.parametrize(
    "name",
    [
        "execution.runner",
        "plans.step",
        "celery.redirected",
        "kombu",
        "amqp",
        "billiard",
    ],
)
def test_what_the_machinery_logs_is_not_heard(name: str) -> None:
    assert hear(lambda: logging.getLogger(name).error("inside")) == []


@pytest.mark.parametrize("name", ["executions.shop", "plans", "plans.insurance"])
def test_a_project_whose_name_begins_alike_is_heard(name: str) -> None:
    said = hear(lambda: logging.getLogger(name).error("ours"))

    assert [message for _, _, message in said] == ["ours"]


def test_what_a_project_puts_in_between_makes_nothing_heard_twice() -> None:
    listen()
    make, stream = logging.getLogRecordFactory(), sys.stdout

    class Between:
        def write(self, text: str) -> int:
            return stream.write(text)

    logging.setLogRecordFactory(lambda *given, **named: make(*given, **named))
    sys.stdout = Between()  # as projects do

    def tell() -> None:
        shop.error("logged")
        print("printed")

    assert [message for *_, message in hear(tell)] == ["logged", "printed"]


def test_a_record_from_elsewhere_is_not_heard() -> None:
    assert hear(lambda: logging.makeLogRecord({"name": "far", "msg": "away"})) == []


def test_what_is_told_outside_is_not_heard(capsys: pytest.CaptureFixture[str]) -> None:
    listen()

    print("before")
    heard = hear(lambda: None)
    shop.error("after")

    assert heard == []
    assert capsys.readouterr().out == "before\n"


def test_an_error_passes_and_ends_the_hearing() -> None:
    lines = LineCollector(NO_SECRETS)

    def fail() -> None:
        print("fails")
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        listen().call(lines, fail)
    print("after")

    assert [line.message for line in lines.look(9)] == ["fails"]


def test_each_thread_speaks_for_its_own_attempt() -> None:
    capture = listen()
    both = threading.Barrier(2)

    def run(name: str) -> list[str]:
        lines = LineCollector(NO_SECRETS)

        def tell() -> None:
            for number in range(20):
                both.wait(5)
                print(name, number)
                shop.info("%s %d", name, number)

        capture.call(lines, tell)
        return [line.message for line in lines.look(100)]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(run, ("one", "other"))

    assert one == [f"one {n}" for n in range(20) for _ in range(2)]
    assert other == [f"other {n}" for n in range(20) for _ in range(2)]


def test_tasks_and_threads_of_asyncio_belong_to_the_attempt() -> None:
    async def tell() -> None:
        async def speak(word: str) -> None:
            await asyncio.sleep(0)
            print(word)

        await asyncio.gather(speak("one"), speak("two"))
        await asyncio.to_thread(print, "three")

    said = hear(lambda: asyncio.run(tell()))

    assert sorted(message for _, _, message in said) == ["one", "three", "two"]


def test_a_thread_without_the_context_is_not_heard() -> None:
    def tell() -> None:
        thread = threading.Thread(target=print, args=("elsewhere",))
        thread.start()
        thread.join()

    assert hear(tell) == []


def test_an_attempt_within_another_is_heard_by_itself() -> None:
    inner = LineCollector(NO_SECRETS)

    def tell() -> None:
        print("one")
        listen().call(inner, print, "two")
        print("three")

    assert [message for _, _, message in hear(tell)] == ["one", "three"]
    assert [line.message for line in inner.look(9)] == ["two"]


# Python warns of it where other threads live, as here perhaps
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_not_the_attempt(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = LineCollector(NO_SECRETS)

    def tell() -> None:
        pid = os.fork()
        if pid == 0:
            print("from the child", flush=True)
            os._exit(bool(lines.has_any))
        assert os.waitpid(pid, 0)[1] == 0

    listen().call(lines, tell)

    assert not lines.has_any
    assert "from the child" in capfd.readouterr().out


def test_what_a_handler_prints_is_heard_once() -> None:
    def tell() -> None:
        handler = logging.StreamHandler(sys.stderr)
        shop.addHandler(handler)
        try:
            shop.error("once")
        finally:
            shop.removeHandler(handler)

    assert hear(tell) == [("tests.shop.orders", "error", "once")]
    assert hear(tell, CaptureChoice(None)) == [("stderr", "warning", "once")]


def test_a_stream_of_the_code_s_own_stays_its_own() -> None:
    own = io.StringIO()

    def tell() -> None:
        with contextlib.redirect_stdout(own):
            print("to itself")

    assert hear(tell) == []
    assert own.getvalue() == "to itself\n"


@pytest.fixture
def hear_redirected(
    monkeypatch: pytest.MonkeyPatch,
) -> HearIt:
    """Hear what is told in a worker, where Celery makes records of what is printed."""
    logger = logging.getLogger("celery.redirected")

    def hear_it(tell: Callable[[], Any]) -> list[tuple[str, str, str]]:
        # not before the test: pytest has other streams for each of its phases
        monkeypatch.setattr(sys, "stdout", LoggingProxy(logger, logging.WARNING))
        monkeypatch.setattr(sys, "stderr", LoggingProxy(logger, logging.ERROR))
        return hear(tell)

    return hear_it


def test_a_printed_line_is_one_record_of_the_worker_s_log(
    hear_redirected: HearIt, caplog: pytest.LogCaptureFixture
) -> None:
    def tell() -> None:
        print("to", "people", 3)
        print("begun,", end=" ")
        print("to others", "as well", file=sys.stderr)
        print("ended")
        print("left over", end="")

    heard = hear_redirected(tell)

    lines = ["to people 3", "to others as well", "begun, ended", "left over"]
    assert [message for *_, message in heard] == lines
    assert caplog.messages == lines


def test_what_is_begun_is_logged_when_it_is_flushed_or_too_long(
    hear_redirected: HearIt, caplog: pytest.LogCaptureFixture
) -> None:
    def tell() -> None:
        print("10 %", end="", flush=True)
        assert caplog.messages == ["10 %"]
        print("x" * (MOST_LINE_CHARACTERS + 1), end="")
        assert len(caplog.messages) == 2

    hear_redirected(tell)

    assert len(caplog.messages) == 2


def test_what_an_attempt_that_fails_has_begun_is_logged(
    hear_redirected: HearIt, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        print("so far", end="")
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        hear_redirected(fail)

    assert caplog.messages == ["so far"]


def test_what_is_printed_after_the_attempt_does_not_wait(
    hear_redirected: HearIt, caplog: pytest.LogCaptureFixture
) -> None:
    contexts: list[contextvars.Context] = []

    hear_redirected(lambda: contexts.append(contextvars.copy_context()))
    contexts[0].run(print, "late", end="")

    assert caplog.messages == ["late"]


def test_each_attempt_begins_lines_of_its_own(
    hear_redirected: HearIt, caplog: pytest.LogCaptureFixture
) -> None:
    def tell() -> None:
        print("outer", end=" ")
        hear(lambda: print("inner"))
        print("again")

    hear_redirected(tell)

    assert caplog.messages == ["inner", "outer again"]


def test_a_stream_that_takes_pieces_gets_them_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)

    def tell() -> None:
        print("10 %", end="")
        assert stream.getvalue() == "10 %"

    hear(tell)


def test_bytes_are_heard_as_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    def tell() -> None:
        sys.stdout.buffer.write("schön\n".encode())
        sys.stdout.buffer.write(bytearray(b"\xff\n"))
        sys.stdout.flush()

    assert [message for _, _, message in hear(tell)] == [
        "schön",
        "\N{REPLACEMENT CHARACTER}",
    ]


def test_a_heard_stream_is_like_the_one_before() -> None:
    stream = io.StringIO("____end")
    heard = capturing._Tee(stream, "stdout")

    heard.writelines(["one", "\n"])

    assert stream.getvalue() == "one\nend"
    assert heard.readable()
    assert heard.isatty() is False
    assert list(heard) == ["end"]
    with pytest.raises(AttributeError, match="buffer"):
        _ = heard.buffer


def test_what_is_no_text_is_refused_as_before() -> None:
    listen()

    with pytest.raises(TypeError):
        sys.stdout.write(3)  # type: ignore[arg-type]  # that is wrong


def test_a_stream_that_takes_anything_is_let_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Anything:
        def write(self, text: object) -> None:
            """Take it."""

    monkeypatch.setattr(sys, "stdout", Anything())

    assert hear(lambda: sys.stdout.write(3)) == []  # type: ignore[arg-type]  # the stream takes it


def test_listening_again_changes_nothing() -> None:
    listen()
    before = sys.stdout, sys.stderr, logging.getLogRecordFactory()

    listen()

    assert before == (sys.stdout, sys.stderr, logging.getLogRecordFactory())


def test_a_process_without_streams_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)

    listen()

    assert sys.stdout is None
