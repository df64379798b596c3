"""Which errors the names in `on` and `not_on` mean."""

import abc
import importlib.util
import json
import subprocess
import sys
import urllib.error
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from execution.errors import DatabaseError, PlansError, StepTimeoutError
from execution.retry import RetryPolicy


class QuotaError(OSError):
    """An error of a user's module."""

    class DailyError(ValueError):
        """An error inside a class."""


def matches(name: str, error: Exception) -> bool:
    """Say whether `name` means `error`, in `on` and in `not_on` alike."""
    allowed = RetryPolicy(max_attempts=2, on=(name,)).allows(error, failures=1)
    refused = RetryPolicy(max_attempts=2, not_on=(name,)).allows(error, failures=1)
    assert allowed is not refused
    return allowed


@pytest.mark.parametrize(
    ("name", "error", "answer"),
    [
        ("ValueError", ValueError(), True),
        ("ValueError", UnicodeDecodeError("a", b"", 0, 1, "b"), True),
        ("UnicodeDecodeError", ValueError(), False),
        ("Exception", ValueError(), True),
        ("IOError", OSError(), True),
        ("builtins.ValueError", ValueError(), True),
        ("TimeoutError", StepTimeoutError(), False),
        ("OSError", ExceptionGroup("one", [OSError()]), False),
        # by where it is defined, where it is imported to, and inside a class
        ("urllib.error.URLError", urllib.error.URLError("a"), True),
        ("urllib.error.HTTPError", urllib.error.URLError("a"), False),
        ("json.JSONDecodeError", json.JSONDecodeError("a", "b", 0), True),
        ("json.decoder.JSONDecodeError", json.JSONDecodeError("a", "b", 0), True),
        (f"{__name__}.QuotaError", QuotaError(), True),
        (f"{__name__}.QuotaError.DailyError", QuotaError.DailyError(), True),
        (f"{__name__}.QuotaError.DailyError", QuotaError(), False),
        (f"{__name__}.NoSuchError", QuotaError(), False),
        (f"{__name__}.NoSuchError.DailyError", QuotaError(), False),
        ("no_such_module.QuotaError", QuotaError(), False),
        ("QuotaError", QuotaError(), False),
        # the public names of our own, whether they were looked up or not
        ("execution.errors.StepTimeoutError", StepTimeoutError(), True),
        ("execution.StepTimeoutError", StepTimeoutError(), True),
        ("celery_plans.PlansError", DatabaseError(), True),
        ("celery_plans.errors.PlansError", DatabaseError(), True),
        ("celery_plans.errors.PlansError", ValueError(), False),
        ("execution.PlansError", ValueError(), False),
        # codes
        ("E002", StepTimeoutError(), True),
        ("E002", TimeoutError(), False),
        ("E003", ValueError(), True),
        ("E003", PlansError(), True),
        ("E006", DatabaseError(), True),
        ("E006", ValueError(), False),
        ("E099", ValueError(), False),
    ],
)
def test_a_name_means_a_class_and_what_extends_it(
    name: str, error: Exception, answer: bool
) -> None:
    assert matches(name, error) is answer


def test_a_name_at_which_there_is_no_class_matches_nothing() -> None:
    assert not matches("sys.path", ValueError())
    assert not matches("sys.path.NoError", ValueError())
    assert not matches("sys.version_info.major", ValueError())


def test_a_class_without_a_module_to_find_is_known_by_its_own_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = type("GoneError", (ValueError,), {"__module__": "a_module.that_left"})
    monkeypatch.setitem(sys.modules, "a_module.blocked", None)

    assert matches("a_module.that_left.GoneError", gone())
    assert not matches("a_module.blocked.GoneError", gone())


def test_an_object_that_passes_for_a_module_is_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "odd", SimpleNamespace(AnError=QuotaError))
    monkeypatch.setitem(sys.modules, "odder", object())

    assert matches("odd.AnError", QuotaError())
    assert not matches("odder.AnError", QuotaError())


def test_a_namespace_that_is_no_mapping_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Strange:
        __slots__ = ()
        __dict__ = 5  # type: ignore[assignment]  # users can

    monkeypatch.setitem(sys.modules, "strange", Strange())

    assert not matches("strange.AnError", QuotaError())


def test_a_class_that_is_only_registered_as_a_base_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Registry(abc.ABC):  # noqa: B024  # only what registers with it matters
        pass

    Registry.register(QuotaError)
    monkeypatch.setattr(sys.modules[__name__], "Found", Registry, raising=False)

    assert not matches(f"{__name__}.Found", QuotaError())


def test_nothing_is_imported_to_find_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shy_errors.py").write_text("raise SystemExit('imported')")
    (tmp_path / "lazy_errors.py").write_text("raise SystemExit('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("lazy_errors")
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_errors", lazy)
    loader.exec_module(lazy)

    class Eager(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise SystemExit(name)

    monkeypatch.setitem(sys.modules, "eager", Eager("eager"))

    assert not matches("shy_errors.AnError", QuotaError())
    assert not matches("lazy_errors.AnError", QuotaError())
    assert not matches("eager.AnError", QuotaError())
    assert "shy_errors" not in sys.modules


def test_our_public_names_are_known_before_anybody_has_used_them() -> None:
    code = """
import execution, sys
from execution.errors import RetryableError
from execution.retry import RetryPolicy
assert "RetryableError" not in vars(execution)
policy = RetryPolicy(max_attempts=2, not_on=("execution.RetryableError",))
sys.exit(policy.allows(RetryableError("busy"), failures=1))
"""

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
