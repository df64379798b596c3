"""Whether what goes to a server can be read, or answered, by somebody in between.

Judged by the URL alone: a server on this machine may be spoken to in the clear, any
other one only under TLS, or where its host was allowed by name. Promises: no word of a
URL but its host is part of an error. It must not know what the servers are for, and
asks no name server.
"""

import ipaddress
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote

from .errors import SettingsError

_SEVERAL = re.compile(r";(?=[\w+]+://)")
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
_CLEAR_BROKERS = frozenset({"redis", "amqp", "pyamqp", "librabbitmq", "sentinel"})
_ENCRYPTED_MODES = frozenset({"require", "verify-ca", "verify-full"})
_FIXES = {
    "redis": "write rediss://",
    "sentinel": "write rediss:// and name the server itself",
    "postgresql": "add ?sslmode=verify-full",
}


def refuse_plaintext(variable: str, urls: str, allowed: Collection[str]) -> None:
    """Raise SettingsError where `variable` names a foreign server without TLS.

    `urls` may be several, with `;` between them; hosts that are `allowed` may be
    spoken to in the clear.
    """
    for url in urls.split(";"):
        scheme, hosts = _find_clear_hosts(url)
        for host in hosts:
            if not _is_here(host) and host not in allowed:
                raise SettingsError(_write_refusal(variable, scheme, host))


def _write_refusal(variable: str, scheme: str, host: str) -> str:
    # what is no name of a host may be a part of the password
    shown = host if _HOST.fullmatch(host) else "HOST"
    return (
        f"{variable} sends passwords and data to {shown} in the clear:"
        f" {_FIXES.get(scheme, 'write amqps://')}, and name the authority in"
        " PLANS_TLS_CA if it is one of your own; or allow it, in a network of your own,"
        f" by PLANS_PLAINTEXT_HOSTS={shown}"
    )


def demand_proof(urls: str, authorities: Path | None) -> str:
    """Return `urls` so that their servers must prove who they are, if those are of TLS.

    By a certificate for its host's name, from the `authorities` in that file, or else
    from those that the library trusts. What a URL says about that itself stays. They
    may be several, with `;` between them: each is asked by what it says alone.
    """
    return ";".join(_demand_proof(url, authorities) for url in _SEVERAL.split(urls))


def _demand_proof(url: str, authorities: Path | None) -> str:
    scheme = _read_scheme(url)
    said = parse_qs(url.partition("?")[2])
    if scheme == "rediss":
        # Celery's own default is to believe everybody
        wanted = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
        if said.get("ssl_cert_reqs", ["required"])[0].lower().endswith("none"):
            return url
        if authorities is not None:
            wanted["ssl_ca_certs"] = str(authorities)
        return _add(url, said, wanted)
    if scheme != "postgresql" or authorities is None:
        return url
    if all(map(_is_here, _find_database_hosts(url))) and "sslmode" not in said:
        return url
    return _add(url, said, {"sslmode": "verify-full", "sslrootcert": str(authorities)})


def _add(url: str, said: Collection[str], wanted: dict[str, str]) -> str:
    missing = "&".join(
        f"{name}={quote(value, safe='/')}"
        for name, value in wanted.items()
        if name not in said
    )
    if not missing:
        return url
    return f"{url}{'&' if '?' in url else '?'}{missing}"


def _read_scheme(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    return "postgresql" if scheme.startswith("postgresql") else scheme


def _find_clear_hosts(url: str) -> tuple[str, tuple[str, ...]]:
    scheme = _read_scheme(url)
    if scheme == "postgresql":
        mode = parse_qs(url.partition("?")[2]).get("sslmode", [""])[-1]
        hosts = () if mode in _ENCRYPTED_MODES else tuple(_find_database_hosts(url))
    elif scheme in _CLEAR_BROKERS:
        hosts = tuple(_list_hosts(url))
    else:
        hosts = ()
    return scheme, hosts


def _find_database_hosts(url: str) -> Iterator[str]:
    """Yield the hosts that libpq would connect to: those of the query go first."""
    said = parse_qs(url.partition("?")[2])
    named = said.get("hostaddr") or said.get("host")
    if named:
        yield from named[-1].split(",")
    else:
        yield from _list_hosts(url)


def _list_hosts(url: str) -> Iterator[str]:
    # not read as a URL: an error about one that is malformed would quote the password
    address = url.partition("://")[2].partition("?")[0].rpartition("@")[2]
    for place in address.partition("/")[0].split(","):
        if place.startswith("["):
            yield place[1:].partition("]")[0]
        else:
            yield place.partition(":")[0]


def _is_here(host: str) -> bool:
    """Whether this is a socket's folder, nothing at all, or this very machine."""
    if not host or host.startswith(("/", "@", "%2F", "%2f")):
        return True
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
