"""Which styles of a code an edit may change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def style_mask(w: Tensor, styles: Sequence[int] | None) -> Tensor:
    """Which numbers of a flattened code (B, N, D) may change: (N*D,) of 1 and 0."""
    touched = torch.full(w.shape[1:], float(styles is None), dtype=w.dtype, device=w.device)
    if styles is not None:
        touched[list(styles)] = 1
    return touched.flatten()
