"""What outputs are called, and how they are known again: `face.smile@0.5.png` was made of `face.jpg`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from stedit.editing.attributes import ALIASES, resolve_attribute
from stedit.errors import AttributeNameError
from stedit.storage.latents import SUFFIX as LATENT_SUFFIX
from stedit.storage.latents import is_latent_path

_QUALIFIERS = re.compile(r"(?:^|-)(?:from|along|keep|layers|weights|mix)-")
_WITHOUT_ATTRIBUTE = ("along-", "mix-")  # what an output may be called that is no edit of an attribute
_NUMBER = r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?"
_STEP = re.compile(rf"\.(?P<what>[^.@]+)(?:@{_NUMBER}(?:to{_NUMBER})?)?")
"""What one command puts behind a stem: `.reconstruct`, `.sheet`, or a dot and what `output_suffix` gives."""


def stem_of(path: Path) -> str:
    """`face` for both `face.png` and `face.latent.safetensors`."""
    return path.name[: -len(LATENT_SUFFIX)] if is_latent_path(path) else path.stem


def output_suffix(
    attributes: Sequence[str], strengths: Sequence[float], qualifiers: Sequence[str] = (), usual: float = 1
) -> str:
    """What an edit is called in file names: `smile`, `smile+no-glasses@0.5`, `smile@-2to2`, `smile-from-jane`.

    `qualifiers` are such as `from-jane` or `along-first-order`. The `usual` strength goes without saying; any other is
    part of the name, so that two strengths do not share a file.
    """
    named = "+".join(re.sub(r"[^\w-]+", "-", attribute).lower() for attribute in attributes)
    qualified = (re.sub(r"[.@/\\]", "_", qualifier) for qualifier in qualifiers)
    name = "-".join(part for part in (named, *qualified) if part)
    if len(strengths) > 1:
        return f"{name}@{strengths[0]:g}to{strengths[-1]:g}"
    return name if strengths[0] == usual else f"{name}@{strengths[0]:g}"


def own_outputs(files: Sequence[Path], attributes: Sequence[str]) -> set[Path]:
    """Which `files` of one folder are outputs of earlier runs: by name, and by what they were made of being there.

    `face.smile.png` is one if `smile` is an attribute and `face.jpg` or `face.latent.safetensors` lies beside it;
    `face.latent.safetensors` is one beside `face.jpg`; `holiday.2024.png` beside `holiday.png` is none.
    """
    stems = {stem_of(file) for file in files}
    images = {stem_of(file) for file in files if not is_latent_path(file)}

    def is_output(file: Path) -> bool:
        stem = stem_of(file)
        if is_latent_path(file) and stem in images:
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
    if what in {"reconstruct", "sheet", "aligned"} or what.startswith(_WITHOUT_ATTRIBUTE):
        return True
    known = (*attributes, *(attribute for attribute, _ in ALIASES.values()))  # the earlier model may know others
    try:
        for name in _QUALIFIERS.split(what)[0].split("+"):
            resolve_attribute(name, known)
    except AttributeNameError:
        return False
    return True
