"""Which servers a URL leads to, read as the libraries read it that will connect.

libpq and SQLAlchemy read URLs of PostgreSQL by rules of their own, and differ; redis-py
and kombu read theirs as URLs of the web. Promises: the hosts are those that every such
library would speak to, or SettingsError says that they cannot be told; no word of a URL
but a host is part of an error. It must not know who may be spoken to.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from .errors import SettingsError

_SCHEME = re.compile(r"[a-z0-9+]+")
_HOST = re.compile(r"[\w.-]+")
_PLACE = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]*))(?::\d*)?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_ENCRYPTED_MODES = frozenset({"require", "verify-ca", "verify-full"})
_ONCE = ("host", "hostaddr", "sslmode", "service")
_LOCAL_BROKERS = frozenset(
    {"memory", "filesystem", "redis+socket", "rediss+socket"}
    | {"sqla+sqlite", "sqlalchemy+sqlite"}
)
# without a host these stay here, or go to Amazon under TLS
_CLEAR_BROKERS = frozenset({"amqp", "pyamqp", "librabbitmq", "sentinel", "sqs"})
_CLEAR_STORES = frozenset({"http", "ftp", "webhdfs", "hdfs", "arrow_hdfs", "smb"})


@dataclass(frozen=True)
class Address:
    """What one URL leads to: names, numbers, or the folders of sockets.

    An empty host is what the library takes where it is told none: this machine.
    """

    scheme: str
    hosts: tuple[str, ...] = ()
    is_encrypted: bool = False
    is_certain: bool = True
    """Whether nothing else may lead to another host."""
    said_by: str | None = None
    """What of libpq's names the host, or may do so, where the URL does not."""


def read_scheme(url: str) -> str:
    """Return how to speak to a server, in small letters."""
    return url.partition("://")[0].lower()


def read_database(variable: str, url: str, environment: Mapping[str, str]) -> Address:
    """Return where libpq goes with the URL of `variable`, and with its own variables.

    What the URL leaves open is in `environment`, as `PGHOST`. A service, which is in a
    file, may say anything that the URL does not say itself.
    """
    authority, said = _split_database(variable, url)
    names, by_name = _find(said, "host", authority, environment)
    numbers, by_number = _find(said, "hostaddr", "", environment)
    hosts = tuple(_pair(names.split(","), numbers.split(",") if numbers else []))
    for host in hosts:
        _demand_host(variable, host, may_be_socket=True)
    service = "service" if "service" in said else None
    if service is None and "PGSERVICE" in environment:
        service = "PGSERVICE"
    usual = "" if service else environment.get("PGSSLMODE", "")
    return Address(
        "postgresql",
        hosts,
        is_encrypted=said.get("sslmode", usual) in _ENCRYPTED_MODES,
        is_certain=service is None,
        said_by=service or by_number or by_name,
    )


