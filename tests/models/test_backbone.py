"""IR-SE backbone and identity network. Published weights: test_parity.py."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from stedit.models.backbone import Backbone, IdentityNetwork, SqueezeExcitation
from stedit.models.config import BackboneConfig

SMALL = BackboneConfig(stem_width=8, widths=(8, 12, 16, 24), blocks=(1, 2, 1, 1), reduction=4)


@pytest.mark.parametrize(("blocks", "units"), [((2, 2, 2, 2), 8), ((3, 4, 6, 3), 16), ((3, 4, 14, 3), 24)])
def test_depths(blocks: tuple[int, ...], units: int) -> None:
    config = BackboneConfig(stem_width=4, widths=(4, 4, 8, 8), blocks=blocks, reduction=2)
    backbone = Backbone(config).eval()
    assert len(backbone.body) == units
    with torch.inference_mode():
        stages = backbone(torch.randn(1, 3, 32, 48))
    assert [tuple(stage.shape) for stage in stages] == [(1, 4, 16, 24), (1, 4, 8, 12), (1, 8, 4, 6), (1, 8, 2, 3)]


def test_batch_equals_singles() -> None:
    backbone = Backbone(SMALL).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.inference_mode():
        together, alone = backbone(x)[-1], torch.cat([backbone(one)[-1] for one in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_gates_scale_channels_by_zero_to_one() -> None:
    gate = SqueezeExcitation(8, 4).requires_grad_(False)
    x = torch.rand(2, 8, 5, 5) + 0.5
    scale = gate(x) / x
    assert ((scale > 0) & (scale < 1)).all()
    torch.testing.assert_close(scale.amax(dim=(2, 3)), scale.amin(dim=(2, 3)))


def test_embeddings_have_unit_length() -> None:
    network = IdentityNetwork(SMALL).eval()
    with torch.inference_mode():
        embedding = network.embed(torch.randn(2, 3, 112, 112))
    assert embedding.shape == (2, 512)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_crop_is_the_face_region_at_any_size() -> None:
    x = torch.randn(1, 3, 256, 256)
    wanted = F.adaptive_avg_pool2d(x[:, :, 35:223, 32:220], 112)
    assert torch.equal(IdentityNetwork.crop(x), wanted)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(IdentityNetwork.crop(doubled), wanted)


def test_gradients_reach_everything() -> None:
    backbone = Backbone(SMALL)
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    sum(stage.square().mean() for stage in backbone(x)).backward()
    for name, parameter in [("x", x), *backbone.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
