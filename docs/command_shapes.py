"""What `--json` prints, as tables made of the JSON Schema of every command.

Promises: every command that prints JSON is in them, and every key of what it prints.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def build_shapes(schema: Mapping[str, Any]) -> str:
    """Return the tables: what each command prints, and what its parts consist of."""
    lines = ["| command | prints |", "|---|---|"]
    for command, shape in schema["properties"].items():
        lines.append(f"| `{command}` | {_describe(shape, schema['$defs'])} |")
    lines += ["", "| part | keys |", "|---|---|"]
    lines += _list_parts(schema["$defs"])
    return "\n".join(lines) + "\n"


def _list_parts(definitions: Mapping[str, Any]) -> Iterator[str]:
    for name, definition in sorted(definitions.items()):
        if _is_part(name, definition):
            keys = ", ".join(_list_keys(definition, definitions))
            yield f"| {name} | {keys} |"


def _describe(shape: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return what a command prints: a part, or an object with keys of its own."""
    if "anyOf" in shape:
        return "; or ".join(_describe(each, definitions) for each in shape["anyOf"])
    if "$ref" in shape:
        name: str = shape["$ref"].rpartition("/")[2]
        is_part = _is_part(name, definitions[name])
        return name if is_part else _describe(definitions[name], definitions)
    return f"{{{', '.join(_list_keys(shape, definitions))}}}"


def _list_keys(
    shape: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in shape["properties"].items():
        kind = _name_kind(value, definitions)
        yield f"`{key}`: {kind}" if kind else f"`{key}`"


def _name_kind(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return the part that a value is, or that it lists; nothing for what is plain."""
    for inner in (value, *value.get("anyOf", ())):
        if "$ref" in inner:
            name: str = inner["$ref"].rpartition("/")[2]
            return name if "properties" in definitions[name] else ""
        items = inner.get("items")
        if items and (kind := _name_kind(items, definitions)):
            return f"[{kind}]"
    return ""


def _is_part(name: str, definition: Mapping[str, Any]) -> bool:
    return "properties" in definition and not name.endswith("Shape")