def _find(
    said: Mapping[str, str], key: str, authority: str, environment: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return what libpq takes for a key, and its variable where that has said it."""
    if key in said or authority:
        return said.get(key, authority), None
    named = environment.get(f"PG{key.upper()}", "")
    return named, f"PG{key.upper()}" if named else None


def _pair(names: list[str], numbers: list[str]) -> Iterator[str]:
    """Yield what is connected to: of each server the number, or else the name."""
    if numbers and len(numbers) != len(names):
        # numbers alone, or libpq refuses
        yield from (*numbers, *filter(None, names))
        return
    for position, name in enumerate(names):
        yield (numbers[position] if numbers else "") or name


def _split_database(variable: str, url: str) -> tuple[str, dict[str, str]]:
    """Return the hosts before the path, with commas between them, and the query."""
    rest = url.partition("://")[2]
    whole, _, query = rest.partition("?")
    login, _, places = whole.partition("/")[0].rpartition("@")
    # libpq ends a login at the first @, SQLAlchemy at the last one that it can
    if _CONTROLS.search(url) or rest.count("@") > bool(login or rest.startswith("@")):
        raise _ambiguous(variable)
    said = parse_qs(query, keep_blank_values=True)
    for key in _ONCE:
        if key in said and (len(said[key]) > 1 or not said[key][0]):
            # each library takes another one
            raise SettingsError(f"{variable} must say {key}= once, and with a value")
    hosts = ",".join(_read_place(variable, place) for place in places.split(","))
    return hosts, {key: values[0] for key, values in said.items()}


def _read_place(variable: str, place: str) -> str:
    """Return the host of `host:port`; only the folder of a socket is escaped."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise _ambiguous(variable)
    written = found[1] or found[2] or ""
    host = unquote(written)
    if host != written and not host.startswith(("/", "@")):
        # libpq reads a name so, and SQLAlchemy does not
        raise _ambiguous(variable)
    return host


def read_redis(variable: str, url: str) -> Address:
    """Return where redis-py goes with the URL of `variable`."""
    scheme = read_scheme(url)
    if scheme == "unix":
        return Address(scheme)
    parts = _split(variable, url)
    host = _read_host(variable, parts)
    if not host:
        host = parse_qs(parts.query).get("host", [""])[0]
        _demand_host(variable, host)
    return Address(scheme, (host,), is_encrypted=scheme == "rediss")


def read_brokers(variable: str, urls: str) -> Iterator[Address]:
    """Yield where kombu goes with the URLs of `variable`, between which `;` stands."""
    for url in filter(None, urls.split(";")):
        scheme = read_scheme(url)
        if "://" not in url or not _SCHEME.fullmatch(scheme):
            raise SettingsError(
                f"{variable}, or a part of it after a ;, does not begin with a scheme:"
                " write amqps://HOST or rediss://HOST, and %3B for a ; in a password"
            )
        if scheme in _LOCAL_BROKERS:
            yield Address(scheme)
        elif scheme in {"redis", "rediss"}:
            yield read_redis(variable, url)
        else:
            yield _read_broker(variable, scheme, _split(variable, url))


def _read_broker(variable: str, scheme: str, parts: SplitResult) -> Address:
    if scheme == "amqps" or scheme in _CLEAR_BROKERS:
        host = _read_host(variable, parts)
        return Address(scheme, (host,), is_encrypted=scheme == "amqps")
    places = parts.netloc.rpartition("@")[2].split(",")
    hosts = tuple(_read_place(variable, place) for place in places)
    for host in hosts:
        _demand_host(variable, host, may_be_socket=True)
    if not all(hosts):
        raise SettingsError(
            f"{variable} names no host, and where messages go with {scheme}:// is not"
            " known: write the host, or amqps:// or rediss://"
        )
    # what such a library lets a query say is not known
    return Address(scheme, hosts, is_certain=not parts.query)


def read_stores(variable: str, url: str) -> Iterator[Address]:
    """Yield where fsspec goes in the clear with the URL of `variable`, or its chain."""
    for link in url.split("::"):
        if "://" in link and (scheme := read_scheme(link)) in _CLEAR_STORES:
            host = _read_host(variable, _split(variable, link))
            yield Address(scheme, (host,))


def _split(variable: str, url: str) -> SplitResult:
    """Return the parts of a URL, as those of the web have them."""
    parts = None if _CONTROLS.search(url) else _try_to_split(url)
    # an @ that is elsewhere was to end a password that has a / in it, or the like
    if parts is None or ("@" in url and "@" not in parts.netloc):
        raise _ambiguous(variable)
    return parts


def _try_to_split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(f"http://{url.partition('://')[2]}")
        _ = parts.port
    except ValueError:
        # which quotes what stands there, and that may be a part of a password
        return None
    return parts


def _read_host(variable: str, parts: SplitResult) -> str:
    host = unquote(parts.hostname or "")
    _demand_host(variable, host)
    return host


def _demand_host(variable: str, host: str, *, may_be_socket: bool = False) -> None:
    is_socket = may_be_socket and host.startswith(("/", "@"))
    if host and not (is_socket or _HOST.fullmatch(host) or _is_number(host)):
        raise _ambiguous(variable)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # which quotes what stands there, as well
        return False
    return True


def _ambiguous(variable: str) -> SettingsError:
    return SettingsError(
        f"{variable} does not say clearly which host it means: write what is special in"
        " a user, password, name or option as %40 for @, %2F for /, %3A for :, %3B for"
        " ;, %23 for # and %3F for ?, and a zone of IPv6 into ?host="
    )
