"""What a worker says of its own health, in a small file, and what follows from it.

Promises: the file is whole whenever it is read, and only who holds it writes it; what
an ended process has left, or another one of the same number, is not taken for health.
It loads nothing, for it is asked every few seconds. It must not know what a worker is.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

USUAL_WITHIN_SECONDS = 30.0
"""How old the file of a worker may be that lives, unless somebody says otherwise."""

_STARTED_AT = 19
"""Where the kernel shows when a process began, counted after its name and brackets."""
_ENDED = frozenset("ZXx")
_numbers = count()


class HealthState(StrEnum):
    """Where a worker stands."""

    STARTING = "starting"
    """It has not begun to take messages."""
    READY = "ready"
    """It takes messages, and can record what comes of them."""
    WAITING = "waiting"
    """It waits for a server, and goes on as soon as that answers."""
    DRAINING = "draining"
    """It was told to stop, and lets end what it runs."""


@dataclass(frozen=True)
class WorkerHealth:
    """What a worker says: where it stands at a moment, and why it is not ready.

    `process` tells its process from another one with the same `pid`. Until
    `quiet_until`, it may say nothing more, and live.
    """

    state: HealthState
    at: datetime
    pid: int
    process: str | None
    worker: str
    reasons: tuple[str, ...] = ()
    quiet_until: datetime | None = None


@dataclass(frozen=True)
class HealthVerdict:
    """What follows from a file: whether its worker lives, is ready, and why not."""

    is_live: bool
    is_ready: bool
    reason: str
    health: WorkerHealth | None = None
    age_seconds: float | None = None


def write_health(path: Path, health: WorkerHealth) -> None:
    """Put `health` in the place of what the file says; raises OSError.

    Who reads meanwhile sees the one or the other.
    """
    # a number of its own: a handler of signals may write while another write goes on
    new = path.with_name(f".{path.name}.{os.getpid()}.{next(_numbers)}")
    try:
        new.write_text(json.dumps(asdict(health), default=_write_moment) + "\n")
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def _write_moment(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def read_health(path: Path) -> WorkerHealth:
    """Return what the file says; raises OSError, and ValueError where it is another."""
    said = json.loads(path.read_text())
    try:
        return WorkerHealth(
            state=HealthState(said["state"]),
            at=_read_moment(said["at"]),
            pid=int(said["pid"]),
            process=said["process"],
            worker=str(said["worker"]),
            reasons=tuple(map(str, said["reasons"])),
            quiet_until=said["quiet_until"] and _read_moment(said["quiet_until"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error


def _read_moment(text: Any) -> datetime:
    # one without an offset could not be compared
    return datetime.fromisoformat(text).astimezone(UTC)


def judge_file(
    path: Path, within_seconds: float = USUAL_WITHIN_SECONDS
) -> HealthVerdict:
    """Say whether the worker of the file lives and is ready, and why it is not.

    A worker lives whose process does, and that has said something in the latest
    `within_seconds`, or has said that it may be quiet for longer.
    """
    try:
        health = read_health(path)
    except FileNotFoundError:
        reason = f"there is no {path}: its worker is still starting, or has ended"
        return HealthVerdict(is_live=False, is_ready=False, reason=reason)
    except (OSError, ValueError) as error:
        reason = f"{path} cannot be read: {error}"
        return HealthVerdict(is_live=False, is_ready=False, reason=reason)
    now = datetime.now(UTC)
    fault = _find_fault(health, now, within_seconds)
    is_ready = fault is None and health.state is HealthState.READY
    reason = fault or "; ".join([str(health.state), *health.reasons])
    age_seconds = (now - health.at).total_seconds()
    return HealthVerdict(fault is None, is_ready, reason, health, age_seconds)


def is_alive(health: WorkerHealth) -> bool:
    """Say whether the process that wrote this is there, here where it is asked."""
    try:
        os.kill(health.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        # it is somebody else's, and there
        pass
    process = identify_process(health.pid)
    return process == health.process or None in (process, health.process)


def identify_process(pid: int) -> str | None:
    """Return what tells a process from a later one with its number, where that is told.

    A process that has ended and waits for its parent is told from all others.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # its name may hold spaces and brackets
    values = stat.rpartition(")")[2].split()
    return "ended" if values[0] in _ENDED else values[_STARTED_AT]


def _find_fault(
    health: WorkerHealth, now: datetime, within_seconds: float
) -> str | None:
    """Return why the worker does not live, None if it does."""
    if not is_alive(health):
        return f"process {health.pid} of the worker {health.worker} is gone"
    age_seconds = (now - health.at).total_seconds()
    if age_seconds < -within_seconds:
        return f"the worker has spoken {-age_seconds:.0f} s from now: the clock was set"
    is_excused = health.quiet_until is not None and now <= health.quiet_until
    if age_seconds > within_seconds and not is_excused:
        return (
            f"the loop of the worker has said nothing for {age_seconds:.0f} s"
            f" (more than {within_seconds:g})"
        )
    return None


def excuse_for(now: datetime, seconds: float) -> datetime:
    """Return until when a worker may be quiet that says so `now`."""
    return now + timedelta(seconds=seconds)
