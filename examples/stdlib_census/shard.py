"""Takes the census of one shard, a few files at a time.

Promises: `advance` until `finished` gives the same census whether it ran through or was
taken up again from any `saved()` in between; a file that does not parse is counted and
named, not fatal; a file that cannot be read is fatal, since trying again may help.

Must not know plans: who calls `advance` decides when to save, to report, to stop.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .census import UnparsableError, take_census
from .scanner import package_of
from .tally import Census, Tally, merge

FILES_PER_STAGE = 10


@dataclass(frozen=True, slots=True)
class Stage:
    """How far the census of a shard has come."""

    files: tuple[str, ...]
    done: int = 0
    census: Census = field(default_factory=Census)

    @property
    def finished(self) -> bool:
        """Tell whether every file of the shard is in the census."""
        return self.done == len(self.files)

    @property
    def percent(self) -> int:
        """Return how much of the shard is done, by files."""
        return 100 * self.done // len(self.files) if self.files else 100

    def saved(self) -> dict[str, Any]:
        """Return what `resume` needs to go on from here, as plain JSON."""
        last = self.files[self.done - 1] if self.done else None
        return {"done": self.done, "last": last, "partial": self.census.to_json()}


def resume(files: Sequence[str], saved: Mapping[str, Any]) -> Stage:
    """Return the saved stage, or the start if nothing fitting was saved."""
    done = saved.get("done", 0)
    # After a restore with other inputs the files may be others than those counted.
    if not done or list(files[done - 1 : done]) != [saved["last"]]:
        return Stage(tuple(files))
    return Stage(tuple(files), done, Census.from_json(saved["partial"]))


def advance(stage: Stage, root: Path) -> Stage:
    """Count the next few files."""
    done = min(stage.done + FILES_PER_STAGE, len(stage.files))
    counted = (_count(root, path) for path in stage.files[stage.done : done])
    return Stage(stage.files, done, merge([stage.census, *counted]))


def join_shards(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the census of all shards together, from JSON to JSON."""
    return merge(Census.from_json(part) for part in parts).to_json()


def _count(root: Path, path: str) -> Census:
    source = Path(root, path).read_bytes()
    try:
        return take_census(source, path)
    except UnparsableError as fault:
        failed = Tally(failed_files=1, size_bytes=len(source))
        return Census(
            packages={package_of(path): failed}, failures=((path, str(fault)),)
        )
