"""Actions for tests. What they do outside the database, they note in a ledger."""

import asyncio
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg2
from celery.utils.log import get_task_logger

from execution import (
    Context,
    FatalError,
    Recovery,
    RetryableError,
    action,
    recovery_strategy,
)
from execution.errors import StaleLeaseError

PATIENCE_SECONDS = 240
"""More than a test waits for anything: what waits for the test never ends first."""
SLEEPER = [sys.executable, "-c", f"import time; time.sleep({PATIENCE_SECONDS})"]


def note(ledger: str, line: str) -> None:
    """Append a line to the ledger, so that it survives the process."""
    with Path(ledger).open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def hold(gate: str) -> None:
    """Wait until the file `gate` exists, four minutes at most."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@action("test.nothing")
def do_nothing() -> None:
    """Return at once."""


@action("test.echo")
def echo(value: object = None) -> object:
    """Return what came in."""
    return value


@action("test.fill")
def fill(length: int, text: str = "row") -> dict[str, object]:
    """Return many rows: about a megabyte of 20,000."""
    return {"rows": [{"n": n, "text": f"{text} {n:030}"} for n in range(length)]}


@action("test.count_rows")
def count_rows(ctx: Context, table: dict[str, Any], ledger: str = "") -> int:
    """Return how many rows there are, and fail as often as attempts ask for it."""
    if ledger:
        note(ledger, f"{ctx.step} {ctx.attempt} {len(table['rows'])}")
        if ctx.attempt == 1:
            raise ValueError("once more")
    return len(table["rows"])


@action("test.add")
async def add(left: int, right: int) -> int:
    """Return a sum, from an async function."""
    await asyncio.sleep(0)
    return left + right


@action("test.note")
def run_and_note(ctx: Context, ledger: str) -> dict[str, object]:
    """Note the attempt and return who ran it."""
    note(ledger, f"{ctx.step} {ctx.attempt} {ctx.idempotency_key}")
    return {"step": ctx.step, "attempt": ctx.attempt}


@action("test.mark")
def mark(ctx: Context, ledger: str, key: str) -> None:
    """Note which execution is at which step, under which key."""
    execution_id, _, step = ctx.idempotency_key.partition(":")
    note(ledger, json.dumps({"key": key, "execution": execution_id, "step": step}))


@action("test.hold")
def note_and_hold(ctx: Context, ledger: str, gate: str) -> int:
    """Note the attempt, then wait for the gate; return the pid."""
    note(ledger, f"{ctx.step} {ctx.attempt} {os.getpid()}")
    hold(gate)
    return os.getpid()


@action("test.arrive")
def arrive(ctx: Context, gate: str | None = None) -> str:
    """Set a variable called like the step, once the gate is open."""
    while gate is not None and not Path(gate).exists():
        ctx.raise_if_cancelled()
        time.sleep(0.02)
    ctx.variables[ctx.step] = True
    return ctx.step


@action("test.arrived")
def list_arrived(ctx: Context, names: list[str]) -> list[str]:
    """Return which of these steps have arrived."""
    return [name for name in names if name in ctx.variables]


@action("test.look_for")
def look_for(paths: list[str]) -> str | None:
    """Return the first of the files that is there."""
    return next((Path(path).name for path in paths if Path(path).exists()), None)


@action("test.fail_until")
def fail_until(ctx: Context, attempt: int) -> int:
    """Fail every attempt before number `attempt`."""
    ctx.variables["last"] = ctx.attempt
    if ctx.attempt < attempt:
        raise ValueError(f"attempt {ctx.attempt} is too early")
    return ctx.attempt


@action("test.poison")
def kill_own_process(ctx: Context, ledger: str) -> None:
    """Kill the process that runs this, as the kernel does when memory runs out."""
    note(ledger, f"{ctx.step} {ctx.attempt}")
    os.kill(os.getpid(), signal.SIGKILL)


@action("test.resume_at")
def resume_at(ctx: Context, ledger: str, gate: str) -> list[int]:
    """Count to five with a checkpoint each; hold at three until the gate opens."""
    done: list[int] = list(ctx.checkpoint.get("done", []))
    for number in range(len(done) + 1, 6):
        note(ledger, f"{ctx.attempt} {number}")
        done.append(number)
        ctx.save_checkpoint({"done": done})
        ctx.progress(20 * number, f"counted {number}", records=number)
        if number == 3:
            note(ledger, "holds")
            hold(gate)
    return done


@action("test.count", yields=True)
def count(ctx: Context, ledger: str, gate: str) -> int:
    """Count with a checkpoint each until the gate opens; note each attempt."""
    note(ledger, f"{ctx.step} {ctx.attempt}")
    number = int(ctx.checkpoint.get("number", 0))
    while not Path(gate).exists():
        number += 1
        ctx.save_checkpoint({"number": number})
        time.sleep(0.02)
    return number


@action("test.observe")
def observe(ctx: Context) -> None:
    """Tell everything that a step can tell."""
    ctx.progress(40, "parsing", chunks=2, records=900)
    ctx.progress(80, "nearly")
    ctx.metric("quality", 0.98)
    ctx.log.info("parsed %d", 900)
    ctx.variables["n"] = 900


@action("test.tell")
def tell(ctx: Context, word: str, gate: str | None = None) -> None:
    """Tell a word in every way; then hold, if there is a gate, and tell of the end."""
    print(f"{word} to people")
    print(f"{word} to others", file=sys.stderr)
    logging.getLogger("shop.orders").info("%s by a library", word)
    get_task_logger("shop.tasks").warning("%s by a task", word)
    ctx.log.error("%s itself", word)
    if gate is not None:
        hold(gate)
    print(f"{word} at the end", end="")


@action("test.tell_unheard", capture=False)
def tell_unheard(ctx: Context) -> None:
    """Tell in ways that are not to be stored, and in the one that is."""
    print("unheard")
    logging.getLogger("shop.orders").error("unheard")
    ctx.log.info("heard")


@action("test.count_aloud")
async def count_aloud(word: str, others: list[str], meeting: str) -> None:
    """Say a word many times beside others who do the same, once all have come."""
    Path(meeting, word).touch()
    deadline = time.monotonic() + 60
    while not all(Path(meeting, other).exists() for other in others):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    for number in range(50):
        print(word, number)
        logging.getLogger("shop.orders").warning("%s %d", word, number)
        await asyncio.sleep(0)


@action("test.return_foreign")
def return_foreign() -> object:
    """Return what JSON cannot hold."""
    return {"when": object()}


@action("test.until_cancelled")
def run_until_cancelled(ctx: Context, ledger: str) -> None:
    """Work until somebody cancels the execution."""
    note(ledger, "started")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ctx.raise_if_cancelled()
        time.sleep(0.02)


@action("test.sleep", timeout="20s")
def sleep(seconds: float) -> None:
    """Take some time."""
    time.sleep(seconds)


@action("test.exit")
def leave() -> None:
    """Try to end the process."""
    sys.exit("enough")


@action("test.cancel_itself")
async def cancel_itself() -> None:
    """End as a cancelled coroutine does."""
    raise asyncio.CancelledError


@action("test.cut_connections")
def cut_connections(ctx: Context) -> str:
    """Tell something, lose every connection to the database, and tell some more."""
    ctx.log.info("before")
    url = os.environ["PLANS_DATABASE_URL"].replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'celery-plans'"
        )
    ctx.log.info("after")
    ctx.progress(50)
    ctx.save_checkpoint({"half": True})
    return "done"


@action("test.tell_and_fail")
def tell_and_fail(ctx: Context) -> None:
    """Say how far it came, twice at once, and fail."""
    ctx.progress(30, "first")
    ctx.progress(70, "second")
    raise ValueError("now")


@action("test.work")
def work(ctx: Context, ledger: str, seconds: float = 0.05) -> int:
    """Note the attempt, take some time, and return the attempt's number."""
    note(ledger, f"{ctx.execution_id} {ctx.step} {ctx.attempt}")
    time.sleep(seconds)
    return ctx.attempt


