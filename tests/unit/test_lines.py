"""The lines of an attempt: bounded, without secrets, whoever tells them and however."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from execution.errors import StepTimeoutError
from execution.lines import (
    MOST_CHARACTERS,
    MOST_LINE_CHARACTERS,
    MOST_LINES,
    LineCollector,
)
from execution.observations import LineLevel
from execution.secrets import NO_SECRETS, StepSecrets
from tests.unit.test_secrets import VALUE, revealed


def collect(secrets: StepSecrets = NO_SECRETS) -> LineCollector:
    return LineCollector(secrets)


def messages(lines: LineCollector) -> list[str]:
    return [line.message for line in lines.look(2 * MOST_LINES)]


def prints(lines: LineCollector, *texts: str) -> None:
    for text in texts:
        lines.write(LineLevel.INFO, "stdout", text)


def record(
    message: object, *arguments: object, error: bool = False
) -> logging.LogRecord:
    trace = sys.exc_info() if error else None
    return logging.LogRecord(
        "shop", logging.ERROR, "shop.py", 1, message, arguments, trace
    )


def fail(error: Exception) -> None:
    raise error


class Unspeakable:
    """What raises when it is shown."""

    def __str__(self) -> str:
        raise ValueError("not to be shown")


# Python warns of it where other threads live, as here
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_tells_nothing_and_waits_for_no_thread_of_its_parent() -> None:
    lines = collect()
    lines.tell(LineLevel.INFO, "ctx.log", "of the parent")
    is_held, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lines._lock:
            is_held.set()
            may_go.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(5)
    pid = os.fork()
    if pid == 0:
        # ends it where it would wait for ever
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)
        prints(lines, "of the child\n")
        lines.tell_record(record("of the child"), "shop")
        lines.end()
        os._exit(lines.has_any)
    ended = os.waitpid(pid, 0)[1]
    may_go.set()
    holder.join()

    assert ended == 0
    assert messages(lines) == ["of the parent"]


def test_a_handler_of_signals_may_tell_at_any_moment() -> None:
    expected: list[None] = []

    def tell_from_outside(number: int, frame: object) -> None:
        lines.tell(LineLevel.INFO, "signal", "outside")

    previous = signal.signal(signal.SIGALRM, tell_from_outside)
    # that of the test's own time limit
    timer = signal.getitimer(signal.ITIMER_REAL)
    try:
        for _ in range(30):
            lines = LineCollector(NO_SECRETS, lambda: expected.append(None))
            expected.clear()
            for number in range(1_000):
                # once: where a handler takes longer than a period, none would ever end
                signal.setitimer(signal.ITIMER_REAL, (1 + number % 50) * 2e-6)
                lines.tell(LineLevel.INFO, "code", "inside")
            signal.setitimer(signal.ITIMER_REAL, 0)

            numbers = [line.number for line in lines.look(MOST_LINES)]
            assert numbers == list(range(1, len(numbers) + 1))
            assert expected
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def test_a_timeout_that_comes_while_an_argument_is_shown_ends_the_attempt() -> None:
    class Slow:
        def __str__(self) -> str:
            raise StepTimeoutError("attempt 1 of step only outlived its timeout")

    with pytest.raises(StepTimeoutError):
        collect().tell_record(record("%s", Slow()), "shop")


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        (["one\n"], ["one"]),
        (["one", "\n"], ["one"]),
        (["on", "e", "\ntwo\nth", "ree", "\n"], ["one", "two", "three"]),
        (["one\r\ntwo\r\n"], ["one", "two"]),
        (["one\r", "\n"], ["one"]),
        (["\n", "  \n", "one\n\n"], ["one"]),
        (["10 %\r", "20 %\r", "100 %\n"], ["100 %"]),
        (["\r10 %", "\r20 %", "\r100 %", "\n"], ["100 %"]),
        (["a\x00b\udce9\n"], ["ab?"]),
        (["no end"], []),
        ([""], []),
    ],
)
def test_what_is_printed_comes_in_lines(texts: list[str], lines: list[str]) -> None:
    collector = collect()

    prints(collector, *texts)

    assert messages(collector) == lines


@pytest.mark.parametrize(
    ("texts", "lines"), [(["no ", "end"], ["no end"]), (["end\n"], ["end"])]
)
def test_a_line_that_was_begun_is_one_at_the_end(
    texts: list[str], lines: list[str]
) -> None:
    collector = collect()
    prints(collector, *texts)

    collector.end()
    collector.end()

    assert messages(collector) == lines


def test_streams_do_not_mix() -> None:
    collector = collect()

    collector.write(LineLevel.INFO, "stdout", "all ")
    collector.write(LineLevel.WARNING, "stderr", "not well\n")
    collector.write(LineLevel.INFO, "stdout", "is well\n")

    found = [(line.source, line.level, line.message) for line in collector.look(9)]
    assert found == [
        ("stderr", "warning", "not well"),
        ("stdout", "info", "all is well"),
    ]


def test_lines_are_counted_through_the_attempt() -> None:
    collector = collect()
    prints(collector, "one\ntwo\n")
    collector.settle(2)
    prints(collector, "three\n")
    first = [line.number for line in collector.look(9)]
    collector.settle(1)

    collector.begin()
    prints(collector, "again\n")

    assert (first, collector.look(9)[-1].number) == ([3], 1)


def test_a_line_is_cut() -> None:
    collector = collect()

    prints(collector, "x" * 1_000_000, "y\n")
    collector.tell(LineLevel.INFO, "ctx.log", "z" * 1_000_000)

    printed, told = messages(collector)
    assert printed == "x" * MOST_LINE_CHARACTERS
    assert told == "z" * MOST_LINE_CHARACTERS


@pytest.mark.parametrize("distance", range(14))
def test_no_part_of_a_secret_is_left_where_a_line_is_cut(distance: int) -> None:
    collector = collect(revealed(A=VALUE))
    text = VALUE * 30 + "x" * (MOST_LINE_CHARACTERS - 30 * len(VALUE) - distance)

    collector.tell(LineLevel.INFO, "ctx.log", text + VALUE + "y" * 50)
    prints(collector, text, VALUE, "y" * 50, "\n")

    for message in messages(collector):
        assert VALUE[:4] not in message.replace("secret://A", "")


def test_a_secret_that_is_printed_in_parts_is_concealed() -> None:
    collector = collect(revealed(A=VALUE))

    prints(collector, VALUE[:5], VALUE[5:], "\n")

    assert messages(collector) == ["secret://A"]


def print_many(lines: LineCollector, count: int) -> None:
    prints(lines, "line\n" * count)


def print_one_by_one(lines: LineCollector, count: int) -> None:
    for _ in range(count):
        prints(lines, "line", "\n")


def tell_many(lines: LineCollector, count: int) -> None:
    for _ in range(count):
        lines.tell(LineLevel.INFO, "ctx.log", "line")


def log_many(lines: LineCollector, count: int) -> None:
    for _ in range(count):
        lines.tell_record(record("line"), "shop")


@pytest.mark.parametrize("tell", [print_many, print_one_by_one, tell_many, log_many])
def test_what_is_beyond_the_bound_is_counted_at_the_end(
    tell: Callable[[LineCollector, int], None],
) -> None:
    collector = collect()

    tell(collector, MOST_LINES + 1_234)
    collector.end()

    *kept, last = collector.look(2 * MOST_LINES)
    assert len(kept) == MOST_LINES
    assert (last.source, last.level) == ("plans", "warning")
    assert last.message.startswith("1,234 more lines are not kept")


def test_long_lines_are_fewer() -> None:
    collector = collect()

    for _ in range(MOST_CHARACTERS // MOST_LINE_CHARACTERS + 7):
        collector.tell(LineLevel.INFO, "ctx.log", "x" * MOST_LINE_CHARACTERS)
    # it would still fit, and look as if it came right after the others
    collector.tell(LineLevel.INFO, "ctx.log", "short")
    collector.end()

    *kept, last = messages(collector)
    assert sum(map(len, kept)) == MOST_CHARACTERS
    assert last.startswith("8 more lines")


def test_the_next_attempt_has_a_bound_of_its_own() -> None:
    collector = collect()
    tell_many(collector, MOST_LINES + 1)
    collector.end()
    collector.settle(MOST_LINES + 1)

    collector.begin()
    tell_many(collector, 2)
    collector.end()

    assert messages(collector) == ["line", "line"]


def test_who_tells_after_the_end_is_not_heard() -> None:
    collector = collect()
    collector.end()

    prints(collector, "late\n")
    tell_many(collector, 1)
    log_many(collector, 1)

    assert messages(collector) == []


def test_what_a_lost_step_told_is_forgotten() -> None:
    collector = collect()
    prints(collector, "one\n", "tw")

    collector.give_up()
    collector.end()

    assert not collector.has_any


def test_an_error_is_kept_with_the_end_of_its_traceback() -> None:
    collector = collect(revealed(A=VALUE))
    try:
        fail(ValueError("x" * 5_000 + VALUE))
    except ValueError:
        collector.tell_record(record("no %s", VALUE, error=True), "shop")

    (message,) = messages(collector)
    assert message.startswith("no secret://A\n")
    assert message.endswith("xsecret://A")
    assert len(message) < 2_100


@pytest.mark.parametrize(
    ("message", "arguments", "line"),
    [
        ("%d of %d", (1, 2), "1 of 2"),
        ("%d", ("x",), "%d (and arguments that do not fit)"),
        ("%s", (Unspeakable(),), "%s (and arguments that do not fit)"),
        (Unspeakable(), (), "Unspeakable (and arguments that do not fit)"),
    ],
)
def test_a_record_is_kept_whatever_is_in_it(
    message: object, arguments: tuple[object, ...], line: str
) -> None:
    collector = collect()

    collector.tell_record(record(message, *arguments), "shop")

    assert messages(collector) == [line]


class UnspeakableError(Exception):
    """An error that raises when its notes are read."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # how a class goes wrong
        raise ValueError("not to be read")


def test_a_traceback_that_cannot_be_written_does_no_harm() -> None:
    collector = collect()

    try:
        fail(UnspeakableError())
    except UnspeakableError:
        collector.tell_record(record("no", error=True), "shop")

    assert messages(collector) == ["no\n<the traceback could not be written>"]


def test_an_error_that_is_none_leaves_no_trace() -> None:
    collector = collect()

    collector.tell_record(record("no", error=True), "shop")

    assert messages(collector) == ["no"]


def test_it_says_once_that_something_waits() -> None:
    said: list[bool] = []
    collector = LineCollector(NO_SECRETS, lambda: said.append(True))

    tell_many(collector, 3)
    collector.settle(3)
    tell_many(collector, 3)

    assert len(said) == 2


def test_threads_tell_side_by_side() -> None:
    collector = collect()
    threads = [
        threading.Thread(target=tell_many, args=(collector, 200)) for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [line.number for line in collector.look(MOST_LINES)] == list(range(1, 801))
