"""The networks of the perceptual loss learn labels and, of renders, the parameters."""

import json

import numpy as np
import pytest
import torch

from stedit.errors import InputError
from stedit.imaging.files import write_image
from stedit.training.data.images import ImageSet


@pytest.fixture(scope="module")
def perceptual_network():
    import perceptual_network

    return perceptual_network


@pytest.fixture
def squares(tmp_path):
    """Folders of 32 px images of a square, whose colour three parameters give, and the file that labels them.

    The labels say whether red and green are strong; the second folder stands for photographs, without parameters.
    """
    random, rows = np.random.default_rng(0), []
    for number in range(160):
        parameters = random.uniform(-1, 1, 3)
        pixels = np.full((32, 32, 3), 128, np.uint8)
        pixels[8:24, 8:24] = (128 + 120 * parameters).astype(np.uint8)
        folder = tmp_path / ("renders" if number < 120 else "photographs")
        folder.mkdir(exist_ok=True)
        write_image(folder / f"{number:03d}.png", pixels)
        labels = {"Smiling": int(parameters[0] > 0), "Eyeglasses": int(parameters[1] > 0)}
        known = {"params": parameters.tolist()} if number < 120 else {}
        rows.append({"id": f"{number:03d}", "attributes": labels, **known})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(tmp_path / "renders"), str(tmp_path / "photographs")], tmp_path / "labels.jsonl"


def test_network_learns_labels_and_parameters(perceptual_network, squares):
    sources, labels = squares
    network = perceptual_network.train_network(
        sources, labels, repeat=(1, 3), size=32, steps=150, batch_size=32, learning_rate=3e-3, strength=0.1
    )
    images = ImageSet.open(sources, 32)
    known, parameters = perceptual_network._targets(labels, images)
    assert known.shape == (160, 2)
    assert parameters.shape == (160, 3)
    assert torch.isnan(parameters).any(dim=1).sum() == 40
    output = network(images.images(range(160)))
    assert ((output[:, :2] > 0) == (known > 0)).float().mean() > 0.85
    renders = ~torch.isnan(parameters).any(dim=1)
    for predicted, true in zip(output[renders, 2:].T, parameters[renders].T, strict=True):
        assert torch.corrcoef(torch.stack([predicted, true]))[0, 1] > 0.7


def test_network_depends_on_its_seed_alone(perceptual_network, squares):
    sources, labels = squares
    keys = {"repeat": (1, 1), "size": 32, "steps": 2, "batch_size": 8, "learning_rate": 1e-2, "strength": 1.0}
    first, again, other = (
        perceptual_network.train_network(sources, labels, **keys, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_image_without_labels_is_refused(perceptual_network, squares):
    sources, labels = squares
    rows = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join(rows[1:]))
    with pytest.raises(InputError, match=r"labels\.jsonl does not label the image .*000\.png"):
        perceptual_network.train_network(
            sources, labels, repeat=(1, 1), size=32, steps=1, batch_size=8, learning_rate=1e-2, strength=0.0
        )
