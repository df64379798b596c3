"""The thread that writes what attempts tell: when, and what does not stop it."""

import os
import threading
from collections.abc import Callable

import pytest

from execution import telling
from execution.errors import DatabaseError
from execution.telling import LineWriter
from tests.polling import wait_until


def test_all_that_have_told_are_written_after_one_pause() -> None:
    writer = LineWriter(pause_seconds=0.05)
    written: list[str] = []
    has_come = threading.Event()

    def write(word: str) -> Callable[[], None]:
        return lambda: written.append(word)

    def write_again() -> None:
        written.append("again")
        has_come.set()

    def write_and_tell_again() -> None:
        written.append("one")
        # for the next pause: else a database that is away would be asked without end
        writer.expect(write_again)

    writer.expect(write_and_tell_again)
    writer.expect(write("two"))

    assert has_come.wait(5)
    assert written == ["one", "two", "again"]


def test_what_the_database_refuses_is_said_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    writer = LineWriter(pause_seconds=0.01)
    written = threading.Event()

    def fail() -> None:
        raise DatabaseError("PostgreSQL refused: no")

    writer.expect(fail)
    writer.expect(written.set)

    assert written.wait(5)
    assert "lines of a step are not stored" in caplog.messages


def test_nothing_is_forgotten_when_the_thread_is_about_to_end() -> None:
    writer = LineWriter(pause_seconds=0, linger_seconds=0)
    for _ in range(200):
        written = threading.Event()
        writer.expect(written.set)
        assert written.wait(5)


def test_the_thread_ends_when_nothing_is_told() -> None:
    writer = LineWriter(pause_seconds=0, linger_seconds=0.01)

    writer.expect(lambda: None)

    wait_until(lambda: writer._thread is None, what="the thread to end")


# Python warns of it where other threads live, as here perhaps
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_leaves_the_writing_to_its_parent() -> None:
    writer = LineWriter()
    pid = os.fork()
    if pid == 0:
        writer.expect(lambda: None)
        os._exit(not writer._expected.empty())

    assert os.waitpid(pid, 0)[1] == 0


def test_where_no_thread_can_be_started_the_end_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(telling, "Thread", NoThread)
    writer = LineWriter()

    writer.expect(lambda: None)

    assert writer._thread is None
