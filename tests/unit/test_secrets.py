"""Secrets: how they are named, where they are found, and what hides them again."""

import json
import logging
import urllib.parse
from pathlib import Path

import pytest

from execution.errors import PlanValidationError, SecretError, SettingsError
from execution.plan import Plan, Step
from execution.secrets import NO_SECRETS, SecretStore, StepSecrets, find_secret_fault
from execution.settings import Settings
from tests.unit.test_context import build_context, lines_of

VALUE = "s3cret-value"


def secrets_of(template: object, **values: str) -> StepSecrets:
    environment = {f"PLANS_SECRET_{name}": value for name, value in values.items()}
    return StepSecrets(template, SecretStore(environment))


def revealed(**values: str) -> StepSecrets:
    """Return secrets that an action has been given."""
    template = {name: f"secret://{name}" for name in values}
    secrets = secrets_of(template, **values)
    secrets.reveal(template)
    return secrets


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("secret://TOKEN", None),
        ("secret://db-password.v2", None),
        ("secret:/x", None),
        ("a secret", None),
        ("Bearer secret://TOKEN", "must be the whole text"),
        ("secret://A secret://B", "must be the whole text"),
        ("secret://", "must be 1 to 128"),
        ("secret://../x", "must be 1 to 128"),
        ("secret://a/b", "must be 1 to 128"),
        ("secret://${parameters.x}", "must be 1 to 128"),
        ("secret://" + "a" * 129, "must be 1 to 128"),
        ("secret://RESOLVER", "names a setting"),
    ],
)
def test_a_secret_is_a_whole_text(text: str, fault: str | None) -> None:
    found = find_secret_fault(text, may_be_secret=True)

    assert (found is None) if fault is None else fault in str(found)


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        ("result", {"result": {"a": "secret://A"}}),
        ("steps[0].when", {"when": "'secret://A' == 'b'"}),
        (
            "parameters.p.default",
            {"parameters": {"p": {"type": "string", "default": "secret://A"}}},
        ),
        ("steps[0].with.x", {"with_": {"x": "${'secret://A'}"}}),
        ("steps[0].with.x", {"with_": {"x": "at secret://A"}}),
    ],
)
def test_secrets_are_named_in_inputs_alone(
    place: str, fields: dict[str, object]
) -> None:
    own = {name: fields[name] for name in ("when", "with_") if name in fields}
    others = {name: value for name, value in fields.items() if name not in own}

    with pytest.raises(PlanValidationError) as raised:
        Plan("p", steps=[Step("a", "x", **own)], **others)  # type: ignore[arg-type]  # as the cases have them

    (fault,) = raised.value.faults
    assert fault.place.startswith(place)
    assert "secret://" in fault.message


def test_inputs_may_name_secrets_at_any_depth() -> None:
    inputs = {"a": [{"b": "secret://A"}]}

    assert Plan("p", steps=[Step("a", "x", with_=inputs)]).steps[0].inputs == inputs


def test_the_environment_comes_first_then_the_folder_then_the_resolver(
    tmp_path: Path,
) -> None:
    for name in ("A", "B"):
        (tmp_path / name).write_text("file\n")
    store = SecretStore({"PLANS_SECRET_A": "variable"}, tmp_path, lambda _: "resolver")

    assert [store.get(name) for name in "ABC"] == ["variable", "file", "resolver"]


@pytest.mark.parametrize(
    ("content", "value"),
    [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("", "")],
)
def test_one_line_break_at_the_end_of_a_file_is_dropped(
    tmp_path: Path, content: str, value: str
) -> None:
    (tmp_path / "A").write_bytes(content.encode())

    assert SecretStore({}, tmp_path).get("A") == value


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (
            SecretStore({}),
            "no PLANS_SECRETS_DIR is set, and no PLANS_SECRET_RESOLVER is set",
        ),
        (
            SecretStore({}, Path("/no"), lambda _: None),
            "there is no file /no/A, and the PLANS_SECRET_RESOLVER does not know it",
        ),
    ],
    ids=["nowhere", "unknown"],
)
def test_a_missing_secret_says_where_it_was_looked_for(
    store: SecretStore, message: str
) -> None:
    with pytest.raises(SecretError) as raised:
        store.get("A")

    start = "there is no secret A: PLANS_SECRET_A is not set where this worker runs, "
    assert str(raised.value) == start + message


