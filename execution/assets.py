"""Where the files lie that are part of the product but no modules.

In a checkout they stand at the top level, beside the packages; in an installed
package they travel inside this one. Knows only names.
"""

from pathlib import Path

from .errors import SetupError

_PACKAGE = Path(__file__).resolve().parent


def find_asset(in_checkout: str, in_package: str | None = None) -> Path:
    """Return the path of a file or folder, given where it stands in a checkout.

    `in_package` is its name inside the installed package, by default its last part.
    Raises SetupError when it is in neither place.
    """
    packaged = _PACKAGE / "_assets" / (in_package or Path(in_checkout).name)
    for path in (packaged, _PACKAGE.parent / in_checkout):
        if path.exists():
            return path
    raise SetupError(
        f"the installation lacks {in_checkout}; install celery-plans again"
    )
