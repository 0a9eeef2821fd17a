"""Style mixing and interpolation: codes between two codes, in all styles or in some (Karras et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stedit.editing.layers import style_mask


def mix(a: Tensor, b: Tensor, share: float, styles: Sequence[int] | None = None) -> Tensor:
    """Go from codes `a` towards codes `b`, in a straight line.

    Coarse styles, the first ones, hold pose, shape and hair; fine ones, the last, hold colours and texture.

    Args:
        a: (B, N, D).
        b: (1 or B, N, D).
        share: 0 gives `a` and 1 gives `b`, bit by bit; below 0 and above 1 it goes beyond them.
        styles: those that go; None for all of them. The others are those of `a`.

    Returns:
        (B, N, D).
    """
    between = torch.lerp(a, b.expand_as(a), share)
    return torch.where(style_mask(a, styles).view(a.shape[1:]) > 0, between, a)
