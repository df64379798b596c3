"""README and tutorial, followed from the top down in an empty folder."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli_up import clear_up
from tests.pages import TUTORIALS, Reader


@pytest.fixture
def reader() -> Iterator[Reader]:
    """Who begins in an empty folder, with what is installed and nothing else."""
    # a short path: those of unix sockets are bounded
    folder = Path(tempfile.mkdtemp(prefix="plans-tutorial-"))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PLANS_")}
    paths = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    reader = Reader(folder, {**inherited, "PATH": paths, "PIP_NO_INDEX": "1"})
    yield reader
    reader.close()
    if (folder / ".plans").exists():
        clear_up(folder / ".plans")
    shutil.rmtree(folder)


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_page_for_newcomers_is_true_to_its_last_line(
    page: str, reader: Reader
) -> None:
    reader.follow(page)
