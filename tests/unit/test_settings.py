"""Settings from an environment: each variable, its limits, and what is refused."""

from pathlib import Path

import pytest

from execution.errors import SettingsError
from execution.settings import CatalogueCheck, Settings

SECRET = "s3cret"  # noqa: S105  # not one that opens anything


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        (
            "PLANS_DATABASE_URL",
            "postgresql+psycopg2://a@h/db",
            "database_url",
            "postgresql+psycopg2://a@h/db",
        ),
        (
            "PLANS_DATABASE_URL",
            "postgresql://a@h/db",
            "database_url",
            "postgresql://a@h/db",
        ),
        ("PLANS_BROKER_URL", "amqp://h//", "broker_url", "amqp://h//"),
        ("PLANS_REDIS_URL", "redis://h/0", "redis_url", "redis://h/0"),
        ("PLANS_REDIS_URL", "rediss://h/0", "redis_url", "rediss://h/0"),
        ("PLANS_REDIS_URL", "unix:///s.sock", "redis_url", "unix:///s.sock"),
        ("PLANS_SCHEMA", "plans_2", "schema", "plans_2"),
        ("PLANS_SCHEMA", "_" * 63, "schema", "_" * 63),
        ("PLANS_IMPORTS", "a, b.c\td,,e ", "imports", ("a", "b.c", "d", "e")),
        ("PLANS_IMPORTS", " , ", "imports", ()),
        ("PLANS_HOME", "/var/plans", "home", Path("/var/plans")),
        ("PLANS_QUEUE", "cpu", "queue", "cpu"),
        ("PLANS_SECRETS_DIR", "/run/secrets", "secrets_dir", Path("/run/secrets")),
        ("PLANS_PAYLOADS", "s3://bucket/plans", "payloads", "s3://bucket/plans"),
        ("PLANS_PAYLOADS", "/large", "payloads", "/large"),
        ("PLANS_PAYLOADS", "large", "payloads", str(Path("large").absolute())),
        ("PLANS_PAYLOADS", "a::b://c", "payloads", "a::b://c"),
        ("PLANS_SECRET_RESOLVER", "a.b:c", "secret_resolver", "a.b:c"),
        ("PLANS_LEASE_SECONDS", "1", "lease_seconds", 1.0),
        ("PLANS_LEASE_SECONDS", "3600", "lease_seconds", 3600.0),
        ("PLANS_LEASE_SECONDS", "2.5", "lease_seconds", 2.5),
        ("PLANS_CHECK", "strict", "check", CatalogueCheck.STRICT),
        ("PLANS_CHECK", "Off", "check", CatalogueCheck.OFF),
        *(("PLANS_LOCAL", word, "local", True) for word in ("1", "true", "Yes", "ON")),
        *(
            ("PLANS_LOCAL", word, "local", False)
            for word in ("0", "False", "no", "off")
        ),
    ],
)
def test_each_variable_is_read(
    variable: str, text: str, field: str, value: object
) -> None:
    settings = Settings.from_environment({variable: text})

    assert getattr(settings, field) == value


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize("field", sorted(Settings.__dataclass_fields__))
def test_an_empty_variable_counts_as_missing(field: str) -> None:
    environment = {f"PLANS_{field.upper()}": ""}

    assert Settings.from_environment(environment) == Settings()


def test_the_process_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PLANS_QUEUE", "from_the_process")

    assert Settings.from_environment().queue == "from_the_process"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PLANS_DATABASE_URI", "PLANS_DATABASE_URL"),
        ("PLANS_DATABASEURL", "PLANS_DATABASE_URL"),
        ("PLANS_IMPORT", "PLANS_IMPORTS"),
        ("PLANS_LEASE_SECOND", "PLANS_LEASE_SECONDS"),
        ("PLANS_QUEUES", "PLANS_QUEUE"),
        ("PLANS_SHEMA", "PLANS_SCHEMA"),
        ("PLANS_BROKERURL", "PLANS_BROKER_URL"),
    ],
)
def test_a_near_miss_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({name: "x"})

    assert str(refusal.value) == f"{name} is not a setting; did you mean {meant}?"


@pytest.mark.parametrize(
    "name",
    [
        "PLANS_WORKER_BOARD",  # ours, for our own children
        "PLANS_FAULT",  # what arms a crash point
        "PLANS_OF_ANOTHER_PROGRAM",
        "PLANS_SECRET_DSN",  # what authors of plans call a secret
        "PLANS_SECRET_SOLVER",
        "DATABASE_URL",
        "CELERY_BROKER_URL",
        "plans_queue",
    ],
)
def test_a_foreign_variable_is_left_alone(name: str) -> None:
    assert Settings.from_environment({name: "x"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PLANS_DATABASE_URL", "mysql://h/db"),
        ("PLANS_DATABASE_URL", "postgresql+asyncpg://h/db"),
        ("PLANS_DATABASE_URL", "host=h dbname=db"),
        ("PLANS_REDIS_URL", "http://h"),
        ("PLANS_REDIS_URL", "redis+socket:///s"),
        ("PLANS_SCHEMA", "Plans"),
        ("PLANS_SCHEMA", "2plans"),
        ("PLANS_SCHEMA", 'plans"; DROP TABLE x; --'),
        ("PLANS_SCHEMA", "plans\n"),
        ("PLANS_SCHEMA", "_" * 64),
        ("PLANS_SECRET_RESOLVER", "a.b"),
        ("PLANS_SECRET_RESOLVER", "a:b.c"),
        ("PLANS_LOCAL", "maybe"),
        ("PLANS_RIDE", "maybe"),
        ("PLANS_CHECK", "maybe"),
        ("PLANS_LEASE_SECONDS", "soon"),
        ("PLANS_LEASE_SECONDS", "0.99"),
        ("PLANS_LEASE_SECONDS", "3601"),
        ("PLANS_LEASE_SECONDS", "-30"),
        ("PLANS_LEASE_SECONDS", "nan"),
        ("PLANS_LEASE_SECONDS", "inf"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(variable: str, text: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        Settings.from_environment({variable: text})


@pytest.mark.parametrize("field", ["database_url", "broker_url", "redis_url"])
def test_urls_stay_out_of_the_representation(field: str) -> None:
    settings = Settings(**{field: f"redis://user:{SECRET}@h"})  # type: ignore[arg-type]  # each is a text

    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("PLANS_DATABASE_URL", f"mysql://user:{SECRET}@h/db"),
        ("PLANS_REDIS_URL", f"http://user:{SECRET}@h"),
    ],
)
def test_a_refused_url_is_not_repeated(variable: str, url: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({variable: url})

    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(
    ("broker", "redis", "carrier"),
    [
        (None, None, None),
        ("redis://b", None, "redis://b"),
        ("rediss://b", None, "rediss://b"),
        ("unix://b", None, "unix://b"),
        ("amqp://b", None, None),
        ("amqp://b", "redis://r", "redis://r"),
        ("redis://b", "redis://r", "redis://r"),
    ],
)
def test_events_travel_over_a_redis(
    broker: str | None, redis: str | None, carrier: str | None
) -> None:
    settings = Settings(broker_url=broker, redis_url=redis)

    assert settings.events_url == carrier


def test_the_times_follow_from_the_lease() -> None:
    settings = Settings(lease_seconds=30)

    assert (settings.beat_seconds, settings.tick_seconds) == (5, 2.5)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().queue = "other"  # type: ignore[misc]  # what must not work
