"""The file in which a worker's processes show what they hold."""

import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from execution.celery.board import BOARD_VARIABLE, WorkerBoard


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerBoard]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv(BOARD_VARIABLE, "")
    made = WorkerBoard.create()
    yield made
    made.remove()


def test_a_child_shows_its_token_and_reads_the_workers_id(board: WorkerBoard) -> None:
    board.worker_id, token = str(uuid.uuid4()), str(uuid.uuid4())
    script = (
        "import os; from execution.celery.board import WorkerBoard\n"
        f"board = WorkerBoard.open(); board.expose({token!r})\n"
        "print(os.getpid(), board.worker_id)"
    )

    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()

    assert output[1] == board.worker_id
    assert board.find_tokens({int(output[0])}) == (token,)
    assert board.find_pid(token) == int(output[0])


def test_a_token_of_a_process_that_is_gone_does_not_count(board: WorkerBoard) -> None:
    board.expose(str(uuid.uuid4()))

    assert board.find_tokens({os.getpid() + 1}) == ()


def test_a_withdrawn_token_is_not_shown(board: WorkerBoard) -> None:
    token = str(uuid.uuid4())
    board.expose(token)
    board.withdraw()

    assert board.find_tokens({os.getpid()}) == ()
    assert board.find_pid(token) is None


def test_threads_have_slots_of_their_own(board: WorkerBoard) -> None:
    tokens = [str(uuid.uuid4()) for _ in range(3)]
    for token in tokens:
        thread = threading.Thread(target=board.expose, args=(token,))
        thread.start()
        thread.join()

    assert sorted(board.find_tokens({os.getpid()})) == sorted(tokens)


def test_files_of_killed_workers_are_removed(
    board: WorkerBoard, tmp_path: Path
) -> None:
    abandoned = tmp_path / "celery-plans-worker-x"
    young = tmp_path / "celery-plans-worker-y"
    for path in (abandoned, young):
        path.touch()
    for path in (abandoned, board.path):
        os.utime(path, (0, 0))

    WorkerBoard.create().remove()

    assert not abandoned.exists()
    assert young.exists()
    assert board.path.exists()


def test_a_child_sees_that_the_worker_stops(board: WorkerBoard) -> None:
    board.worker_id, token = str(uuid.uuid4()), str(uuid.uuid4())
    board.expose(token)
    worker_id = board.worker_id
    child = WorkerBoard.open()
    assert not child.is_stopping()

    board.stop()

    assert child.is_stopping()
    assert child.worker_id == worker_id
    assert child.find_tokens({os.getpid()}) == (token,)


def test_who_holds_a_token_hears_that_nobody_wants_its_step(board: WorkerBoard) -> None:
    token, other = str(uuid.uuid4()), str(uuid.uuid4())
    board.expose(token)
    calls = board.listen(token)

    board.tell(other)
    assert not calls.is_told()
    board.tell(token)

    assert calls.is_told()
    # who goes on to another step hears no more of that one
    board.expose(other)
    assert not board.listen(other).is_told()


def test_who_heeds_that_an_attempt_is_asked_is_seen_to(board: WorkerBoard) -> None:
    token = str(uuid.uuid4())
    board.expose(token)
    calls = board.listen(token)
    assert not board.is_heeded(token)

    assert not calls.heed(2)
    board.ask(token, 2)

    assert board.is_heeded(token)
    assert (calls.heed(2), calls.heed(3)) == (True, False)


def test_the_begin_of_a_steps_code_is_that_of_its_first_attempt(
    board: WorkerBoard,
) -> None:
    token = str(uuid.uuid4())
    board.expose(token)
    assert board.find_begin(token) is None

    board.begin(7)
    board.begin(9)

    assert board.find_begin(token) == 7
    board.expose(str(uuid.uuid4()))
    # its code has ended: what was started later is not its
    assert board.find_begin(token) is None
