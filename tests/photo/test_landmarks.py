"""Points given by hand, by file name, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stedit.errors import InputError
from stedit.photo.landmarks import Landmarks

FACE = [[40, 50], [60, 50], [50, 60], [42, 70], [58, 70]]
LARGER = [[x * 3, y * 3] for x, y in FACE]


def written(path: Path, values: object) -> Path:
    path.write_text(json.dumps(values))
    return path


def test_landmarks_are_known_by_path_or_file_name(tmp_path: Path) -> None:
    path = written(tmp_path / "points.json", {"party/anna.jpg": FACE, "two.jpg": [FACE, LARGER]})
    landmarks = Landmarks.read(path)
    assert [points.tolist() for points in landmarks.of("party/anna.jpg") or ()] == [FACE]
    assert [points.tolist() for points in landmarks.of("elsewhere/two.jpg") or ()] == [LARGER, FACE]  # largest first
    assert landmarks.of("anna.jpg") is None


def test_landmarks_68_become_five_points(tmp_path: Path) -> None:
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48] = FACE[0], FACE[1]
    landmarks[[30, 48, 54]] = FACE[2:]
    found = Landmarks.read(written(tmp_path / "points.json", {"a.jpg": landmarks.tolist()})).of("a.jpg")
    assert found is not None
    assert found[0].tolist() == FACE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "name no pictures"),
        ("{", "are not JSON"),
        ('{"a.jpg": []}', r"the landmarks of 'a\.jpg' in .* cannot be used: a face is five points"),
        ('{"a.jpg": [[1, 2], [3, 4]]}', "cannot be used"),
        ('{"a.jpg": [[1, 2], [3, 4], [5, 6], [7, 8], ["x", 9]]}', "cannot be used"),
        ('{"a.jpg": [[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]}', "cannot be used"),
        ('{"a.jpg": null}', "cannot be used"),
        ('{"a.jpg": {"points": 1}}', "cannot be used"),
        ('{"a.jpg": [[1, 2], [3, 4], [5, 6], [7, 8], [1e999, 9]]}', "cannot be used"),
    ],
)
def test_landmarks_malformed_raise_naming_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "points.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        Landmarks.read(path)


def test_landmarks_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there are no landmarks .*none\.json"):
        Landmarks.read(tmp_path / "none.json")
