"""The embedded aligner, YuNet's file where it is, and aligned renders."""

from __future__ import annotations

from pathlib import Path

import pytest

from stedit.engine import Engine
from stedit.imaging.files import Pixels, read_image
from stedit.models.aligner import Aligner
from stedit.photo.detection import AlignerFinder, FaceDetector, YuNetFinder

ROOT = Path(__file__).parents[2]
YUNET = ROOT.parent / "shared" / "models" / "yunet_n_dynamic.onnx"


@pytest.fixture(scope="session")
def renders() -> list[Pixels]:
    """uint8 (128, 128, 3) each, aligned."""
    return [read_image(path) for path in sorted((ROOT / "tests" / "data" / "faces").glob("*.jpg"))]


@pytest.fixture(scope="session")
def network(embedded: Engine) -> Aligner:
    return embedded.networks.aligner


@pytest.fixture(scope="session")
def embedded_detector(network: Aligner) -> FaceDetector:
    return FaceDetector(AlignerFinder(network))


@pytest.fixture(scope="session")
def yunet() -> FaceDetector:
    if not YUNET.is_file():
        pytest.skip("there is no ../shared/models")
    return FaceDetector(YuNetFinder(YUNET))


@pytest.fixture(scope="session", params=["embedded_detector", "yunet"])
def detector(request: pytest.FixtureRequest) -> FaceDetector:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def photos() -> Path:
    """Photographs for measuring."""
    folder = ROOT.parent / "shared" / "photos"
    if not folder.is_dir():
        pytest.skip("there is no ../shared/photos")
    return folder
