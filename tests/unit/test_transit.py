"""What may be sent in the clear, and to whom; how servers prove who they are."""

from pathlib import Path

import pytest

from execution.errors import SettingsError
from execution.settings import Settings

SECRET = "s3cret"  # noqa: S105  # not one that opens anything


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
        ("PLANS_BROKER_URL", "sqs://a:b@"),
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
        ("PLANS_DATABASE_URL", "postgresql://::1,db/x", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql://localhost:1,db:2/x", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql:///x?host=/run,db", "db", "sslmode="),
        ("PLANS_DATABASE_URL", "postgresql:///x?hostaddr=10.0.0.7", "10.0.0.7", "ssl"),
        ("PLANS_BROKER_URL", "redis://u:s3@cret@cache:1/0", "cache", "rediss://"),
        ("PLANS_BROKER_URL", "redis://[fe80::7]:1/0", "fe80::7", "rediss://"),
        ("PLANS_BROKER_URL", "amqp://u:s3cret@rabbit//", "rabbit", "amqps://"),
        ("PLANS_BROKER_URL", "amqps://a//;amqp://b//", "b", "amqps://"),
        ("PLANS_BROKER_URL", "sentinel://s1:26379", "s1", "rediss://"),
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
            "PLANS_PLAINTEXT_HOSTS": "db",
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
