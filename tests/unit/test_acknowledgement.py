"""When the message of a step that runs for long is given up."""

from dataclasses import dataclass

from execution.celery.acknowledgement import LongSteps
from execution.dispatcher import STEP_TASK


@dataclass(eq=False)
class Delivery:
    """What Celery has in hand; it counts how often the broker was told."""

    type: str = STEP_TASK
    acknowledged: bool = False
    tellings: int = 0

    def acknowledge(self) -> None:
        """Tell the broker."""
        self.acknowledged = True
        self.tellings += 1


def test_a_message_is_acknowledged_once_its_step_has_run_for_long() -> None:
    times = iter([0.0, 59.0, 60.0, 120.0])
    steps = LongSteps(60, lambda: next(times))
    delivery = Delivery()

    tellings = []
    for _ in range(4):
        steps.look([delivery])
        tellings.append(delivery.tellings)

    assert tellings == [0, 0, 1, 1]


def test_each_message_has_its_own_time() -> None:
    times = iter([0.0, 30.0, 70.0])
    steps = LongSteps(60, lambda: next(times))
    early, late = Delivery(), Delivery()

    steps.look([early])
    steps.look([early, late])
    steps.look([early, late])

    assert (early.tellings, late.tellings) == (1, 0)


def test_messages_of_other_tasks_are_left_alone() -> None:
    times = iter([0.0, 100.0])
    steps = LongSteps(60, lambda: next(times))
    other, recorded = Delivery(type="somebody.elses"), Delivery(acknowledged=True)

    steps.look([other, recorded])
    steps.look([other, recorded])

    assert (other.tellings, recorded.tellings) == (0, 0)
