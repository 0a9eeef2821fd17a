"""Every part learns, on data small enough to learn in seconds, and the same seed gives the same weights."""

from __future__ import annotations

import gzip
import json
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from stedit.errors import InputError
from stedit.models.generator import MappingNetwork
from stedit.training.attribute_network import train_attribute_network
from stedit.training.data import LabelledPictures, load_labelled
from stedit.training.mapping import fit_mapping


def test_mapping_is_fitted_to_codes_of_known_parameters() -> None:
    mapping = MappingNetwork(8, 2)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q

    def sample(count: int) -> tuple[Tensor, Tensor]:
        z = torch.randn(count, 8)
        return z, torch.tanh(z @ turn)

    assert fit_mapping(mapping, sample, steps=600, batch_size=64) > 0.7
    assert mapping.mean.abs().max() < 0.3


def coloured_squares(count: int) -> LabelledPictures:
    """16 px pictures: a square whose colour is given by three parameters; labels say whether red, green are strong."""
    parameters = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
    pixels = np.full((count, 16, 16, 3), 128, np.uint8)
    pixels[:, 4:12, 4:12] = (128 + 120 * parameters).astype(np.uint8)[:, None, None]
    return LabelledPictures(pixels, (parameters[:, :2] > 0).astype(np.uint8), parameters, ("Smiling", "Eyeglasses"))


def write_set(folder: Path, names: list[str]) -> tuple[Path, Path]:
    rows = [{"id": name, "attributes": {"Smiling": i % 2}, "params": [0.5, -i]} for i, name in enumerate(names)]
    records, archive = folder / "set.jsonl.gz", folder / "set.zip"
    records.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    with zipfile.ZipFile(archive, "w") as opened:
        for i, name in enumerate(names[::-1]):
            picture = BytesIO()
            Image.new("RGB", (8, 8), (i, 0, 0)).save(picture, "png")
            opened.writestr(f"{name}.png", picture.getvalue())
    return records, archive


def test_labelled_pictures_come_in_the_order_of_their_records(tmp_path: Path) -> None:
    records, archive = write_set(tmp_path, ["b", "a", "c"])
    data = load_labelled(records, [archive])
    assert data.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert data.labels.tolist() == [[0], [1], [0]]
    assert data.parameters.tolist() == [[0.5, 0], [0.5, -1], [0.5, -2]]
    assert data.attributes == ("Smiling",)
    assert len(data.join(data).pixels) == 6
    assert data.images(torch.tensor([0])).min() == -1


def test_damaged_sets_are_refused(tmp_path: Path) -> None:
    records, archive = write_set(tmp_path, ["a", "b"])
    (tmp_path / "other.zip").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.zip"):
        load_labelled(records, [tmp_path / "other.zip"])
    with pytest.raises(InputError, match="which no archive holds"):
        load_labelled(records, [])
    records.write_bytes(records.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"set\.jsonl\.gz"):
        load_labelled(records, [archive])


def test_attribute_network_sees_labels_and_parameters() -> None:
    data = coloured_squares(200)
    network = train_attribute_network(data, steps=150, batch_size=32, learning_rate=1e-2)
    seen = network(data.images(torch.arange(200)))
    assert seen.shape == (200, 5)
    assert ((seen[:, :2] > 0).numpy() == (data.labels > 0)).mean() > 0.85
    error = (seen[:, 2:].numpy() - data.parameters) ** 2
    assert error.mean() < 0.5 * data.parameters.var()
