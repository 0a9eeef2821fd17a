"""The mapping network learns to give the codes of known parameters."""

import torch

from stedit.models.generator import MappingNetwork


def test_fit_mapping_explains_codes_of_known_parameters():
    from mapping_network import fit_mapping

    mapping = MappingNetwork(8, 2)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q

    def sample(count):
        z = torch.randn(count, 8)
        return z, torch.tanh(z @ turn)

    assert fit_mapping(mapping, sample, steps=600, batch_size=64) > 0.7
    assert mapping.mean.abs().max() < 0.3