@action("test.throttled")
def be_throttled(ctx: Context, seconds: float) -> int:
    """Fail once as a busy service does, which says when to come back."""
    if ctx.attempt == 1:
        raise RetryableError("too many requests", retry_after_seconds=seconds)
    return ctx.attempt


@action("test.call_service", uses=["service"])
def call_service(ctx: Context, ledger: str, up: str) -> str:
    """Answer while the file `up` is there, and fail otherwise."""
    note(ledger, f"{ctx.execution_id} {ctx.attempt}")
    if not Path(up).exists():
        raise ConnectionError("503")
    return "served"


@action("test.refuse")
def refuse() -> None:
    """Fail in a way that another attempt would only repeat."""
    raise FatalError("no such customer")


@action("test.ignore_timeout")
def ignore_timeout(ctx: Context, ledger: str, gate: str) -> None:
    """Hold until the gate opens, whatever is raised meanwhile."""
    note(ledger, f"{ctx.step} {ctx.attempt} {os.getpid()}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Path(gate).exists() and time.monotonic() < deadline:
        with suppress(Exception):
            time.sleep(0.05)


@action("test.see_cancel")
def see_cancel(ctx: Context, ledger: str) -> None:
    """Work until the execution is cancelled, and say what is known of that."""
    note(ledger, "begun")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ctx.is_cancelled and time.monotonic() < deadline:
        time.sleep(0.005)
    note(ledger, f"told {ctx.is_cancelled}")
    ctx.raise_if_cancelled()


@action("test.await_cancel")
async def await_cancel(ctx: Context, ledger: str, *, tidies: bool = True) -> None:
    """Await until the execution is cancelled; tidy up, or take no notice of it."""
    note(ledger, f"begun {ctx.attempt}")
    try:
        await asyncio.sleep(30)
    except asyncio.CancelledError as error:
        note(ledger, f"cancelled {error}")
        if not tidies:
            await asyncio.sleep(30)
        raise
    finally:
        await asyncio.sleep(0.02)
        note(ledger, "tidied")


@action("test.start_processes")
def start_processes(ctx: Context, ledger: str, gate: str, *, obeys: bool) -> str:
    """Start processes near and far, and wait for a gate; deaf, unless it obeys."""
    near = subprocess.Popen(SLEEPER)
    alone = subprocess.Popen(SLEEPER, start_new_session=True)
    # neither its parent nor its session is ours
    shell = f"{shlex.join(SLEEPER)} >/dev/null 2>&1 & echo $!"
    shown = subprocess.run(
        ["/bin/sh", "-c", shell],
        stdout=subprocess.PIPE,
        check=True,
        start_new_session=True,
    )
    note(ledger, f"{near.pid} {alone.pid} {int(shown.stdout)} {os.getpid()}")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not Path(gate).exists() and time.monotonic() < deadline:
        if obeys:
            ctx.raise_if_cancelled()
        with suppress(Exception):
            time.sleep(0.02)
    with suppress(StaleLeaseError):
        ctx.save_checkpoint({"late": True})
        note(ledger, "a late write was kept")
    return "late"


@action("test.leave_process")
def leave_process() -> int:
    """Start a process that goes on after the step, and return its pid."""
    return subprocess.Popen(SLEEPER).pid


@action("test.tidy_up")
def tidy_up(ctx: Context, ledger: str) -> None:
    """Work for long, and note how it ended."""
    try:
        time.sleep(30)
    finally:
        note(ledger, f"tidied {ctx.step} {ctx.attempt} {os.getpid()}")


@action("test.tidy_up_async")
async def tidy_up_async(ctx: Context, ledger: str) -> None:
    """Wait for long in an event loop, and note how it ended."""
    try:
        await asyncio.sleep(30)
    finally:
        note(ledger, f"tidied {ctx.step} {ctx.attempt} {os.getpid()}")


@action("test.use_secret")
def use_secret(ctx: Context, ledger: str, token: str, nested: dict[str, object]) -> Any:
    """Tell of a secret in every way there is, and fail with it at first."""
    note(ledger, f"{ctx.attempt} {token} {nested['list']}")
    ctx.log.info("calling with %s", token)
    ctx.progress(50, f"token {token}")
    ctx.metric(f"calls of {token}", 1)
    ctx.save_checkpoint({"token": token})
    ctx.variables["header"] = f"Bearer {token}"
    if ctx.attempt == 1:
        try:
            dict[str, str]()[f"inner: {token}"]
        except KeyError as error:
            ctx.log.exception("failed")
            raise ValueError(f"refused {token!r}") from error
    return {"url": f"https://example.org/?token={token}", token: [token]}


@recovery_strategy("test.by_table")
def decide_by_table(ctx: Context, failure: dict[str, Any]) -> Recovery:
    """Decide what the message of the failure asks for, each word of it in turn."""
    wishes = str(failure["message"]).partition("wants ")[2].split()
    wish, _, detail = wishes[min(ctx.attempt, len(wishes)) - 1].partition("=")
    match wish:
        case "complete":
            return Recovery.complete({"failed": failure["step"], "as": detail})
        case "skip":
            return Recovery.skip()
        case "retry":
            return Recovery.retry()
        case "restore":
            return Recovery.restore(detail)
        case "break":
            raise ValueError("undecided")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            pass
    return Recovery.abort()


@recovery_strategy("test.undecided")
async def leave_undecided(failure: dict[str, Any]) -> Any:
    """Return what is no decision."""
    return failure["code"]


@action("test.want")
def fail_with_wishes(ctx: Context, wishes: str, fails: int = 1) -> int:
    """Fail so often, and ask in the error for what a strategy then decides."""
    if ctx.attempt <= fails:
        raise FatalError(f"wants {wishes}")
    return ctx.attempt
