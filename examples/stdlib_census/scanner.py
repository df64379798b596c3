"""Finds the modules of a library tree and deals them out in shards of equal weight.

Promises: every `.py` file under the root is either in exactly one shard, or in exactly
one row of what was left out, or in a directory of installed packages or caches; the
same tree always gives the same shards, in the same order.

Must not know what is inside a file, nor that a plan runs it.
"""

import heapq
import os
import platform
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from .library import LeftOut, Library

# Not the standard library, or not source: neither walked nor counted, since what is in
# them depends on what somebody installed or ran.
_FOREIGN_DIRECTORIES = frozenset({"site-packages", "dist-packages", "__pycache__"})
_TEST_DIRECTORIES = frozenset({"test", "tests", "idle_test"})
_SITE_HOOKS = frozenset({"sitecustomize.py", "usercustomize.py"})

TESTS = "test suites, with their deliberately broken sources"
BUILD_SETTINGS = "settings of this build and this machine"
SCRIPTS = "scripts that cannot be imported as modules"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source file: its path under the root, with slashes, and its weight."""

    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Tree:
    """What a walk over the root found, both parts in a stable order."""

    files: tuple[SourceFile, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the top-level modules and packages, by name."""
        return tuple(sorted({package_of(file.path) for file in self.files}))


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the work, its files by path."""

    files: tuple[SourceFile, ...]

    @property
    def size_bytes(self) -> int:
        """Return the weight of the shard."""
        return sum(file.size_bytes for file in self.files)


def package_of(path: str) -> str:
    """Return the name under which `import` reaches the file's top level."""
    return path.partition("/")[0].removesuffix(".py")


def find_root(root: str) -> Path:
    """Return the directory to count; an empty root means the interpreter's library."""
    found = Path(root or sysconfig.get_path("stdlib")).expanduser().resolve()
    if not found.is_dir():
        raise NotADirectoryError(f"{found} is no directory: pass root a library tree")
    return found


def find_sources(root: Path) -> Tree:
    """Walk the root; sort its Python files into counted and left out."""
    counted: list[SourceFile] = []
    files: Counter[str] = Counter()
    size_bytes: Counter[str] = Counter()
    for source in _walk(root):
        reason = _reason_to_leave_out(root, PurePosixPath(source.path))
        if reason is None:
            counted.append(source)
        else:
            files[reason] += 1
            size_bytes[reason] += source.size_bytes
    left_out = (LeftOut(reason, files[reason], size_bytes[reason]) for reason in files)
    return Tree(
        files=tuple(sorted(counted, key=lambda source: source.path)),
        left_out=tuple(sorted(left_out, key=lambda row: row.reason)),
    )


def deal(files: Sequence[SourceFile], count: int) -> list[Shard]:
    """Deal the files into `count` shards: the heaviest first, each to the lightest."""
    if count < 1:
        raise ValueError(f"{count} shards cannot hold the files: ask for at least one")
    hands: list[list[SourceFile]] = [[] for _ in range(count)]
    lightest = [(0, number) for number in range(count)]
    for file in sorted(files, key=lambda file: (-file.size_bytes, file.path)):
        weight, number = heapq.heappop(lightest)
        hands[number].append(file)
        heapq.heappush(lightest, (weight + file.size_bytes, number))
    return [
        Shard(tuple(sorted(hand, key=lambda source: source.path))) for hand in hands
    ]


def describe(root: str, shards: int) -> dict[str, Any]:
    """Return the library and its shards as plain JSON: the result of the scan."""
    directory = find_root(root)
    tree = find_sources(directory)
    library = Library(
        root=str(directory),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        own=not root,
        packages=tree.packages,
        sourceless=tuple(sorted(sys.stdlib_module_names.difference(tree.packages))),
        left_out=tree.left_out,
    )
    hands = [
        {"files": [file.path for file in shard.files], "bytes": shard.size_bytes}
        for shard in deal(tree.files, shards)
    ]
    return {"library": library.to_json(), "shards": hands}


def _walk(root: Path) -> Iterator[SourceFile]:
    for directory, children, names in os.walk(root, onerror=_refuse):
        children[:] = sorted(set(children) - _FOREIGN_DIRECTORIES)
        for name in sorted(names):
            path = Path(directory, name)
            if name.endswith(".py") and path.is_file():
                relative = path.relative_to(root).as_posix()
                yield SourceFile(relative, path.stat().st_size)


def _refuse(fault: OSError) -> NoReturn:
    # os.walk would pass over a directory it may not read, and the census would be
    # short without anybody being told.
    raise fault


def _reason_to_leave_out(root: Path, path: PurePosixPath) -> str | None:
    first, *deeper = path.parts
    if _TEST_DIRECTORIES.intersection(path.parent.parts):
        return TESTS
    if first in _SITE_HOOKS or first.startswith("_sysconfigdata"):
        return BUILD_SETTINGS
    importable = all(part.isidentifier() for part in path.with_suffix("").parts)
    if not importable or (deeper and not Path(root, first, "__init__.py").is_file()):
        return SCRIPTS
    return None
