"""The aligner: a small fully convolutional network that finds faces and five points of each in an image.

A heat map says where faces are, as centres do in CenterNet (Zhou et al. 2019); at each of its cells the network also
says where the five points and the corners of the face's box lie. It knows faces of one range of sizes, so an image is
shown to it at several scales.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stedit.models.attribute_network import ResidualStage
from stedit.models.config import AlignerConfig

STRIDE = 8  # pixels of a cell of the heat map
UNIT = 32  # sides of images are multiples of it: the deepest features are at 1/32
POINTS = 5  # right eye, left eye, nose, right and left corner of the mouth: the person's right, on the image's left
MIRRORED = (1, 0, 2, 4, 3)  # their order in a mirror
SHAPE = POINTS + 2  # and the top left and bottom right corners of the box


class Aligner(nn.Module):
    """Images -> where faces are, and their points."""

    def __init__(self, config: AlignerConfig) -> None:
        super().__init__()
        self.config = config
        stem, w4, w8, w16, w32 = config.widths
        self.stem = nn.Sequential(nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        self.down4, self.down8 = ResidualStage(stem, w4), ResidualStage(w4, w8)
        self.down16, self.down32 = ResidualStage(w8, w16), ResidualStage(w16, w32)
        self.lateral8, self.lateral16, self.lateral32 = (nn.Conv2d(w, w8, 1) for w in (w8, w16, w32))
        self.merge = nn.Sequential(
            *(
                layer
                for _ in range(2)
                for layer in (nn.Conv2d(w8, w8, 3, 1, 1, bias=False), nn.BatchNorm2d(w8), nn.ReLU())
            )
        )
        self.head = nn.Conv2d(w8, 1 + 2 * SHAPE, 1)
        nn.init.constant_(cast(Tensor, self.head.bias)[:1], -4.0)  # faces are rare (Lin et al. 2017, section 4.1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Look for faces at every cell.

        Args:
            x: (B, 3, H, W) in [-1, 1], H and W multiples of 32.

        Returns:
            Logits (B, h, w) that a face's centre lies in the cell of 8 x 8 pixels, and points (B, h, w, 7, 2), x and y
            in pixels from the image's top left corner: right eye, left eye, nose, right and left mouth corner, the
            top left and bottom right corner of the box. Both float32.
        """
        x = self.stem(x.contiguous(memory_format=torch.channels_last))  # (B, C, H/2, W/2)
        x8 = self.down8(self.down4(x))
        x16 = self.down16(x8)
        x32 = self.down32(x16)
        merged = self.lateral16(x16) + F.interpolate(self.lateral32(x32), scale_factor=2, mode="nearest")
        merged = self.lateral8(x8) + F.interpolate(merged, scale_factor=2, mode="nearest")
        merged = self.merge(merged).float()  # (B, w8, H/8, W/8)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round to a quarter of a pixel
            answers = self.head(merged).permute(0, 2, 3, 1)  # (B, h, w, 15)
        offsets = answers[..., 1:].unflatten(-1, (SHAPE, 2)) * STRIDE
        return answers[..., 0], offsets + cell_centres(answers.shape[1], answers.shape[2], x.device)[:, :, None]


def _convolution(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """(h, w, 2): x and y, in pixels, of the centres of the heat map's cells."""
    y, x = (STRIDE * (torch.arange(count, device=device) + 0.5) for count in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
