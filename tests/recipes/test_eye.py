"""The network of the perceptual loss: its pictures come with their labels, and it learns them and the parameters."""

import gzip
import json
import zipfile
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from stedit.errors import InputError


@pytest.fixture(scope="module")
def eye():
    import eye

    return eye


def coloured_squares(eye, count):
    """16 px pictures: a square whose colour is given by three parameters; labels say whether red, green are strong."""
    parameters = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
    pixels = np.full((count, 16, 16, 3), 128, np.uint8)
    pixels[:, 4:12, 4:12] = (128 + 120 * parameters).astype(np.uint8)[:, None, None]
    return eye.LabelledPictures(pixels, (parameters[:, :2] > 0).astype(np.uint8), parameters)


def write_set(folder, names):
    rows = [{"id": name, "attributes": {"Smiling": i % 2}, "params": [0.5, -i]} for i, name in enumerate(names)]
    records, archive = folder / "set.jsonl.gz", folder / "set.zip"
    records.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    with zipfile.ZipFile(archive, "w") as opened:
        for i, name in enumerate(names[::-1]):
            picture = BytesIO()
            Image.new("RGB", (8, 8), (i, 0, 0)).save(picture, "png")
            opened.writestr(f"{name}.png", picture.getvalue())
    return records, archive


def test_labelled_pictures_come_in_the_order_of_their_records(eye, tmp_path):
    records, archive = write_set(tmp_path, ["b", "a", "c"])
    data = eye.load_labelled(records, [archive])
    assert data.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert data.labels.tolist() == [[0], [1], [0]]
    assert data.parameters.tolist() == [[0.5, 0], [0.5, -1], [0.5, -2]]
    assert len(data.join(data).pixels) == 6
    assert data.images(torch.tensor([0])).min() == -1


def test_damaged_sets_are_refused(eye, tmp_path):
    records, archive = write_set(tmp_path, ["a", "b"])
    (tmp_path / "other.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.zip"):
        eye.load_labelled(records, [tmp_path / "other.zip"])
    with pytest.raises(InputError, match="which no archive holds"):
        eye.load_labelled(records, [])
    records.write_bytes(records.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"set\.jsonl\.gz"):
        eye.load_labelled(records, [archive])


def test_it_sees_labels_and_parameters(eye):
    data = coloured_squares(eye, 200)
    network = eye.train_eye(data, steps=150, batch_size=32, learning_rate=1e-2)
    seen = network(data.images(torch.arange(200)))
    assert seen.shape == (200, 5)
    assert ((seen[:, :2] > 0).numpy() == (data.labels > 0)).mean() > 0.85
    error = (seen[:, 2:].numpy() - data.parameters) ** 2
    assert error.mean() < 0.5 * data.parameters.var()
