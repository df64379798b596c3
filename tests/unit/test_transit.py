"""What may be sent in the clear, and to whom; how servers prove who they are."""

from pathlib import Path

import pytest

from execution.errors import SettingsError
from execution.settings import Settings

LIBPQ = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE")


@pytest.fixture(autouse=True)
def no_words_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine tells libpq."""
    for name in LIBPQ:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("PLANS_DATABASE_URL", "postgresql:///plans"),
        ("PLANS_DATABASE_URL", "postgresql://a@localhost/plans"),
        ("PLANS_DATABASE_URL", "postgresql://a@127.0.0.2:5432/plans"),
        ("PLANS_DATABASE_URL", "postgresql://a@[::1]:5432/plans"),
        ("PLANS_DATABASE_URL", "postgresql://a@/plans?host=/run/postgresql"),
        ("PLANS_DATABASE_URL", "postgresql://a@%2Frun%2Fpostgresql/plans"),
        ("PLANS_DATABASE_URL", "postgresql://a@db/plans?sslmode=verify-full"),
        ("PLANS_DATABASE_URL", "postgresql+psycopg2://a@db/plans?sslmode=require"),
        ("PLANS_DATABASE_URL", "postgresql://db/plans?host=127.0.0.1"),
        ("PLANS_BROKER_URL", "redis://localhost"),
        ("PLANS_BROKER_URL", "redis://:p%2Fw@LOCALHOST:6379/0"),
        ("PLANS_BROKER_URL", "redis+socket:///run/valkey.sock?virtual_host=0"),
        ("PLANS_BROKER_URL", "rediss://cache:6379/0"),
        ("PLANS_BROKER_URL", "amqps://a:b@rabbit//"),
        ("PLANS_BROKER_URL", "amqp://"),
        ("PLANS_BROKER_URL", "amqps://a//;amqps://b//;"),
        ("PLANS_BROKER_URL", "redis://u:s3@cret@localhost/0"),
        # of messages that stay here, or go to Amazon under TLS
        ("PLANS_BROKER_URL", "sqs://a:b@"),
        ("PLANS_BROKER_URL", "memory://"),
        ("PLANS_BROKER_URL", "filesystem://"),
        ("PLANS_BROKER_URL", "sqla+sqlite:////var/broker.sqlite"),
        ("PLANS_BROKER_URL", "mongodb://localhost:27017/plans"),
        ("PLANS_REDIS_URL", "redis:///0?host=127.0.0.1"),
        ("PLANS_PAYLOADS", "/srv/payloads"),
        ("PLANS_PAYLOADS", "file:///srv/payloads"),
        ("PLANS_PAYLOADS", "memory://payloads"),
        ("PLANS_PAYLOADS", "s3://plans/large"),
        ("PLANS_PAYLOADS", "sftp://store/large"),
        ("PLANS_PAYLOADS", "ftp://u:s3cret@localhost/large"),
        ("PLANS_REDIS_URL", "unix:///run/valkey.sock"),
    ],
)
def test_what_stays_here_or_is_encrypted_passes(variable: str, url: str) -> None:
    Settings.from_environment({variable: url})


@pytest.mark.parametrize(
    ("variable", "url", "host", "fix"),
    [
        ("PLANS_DATABASE_URL", "postgresql://a:s3cret@db/x", "db", "sslmode=verify"),
        ("PLANS_DATABASE_URL", "postgresql://db/x?sslmode=prefer", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql://[::1]:1,db/x", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql://localhost:1,db:2/x", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql:///x?host=/run,db", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql:///x?hostaddr=10.0.0.7", "10.0.0.7", "ssl"),
        ("PLANS_DATABASE_URL", "postgresql://localhost/x?hostaddr=::2", "::2", "ssl"),
        # a number that is left out is looked up by its name
        (
            "PLANS_DATABASE_URL",
            "postgresql:///x?host=db,localhost&hostaddr=,127.0.0.1",
            "db",
            "sslmode=",
        ),
        (
            "PLANS_DATABASE_URL",
            "postgresql:///x?host=localhost,db&hostaddr=127.0.0.1",
            "db",
            "sslmode=",
        ),
        ("PLANS_BROKER_URL", "redis://u:s3@cret@cache:1/0", "cache", "rediss://"),
        ("PLANS_BROKER_URL", "redis://[fe80::7]:1/0", "fe80::7", "rediss://"),
        ("PLANS_BROKER_URL", "amqp://u:s3cret@rabbit//", "rabbit", "amqps://"),
        ("PLANS_BROKER_URL", "amqps://a//;amqp://b//", "b", "amqps://"),
        ("PLANS_BROKER_URL", "sentinel://s1:26379", "s1", "rediss://"),
        ("PLANS_BROKER_URL", "mongodb://localhost,b/x", "b", "no TLS is known"),
        ("PLANS_BROKER_URL", "sqs://a:s3cret@queues:80", "queues", "no TLS is known"),
        ("PLANS_BROKER_URL", "kafka://u:s3cret@k/", "k", "no TLS is known"),
        # whose query may name another host
        (
            "PLANS_BROKER_URL",
            "sqla+mysql://localhost/x?host=b",
            "localhost",
            "no TLS is known",
        ),
        ("PLANS_REDIS_URL", "redis:///0?host=cache", "cache", "rediss://"),
        ("PLANS_PAYLOADS", "http://store/large", "store", "write https://"),
        ("PLANS_PAYLOADS", "ftp://u:s3cret@store/large", "store", "write sftp://"),
        ("PLANS_PAYLOADS", "simplecache::http://store/x", "store", "write https://"),
        ("PLANS_REDIS_URL", "redis://:s3cret@cache/0", "cache", "rediss://"),
        ("PLANS_REDIS_URL", "redis://localhost.evil/0", "localhost.evil", "rediss://"),
    ],
)
def test_plaintext_to_another_host_is_refused_with_both_fixes(
    variable: str, url: str, host: str, fix: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: url})

    said = str(refusal.value)
    assert f"{variable} sends passwords and data to {host} in the clear" in said
    assert fix in said
    assert said.endswith(f"PLANS_PLAINTEXT_HOSTS={host}")
    assert "s3" not in said


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        # libpq goes to the first host, and who reads the last @ to the second
        ("PLANS_DATABASE_URL", "postgresql://u:s3cret@db/d@localhost"),
        ("PLANS_DATABASE_URL", "postgresql://u:s3@cret@localhost/d"),
        ("PLANS_DATABASE_URL", "postgresql://u:s3/cret@localhost/d"),
        ("PLANS_DATABASE_URL", "postgresql://localhost:s3?cret@db/d"),
        # libpq stays here, and SQLAlchemy goes to the second host
        ("PLANS_DATABASE_URL", "postgresql://localhost:5432/d@db"),
        ("PLANS_DATABASE_URL", "postgresql://u@localhost?application_name=s3@db"),
        ("PLANS_DATABASE_URL", "postgresql://%6cocalhost/d"),
        ("PLANS_DATABASE_URL", "postgresql://localhost%2Cdb/d"),
        ("PLANS_DATABASE_URL", "postgresql:///d?x=1\n&host=db"),
        ("PLANS_DATABASE_URL", "postgresql://::1,db/x"),
        ("PLANS_DATABASE_URL", "postgresql://[]/x"),
        ("PLANS_DATABASE_URL", "postgresql:///d?host=s3cret:5432"),
        ("PLANS_BROKER_URL", "redis://:0/s3cret@cache/0"),
        ("PLANS_BROKER_URL", "amqp://localhost#s3cret@rabbit//"),
        ("PLANS_BROKER_URL", "amqp://u:s3cret@rab%2Fbit//"),
        ("PLANS_BROKER_URL", "amqp://[rabbit//"),
        ("PLANS_REDIS_URL", "redis://local\thost/0"),
        ("PLANS_REDIS_URL", "redis:///0?host=s3:1"),
        ("PLANS_PAYLOADS", "ftp://u:s3/cret@store/large"),
    ],
)
def test_a_host_that_cannot_be_told_from_a_password_is_refused(
    variable: str, url: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: url})

    said = str(refusal.value)
    assert said.startswith(f"{variable} does not say clearly which host it means")
    assert "%40 for @" in said
    assert "s3" not in said


@pytest.mark.parametrize("key", ["host", "hostaddr", "sslmode", "service"])
@pytest.mark.parametrize("query", ["{0}=", "{0}=localhost&{0}=db"])
def test_what_libraries_read_differently_is_said_once(key: str, query: str) -> None:
    url = f"postgresql:///d?{query.format(key)}"

    with pytest.raises(SettingsError, match=f"must say {key}= once, and with a value"):
        Settings.from_environment({"PLANS_DATABASE_URL": url})


@pytest.mark.parametrize(
    "url", ["rabbit.example.com", "a:s3cret@rabbit", "amqps://u;s3cret@rabbit//"]
)
def test_a_broker_without_a_scheme_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="does not begin with a scheme") as refusal:
        Settings.from_environment({"PLANS_BROKER_URL": url})

    assert "write amqps://HOST or rediss://HOST" in str(refusal.value)
    assert "s3" not in str(refusal.value)


@pytest.mark.parametrize("url", ["kafka://", "azureservicebus://u:s3cret@", "x://,b"])
def test_a_broker_of_which_nothing_is_known_must_name_its_host(url: str) -> None:
    with pytest.raises(SettingsError, match="names no host") as refusal:
        Settings.from_environment({"PLANS_BROKER_URL": url})

    assert "s3" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "told", "host"),
    [
        ("postgresql:///x", {"PGHOST": "db"}, "db"),
        ("postgresql://:5432/x", {"PGHOST": "localhost,db"}, "db"),
        ("postgresql:///x", {"PGHOSTADDR": "10.0.0.7"}, "10.0.0.7"),
        ("postgresql://localhost/x", {"PGHOSTADDR": "10.0.0.7"}, "10.0.0.7"),
    ],
)
def test_what_libpq_is_told_elsewhere_is_judged(
    monkeypatch: pytest.MonkeyPatch, url: str, told: dict[str, str], host: str
) -> None:
    ((name, value),) = told.items()
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"PLANS_DATABASE_URL with {name}") as why:
        Settings.from_environment({"PLANS_DATABASE_URL": url})

    assert f"to {host} in the clear" in str(why.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql:///x", {"PGHOST": "/run/postgresql"}),
        ("postgresql:///x", {"PGHOST": ""}),
        ("postgresql:///x", {"PGHOST": "db", "PGSSLMODE": "verify-full"}),
        ("postgresql://localhost/x", {"PGHOST": "db"}),
        ("postgresql://db/x", {"PGHOSTADDR": "127.0.0.1"}),
        ("postgresql://db/x", {"PGSSLMODE": "require"}),
        ("postgresql:///x?service=s&sslmode=verify-full", {}),
        ("postgresql:///x?sslmode=verify-full", {"PGSERVICE": "s"}),
    ],
)
def test_what_libpq_is_told_elsewhere_may_keep_data_here_or_encrypt_it(
    monkeypatch: pytest.MonkeyPatch, url: str, told: dict[str, str]
) -> None:
    for name, value in told.items():
        monkeypatch.setenv(name, value)

    Settings.from_environment({"PLANS_DATABASE_URL": url})


def test_a_url_that_says_prefer_is_not_encrypted_by_what_libpq_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "verify-full")

    with pytest.raises(SettingsError, match="to db in the clear"):
        Settings.from_environment(
            {"PLANS_DATABASE_URL": "postgresql://db/x?sslmode=prefer"}
        )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql:///x?service=s3cret", None),
        ("postgresql://localhost/x?service=s3cret", None),
        ("postgresql://localhost/x", "PGSERVICE"),
    ],
)
def test_a_service_of_libpq_is_not_judged_but_refused(
    monkeypatch: pytest.MonkeyPatch, url: str, told: str | None
) -> None:
    # which a service would overrule
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    if told:
        monkeypatch.setenv(told, "s3cret")

    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({"PLANS_DATABASE_URL": url})

    said = str(refusal.value)
    assert f"for {told or 'service'} names a service of libpq's" in said
    assert "write its host into the URL, or add ?sslmode=verify-full" in said
    assert "s3" not in said


def test_authorities_encrypt_what_a_service_leaves_open(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.touch()

    settings = Settings.from_environment(
        {
            "PLANS_TLS_CA": str(authorities),
            "PLANS_DATABASE_URL": "postgresql:///x?service=s",
        }
    )

    assert settings.database_url == (
        f"postgresql:///x?service=s&sslmode=verify-full&sslrootcert={authorities}"
    )


def test_a_semicolon_in_a_password_of_a_database_ends_nothing() -> None:
    url = "postgresql://localhost:s3;cret@db/x"

    with pytest.raises(SettingsError, match="to db in the clear"):
        Settings.from_environment({"PLANS_DATABASE_URL": url})


def test_hints_go_through_the_first_of_several_brokers() -> None:
    urls = "redis://localhost/1;redis://127.0.0.1/2"

    settings = Settings.from_environment({"PLANS_BROKER_URL": urls})

    assert settings.events_url == "redis://localhost/1"


def test_a_host_that_is_allowed_by_name_is_spoken_to_in_the_clear() -> None:
    given = {
        "PLANS_DATABASE_URL": "postgresql://a@db/x",
        "PLANS_BROKER_URL": "redis://cache:6379/0",
        "PLANS_PLAINTEXT_HOSTS": "db, cache",
    }

    settings = Settings.from_environment(given)

    assert settings.broker_url == "redis://cache:6379/0"
    with pytest.raises(SettingsError, match="to cache in the clear"):
        Settings.from_environment({**given, "PLANS_PLAINTEXT_HOSTS": "db"})


@pytest.mark.parametrize(
    ("url", "becomes"),
    [
        ("rediss://h", "rediss://h?ssl_cert_reqs=required&ssl_check_hostname=true"),
        (
            "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/my.pem",
            "rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/my.pem&ssl_check_hostname=true",
        ),
        ("rediss://h?ssl_cert_reqs=none", "rediss://h?ssl_cert_reqs=none"),
        ("redis://localhost", "redis://localhost"),
        # kombu asks the first by what the first says
        (
            "rediss://a;rediss://b",
            (
                "rediss://a?ssl_cert_reqs=required&ssl_check_hostname=true"
                ";rediss://b?ssl_cert_reqs=required&ssl_check_hostname=true"
            ),
        ),
    ],
)
def test_redis_under_tls_must_prove_who_it_is(url: str, becomes: str) -> None:
    settings = Settings.from_environment({"PLANS_BROKER_URL": url})

    assert settings.broker_url == becomes


def test_one_file_of_authorities_is_for_all_servers(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.touch()

    settings = Settings.from_environment(
        {
            "PLANS_TLS_CA": str(authorities),
            "PLANS_DATABASE_URL": "postgresql://db/x?connect_timeout=3",
            "PLANS_BROKER_URL": "rediss://cache/0",
            "PLANS_REDIS_URL": "redis://127.0.0.1/0",
        }
    )

    assert settings.database_url == (
        f"postgresql://db/x?connect_timeout=3&sslmode=verify-full&sslrootcert={authorities}"
    )
    assert str(settings.broker_url).endswith(f"ssl_ca_certs={authorities}")
    assert settings.redis_url == "redis://127.0.0.1/0"


def test_a_database_here_needs_no_tls_unless_its_url_says_so(tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.touch()
    given = {"PLANS_TLS_CA": str(authorities)}

    plain = Settings.from_environment(
        {**given, "PLANS_DATABASE_URL": "postgresql:///x"}
    )
    proven = Settings.from_environment(
        {**given, "PLANS_DATABASE_URL": "postgresql://127.0.0.1/x?sslmode=verify-ca"}
    )

    assert plain.database_url == "postgresql:///x"
    assert str(proven.database_url).endswith(
        f"?sslmode=verify-ca&sslrootcert={authorities}"
    )


def test_authorities_that_are_nowhere_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"PLANS_TLS_CA='/no\.pem' is not a file"):
        Settings.from_environment({"PLANS_TLS_CA": "/no.pem"})
