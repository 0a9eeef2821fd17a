"""Which outputs a process is working on, so that several on one folder share the work instead of doing it twice.

A claim is a lock on one byte of `.stedit.lock` in the folder, at a place that follows from the output's name. The
system lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

try:
    import fcntl
except ImportError:  # Windows, where everything is free to be claimed by everybody
    fcntl = None  # type: ignore[assignment]

LOCK = ".stedit.lock"


class Claims:
    """The claims of this process; use it as a context manager, and once at a time: locks are the whole process's."""

    def __init__(self) -> None:
        self._locks: dict[Path, int | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for folder, descriptor in self._locks.items():
            if descriptor is None or fcntl is None:
                continue
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else claims anything here
                (folder / LOCK).unlink()
            os.close(descriptor)
        self._locks.clear()

    def take(self, output: Path) -> bool:
        """Claim an output; False if another process has. Where there are no locks, everything is free."""
        descriptor = self._lock_of(output.parent)
        if descriptor is None or fcntl is None:
            return True
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(output))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:  # a file system without locks
            return True
        return True

    def release(self, output: Path) -> None:
        """Let go of an output that is claimed."""
        descriptor = self._locks.get(output.parent)
        if descriptor is not None and fcntl is not None:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _place(output))

    def _lock_of(self, folder: Path) -> int | None:
        if folder not in self._locks:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._locks[folder] = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:  # which the writer of the output will tell
                self._locks[folder] = None
        return self._locks[folder]


def _place(output: Path) -> int:
    """The byte that stands for a name, of 2^40."""
    return int.from_bytes(hashlib.sha256(os.fsencode(output.name)).digest()[:5], "big")
