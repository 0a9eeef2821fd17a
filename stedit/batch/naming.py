"""What outputs are called, and how they are known again: `face.smile@0.5.png` was made of `face.jpg`."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from stedit.editing.attributes import ALIASES, resolve_attribute
from stedit.errors import AttributeNameError
from stedit.storage.latents import SUFFIX as LATENT_SUFFIX
from stedit.storage.latents import is_latent_path
from stedit.storage.suffixes import CODE_SUFFIXES

_QUALIFIERS = re.compile(r"(?:^|-)(?:from|along|keep|layers|weights|mix)-")
_WITHOUT_ATTRIBUTE = ("along-", "mix-")  # what an output may be called that is no edit of an attribute
_FURTHER_FACE = re.compile(r"\.face-(?:[2-9]|[1-9]\d+)$")
LONGEST_LIST = 60  # letters, of strengths in a name
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_STEP = re.compile(rf"\.(?P<what>[^.@]+)(?:@{_NUMBER}(?:(?:to|[,+x]){_NUMBER})*(?:-[0-9a-f]{{8}})?)?")
"""What one command puts behind a stem: `.reconstruct`, `.sheet`, or a dot and what `output_suffix` gives."""


def stem_of(path: Path) -> str:
    """`face` for `face.png`, `face.latent.safetensors`, and `latents.npy:face`, a code of a file."""
    file, item = split_item(path)
    if item:
        return item
    return file.name[: -len(LATENT_SUFFIX)] if is_latent_path(file) else file.stem


def split_item(path: Path) -> tuple[Path, str]:
    """`latents.npy` and `face` of `latents.npy:face`, if there is such a file; else the path and ""."""
    file, colon, item = str(path).rpartition(":")
    if colon and item and is_code_path(file) and not os.path.exists(path) and os.path.isfile(file):  # noqa: PTH110, PTH113 - a name too long is none
        return Path(file), item
    return path, ""


def is_code_path(path: str | Path) -> bool:
    """Whether a file is named as one of latent codes, ours or another tool's."""
    return Path(path).suffix.lower() in CODE_SUFFIXES


def output_suffix(
    attributes: Sequence[str],
    strengths: Sequence[float | Sequence[float]],
    qualifiers: Sequence[str] = (),
    usual: float = 1,
) -> str:
    """What an edit is called in file names: `smile`, `smile+no-glasses@0.5`, `smile@-2to2x5`, `smile-from-jane`.

    `qualifiers` are such as `from-jane` or `along-first-order`. The `usual` strength goes without saying; any other is
    part of the name, so that two strengths do not share a file, nor two lists of them.
    """
    named = "+".join(re.sub(r"[^\w-]+", "-", attribute).lower() for attribute in attributes)
    qualified = (re.sub(r"[.@/\\]", "_", qualifier) for qualifier in qualifiers)
    name = "-".join(part for part in (named, *qualified) if part)
    return name if list(strengths) == [usual] else f"{name}@{_strengths_text(strengths)}"


def _strengths_text(strengths: Sequence[float | Sequence[float]]) -> str:
    """`0.5`, `0.5+1` of two attributes, `-2,-1,2`, `-2to2x5` of five at equal distances; too many end in a digest."""
    texts = [strength_text(one) for one in strengths]
    listed = ",".join(texts)
    if len(strengths) < 3:
        return listed
    first, last = strengths[0], strengths[-1]
    if not (isinstance(first, Sequence) or isinstance(last, Sequence)):
        even = [first + (last - first) * i / (len(strengths) - 1) for i in range(len(strengths))]
        if [f"{one:g}" for one in even] == texts:
            return f"{first:g}to{last:g}x{len(strengths)}"
    if len(listed) <= LONGEST_LIST:
        return listed
    return f"{texts[0]}to{texts[-1]}x{len(strengths)}-{hashlib.sha256(listed.encode()).hexdigest()[:8]}"


def strength_text(strength: float | Sequence[float]) -> str:
    """`0.5`, or `0.5+1` of two attributes."""
    return "+".join(f"{part:g}" for part in (strength if isinstance(strength, Sequence) else (strength,)))


def face_path(path: Path, number: int) -> Path:
    """Where what is made of a face goes, counted from the largest: `party.aligned.jpg`, `party.aligned.face-2.jpg`."""
    stem, suffix = _split_suffix(path)
    return path if number == 1 else path.with_name(f"{stem}.face-{number}{suffix}")


def first_face_path(path: Path) -> Path:
    """The same of the largest face: `party.aligned.jpg` for `party.aligned.face-2.jpg`."""
    stem, suffix = _split_suffix(path)
    return path.with_name(_FURTHER_FACE.sub("", stem) + suffix)


def _split_suffix(path: Path) -> tuple[str, str]:
    """`party` and `.jpg`; `party` and `.latent.safetensors`."""
    suffix = path.name[-len(LATENT_SUFFIX) :] if is_latent_path(path) else path.suffix
    return path.name[: len(path.name) - len(suffix)], suffix


def own_outputs(files: Sequence[Path], attributes: Sequence[str]) -> set[Path]:
    """Which `files` of one folder are outputs of earlier runs: by name, and by what they were made of being there.

    `face.smile.png` is one if `smile` is an attribute and `face.jpg` or `face.latent.safetensors` lies beside it;
    `face.latent.safetensors` and `face.face-2.latent.safetensors` are some beside `face.jpg`, and `face.npz` beside
    either; `holiday.2024.png` is none of `holiday.png`.
    """
    # Of a.jpg and a.png, an output may be called a.jpg.smile.png: see `plan._outputs`.
    stems = {name for file in files for name in (stem_of(file), file.name)}
    images = {name for file in files if not is_code_path(file) for name in (file.stem, file.name)}
    inverted = images | {stem_of(file) for file in files if is_latent_path(file)}

    def is_output(file: Path) -> bool:
        stem = stem_of(file)
        if is_code_path(file) and _FURTHER_FACE.sub("", stem) in (images if is_latent_path(file) else inverted):
            return True
        dots = [place for place, letter in enumerate(stem) if letter == "."]
        return any(stem[:dot] in stems and _names_our_steps(stem[dot:], attributes) for dot in dots)

    return {file for file in files if is_output(file)}


def _names_our_steps(tail: str, attributes: Sequence[str]) -> bool:
    """Whether `tail`, such as `.smile@0.5.sheet`, consists of what stedit puts behind a stem."""
    tail = re.sub(r"(?<=\.aligned)\.face-\d+", "", tail)
    steps = list(_STEP.finditer(tail))
    if "".join(step.group() for step in steps) != tail:
        return False
    return all(_is_our_word(step["what"], attributes) for step in steps)


def _is_our_word(what: str, attributes: Sequence[str]) -> bool:
    if what in {"reconstruct", "sheet", "aligned"} or what.startswith(_WITHOUT_ATTRIBUTE):
        return True
    known = (*attributes, *(attribute for attribute, _ in ALIASES.values()))  # the earlier model may know others
    try:
        for name in _QUALIFIERS.split(what)[0].split("+"):
            resolve_attribute(name, known)
    except AttributeNameError:
        return False
    return True
