"""LPIPS: a perceptual distance in the features of AlexNet or VGG16 (Zhang et al. 2018, arXiv 1801.03924, equation 1).

Names are those of torchvision's classifiers (`features.0.weight`) and of the published heads (`lin0.model.1.weight`).
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Backbone = Literal["alex", "vgg"]

# kernel, stride, padding, channels of each convolution, or "pool"; the features compared follow each ReLU named
_Layer = tuple[int, int, int, int] | Literal["pool"]
_ALEX: tuple[_Layer, ...] = (
    (11, 4, 2, 64),
    "pool",
    (5, 1, 2, 192),
    "pool",
    (3, 1, 1, 384),
    (3, 1, 1, 256),
    (3, 1, 1, 256),
)
_VGG: tuple[_Layer, ...] = (
    *[(3, 1, 1, 64)] * 2,
    "pool",
    *[(3, 1, 1, 128)] * 2,
    "pool",
    *[(3, 1, 1, 256)] * 3,
    "pool",
    *[(3, 1, 1, 512)] * 3,
    "pool",
    *[(3, 1, 1, 512)] * 3,
)
_TAPS = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}
MIN_SIZE = 64  # smaller images are enlarged, since AlexNet leaves nothing of them
WIDTHS = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}


class Lpips(nn.Module):
    """The distance of two images. Without trained heads every channel counts the same (the paper's baseline)."""

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone, *, heads: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for item in _ALEX if backbone == "alex" else _VGG:
            if item == "pool":
                layers.append(nn.MaxPool2d(3, 2) if backbone == "alex" else nn.MaxPool2d(2, 2))
            else:
                kernel, stride, padding, outputs = item
                layers += [nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU()]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.taps = _TAPS[backbone]
        self.heads = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in WIDTHS[backbone] if heads)
        # ImageNet's means and deviations, for images in [-1, 1]
        self.register_buffer("shift", torch.tensor((-0.030, -0.088, -0.188)).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor((0.458, 0.448, 0.450)).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> their mean distance, a scalar."""
        return self.distances(image, target).mean()

    def distances(self, image: Tensor, target: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) in [-1, 1] -> the distance of each pair, (B,)."""
        with torch.no_grad():
            targets = self._levels(target)
        total = image.new_zeros(len(image))
        for level, (a, b) in enumerate(zip(self._levels(image), targets, strict=True)):
            difference = (a - b).square()
            distance = self.heads[level](difference) if len(self.heads) else difference.sum(dim=1, keepdim=True)
            total = total + distance.mean(dim=(1, 2, 3))
        return total

    def _levels(self, x: Tensor) -> list[Tensor]:
        """Features of each level, of unit length along the channels."""
        if min(x.shape[-2:]) < MIN_SIZE:
            x = F.interpolate(x, size=(MIN_SIZE, MIN_SIZE), mode="bilinear", align_corners=False)
        x = (x - self.shift) / self.scale
        levels = []
        for index, layer in enumerate(cast("list[nn.Module]", self.features)):
            x = layer(x)
            if index in self.taps:
                levels.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return levels
