"""Where values lie that are too large for a row: any place that fsspec knows.

Promises: what `keep` has returned can be read until the execution is deleted, by every
process that has the same store; what is read is what was written, or an error that
names it. A path is made of ids, and nothing that a user has written. fsspec is imported
when there is a large value, and not before.

Must not know what values mean, or who refers to them.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from tenacity import (
    Retrying,
    retry_if_not_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from .errors import (
    PayloadError,
    PayloadLostError,
    PlansError,
    ResultError,
    SettingsError,
)
from .identity import is_execution_id
from .large_values import LargeValue, is_safe_path, load_all, revive
from .results import MAX_VALUE_BYTES, decode_json, encode_json
from .settings import Settings

MAX_PAYLOAD_BYTES = 256 * 2**20
"""The most that one value may take in the store, as JSON in UTF-8."""

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_ASK_AGAIN = Retrying(
    retry=retry_if_not_exception_type((PlansError, ImportError)),
    stop=stop_after_attempt(3),
    wait=wait_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)
"""A store over a network fails now and then, and a result is too dear for that."""


class PayloadStore:
    """Large values of one installation; any thread may use it, also after a fork."""

    def __init__(self, url: str, schema: str) -> None:
        """Keep values below `url`, in a folder called `schema`; nothing is opened."""
        self._url = url
        self._schema = schema
        self._local = _find_local(url)
        self._opened: tuple[int, Any, str] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the store that the settings name: by default a folder of the home."""
        return cls(settings.payloads_url, settings.schema)

    def check(self) -> None:
        """Raise SettingsError when there is no such kind of store."""
        if self._local is not None:
            return
        from fsspec import get_filesystem_class  # most need it never
        from fsspec.core import split_protocol

        try:
            get_filesystem_class(split_protocol(self._url.partition("::")[0])[0])
        except (ValueError, ImportError) as error:
            raise SettingsError(f"PLANS_PAYLOADS cannot be used: {error}") from error

    def keep(
        self, value: object, *, execution_id: str, position: int, token: str, place: str
    ) -> str:
        """Return `value` as JSON text; of a large one, that of a reference to it.

        It is written before this returns. Raises ResultError for what is no JSON, or
        beyond the limit of the store, and PayloadError when the store does not take it.
        """
        text = encode_json(value, place=place, most_bytes=MAX_PAYLOAD_BYTES)
        content = text.encode()
        if len(content) <= MAX_VALUE_BYTES:
            return text
        path = f"{self._schema}/{execution_id}/{position}-{token}.json"
        if not is_safe_path(path):
            raise ResultError(f"{place} cannot be kept: {path} is no path of ours")
        self._ask("written", path, lambda: self._write(path, content))
        digest = hashlib.sha256(content).hexdigest()
        reference = LargeValue(path, len(content), digest, self.read)
        return encode_json(reference, place=place)

    def read(self, reference: LargeValue) -> Any:
        """Return the value that a reference stands for.

        Raises PayloadLostError when it is not there, or is another than was written,
        and PayloadError when the store does not answer.
        """
        path = reference.path
        if not is_safe_path(path):
            raise PayloadLostError(f"the large value {path!r} is at no path of ours")
        content = self._ask("read", path, lambda: self._read(path))
        if hashlib.sha256(content).hexdigest() != reference.sha256:
            raise PayloadLostError(
                f"the large value {path} is not what was written: it has"
                f" {len(content):,} bytes, and {reference.size_bytes:,} were"
            )
        return decode_json(content.decode())

    def resolve(self, value: Any) -> Any:
        """Return a recorded value with what the references in it stand for."""
        return load_all(revive(value, self.read))

    def remove(self, execution_id: str) -> None:
        """Remove what lies there of an execution, if anything does.

        Raises PayloadError when that fails: it may be called again.
        """
        if not is_execution_id(execution_id):
            return
        folder = f"{self._schema}/{execution_id}"
        self._ask("removed", folder, lambda: self._remove(folder))

    def discard(self, execution_id: str) -> None:
        """Remove what lies there of a deleted execution; the log says if that fails."""
        try:
            self.remove(execution_id)
        except PayloadError as error:
            logger.warning(
                "large values are left behind; delete the execution again",
                extra={"execution_id": execution_id, "cause": str(error)},
            )

    def _ask(self, done: str, path: str, call: Callable[[], _T]) -> _T:
        try:
            return _ASK_AGAIN.copy()(call)
        except PlansError:
            # a timeout of the step, for one, which may be raised anywhere
            raise
        except Exception as error:  # stores raise what they like
            raise PayloadError(
                f"the large value {path} could not be {done}:"
                f" {type(error).__name__}: {error}"
            ) from error

    def _write(self, path: str, content: bytes) -> None:
        system, root = self._open()
        whole = f"{root}/{path}"
        if self._local is not None:
            # results are nobody else's business; a folder that is there stays as it is
            self._local.mkdir(mode=0o700, parents=True, exist_ok=True)
        system.makedirs(whole.rpartition("/")[0], exist_ok=True)
        with system.open(whole, "wb") as file:
            file.write(content)
            if self._local is not None:
                file.flush()
                os.fsync(file.fileno())
        if self._local is not None:
            _settle_folders(self._local / path, self._local)

    def _read(self, path: str) -> bytes:
        system, root = self._open()
        try:
            content: bytes = system.cat_file(f"{root}/{path}")
        except FileNotFoundError as error:
            raise PayloadLostError(
                f"the large value {path} is not there; do all processes have the same"
                " PLANS_PAYLOADS?"
            ) from error
        return content

    def _remove(self, folder: str) -> None:
        if self._local is not None:
            if (self._local / folder).exists():
                shutil.rmtree(self._local / folder)
            return
        system, root = self._open()
        # what others have written meanwhile may be in no listing that it remembers
        system.invalidate_cache()
        if system.exists(f"{root}/{folder}"):
            system.rm(f"{root}/{folder}", recursive=True)

    def _open(self) -> tuple[Any, str]:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            from fsspec.core import url_to_fs  # most need it never

            system, root = url_to_fs(self._local or self._url)
            opened = self._opened = (os.getpid(), system, root.rstrip("/"))
        return opened[1], opened[2]


def _find_local(url: str) -> Path | None:
    """Return the folder that a URL names; None when it is elsewhere."""
    path = url.removeprefix("file://").removeprefix("local://")
    return None if "://" in path or "::" in path else Path(path).absolute()


def _settle_folders(path: Path, root: Path) -> None:
    """Let the names of new files and folders survive a crash of the machine."""
    if os.name == "nt":
        return
    for folder in path.parents:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == root:
            break
