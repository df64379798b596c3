"""How Flower is to run: what the command line says, then FLOWER_… variables, then ours.

Promises: it asks for a login, unless that is given up in so many words, for this
machine alone; what Flower keeps is bounded; nothing is read from the working
directory. It must not know how anything is served.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flower.command import apply_env_options
from flower.options import default_options
from flower.utils.authentication import validate_auth_option

from ..errors import SettingsError
from .gate import is_loopback
from .logins import Logins, check_login, read_logins

_USUAL: Mapping[str, Any] = {
    "address": "127.0.0.1",
    "port": 5555,
    # of each task it keeps about 5 kB; by itself it would go up to 100,000
    "max_tasks": 10_000,
    "max_workers": 1_000,
    # each deployment brings workers of new names
    "purge_offline_workers": 3600,
    "persistent": False,
    "tasks_columns": "name,args,uuid,state,received,runtime,worker",
}
_DIRECT = ("address", "port", "url_prefix", "max_tasks", "read_only")


@dataclass(frozen=True)
class FlowerChoices:
    """What the command line says; None leaves it to the environment, and then to us."""

    address: str | None = None
    port: int | None = None
    url_prefix: str | None = None
    max_tasks: int | None = None
    read_only: bool | None = None
    logins: Path | None = None
    is_unauthenticated: bool = False


@dataclass(frozen=True)
class Choice:
    """What came of it: Flower's own options, and who is let in."""

    options: Any
    logins: Logins | None = field(repr=False)

    @property
    def place(self) -> str:
        """Return where Flower listens, for an error to name."""
        if self.options.unix_socket:
            return str(self.options.unix_socket)
        return f"{self.options.address or '*'}:{self.options.port}"


def choose(given: FlowerChoices) -> Choice:
    """Set Flower's options, which are the process's, and return them.

    Raises SettingsError for a value that cannot be, and when all the world were let in.
    """
    options = default_options
    for name, value in _USUAL.items():
        setattr(options, name, value)
    _forget_kubernetes()
    try:
        apply_env_options()
    except (ValueError, TypeError, KeyError):
        # not chained, for its words hold the value; Flower does not tell whose it is
        raise SettingsError(
            "a FLOWER_… variable has a value that cannot be; numbers and 1 or 0 are"
            " written as such"
        ) from None
    for name in _DIRECT:
        value = getattr(given, name)
        if value is not None:
            setattr(options, name, value)
    # its templates put slashes of their own around it
    options.url_prefix = (options.url_prefix or "").strip("/") or None
    logins = _find_logins(given, options)
    _check(given, options, logins)
    return Choice(options, logins)


def _forget_kubernetes() -> None:
    """Forget what Kubernetes says of a service that is called `flower`.

    Nobody has chosen that, and to Flower it would be its port.
    """
    if os.environ.get("FLOWER_PORT", "").startswith(("tcp://", "udp://")):
        del os.environ["FLOWER_PORT"]


def _find_logins(given: FlowerChoices, options: Any) -> Logins | None:
    pairs = read_logins(given.logins) if given.logins else ()
    pairs += tuple(
        check_login(each, "what FLOWER_BASIC_AUTH says")
        for each in options.basic_auth or ()
    )
    # Flower looks at it, too: to some of what it answers it adds its own questions
    options.basic_auth = list(pairs)
    return Logins(pairs) if pairs else None


def _check(given: FlowerChoices, options: Any, logins: Logins | None) -> None:
    has_doors = logins is not None or bool(options.auth)
    if has_doors and given.is_unauthenticated:
        raise SettingsError("logins are given, and --unauthenticated, which needs none")
    if not has_doors and not given.is_unauthenticated:
        raise SettingsError(
            "Flower lets nobody in without a login: write user:password into a file,"
            " and name it by --logins or PLANS_FLOWER_LOGINS_FILE; --unauthenticated"
            " lets in all who can reach this machine's loopback"
        )
    if not has_doors and (options.unix_socket or not is_loopback(options.address)):
        raise SettingsError(
            "--unauthenticated is for the loopback alone; leave out the address, or"
            " give logins"
        )
    if logins is not None and options.auth:
        raise SettingsError(
            "FLOWER_AUTH lets in who logs in elsewhere, and no browser can show that"
            " and a login of ours; leave out FLOWER_AUTH, or --logins,"
            " PLANS_FLOWER_LOGINS_FILE and FLOWER_BASIC_AUTH"
        )
    if options.auth and not validate_auth_option(options.auth):
        raise SettingsError("FLOWER_AUTH is no pattern of addresses that Flower takes")
    if bool(options.certfile) != bool(options.keyfile):
        raise SettingsError("FLOWER_CERTFILE and FLOWER_KEYFILE need each other")
