"""What is said of edits of the embedded model that change nothing, or go too far."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stedit.batch.remarks import remark_on_edits
from stedit.batch.request import LabelEdit
from stedit.editing.plausibility import leaves_known_codes
from stedit.engine import Engine
from stedit.imaging.files import read_image

FACES = Path(__file__).resolve().parents[1] / "data/faces"
Codes = np.ndarray


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.from_pretrained()


@pytest.fixture(scope="module")
def codes(engine: Engine) -> Codes:
    """Of a face that smiles, for sure, and of one that does not, (2, N, D)."""
    smiling, serious = (engine.invert(read_image(FACES / name)) for name in ("smile.jpg", "serious.jpg"))
    return np.concatenate([engine.edit_by_label(smiling, "smile", strength=1.5), serious])


def remarks(engine: Engine, codes: Codes, request: LabelEdit) -> list[tuple[str, ...]]:
    edits = [
        engine.edit_by_label(codes, request.attributes, strength=strength, direction=request.direction)
        for strength in request.strengths
    ]
    return remark_on_edits(engine, request, codes, edits, [slice(i, i + 1) for i in range(len(codes))])


def test_remark_unchanged_edit_names_what_goes_further(engine: Engine, codes: Codes) -> None:
    ((smiling,), serious) = remarks(engine, codes, LabelEdit("smile"))
    why, further = "nothing changes, since the classifier sees smile already: ", r"strength (\d+) goes further"
    said = re.fullmatch(why + "direction preserving with " + further, smiling)
    assert said
    assert serious == ()
    edited = engine.edit_by_label(codes[:1], "smile", strength=int(said[1]), direction="preserving")
    assert (edited != codes[:1]).any()


def test_remark_other_way_names_the_absence(engine: Engine, codes: Codes) -> None:
    _, (serious,) = remarks(engine, codes, LabelEdit("smile", [-1.0]))
    assert "sees no-smile already" in serious
    strength = float(serious.split("strength ")[1].split()[0])
    assert strength < -1
    assert (engine.edit_by_label(codes[1:], "smile", strength=strength, direction="preserving") != codes[1:]).any()


def test_remark_strengths_of_which_one_changes_say_nothing(engine: Engine, codes: Codes) -> None:
    assert remarks(engine, codes, LabelEdit("smile", [-1.0, 0.0, 1.0])) == [(), ()]
    assert remarks(engine, codes, LabelEdit("smile", [0.0])) == [(), ()]


def test_remark_strength_beyond_known_faces_names_the_least(engine: Engine, codes: Codes) -> None:
    _, (serious,) = remarks(engine, codes, LabelEdit("blond", [1.0, 6.0, 9.0]))
    assert serious == "strength 6 goes beyond the faces that the model knows: a smaller one looks better"


def test_leaves_known_codes_usual_edits_stay_and_tenfold_ones_leave(engine: Engine, codes: Codes) -> None:
    for name in ("smile", "glasses", "hat", "blond", "beard"):
        assert not leaves_known_codes(engine.model, codes, engine.edit_by_label(codes, name)).any()
    far = engine.edit_by_label(codes, "blond", strength=10)
    assert leaves_known_codes(engine.model, codes, far)[1]
