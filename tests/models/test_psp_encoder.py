"""The encoders of pSp and e4e: what each style reads, and which inputs they take."""

from __future__ import annotations

import pytest
import torch

from stedit.models.config import EncoderConfig
from stedit.models.psp_encoder import PspEncoder, head_depths, level_of

BACKBONE = {"stem_width": 4, "widths": (4, 6, 8, 16), "blocks": (1, 1, 1, 1), "reduction": 2}


def encoder(**sizes: object) -> PspEncoder:
    config = EncoderConfig(**BACKBONE, style_dim=16, **{"kind": "psp", "style_count": 9, **sizes})  # type: ignore[arg-type]
    return PspEncoder(config).eval().requires_grad_(False)


def test_levels_of_the_styles() -> None:
    """Three styles read the coarse features, four the medium ones, the others the fine ones."""
    assert [level_of(style, encoder().config) for style in range(9)] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert {level_of(style, encoder(pyramid=False).config) for style in range(9)} == {0}


@pytest.mark.parametrize(
    ("height", "width", "depths"),
    [(256, 256, (4, 5, 6)), (192, 256, (4, 5, 6)), (32, 32, (1, 2, 3)), (16, 16, (0, 1, 2))],
)
def test_every_level_ends_in_one_pixel(height: int, width: int, depths: tuple[int, int, int]) -> None:
    network = encoder(input_height=height, input_width=width)
    assert head_depths(network.config) == depths
    codes = network(torch.randn(2, 3, height, width))
    assert codes.shape == (2, 9, 16)
    assert codes.isfinite().all()


def test_pictures_of_a_batch_do_not_mix() -> None:
    network, images = encoder(input_height=64, input_width=64), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network(images)[1:], network(images[1:]))


def test_the_mean_is_added_to_every_style() -> None:
    network, image = encoder(input_height=32, input_width=32), torch.randn(1, 3, 32, 32)
    plain = network(image)
    network.mean.add_(torch.arange(9.0)[:, None])
    torch.testing.assert_close(network(image) - plain, torch.arange(9.0)[None, :, None].expand(1, 9, 16))


def test_e4e_changes_every_style_with_the_first() -> None:
    network = encoder(kind="e4e", input_height=32, input_width=32)
    image = torch.randn(1, 3, 32, 32)
    plain = network(image)
    network.get_parameter("heads.0.linear.bias").add_(1.0)
    torch.testing.assert_close(network(image), plain + 1.0)


def test_without_a_pyramid_every_style_reads_the_coarse_features() -> None:
    network = encoder(pyramid=False, input_height=64, input_width=64)
    assert {len(head.convs) for head in network.heads} == {head_depths(network.config)[0]}
    assert not hasattr(network, "lateral_fine")
    assert network(torch.randn(2, 3, 64, 64)).shape == (2, 9, 16)


def test_an_iterative_encoder_takes_image_and_rendering() -> None:
    network = encoder(iterative=True, input_height=32, input_width=32)
    image, rendering = torch.randn(2, 1, 3, 32, 32)
    codes = network(torch.cat([image, rendering], dim=1))
    assert codes.shape == (1, 9, 16)
    assert not torch.allclose(codes, network(torch.cat([image, image], dim=1)))


def test_an_encoder_into_w_gives_one_style_for_all() -> None:
    network = encoder(kind="w", input_height=32, input_width=32)
    codes = network(torch.randn(2, 3, 32, 32))
    assert codes.shape == (2, 9, 16)
    assert torch.equal(codes, codes[:, :1].expand(2, 9, 16))


def test_a_kind_that_is_none() -> None:
    with pytest.raises(ValueError, match="kind is 'restyle', none of style-transformer, psp, e4e, w"):
        encoder(kind="restyle")


def test_widths_must_fit() -> None:
    with pytest.raises(ValueError, match="the last stage is 16 wide, not style_dim 32"):
        PspEncoder(EncoderConfig(**BACKBONE, style_dim=32, style_count=9))  # type: ignore[arg-type]
