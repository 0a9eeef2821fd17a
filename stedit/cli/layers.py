"""`--layers 0-3,6`: which styles of a code may change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from stedit.errors import UsageError

if TYPE_CHECKING:
    from stedit.storage.bundle import Bundle

_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")


def parse_layers(text: str | None, bundle: Bundle) -> tuple[int, ...] | None:
    """Read `4-8`, `6` or `0-3,6` for the codes of a model; None stays None. Raises UsageError."""
    from stedit.models.config import GeneratorConfig

    if text is None:
        return None
    count = GeneratorConfig.from_dict(bundle.parts["generator"].config).style_count
    layers: set[int] = set()
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < count:
            raise UsageError(
                f"--layers {text} is not understood: this model has layers 0-{count - 1}, say 0-3 or 0-3,6"
            )
        layers.update(range(first, last + 1))
    return tuple(sorted(layers))


def layers_name(text: str) -> str:
    """What file names call `--layers`: `0-3+6`."""
    return "+".join(part.strip() for part in text.split(","))
