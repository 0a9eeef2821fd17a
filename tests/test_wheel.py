"""The wheel works where there is no checkout: built, installed into an empty environment, run from a foreign folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import stedit
from stedit.imaging.files import fit_image
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL, embedded_bundles

ROOT = Path(__file__).resolve().parent.parent
MODEL = embedded_bundles()[DEFAULT_MODEL]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STEDIT"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


def sizes(wheel: Path) -> dict[str, int]:
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Script folder of an environment that holds the wheel and borrows only the dependencies from the running one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    # a .pth file in a folder that another .pth adds is not read, so the checkout's editable install stays invisible
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(site) / "borrowed.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return folder / "bin"


def test_the_wheel_holds_the_package_and_nothing_of_the_workshop(wheel: Path) -> None:
    names = set(sizes(wheel))
    assert {"stedit/py.typed", "stedit/cli/main.py"} <= names
    assert {name.partition("/")[0] for name in names} == {"stedit", f"stedit-{stedit.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_holds_every_file_of_the_embedded_model(wheel: Path) -> None:
    inside = {name: size for name, size in sizes(wheel).items() if name.startswith("stedit/_weights/")}
    assert inside == {f"stedit/_weights/{MODEL.name}/{file.name}": file.stat().st_size for file in MODEL.iterdir()}


def test_the_installed_command_knows_its_version(installed: Path, tmp_path: Path) -> None:
    assert stedit.__version__ in run(installed / "stedit", "--version", cwd=tmp_path)
    home = run(installed / "python", "-c", "import stedit; print(stedit.__file__)", cwd=tmp_path)
    assert Path(home.strip()).is_relative_to(installed.parent)


def test_the_installed_command_reconstructs_a_face(installed: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/data/faces/beard.jpg", tmp_path / "face.jpg")
    run(installed / "stedit", "reconstruct", "face.jpg", "--output", "again.png", cwd=tmp_path)
    before, after = stedit.read_image(tmp_path / "face.jpg"), stedit.read_image(tmp_path / "again.png")
    resolution = Bundle.load(MODEL).parts["generator"].config["resolution"]
    assert after.shape == (resolution, resolution, 3)
    error = np.square(before / 255 - fit_image(after, before.shape[:2]) / 255).mean()
    assert error < 10**-1.5  # 15 dB: the same face; no other sample picture is above 10 dB
