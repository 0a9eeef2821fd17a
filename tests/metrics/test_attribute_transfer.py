"""Probes read the kinds that features hold, and edits are measured against the reference's."""

from __future__ import annotations

import numpy as np
import pytest

from stedit.metrics.attribute_transfer import MIN_IMAGES, Probe, TransferTally, differ, shows
from stedit.storage.labels import Label

draw = np.random.default_rng(0)
AXES = draw.standard_normal((4, 40))


def glasses(kind: int) -> Label:
    return Label({"Eyeglasses": kind > 0}, {"glasses_type": float(kind)})


def hair(*colour: float, **attributes: bool) -> Label:
    return Label(attributes, {"hair_rgb": list(colour)})


def features(kinds: list[int]) -> np.ndarray:
    """Each kind lies in its own direction, under noise."""
    return AXES[kinds] + 0.1 * draw.standard_normal((len(kinds), 40))


@pytest.fixture(scope="module")
def probe() -> Probe:
    kinds = draw.integers(0, 4, 400).tolist()
    fitted = Probe.fit("glasses_type", features(kinds), [glasses(kind) for kind in kinds])
    assert fitted is not None
    return fitted


def test_probe_predicts_fine_attributes_of_new_images(probe: Probe) -> None:
    assert probe.values == (1, 2, 3)  # 0 is no type of glasses
    kinds = [1, 2, 3, 1, 2, 3]
    assert probe.errors(features(kinds), [glasses(kind) for kind in kinds]).tolist() == [0] * 6
    assert probe.errors(features([1, 2]), [glasses(2), glasses(2)]).tolist() == [1, 0]


def test_probe_of_colours_measures_distances() -> None:
    colours = draw.random((300, 3))
    seen = colours @ draw.standard_normal((3, 40))
    probe = Probe.fit("hair_rgb", seen[:200], [hair(*colour) for colour in colours[:200]])
    assert probe is not None
    assert probe.errors(seen[200:], [hair(*colour) for colour in colours[200:]]).max() < 0.15
    off = [hair(red + 0.3, green, blue) for red, green, blue in colours[200:]]
    assert probe.errors(seen[200:], off).mean() == pytest.approx(0.3, abs=0.05)


def test_probe_of_too_few_images_is_none() -> None:
    kinds = [0] * 500 + [1, 2] * (MIN_IMAGES // 2 - 1)
    assert Probe.fit("glasses_type", features(kinds), [glasses(kind) for kind in kinds]) is None


def test_probe_that_only_guesses_is_none() -> None:
    kinds = draw.integers(1, 4, 400)
    labels = [glasses(kind) for kind in kinds]
    assert Probe.fit("glasses_type", draw.standard_normal((400, 40)), labels) is None
    assert Probe.fit("hair_rgb", draw.standard_normal((400, 40)), [hair(*draw.random(3)) for _ in kinds]) is None


def test_labels_that_count() -> None:
    assert shows("glasses_type", glasses(2))
    assert not shows("glasses_type", glasses(0))
    assert not shows("glasses_type", Label({"Eyeglasses": True}))
    assert not shows("hair_rgb", hair(0, 0, 0, Bald=True))
    assert differ("glasses_type", glasses(0), glasses(2))
    assert not differ("glasses_type", glasses(2), glasses(2))
    assert differ("hair_rgb", hair(0, 0, 0), hair(0.2, 0, 0))
    assert not differ("hair_rgb", hair(0, 0, 0), hair(0.1, 0, 0))
    assert not differ("hair_rgb", hair(0, 0, 0, Wearing_Hat=True), hair(0.9, 0, 0))


def test_tally_measures_edits_towards_another_fine_attribute(probe: Probe) -> None:
    """Of five, one has the reference's kind already, and one reference wears none: three count."""
    mine, theirs, after = [0, 1, 2, 3, 1], [1, 2, 2, 0, 3], [1, 1, 2, 3, 3]
    tally = TransferTally(probe)
    labels = [[glasses(kind) for kind in kinds] for kinds in (mine, theirs)]
    tally.add(*labels, before=features([3, 1, 2, 3, 1]), after=features(after), reference=features(theirs))
    result = tally.result("encoder", "Eyeglasses")
    assert result is not None
    assert result.images == 3
    assert result.before == 0
    assert result.after == pytest.approx(2 / 3)
    assert result.reference == 1
    assert TransferTally(probe).result("encoder", "Eyeglasses") is None
