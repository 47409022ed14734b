"""The published schemas and documents are generated from the code."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["shared.events.generate", "services.command.asyncapi"])
def test_the_committed_files_are_up_to_date(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (
        f"{done.stdout}{done.stderr}: run `python -m {module}` and commit; "
        "an incompatible change of a schema needs a new version and an upcaster"
    )
