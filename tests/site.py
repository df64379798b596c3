"""Servers that ask for passwords, two workers that read theirs from files, a terminal.

What operators do to a running site is done to this one. Its users are those that
`deploy` makes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg2
import pytest
import redis

from execution import ExecutionEngine, Settings
from execution.installation import Installation
from execution.local import LocalStack
from execution.local.binaries import find_postgres
from execution.schema import upgrade
from execution.sql.grants import Role
from tests.conftest import remove_stack
from tests.load import Load
from tests.outages import end_server
from tests.pages import Reader, read_page
from tests.polling import wait_until
from tests.proxy import POSTGRES_ANSWER_END, Proxy
from tests.roles import run_init, write_passwords
from tests.worker_process import ROOT, WorkerProcess

_LEASE_SECONDS = 10.0
"""So long that neither worker is taken for dead because the machine is busy."""
_ROLES = ("worker", "producer")
_BACKLOG = 20
"""Executions that two slots cannot begin before somebody has flushed."""
_OLD_PASSWORD = "an-old-one"  # noqa: S105  # of servers that end with the tests
_ADMIN_PASSWORD = "of-an-admin"  # noqa: S105  # the same
_LOGINS = f"""
CREATE ROLE admin SUPERUSER LOGIN PASSWORD '{_ADMIN_PASSWORD}';
CREATE ROLE plans_worker_b LOGIN IN ROLE plans_worker;
CREATE ROLE plans_producer_b LOGIN IN ROLE plans_producer;
"""


@dataclass
class Site:
    """Two workers, their servers, and the terminal of who looks after them."""

    home: Path
    stack: LocalStack
    settings: Settings
    engine: ExecutionEngine
    reader: Reader
    variables: Mapping[str, str]
    workers: list[WorkerProcess] = field(default_factory=list)

    @contextmanager
    def without_postgres(self) -> Iterator[None]:
        """Stop PostgreSQL for as long as the block takes."""
        assert self.stack.postgres is not None
        end_server(self.stack.postgres.server_pid, signal.SIGINT)
        yield
        gone, self.stack = self.stack, LocalStack.start(self.home)
        gone.close()

    @contextmanager
    def with_flushed_redis(self, load: Load) -> Iterator[None]:
        """Flush Valkey with messages in it, and wait until they are missed."""
        load.submit_more(_BACKLOG)
        with redis.Redis.from_url(str(self.stack.urls.redis_url)) as client:
            client.flushall()

        def has_resent() -> bool:
            workers = self.engine.list_workers()
            return any(worker.deeds.get("resent_steps") for worker in workers)

        wait_until(has_resent, what="a message to be missed", timeout_seconds=60)
        yield

    @contextmanager
    def with_new_workers(self) -> Iterator[None]:
        """Restart the workers, one after the other."""
        for place, worker in enumerate(self.workers):
            assert worker.stop() == 0, worker.log.read_text()[-5000:]
            self.workers[place] = self.start_worker()
        yield

    @contextmanager
    def with_rights_of_a_worker(self) -> Iterator[None]:
        """Let what is typed log in as workers do, and not as those who submit."""
        secrets = self.home / "secrets"
        self.reader.environment |= name_files(secrets, "worker")
        yield
        self.reader.environment |= name_files(secrets, "producer")

    def start_worker(self) -> WorkerProcess:
        """Start a worker of one process, which finds its servers by the files."""
        return WorkerProcess.start(
            self.settings,
            slots=1,
            environment=self.variables,
            directory=self.reader.folder,
        )


def name_files(secrets: Path, role: str) -> dict[str, str]:
    """Return the variables that name the files with the URLs of a role."""
    return {
        f"PLANS_{name.upper()}_URL_FILE": str(secrets / f"{role}_{name}_url")
        for name in ("database", "broker")
    }


def find_tools(*names: str) -> str:
    """Return the path on which these programs are, or skip for want of them."""
    path = os.pathsep.join(
        [
            str(Path(sys.executable).parent),
            os.environ["PATH"],
            str(find_postgres().directory),
        ]
    )
    lacking = [name for name in names if shutil.which(name, path=path) is None]
    if lacking and os.environ.get("CI") == "true":
        pytest.fail(f"there is no {', '.join(lacking)} here")
    if lacking:
        pytest.skip(f"there is no {', '.join(lacking)} here")
    return path


@contextmanager
def open_site(*pages: str) -> Iterator[Site]:
    """Start it all, with the files that the pages show, and end it."""
    path = find_tools("psql", "redis-cli")
    home = Path(tempfile.mkdtemp(prefix="plans-site-"))
    stack = LocalStack.start(home)
    try:
        with _furnish(home, stack, path, pages) as site:
            yield site
            # it may have been started anew
            stack = site.stack
    finally:
        stack.close()
        remove_stack(stack, home)


@contextmanager
def _furnish(
    home: Path, stack: LocalStack, path: str, pages: Sequence[str]
) -> Iterator[Site]:
    """Make the users, start the workers, and lay out the files."""
    direct = Settings(
        database_url=stack.urls.database_url,
        broker_url=stack.urls.broker_url,
        redis_url=stack.urls.redis_url,
        imports=("tests.actions",),
        lease_seconds=_LEASE_SECONDS,
    )
    _make_roles(stack, home, direct.schema)
    _ask_for_passwords(stack, home)
    with ExitStack() as exits:
        reader = Reader(home, {})
        exits.callback(reader.close)
        for block in (block for page in pages for block in read_page(page)):
            if block.file:
                reader.write(block)
        engine = exits.enter_context(ExecutionEngine(Installation(direct, None)))
        variables = exits.enter_context(_open_doors(stack, home))
        site = Site(home, stack, direct, engine, reader, {**variables, "PATH": path})
        with ThreadPoolExecutor() as threads:
            starts = [threads.submit(site.start_worker) for _ in range(2)]
        site.workers = [start.result() for start in starts]
        exits.callback(partial(_stop_all, site))
        reader.environment = {
            **site.workers[0].environment,
            **name_files(home / "secrets", "producer"),
        }
        yield site


def _make_roles(stack: LocalStack, home: Path, schema: str) -> None:
    """Prepare the database as a deployment does."""
    assert stack.postgres is not None
    folder = str(stack.postgres.socket.parent)
    passwords = write_passwords(home / "passwords")
    run_init({"PGHOST": folder, "PGUSER": "plans"}, "plans", passwords, schema)
    upgrade(f"postgresql://{Role.MIGRATOR}_a@/plans?host={folder}", schema)


def _ask_for_passwords(stack: LocalStack, home: Path) -> None:
    """Let the logins of PostgreSQL, and the users of Valkey, be asked for passwords."""
    assert stack.postgres is not None
    assert stack.valkey is not None
    rules = stack.postgres.data / "pg_hba.conf"
    logins = ",".join(f"plans_{role}_{turn}" for role in _ROLES for turn in "ab")
    rules.write_text(f"local all admin,{logins} scram-sha-256\n{rules.read_text()}")
    url = str(stack.urls.database_url).replace("+psycopg2", "")
    with (
        closing(psycopg2.connect(url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(_LOGINS)
        cursor.execute("SELECT pg_reload_conf()")
    admin = ("admin", ["on", f">{_ADMIN_PASSWORD}", "~*", "&*", "+@all"])
    with redis.Redis.from_url(str(stack.urls.redis_url)) as client:
        for user, allowed in (admin, *_read_users(home)):
            client.execute_command("ACL", "SETUSER", user, *allowed)


def _read_users(home: Path) -> Iterator[tuple[str, list[str]]]:
    """Make the users of a deployment; yield each, with its rules."""
    for role in _ROLES:
        (home / "passwords" / f"redis_{role}_password").write_text(_OLD_PASSWORD)
    made = home / "users.acl"
    variables = {"PLANS_PASSWORDS": str(home / "passwords"), "PLANS_ACL": str(made)}
    subprocess.run(
        [ROOT / "deploy" / "redis" / "start.sh"],
        env={**os.environ, **variables},
        check=True,
    )
    for line in made.read_text().splitlines():
        # what is in brackets is one rule
        _, user, *rules = re.findall(r"\([^)]*\)|\S+", line)
        if user.removeprefix("plans_") in _ROLES:
            yield user, rules


@contextmanager
def _open_doors(stack: LocalStack, home: Path) -> Iterator[dict[str, str]]:
    """Make the servers' ports, the files with the URLs, and what names them."""
    assert stack.postgres is not None
    assert stack.valkey is not None
    with (
        Proxy(str(stack.postgres.socket), POSTGRES_ANSWER_END) as postgres,
        Proxy(str(stack.valkey.socket)) as valkey,
    ):
        database = f"127.0.0.1:{postgres.port}/plans"
        broker = f"127.0.0.1:{valkey.port}/0"
        secrets = home / "secrets"
        secrets.mkdir(mode=0o700)
        for role in _ROLES:
            password = quote(
                (home / "passwords" / f"{role}_password").read_text().strip()
            )
            (secrets / f"{role}_database_url").write_text(
                f"postgresql://plans_{role}_a:{password}@{database}"
            )
            (secrets / f"{role}_broker_url").write_text(
                f"redis://plans_{role}:{_OLD_PASSWORD}@{broker}"
            )
        service = home / "pg_service.conf"
        service.write_text(
            f"[admin]\nhost=127.0.0.1\nport={postgres.port}\ndbname=plans\n"
            f"user=admin\npassword={_ADMIN_PASSWORD}\n"
        )
        yield {
            **name_files(secrets, "worker"),
            "PLANS_DATABASE_URL": "",
            "PLANS_BROKER_URL": "",
            "PLANS_REDIS_URL": "",
            "PLANS_SECRETS_DIR": str(secrets),
            "PLANS_IMPORTS": "tests.actions,signed,night",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{home}",
            "PGSERVICEFILE": str(service),
            "REDISCLI_AUTH": _ADMIN_PASSWORD,
            "ADMIN_REDIS_URL": f"redis://{broker}",
            "COLUMNS": "120",
        }


def _stop_all(site: Site) -> None:
    for worker in site.workers:
        # together, for each takes its time
        worker.process.terminate()
    for worker in site.workers:
        worker.process.wait(60)
        worker.log.unlink()
