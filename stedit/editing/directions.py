"""Directions by name; and linear ones, one change for every code: read from files, found in a generator, or learned.

    auto                                     transformer where it has learned the attribute, else preserving
    transformer                              the edit transformer's change, see `transformer`
    preserving, first-order, second-order    computed for every code, see `gradient`
    linear:FILE                              the only direction of a file, or that of the attribute that is edited
    linear:FILE:NAME                         a direction of a file
    linear:A*0.6+linear:B*-0.2               a weighted sum of such directions
    sefa:3                                   the fourth of the generator's own (Shen and Zhou 2021)

Files are those of `stedit.storage.directions`, and those of other projects that `stedit.checkpoints.interchange` reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from stedit.editing.attributes import ALIASES
from stedit.errors import UsageError
from stedit.storage.directions import Directions, Vector

LabelDirection = Literal["preserving", "first-order", "second-order"]
Direction = Literal["auto", "transformer"] | LabelDirection
FORMER_NAMES = {"learned": "transformer"}  # read for one more version
DIRECTION_NAMES = ("auto", "transformer", *get_args(LabelDirection))


StrengthUnit = Literal["auto", "sure", "sigma", "raw"]
"""What a strength of 1 is: to where the classifier is sure, one standard deviation of codes, or the vector as it is in
its file. auto: sure for attributes, else sigma."""

_SEFA = re.compile(r"sefa:(\d{1,4})")
_WEIGHT = re.compile(r"(.*)\*([-+]?(?:\d+\.?\d*|\.\d+))")
_PLUS = re.compile(r"\+(?=linear:|sefa:)")


@dataclass(frozen=True)
class LinearDirection:
    """What `linear:FILE:NAME` or `sefa:3` asks for."""

    file: Path | None
    """None for one of the generator's own."""
    name: str | None
    """In the file; None for the only one, or that of the attribute."""
    index: int = 0
    """Of the generator's own."""
    weight: float = 1.0
    others: tuple[LinearDirection, ...] = ()
    """What else is added, each with its weight."""

    def __str__(self) -> str:
        return "+".join(_weighted(_text_of(one), one.weight, "*") for one in self.parts)

    @property
    def parts(self) -> tuple[LinearDirection, ...]:
        """The directions of the sum, at least this one."""
        return (replace(self, others=()), *self.others)

    @property
    def title(self) -> str:
        """What file names call it."""
        return "+".join(_weighted(_title_of(one), one.weight, "x") for one in self.parts)


def _text_of(one: LinearDirection) -> str:
    if one.file is None:
        return f"sefa:{one.index}"
    return f"linear:{one.file}" + (f":{one.name}" if one.name else "")


def _title_of(one: LinearDirection) -> str:
    return f"sefa-{one.index}" if one.file is None else one.name or one.file.name.partition(".")[0]


def _weighted(text: str, weight: float, times: str) -> str:
    return text if weight == 1 else f"{text}{times}{weight:g}"


def parse_direction(text: str) -> Direction | LinearDirection:
    """Understand `preserving`, `linear:FILE:NAME`, `sefa:3` and so on. Raises UsageError.

    A colon belongs to the file's name if there is a file of that name.
    """
    text = FORMER_NAMES.get(text, text)
    if text in DIRECTION_NAMES:
        return cast("Direction", text)
    terms = [text] if Path(text.removeprefix("linear:")).is_file() else _PLUS.split(text)
    if len(terms) > 1:
        first, *others = [_parse_term(term) for term in terms]
        return replace(first, others=tuple(others))
    return _parse_term(text)


def _parse_term(text: str) -> LinearDirection:
    """One direction with its weight. Raises UsageError."""
    if not Path(text.removeprefix("linear:")).is_file() and (found := _WEIGHT.fullmatch(text)):
        return replace(_parse_term(found[1]), weight=float(found[2]))
    if found := _SEFA.fullmatch(text):
        return LinearDirection(None, None, int(found[1]))
    rest = text.removeprefix("linear:")
    if rest in {text, ""}:
        raise UsageError(
            f"unknown direction {text!r}: say {', '.join(DIRECTION_NAMES)}, linear:FILE, linear:FILE:NAME, or sefa: "
            "and a number"
        )
    file, _, name = rest.rpartition(":")
    if not file or not name or Path(rest).is_file():
        return LinearDirection(Path(rest), None)
    return LinearDirection(Path(file), name)


def select_direction(directions: Directions, name: str | None, attribute: str | None, where: str) -> Vector:
    """The direction of this name; else the only one, or that of the attribute. Raises UsageError.

    A number names the component of GANSpace's file that has it, such as ffhq_pca-03.
    """
    vectors = directions.vectors
    if name is None and len(vectors) == 1:
        return next(iter(vectors.values()))
    target = name if name is not None else attribute
    aliases = [alias for alias, meaning in ALIASES.items() if name is None and meaning[0] == attribute]
    called = {text.casefold() for text in (target, *aliases) if text is not None}
    for known, vector in vectors.items():
        if known.casefold() in called:
            return vector
    if name is not None and name.isdecimal():
        numbered = [vector for known, vector in vectors.items() if known.endswith(f"-{int(name):02d}")]
        if len(numbered) == 1:
            return numbered[0]
    names = list(vectors)
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    if target is None:
        raise UsageError(f"{where} holds {len(names)} directions: name one, as in linear:{where}:{names[0]}")
    raise UsageError(f"{where} holds no direction {target!r}: it holds {listed}")
