"""The other door to the public names."""

import subprocess
import sys
from pathlib import Path

import celery_plans
import execution
from tests.worker_process import ROOT


def test_both_packages_have_the_same_names() -> None:
    assert celery_plans.__all__ == execution.__all__
    assert celery_plans.action is execution.action


def test_a_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "execution").mkdir()
    (tmp_path / "execution" / "__init__.py").write_text("")
    paths = [str(tmp_path), str(ROOT)]
    code = f"import sys; sys.path[:0] = {paths!r}; import celery_plans"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert "hides that of celery-plans" in done.stderr
    assert str(tmp_path) in done.stderr
