"""A process that is forked off one that has computed, as Python's `multiprocessing` does on Linux."""

from __future__ import annotations

import os
import sys
from functools import cache

import torch


@cache
def compute_in_forked_processes() -> None:
    """Let processes that are forked off this one compute, with one thread each.

    The threads of OpenMP and OpenCV do not come along when a process forks, and whoever waits for them waits forever.
    CUDA does not come along at all: torch says so.
    """
    if not hasattr(os, "register_at_fork"):
        return
    ended: list[int] = []  # threads of OpenCV, which must end before: the child cannot

    def before() -> None:
        if (cv2 := sys.modules.get("cv2")) is not None:
            ended.append(cv2.getNumThreads())
            cv2.setNumThreads(1)

    def in_parent() -> None:
        if ended:
            sys.modules["cv2"].setNumThreads(ended.pop())

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=lambda: torch.set_num_threads(1))
