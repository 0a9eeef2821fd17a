"""Round the same on the CPU however many images are computed at a time, and by however many threads.

PyTorch and the libraries below it take other kernels for products of fewer than four rows, for small convolutions of
one image, and for 1x1 convolutions by one thread, whose sums are of another order. Within `rounded_as_in_batches`, all
convolutions go to oneDNN, and what is too small for the usual kernels is filled up: with PyTorch 2.13 on x86, batches
of 1 to 16 by 1 to 4 threads then agree bit by bit. Whoever relies on it checks that, as `stedit.batch.pipeline` does,
since another machine may have other kernels.
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
SMALL = 20480  # numbers: up to here, a transposed convolution of a single image does without oneDNN

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
_PRODUCTS = {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}


class _AsInBatches(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Choose the kernel, or fill up what is too small and cut what was filled up off the result."""
        kwargs = kwargs or {}
        if func is F.conv2d:
            return _convolved(*args, **kwargs) if _is_for_onednn(*args[:2]) else func(*args, **kwargs)
        if func is F.conv_transpose2d and len(args[0]) == 1 and args[0].numel() <= SMALL:
            return func(_filled(args[0], 2), *args[1:], **kwargs)[:1]
        if func is F.linear:
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


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    if not _HAS_ONEDNN or torch.is_autocast_enabled("cpu"):
        return False
    return x.dtype == weight.dtype == torch.float32 and x.numel() > 0


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """What `F.conv2d` gives, for padding in numbers."""
    stride, padding, dilation = ([one] * 2 if isinstance(one, int) else one for one in (stride, padding, dilation))
    convolved: Tensor = torch.mkldnn_convolution(x, weight, bias, padding, stride, dilation, groups)
    return convolved


def _filled(x: Tensor, rows: int) -> Tensor:
    """(B, ...) -> (rows, ...), filled up with its last."""
    return torch.cat([x, x[-1:].expand(rows - len(x), *x.shape[1:])])
