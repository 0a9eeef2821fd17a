"""What the README shows works as it stands there: the Python example, and every `stedit` line of the console blocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import stedit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
CONSOLE = [
    re.findall(r"^\$ (stedit .*)$", block, flags=re.MULTILINE)
    for block in re.findall(r"^```console\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
]
EXAMPLES = [lines for lines in CONSOLE if lines]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, holding what the examples read and safe to write into."""
    shutil.copytree(ROOT / "tests/data/faces", tmp_path / "tests/data/faces")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert len(PYTHON) == 2
    assert len(EXAMPLES) >= 4


def test_the_python_example_runs(checkout: Path) -> None:
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    assert stedit.read_image(checkout / "smiling.png").shape == (128, 128, 3)


def test_the_python_example_of_a_batch_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[1], "README.md", "exec"), {})
    assert capsys.readouterr().out == "10 done, 0 failed, 0 were there\n"
    assert len(list((checkout / "smiling").glob("*.smile@0.5to1.png"))) == 10


@pytest.mark.parametrize("lines", EXAMPLES, ids=lambda lines: lines[0])
def test_a_console_block_runs_as_typed(lines: list[str], checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(checkout / "hub"))  # the models that other tests pulled are not of the README
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
