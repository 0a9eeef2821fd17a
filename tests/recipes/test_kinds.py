"""Whether edits by reference carry the kind: who is chosen, what is compared, and the whole command."""

import re

import numpy as np
import pytest

from stedit import Engine
from stedit.imaging.files import read_image

from .conftest import ROOT


@pytest.fixture(scope="module")
def kinds():
    pytest.importorskip("numba")
    import kinds

    return kinds


def test_references_have_what_is_asked_and_sources_can_show_it(kinds, faces):
    from eye import load_labelled
    from renderer.parameters import Parameters

    folder = faces / "dataset"
    test = load_labelled(folder / "test.jsonl.gz", sorted(folder.glob("test-*.zip")))
    parameters = np.round(test.parameters.astype(np.float64), 4)
    people = [Parameters(one) for one in parameters]
    for group, asked in (("Eyeglasses", "glasses_on"), ("Bangs", "bangs_on"), ("No_Beard", "beard")):
        trios = kinds.choose(parameters, group, 40)
        assert trios.shape == (40, 3)
        assert all(people[k].choice(asked) for k in trios[:, 1:].ravel())
        assert (trios[:, 1] != trios[:, 2]).all()
        assert len({people[k].choice(asked) > 0 for k in trios[:, 0]}) == 2  # sources with it and without
        np.testing.assert_array_equal(trios, kinds.choose(parameters, group, 40))
    for k in kinds.choose(parameters, "Bangs", 40).ravel():  # neither cropped nor under a hat
        assert people[k].choice("hair_style") > 1
        assert not people[k].choice("hat_on")


def test_nearer_counts_pictures(kinds):
    engine = Engine.from_pretrained(device="cpu")
    folder = ROOT / "tests/data/faces"
    truth = np.stack([read_image(folder / name) for name in ("glasses.jpg", "hat.jpg", "smile.jpg", "beard.jpg")])
    wrong = truth[::-1].copy()
    assert kinds.nearer(engine, truth, truth, wrong) == (1.0, 1.0)
    assert kinds.nearer(engine, wrong, truth, wrong) == (0.0, 0.0)
    half = np.concatenate([truth[:2], wrong[2:]])
    assert kinds.nearer(engine, half, truth, wrong) == (0.5, 0.5)


@pytest.mark.usefixtures("renderer")
def test_the_command_tells_four_shares_of_a_kind(kinds, faces, monkeypatch, capsys):
    monkeypatch.setattr(kinds, "KINDS", ("Hair_Color",))
    place = ["--facekit", str(faces / "facekit.npz"), "--data", str(faces / "dataset")]
    kinds.main([*place, "--count", "4", "--workers", "1"])
    (line,) = re.findall("^Hair_Color, 4: (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    shares = [float(share.rstrip("%")) for share in line.split(", ")]
    assert len(shares) == 4
    assert all(share in (0, 25, 50, 75, 100) for share in shares)
    assert shares[2] >= 75  # the truth itself comes back as itself
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        kinds.main([*place, "--model", "nowhere"])


def test_a_folder_without_the_data_is_named(kinds, tmp_path):
    with pytest.raises(SystemExit, match=r"error: .*test\.jsonl\.gz"):
        kinds.main(["--facekit", str(tmp_path / "facekit.npz"), "--data", str(tmp_path)])
