"""The command line with a small model: called in this process (`cli`), or run in one of its own (`process`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import stedit
from stedit.cli.main import app
from stedit.imaging.files import Pixels, write_image

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def _surroundings(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, and the small model to work with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEDIT_MODEL", str(tiny_bundle))
    monkeypatch.setenv("PYTHONPATH", str(Path(stedit.__file__).parent.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))  # not the defaults of whoever runs the tests


@pytest.fixture
def cli() -> Cli:
    """Call `stedit` with arguments."""
    runner = CliRunner()

    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        result = runner.invoke(app, [str(argument) for argument in arguments], input=stdin, prog_name="stedit")
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def process() -> Process:
    """Start `stedit` with arguments; use it as a context manager, which closes its pipes."""

    def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-m", "stedit", *map(str, arguments)]
        return subprocess.Popen(command, **(streams | options))  # type: ignore[call-overload,no-any-return]

    return start


@pytest.fixture
def face(face_image: Pixels) -> Path:
    """`face.png` in the current folder."""
    write_image("face.png", face_image)
    return Path("face.png")


@pytest.fixture
def photos(face_image: Pixels) -> Path:
    """`photos/`: a.png, b.jpg and c.webp of several sizes, deeper/d.png, and notes.txt."""
    folder = Path("photos")
    (folder / "deeper").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.jpg", "c.webp", "deeper/d.png")):
        write_image(folder / name, np.roll(face_image, 5 * i, axis=1)[i:])
    (folder / "notes.txt").write_text("no picture")
    return folder
