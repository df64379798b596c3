"""Where a run took place: a speed on its own says more about that than about code."""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.stage import Stage

_PACKAGES = (
    "celery-plans",
    "celery",
    "kombu",
    "billiard",
    "redis",
    "psycopg2-binary",
    "SQLAlchemy",
    "dbos",
    "procrastinate",
    "psycopg",
)
_FLUSHES = 200
_PAGE_BYTES = 8192


def describe_machine(stage: Stage) -> dict[str, Any]:
    """Return the facts that a reader needs to judge the figures."""
    return {
        "measured_at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": _read_cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": sys.version.split()[0],
        **_read_packages(),
        **_read_servers(stage),
        "flush_us": round(measure_flush_us(stage.postgres.data.parent)),
    }


def _read_cpu_model() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else platform.machine()


def _read_packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _read_servers(stage: Stage) -> dict[str, Any]:
    with closing(stage.connect()) as connection, connection.cursor() as cursor:
        values = {}
        for name in (
            "server_version",
            "fsync",
            "synchronous_commit",
            "wal_sync_method",
        ):
            cursor.execute(f"SHOW {name}")
            values["postgresql" if name == "server_version" else name] = (
                cursor.fetchone() or [""]
            )[0]
    with stage.open_redis() as client:
        facts: Any = client.info("server")
    return {
        **values,
        "redis server": facts.get("valkey_version", facts["redis_version"]),
    }


def measure_flush_us(folder: Path) -> float:
    """Return the median time of a write that is flushed to the disk of PostgreSQL.

    It is what a commit waits for at least, as `pg_test_fsync` measures it.
    """
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_FLUSHES):
            begun = time.perf_counter()
            file.seek(0)
            file.write(b"x" * _PAGE_BYTES)
            os.fdatasync(file.fileno())
            times.append(1e6 * (time.perf_counter() - begun))
    return statistics.median(times)
