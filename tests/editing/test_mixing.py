"""Style mixing and interpolation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.editing.mixing import mix
from stedit.engine import Engine
from stedit.errors import UsageError


def test_mix_at_0_and_1_gives_the_codes_bit_by_bit() -> None:
    a, b = 100 * torch.randn(2, 3, 6, 4) * torch.rand(2, 3, 6, 4) ** 8
    assert torch.equal(mix(a, b, 0.0), a)
    assert torch.equal(mix(a, b, 1.0), b)
    torch.testing.assert_close(mix(a, b, 0.25), 0.75 * a + 0.25 * b)
    torch.testing.assert_close(mix(a, b, 2.0), 2 * b - a)
    assert torch.equal(mix(a, b[:1], 1.0), b[:1].expand_as(a))


def test_mix_layers_leave_other_styles() -> None:
    a, b = torch.randn(2, 3, 6, 4)
    mixed = mix(a, b, 1.0, [0, 1, 4])
    assert torch.equal(mixed[:, [0, 1, 4]], b[:, [0, 1, 4]])
    assert torch.equal(mixed[:, [2, 3, 5]], a[:, [2, 3, 5]])


def test_engine_mix_takes_arrays_and_tensors(tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    a, b = np.random.default_rng(0).standard_normal((2, 2, 8, 16)).astype(np.float32)
    np.testing.assert_array_equal(
        engine.mix(a, b, strength=1, layers=[7]), np.concatenate([a[:, :7], b[:, 7:]], axis=1)
    )
    np.testing.assert_allclose(engine.mix(a, b), (a + b) / 2, atol=1e-6)
    assert isinstance(engine.mix(torch.from_numpy(a), torch.from_numpy(b)), torch.Tensor)
    with pytest.raises(UsageError, match="layers"):
        engine.mix(a, b, layers=[8])


def test_mix_layers_carry_what_the_page_says(model: Engine, faces: np.ndarray) -> None:
    """Fine styles change the colours of a face, coarse ones where its edges are."""
    a, b = faces[2:3], faces[:1]
    coarse, fine = (model.mix(a, b, strength=1, layers=range(*some)) for some in ((0, 4), (7, a.shape[1])))
    source, coarse, fine = (picture.astype(float) for picture in model.synthesise(np.concatenate([a, coarse, fine])))
    colour = [np.abs((picture - source).mean(axis=(0, 1))).mean() for picture in (coarse, fine)]
    assert colour[1] > 2 * colour[0]
