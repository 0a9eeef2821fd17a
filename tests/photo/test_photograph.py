"""A photograph is edited where its face is, and comes back as it was everywhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from photo.scenes import backdrop, place

from stedit import Engine, FaceSearch, Photo, read_image
from stedit.errors import InputError
from stedit.imaging.files import Pixels, fit_image, write_image
from stedit.photo.alignment import Quad
from stedit.photo.landmarks import Landmarks
from stedit.photo.photograph import carry_over, crop_for, detector_for

FACES = Path(__file__).parents[1] / "data" / "faces"


@pytest.fixture(scope="module")
def engine(embedded: Engine) -> Engine:
    return embedded


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Quad, Quad]:
    """Two people of known place, the first one larger and tilted."""
    picture = backdrop(600, 800, seed=3)
    large = place(picture, read_image(FACES / "serious.jpg"), (260, 300), 190, angle=12)
    small = place(picture, read_image(FACES / "blonde.jpg"), (610, 280), 110)
    path = tmp_path_factory.mktemp("scene") / "two.png"
    write_image(path, picture)
    return path, large, small


def corners_apart(a: Quad, b: Quad) -> float:
    """Mean distance of corners, in sides."""
    return float(np.linalg.norm(a.corners - b.corners, axis=1).mean() / b.side)


def test_faces_are_found_where_they_were_put(scene: tuple[Path, Quad, Quad]) -> None:
    path, large, small = scene
    faces = Photo.open(path).faces
    assert len(faces) == 2
    assert corners_apart(faces[0].quad, large) < 0.08
    assert corners_apart(faces[1].quad, small) < 0.08


def test_edit_changes_the_chosen_face_alone(engine: Engine, scene: tuple[Path, Quad, Quad]) -> None:
    path, large, small = scene
    photo = Photo.open(path)
    changed = (engine.edit_photo(photo, "smile") != photo.pixels).any(axis=2)
    inside = changed[inside_of(large, changed.shape)]
    assert inside.mean() > 0.02
    assert not changed[inside_of(small.enlarged(0.8), changed.shape)].any()
    other = (engine.edit_photo(photo, "smile", search=FaceSearch(face=2)) != photo.pixels).any(axis=2)
    assert not other[inside_of(large.enlarged(0.8), changed.shape)].any()
    both = (engine.edit_photo(photo, "smile", search=FaceSearch(face="all")) != photo.pixels).any(axis=2)
    together = changed | other  # but for pixels that change by less than rounding, of codes computed side by side
    assert (both != together).sum() < 0.03 * together.sum()


def inside_of(quad: Quad, shape: tuple[int, ...]) -> np.ndarray:
    """Mask of the pixels whose centres lie in a quad."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    points = np.stack([columns + 0.5, rows + 0.5, np.ones(shape[:2])], axis=-1) @ quad.to_crop(1).T
    return ((points >= 0) & (points <= 1)).all(axis=-1)


def test_strength_zero_gives_the_photograph(engine: Engine, scene: tuple[Path, Quad, Quad]) -> None:
    photo = Photo.open(scene[0])
    assert np.array_equal(engine.edit_photo(photo, "smile", strength=0.0), photo.pixels)


def test_carried_smile_is_predicted_by_the_judge(engine: Engine, scene: tuple[Path, Quad, Quad]) -> None:
    path, large, _ = scene
    photo = Photo.open(path)
    smile = engine.attributes.index("Smiling")
    before, after = (
        engine.predict_attributes(large.crop(pixels, 128)[None])[0, smile]
        for pixels in (photo.pixels, engine.edit_photo(photo, "smile"))
    )
    assert before < 0.5
    assert np.log(after / (1 - after)) > np.log(before / (1 - before)) + 1  # in logits, however sure a judge is


def test_aligned_crop_stays_where_it_is(engine: Engine) -> None:
    for path in sorted(FACES.glob("*.jpg")):
        photo = Photo.open(path)
        (quad,) = photo.find_quads(None, detector_for(engine.model))
        assert corners_apart(quad, Quad.of_picture(*photo.pixels.shape[:2])) < 0.09, path.name
        assert engine.edit_photo(photo, "smile").shape == photo.pixels.shape


def test_landmarks_by_hand_count_before_the_detector(scene: tuple[Path, Quad, Quad]) -> None:
    path, large, _ = scene
    points = np.array([[0.37, 0.48], [0.63, 0.48], [0.5, 0.6], [0.4, 0.73], [0.6, 0.73]]) * 1.0
    placed = points * 100 + 50
    search = FaceSearch(landmarks=Landmarks({"two.png": [placed]}))
    (quad,) = Photo.open(path).find_quads(search, None)
    assert np.allclose(quad.corners, Quad.of_points(placed).corners)
    assert corners_apart(quad, large) > 0.5


def test_photograph_without_a_face_is_refused_in_a_sentence(engine: Engine, tmp_path: Path) -> None:
    write_image(tmp_path / "sky.png", backdrop(300, 400, seed=4))
    with pytest.raises(InputError, match=r"sky\.png: no face was found"):
        engine.edit_photo(Photo.open(tmp_path / "sky.png"), "smile")


def test_face_of_a_number_that_is_not_there_is_refused(engine: Engine, scene: tuple[Path, Quad, Quad]) -> None:
    with pytest.raises(InputError, match="has 2 faces, so there is no face 3"):
        engine.edit_photo(Photo.open(scene[0]), "smile", search=FaceSearch(face=3))


def test_model_of_other_things_searches_no_faces(engine: Engine) -> None:
    model = replace(engine.model, bundle=replace(engine.bundle, alignment="none"))
    assert detector_for(model) is None


def test_carry_over_of_no_change_changes_nothing() -> None:
    photograph = backdrop(64, 80, seed=1)
    render = np.zeros((1, 32, 32, 3), np.uint8)
    result = carry_over(photograph, [Quad.of_picture(64, 80)], render, render)
    assert np.array_equal(result, photograph)
    assert result is not photograph


def test_encoder_gets_a_whole_image_unchanged(engine: Engine) -> None:
    image: Pixels = read_image(FACES / "serious.jpg")
    fitted = fit_image(image, engine.input_size)
    assert np.array_equal(crop_for(image, Quad.of_picture(*image.shape[:2]), engine.input_size), fitted)


def test_saved_photograph_keeps_what_was_not_edited(engine: Engine, scene: tuple[Path, Quad, Quad]) -> None:
    photo = Photo.open(scene[0])
    edited = engine.edit_photo(photo, "glasses")
    target = scene[0].with_name("glasses.png")
    assert photo.save(target, edited) == ()
    assert np.array_equal(read_image(target), edited)


def test_embedded_model_has_an_aligner_of_less_than_a_megabyte(engine: Engine) -> None:
    part = engine.bundle.parts["aligner"]
    assert (engine.bundle.path / part.file).stat().st_size < 1_000_000
