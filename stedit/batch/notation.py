"""How people write a request: attributes `smile,no-glasses`, strengths `-2,-1,0`, layers `0-3,6`, weights `0.7,0.3`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from stedit.errors import UsageError

_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")


def parse_strengths(text: str) -> tuple[float, ...]:
    """Read `1`, `-1`, `150%` or `-2,-1,0,1,2`. Raises UsageError."""
    try:
        strengths = tuple(_parse_number(part.strip()) for part in text.split(","))
    except ValueError:
        strengths = ()
    if not strengths or not all(math.isfinite(strength) for strength in strengths):
        raise UsageError(f"the strength {text!r} is not a number, nor a list of numbers such as -2,-1,0,1,2")
    return strengths


def parse_strengths_of(texts: Sequence[str], attributes: int) -> tuple[float | tuple[float, ...], ...]:
    """Read no strength, one for all attributes, or one for each of so many; each may be a list. Raises UsageError."""
    if len(texts) <= 1:
        return parse_strengths(texts[0]) if texts else (1.0,)
    if len(texts) != attributes:
        raise UsageError(
            f"{len(texts)} strengths are given for {attributes} attributes: give one for all, or one for each",
            argument="strengths",
        )
    lists = [parse_strengths(text) for text in texts]
    steps = max(map(len, lists))
    if any(len(one) not in {1, steps} for one in lists):
        raise UsageError(f"the strengths {' and '.join(texts)} are not as many: give lists of one length")
    columns = zip(*(one * steps if len(one) == 1 else one for one in lists), strict=True)
    return tuple(column[0] if len(set(column)) == 1 else column for column in columns)


def _parse_number(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)


def parse_attributes(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read `smile`, `smile,no-glasses` or `smile=0.5,glasses`: names, and if any has a strength, one for each.

    Raises UsageError for an empty name.
    """
    pairs = [part.partition("=") for text in texts for part in text.split(",")]
    names = [name.strip() for name, _, _ in pairs]
    if not all(names):
        raise UsageError(f"an attribute of {','.join(texts)!r} has no name: name one", argument="attributes")
    strengths = [number if equals else "1" for _, equals, number in pairs]
    return names, strengths if any(equals for _, equals, _ in pairs) else []


def parse_weights(text: str, count: int) -> tuple[float, ...]:
    """Read `0.7,0.3`, of so many references. Raises UsageError."""
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if len(weights) != count or not all(0 < weight < math.inf for weight in weights):
        raise UsageError(
            f"the weights {text!r} are not {count} numbers above 0: give one for each reference", argument="weights"
        )
    return weights


def parse_layers(text: str) -> tuple[int, ...]:
    """Read `4-8`, `6` or `0-3,6`. Raises UsageError."""
    layers: set[int] = set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise UsageError(
                f"the layers {text!r} are not understood: give ranges such as 0-3 or 0-3,6", argument="layers"
            )
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))


def format_layers(layers: Sequence[int]) -> str:
    """What file names call layers: `0-3+6` for 0, 1, 2, 3 and 6."""
    ranges: list[list[int]] = []
    for layer in sorted(set(layers)):
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    return "+".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def parse_shard(text: str) -> tuple[int, int]:
    """Read `3/8`, the third of eight. Raises UsageError."""
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and 1 <= int(number[:9]) <= int(count[:9]):
        return int(number), int(count)
    raise UsageError(f"the shard {text!r} is not understood: give 1/8 for the first of eight, up to 8/8")


def parse_face(text: str) -> Literal["largest", "all"] | int:
    """What `--face` takes. Raises UsageError."""
    if text == "largest":
        return "largest"
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and int(text[:9]) >= 1:
        return int(text[:9])
    raise UsageError(
        f"the face is {text!r}: give largest, all, or the number of a face, the largest being 1", argument="face"
    )
