"""The losses of StyleGAN2 (Karras et al. 2020): logistic, R1, path length."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating logistic loss (Goodfellow et al. 2014) of logits (B, …)."""
    return F.softplus(-fake).mean()


def discriminator_loss(real: Tensor, fake: Tensor, mismatched: Tensor | None = None) -> Tensor:
    """Logistic loss of the logits (B, …) of real and of generated images.

    `mismatched`, those of real images with the codes of others, count half. They teach how code and image relate
    (Reed et al. 2016, arXiv 1605.05396, section 4.2).
    """
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss if mismatched is None else loss + F.softplus(mismatched).mean() / 2


def squared_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """E ||d logit / d image||^2; times gamma / 2 it is R1 (Mescheder et al. 2018, equation 9).

    Of an image with many logits it is that of their mean.

    Args:
        logits: (B, …), of `images`.
        images: (B, 3, H, W) that require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.mean() * len(logits), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, codes: Tensor) -> Tensor:
    """||J^T y|| for one random image y, root mean square over styles, (B,) (Karras et al. 2020, section 3.2).

    Args:
        images: (B, 3, H, W), rendered from `codes`; y is N(0, 1) / sqrt(H W), so that its size does not matter.
        codes: (B, N, D) that require a gradient.
    """
    noise = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * noise).sum(), codes, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()


class PathLength(nn.Module):
    """Keeps path lengths near their own moving average: E (||J^T y|| - a)^2."""

    mean: Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, lengths: Tensor) -> Tensor:
        """Lengths (B,) -> the penalty, a scalar; the average moves first."""
        self.mean.lerp_(lengths.detach().mean(), 1 - self.decay)
        return (lengths - self.mean).square().mean()
