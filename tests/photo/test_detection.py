"""Faces are found where they are: renders placed in scenes, and photographs where there are some."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from photo.scenes import backdrop, place
from PIL import Image

from stedit.errors import InputError
from stedit.imaging.files import Pixels, read_image
from stedit.models.aligner import Aligner
from stedit.photo.alignment import Quad
from stedit.photo.detection import (
    Answer,
    Face,
    FaceDetector,
    YuNetFinder,
    choose,
    is_aligned_crop,
    one_of_each,
)
from stedit.photo.search import search


def away(face: Face, quad: Quad) -> float:
    """Mean distance of the corners, in sides."""
    return float(np.linalg.norm(face.quad.corners - quad.corners, axis=1).mean() / quad.side)


CASES = {
    "24 px": {"size": 24},
    "40 px": {"size": 40},
    "100 px": {"size": 100},
    "400 px": {"size": 400},
    "2000 px": {"size": 2000},
    "tilted to the left": {"angle": -40},
    "tilted to the right": {"angle": 40},
    "mirrored": {"mirrored": True},
    "dark": {"dark": 0.15},
    "at the border": {"left": 0.5},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_face_is_found_where_it_was_placed(detector: FaceDetector, renders: list[Pixels], case: dict) -> None:
    size = case.get("size", 90)
    found = []
    for number in (1, 4, 7, 9) if size < 1000 else (4,):
        side = max(480, int(2.4 * size))
        picture = backdrop(side, side * 5 // 4, number)
        centre = (size * case.get("left", 0.9 + 0.1 * number), side / 2)
        quad = place(
            picture,
            renders[number],
            centre,
            size,
            case.get("angle", 7 - 3 * number),
            mirrored=case.get("mirrored", False),
        )
        picture = np.rint(picture * case.get("dark", 1)).astype(np.uint8)
        faces = detector.detect(picture)
        assert len(faces) <= 2  # one more may be clutter, see docs/photographs.md
        if faces:
            found.append(min(away(face, quad) for face in faces))
    assert len(found) >= 3 if size < 1000 else len(found) == 1
    assert np.mean(found) < 0.08
    assert max(found) < 0.2


def test_several_faces_are_found_the_largest_first(detector: FaceDetector, renders: list[Pixels]) -> None:
    picture = backdrop(600, 900, 3)
    sizes = (60, 150, 90)
    quads = [
        place(picture, renders[number], (150 + 280 * number, 250 + 40 * number), size)
        for number, size in enumerate(sizes)
    ]
    faces = detector.detect(picture)
    assert len(faces) == 3
    for face, quad in zip(faces, (quads[1], quads[2], quads[0]), strict=True):
        assert away(face, quad) < 0.15
    assert [choose(faces, which, "x") for which in ("all", "largest", 2)] == [faces, faces[:1], faces[1:2]]
    (first, *_) = detector.detect(picture, largest=True)
    assert away(first, quads[1]) < 0.15
    with pytest.raises(InputError, match=r"x\.jpg has 3 faces, so there is no face 4"):
        choose(faces, 4, "x.jpg")


def test_small_face_is_found_too_where_the_largest_is_wanted(detector: FaceDetector, renders: list[Pixels]) -> None:
    picture = backdrop(960, 1280, 4)
    quad = place(picture, renders[8], (900, 300), 30)
    assert min(away(face, quad) for face in detector.detect(picture, largest=True)) < 0.15


def test_no_face_is_found_in_clutter(detector: FaceDetector) -> None:
    assert sum(len(detector.detect(backdrop(300, 400, seed))) for seed in range(20, 32)) <= 1
    assert detector.detect(np.zeros((300, 300, 3), np.uint8)) == []
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)) == []
    assert detector.detect(np.zeros((5, 4000, 3), np.uint8)) == []
    with pytest.raises(InputError, match=r"a\.jpg: no face was found.*give the points of the face"):
        choose([], "largest", "a.jpg")


def test_is_aligned_crop_knows_a_crop(detector: FaceDetector, renders: list[Pixels]) -> None:
    known = [is_aligned_crop(picture, face) for picture in renders for face in detector.detect(picture)[:1]]
    assert sum(known) >= 9
    picture = backdrop(300, 300, 2)
    place(picture, renders[4], (150, 150), 120)
    (face,) = detector.detect(picture)
    assert not is_aligned_crop(picture, face)  # a square too, but most of it is no face
    assert not is_aligned_crop(np.zeros((128, 200, 3), np.uint8), face)


def test_detect_is_deterministic(detector: FaceDetector, renders: list[Pixels]) -> None:
    picture = backdrop(400, 500, 1)
    place(picture, renders[2], (200, 200), 110, 15)
    assert detector.detect(picture) == detector.detect(picture.copy())


def test_face_of_a_24_megapixel_photograph_is_found(embedded_detector: FaceDetector, renders: list[Pixels]) -> None:
    small = backdrop(500, 750, 5)
    place(small, renders[3], (300, 250), 120, -10)
    photo = np.asarray(Image.fromarray(small).resize((6000, 4000), Image.Resampling.BILINEAR))
    (face,) = embedded_detector.detect(photo, largest=True)
    assert face.size == pytest.approx(120 * 8, rel=0.1)


def test_detect_in_a_batch_as_each_alone(network: Aligner, renders: list[Pixels]) -> None:
    images = torch.from_numpy(np.stack(renders[:3])).permute(0, 3, 1, 2).float() / 127.5 - 1
    together = search(network, images, 0.3)
    for number, (scores, shapes) in enumerate(together):
        ((score, shape),) = search(network, images[number : number + 1], 0.3)
        assert torch.allclose(scores, score, atol=1e-4)
        assert torch.allclose(shapes, shape, atol=1e-2)


def test_overlapping_detections_are_one_face() -> None:
    points = np.array([[40, 50], [60, 50], [50, 60], [42, 70], [58, 70]], float)
    box = np.array([30, 30, 40, 60], float)
    sure, other = Answer(0.9, points, box), Answer(0.7, points + 2, np.add(box, [3, 3, 0, 0]))
    inner = Answer(0.6, points + 1, np.array([45, 45, 15, 20], float))
    far = Answer(0.5, points + 100, np.add(box, [100, 100, 0, 0]))
    kept = one_of_each([far, other, inner, sure])
    assert [one.score for one in kept] == [0.9, 0.5]


def test_detector_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no detector .*none\.onnx"):
        YuNetFinder(tmp_path / "none.onnx")
    for content in (b"", b"no network", bytes(range(256)) * 100):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.onnx is not YuNet's ONNX file"):
            YuNetFinder(tmp_path / "bad.onnx")


def test_pupils_of_photographs_are_near_those_placed_by_hand(detector: FaceDetector, photos: Path) -> None:
    errors = []
    for record in json.loads((photos / "full" / "index.json").read_text()):
        true = np.array(record.get("pupils", ()))
        if not len(true) or np.linalg.norm(true[1] - true[0]) < 0.05 * record["size"][0]:
            continue  # the first two points of the pictures zoom-* are no pupils
        (face, *_) = detector.detect(read_image(photos / "full" / record["file"]))
        distance = np.linalg.norm(np.array(face.points)[:2] - true, axis=1).mean()
        errors.append(distance / np.linalg.norm(true[1] - true[0]))
    assert np.mean(errors) < 0.04
    assert max(errors) < 0.1


def test_recall_and_precision_on_whole_scenes(detector: FaceDetector, photos: Path) -> None:
    """A fifth of them, and the labels of which YuNet is sure: some others are backs of heads."""
    wanted = found = false = 0
    with (
        gzip.open(photos / "scenes-test.jsonl.gz", "rt") as lines,
        zipfile.ZipFile(photos / "scenes-test.zip") as archive,
    ):
        for record in [json.loads(line) for line in lines][::5]:
            picture = np.asarray(Image.open(io.BytesIO(archive.read(f"{record['id']}.jpg"))).convert("RGB"))
            faces = detector.detect(picture)
            centres = [np.mean(face.points, axis=0) for face in faces]
            for one in record["faces"]:
                near = [np.linalg.norm(np.mean(one["points"], axis=0) - c) < 0.3 * one["box"][3] for c in centres]
                false -= any(near)
                if one["score"] >= 0.9:
                    wanted, found = wanted + 1, found + any(near)
            false += len(faces)
    assert found >= 0.98 * wanted
    assert false <= 1
