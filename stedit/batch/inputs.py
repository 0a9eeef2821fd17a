"""Which files are read: images and latent codes that are named, or found in folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from stedit.batch.naming import own_outputs, stem_of
from stedit.errors import InputError, UsageError, describe_cause
from stedit.imaging import heic
from stedit.storage.latents import is_latent_path
from stedit.storage.suffixes import HEIC_SUFFIXES, IMAGE_SUFFIXES

MAX_LIST_BYTES = 2**28


@dataclass(frozen=True)
class Source:
    """An input: an image, a latent code, or standard input."""

    path: Path | None  # None: standard input
    subfolder: Path = Path()  # where it lies inside the folder that was named; mirrored in an output folder

    @property
    def name(self) -> str:
        """What messages and records call it."""
        return str(self.path) if self.path else "-"

    @property
    def stem(self) -> str:
        """The file's name without `.png` or `.latent.safetensors`."""
        return stem_of(self.path) if self.path else "stdin"


@dataclass(frozen=True)
class Inputs:
    """What the names of files and folders stand for."""

    sources: tuple[Source, ...] = ()
    unreadable: tuple[tuple[str, InputError], ...] = ()  # folders that could not be listed
    left_out: tuple[Path, ...] = ()  # images that earlier runs have made
    unsupported: tuple[Path, ...] = ()  # HEIC photographs in folders, where the extra that reads them is not installed
    empty: tuple[Path, ...] = ()  # folders without an image
    no_files: tuple[Path, ...] = ()  # pipes, sockets and the like in folders, which are called as images are


def collect_inputs(
    names: Sequence[str | Path],
    *,
    recursive: bool = False,
    own_outputs_of: Sequence[str] | None = None,
    latents: bool = True,
    outside: Path | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Inputs:
    """Find the images and, if `latents`, the latent codes that `names` stand for, each once.

    A file that is named is taken whatever it is called; `-` is standard input. In folders, those are taken that match
    any of `include`, if there are any, and none of `exclude`: patterns such as `*.jpg`, of the name or, if there is a
    slash in it, of the path within the folder. Hidden files, files without
    the ending of an image, what lies in the folder `outside`, and outputs of earlier runs (known by the attributes
    `own_outputs_of`; None takes them too) are passed over. Raises UsageError for an empty name.
    """
    sources: dict[Path | None, Source] = {}  # by absolute path, so that a file that is named twice is taken once
    unreadable: list[tuple[str, InputError]] = []
    left_out: list[Path] = []
    unsupported: list[Path] = []
    empty: list[Path] = []
    no_files: list[Path] = []
    for name in map(str, names):
        if not name:
            raise UsageError("an input is an empty name: is a variable of the shell unset?")
        path = Path(name)
        if name == "-":
            sources.setdefault(None, Source(None))
            continue
        if not path.is_dir():
            sources.setdefault(path.absolute(), Source(path))
            continue
        found = False
        for folder, files in _walk(path, recursive, outside, unreadable):
            images = [file for file in files if is_latent_path(file) or file.suffix.lower() in IMAGE_SUFFIXES]
            named = [file for file in images if _is_wanted(file.relative_to(path), include, exclude)]
            ours = own_outputs(named, own_outputs_of) if own_outputs_of is not None else set()
            left_out += sorted(file for file in ours if not is_latent_path(file))  # those nobody would miss
            usable = _without(named, _is_no_file, no_files)
            if not heic.can_read():
                usable = _without(usable, lambda file: file.suffix.lower() in HEIC_SUFFIXES, unsupported)
            found = found or len(usable) < len(named)
            for file in usable:
                if file not in ours and (latents or not is_latent_path(file)):
                    sources.setdefault(file.absolute(), Source(file, folder.relative_to(path)))
                    found = True
        if not found:
            empty.append(path)
    return Inputs(
        tuple(sources.values()), tuple(unreadable), tuple(left_out), tuple(unsupported), tuple(empty), tuple(no_files)
    )


def read_names(path: str | Path, *, null: bool = False) -> list[str]:
    """The names in a file, or for "-" in standard input: one a line, or each before a zero byte. Raises InputError."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_LIST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_LIST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read the list {path}: {describe_cause(error)}") from error
    if len(data) > MAX_LIST_BYTES:
        raise InputError(f"the list {path} is larger than {MAX_LIST_BYTES // 2**20} MB: split it")
    names = data.split(b"\0") if null else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def _is_wanted(path: Path, include: Sequence[str], exclude: Sequence[str]) -> bool:
    def matches(pattern: str) -> bool:
        return fnmatchcase(path.as_posix() if "/" in pattern else path.name, pattern)

    return (not include or any(map(matches, include))) and not any(map(matches, exclude))


def _without(files: list[Path], is_odd: Callable[[Path], bool], odd: list[Path]) -> list[Path]:
    """The files that are not odd; the others are added to `odd`."""
    marks = [is_odd(file) for file in files]
    odd += [file for file, mark in zip(files, marks, strict=True) if mark]
    return [file for file, mark in zip(files, marks, strict=True) if not mark]


def _is_no_file(path: Path) -> bool:
    """Whether it is a pipe, say, on which a reader could wait for ever; a broken link is left to the reader to tell."""
    return path.exists() and not path.is_file()


def _walk(
    top: Path, recursive: bool, outside: Path | None, unreadable: list[tuple[str, InputError]]
) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder with its files, sorted; hidden ones and symbolic links to folders are passed over."""

    def cannot_list(error: OSError) -> None:
        unreadable.append(
            (str(error.filename), InputError(f"cannot list the folder {error.filename}: {describe_cause(error)}"))
        )

    for name, folders, files in os.walk(top, onerror=cannot_list):
        folder = Path(name)
        folders[:] = sorted(
            inner
            for inner in folders
            if recursive and not inner.startswith(".") and not _is_at(folder / inner, outside)
        )
        yield folder, [folder / file for file in sorted(files) if not file.startswith(".")]


def _is_at(folder: Path, place: Path | None) -> bool:
    return place is not None and os.path.realpath(folder) == os.path.realpath(place)
