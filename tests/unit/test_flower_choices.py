"""What holds of what the command line, the environment and we say of Flower."""

from base64 import b64encode
from pathlib import Path

import pytest

from execution.errors import SettingsError
from execution.flower.choices import FlowerChoices, choose

pytestmark = pytest.mark.usefixtures("own_flower_options")

NOBODY = FlowerChoices(is_unauthenticated=True)


def test_what_nobody_says_is_near_and_bounded() -> None:
    options = choose(NOBODY).options

    assert (options.address, options.port) == ("127.0.0.1", 5555)
    assert options.max_tasks == 10_000
    assert options.purge_offline_workers == 3600
    assert (options.persistent, options.read_only) == (False, False)


def test_the_command_line_goes_before_the_environment_and_that_before_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWER_PORT", "7000")
    monkeypatch.setenv("FLOWER_MAX_TASKS", "70")
    monkeypatch.setenv("FLOWER_READ_ONLY", "1")

    options = choose(FlowerChoices(port=8000, is_unauthenticated=True)).options

    assert (options.port, options.max_tasks, options.read_only) == (8000, 70, True)


def test_an_address_of_the_environment_needs_a_login_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWER_ADDRESS", "0.0.0.0")  # noqa: S104  # it is to be refused

    with pytest.raises(SettingsError, match="for the loopback alone"):
        choose(NOBODY)


@pytest.mark.parametrize("address", ["::1", "127.8.8.8", "localhost"])
def test_every_loopback_is_one(address: str) -> None:
    choice = choose(FlowerChoices(address=address, is_unauthenticated=True))

    assert choice.options.address == address


@pytest.mark.parametrize("address", ["", "::", "10.0.0.1", "localhost.example.com"])
def test_what_others_reach_is_no_loopback(address: str) -> None:
    with pytest.raises(SettingsError, match="for the loopback alone"):
        choose(FlowerChoices(address=address, is_unauthenticated=True))


def test_logins_of_the_environment_count_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "bob:hunter2")
    (tmp_path / "logins").write_text("ann:hunter3")

    choice = choose(FlowerChoices(logins=tmp_path / "logins"))

    logins = choice.logins
    assert logins is not None
    given = ("ann:hunter3", "bob:hunter2", "ann:hunter2")
    headers = [f"Basic {b64encode(login.encode()).decode()}" for login in given]
    assert [logins.admit(header) for header in headers] == [True, True, False]
    assert "hunter" not in f"{logins!r} {vars(logins)}"


@pytest.mark.parametrize("name", ["FLOWER_BASIC_AUTH", "PLANS_FLOWER_LOGINS_FILE"])
def test_logins_and_those_of_elsewhere_are_not_asked_for_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLOWER_AUTH", "ann@example.com")
    given = FlowerChoices()
    if name == "FLOWER_BASIC_AUTH":
        monkeypatch.setenv(name, "bob:hunter2")
    else:
        (tmp_path / "logins").write_text("bob:hunter2")
        given = FlowerChoices(logins=tmp_path / "logins")

    with pytest.raises(SettingsError, match="FLOWER_AUTH") as raised:
        choose(given)

    assert name in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("FLOWER_PORT", "hunter2"),
        ("FLOWER_READ_ONLY", "hunter2"),
        ("FLOWER_BASIC_AUTH", "hunter2"),
        ("FLOWER_AUTH", "hunter2*|*"),
    ],
)
def test_a_variable_that_cannot_be_is_refused_and_not_repeated(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)

    with pytest.raises(SettingsError) as raised:
        choose(FlowerChoices())

    assert "FLOWER_" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_certificate_needs_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWER_CERTFILE", "cert.pem")

    with pytest.raises(SettingsError, match="need each other"):
        choose(NOBODY)


def test_a_kubernetes_service_of_that_name_is_no_choice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLOWER_PORT", "tcp://10.0.0.7:5555")

    assert choose(NOBODY).options.port == 5555
