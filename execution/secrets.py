"""Secrets: named in the inputs of a step, and revealed to nothing but its action.

Promises: a value leaves this module in the inputs of a call, and in no other way; what
is recorded of that call afterwards has the name in its place. Only what the author of
a plan has written is revealed: a parameter or a result that looks like the name of a
secret stays what it is. Knows neither plans nor databases.
"""

import importlib
import json
import os
import re
import urllib.parse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from .errors import SecretError, SettingsError
from .settings import Settings
from .variables import SECRET_PREFIX

SCHEME = "secret://"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SETTING = "RESOLVER"
_MOST_BYTES = 64 * 1024
_LEAST_CHARACTERS_IN_DATA = 8
"""Shorter ones turn up in results by chance, which must not change for that."""
_LEAST_CHARACTERS_OF_A_LINE = 8
_MOST_DEPTH = 64

Resolver: TypeAlias = Callable[[str], str | None]


def find_secret_fault(text: str, *, may_be_secret: bool) -> str | None:
    """Return what is wrong with a text of a plan as far as it names a secret.

    `may_be_secret` says whether it stands where secrets may be named.
    """
    if SCHEME not in text:
        return None
    if not may_be_secret:
        return f"{SCHEME} stands here; only the inputs of a step can name secrets"
    name = text.removeprefix(SCHEME)
    if name == text or SCHEME in name:
        return f"{SCHEME}NAME must be the whole text; put it together in the action"
    if not _NAME.fullmatch(name):
        return "the name of a secret must be 1 to 128 letters, digits, _, . or -"
    if name == _SETTING:
        return f"no secret can be called {_SETTING}, which names a setting"
    return None


class SecretStore:
    """Where this process finds secrets: its environment, a folder, a function."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        resolve: Resolver | None = None,
    ) -> None:
        """Look in `environment` (by default the process's own), `folder`, `resolve`.

        In this order; the first that knows a name wins.
        """
        self._environment = os.environ if environment is None else environment
        self._folder = folder
        self._resolve = resolve

    @classmethod
    def from_settings(cls, settings: Settings) -> "SecretStore":
        """Return the store that `settings` describe.

        Raises SettingsError when the resolver cannot be imported.
        """
        spec = settings.secret_resolver
        resolve = None if spec is None else _import_resolver(spec)
        return cls(folder=settings.secrets_dir, resolve=resolve)

    def get(self, name: str) -> str:
        """Return the value of a secret.

        Raises SecretError, saying where it was looked for, when there is none; what
        the resolver raises is its own.
        """
        variable = SECRET_PREFIX + name
        value = self._environment.get(variable)
        if value is None and self._folder is not None:
            value = _read_file(name, self._folder / name)
        if value is None and self._resolve is not None:
            value = self._resolve(name)
        if isinstance(value, str):
            return value
        if value is not None:
            kind = type(value).__name__
            raise SecretError(f"the resolver gave a {kind} for {SCHEME}{name}, no text")
        raise SecretError(
            f"there is no secret {name}: {variable} is not set where this worker runs,"
            f" {self._describe_folder(name)},"
            f" and {'the' if self._resolve else 'no'} PLANS_SECRET_RESOLVER"
            f" {'does not know it' if self._resolve else 'is set'}"
        )

    def _describe_folder(self, name: str) -> str:
        if self._folder is None:
            return "no PLANS_SECRETS_DIR is set"
        return f"there is no file {self._folder / name}"


class StepSecrets:
    """The secrets of one step: revealed for its calls, concealed in its records."""

    def __init__(self, template: object, store: SecretStore) -> None:
        """Take the names from `template`, the inputs as the plan states them."""
        self._template = template
        self._store = store
        self._names: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self.most_characters = 0
        """How long a text can be that is concealed as one."""

    def reveal(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return evaluated `inputs` with the values of the secrets that they name.

        Raises SecretError when one of them is not to be had.
        """
        revealed: Mapping[str, Any] = self._reveal(self._template, inputs)
        return revealed

    def _reveal(self, template: object, value: Any) -> Any:
        match template:
            case str() if template.startswith(SCHEME) and value == template:
                return self._take(template.removeprefix(SCHEME))
            case dict() if isinstance(value, dict):
                return {
                    key: self._reveal(template.get(key), item)
                    for key, item in value.items()
                }
            case list() if isinstance(value, list) and len(value) == len(template):
                return [
                    self._reveal(part, item)
                    for part, item in zip(template, value, strict=True)
                ]
            case _:
                return value

    def _take(self, name: str) -> str:
        value = self._store.get(name)
        known = len(self._names)
        for form in _list_forms(value):
            self._names.setdefault(form, name)
        if len(self._names) > known:
            # of two that begin alike, the longer one first
            longest_first = sorted(self._names, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
            self.most_characters = len(longest_first[0])
        return value

    def conceal(self, text: str) -> str:
        """Return `text` with the name of each secret in the place of its value."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: SCHEME + self._names[found[0]], text)

    def conceal_in(self, value: Any, *, depth: int = 0) -> Any:
        """Return data with names in the place of values that are not too short."""
        if self._pattern is None or depth > _MOST_DEPTH:
            return value
        inner = partial(self.conceal_in, depth=depth + 1)
        match value:
            case str():
                return self._pattern.sub(self._name_if_long, value)
            case Mapping():
                return {inner(key): inner(item) for key, item in value.items()}
            case list() | tuple():
                return [inner(item) for item in value]
            case _:
                return value

    def _name_if_long(self, found: re.Match[str]) -> str:
        text = found[0]
        is_short = len(text) < _LEAST_CHARACTERS_IN_DATA
        return text if is_short else SCHEME + self._names[text]


NO_SECRETS = StepSecrets(None, SecretStore({}))
"""For a step whose inputs name none."""


def _list_forms(value: str) -> list[str]:
    """Return how a value may be written in messages: as it is, quoted, line by line."""
    lines = [line.strip() for line in value.splitlines()]
    forms = [
        value,
        repr(value)[1:-1],
        ascii(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        urllib.parse.quote(value, safe=""),
        urllib.parse.quote_plus(value),
        *(line for line in lines if len(line) >= _LEAST_CHARACTERS_OF_A_LINE),
    ]
    return [form for form in dict.fromkeys(forms) if form]


def _read_file(name: str, path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"the secret {name} cannot be read from {path}: {error.strerror}"
        raise SecretError(message) from error
    except UnicodeDecodeError:
        # not chained: that error holds the bytes
        raise SecretError(f"the secret {name} in {path} is not UTF-8 text") from None
    if len(content) > _MOST_BYTES:
        raise SecretError(f"the secret {name} in {path} takes more than 64 kB")
    # editors and `echo` end a file with a line break
    return text.removesuffix("\n").removesuffix("\r")


def _import_resolver(spec: str) -> Resolver:
    module, _, function = spec.partition(":")
    try:
        resolve = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingsError(
            f"PLANS_SECRET_RESOLVER={spec!r} does not import: {error}"
        ) from error
    if not callable(resolve):
        raise SettingsError(f"PLANS_SECRET_RESOLVER={spec!r} is not a function")
    found: Resolver = resolve
    return found
