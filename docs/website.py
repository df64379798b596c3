"""What the website has besides the pages of docs/: a hook of MkDocs.

Promises: the pages are written once, for a code host and for the website alike. What
lies beside docs/ (README, examples, changelog) is a page of the site, and every link is
turned into one that leads to where its target is there; one that leads nowhere is a
warning, and so an error. The references are made of the code, at each build. It must
not know what a page says.
"""

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from command_pages import build_commands_page
from diagrams import draw_diagram
from mkdocs.structure.files import File
from python_pages import build_python_pages

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
MOVED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/results/shown.json": "shown.json",
}
"""Files beside docs/ that the site has, and under which name."""
_LANGUAGES = {".py": "python", ".yaml": "yaml"}
"""What is shown of an example."""
_LINK = re.compile(r"(\]\()([^)\s#]*)(#[^)\s]*)?\)")
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DIAGRAM = """\
![What leads to what]({picture})

<details markdown><summary>Each arrow, in words</summary>

```text
{text}```

</details>"""
_MARKED = re.compile(r"\A```(\w+) .*")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

log = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie elsewhere, or nowhere."""
    for place, name in MOVED.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / place)))
    for folder in sorted(path.parent for path in EXAMPLES.glob("*/README.md")):
        name = f"examples/{folder.name}/index.md"
        files.append(File.generated(config, name, content=_build_example(folder)))
    pages = {"reference/commands.md": build_commands_page(), **build_python_pages()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Draw the diagrams of a page, and let its links lead to where targets are here."""
    name = page.file.src_uri

    def draw(found: re.Match[str]) -> str:
        svg = draw_diagram(found[1])
        if svg is None:
            return found[0]
        picture = f"{posixpath.splitext(name)[0]}-{found.start()}.svg"
        files.append(File.generated(config, picture, content=svg))
        return _DIAGRAM.format(picture=posixpath.basename(picture), text=found[1])

    return "".join(
        # words that tell tests what a block is for; MkDocs would see no block at all
        _MARKED.sub(r"```\1", text) if is_code else _turn_links(text, name)
        for text, is_code in split_code(_MERMAID.sub(draw, markdown))
    )


def _turn_links(text: str, name: str) -> str:
    """Return a part of the page `name` with links to names in the site."""
    place = _find_place(name)

    def turn(found: re.Match[str]) -> str:
        target = found[2]
        if not target or ":" in target or name.startswith("reference/"):
            return found[0]
        there = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        moved = find_name(there)
        if moved is None:
            log.warning("%s links to %s, which the site has not", place, target)
            return found[0]
        way = posixpath.relpath(moved, posixpath.dirname(name) or ".")
        return f"{found[1]}{way}{found[3] or ''})"

    return _LINK.sub(turn, text)


def find_name(place: str) -> str | None:
    """Return the name in the site of a file or folder of the project, if it has one."""
    match place.split("/"):
        case ["docs", *rest]:
            return "/".join(rest)
        case ["examples", folder] | ["examples", folder, "README.md"]:
            return f"examples/{folder}/index.md"
        case ["examples", folder, *rest] if Path(place).suffix in _LANGUAGES:
            return f"examples/{folder}/index.md{_write_anchor('/'.join(rest))}"
        case _:
            return MOVED.get(place)


def split_code(markdown: str) -> Iterator[tuple[str, bool]]:
    """Yield a page's text in parts, each with whether it is a fenced block."""
    end = 0
    for block in _FENCED.finditer(markdown):
        yield markdown[end : block.start()], False
        yield block[0], True
        end = block.end()
    yield markdown[end:], False


def _find_place(name: str) -> str:
    """Return where in the project a page of the site comes from."""
    for place, moved in MOVED.items():
        if moved == name:
            return place
    if name.startswith("examples/"):
        return name.replace("/index.md", "/README.md")
    return f"docs/{name}"


def _build_example(folder: Path) -> str:
    """Return an example's page; below, its plans, actions and what it links to."""
    text = (folder / "README.md").read_text("utf-8").rstrip()
    linked = (folder / found[2] for found in _LINK.finditer(text))
    files = [*folder.glob("*.yaml"), *folder.glob("actions.py"), *linked]
    shown = sorted({path for path in files if path.suffix in _LANGUAGES})
    return "\n\n".join([text, *(_show_file(path, folder) for path in shown)]) + "\n"


def _show_file(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    return (
        f"## `{name}` {{{_write_anchor(name)}}}\n\n"
        f"```{_LANGUAGES[path.suffix]}\n{path.read_text('utf-8').rstrip()}\n```"
    )


def _write_anchor(name: str) -> str:
    return f"#{re.sub(r'[^a-z0-9]+', '-', name.lower())}"
