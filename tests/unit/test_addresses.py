"""The hosts that are judged are those that the libraries connect to."""

from collections.abc import Iterator, Mapping

from hypothesis import given
from hypothesis import strategies as st
from kombu.connection import Connection
from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn
from redis.connection import parse_url
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from execution.addresses import read_brokers, read_database, read_redis
from execution.errors import SettingsError

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]  # SQLAlchemy ships no type of it
_SIGNS = [*"ab1:/@?&#,;+%[]=\\\t", "//"]
_HOSTS = ["localhost", "db", "127.0.0.1", "::1", "/run"]
_ESCAPED = ["%40", "%2F", "%2C", "%3A", "%61", "%5B"]
_WORDS = ["host=", "hostaddr=", "&host=", "?host=", "host=b", "//localhost:1/d"]
_TEXTS = st.lists(
    st.sampled_from([*_SIGNS, *_HOSTS, *_ESCAPED, *_WORDS]), max_size=12
).map("".join)
"""What has every sign in it that divides a URL, at every place."""


def list_goals(named: Mapping[str, object]) -> Iterator[str]:
    """Yield what libpq connects to for such parameters: numbers, or else names."""
    names = str(named.get("host") or "").split(",")
    numbers = str(named.get("hostaddr") or "").split(",")
    if numbers == [""]:
        numbers = [""] * len(names)
    if names == [""]:
        names = [""] * len(numbers)
    if len(names) == len(numbers):
        yield from (numbers[i] or name for i, name in enumerate(names))


def read_by_libpq(url: str) -> list[str]:
    try:
        return list(list_goals(parse_dsn(url)))
    except (ProgrammingError, ValueError, UnicodeError):
        return []


def read_by_sqlalchemy(url: str) -> list[str]:
    try:
        said = make_url(url.replace("postgresql:", "postgresql+psycopg2:", 1))
        _, named = _DIALECT.create_connect_args(said)  # type: ignore[no-untyped-call]  # it ships no type of it
    except (ArgumentError, ValueError):
        return []
    return list(list_goals(named))


@given(_TEXTS)
def test_a_database_is_where_libpq_and_sqlalchemy_go(text: str) -> None:
    url = f"postgresql://{text}"
    try:
        address = read_database("URL", url, {})
    except SettingsError:
        return

    for host in [*read_by_libpq(url), *read_by_sqlalchemy(url)]:
        # the folder of a socket is no name to the one that does not decode it
        assert host in address.hosts or host.startswith(("%2F", "%40"))


@given(_TEXTS)
def test_a_redis_is_where_the_library_goes(text: str) -> None:
    url = f"redis://{text}"
    try:
        address = read_redis("URL", url)
    except SettingsError:
        return

    goal = parse_url(url)  # type: ignore[no-untyped-call]  # redis-py ships no type of it
    assert address.hosts == (goal.get("host", ""),)


@given(
    st.lists(
        st.tuples(st.sampled_from(["amqp://", "redis://", "pyamqp://", ""]), _TEXTS),
        min_size=1,
        max_size=3,
    )
)
def test_a_broker_is_where_kombu_goes(parts: list[tuple[str, str]]) -> None:
    urls = ";".join(f"{scheme}{text}" for scheme, text in parts)
    try:
        hosts = {h for each in read_brokers("URLS", urls) for h in each.hosts}
    except SettingsError:
        return

    assert set(read_by_kombu(urls)) <= {*hosts, "", "localhost"}


def read_by_kombu(urls: str) -> Iterator[str]:
    """Yield the hosts of a connection that is never made, and of those after it."""
    try:
        connection = Connection(urls)  # type: ignore[no-untyped-call]  # kombu ships no types
    except (TypeError, ValueError):
        # a parameter that there is none of
        return
    yield connection.hostname or ""
    for url in connection.alt:
        try:
            connection.switch(url)  # type: ignore[no-untyped-call]  # the same
        except (TypeError, ValueError):
            continue
        yield connection.hostname or ""
