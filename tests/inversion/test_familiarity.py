"""Whether a model knows an image: structure in common, whatever the light, the colour and the grain."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stedit import batch
from stedit.checkpoints.merge import from_bundle, merge
from stedit.engine import Engine
from stedit.errors import BundleError
from stedit.imaging.files import Pixels, fit_image, read_image, write_image
from stedit.inversion.familiarity import SIDE, structure_difference
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import CONFIG_NAME
from stedit.training.provenance import with_parts


@pytest.fixture(scope="module")
def face() -> Pixels:
    return read_image(Path(__file__).resolve().parents[1] / "data" / "faces" / "smile.jpg")


def difference(a: Pixels, b: Pixels) -> float:
    return float(structure_difference(a[None], b[None])[0])


def test_an_image_is_its_own_likeness_in_any_light(face: Pixels) -> None:
    assert difference(face, face) < 0.05
    dim = (0.5 * face + 20).astype(np.uint8)
    grainy = np.clip(face + np.random.default_rng(0).normal(0, 8, face.shape), 0, 255).astype(np.uint8)
    assert difference(face, dim) < 0.1
    assert difference(face, grainy) < 0.1
    assert difference(face, 255 - face) > 1.8


def test_what_has_nothing_in_common_is_at_one(face: Pixels) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, face.shape).astype(np.uint8)
    assert difference(face, noise) == pytest.approx(1, abs=0.1)
    assert difference(face, np.full_like(face, 128)) == pytest.approx(1, abs=0.01)
    assert difference(face, face[::-1]) > 0.5


def test_only_the_middle_counts(face: Pixels) -> None:
    other = face.copy()
    other[:12], other[-12:], other[:, :12], other[:, -12:] = 60, 190, 60, 190
    assert difference(face, other) < 0.12
    middle = face.copy()
    middle[50:90, 40:88] = 128
    assert difference(face, middle) > 0.3


def test_error_is_of_the_rendering(embedded: Engine, faces: Pixels) -> None:
    codes = embedded.invert(faces)
    errors = embedded.reconstruction_error(faces, codes)
    seen, rendered = (
        np.stack([fit_image(one, (SIDE, SIDE)) for one in images]) for images in (faces, embedded.synthesise(codes))
    )
    np.testing.assert_allclose(errors, structure_difference(seen, rendered), atol=0.02)
    assert errors.max() < 0.35
    larger = np.stack([cv2.resize(one, (300, 300), interpolation=cv2.INTER_CUBIC) for one in faces])
    np.testing.assert_allclose(embedded.reconstruction_error(larger, codes), errors, atol=0.02)


def strange(seed: int) -> Pixels:
    """Noise, uint8 (128, 128, 3), which no model makes a likeness of."""
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 3)).astype(np.uint8)


def test_records_say_which_images_the_model_does_not_know(
    embedded: Engine, face: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image("face.png", face)
    write_image("strange.png", strange(1))
    photo = batch.PhotoOptions(align="never")
    requests: list[batch.Request] = [
        batch.InversionRequest(photo=photo),
        batch.Reconstruction(batch.InversionRequest(photo=photo)),
        batch.LabelEdit("smile", photo=photo),
    ]
    for request in requests:
        heard = Heard()
        batch.run(request, ["face.png", "strange.png"], model=embedded, reporter=heard)
        known, unknown = heard.records
        limit = embedded.bundle.reconstruction_limit
        assert limit is not None
        assert known.details["reconstruction_error"] < limit < unknown.details["reconstruction_error"]
        assert (known.details["out_of_distribution"], unknown.details["out_of_distribution"]) == (False, True)
        assert not [note for note in known.notes if note.startswith("unlike anything")]
        (note,) = [note for note in unknown.notes if note.startswith("unlike anything")]
        assert f"that {embedded.bundle.name} has seen" in note
    heard = Heard()
    batch.run(batch.LabelEdit("smile"), ["strange.latent.safetensors"], model=embedded, reporter=heard)
    assert "out_of_distribution" not in heard.records[0].details  # of a code, nobody can say
    without = Engine(replace(embedded.model, bundle=replace(embedded.bundle, reconstruction_limit=None)))
    heard = Heard()
    batch.run(requests[1], ["strange.png"], output="again.png", model=without, reporter=heard)
    assert heard.records[0].notes == ()
    assert "reconstruction_error" not in heard.records[0].details


class Heard(batch.SilentReporter):
    def __init__(self) -> None:
        self.records: list[batch.Record] = []

    def record(self, record: batch.Record) -> None:
        self.records.append(record)


def test_the_limit_is_of_an_encoder_and_a_generator_together(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "limited"
    shutil.copytree(tiny_bundle, folder)
    values = json.loads((folder / CONFIG_NAME).read_text())
    assert Bundle.load(folder).reconstruction_limit is None
    (folder / CONFIG_NAME).write_text(json.dumps(values | {"reconstruction_limit": 0.5}))
    bundle = Bundle.load(folder)
    assert (bundle.reconstruction_limit, bundle.fingerprint) == (0.5, Bundle.load(tiny_bundle).fingerprint)
    assert merge([from_bundle(bundle)]).reconstruction_limit == 0.5
    retrained = {"encoder": (from_bundle(bundle).parts["encoder"][0], bundle.read_part("encoder"))}
    assert with_parts(bundle, tmp_path / "same", {}, {}, overwrite=False).reconstruction_limit == 0.5
    assert with_parts(bundle, tmp_path / "other", retrained, {}, overwrite=False).reconstruction_limit is None
    parts = {name: part for name, part in values["parts"].items() if name != "encoder"}
    for damaged in (
        {"reconstruction_limit": 0},
        {"reconstruction_limit": 2.5},
        {"reconstruction_limit": "much"},
        {"reconstruction_limit": 0.5, "parts": parts},
    ):
        (folder / CONFIG_NAME).write_text(json.dumps(values | damaged))
        with pytest.raises(BundleError, match="'reconstruction_limit'"):
            Bundle.load(folder)
