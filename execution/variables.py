"""What the `PLANS_…` variables of an environment say, each by itself or through a file.

A password in an environment is seen by every child process and by whoever may look
into the container. So a setting that can hold one may stand in a file instead, which
`PLANS_<FIELD>_FILE` names: the way of Docker's and Kubernetes' secrets.

Promises: no text of a file is ever part of an error. It must not know what any
setting is for.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from .errors import SettingsError

PREFIX = "PLANS_"
SECRET_PREFIX = "PLANS_SECRET_"  # noqa: S105  # of variables, which hold them
"""Begins the names of variables that hold secrets, which authors of plans choose."""
FILE_SUFFIX = "_FILE"
"""Ends the name of a variable that says in which file the value stands."""
_FOREIGN = frozenset(
    {"PLANS_WORKER_BOARD", "PLANS_TEST_DATABASE_URL", "PLANS_FLOWER_LOGINS_FILE"}
)
"""Set by our own processes for their children, or read by what needs it alone."""


def refuse_near_misses(source: Mapping[str, str], known: Collection[str]) -> None:
    """Raise SettingsError for a variable of ours that is none, but resembles one."""
    for name in source:
        if name in known or name in _FOREIGN or not name.startswith(PREFIX):
            continue
        if name.startswith(SECRET_PREFIX):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if nearest:
            raise SettingsError(f"{name} is not a setting; did you mean {nearest[0]}?")


def read_given(
    source: Mapping[str, str], names: Collection[str], in_files: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield each of the variables `names` that is given, with its text.

    Those `in_files` may be given by a file instead. Raises SettingsError for one that
    is given in both ways, and for a file without a line of text.
    """
    for name in names:
        text = source.get(name)
        pointer = f"{name}{FILE_SUFFIX}"
        path = source.get(pointer) if name in in_files else None
        if path and text:
            raise SettingsError(
                f"{name} and {pointer} are both set, and one of them is one too many"
            )
        if path:
            text = _read_file(pointer, path)
        if text:
            yield name, text


def _read_file(pointer: str, path: str) -> str:
    try:
        text = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(
            f"{pointer}={path!r} cannot be read: {error.strerror}; the file must be"
            " there, and be readable for the account that this process runs under"
        ) from error
    except ValueError:
        # not chained: its words hold bytes of the file, or there is NUL in the path
        raise SettingsError(f"{pointer}={path!r} is not a file of UTF-8 text") from None
    if not text:
        raise SettingsError(f"{pointer}={path!r} is empty; write the value into it")
    if len(text.splitlines()) > 1:
        raise SettingsError(
            f"{pointer}={path!r} has more than one line; write nothing but the value"
            " into it"
        )
    return text
