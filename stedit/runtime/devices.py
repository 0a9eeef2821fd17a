"""Device and precision of computation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from stedit.errors import DeviceError

Precision = Literal["float32", "bfloat16", "float16"]


def require_precision(precision: Precision, device: torch.device) -> None:
    """Raise DeviceError if the device does not compute in this precision, or so slowly that nobody means it."""
    if precision == "float16" and device.type == "cpu":
        raise DeviceError("the CPU has no fast float16: choose bfloat16 or float32", argument="precision")


def choose_device(device: str | torch.device) -> torch.device:
    """The torch device of this name; "auto" is CUDA, then MPS, then the CPU. Raises DeviceError."""
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(f"the device {str(device)!r} is not available here: choose cpu", argument="device") from error
    return device


def describe_device(name: str) -> str:
    """The device that a name stands for here, with the model of a GPU; or why there is none."""
    try:
        device = choose_device(name)
    except DeviceError as error:
        return str(error)
    return f"{device}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def thread_count() -> int:
    """Of the CPU, for one operation."""
    return torch.get_num_threads()


def set_thread_count(count: int) -> None:
    """Of the CPU, for one operation of this thread and of those that begin later."""
    torch.set_num_threads(count)


@contextmanager
def restored_thread_count() -> Iterator[int]:
    """Give the number of threads, and set it again in the end if it was changed."""
    count = thread_count()
    try:
        yield count
    finally:
        if thread_count() != count:
            set_thread_count(count)
