"""A database with a role for each kind of program, made by `deploy/postgres`."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from execution.schema import upgrade
from execution.sql.grants import Role
from tests.worker_process import ROOT

DEPLOY = ROOT / "deploy" / "postgres"


def require_program(name: str) -> str:
    """Return where a program is; skip the test where it is not, and fail it in CI."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            f"{name} is not installed"
        )
    return found


def run_init(
    address: Mapping[str, str], database: str, passwords: Path, schema: str
) -> None:
    """Run `init.sh` as the image of PostgreSQL does, against a server that runs here.

    `address` are psql's own variables, of a superuser.
    """
    require_program("psql")
    done = subprocess.run(
        ["/bin/sh", DEPLOY / "init.sh"],
        check=False,
        capture_output=True,
        text=True,
        env={
            "PATH": os.environ["PATH"],
            "POSTGRES_USER": address["PGUSER"],
            "POSTGRES_DB": database,
            "PLANS_ROLES_SQL": str(DEPLOY / "roles.sql"),
            "PLANS_PASSWORDS": str(passwords),
            "PLANS_SCHEMA": schema,
            **address,
        },
    )
    assert done.returncode == 0, done.stderr


def write_passwords(folder: Path) -> Path:
    """Write a password for each login into files; return their folder."""
    folder.mkdir(exist_ok=True)
    for name in (*(role.removeprefix("plans_") for role in Role), "operator"):
        (folder / f"{name}_password").write_text(f"it's of plans_{name}\n")
    return folder


def make_installation(
    superuser_url: str, name: str, passwords: Path
) -> dict[Role, str]:
    """Make a database with a schema of its own; both have this name.

    Returns the URL of each role.
    """
    with closing(
        psycopg2.connect(superuser_url.replace("+psycopg2", ""))
    ) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        host, user = connection.info.host, connection.info.user
    address = {"PGHOST": host, "PGUSER": user}
    run_init(address, name, write_passwords(passwords), name)
    urls = {role: f"postgresql://{role}_a@/{name}?host={host}" for role in Role}
    upgrade(urls[Role.MIGRATOR], name)
    return urls


def run_statement(url: str, schema: str, statement: str) -> list[tuple[object, ...]]:
    """Run a statement in a transaction of its own."""
    with (
        closing(psycopg2.connect(url)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []
