"""Whether what goes to a server can be read, or answered, by somebody in between.

Judged by where a URL leads (see `addresses`): a server on this machine may be spoken to
in the clear, any other one only under TLS, or where its host was allowed by name.
Promises: no word of a URL but its host is part of an error. It must not know what the
servers are for, and asks no name server.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote

from .addresses import (
    Address,
    read_brokers,
    read_database,
    read_redis,
    read_scheme,
    read_stores,
)
from .errors import SettingsError

_AUTHORITY = ", and name the authority in PLANS_TLS_CA if it is one of your own"
_FIXES = {
    "postgresql": f"add ?sslmode=verify-full{_AUTHORITY}",
    "redis": f"write rediss://{_AUTHORITY}",
    "sentinel": f"write rediss:// and name the server itself{_AUTHORITY}",
    "amqp": f"write amqps://{_AUTHORITY}",
    "pyamqp": f"write amqps://{_AUTHORITY}",
    "librabbitmq": f"write amqps://{_AUTHORITY}",
    "http": "write https://",
    "ftp": "write sftp://",
}
_OTHER_FIX = "no TLS is known of its scheme, so take another"


@dataclass(frozen=True)
class Transit:
    """What an installation has decided of the ways to its servers.

    `allowed` are the hosts beside this machine that may be spoken to in the clear,
    `authorities` a file with those who certify servers; without it, each library
    believes whom it believes. `environment` is where libpq finds its own variables.
    """

    allowed: Collection[str]
    authorities: Path | None
    environment: Mapping[str, str]

    def secure_database(self, variable: str, url: str) -> str:
        """Return the URL of a PostgreSQL so that it must prove who it is.

        Raises SettingsError where it is a foreign one without TLS; so do the others.
        """
        proven = self._prove_database(variable, url)
        self._refuse(variable, [read_database(variable, proven, self.environment)])
        return proven

    def secure_redis(self, variable: str, url: str) -> str:
        """Return the URL of a Redis so that it must prove who it is."""
        self._refuse(variable, [read_redis(variable, url)])
        return self._prove_redis(url)

    def secure_brokers(self, variable: str, urls: str) -> str:
        """Return URLs, with `;` between them, so that these must prove who they are."""
        # each is asked by what it says alone
        self._refuse(variable, tuple(read_brokers(variable, urls)))
        return ";".join(map(self._prove_redis, urls.split(";")))

    def check_store(self, variable: str, url: str) -> None:
        """Raise SettingsError where large values go elsewhere in the clear."""
        self._refuse(variable, tuple(read_stores(variable, url)))

    def _refuse(self, variable: str, addresses: Iterable[Address]) -> None:
        for address in addresses:
            if address.is_encrypted:
                continue
            if address.said_by and not address.is_certain:
                raise SettingsError(_write_doubt(variable, address))
            for host in address.hosts:
                is_safe = address.is_certain and _is_here(host)
                if not is_safe and host not in self.allowed:
                    raise SettingsError(_write_refusal(variable, address, host))

    def _prove_redis(self, url: str) -> str:
        if read_scheme(url) != "rediss":
            return url
        said = parse_qs(url.partition("?")[2])
        # Celery's own default is to believe everybody
        wanted = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
        if said.get("ssl_cert_reqs", ["required"])[0].lower().endswith("none"):
            return url
        if self.authorities is not None:
            wanted["ssl_ca_certs"] = str(self.authorities)
        return _add(url, said, wanted)

    def _prove_database(self, variable: str, url: str) -> str:
        if self.authorities is None:
            return url
        address = read_database(variable, url, self.environment)
        said = parse_qs(url.partition("?")[2])
        is_here = address.is_certain and all(map(_is_here, address.hosts))
        if is_here and "sslmode" not in said:
            return url
        wanted = {"sslmode": "verify-full", "sslrootcert": str(self.authorities)}
        return _add(url, said, wanted)


def _write_doubt(variable: str, address: Address) -> str:
    return (
        f"{variable} may send passwords and data anywhere, for {address.said_by} names"
        " a service of libpq's, which is not read here: name no service and write its"
        " host into the URL, or add ?sslmode=verify-full"
    )


def _write_refusal(variable: str, address: Address, host: str) -> str:
    place = f"{variable} with {address.said_by}" if address.said_by else variable
    return (
        f"{place} sends passwords and data to {host} in the clear:"
        f" {_FIXES.get(address.scheme, _OTHER_FIX)}; or allow it, in a network of your"
        f" own, by PLANS_PLAINTEXT_HOSTS={host}"
    )


def _add(url: str, said: Collection[str], wanted: Mapping[str, str]) -> str:
    missing = "&".join(
        f"{name}={quote(value, safe='/')}"
        for name, value in wanted.items()
        if name not in said
    )
    if not missing:
        return url
    return f"{url}{'&' if '?' in url else '?'}{missing}"


def _is_here(host: str) -> bool:
    """Whether this is a socket's folder, nothing at all, or this very machine."""
    if not host or host.startswith(("/", "@")):
        return True
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
