"""A single image is rounded as in a batch, with the embedded model, on machines whose kernels are as those measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.imaging.files import fit_image, read_image
from stedit.runtime.rounding import rounded_as_in_batches

FACES = sorted((Path(__file__).resolve().parents[1] / "data/faces").glob("*.jpg"))[:4]


def test_results_are_those_without_it() -> None:
    convolution, linear = nn.Conv2d(3, 5, 3, padding=1), nn.Linear(6, 7)
    squeeze, transposed = nn.Conv2d(5, 4, 1), nn.ConvTranspose2d(5, 4, 3)
    x, rows, weight = torch.randn(1, 3, 9, 9), torch.randn(3, 6), torch.randn(6, 8)
    grouped = torch.randn(3, 1, 3, 3)

    def results() -> list[torch.Tensor]:
        maps = convolution(x)
        pooled = squeeze(maps.mean(dim=(2, 3), keepdim=True))
        products = [linear(rows), linear(rows[0]), rows @ weight, torch.mm(rows[:1], weight)]
        return [maps, pooled, transposed(maps), F.conv2d(x, grouped, groups=3), *products]

    expected = results()
    with rounded_as_in_batches(torch.device("cpu")):
        found = results()
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other)


def test_single_images_are_rounded_as_in_a_batch_of_four() -> None:
    engine = Engine.from_pretrained(device="cpu")
    images = np.stack([fit_image(read_image(path), engine.input_size) for path in FACES])
    codes = engine.invert(images)
    renders = engine.synthesise(torch.from_numpy(codes))
    equal = []
    for count in (1, 2, 3):
        equal.append(np.array_equal(engine.invert(images[:count]), codes[:count]))
        equal.append(torch.equal(engine.synthesise(torch.from_numpy(codes[:count])), renders[:count]))
        np.testing.assert_allclose(engine.invert(images[:count]), codes[:count], atol=1e-4)
    if not all(equal):
        pytest.skip("this machine has other kernels, where folders are computed one by one")
