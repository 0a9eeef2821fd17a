"""Round the same on the CPU however many images are computed at a time.

PyTorch and the libraries below it take other kernels for products of fewer than four rows, and for small convolutions
of one image, whose sums are of another order. Within `rounded_as_in_batches`, such products are filled up, which costs
a single image a third more: with PyTorch 2.13 on x86, batches of 1, 2, 3, 4 and 8 then agree bit by bit. Whoever relies
on it checks that, as `stedit.batch.pipeline` does, since another machine may have other kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ROWS = 4
SMALL = 20480  # numbers: up to here, a convolution of a single image does without oneDNN

_CONVOLUTIONS = {F.conv2d, F.conv_transpose2d}
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}


class _AsInBatches(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Fill up what is too small, and cut what was filled up off the result."""
        kwargs = kwargs or {}
        if func in _CONVOLUTIONS and len(args[0]) < ROWS:
            x, rest = args[0], args[1:]
            rows = ROWS if x.shape[-2:] == (1, 1) else 2 if len(x) == 1 and x.numel() <= SMALL else len(x)
            groups = kwargs.get("groups", rest[5] if len(rest) > 5 else 1)
            if rows > len(x) and groups == 1:
                return func(_filled(x, rows), *rest, **kwargs)[: len(x)]
        elif func is F.linear:
            x, rest = args[0], args[1:]
            rows = x.numel() // x.shape[-1]
            if rows < ROWS:
                products = func(_filled(x.reshape(rows, -1), ROWS), *rest, **kwargs)[:rows]
                return products.reshape(*x.shape[:-1], -1)
        elif func in _PRODUCTS and args[0].ndim == 2 and len(args[0]) < ROWS:
            return func(_filled(args[0], ROWS), *args[1:], **kwargs)[: len(args[0])]
        return func(*args, **kwargs)


def rounded_as_in_batches(device: torch.device) -> AbstractContextManager[object]:
    """The context in which a few images are rounded as in a batch, on a CPU; elsewhere nothing changes."""
    return _AsInBatches() if device.type == "cpu" else nullcontext()


def _filled(x: Tensor, rows: int) -> Tensor:
    """(B, ...) -> (rows, ...), filled up with its last."""
    return torch.cat([x, x[-1:].expand(rows - len(x), *x.shape[1:])])
