"""What the README shows works as it stands there: its Python, every `stedit` line of its console blocks, its links."""

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
    shutil.copytree(ROOT / "tests/data", tmp_path / "tests/data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert len(PYTHON) == 2
    assert len(EXAMPLES) >= 2


def test_it_says_how_to_begin_on_a_fresh_machine() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    said = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert {"demo", "test"} <= said <= set(targets) | {"lists"}


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        other = (page.parent / target).resolve() if target else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def test_the_python_example_of_a_photograph_runs(checkout: Path) -> None:
    exec(compile(PYTHON[0], "README.md", "exec"), {})
    before, after = (stedit.read_image(checkout / name) for name in ("tests/data/scenes/room.jpg", "smiling.jpg"))
    assert after.shape == before.shape
    difference = abs(after.astype(int) - before)
    assert difference[:200].max() <= 8  # a wall, which is encoded anew at most
    assert difference.max() > 60


def test_the_python_example_of_a_folder_runs(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[1], "README.md", "exec"), {})
    assert capsys.readouterr().out == "10 done 0 failed 0 skipped\n"
    assert len(list((checkout / "with-glasses").iterdir())) == 10


@pytest.mark.parametrize("lines", EXAMPLES, ids=lambda lines: lines[0])
def test_a_console_block_runs_as_typed(lines: list[str], checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(checkout / "hub"))  # the models that other tests pulled are not of the README
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
