"""Grown networks do what the smaller ones did, at twice the size, until they are trained."""

import pytest
import torch

from stedit.models.config import EditorConfig, EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.layers import upsample
from stedit.models.style_transformer import StyleTransformer

WIDTH, STYLES = 16, 6  # of a generator of 16 px


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(3)


def test_grown_generator_renders_the_old_image_enlarged():
    from grow import grown_generator

    small = Generator(GeneratorConfig(16, WIDTH, 2, (16, 16, 8))).requires_grad_(False)
    large = grown_generator(small, 4)
    codes = torch.randn(3, STYLES + 2, WIDTH)
    torch.testing.assert_close(large(codes, noise="none"), upsample(small(codes[:, :STYLES], noise="none")))
    assert large.config.channels == (16, 16, 8, 4)


@pytest.mark.parametrize("rank", [0, 8])
def test_grown_encoder_starts_new_styles_as_the_last_one(rank):
    from grow import grown_encoder

    config = EncoderConfig(
        stem_width=4, widths=(4, 4, 8, WIDTH), blocks=(1, 1, 1, 1), reduction=2, input_height=32, input_width=32,
        style_count=STYLES, style_dim=WIDTH, heads=2, feedforward=16, query_rank=rank, corrections=1,
    )  # fmt: skip
    small = StyleTransformer(config).eval().requires_grad_(False)
    small.mean.normal_()
    large = grown_encoder(small).eval()
    codes = large(torch.randn(2, 3, 32, 32))
    assert codes.shape == (2, STYLES + 2, WIDTH)
    for new in (-2, -1):
        torch.testing.assert_close(codes[:, new], codes[:, STYLES - 1])
    assert large.config.corrections == 0


def test_grown_editor_keeps_what_it_knew_of_attributes_and_styles():
    from grow import grown_editor

    small = EditTransformer(EditorConfig(style_count=STYLES, style_dim=WIDTH, heads=2, feedforward=16, attributes=3))
    large = grown_editor(small, 5)
    assert large.source_condition.shape == (5, STYLES + 2, WIDTH)
    for name in ("source_condition", "reference_condition"):
        before, after = getattr(small, name), getattr(large, name)
        assert torch.equal(after[:3, :STYLES], before)
        assert torch.equal(after[:3, -1], before[:, -1])
        assert after[3:].abs().max() > 0
