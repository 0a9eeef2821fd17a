"""The Python of the pages runs as it stands there, and the notebook cell by cell; what they import is public."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import stedit

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTEBOOK = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def cells() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, holding what the examples read and safe to write into."""
    shutil.copytree(ROOT / "tests/data", tmp_path / "tests/data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def size_of(image: Path | bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
        return opened.size


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; gives what it shows, the value of the last line."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


def test_what_pages_import_is_public() -> None:
    for source in [block for page in PAGES for block in blocks(page)] + cells():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stedit"):
                if node.module.startswith("stedit.metrics."):
                    continue  # what is measured has pages of its own
                assert node.module == "stedit"
                assert {alias.name for alias in node.names} <= set(stedit.__all__)


def test_the_page_on_python_runs(checkout: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks(ROOT / "docs/python.md"):
        exec(compile(block, "python.md", "exec"), names)
    assert repr(names["code"]) in (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert size_of(checkout / "smiling.png") == size_of(checkout / "mixed.jpg") == (1280, 960)
    assert [type(image) for image in names["edited"]] == [Image.Image] * 2


def test_the_notebook_runs_and_shows_pictures(checkout: Path, embedded: stedit.Engine) -> None:
    assert NOTEBOOK["nbformat"] == 4
    assert all(cell["outputs"] == [] for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code")
    names: dict[str, Any] = {}
    shown = [run_cell(source, names) for source in cells()]
    pictures = [one._repr_png_() for one in shown if hasattr(one, "_repr_png_")]
    sizes = [size_of(picture) for picture in pictures]
    assert len(sizes) == 10
    assert sizes.count(embedded.output_size) == 5
    assert names["psnr"][-1] > names["psnr"][0]
    assert size_of(checkout / "older.jpg") == (1280, 960)
