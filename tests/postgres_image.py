"""What the image of PostgreSQL does before it serves, with programs of this machine.

The data is made, and the scripts of `/docker-entrypoint-initdb.d` are run against a
server that listens on a socket alone.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from execution.local.superuser import Ground
from tests.polling import wait_until

_SCRIPTS = "/docker-entrypoint-initdb.d/"
_LONGEST_SECONDS = 120.0


def choose_account(stand: Ground) -> dict[str, Any]:
    """Return under whom PostgreSQL runs, which refuses root, as Popen takes it."""
    if stand.account is None:
        return {}
    account = stand.account
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def set_up(
    stand: Ground,
    command: Sequence[str],
    environment: Mapping[str, str],
    paths: Mapping[str, str],
    port: int,
) -> list[str]:
    """Make the data and what the scripts make; return what to start.

    `command` and `environment` are those of the service, `paths` says where its mounts
    lie on this machine.
    """
    data = _make_data(stand, environment)
    serve = [str(stand.programs / command[0]), "-D", str(data), *command[1:]]
    serve += ["-c", f"unix_socket_directories={stand.directory}"]
    serve += ["-c", f"port={port}", "-c", "fsync=off"]
    server = subprocess.Popen(
        [*serve, "-c", "listen_addresses="],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=dict(environment),
        **choose_account(stand),
    )
    variables = {
        **environment,
        "POSTGRES_USER": "postgres",
        "PGHOST": str(stand.directory),
        "PGPORT": str(port),
    }
    try:
        _run_scripts(variables, paths)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(_LONGEST_SECONDS)
    return [*serve, "-c", "listen_addresses=127.0.0.1"]


def _make_data(stand: Ground, environment: Mapping[str, str]) -> Path:
    password = stand.directory / "password"
    password.write_text(Path(environment["POSTGRES_PASSWORD_FILE"]).read_text())
    password.chmod(0o644)
    options = shlex.split(environment.get("POSTGRES_INITDB_ARGS", ""))
    data = stand.directory / "data"
    subprocess.run(
        [
            *(stand.programs / "initdb", f"--pgdata={data}"),
            *("--username=postgres", f"--pwfile={password}", "--no-sync"),
            *("--auth-local=trust", "--auth-host=scram-sha-256", *options),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        env=dict(environment),
        **choose_account(stand),
    )
    return data


def _run_scripts(variables: Mapping[str, str], paths: Mapping[str, str]) -> None:
    asked = ["pg_isready", "-q", "-U", "postgres", "-d", "postgres"]
    wait_until(
        lambda: not subprocess.run(asked, check=False, env=variables).returncode,
        what="PostgreSQL to be set up",
        timeout_seconds=_LONGEST_SECONDS,
    )
    create = ["createdb", "-U", "postgres", variables["POSTGRES_DB"]]
    subprocess.run(create, check=True, env=variables)
    for script in sorted(path for path in paths if path.startswith(_SCRIPTS)):
        # one that could not be run by itself the image would read into its shell
        assert os.access(paths[script], os.X_OK), script
        subprocess.run([paths[script]], check=True, env=variables)
