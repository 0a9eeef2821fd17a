"""Counting what edits do, and edits towards a state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stedit.engine import Engine
from stedit.metrics.editing import EditTally, code_distance, logit_drift, set_attribute, unrelated

NAMES = ("Smiling", "Eyeglasses", "Black_Hair", "Blond_Hair", "No_Beard")


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture
def codes(engine: Engine) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, *engine.code_shape)).astype(np.float32)


def states(text: str) -> np.ndarray:
    """`10110 00000`: a row for each picture, a column for each attribute."""
    return np.array([[letter == "1" for letter in row] for row in text.split()])


def test_related_attributes_are_not_side_effects() -> None:
    assert unrelated("Black_Hair", NAMES).tolist() == [True, True, False, False, True]
    assert unrelated("Smiling", NAMES).tolist() == [False, True, True, True, True]


def test_counts_of_an_edit() -> None:
    """Five pictures are asked for the opposite of their hair; the others of the row stand for themselves."""
    before = states("00000 00000 00000 00100 11100")
    after = states("00100 10110 00000 00000 11101")
    wanted = ~before[:, 2]
    tally = EditTally(2, NAMES)
    sums = {"identity": np.array([0.5, 0.75]), "logit_drift": np.array([1.0, 2.0]), "code_distance": np.zeros(2)}
    tally.add(before[:2], after[:2], wanted[:2], seconds=3.0, **sums)
    sums = {name: np.resize(values, 3) for name, values in sums.items()}
    tally.add(before[2:], after[2:], wanted[2:], seconds=2.0, **sums)
    result = tally.result("label", "encoder", "preserving", 1.0, "Black_Hair")
    assert (result.images, result.added_images, result.removed_images) == (5, 3, 2)
    assert result.added == pytest.approx(2 / 3)
    assert result.removed == pytest.approx(1 / 2)
    assert result.success == pytest.approx(3 / 5)
    # of Smiling, Eyeglasses and No_Beard one changed in the second and one in the last; Blond_Hair does not count
    assert result.side_effects == pytest.approx(2 / 15)
    assert result.identity == pytest.approx((0.5 + 0.75 + 0.5 + 0.75 + 0.5) / 5)
    assert result.logit_drift == pytest.approx(7 / 5)
    assert result.code_distance == 0
    assert result.seconds == pytest.approx(1)


def test_hair_colour_is_not_a_side_effect_of_bangs_on_a_bald_head() -> None:
    names = ("Bangs", "Bald", "Straight_Hair", "Black_Hair", "Smiling", "Eyeglasses")
    before = states("010000 000000 000000 000010")
    after = states("101100 101100 110000 110100")  # three had hair, of which two are bald now
    tally = EditTally(0, names)
    zeros = np.zeros(4)
    tally.add(before, after, np.full(4, True), identity=zeros, logit_drift=zeros, code_distance=zeros, seconds=0.0)
    # of hair, the second alone must be as it was; a smile must in any case
    assert tally.result("label", "encoder", None, 1.0, "Bangs").side_effects == pytest.approx(
        (0 + 2 / 4 + 0 + 1 / 2) / 4
    )


def test_counts_after_a_reference() -> None:
    """Those that are already as their reference are neither to be added nor to be removed, but must stay so."""
    before, after = states("10000 10000 00000 00000"), states("10000 00000 10000 00000")
    wanted = np.array([True, True, True, False])
    tally = EditTally(0, NAMES)
    zeros = np.zeros(4)
    tally.add(before, after, wanted, identity=zeros, logit_drift=zeros, code_distance=zeros, seconds=0.0)
    result = tally.result("reference", "encoder", None, 1.0, "Smiling")
    assert (result.added_images, result.added, result.removed_images, result.removed) == (1, 1.0, 0, None)
    assert result.success == pytest.approx(3 / 4)  # the second lost what its reference has


def test_tally_without_edits_has_no_result() -> None:
    result = EditTally(0, ("Smiling",)).result("label", "encoder", "preserving", 1.0, "Smiling")
    assert (result.images, result.success, result.added, result.side_effects) == (0, None, None, None)


def test_set_attribute_edits_towards_the_state(engine: Engine, codes: np.ndarray) -> None:
    wanted = np.array([True, False, True, True, False, False])
    edited = set_attribute(engine, codes, "Eyeglasses", wanted, 1.0, "preserving")
    place = engine.attributes.index("Eyeglasses")
    moved = engine.classify(edited)[:, place] - engine.classify(codes)[:, place]
    assert ((moved > 0) == wanted).all()
    np.testing.assert_allclose(edited[wanted], engine.edit_by_label(codes[wanted], "glasses"), atol=1e-5)
    np.testing.assert_allclose(edited[~wanted], engine.edit_by_label(codes[~wanted], "no-glasses"), atol=1e-5)


def test_logit_drift_is_that_of_the_other_logits(engine: Engine, codes: np.ndarray) -> None:
    edited = codes + np.float32(0.1)
    others = np.array([True, False, True, False, False])
    with torch.no_grad():
        classifier = engine.networks.classifier
        moved = (classifier(torch.from_numpy(edited)) - classifier(torch.from_numpy(codes))).abs().numpy()
    np.testing.assert_allclose(logit_drift(engine, codes, edited, others), moved[:, [0, 2]].mean(axis=1), atol=1e-6)
    assert logit_drift(engine, codes, codes, others).max() == 0
    np.testing.assert_allclose(code_distance(codes, edited), 0.1, atol=1e-6)
