"""Records of scenes, crops and renders, and what is made of them in memory."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from training.aligner.faces import POINTS, write_faces

from stedit.errors import InputError
from stedit.imaging.files import write_image
from stedit.training.aligner.data import LEARNT, UNSURE, boxes_of_points, face_scale, rank, read_faces


def test_points_come_to_lie_where_they_are_in_the_stored_pictures(tmp_path: Path) -> None:
    sets = read_faces(*write_faces(tmp_path, 4, 3, 2))
    assert list(sets) == ["scenes", "crops", "renders"]
    scenes, crops, renders = sets.values()
    assert scenes.pixels.shape == (4, 3, 288, 288)
    assert scenes.sizes.tolist() == [[288, 207]] * 4  # 200 x 144
    record = json.loads((tmp_path / "scenes.jsonl").read_text().splitlines()[1])
    assert torch.allclose(scenes.points[1, 0], torch.tensor(record["faces"][0]["points"]) * 288 / 200, rtol=0.01)
    assert (scenes.state == LEARNT).sum(dim=1).tolist() == [0, 1, 1, 0]
    assert np.allclose(crops.points[:, 0], POINTS * 256, atol=1e-3)
    assert np.allclose(renders.points[:, 0], POINTS * 128, atol=1e-3)
    x, y = (POINTS[0] * 256).round().astype(int)
    assert crops.pixels[0, :, y, x].max() < 60  # a pupil


def test_the_box_of_a_face_follows_from_its_points() -> None:
    points = torch.tensor(POINTS, dtype=torch.float32) * 100
    scale = face_scale(points).item()
    assert scale == pytest.approx(48)  # 2 x 24 across, 1.8 x 24 down
    centre_x, centre_y, half_width, half_height = boxes_of_points(points).tolist()
    assert (centre_x, centre_y) == (pytest.approx(50), pytest.approx(48 + 0.33 * 24))
    assert half_height > half_width > 0.5 * scale


def test_an_unsure_face_is_not_learnt(tmp_path: Path) -> None:
    data, labels = write_faces(tmp_path, 4, 0, 0)
    text = Path(labels[0]).read_text().replace('"score": 0.95', '"score": 0.6')
    Path(labels[0]).write_text(text)
    assert read_faces(data, labels)["scenes"].state.tolist() == [[0], [UNSURE], [UNSURE], [0]]


def test_pictures_without_a_record_are_passed_over_and_labels_may_be_gzipped(tmp_path: Path) -> None:
    data, labels = write_faces(tmp_path, 0, 3, 0)
    packed = tmp_path / "half.jsonl.gz"
    packed.write_bytes(gzip.compress(b"".join(Path(labels[0]).read_bytes().splitlines(keepends=True)[:2])))
    assert len(read_faces(data, [str(packed)])["crops"]) == 2


def test_which_pictures_are_held_out_follows_from_their_ids(tmp_path: Path) -> None:
    data, labels = write_faces(tmp_path, 4, 0, 0)
    scenes = read_faces(data, labels)["scenes"]
    assert scenes.rank.tolist() == [rank(f"scene_{number}") for number in range(4)]
    assert scenes.part(torch.tensor([2])).rank.item() == rank("scene_2")
    ranks = np.sort([rank(str(number)) for number in range(1000)])
    assert np.abs(ranks - np.linspace(0, 1, 1000)).max() < 0.05


def test_a_damaged_picture_shows_no_face(tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    write_image(folder / "good.png", np.full((256, 256, 3), 90, np.uint8))
    (folder / "bad.png").write_bytes(b"no picture")
    lines = [json.dumps({"id": name, "points": (POINTS * 256).tolist()}) for name in ("bad", "good")]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines))
    crops = read_faces([str(folder)], [str(tmp_path / "labels.jsonl")])["crops"]
    assert crops.state.tolist() == [[0], [LEARNT]]
    assert crops.pixels.flatten(1).amax(dim=1).tolist() == [0, 90]


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1]",
        '{"points": []}',
        '{"id": 3, "points": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]}',
        '{"id": "a", "points": [[1, 2], [3, 4]]}',
        '{"id": "a", "landmarks": [[1, 2]]}',
        '{"id": "a", "points": [[1, 2], [3, 4], [5, 6], [7, 8], [9, NaN]]}',
        '{"id": "a", "faces": [{"box": [1], "points": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 9]]}], "size": [9, 9]}',
        '{"id": "a", "faces": []}',
        '{"id": "a", "faces": 3, "size": [9, 9]}',
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, line: str) -> None:
    data, labels = write_faces(tmp_path, 0, 1, 0)
    with Path(labels[0]).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(InputError, match=r"2 of .*crops\.jsonl is no"):
        read_faces(data, labels)


def test_labels_of_other_pictures_and_no_labels_are_refused(tmp_path: Path) -> None:
    data, _ = write_faces(tmp_path, 0, 1, 0)
    (tmp_path / "other.jsonl").write_text('{"id": "other", "points": [[1, 2], [3, 4], [5, 6], [7, 8], [9, 9]]}')
    with pytest.raises(InputError, match="give the labels of these pictures"):
        read_faces(data, [str(tmp_path / "other.jsonl")])
    with pytest.raises(InputError, match=r"cannot read .*none\.jsonl"):
        read_faces(data, [str(tmp_path / "none.jsonl")])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(InputError, match=r"cannot read .*cut\.jsonl\.gz"):
        read_faces(data, [str(tmp_path / "cut.jsonl.gz")])
