"""The style transformer. Published weights: test_parity.py."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stedit.models.config import EncoderConfig
from stedit.models.style_transformer import StyleTransformer

SMALL = EncoderConfig(
    stem_width=8,
    widths=(8, 12, 16, 24),
    blocks=(1, 1, 1, 1),
    reduction=4,
    input_height=32,
    input_width=48,
    style_count=10,
    style_dim=24,
    heads=4,
    feedforward=32,
)
VARIANTS = {"published": SMALL, "positions": replace(SMALL, position_embedding=True)}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_batch_equals_singles(config: EncoderConfig) -> None:
    encoder = StyleTransformer(config).eval()
    x = torch.randn(3, 3, 32, 48)
    with torch.inference_mode():
        codes = encoder(x)
        singles = torch.cat([encoder(one) for one in x.split(1)])
    assert codes.shape == (3, 10, 24)
    torch.testing.assert_close(codes, singles, rtol=0, atol=1e-5)
    assert (codes[0] - codes[1]).abs().mean() > 1e-3, "the code does not depend on the image"


def test_pyramid_is_top_down() -> None:
    encoder = StyleTransformer(SMALL).eval().requires_grad_(False)
    x = torch.randn(1, 3, 32, 48)
    _, c1, c2, c3 = encoder.backbone(x)
    coarse, medium, fine = encoder.pyramid(x)
    assert [tuple(level.shape[1:]) for level in (coarse, medium, fine)] == [(24, 2, 3), (24, 4, 6), (24, 8, 12)]
    assert torch.equal(coarse, c3)
    # corners are aligned, so a corner of the finer map is that of the coarser one, plus its lateral connection
    torch.testing.assert_close(medium[:, :, 0, 0], c3[:, :, 0, 0] + encoder.lateral_medium(c2)[:, :, 0, 0])
    torch.testing.assert_close(fine[:, :, -1, -1], medium[:, :, -1, -1] + encoder.lateral_fine(c1)[:, :, -1, -1])


def test_folded_input_equals_its_averages_where_weights_do_not_tell_pixels_apart() -> None:
    plain = StyleTransformer(replace(SMALL, position_embedding=True)).eval().requires_grad_(False)
    folded = StyleTransformer(replace(plain.config, unshuffle=2, input_height=64, input_width=96)).eval()
    weights = plain.state_dict()
    stem = "backbone.input_layer.0.weight"
    weights[stem] = weights[stem].repeat_interleave(4, dim=1) / 4  # each of four folded pixels counts a quarter
    folded.load_state_dict(weights)
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(folded(x), plain(F.avg_pool2d(x, 2)), rtol=0, atol=1e-5)
        folded.backbone.input_layer[0].weight[:, 0] *= 2  # type: ignore[index]
        assert (folded(x) - plain(F.avg_pool2d(x, 2))).abs().max() > 1e-4, "it cannot tell pixels apart"


def test_mean_is_added() -> None:
    encoder = StyleTransformer(SMALL).eval().requires_grad_(False)
    x = torch.randn(1, 3, 32, 48)
    before = encoder(x)
    encoder.mean += torch.arange(10.0)[:, None]
    torch.testing.assert_close(encoder(x) - before, torch.arange(10.0)[None, :, None].expand(1, 10, 24))


def test_positions_matter_only_when_embedded() -> None:
    """Attention over a set of tokens cannot tell where they are."""
    for config, matter in ((SMALL, False), (replace(SMALL, position_embedding=True), True)):
        encoder = StyleTransformer(config).eval().requires_grad_(False)
        levels = encoder.pyramid(torch.randn(1, 3, 32, 48))
        encoder.pyramid = lambda _, levels=levels: levels
        code = encoder(torch.empty(0))
        encoder.pyramid = lambda _, levels=levels: tuple(level.flip(2) for level in levels)
        changed = (encoder(torch.empty(0)) - code).abs().max() > 1e-3
        assert changed == matter


def test_widths_must_agree() -> None:
    with pytest.raises(ValueError, match="24 wide"):
        StyleTransformer(replace(SMALL, style_dim=32))


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_gradients_reach_everything(config: EncoderConfig) -> None:
    encoder = StyleTransformer(config)
    x = torch.randn(2, 3, 32, 48, requires_grad=True)
    (encoder(x) * torch.randn(2, 10, 24)).sum().backward()
    for name, parameter in [("x", x), *encoder.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"corrections": -1}, "corrections is -1, outside 0..16"),
        ({"corrections": 17}, "corrections is 17, outside 0..16"),
        ({"corrections": 1, "iterative": True}, "iterative encoders return corrections"),
    ],
)
def test_corrections_have_their_bounds(sizes: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        EncoderConfig.from_dict(SMALL.to_dict() | sizes)
