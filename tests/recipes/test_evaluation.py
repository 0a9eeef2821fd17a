"""What the recipe measures of a model: by known answers, and as whole commands on a few pictures."""

import gzip
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from stedit.editing.attributes import related
from stedit.errors import InputError
from stedit.metrics.distortion import psnr
from stedit.training.perceptual import load_attribute_network

from .conftest import ROOT

NAMES = ("Smiling", "Eyeglasses", "Black_Hair", "Blond_Hair", "No_Beard")
PHOTOS = ROOT.parent / "shared" / "photos"


@pytest.fixture(scope="module")
def measures():
    import measures

    return measures


@pytest.fixture(scope="module")
def evaluation():
    """With two edits, so that it takes seconds."""
    import evaluation

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "EVALUATED", ("Smiling", "Black_Hair"))
        yield evaluation


@pytest.fixture(scope="module")
def engine(embedded):
    return embedded


@pytest.fixture(scope="module")
def measurer(measures, engine):
    return measures.Measurer(engine, load_attribute_network(engine.bundle.name), engine.attributes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Renders of tests/data/faces as a test split; two of them are one person, without and with a smile."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    with zipfile.ZipFile(folder / "test-000.zip", "w") as archive:
        for number, path in enumerate(sorted((ROOT / "tests/data/faces").glob("*.jpg"))):
            archive.write(path, path.name)
            rows.append(
                {
                    "id": path.stem,
                    "source": {"serious": "london_neutral", "smile": "london_smile"}.get(path.stem, "usdc"),
                    "person": "one" if path.stem in ("serious", "smile") else path.stem,
                    "attributes": {"Smiling": 1, "Male": number % 2},
                    "kinds": {"age": "middle"},
                }
            )

    with gzip.open(folder / "test.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


@pytest.fixture(scope="module")
def figures(evaluation, measurer, folder):
    """Of six pictures."""
    return evaluation.evaluate(measurer, folder, folder, sample=6, carried=2)


def seen(measures, text):
    """What a judge sees: `10110 00000`, a row for each picture."""
    attributes = np.array([[letter == "1" for letter in row] for row in text.split()])
    return measures.Seen(np.ones((len(attributes), 16), np.float32), attributes)


def test_samples_are_spread_over_all(measures):
    assert measures.evenly(range(10), 3) == [0, 4, 9]
    assert measures.evenly(range(3), 5) == measures.evenly(range(3), None) == [0, 1, 2]


def test_skin_is_measured_on_the_cheeks(measures):
    image = np.full((256, 256, 3), 255, np.uint8)
    points = [[90, 120], [166, 120], [128, 160], [98, 195], [158, 195]]
    image[140:190, 70:110] = image[140:190, 146:186] = 119  # grey of L* 50
    crops = measures.Crops(image[None], ({"points": points, "attributes": {}},))
    assert measures.skin_lightness(crops) == pytest.approx(50, abs=0.5)
    half = measures.Crops(np.ascontiguousarray(image[None, ::2, ::2]), crops.records)  # points are of 256 px
    assert measures.skin_lightness(half) == pytest.approx(50, abs=0.5)
    assert np.isnan(measures.skin_lightness(measures.Crops(image[None], ({"attributes": {}},))))


def test_groups_are_of_those_who_are_labelled(measures):
    records = (
        {"source": "t2i_sdxl", "attributes": {"Male": 1}, "kinds": {"age": "old"}},
        {"source": "usdc", "attributes": {"Male": 0}, "kinds": {"age": None}},
        {"source": "usdc", "attributes": {}},
    )
    groups = measures.groups_of(measures.Crops(np.zeros((3, 8, 8, 3), np.uint8), records))
    assert groups["generated"].tolist() == [True, False, False]
    assert groups["men"].tolist() == groups["old"].tolist() == [True, False, False]
    assert groups["women"].tolist() == [False, True, False]
    assert groups["source usdc"].tolist() == [False, True, True]
    assert not groups["dark skin"].any()


def test_outcome_counts_what_was_asked_and_what_else_changed(measures, measurer, evaluation):
    some = measures.Measurer(measurer.engine, measurer._judge, NAMES)
    before, after = seen(measures, "00101 10101 00101 00101"), seen(measures, "10101 10101 00101 11111")
    wanted, possible = np.array([True, True, True, True]), np.array([True, True, True, False])
    edits = some._outcome("Smiling", wanted, possible, before, after)
    assert edits.asked.tolist() == [True, False, True, False]
    found = evaluation.shares(edits, np.ones(4, bool))
    assert (found["added"], found["added_of"], found["removed"]) == (0.5, 2, None)
    assert found["side_effects"] == 0
    others = [name for name in NAMES if name not in related("Smiling")]
    edits = some._outcome("Smiling", wanted, np.ones(4, bool), before, after)
    assert edits.side_effects[3] == pytest.approx(2 / len(others))
    assert evaluation.shares(edits, np.array([False, False, False, True]))["shown"] == 1


def test_judge_with_too_few_outputs_is_refused(measures, measurer):
    with pytest.raises(InputError, match="fewer than the 999 attributes"):
        measures.Measurer(measurer.engine, measurer._judge, ["Smiling"] * 999)


def test_true_smile_is_nearer_to_itself(measures, measurer, folder):
    records = {row["id"]: row for row in measures.records_of(folder, "test")}
    neutral, smiling = (measures.Crops.open(folder, "test", [records[name]]) for name in ("serious", "smile"))
    found = measurer.smile_pairs(neutral, smiling)
    assert set(found) == {"rendered, features", "rendered, mouth", "carried, features", "carried, mouth"}
    there = measurer.smile_pairs(smiling, smiling)  # nothing is nearer than the same picture
    assert not any(there.values())


def test_group_that_is_behind_is_named(evaluation):
    def group(share, images=50):
        return {"images": images, "rendered": {"mean": {"shown": share}}}

    groups = {"photographs": group(0.9), "men": group(0.84), "women": group(0.86), "child": group(0.1, images=3)}
    assert evaluation.behind(groups) == ["men: edits by label, rendered 84.0 % (all 90.0 %)"]


def test_figures_of_a_few_pictures(measures, figures, folder, engine):
    groups = figures["groups"]
    crops = measures.Crops.open(folder, "test", measures.evenly(measures.records_of(folder, "test"), 6))
    images = measures.shrunk(engine.reconstruct(crops.images))
    assert groups["photographs"]["reconstruction"]["psnr"] == pytest.approx(
        psnr(measures.shrunk(crops.images), images).mean(), abs=0.05
    )
    assert groups["men"]["images"] + groups["women"]["images"] == groups["photographs"]["images"] == 6
    smile = groups["photographs"]["rendered"]["Smiling"]
    assert smile["added_of"] + smile["removed_of"] == 6  # all of them are asked for the opposite
    assert smile["shown"] >= 0.8  # renders, by the judge of the model
    assert groups["renders"]["rendered"]["Smiling"] == smile
    carried = groups["photographs"]["carried"]["Smiling"]
    assert carried["added_of"] + carried["removed_of"] <= 2
    assert groups["photographs"]["smile_pairs"]["people"] == 1
    judges = figures["judge"]["Smiling"]
    assert judges["own"] == judges["measuring"] == judges["own, renders"] == judges["measuring, renders"]
    assert json.loads(json.dumps(figures)) == figures


def test_command_writes_figures_which_fill_the_card(evaluation, folder, engine, tmp_path, capsys):
    import card

    name = engine.bundle.name
    place = [name, "--judge", name, "--photos", str(folder), "--renders", str(folder)]
    evaluation.main([*place, "--sample", "2", "--carried", "1", "--json", str(tmp_path / "figures.json")])
    assert "| Smiling |" in capsys.readouterr().out
    card.main([str(tmp_path / "figures.json"), str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    assert "| **mean**" in text or "| mean |" in text
    assert "{" not in text
    assert "## Groups of people" in (tmp_path / "FIGURES.md").read_text()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert f"| photographs | 2 | {figures['groups']['photographs']['reconstruction']['psnr']:.2f} |" in text
    with pytest.raises(SystemExit, match="error: cannot read"):
        card.main([str(tmp_path / "none.json"), str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        evaluation.main([name, "--judge", "nowhere/at-all.safetensors", "--photos", str(folder)])


def test_search_comes_nearer_than_the_encoder(measures, measurer, folder):
    crops = measures.Crops.open(folder, "test", measures.records_of(folder, "test")[:1])
    searched = measurer.reconstruct(crops.images, method="hybrid", steps=20)
    assert searched.psnr > measurer.reconstruct(crops.images).psnr


def test_figures_that_the_card_names_are_all_there(figures, recipe):
    import card
    from figure_tables import look_up, tables

    figures = figures | {"hybrid": {"images": 1, "psnr": 25.0, "ssim": 0.8}}
    paths = [found[1] for found in card.FIELD.finditer((recipe / "CARD.md").read_text()) if found[1] != "behind"]
    made = {path.removeprefix("table ") for path in paths if path.startswith("table ")}
    assert made <= card.TITLES.keys() == tables(figures).keys()
    assert not [path for path in paths if "table " not in path and look_up(figures, path.split(".")) is None]


def test_sheets_show_photographs_and_edits_outside_of_the_project(folder, engine, tmp_path, monkeypatch):
    import contact_sheet

    monkeypatch.setattr(contact_sheet, "EVALUATED", ("Smiling", "Black_Hair"))
    monkeypatch.setattr(contact_sheet, "ROWS", 2)
    place = [engine.bundle.name, "--photos", str(folder), "--count", "3"]
    contact_sheet.main([*place, "--output", str(tmp_path / "sheets")])
    made = sorted((tmp_path / "sheets").iterdir())
    assert [path.name for path in made] == [f"{kind}-0{n}.png" for kind in ("carried", "rendered") for n in (1, 2)]
    with Image.open(made[0]) as first:
        assert first.width == 4 * (contact_sheet.SIDE + 4) + 4
    with pytest.raises(SystemExit, match=r"error: .* lies in the project"):
        contact_sheet.main([*place, "--output", str(ROOT / "sheets")])


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="there is no ../shared/photos")
def test_photographs_are_told_apart(evaluation, measurer):
    figures = evaluation.evaluate(measurer, PHOTOS, None, sample=6, carried=1)
    groups = figures["groups"]
    assert groups["real"]["images"] + groups["generated"]["images"] == 6
    assert 10 < groups["photographs"]["reconstruction"]["psnr"] < 40
    assert groups["photographs"]["smile_pairs"]["people"] == 6
    assert figures["kinds"]["Black_Hair"]["of"] > 0  # probes have learned kinds from the train split
