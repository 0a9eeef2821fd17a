"""The mapping network learns to give the codes of known parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from stedit.models.generator import MappingNetwork
from stedit.training.generator.mapping import fit_mapping


def test_mapping_is_fitted_to_codes_of_known_parameters() -> None:
    mapping = MappingNetwork(8, 2)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q

    def sample(count: int) -> tuple[Tensor, Tensor]:
        z = torch.randn(count, 8)
        return z, torch.tanh(z @ turn)

    assert fit_mapping(mapping, sample, steps=600, batch_size=64) > 0.7
    assert mapping.mean.abs().max() < 0.3
