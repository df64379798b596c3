"""What `pip install` brings: the packages, and all that they need from beside them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.worker_process import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this checkout without asking any registry."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, cwd=folder)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_nothing_but_our_packages_is_installed_at_the_top(
    wheel: zipfile.ZipFile,
) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert tops - {t for t in tops if t.endswith(".dist-info")} == {
        "celery_plans",
        "celery_plans_pytest",
        "execution",
        "workers",
    }


def test_what_stands_beside_the_packages_travels_inside(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())

    for beside in (
        "celeryconfig.py",
        *list_files("migrations"),
        *list_files("examples/stdlib_census"),  # what the demo runs
    ):
        inside = f"execution/_assets/{beside.removeprefix('examples/')}"
        assert inside in names


def test_every_sql_file_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    assert set(list_files("execution/sql")) <= set(wheel.namelist())


def test_what_flower_shows_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    shown = [*list_files("execution/flower/templates")]
    shown += list_files("execution/flower/static")

    assert len(shown) > 2
    assert set(shown) <= set(wheel.namelist())


def test_the_command_plans_is_installed(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))

    assert "plans = celery_plans.cli:main" in wheel.read(entry_points).decode()


def list_files(folder: str) -> list[str]:
    return [
        str(path.relative_to(ROOT))
        for path in Path(ROOT, folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
