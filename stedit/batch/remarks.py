"""What to say of edits from which a person may have expected more, or less: nothing changed, or no face is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stedit.batch.naming import strength_text
from stedit.batch.request import LabelEdit, ReferenceEdit, Strength
from stedit.editing.attributes import friendly_name, resolve_attribute
from stedit.editing.label import has_learned_edit
from stedit.editing.plausibility import leaves_known_codes
from stedit.runtime.codes import to_latents
from stedit.runtime.prediction import attribute_logits

if TYPE_CHECKING:
    from stedit.engine import Engine

Latents = npt.NDArray[np.float32]


def remark_on_edits(
    engine: Engine,
    request: LabelEdit | ReferenceEdit,
    codes: Latents,
    edits: Sequence[Latents],
    rows: Sequence[slice],
) -> list[tuple[str, ...]]:
    """The notes on each input.

    Args:
        engine: that made the edits.
        request: what was asked for.
        codes: (B, N, D), before.
        edits: the same for each strength, after.
        rows: which codes are of each input.
    """
    tried = [(one, edit) for one, edit in zip(request.strengths, edits, strict=True) if _size(one)]
    changed = [(edit != codes).any(axis=(1, 2)) for _, edit in tried]  # of each strength, (B,)
    beyond = [leaves_known_codes(engine.model, codes, edit) for _, edit in tried]
    notes: list[tuple[str, ...]] = []
    for row in rows:
        too_far = [strength for (strength, _), far in zip(tried, beyond, strict=True) if far[row].any()]
        if tried and not any(moved[row].any() for moved in changed):
            strength = max((strength for strength, _ in tried), key=_size)
            notes.append((_nothing_changes(engine, request, strength, codes[row]),))
        elif too_far:
            least = strength_text(min(too_far, key=_size))
            notes.append((f"strength {least} goes beyond the faces that the model knows: a smaller one looks better",))
        else:
            notes.append(())
    return notes


def _nothing_changes(engine: Engine, request: LabelEdit | ReferenceEdit, strength: Strength, codes: Latents) -> str:
    if not isinstance(request, LabelEdit) or not request.attributes:
        return "nothing changes: a greater strength may"
    known = [resolve_attribute(name, engine.attributes) for name in request.attributes]
    amounts = [strength] * len(known) if isinstance(strength, int | float) else strength
    names = [
        friendly_name(attribute, sign if amount > 0 else -sign)
        for (attribute, sign), amount in zip(known, amounts, strict=True)
        if amount
    ]
    logits = abs(attribute_logits(engine.model, to_latents(engine.model, codes))).amax(dim=0)  # (attributes,)
    places = [engine.attributes.index(attribute) for attribute, _ in known]
    reached = max(float(logits[place]) / engine.bundle.attributes[place].target_logit for place in places)
    away = all(amount < 0 for amount in amounts)
    more = f"strength {math.copysign(max(math.floor(reached), _size(strength)) + 1, -1 if away else 1):g}"
    if request.direction in {"auto", "transformer"} and has_learned_edit(engine.model, request.attributes):
        more = f"direction preserving with {more}"  # a learned edit leaves alone who has the attribute, at any strength
    return f"nothing changes, since the classifier sees {' and '.join(names)} already: {more} goes further"


def _size(strength: Strength) -> float:
    """How far it goes, of several attributes the farthest."""
    return abs(strength) if isinstance(strength, int | float) else max(map(abs, strength))
