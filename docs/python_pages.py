"""The reference of the public names in Python: which there are, page by page.

Promises: every name in `execution.__all__` stands on one page. What is said of it is
its docstring, which mkdocstrings reads without importing anything.
"""

from collections.abc import Mapping, Sequence

import execution

PAGES = {
    "plans": (
        "Plans and actions",
        ("plan", "actions", "context", "recovery", "strategies"),
    ),
    "engine": ("The engine", ("engine", "settings", "service", "background")),
    "results": ("What is told", ("results", "states", "queries", "watching")),
    "errors": ("Errors", ("errors",)),
    "parts": ("The parts beneath", ()),
}
"""Pages by their names: the title, and the modules whose public names they have.

What comes from any other module is a part beneath.
"""
_INTRODUCTION = """# In Python

All of these are imported from `execution`, or from `celery_plans`, which has the same
names for projects with an `execution` of their own. What begins with an underscore, and
what no page here has, can change with any release.
"""
REGISTER = "execution.celery.register"


def build_python_pages() -> dict[str, str]:
    """Return the pages by their names in the site."""
    listed: dict[str, list[str]] = {page: [] for page in PAGES}
    for name in sorted(execution.__all__, key=_rank):
        listed[_choose_page(name)].append(f"execution.{name}")
    listed["engine"].append(REGISTER)
    pages = {
        f"reference/{page}.md": _build_page(PAGES[page][0], names)
        for page, names in listed.items()
    }
    return {"reference/python.md": _build_index(listed), **pages}


def _rank(name: str) -> int:
    """Return how early a name stands on its page: as early as its module is listed."""
    homes = PAGES[_choose_page(name)][1]
    return homes.index(_find_home(name)) if _find_home(name) in homes else len(homes)


def _find_home(name: str) -> str:
    return execution._HOMES[name]  # noqa: SLF001  # the same project


def _choose_page(name: str) -> str:
    home = _find_home(name)
    return next((page for page, (_, homes) in PAGES.items() if home in homes), "parts")


def _build_index(listed: Mapping[str, Sequence[str]]) -> str:
    lines = [_INTRODUCTION]
    for page, names in listed.items():
        links = (f"[`{name.rpartition('.')[2]}`]({page}.md#{name})" for name in names)
        lines.append(f"- [{PAGES[page][0]}]({page}.md): {', '.join(links)}")
    return "\n".join(lines) + "\n"


def _build_page(title: str, names: Sequence[str]) -> str:
    return "\n\n".join([f"# {title}", *(f"::: {name}" for name in names)]) + "\n"
