"""Whether a device can be meant at all, known without loading torch, which takes seconds."""

from __future__ import annotations

import re
import sys

from stedit.errors import DeviceError, UsageError

_NAMES = re.compile(r"(?:auto|cpu|mps|(?:cuda|xpu)(?::\d+)?)")
_SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "metal": "mps", "apple": "mps"}


def check_device(name: str) -> str:
    """The device as torch calls it.

    Raises UsageError for a name that is none, and DeviceError for one that this machine cannot have. What only torch
    knows, such as how many GPUs there are, is found out when the model is loaded.
    """
    if "," in name:
        return ",".join(map(check_device, name.split(",")))
    name = name.strip().lower()
    name = _SYNONYMS.get(name, name)
    if not _NAMES.fullmatch(name):
        raise UsageError(f"{name!r} is no device: choose auto, cpu, cuda, cuda:N or mps with --device")
    if name == "mps" and sys.platform != "darwin":
        raise DeviceError(f"the device {name!r} is not available here: it is Apple's: choose auto or cpu with --device")
    if name.startswith("cuda") and _is_cpu_build():
        raise DeviceError(
            f"the device {name!r} is not available here: this PyTorch is built for the CPU: choose cpu with --device, "
            "or install another build"
        )
    return name


def _is_cpu_build() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False
