"""The sample scenes stand for photographs: one face each, found where it is, and edited there alone."""

import numpy as np
import pytest

from stedit.photo.photograph import Photo

EDITS = {"room": ("smile", (-9, 9)), "park": ("no-beard", (9, 9))}  # and the tilt of the camera that it was rendered by


@pytest.mark.parametrize("name", EDITS)
def test_scene_has_one_face_which_an_edit_changes_alone(name, pytestconfig, embedded):
    attribute, (tilt, tolerance) = EDITS[name]
    photo = Photo.open(pytestconfig.rootpath / "tests/data/scenes" / f"{name}.jpg")
    (face,) = photo.faces
    right, left = np.array(face.points)[:2]
    assert np.degrees(np.arctan2(*(left - right)[::-1])) == pytest.approx(-tilt, abs=tolerance)
    edited = embedded.edit_photo(photo, attribute)
    changed = (edited != photo.pixels).any(2)
    assert 0.005 < changed.mean() < 0.5
    rows, columns = np.where(changed)
    low, high = np.min(face.quad.corners, 0) - 2, np.max(face.quad.corners, 0) + 2
    assert (low <= [columns.min(), rows.min()]).all()
    assert ([columns.max(), rows.max()] <= high).all()
