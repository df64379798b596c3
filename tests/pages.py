"""Pages whose readers are to type, write and see what stands there, and a reader.

A page is followed from the top down, in a folder of its own, as people would: a block
whose paragraph ends with a file's name and a colon is written into that file; `sh` is
typed into a terminal, and what it exports holds for the next one; `sh terminal` goes on
in a terminal of its own, and another word names what happens meanwhile; `sh docker` is
typed where containers are, and not here; `text` is what the command before has shown,
where `…` stands for anything, and a remark after a command is a line of it.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.polling import wait_until
from tests.worker_process import ROOT

_FENCE = re.compile(r"^```(.*)\n((?s:.*?))^```$", re.MULTILINE)
_FILE = re.compile(r"`([\w./-]+\.\w+)`[^`\n]*:$")
_REMARK = re.compile(r" # (.+)$", re.MULTILINE)
_EXPORT = re.compile(r"^ +export (\w+)=(.+)$", re.MULTILINE)
_BACKGROUND = re.compile(r" &$", re.MULTILINE)
_LEFT_OUT = {"", "ini"}
"""Drawings, and what is for other programs: no test has a systemd."""
_SHELL = ("bash", "-eu", "-c")

Happening: TypeAlias = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Block:
    """A fenced block: the first line's words, and what stands in it."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str
    file: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def read_page(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, in their order."""
    text = (ROOT / page).read_text("utf-8")
    for found in _FENCE.finditer(text):
        language, *words = found[1].split() or [""]
        before = text[: found.start()].rstrip().rpartition("\n\n")[2]
        file = _FILE.search(before.replace("\n", " "))
        yield Block(
            page,
            text.count("\n", 0, found.start()) + 1,
            language,
            tuple(words),
            found[2],
            file[1] if file else None,
        )


RUNBOOKS = tuple(
    f"docs/operations/{name}.md"
    for name in ("flushed_redis", "postgres_restart", "scale", "rotate_secrets")
)
"""Pages in which servers fall over; they are followed under load."""
TUTORIALS = ("README.md", "docs/tutorial.md")
"""Pages for newcomers; they are followed in an empty folder."""
FOLLOWED = (*TUTORIALS, *RUNBOOKS)
"""Pages that are followed on servers of their own."""


def list_pages(folder: str) -> list[str]:
    """Return the pages of a folder, or of several, by their names in the project."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f"{folder}/*.md"))


def list_sharing() -> list[str]:
    """Return the pages that are followed on servers that they share."""
    folders = ("docs/operations", "docs/howto")
    alone = ["docs/command_line.md", "docs/operations.md"]
    listed = [*alone, *(page for folder in folders for page in list_pages(folder))]
    return [page for page in listed if page not in FOLLOWED]


def without_measurement(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those by which coverage follows into processes.

    It would take longest, and what pages show is covered by other tests.
    """
    return {k: v for k, v in environment.items() if not k.startswith("COV")}


class Reader:
    """Who follows a page, in a folder, with terminals of their own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Begin in `folder`, with these variables in every terminal."""
        self.folder = folder
        self.environment = without_measurement(environment)
        self._shown = ""
        self._groups: list[Path] = []
        self._terminals: list[subprocess.Popen[bytes]] = []

    def follow(self, page: str, during: Mapping[str, Happening] | None = None) -> None:
        """Do what the page says; an AssertionError says where that fails.

        While something happens `during` which commands are typed, their block names it.
        """
        for block in read_page(page):
            if block.file is not None:
                self.write(block)
            elif block.language in _LEFT_OUT or "docker" in block.words:
                continue  # tests/acceptance/test_compose.py carries those out
            elif block.language == "text":
                self.compare(block)
            elif "terminal" in block.words:
                self.open_terminal(block)
            elif block.language == "sh":
                with ExitStack() as happening:
                    for word in block.words:
                        happening.enter_context((during or {})[word]())
                    self.type(block)
            else:
                raise AssertionError(f"what is a reader to do with {block}")

    def write(self, block: Block) -> None:
        """Write a file as it is shown."""
        assert block.file is not None
        path = self.folder / block.file
        assert path.is_relative_to(self.folder), f"{path} is not the reader's to write"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")

    def type(self, block: Block) -> None:
        """Type commands, and remember what they show and export."""
        kept = self.folder / ".environment"
        group = self.folder / f".group-{len(self._groups)}"
        if _BACKGROUND.search(block.text):
            self._groups.append(group)
        done = subprocess.run(
            # a terminal keeps its variables, exported or not
            [*_SHELL, f"echo $$ > {group}\nset -a\n{block.text}\nenv -0 > {kept}"],
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            capture_output=True,
            text=True,
            timeout=240,  # a few processes, beside whatever else runs
            check=False,
        )
        assert done.returncode == 0, f"{block}{done.stdout}{done.stderr}"
        self._shown = done.stdout
        for said in _REMARK.findall(block.text):
            assert said in done.stdout.splitlines(), f"{block}{done.stdout}"
        pairs = kept.read_text("utf-8").rstrip("\0").split("\0")
        self.environment = dict(pair.split("=", 1) for pair in pairs)

    def compare(self, block: Block) -> None:
        """Compare what was shown last with what the page shows."""
        pattern = re.escape(block.text.strip()).replace("…", "(?s:.*)")
        assert re.fullmatch(pattern, self._shown.strip()), f"{block}\n{self._shown}"

    def open_terminal(self, block: Block) -> None:
        """Let a command run in a terminal of its own, once it has something to say."""
        for earlier in self._terminals:
            # as every shell does: who is not waited for has not quite ended
            earlier.poll()
        log = self.folder / f"terminal-{len(self._terminals)}.log"
        with log.open("wb") as output:
            terminal = subprocess.Popen(
                [*_SHELL, f"exec env {block.text}"],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._terminals.append(terminal)
        # a worker may begin while its messages wait for it; servers must be there
        said = "Ctrl-C ends it all" if "plans up" in block.text else "\n"

        def is_begun() -> bool:
            assert terminal.poll() is None, log.read_text()
            return said in log.read_text()

        wait_until(is_begun, what=f"{block}to begin")
        for name, value in _EXPORT.findall(log.read_text()):
            self.environment[name] = value.strip("'")

    def close(self) -> None:
        """End what runs in the background; press Ctrl-C, in the last terminal first."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(int(group.read_text()), signal.SIGKILL)
        for terminal in reversed(self._terminals):
            if terminal.poll() is None:
                os.kill(terminal.pid, signal.SIGINT)
                terminal.wait(30)
