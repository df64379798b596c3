"""Settings from an environment: each variable, its limits, and what is refused."""

import traceback
from pathlib import Path

import pytest

from execution.errors import SettingsError
from execution.observations import NO_CAPTURE, CaptureChoice
from execution.settings import CatalogueCheck, Settings

SECRET = "s3cret"  # noqa: S105  # not one that opens anything


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        (
            "PLANS_DATABASE_URL",
            "postgresql+psycopg2://a@localhost/db",
            "database_url",
            "postgresql+psycopg2://a@localhost/db",
        ),
        (
            "PLANS_DATABASE_URL",
            "postgresql://a@localhost/db",
            "database_url",
            "postgresql://a@localhost/db",
        ),
        ("PLANS_BROKER_URL", "amqp://localhost//", "broker_url", "amqp://localhost//"),
        ("PLANS_REDIS_URL", "redis://localhost/0", "redis_url", "redis://localhost/0"),
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
        ("PLANS_CAPTURE", "off", "capture", NO_CAPTURE),
        ("PLANS_CAPTURE", "output", "capture", CaptureChoice(None)),
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
        ("PLANS_BROKER_URL_FIEL", "PLANS_BROKER_URL_FILE"),
        ("PLANS_DATABASE_FILE", "PLANS_DATABASE_URL_FILE"),
        ("PLANS_SCHEMA_FILE", "PLANS_SCHEMA"),
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
        ("PLANS_CAPTURE", "loud"),
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
        ("PLANS_DATABASE_URL", f"mysql://user:{SECRET}@localhost/db"),
        ("PLANS_REDIS_URL", f"http://user:{SECRET}@h"),
        # what is special in a password makes a part of it the port
        ("PLANS_REDIS_URL", f"redis://:{SECRET}/x@localhost"),
        ("PLANS_BROKER_URL", f"amqp://ann:{SECRET}#x@localhost//"),
        ("PLANS_BROKER_URL", f"redis://localhost;redis://:{SECRET}?x@localhost/0"),
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


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("database_url", f"postgresql://a:{SECRET}@localhost/db"),
        ("broker_url", f"amqp://a:{SECRET}@localhost//"),
        ("redis_url", f"redis://:{SECRET}@localhost/0"),
        ("payloads", f"s3://a:{SECRET}@bucket"),
    ],
)
def test_what_may_hold_a_password_can_stand_in_a_file(
    tmp_path: Path, field: str, text: str
) -> None:
    file = tmp_path / "value"
    file.write_text(f"\n  {text} \n\n")

    settings = Settings.from_environment({f"PLANS_{field.upper()}_FILE": str(file)})

    assert settings == Settings(**{field: text})  # type: ignore[arg-type]  # each is a text
    assert SECRET not in repr(settings)


def test_a_value_and_a_file_with_one_are_refused_by_both_names(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text(f"redis://:{SECRET}@localhost/0")
    given = {"PLANS_REDIS_URL": "redis://localhost", "PLANS_REDIS_URL_FILE": str(file)}

    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment(given)

    assert str(refusal.value).startswith("PLANS_REDIS_URL and PLANS_REDIS_URL_FILE are")
    assert SECRET not in str(refusal.value)


def test_an_empty_name_of_a_file_counts_as_missing() -> None:
    given = {"PLANS_REDIS_URL": "redis://localhost", "PLANS_REDIS_URL_FILE": ""}

    assert Settings.from_environment(given).redis_url == "redis://localhost"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory; the file must be there"),
        (b" \n", "is empty; write the value into it"),
        (b"redis://:s3cret@h\xff", "is not a file of UTF-8 text"),
        (b"s3cret\nredis://h", "has more than one line"),
        (b"http://s3cret@h", "PLANS_REDIS_URL must start with"),
    ],
)
def test_a_file_without_a_value_is_refused_by_its_name(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    file = tmp_path / "value"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({"PLANS_REDIS_URL_FILE": str(file)})

    assert complaint in str(refusal.value)
    assert SECRET not in "".join(traceback.format_exception(refusal.value))
    if "must start" not in complaint:
        assert f"PLANS_REDIS_URL_FILE={str(file)!r}" in str(refusal.value)
