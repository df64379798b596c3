"""Where the files and the sockets of the local stack may lie.

It promises that every directory it returns is a real one, belongs to this user
and is closed to others, or raises; it never changes the mode or the owner of a
directory that it did not make. It must not know the servers.
"""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path

from ..errors import LocalStackError

# sun_path holds 104 bytes on macOS and the BSDs, 108 on Linux, with the final NUL.
_LONGEST_SOCKET_PATH_BYTES = 100
# What needs no quoting in a URL nor in PostgreSQL's list of socket directories.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./~-]+")


def open_home(home: Path) -> Path:
    """Make the home if it is missing and return its absolute path."""
    path = home.resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_unsafe(path, path.stat(), forbidden=stat.S_IWOTH)
        ignore = path / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise LocalStackError(
            f"{path} cannot be used as PLANS_HOME ({error.strerror}). "
            "Set PLANS_HOME to a directory that you may write to."
        ) from error
    return path


def private_directory(path: Path) -> Path:
    """Make the directory, or make sure that it is ours alone."""
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        # lstat: in a shared directory somebody may have put a link in our way.
        _refuse_unsafe(path, path.lstat(), forbidden=stat.S_IRWXG | stat.S_IRWXO)
    return path


def socket_path(natural: Path) -> Path:
    """Return the path itself, or one that does for it when it is too awkward."""
    if is_fit_for_socket(natural):
        return natural
    name = f"celery-plans-{os.geteuid()}-{fingerprint(natural.parent)}"
    path = private_directory(_short_lived_files() / name) / natural.name
    if not is_fit_for_socket(path):
        raise LocalStackError(
            f"{path} is too long or too unusual for a socket. "
            "Set TMPDIR or PLANS_HOME to a short path of plain characters."
        )
    return path


def is_fit_for_socket(path: Path) -> bool:
    """Say whether the path is short, and plain wherever it gets written."""
    short = len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH_BYTES
    return short and _PLAIN_PATH.fullmatch(str(path)) is not None


def fingerprint(path: Path) -> str:
    """Name a path in a few characters that differ from those of other paths."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _short_lived_files() -> Path:
    # Not the caller's TMPDIR first: it may differ between two processes, which
    # would then look for the same socket in two places. macOS's is also long.
    shared = Path("/tmp")  # noqa: S108  what is made below is verified
    if os.access(shared, os.W_OK | os.X_OK):
        return shared
    return Path(tempfile.gettempdir())


def _refuse_unsafe(path: Path, found: os.stat_result, *, forbidden: int) -> None:
    ours = found.st_uid == os.geteuid()
    if stat.S_ISDIR(found.st_mode) and ours and not found.st_mode & forbidden:
        return
    raise LocalStackError(
        f"{path} is not a directory of this user (uid {os.geteuid()}) that others "
        f"cannot get at: it belongs to uid {found.st_uid}, mode "
        f"{stat.filemode(found.st_mode)}. Correct that, or set PLANS_HOME to "
        "another directory."
    )
