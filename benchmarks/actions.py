"""The action that is measured: none."""

from execution import action

NOTHING = "bench.nothing"


@action(NOTHING)
def do_nothing() -> None:
    """Be a step of no work."""
