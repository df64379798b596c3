"""A command on a terminal of its own: what it draws there, and keys pressed."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass
class Terminal:
    """A process on a terminal, and what it has drawn so far."""

    process: "subprocess.Popen[bytes]"
    screen: int
    drawn: str = ""

    @property
    def words(self) -> str:
        """What was drawn, without the sequences that move and colour it."""
        return _SEQUENCE.sub("", self.drawn)

    def read_until(self, words: str) -> None:
        """Read on until what was drawn holds `words`; fail at the end of it."""
        while words not in self.words:
            assert self._read(), f"{words!r} was never drawn in:\n{self.drawn}"

    def press(self, key: bytes) -> None:
        """Press a key, such as b"\\x03" for Ctrl-C."""
        os.write(self.screen, key)

    def wait(self) -> int:
        """Read until the process has ended; return its exit code."""
        while self._read():
            pass
        return self.process.wait(60)

    def _read(self) -> bool:
        # a terminal that its last process has left says so by an error
        with suppress(OSError):
            if data := os.read(self.screen, 4096):
                self.drawn += data.decode(errors="replace")
                return True
        return False


@contextmanager
def open_terminal(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    columns: int = 160,
) -> Iterator[Terminal]:
    """Run a command on a terminal of so many columns; kill it in the end."""
    screen, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def adopt() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=adopt,
    ) as process:
        os.close(end)
        try:
            yield Terminal(process, screen)
        finally:
            process.kill()
            os.close(screen)
