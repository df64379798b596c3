"""A PostgreSQL of a test's own on the loopback, with passwords, and TLS if wanted."""

import glob
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from execution.local.binaries import PostgresPrograms
from execution.local.superuser import Ground, ground
from tests.polling import wait_until
from tests.postgres_image import choose_account
from tests.redis_users import find_free_port

USER, PASSWORD = "plans", "own-7Rt4x"
_LONGEST_SECONDS = 120.0
_NO_TLS = "SSL is not supported by this build"


def find_installed_postgres() -> PostgresPrograms:
    """Return a PostgreSQL of this machine's packages, which speaks TLS by itself.

    Skips the test where there is none, and fails it in CI.
    """
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))  # noqa: PTH207  an absolute pattern
    if not found:
        _do_without("no PostgreSQL is installed under /usr/lib/postgresql")
    directory = Path(found[-1]).parent
    return PostgresPrograms(directory, int(directory.parent.name))


def _do_without(reason: str) -> None:
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@contextmanager
def run_postgres(
    programs: PostgresPrograms, folder: Path, proof: tuple[Path, Path] | None = None
) -> Iterator[tuple[int, Path]]:
    """Serve for the block; give the port and the log.

    `USER` logs in with `PASSWORD`. With a certificate and its key as `proof`, nobody is
    served in the clear.
    """
    stand = ground(programs, folder)
    # as root it is a folder elsewhere, which a test that was killed may have left
    data = stand.directory / "data"
    shutil.rmtree(data, ignore_errors=True)
    log = folder / "log"
    try:
        _make_data(stand, data, folder)
        options = {} if proof is None else _place_proof(stand, data, proof)
        port = find_free_port()
        options |= {"listen_addresses": "127.0.0.1", "port": port, "fsync": "off"}
        options |= {"unix_socket_directories": ""}
        with log.open("wb") as output:
            server = subprocess.Popen(
                _write_command(stand, data, options),
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                **choose_account(stand),
            )
        try:
            wait_until(
                lambda: _is_ready(server, log, data),
                what="PostgreSQL to listen",
                timeout_seconds=_LONGEST_SECONDS,
            )
            yield port, log
        finally:
            # the end of its processes and memory, without a last look at the data
            server.send_signal(signal.SIGQUIT)
            server.wait(_LONGEST_SECONDS)
    finally:
        shutil.rmtree(data, ignore_errors=True)
        if stand.directory != folder:
            shutil.rmtree(stand.directory, ignore_errors=True)


def _write_command(
    stand: Ground, data: Path, options: Mapping[str, object]
) -> list[str]:
    said = [f"--{name}={value}" for name, value in options.items()]
    return [str(stand.programs / "postgres"), "-D", str(data), *said]


def _is_ready(server: subprocess.Popen[bytes], log: Path, data: Path) -> bool:
    if server.poll() is not None:
        said = log.read_text()
        if _NO_TLS in said:
            _do_without(f"PostgreSQL: {_NO_TLS}")
        raise AssertionError(said)
    state = data / "postmaster.pid"
    # its last line says so
    return state.exists() and state.read_text().split()[-1:] == ["ready"]


def _make_data(stand: Ground, data: Path, folder: Path) -> None:
    password = stand.directory / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    command = [
        str(stand.programs / "initdb"),
        f"--pgdata={data}",
        f"--pwfile={password}",
    ]
    command += [
        f"--username={USER}",
        "--auth=scram-sha-256",
        "--no-sync",
        "--no-locale",
    ]
    with (folder / "initdb.log").open("wb") as output:
        subprocess.run(
            [*command, "--encoding=UTF8"],
            check=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            **choose_account(stand),
        )


def _place_proof(
    stand: Ground, data: Path, proof: tuple[Path, Path]
) -> dict[str, object]:
    for source, name in zip(proof, ("server.crt", "server.key"), strict=True):
        copy = data / name
        shutil.copy(source, copy)
        copy.chmod(0o600)
        if stand.account is not None:
            os.chown(copy, stand.account.uid, stand.account.gid)
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    return {"ssl": "on"}
