"""Which files are read: images and latent codes that are named, or found in folders; a file may hold many codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, get_args

from stedit.batch.naming import is_code_path, own_outputs, split_item, stem_of
from stedit.errors import InputError, LatentError, UsageError, describe_cause
from stedit.imaging import heic
from stedit.storage.latents import is_latent_path
from stedit.storage.origin import digest_of, digest_of_file
from stedit.storage.suffixes import HEIC_SUFFIXES, IMAGE_SUFFIXES

Kind = Literal["image", "latent", "foreign code"]  # the last is a code in a file of another tool
KINDS: tuple[Kind, ...] = get_args(Kind)
MAX_CODE_BYTES = 2**26  # of a file in a folder that is opened to see whether it holds codes
MAX_LIST_BYTES = 2**28


@dataclass(frozen=True)
class Source:
    """An input: an image, a latent code, or standard input."""

    path: Path | None  # None: standard input
    subfolder: Path = Path()  # where it lies inside the folder that was named; mirrored in an output folder
    item: str = ""  # the name of a code in a file of another tool

    @property
    def name(self) -> str:
        """What messages and records call it: `face.png`, or `latents.npy:face` for a code among others."""
        if self.path is None:
            return "-"
        return f"{self.path}:{self.item}" if self.item not in {"", stem_of(self.path)} else str(self.path)

    @property
    def stem(self) -> str:
        """The name of the code, or else that of the file without `.png` or `.latent.safetensors`."""
        return self.item or (stem_of(self.path) if self.path else "stdin")

    @property
    def is_foreign_code(self) -> bool:
        """Whether it is a code in a file of another tool, which does not say what model it belongs to."""
        return bool(self.path and is_code_path(self.path) and not is_latent_path(self.path))

    def digest(self, file: str = "") -> str:
        """Of the bytes of the file, whose digest may be known, and of the name of the code. Raises OSError."""
        assert self.path
        file = file or digest_of_file(self.path)
        return digest_of(f"{file}:{self.item}".encode()) if self.item else file

    @classmethod
    def of(cls, name: str | Path) -> Source:
        """The only input that a name stands for. Raises LatentError for a file of several codes."""
        sources = named_sources(Path(name))
        if len(sources) > 1:
            raise LatentError(
                f"{name} holds {len(sources)} codes, and this takes one: name it, as in {name}:{sources[0].item}"
            )
        return sources[0]


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
    kinds: Sequence[Kind] = KINDS,
    code_shape: tuple[int, int] | None = None,
    outside: Path | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Inputs:
    """Find the images and latent codes that `names` stand for, each once.

    A file that is named is taken whatever it is called; `-` is standard input, and `latents.npy:face` a code of a
    file that holds several. In folders, those are taken that are of `kinds`, codes of other tools if they fit a
    model of `code_shape` (N, D), that match any of `include`, if there are any, and none of `exclude`: patterns
    such as `*.jpg`, of the name or, if there is a slash in it, of the path within the folder. Hidden files, files
    without the ending of an image, what lies in the folder `outside`, and outputs of earlier runs (known by the
    attributes `own_outputs_of`; None takes them too) are passed over. Raises UsageError for an empty name.
    """
    sources: dict[tuple[Path | None, str], Source] = {}  # by absolute path, so that what is named twice is taken once
    unreadable: list[tuple[str, InputError]] = []
    left_out: list[Path] = []
    unsupported: list[Path] = []
    empty: list[Path] = []
    no_files: list[Path] = []
    for name in map(str, names):
        if not name:
            raise UsageError("an input is an empty name: is a variable of the shell unset?")
        path = Path(name)
        if name == "-" or not path.is_dir():
            for source in [Source(None)] if name == "-" else named_sources(path):
                sources.setdefault(_key(source), source)
            continue
        found = False
        for folder, files in _walk(path, recursive, outside, unreadable):
            named = [
                file for file in files if _kind(file) in kinds and _is_wanted(file.relative_to(path), include, exclude)
            ]
            ours = own_outputs(named, own_outputs_of) if own_outputs_of is not None else set()
            left_out += sorted(file for file in ours if not is_code_path(file))  # those nobody would miss
            usable = _without(named, _is_no_file, no_files)
            if not heic.can_read():
                usable = _without(usable, lambda file: file.suffix.lower() in HEIC_SUFFIXES, unsupported)
            found = found or len(usable) < len(named)
            for file in usable:
                if file not in ours:
                    here = _sources_in(Source(file, folder.relative_to(path)), code_shape)
                    sources.update((_key(source), source) for source in here if _key(source) not in sources)
                    found = found or bool(here)
        if not found:
            empty.append(path)
    return Inputs(
        tuple(sources.values()), tuple(unreadable), tuple(left_out), tuple(unsupported), tuple(empty), tuple(no_files)
    )


def named_sources(path: Path) -> list[Source]:
    """What the name of a file stands for: one input, or each code in a file of several.

    What cannot be read is left to whoever reads it to report.
    """
    path, item = split_item(path)
    source = Source(path, item=item)
    if item or not source.is_foreign_code or not path.is_file():
        return [source]
    from stedit.checkpoints.codes import CodeFile

    try:
        return [Source(path, item=name) for name in CodeFile.read(path).codes]
    except LatentError:
        return [source]


def _kind(file: Path) -> Kind | None:
    """What a file in a folder is, by its name."""
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return "image"
    if is_latent_path(file):
        return "latent"
    return "foreign code" if is_code_path(file) and file.suffix.lower() != ".safetensors" else None


def _sources_in(source: Source, shape: tuple[int, int] | None) -> list[Source]:
    """A file in a folder; of one of another tool, which may be anything, the codes, if they are a model's (N, D)."""
    if not source.is_foreign_code:
        return [source]
    from stedit.checkpoints.codes import CodeFile

    assert source.path
    try:
        if source.path.stat().st_size > MAX_CODE_BYTES:
            return []
        found = CodeFile.read(source.path)
    except (LatentError, OSError):
        return []
    return [replace(source, item=name) for name in found.codes] if found.fits(shape) else []


def _key(source: Source) -> tuple[Path | None, str]:
    return (source.path.absolute() if source.path else None, source.item)


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
