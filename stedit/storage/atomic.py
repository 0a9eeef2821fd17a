"""Outputs appear whole or not at all: written beside their place under a temporary name, then renamed.

What is reported as written survives a power cut: the file is flushed to the disk before its name, and then the folder.
A temporary file is locked while it is written, so that what a killed process has left behind can be known and removed.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stedit.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LEFTOVER_SECONDS = 2.0
_PREFIX, _SUFFIX = ".stedit-", ".part"

_ADVICE = {
    errno.ENOSPC: "the disk is full, so free some space and run again",
    errno.EDQUOT: "your disk quota is used up, so free some space and run again",
    errno.EACCES: "permission is denied, so choose another place or change the permissions",
    errno.EPERM: "permission is denied, so choose another place or change the permissions",
    errno.EROFS: "the disk is read-only, so choose another place",
    errno.ENOENT: "its folder does not exist, so create it first",
    errno.ENOTDIR: "a part of its path is a file, so choose another place",
    errno.EISDIR: "it is a folder, so give a file name",
    errno.ENAMETOOLONG: "its name is too long, so choose a shorter one",
}


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing a file there. Raises OutputError and then leaves what was there untouched.

    A symbolic link is followed and its target replaced. Devices and pipes are written into, because a rename would
    put an ordinary file in the place of, say, /dev/null.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as device:
                device.write(data)
        else:
            _replace_file(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise _output_error(path, error) from error


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder to fill, which becomes `path`, replacing a folder there, when the block ends.

    If the block raises, or the disk fails it, `path` stays as it was. An OSError becomes an OutputError.
    """
    target = Path(os.path.realpath(path))
    temporary = _temporary_sibling(target)
    sweep(target.parent)
    try:
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        temporary.mkdir()
        with _locked(temporary):
            yield temporary
        for inner in [*temporary.rglob("*"), temporary]:
            _flush(inner)
        _replace_folder(target, temporary)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove from `folder` what killed processes have left behind, as far as that is possible."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        try:
            # A younger one may be on the way between being made and being locked.
            if time.time() - leftover.lstat().st_mtime < LEFTOVER_SECONDS or _is_locked(leftover):
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        except OSError:  # somebody else's, or gone
            continue


def _replace_file(target: Path, data: bytes) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    # A rename asks only the folder, so a file that its owner made read-only would be lost.
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = _temporary_sibling(target)
    try:
        with temporary.open("xb") as file, _locked(temporary):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _flush(target.parent)
    finally:  # an interrupt, too, must leave nothing behind
        temporary.unlink(missing_ok=True)


def _replace_folder(target: Path, new: Path) -> None:
    """Two renames, because no system call replaces a folder that holds something."""
    if not target.exists():
        new.rename(target)
        _flush(target.parent)
        return
    old = target.with_name(
        f"{_PREFIX}{secrets.token_hex(8)}.old"
    )  # not to be swept: it may be the only one for a moment
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    _flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _temporary_sibling(target: Path) -> Path:
    """A name on the same disk (a rename cannot cross disks), hidden, and with no suffix that a batch would pick up."""
    return target.with_name(f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")


@contextmanager
def _locked(temporary: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, where there are such locks."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(temporary, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _is_locked(temporary: Path) -> bool:
    """Whether a process is still writing; True where that cannot be known."""
    if fcntl is None:
        return True
    descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _flush(path: Path) -> None:
    """Let a file, or the names in a folder, reach the disk."""
    with suppress(OSError):  # a system or a file system that cannot flush folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _output_error(path: Path, error: OSError) -> OutputError:
    advice = _ADVICE.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write {path}: {advice}")
