"""The part of a square rendering that shows the image, and changes of size."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from stedit.imaging.files import Pixels


def content_size(resolution: int, input_size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the part of a square rendering that shows the image.

    Models of things that are wider than high (cars: 192 x 256 of 256 x 256) render them in the middle.
    """
    longest = max(input_size)
    return resolution * input_size[0] // longest, resolution * input_size[1] // longest


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Renderings (B, 3, R, R) -> their middle (B, 3, *size)."""
    top, left = (images.shape[-2] - size[0]) // 2, (images.shape[-1] - size[1]) // 2
    return images[:, :, top : top + size[0], left : left + size[1]]


def frame(renderings: Pixels, size: tuple[int, int]) -> Pixels:
    """The same for uint8 (B, R, R, 3) -> (B, *size, 3)."""
    top, left = (renderings.shape[1] - size[0]) // 2, (renderings.shape[2] - size[1]) // 2
    return renderings[:, top : top + size[0], left : left + size[1]]


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) scaled to (height, width) without aliasing."""
    height, width = images.shape[-2:]
    if (height, width) == size:
        return images
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(images, (height // size[0], width // size[1]))
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
