"""What `celery_plans` leads to: to `execution`, or to the same code under this name.

Where the package `execution` that Python finds is ours, every module of it has two
names and is loaded once. Where it is a stranger's, our code is loaded under this name
alone; all its imports are relative, so it never asks for the other.

Which one it is, is decided once, when this package is first imported. The working
directory counts, though it may not be on the path yet: `celery -A`, `plans` and whoever
imports the modules of `PLANS_IMPORTS` put it there first of all.

It must not know what there is in the package.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType, ModuleType

_NAME = "execution"
_FOLDER = Path(__file__).resolve().parent.parent / _NAME
_WORKING_DIRECTORY = ""


def open_door(alias: str) -> None:
    """Put the package of the public names in the place of the module `alias`.

    Raises ImportError when the installation lacks it.
    """
    if _is_ours():
        found = importlib.import_module(_NAME)
        sys.meta_path.insert(0, _SecondNames(alias))
        sys.modules[alias] = found
    else:
        _load_as(alias)


def _is_ours() -> bool:
    loaded = sys.modules.get(_NAME)
    if loaded is not None:
        return _lies_in_our_folder(getattr(loaded, "__file__", None))
    for_us = PathFinder.find_spec(_NAME, [_WORKING_DIRECTORY])
    if for_us is None or for_us.origin is None:
        # without an __init__.py, what is there gives way to a package further on
        for_us = importlib.util.find_spec(_NAME)
    return for_us is not None and _lies_in_our_folder(for_us.origin)


def _lies_in_our_folder(file: str | None) -> bool:
    return file is not None and Path(file).resolve().parent == _FOLDER


def _load_as(alias: str) -> None:
    spec = importlib.util.spec_from_file_location(
        alias, _FOLDER / "__init__.py", submodule_search_locations=[str(_FOLDER)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no package {_FOLDER}; install celery-plans again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    spec.loader.exec_module(module)


class _SecondNames(MetaPathFinder, InspectLoader):
    """Finds the modules of the package by their second name, and loads none twice."""

    def __init__(self, alias: str) -> None:
        """Answer for the modules below `alias`."""
        self._prefix = f"{alias}."

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return how the module of that name is loaded, if it is one of ours."""
        if not fullname.startswith(self._prefix):
            return None
        real = self._find(fullname)
        if real is None:
            return None
        is_package = real.submodule_search_locations is not None
        return ModuleSpec(fullname, self, origin=real.origin, is_package=is_package)

    def exec_module(self, module: ModuleType) -> None:
        """Let the module that has the first name stand under the second as well."""
        # the import system takes what stands here afterwards
        sys.modules[module.__name__] = importlib.import_module(
            self._name(module.__name__)
        )

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, for `python -m`."""
        return self._find_loader(fullname).get_code(self._name(fullname))

    def get_source(self, fullname: str) -> str | None:
        """Return the text of the module, for who shows it."""
        return self._find_loader(fullname).get_source(self._name(fullname))

    def _find_loader(self, fullname: str) -> InspectLoader:
        real = self._find(fullname)
        if real is None or not isinstance(real.loader, InspectLoader):
            raise ImportError(f"there is no module {fullname}", name=fullname)
        return real.loader

    def _find(self, fullname: str) -> ModuleSpec | None:
        return importlib.util.find_spec(self._name(fullname))

    def _name(self, fullname: str) -> str:
        return f"{_NAME}.{fullname.removeprefix(self._prefix)}"