def test_a_resolver_that_gives_no_text_is_told_so() -> None:
    store = SecretStore({}, resolve=lambda _: 7)  # type: ignore[arg-type,return-value]  # that is wrong

    with pytest.raises(SecretError, match="the resolver gave a int for secret://A"):
        store.get("A")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "is not UTF-8 text"), (b"x" * 65_537, "takes more than 64 kB")],
)
def test_a_file_that_is_no_secret_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "A").write_bytes(content)

    with pytest.raises(SecretError, match=message):
        SecretStore({}, tmp_path).get("A")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "A").mkdir()

    with pytest.raises(SecretError, match=r"cannot be read from .*/A: Is a directory"):
        SecretStore({}, tmp_path).get("A")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.at.all:f", "does not import: No module named 'nowhere'"),
        ("os.path:nope", "does not import: module 'posixpath' has no attribute"),
        ("os:sep", "is not a function"),
    ],
)
def test_a_wrong_resolver_is_refused(spec: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SecretStore.from_settings(Settings(secret_resolver=spec))


def test_a_resolver_is_imported() -> None:
    spec = "os.path:basename"

    store = SecretStore.from_settings(Settings(secret_resolver=spec))

    assert store.get("A_name-of.mine") == "A_name-of.mine"


def test_what_is_not_in_the_template_is_not_revealed() -> None:
    template = {"a": "secret://A", "b": "${parameters.b}", "c": ["secret://A", "x"]}
    inputs = {"a": "secret://A", "b": "secret://A", "c": ["secret://A", "secret://A"]}

    given = secrets_of(template, A=VALUE).reveal(inputs)

    assert given == {"a": VALUE, "b": "secret://A", "c": [VALUE, "secret://A"]}
    assert inputs["a"] == "secret://A"


def test_inputs_of_another_form_are_not_revealed() -> None:
    template = {"a": ["secret://A"], "b": {"c": "secret://A"}}
    inputs = {"a": ["secret://A", "secret://A"], "b": "secret://A", "d": 1}

    assert secrets_of(template, A=VALUE).reveal(inputs) == inputs


@pytest.mark.parametrize(
    "value",
    [
        "plain-value",
        'it\'s "quoted" \\ and\ttabbed',
        "schlüssel-ü",
        "a+b/c d&e=f",
        "-----BEGIN-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END-----\n",
    ],
)
def test_a_value_is_concealed_however_it_is_written(value: str) -> None:
    secrets = revealed(A=value)
    indented = "".join(f"  | {line}\n" for line in value.splitlines())
    written = [
        value,
        repr(value),
        ascii({"a": value}),
        json.dumps([value]),
        json.dumps(value, ensure_ascii=False),
        urllib.parse.quote(value, safe=""),
        urllib.parse.urlencode({"q": value}),
        indented,
    ]

    for text in written:
        concealed = secrets.conceal(f"<{text}>")
        assert "secret://A" in concealed
        assert not any(line in concealed for line in value.split() if len(line) > 7)


def test_of_values_that_begin_alike_the_longer_is_found() -> None:
    secrets = revealed(A="abcdefgh", B="abcdefgh-ijkl")

    assert secrets.conceal("abcdefgh-ijkl abcdefgh") == "secret://B secret://A"


def test_a_value_that_was_changed_meanwhile_is_still_concealed() -> None:
    environment = {"PLANS_SECRET_A": "first-value"}
    secrets = StepSecrets({"a": "secret://A"}, SecretStore(environment))
    secrets.reveal({"a": "secret://A"})
    environment |= {"PLANS_SECRET_A": "second-value"}

    assert secrets.reveal({"a": "secret://A"}) == {"a": "second-value"}
    assert secrets.conceal("first-value second-value") == "secret://A secret://A"


def test_an_empty_value_conceals_nothing() -> None:
    assert revealed(A="").conceal("text") == "text"


def test_data_has_no_values_and_keeps_its_types() -> None:
    data = {VALUE: [1, None, (f"x{VALUE}", 2.5)], "b": object}

    concealed = revealed(A=VALUE).conceal_in(data)

    assert concealed == {
        "secret://A": [1, None, ["xsecret://A", 2.5]],
        "b": object,
    }


def test_short_values_are_left_in_data_and_not_in_words() -> None:
    secrets = revealed(A="test")

    assert secrets.conceal_in({"path": "/tmp/test"}) == {"path": "/tmp/test"}  # noqa: S108  # no file
    assert secrets.conceal("/test") == "/secret://A"


def test_data_without_an_end_is_not_followed() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert revealed(A=VALUE).conceal_in(endless)


def test_without_secrets_data_is_the_same_object() -> None:
    data = {"a": VALUE}

    assert NO_SECRETS.conceal_in(data) is data
    assert NO_SECRETS.reveal(data) is data


def test_lines_are_concealed_with_their_errors_and_extras(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ctx = build_context(secrets=revealed(A=VALUE))

    with caplog.at_level(logging.INFO, logger="plans.step"):
        try:
            dict[str, str]()[VALUE]
        except KeyError:
            ctx.log.exception(
                "with %s", VALUE, extra={"token": VALUE, "sent": {"to": [VALUE]}}
            )
        ctx.log.info("two %s", VALUE, VALUE)

    (_, error), other = lines_of(ctx)
    assert error.startswith("with secret://A\nTraceback")
    assert error.endswith("KeyError: 'secret://A'")
    assert VALUE not in error
    assert other == ("info", "two %s (and arguments that do not fit)")
    assert VALUE not in caplog.text
    assert "KeyError: 'secret://A'" in caplog.text
    extras = vars(caplog.records[0])
    assert extras["token"] == "secret://A"  # noqa: S105  # its name
    assert extras["sent"] == {"to": ["secret://A"]}
