"""Tasks, written as Celery's own guide writes them."""

import os
import signal
import time
from typing import Any

from celery import Task, current_task
from celery.exceptions import Ignore, Reject

from tests.actions import hold, note
from tests.shop.app import app


@app.task(name="shop.add")
def add(left: int, right: int = 0) -> int:
    """Return a sum.

    More on sums.
    """
    return left + right


@app.task(name="shop.total")
def total(numbers: list[int]) -> int:
    """Return the sum of a list."""
    return sum(numbers)


@app.task(name="shop.price", bind=True)
def price(self: Any, amount: int, **options: object) -> dict[str, object]:
    """Return what a task sees of itself."""
    request = self.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "hostname": request.hostname,
        "retries": request.retries,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "queue": request.delivery_info["routing_key"],
        "directly": request.called_directly,
        "current": current_task.name,
        "amount": amount,
    }


@app.task(name="shop.charge", bind=True, max_retries=5)
def charge(self: Any, ledger: str, until: int, countdown: float = 0) -> int:
    """Ask for another attempt as long as there were fewer than `until`."""
    note(ledger, f"attempt {self.request.retries}")
    if self.request.retries < until:
        raise self.retry(exc=ConnectionError("busy"), countdown=countdown)
    return int(self.request.retries)


@app.task(name="shop.charge_more", bind=True)
def charge_more(self: Any, amount: int) -> int:
    """Ask for another attempt with another amount."""
    raise self.retry(kwargs={"amount": amount + 1}, countdown=0)


@app.task(
    name="shop.reserve",
    bind=True,
    autoretry_for=(ConnectionError,),
    retry_kwargs={"countdown": 0},
)
def reserve(self: Any, ledger: str) -> int:
    """Fail twice in a way for which Celery would try again."""
    if self.request.retries < 2:
        raise ConnectionError("no stock server")
    return int(self.request.retries)


@app.task(name="shop.refuse")
def refuse(ledger: str) -> None:
    """Fail."""
    raise LookupError("no such customer")


@app.task(name="shop.reject")
def reject(requeue: bool) -> None:
    """Give the message back, or throw it away."""
    raise Reject("not mine", requeue=requeue)


@app.task(name="shop.ignore")
def ignore() -> None:
    """Leave it to somebody else to give a result."""
    raise Ignore


@app.task(name="shop.place")
def place(first: int, /, second: int = 2, *rest: int, last: int = 0) -> list[int]:
    """Take arguments in every way that there is."""
    return [first, second, *rest, last]


@app.task(name="shop.echo")
def echo(*values: object) -> list[object]:
    """Return what came in."""
    return list(values)


@app.task(name="shop.substitute", bind=True)
def substitute(self: Any, left: int) -> Any:
    """Let other tasks do the work."""
    return self.replace(add.s(left, 10) | add.s(100))


@app.task(name="shop.announce")
def announce(left: int) -> str:
    """Publish another task."""
    return str(add.delay(left, 1).id)


@app.task(name="shop.ship")
def ship() -> None:
    """Run in a queue of its own, by the app's routes."""


@app.task(name="shop.dawdle", time_limit=1)
def dawdle() -> None:
    """Take longer than it may."""
    time.sleep(30)


@app.task(name="shop.hold")
def hold_on(ledger: str, gate: str) -> int:
    """Say which process runs this, and wait for the gate."""
    note(ledger, f"held {os.getpid()}")
    hold(gate)
    return os.getpid()


@app.task(name="shop.crash")
def crash() -> None:
    """Kill the process that runs this."""
    os.kill(os.getpid(), signal.SIGKILL)


class Told(Task):  # type: ignore[misc]  # Celery ships no types
    """A task that hears how it went."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        """Hear that it begins."""
        note(kwargs["ledger"], f"before_start {self.request.retries}")

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Hear that it has returned."""
        note(kwargs["ledger"], f"on_success {retval}")

    def on_retry(
        self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Hear that it is to be tried again."""
        note(kwargs["ledger"], f"on_retry {exc!r}")

    def on_failure(
        self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Hear that it has failed, and fail at that."""
        note(kwargs["ledger"], f"on_failure {exc!r}")
        raise RuntimeError("in a handler")

    def after_return(
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Hear the state in which it has ended."""
        note(kwargs["ledger"], f"after_return {status}")


class Pack(Told):
    """Packs a number of things."""

    name = "shop.pack"
    max_retries = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Count what is packed, as Celery lets classes do."""
        note(kwargs["ledger"], "called")
        return super().__call__(*args, **kwargs)

    def run(self, ledger: str, things: int) -> int:
        """Pack them, but not at once."""
        if self.request.retries == 0:
            raise self.retry(countdown=0)
        if things < 0:
            raise ValueError("nothing to pack")
        return things + int(self.request.retries)


app.register_task(Pack())
