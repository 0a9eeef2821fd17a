"""Whether edits by reference transfer details: who is chosen, what is compared, and the whole command."""

import re

import numpy as np
import pytest

from stedit.errors import InputError
from stedit.imaging.files import read_image
from stedit.training.data.images import ImageSet

from .conftest import ROOT


@pytest.fixture(scope="module")
def transfer_check():
    pytest.importorskip("numba")
    import transfer_check

    return transfer_check


def test_references_have_the_attribute_and_sources_can_show_it(transfer_check, faces):
    from renderer.parameters import Parameters

    images = ImageSet.open(sorted((faces / "dataset").glob("test-*.zip")), 8)
    parameters = transfer_check.load_parameters(faces / "dataset" / "test.jsonl.gz", images)
    assert parameters.shape[0] == len(images)
    people = [Parameters(one) for one in parameters]
    for group, first in (("Eyeglasses", "glasses_on"), ("Bangs", "bangs_on"), ("No_Beard", "beard")):
        trios = transfer_check.choose(parameters, group, 40)
        assert trios.shape == (40, 3)
        assert all(people[k].choice(first) for k in trios[:, 1:].ravel())
        assert (trios[:, 1] != trios[:, 2]).all()
        assert len({people[k].choice(first) > 0 for k in trios[:, 0]}) == 2  # sources with it and without
        np.testing.assert_array_equal(trios, transfer_check.choose(parameters, group, 40))
    for k in transfer_check.choose(parameters, "Bangs", 40).ravel():  # neither cropped nor under a hat
        assert people[k].choice("hair_style") > 1
        assert not people[k].choice("hat_on")


def test_parameters_of_unknown_images_are_refused(transfer_check, tmp_path):
    (tmp_path / "records.jsonl").write_text('{"id": "other", "params": [0.5]}\n')
    images = ImageSet.open([ROOT / "tests/data/faces"], 8)
    with pytest.raises(InputError, match=r"records\.jsonl has no parameters of the image"):
        transfer_check.load_parameters(tmp_path / "records.jsonl", images)


def test_nearer_counts_images(transfer_check, embedded):
    folder = ROOT / "tests/data/faces"
    truth = np.stack([read_image(folder / name) for name in ("glasses.jpg", "hat.jpg", "smile.jpg", "beard.jpg")])
    distractor = truth[::-1].copy()
    assert transfer_check.nearer(embedded, truth, truth, distractor) == (1.0, 1.0)
    assert transfer_check.nearer(embedded, distractor, truth, distractor) == (0.0, 0.0)
    half = np.concatenate([truth[:2], distractor[2:]])
    assert transfer_check.nearer(embedded, half, truth, distractor) == (0.5, 0.5)


@pytest.mark.usefixtures("renderer")
def test_command_prints_four_shares_of_a_group(transfer_check, faces, monkeypatch, capsys):
    monkeypatch.setattr(transfer_check, "CHECKED_GROUPS", ("Hair_Color",))
    place = ["--facekit", str(faces / "facekit.npz"), "--data", str(faces / "dataset")]
    transfer_check.main([*place, "--count", "4", "--workers", "1"])
    (line,) = re.findall("^Hair_Color, 4: (.*)$", capsys.readouterr().out, flags=re.MULTILINE)
    shares = [float(share.rstrip("%")) for share in line.split(", ")]
    assert len(shares) == 4
    assert all(share in (0, 25, 50, 75, 100) for share in shares)
    assert shares[2] >= 75  # the truth itself is reconstructed as itself
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        transfer_check.main([*place, "--model", "nowhere"])


def test_folder_without_the_data_is_named(transfer_check, tmp_path):
    (tmp_path / "test-000.zip").write_bytes(b"nothing")
    with pytest.raises(SystemExit, match=r"error: .*test-000\.zip"):
        transfer_check.main(["--facekit", str(tmp_path / "facekit.npz"), "--data", str(tmp_path)])
