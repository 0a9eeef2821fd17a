"""From what a person typed to a list of jobs: which files are read, where each output goes, what is refused or skipped.

Nothing is computed and nothing is written here, so whatever is wrong with a request is said before any work is done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stedit.editing.attributes import ALIASES, resolve_attribute
from stedit.errors import AttributeNameError, InputError, OutputError, UsageError, cause
from stedit.storage.latents import SUFFIX as LATENT_SUFFIX
from stedit.storage.latents import is_latent_path
from stedit.storage.suffixes import IMAGE_SUFFIXES

SUFFIXES = {
    "png": (".png",),
    "jpg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "gif": (".gif",),
    "latent": (LATENT_SUFFIX,),
}
"""What each `--format` may be called on disk, the usual name first."""
PICTURE_FORMATS = ("png", "jpg", "webp")

_WAYS = re.compile(r"(?:^|-)(?:from|along|keep|layers|weights|mix)-")
_NAMELESS = ("along-", "mix-")  # what an output may be called that is no edit of an attribute
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_STEP = re.compile(rf"\.(?P<what>[^.@]+)(?:@{_NUMBER}(?:to{_NUMBER})?)?")
"""What one command puts behind a stem: `.reconstruct`, `.sheet`, or a dot and what `edit_name` gives."""


@dataclass(frozen=True)
class Source:
    """An input: a picture, a latent code, or standard input."""

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
class Job:
    """One input and the one output made of it."""

    source: Source
    output: Path | None  # None: standard output


@dataclass(frozen=True)
class Gathered:
    """What the inputs on a command line stand for."""

    sources: tuple[Source, ...]
    unreadable: tuple[tuple[str, InputError], ...]  # folders that could not be listed
    left_out: tuple[Path, ...]  # pictures that earlier runs have made
    empty: tuple[Path, ...]  # folders without a picture


@dataclass(frozen=True)
class Plan:
    """What a command is going to do."""

    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...]  # their outputs exist
    gathered: Gathered


@dataclass(frozen=True)
class Target:
    """Where outputs go, and of which kind they are: `-o` and `--format`, understood."""

    place: Literal["beside", "folder", "file", "stdout"]
    path: Path
    format: str

    @classmethod
    def parse(cls, output: str | None, wanted: str | None, formats: Sequence[str]) -> Target:
        """Understand `-o` and `--format` for a command that writes `formats`, of which the first is the default.

        Raises UsageError if the two contradict each other or name a kind of file that the command does not write.
        """
        format_ = wanted or formats[0]
        if output is None:
            return cls("beside", Path(), format_)
        if output == "-":
            return cls("stdout", Path(), format_)
        path = Path(output)
        if path.is_dir() or output.endswith(("/", os.sep)) or not _looks_like_a_file(path):
            if path.exists() and not path.is_dir():
                raise UsageError(f"-o {output} is a file and not a folder: name a folder, or a file ending in .png")
            return cls("folder", path, format_)
        named = next((name for name in formats if path.name.lower().endswith(SUFFIXES[name])), None)
        if named is None:
            endings = ", ".join(SUFFIXES[name][0] for name in formats)
            raise UsageError(f"-o {output} has an ending that this command does not write: it writes {endings}")
        if wanted and wanted != named:
            raise UsageError(f"-o {output} and --format {wanted} contradict each other: leave one of them out")
        return cls("file", path, named)


def _looks_like_a_file(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES | {".safetensors"}


def stem_of(path: Path) -> str:
    """`face` for both `face.png` and `face.latent.safetensors`."""
    return path.name[: -len(LATENT_SUFFIX)] if is_latent_path(path) else path.stem


def edit_name(attributes: Sequence[str], strengths: Sequence[float], ways: Sequence[str] = (), usual: float = 1) -> str:
    """What an edit is called in file names: `smile`, `smile+no-glasses@0.5`, `smile@-2to2`, `smile-from-jane`.

    `ways` are such as `from-jane` or `along-first-order`. The `usual` strength goes without saying; any other is part
    of the name, so that two strengths do not share a file.
    """
    named = "+".join(re.sub(r"[^\w-]+", "-", attribute).lower() for attribute in attributes)
    name = "-".join(part for part in (named, *(re.sub(r"[.@/\\]", "_", way) for way in ways)) if part)
    if len(strengths) > 1:
        return f"{name}@{strengths[0]:g}to{strengths[-1]:g}"
    return name if strengths[0] == usual else f"{name}@{strengths[0]:g}"


def make_plan(
    inputs: Sequence[str],
    what: str,
    target: Target,
    attributes: Sequence[str],
    *,
    recursive: bool = False,
    overwrite: bool = False,
) -> Plan:
    """Pair every input with its output: `<stem>.<what>.<ext>`, or what `-o FILE` says.

    `attributes` are the model's, by which outputs of earlier edits are known. `recursive` looks into the folders of
    folders, `overwrite` makes outputs that exist anew. Raises UsageError, before anything is
    done, if two inputs share an output, an output would replace its input, or several outputs are to go to one place;
    OutputError if an output folder cannot be written to.
    """
    gathered = gather(
        inputs,
        recursive=recursive,
        attributes=attributes,
        latents=bool(what),
        outside=target.path if target.place == "folder" else None,
    )
    target = _settle(target, gathered.sources)
    pairs = [Job(source, _output(source, what, target)) for source in gathered.sources]
    makers = {os.path.realpath(job.output): job for job in pairs if job.output}
    jobs, left_out = [], []
    for job in pairs:
        maker = makers.get(os.path.realpath(job.source.path)) if job.source.path else None
        if maker is job or _same_file(job):
            raise UsageError(f"{job.source.name} would be replaced by its own output: choose another place with -o")
        if maker is None:
            jobs.append(job)
        elif job.source.path:  # *.png of a shell names the outputs of the last run as well
            left_out.append(job.source.path)
    _refuse_collisions(jobs)
    skipped: list[Job] = []
    todo: list[Job] = []
    for job in jobs:
        exists = job.output is not None and job.output.exists()
        (skipped if exists and not overwrite else todo).append(job)
    _refuse_unwritable(todo)
    return Plan(tuple(todo), tuple(skipped), replace(gathered, left_out=(*gathered.left_out, *left_out)))


def gather(
    inputs: Sequence[str],
    *,
    recursive: bool,
    attributes: Sequence[str] | None,
    latents: bool = True,
    outside: Path | None = None,
) -> Gathered:
    """Find the pictures and, if `latents`, the latent codes that `inputs` stand for, each once.

    A file that is named is taken whatever it is called. In folders, hidden files, files without the ending of a
    picture, what lies in the folder `outside`, and (if `attributes` are given) outputs of earlier runs are passed over.
    """
    sources: dict[Path | None, Source] = {}  # by absolute path, so that a file that is named twice is taken once
    unreadable: list[tuple[str, InputError]] = []
    left_out: list[Path] = []
    empty: list[Path] = []
    for text in inputs:
        if not text:
            raise UsageError("an input is an empty name: is a variable of the shell unset?")
        path = Path(text)
        if text == "-":
            sources.setdefault(None, Source(None))
            continue
        if not path.is_dir():
            sources.setdefault(path.absolute(), Source(path))
            continue
        found = False
        for folder, files in _walk(path, recursive, outside, unreadable):
            usable = [file for file in files if is_latent_path(file) or file.suffix.lower() in IMAGE_SUFFIXES]
            ours = made_by_stedit(usable, attributes) if attributes is not None else set()
            left_out += sorted(file for file in ours if not is_latent_path(file))  # those nobody would miss
            for file in usable:
                if file not in ours and (latents or not is_latent_path(file)):
                    sources.setdefault(file.absolute(), Source(file, folder.relative_to(path)))
                    found = True
        if not found:
            empty.append(path)
    return Gathered(tuple(sources.values()), tuple(unreadable), tuple(left_out), tuple(empty))


def made_by_stedit(files: Sequence[Path], attributes: Sequence[str]) -> set[Path]:
    """Tell which `files` of one folder are outputs of earlier runs: by name, and by what they were made of being there.

    `face.smile.png` is one if `smile` is an attribute and `face.jpg` or `face.latent.safetensors` lies beside it;
    `face.latent.safetensors` is one beside `face.jpg`; `holiday.2024.png` beside `holiday.png` is none.
    """
    stems = {stem_of(file) for file in files}
    pictures = {stem_of(file) for file in files if not is_latent_path(file)}

    def is_output(file: Path) -> bool:
        stem = stem_of(file)
        if is_latent_path(file) and stem in pictures:
            return True
        dots = [place for place, letter in enumerate(stem) if letter == "."]
        return any(stem[:dot] in stems and _names_our_steps(stem[dot:], attributes) for dot in dots)

    return {file for file in files if is_output(file)}


def _names_our_steps(tail: str, attributes: Sequence[str]) -> bool:
    """Whether `tail`, such as `.smile@0.5.sheet`, consists of what stedit puts behind a stem."""
    steps = list(_STEP.finditer(tail))
    if "".join(step.group() for step in steps) != tail:
        return False
    return all(_is_our_word(step["what"], attributes) for step in steps)


def _is_our_word(what: str, attributes: Sequence[str]) -> bool:
    if what in {"reconstruct", "sheet"} or what.startswith(_NAMELESS):
        return True
    known = (*attributes, *(attribute for attribute, _ in ALIASES.values()))  # the earlier model may know others
    try:
        for name in _WAYS.split(what)[0].split("+"):
            resolve_attribute(name, known)
    except AttributeNameError:
        return False
    return True


def _walk(
    top: Path, recursive: bool, outside: Path | None, unreadable: list[tuple[str, InputError]]
) -> Iterator[tuple[Path, list[Path]]]:
    """Give each folder with its files, sorted; hidden ones and symbolic links to folders are passed over."""

    def cannot_list(error: OSError) -> None:
        unreadable.append((str(error.filename), InputError(f"cannot list the folder {error.filename}: {cause(error)}")))

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


def _settle(target: Target, sources: Sequence[Source]) -> Target:
    """Send what has no folder to standard output, and refuse to send several outputs to one place."""
    if target.place == "beside" and any(source.path is None for source in sources):
        if len(sources) > 1:
            raise UsageError("standard input has no folder to write beside: name an output folder with -o")
        return replace(target, place="stdout")
    if target.place in {"file", "stdout"} and len(sources) > 1:
        raise UsageError(f"one output cannot take the results of {len(sources)} inputs: name a folder with -o")
    return target


def _output(source: Source, what: str, target: Target) -> Path | None:
    if target.place == "stdout":
        return None
    if target.place == "file":
        return target.path
    name = (f"{source.stem}.{what}" if what else source.stem) + SUFFIXES[target.format][0]
    if target.place == "folder":
        return target.path / source.subfolder / name
    assert source.path is not None  # _settle has sent standard input elsewhere
    return source.path.with_name(name)


def _same_file(job: Job) -> bool:
    """Whether an existing output is the input itself by another name (a hard link)."""
    if not job.source.path or not job.output or not job.source.path.exists() or not job.output.exists():
        return False
    return job.output.samefile(job.source.path)


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    makers: dict[str, Job] = {}
    for job in jobs:
        if job.output:
            other = makers.setdefault(os.path.normcase(os.path.realpath(job.output)), job)
            if other is not job:
                raise UsageError(
                    f"{other.source.name} and {job.source.name} would both be written to {job.output}: "
                    "rename one, or give them in separate commands with an -o each"
                )


def _refuse_unwritable(jobs: Sequence[Job]) -> None:
    for folder in {job.output.parent for job in jobs if job.output}:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        if not existing.is_dir():
            raise OutputError(f"cannot write into {folder}: {existing} is a file: choose another folder with -o")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write into {folder}: permission is denied: choose another folder with -o")
