"""A real Chromium, driven by the WebDriver protocol of its `chromedriver`.

It has a profile of its own, and reaches nothing but this machine.
"""

import os
import re
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.polling import wait_until

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which the protocol tells an element's name."""
_OPTIONS = (
    "--headless=new",
    # which a container without privileges, or root, cannot have
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """One window; every question waits until it can be answered."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        """Drive a session that was begun."""
        self._client = client
        self._session = session

    def ask(self, method: str, place: str, **body: Any) -> Any:
        """Return what the driver answers."""
        status, value = self._ask(method, place, body)
        assert status == 200, value
        return value

    def _ask(self, method: str, place: str, body: dict[str, Any]) -> tuple[int, Any]:
        sent = body if method == "POST" else None
        answer = self._client.request(method, f"{self._session}{place}", json=sent)
        return answer.status_code, answer.json()["value"]

    def go(self, url: str) -> None:
        """Load a page."""
        self.ask("POST", "/url", url=url)

    def run(self, script: str, *given: Any) -> Any:
        """Return what a script says of the page."""
        return self.ask("POST", "/execute/sync", script=script, args=list(given))

    def find(self, selector: str) -> str:
        """Return the first element that fits, once there is one."""
        found = wait_until(
            lambda: self.ask("POST", "/elements", using="css selector", value=selector),
            what=f"an element {selector}",
            timeout_seconds=60,
        )
        return str(found[0][_ELEMENT])

    def click(self, selector: str) -> None:
        """Click on an element."""
        self._do(selector, "click")

    def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        self._do(selector, "value", text=text)

    def _do(self, selector: str, act: str, **body: Any) -> None:
        wait_until(
            lambda: self._has_done(f"/element/{self.find(selector)}/{act}", body),
            what=f"an element {selector} that stays for its {act}",
        )

    def _has_done(self, place: str, body: dict[str, Any]) -> bool:
        """Do it, unless the page has replaced the element since it was found."""
        status, value = self._ask("POST", place, body)
        if status != 200 and value["error"] == "stale element reference":
            return False
        assert status == 200, value
        return True

    def read(self, selector: str) -> str:
        """Return the text of all that fits, as it is on the page now."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".map((one) => one.textContent.trim()).join('\\n')"
        )
        return re.sub(r"\s+", " ", str(self.run(script, selector)))

    def await_text(self, selector: str, text: str) -> None:
        """Wait until what fits says `text`."""
        wait_until(
            lambda: text in self.read(selector),
            what=f"{text!r} in {selector}",
            timeout_seconds=60,
        )

    def list_complaints(self) -> list[str]:
        """Return what the browser has complained about: errors, blocked scripts."""
        entries = self.ask("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def take_picture(self) -> bytes:
        """Return a PNG of the window."""
        return b64decode(self.ask("GET", "/screenshot"))


@contextmanager
def browsing(width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """Open a browser; where there is none, the test is skipped, or fails in CI."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        _do_without()
    home = Path(tempfile.mkdtemp(prefix="plans-browser-"))
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([str(driver), "--port=0"], stdout=output, cwd=home)
    try:
        ports = wait_until(
            lambda: re.findall(r"successfully on port (\d+)", log.read_text()),
            what="chromedriver to answer",
        )
        url = f"http://127.0.0.1:{ports[0]}"
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            options = [*_OPTIONS, f"--window-size={width},{height}"]
            options.append(f"--user-data-dir={home / 'profile'}")
            session = _begin(client, str(chromium), options)
            yield Browser(client, f"/session/{session}")
            client.delete(f"/session/{session}")
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(home, ignore_errors=True)


def _do_without() -> None:
    failed = os.environ.get("NO_BROWSER")
    reason = failed or "there is no Chromium: apt-get install chromium chromium-driver"
    may_install = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if os.environ.get("CI") == "true" and may_install and not failed:
        # .ci/run installs it where it may, and says if it could not
        pytest.fail(reason)
    pytest.skip(reason)


def _begin(client: httpx.Client, chromium: str, options: list[str]) -> str:
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": chromium, "args": options},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    answer = client.post("/session", json={"capabilities": {"alwaysMatch": wanted}})
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return str(value["sessionId"])
