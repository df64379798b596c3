"""The servers that every system is measured on: one local stack, thrown away after."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import redis
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class with a small name
from psycopg2.extensions import quote_ident

from execution import Settings
from execution.installation import open_installation
from execution.local import LocalStack, RunningServer
from tests.polling import wait_until

ROOT = Path(__file__).parent.parent
ACTIONS = "benchmarks.actions"


@dataclass(frozen=True)
class Stage:
    """PostgreSQL and Valkey that run, and the settings of celery-plans on them."""

    settings: Settings
    stack: LocalStack
    home: Path

    @property
    def postgres(self) -> RunningServer:
        """Return the process of PostgreSQL."""
        assert self.stack.postgres is not None
        return self.stack.postgres

    @property
    def valkey(self) -> RunningServer:
        """Return the process of Valkey."""
        assert self.stack.valkey is not None
        return self.stack.valkey

    @property
    def socket_folder(self) -> Path:
        """Return where PostgreSQL listens."""
        return self.postgres.socket.parent

    def connect(self, database: str = "plans") -> Connection:
        """Return a connection of its own in which each statement commits."""
        connection: Connection = psycopg2.connect(
            host=str(self.socket_folder), user="plans", dbname=database
        )
        connection.autocommit = True
        return connection

    def open_redis(self) -> redis.Redis:
        """Return a client of its own."""
        return redis.Redis.from_url(str(self.settings.redis_url))

    def make_database(self, name: str) -> str:
        """Return the URL of a database of that name; make it if it is not there."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {quote_ident(name, cursor)}")
        return f"postgresql://plans@/{name}?host={self.socket_folder}"

    def build_environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a process, with settings of celery-plans."""
        settings = {
            "PLANS_DATABASE_URL": str(self.settings.database_url),
            "PLANS_BROKER_URL": str(self.settings.broker_url),
            "PLANS_REDIS_URL": str(self.settings.redis_url),
            "PLANS_SCHEMA": self.settings.schema,
            "PLANS_QUEUE": self.settings.queue,
            "PLANS_IMPORTS": ",".join(self.settings.imports),
            "PLANS_LEASE_SECONDS": str(self.settings.lease_seconds),
            "BENCH_REDIS_URL": str(self.settings.redis_url),
        }
        inherited = {k: v for k, v in os.environ.items() if k not in settings}
        return {**inherited, **settings, **variables}


@contextmanager
def open_stage(*, lease_seconds: float = 30.0) -> Iterator[Stage]:
    """Run the servers in a home of their own for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="plans-bench-") as home:
        asked = Settings(
            local=True,
            home=Path(home),
            imports=(ACTIONS,),
            lease_seconds=lease_seconds,
        )
        installation = open_installation(asked)
        assert installation.stack is not None
        settings = replace(installation.settings, local=False)
        stage = Stage(settings, installation.stack, Path(home))
        try:
            yield stage
        finally:
            installation.close()
            _remove_data(stage)


def _remove_data(stage: Stage) -> None:
    # for root, the data of PostgreSQL lies outside of the home
    for server in (stage.postgres, stage.valkey):
        keeper = Path(f"/proc/{server.keeper_pid}")
        wait_until(
            lambda k=keeper: not k.exists(),  # type: ignore[misc]  # bound to this pass
            what="a server to stop",
            timeout_seconds=60,
        )
        shutil.rmtree(server.data.parent)
