"""Which release this is, what it needs, and what of that is installed.

Must not know what fits.
"""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version

_DISTRIBUTION = "celery-plans"


@cache
def find_release() -> str:
    """Return the release, or `unknown` where the package was not installed."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def list_requirements() -> tuple[str, ...]:
    """Return what this release needs, as it is written; nothing where it is unknown."""
    try:
        found = distribution(_DISTRIBUTION)
    except PackageNotFoundError:
        return ()
    python = found.metadata["Requires-Python"]
    return (f"python{python}", *(found.requires or ()))


def find_python() -> str:
    """Return the version of Python."""
    return platform.python_version()


def find_versions(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return the versions of those of the libraries that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
