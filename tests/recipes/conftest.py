"""The recipe of the embedded model is no package: its folder goes on the path, and what it needs may be absent."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "weights" / "recipes" / "portraits-256"
FACES = ROOT.parent / "shared" / "faces"


@pytest.fixture(scope="session", autouse=True)
def recipe():
    """The folder of the recipe, whose modules can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPE))
        yield RECIPE


@pytest.fixture(scope="session")
def faces():
    """The folder of facekit.npz, of the data set that was rendered from it, and of the first renderer."""
    if not (FACES / "facekit.npz").is_file():
        pytest.skip("there is no ../shared/faces")
    return FACES


@pytest.fixture(scope="session")
def renderer(faces):
    pytest.importorskip("numba")
    pytest.importorskip("scipy")
    from renderer.portrait import Renderer

    return Renderer(faces / "facekit.npz")
