"""A real `plans flower` in a process of its own, on the loopback, and who asks it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from execution.settings import Settings
from tests.polling import wait_until
from tests.worker_process import ROOT, build_environment

PLANS = Path(sys.executable).with_name("plans")
LOGIN = "ann:a password of the tests"


class FlowerProcess:
    """Flower, started with the settings of a test, and one login."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Hold a process that was started; `start` starts one."""
        self.process = process
        self.folder = folder
        self.log = folder / "log"
        self.url = ""

    @classmethod
    def start(
        cls, settings: Settings, *options: str, environment: Mapping[str, str] = {}
    ) -> Self:
        """Start it on any free port, and wait until it says where it is."""
        folder = Path(tempfile.mkdtemp(prefix="plans-flower-"))
        (folder / "logins").write_text(f"{LOGIN}\n")
        with (folder / "log").open("wb") as output:
            process = subprocess.Popen(
                [PLANS, "flower", "--port", "0", *options],
                cwd=ROOT,
                env={
                    **build_environment(settings),
                    "PLANS_FLOWER_LOGINS_FILE": str(folder / "logins"),
                    **environment,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        flower = cls(process, folder)
        try:
            flower.url = wait_until(
                flower._find_url, what="Flower to listen", timeout_seconds=60
            )
        except BaseException:
            flower.kill()
            raise
        return flower

    @property
    def port(self) -> int:
        """Return the port on which it listens."""
        return int(self.url.rpartition(":")[2])

    def _find_url(self) -> str:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"Flower is at (\S+)/  Ctrl-C", self.log.read_text())
        return found[1] if found else ""

    def ask(
        self, path: str, *, method: str = "GET", login: str | None = LOGIN
    ) -> tuple[int, str]:
        """Return the status and the text that are answered."""
        request = urllib.request.Request(self.url + path, method=method)  # noqa: S310  # our own address
        if login is not None:
            code = b64encode(login.encode()).decode()
            request.add_header("Authorization", f"Basic {code}")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310  # the same
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def find_tasks(self, search: str = "") -> Mapping[str, Mapping[str, Any]]:
        """Return the tasks that Flower knows and a search finds, by their ids."""
        status, text = self.ask(f"/api/tasks?search={quote(search)}")
        assert status == 200, text
        found: Mapping[str, Mapping[str, Any]] = json.loads(text)
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(60)

    def __enter__(self) -> Self:
        """End it with the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, unless it has ended, and remove what it has written."""
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)
