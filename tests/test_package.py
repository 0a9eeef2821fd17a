"""The public face of the package: what `import stedit` offers and what it costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stedit
from stedit import errors

ROOT = Path(__file__).resolve().parent.parent


def test_importing_stedit_loads_nothing_heavy() -> None:
    program = "import sys, stedit; dir(stedit); print(*sorted({'torch', 'numpy', 'PIL', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", stedit.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(stedit, name) is not None
    assert name in dir(stedit)


def test_every_error_is_public() -> None:
    named = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert named == {name for name in stedit.__all__ if name.endswith("Error")}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'stedit' has no attribute 'engin'"):
        _ = stedit.engin


def test_constraints_pin_every_core_and_dev_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if line and not line.startswith("#")}
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {requirement.partition(">=")[0] for requirement in wanted} <= pinned
    assert "torch==2.13.0" in lines


def test_import_lets_waiting_threads_sleep_unless_told_otherwise() -> None:
    code = "import os, stedit; print(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | given
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == expected
