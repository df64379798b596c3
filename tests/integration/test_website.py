"""The website: complete, and without a word to any other host."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

import execution
from execution.cli.app import _COMMANDS
from tests.worker_process import ROOT

FOREIGN = re.compile(r"^(?:https?:)?//")


class Page(HTMLParser):
    """What a page loads, where it links to, and what can be linked to in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: set[str] = set()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the addresses in a tag, and its id."""
        values = {name: value or "" for name, value in attrs}
        targets = self.links if tag == "a" else self.loads
        targets.update(values[name] for name in ("src", "href") if name in values)
        self.anchors.add(values.get("id", ""))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The website, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Every page of it, by its name."""
    return {
        str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))
    }


def test_no_page_loads_anything_from_another_host(
    site: Path, pages: dict[str, Page]
) -> None:
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))

    assert len(pages) > 20
    assert [p for page in pages.values() for p in page.loads if FOREIGN.match(p)] == []
    assert re.findall(r"(?:@import|url\()[\s\"']*(?:https?:)?//[^)]*", styles) == []


def test_every_link_within_the_site_leads_somewhere(
    site: Path, pages: dict[str, Page]
) -> None:
    assert list(_list_dead_links(site, pages)) == []


def _list_dead_links(site: Path, pages: dict[str, Page]) -> Iterator[str]:
    for name, page in pages.items():
        for target in page.links:
            place, _, anchor = target.partition("#")
            if ":" in place or target in ("", ".") or name == "404.html":
                continue
            there = (site / name).parent.joinpath(place) if place else site / name
            found = pages.get(os.path.relpath(there, site))
            if not there.exists() or (anchor and found and anchor not in found.anchors):
                yield f"{name}: {target}"


def test_every_public_name_is_in_the_reference(pages: dict[str, Page]) -> None:
    reference = [page for name, page in pages.items() if name.startswith("reference/")]
    anchors = {anchor for page in reference for anchor in page.anchors}

    named = {f"execution.{name}" for name in execution.__all__}
    assert named - anchors == set()


def test_every_command_is_in_the_reference_with_its_options(site: Path) -> None:
    text = (site / "reference/commands.html").read_text("utf-8")

    assert [
        name for name in _COMMANDS if f"<code>plans {name}</code>" not in text
    ] == []
    assert "<code>plans db upgrade</code>" in text
    assert "<code>--parameters-file FILE</code>" in text


def test_the_readme_is_where_the_site_begins(pages: dict[str, Page]) -> None:
    assert {"plans.html", "contributing.html"} <= pages["index.html"].links
    assert "../../index.html" in pages["examples/order_saga/index.html"].links
