"""The plans that are measured: chains, chains over two queues, and a fan-out."""

from collections.abc import Sequence

from benchmarks.actions import NOTHING
from execution import Plan, Step


def build_chain(
    steps: int, queues: Sequence[str | None] = (None,), action: str = NOTHING
) -> Plan:
    """Return a chain of steps that go round the queues."""
    shape = "hops" if len(queues) > 1 else "chain"
    return Plan(
        f"{shape}-{steps}",
        steps=[
            Step(f"s{n}", action=action, queue=queues[n % len(queues)])
            for n in range(steps)
        ],
    )


def build_fan_out(width: int, action: str = NOTHING) -> Plan:
    """Return one step, `width` parallel ones after it, and one after all of those."""
    names = [f"s{n}" for n in range(width)]
    return Plan(
        f"fan-out-{width}",
        steps=[
            Step("first", action=action, needs=[]),
            *[Step(name, action=action, needs=["first"]) for name in names],
            Step("join", action=action, needs=names),
        ],
    )
