"""Records `plans demo` as it is, and draws docs/demo.svg of it: `make recording`.

Promises: what is shown is what the command wrote, when it wrote it; only the pauses are
shortened. What is drawn, and how, is decided in `film`.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from film import Chunk, draw_film, shorten_pauses, watch_screen

COLUMNS, ROWS = 116, 32
PICTURE = Path(__file__).parent / "demo.svg"
PLANS = Path(sys.executable).with_name("plans")


def run_in_terminal(command: Sequence[str], folder: str) -> Iterator[Chunk]:
    """Run a command in a terminal of its own, and yield what it writes, and when.

    Raises CalledProcessError when it does not succeed: a failure is not to be shown.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PLANS_")}
    began = time.monotonic()
    process = subprocess.Popen(  # noqa: S603  # our own command
        command,
        cwd=folder,
        env={**kept, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    while written := _read(ours):
        yield Chunk(time.monotonic() - began, written)
    os.close(ours)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        # how Linux tells that nobody has the other side open any more
        return b""


def main() -> None:
    """Run the demo, and draw it."""
    with tempfile.TemporaryDirectory(prefix="plans-") as folder:
        chunks = list(run_in_terminal([str(PLANS), "demo"], folder))
    typed = Chunk(0.0, b"\x1b[1;32m$\x1b[0m plans demo\r\n")
    frames = watch_screen([typed, *chunks], columns=COLUMNS, rows=ROWS)
    film = draw_film(
        shorten_pauses(frames), columns=COLUMNS, rows=ROWS, title="plans demo"
    )
    PICTURE.write_text(film, "utf-8")


if __name__ == "__main__":
    main()
