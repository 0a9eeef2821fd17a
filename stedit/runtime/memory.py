"""How many images fit into memory at a time."""

from __future__ import annotations

from pathlib import Path

import torch

from stedit.models.config import GeneratorConfig, resolutions

MAPS = 6  # as large as the generator's largest, that are there at a time: eight images at 1024 px take 6.2 GB
SHARE = 0.75  # of a GPU's memory; the rest is for the networks, and for who else is there


def image_bytes(config: GeneratorConfig) -> int:
    """What it takes to render one image."""
    widths = zip(config.channels, resolutions(config.resolution), strict=True)
    return MAPS * 4 * max(channels * side**2 for channels, side in widths)


def images_on_device(config: GeneratorConfig, device: torch.device) -> int:
    """Images that are rendered at a time on a GPU, at least one. What is free at the moment makes no difference."""
    if device.type != "cuda":
        return 2**31
    return max(1, int(SHARE * torch.cuda.get_device_properties(device).total_memory / image_bytes(config)))


def free_bytes() -> int:
    """Of the machine's memory, for this process; a great many where the system does not tell."""
    free = 2**62
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        values = dict(line.split(":", 1) for line in lines)
        free = int(values["MemAvailable"].split()[0]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text("ascii")
        free = free if limit == "max" else min(free, int(limit) - int(used))
    except (OSError, ValueError, KeyError):  # no Linux, or no such limit
        pass
    return free
