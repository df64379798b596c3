"""Who may look at Flower: logins, as a file and as a request state them. Pure.

Promises: a password is compared in a time that does not tell how much of it was right;
no error holds a word of one.
"""

import base64
import binascii
import hashlib
import hmac
import re
from pathlib import Path

from ..errors import SettingsError

_LOGIN = re.compile(r"[!-9;-~]+:[ -~]+")
"""Printable ASCII, for Flower compares nothing else; the user has no colon or space."""


class Logins:
    """The logins that are let in."""

    def __init__(self, pairs: tuple[str, ...]) -> None:
        """Let in these, each written `user:password`."""
        self._digests = [_digest(pair.encode()) for pair in pairs]

    def admit(self, authorization: str) -> bool:
        """Say whether the header of a request holds one of the logins."""
        scheme, _, text = authorization.strip().partition(" ")
        if scheme != "Basic":
            return False
        try:
            given = _digest(base64.b64decode(text.strip(), validate=True))
        except (binascii.Error, ValueError):
            return False
        # all of them, for the first that fits is not to be told by the time it takes
        return sum(hmac.compare_digest(given, each) for each in self._digests) > 0


def read_logins(path: Path) -> tuple[str, ...]:
    """Return the logins of a file: a line `user:password` for each, and `#` remarks.

    Raises SettingsError, which names the line, when one is none, or there is none.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(
            f"the logins {str(path)!r} cannot be read: {error.strerror}; the file must"
            " be there, and be readable for the account that this process runs under"
        ) from error
    except ValueError:
        # not chained: its words hold bytes of the file, or there is NUL in the path
        raise SettingsError(f"the logins {str(path)!r} are not UTF-8 text") from None
    numbered = [
        (number, line)
        for number, line in enumerate(map(str.strip, lines), 1)
        if line and not line.startswith("#")
    ]
    if not numbered:
        raise SettingsError(
            f"{str(path)!r} holds no login; write user:password into it"
        )
    return tuple(
        check_login(line, f"line {number} of {str(path)!r}")
        for number, line in numbered
    )


def check_login(text: str, place: str) -> str:
    """Return the login; raises SettingsError, which names `place`, if it is none."""
    if not _LOGIN.fullmatch(text):
        raise SettingsError(
            f"{place} is no login; write user:password, in printable ASCII"
        )
    return text


def _digest(login: bytes) -> bytes:
    # of one length, whatever was given
    return hashlib.sha256(login).digest()
