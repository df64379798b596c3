"""Compose files as `docker compose` reads them, as far as ours go.

Files become one project: variables are filled in, the later file is laid over the
earlier one. What our files do not use is not known here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests.worker_process import ROOT

USUAL = (ROOT / "docker-compose.yml",)
WITH_RABBITMQ = (*USUAL, ROOT / "docker-compose.rabbitmq.yml")
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REPLACED = {"command", "entrypoint", "test"}
"""Lists of which the later file's stand instead of the earlier one's."""


def read_project(files: Sequence[Path], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return the project that the files make together."""
    merged: dict[str, Any] = {}
    for file in files:
        merged = merge(merged, extend(yaml.safe_load(file.read_text("utf-8"))))
    project = fill_in(merged, variables)
    return {k: v for k, v in project.items() if not k.startswith("x-")}


def extend(document: dict[str, Any]) -> dict[str, Any]:
    """Return the file with what its services begin with in them."""
    extended = {}
    for name, service in document.get("services", {}).items():
        own = dict(service)
        if (begins := own.pop("extends", None)) is not None:
            other = yaml.safe_load((ROOT / begins["file"]).read_text("utf-8"))
            own = merge(other["services"][begins["service"]], own)
        extended[name] = own
    return {**document, "services": extended}


def fill_in(value: Any, variables: Mapping[str, str]) -> Any:
    """Return the value with each variable, or its default, in the place of its name."""

    def choose(found: re.Match[str]) -> str:
        name, mark, text = found.groups()
        if name is None:
            return "$"
        given = variables.get(name, "")
        assert given or mark != "?", f"{name}: {text}"
        return given or (text if mark == "-" else "")

    if isinstance(value, dict):
        return {key: fill_in(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill_in(inner, variables) for inner in value]
    return _VARIABLE.sub(choose, value) if isinstance(value, str) else value


def merge(earlier: Any, later: Any, key: str = "") -> Any:
    """Return what the later file makes of what the earlier one says."""
    if isinstance(earlier, dict) and isinstance(later, dict):
        new = {k: v for k, v in later.items() if k not in earlier}
        both = {k: merge(v, later[k], k) for k, v in earlier.items() if k in later}
        return {**earlier, **both, **new}
    if isinstance(earlier, list) and isinstance(later, list) and key not in _REPLACED:
        if key == "volumes":
            targets = {mount.split(":")[1] for mount in later}
            earlier = [m for m in earlier if m.split(":")[1] not in targets]
        return [*earlier, *(item for item in later if item not in earlier)]
    return later


def list_in_order(project: Mapping[str, Any]) -> list[str]:
    """Return the services, each after those that it depends on."""
    services = project["services"]
    graph = {name: list(s.get("depends_on", ())) for name, s in services.items()}
    return list(TopologicalSorter(graph).static_order())


def read_seconds(text: str) -> float:
    """Return the seconds of `1m30s`."""
    parts = re.findall(r"(\d+)(ms|s|m|h)", text)
    assert "".join(map("".join, parts)) == text, text
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def list_secrets(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each secret of a service, and the path at which it finds it."""
    for secret in service.get("secrets", ()):
        if isinstance(secret, str):
            yield secret, f"/run/secrets/{secret}"
        else:
            yield secret["source"], secret["target"]
