"""Plans in users' tests: run in the test's own process, on a clock that can be moved.

The fixtures are those of `celery_plans_pytest`, which import what is here when a test
first asks for them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fakes import Fake, FakeCall
    from .rehearsal import Rehearsal
    from .runs import PlanRun, StepRun
    from .timeline import Timeline

__all__ = ["Fake", "FakeCall", "PlanRun", "Rehearsal", "StepRun", "Timeline"]

_HOMES = {
    "Fake": "fakes",
    "FakeCall": "fakes",
    "PlanRun": "runs",
    "Rehearsal": "rehearsal",
    "StepRun": "runs",
    "Timeline": "timeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
