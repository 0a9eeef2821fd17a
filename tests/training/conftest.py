"""A script run as two processes that train together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import stedit


@pytest.fixture
def together() -> Callable[..., str]:
    """Run a Python script, with arguments, as two processes; gives what both print."""

    def run(script: str | Path, *arguments: str | Path) -> str:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        environment = os.environ | {"PYTHONPATH": str(Path(stedit.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*launch, str(script), *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
