"""The public names of celery-plans, for projects with an `execution` of their own.

`from celery_plans import action, ExecutionEngine` is the same as from `execution`,
after a check that the `execution` which Python finds is the one of this package.
"""

from typing import Any

import execution

if not hasattr(execution, "CELERY_PLANS"):
    raise ImportError(
        f"the package `execution` at {execution.__file__} hides that of celery-plans;"
        " rename it, or move it below a package of your own"
    )

__all__ = list(execution.__all__)


def __getattr__(name: str) -> Any:
    return getattr(execution, name)
