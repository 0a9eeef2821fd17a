"""The whole recipe at the size of a toy: it renders, trains, assembles, and measures a model that edits."""

import importlib.util
import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stedit import Engine
from stedit.storage.bundle import Bundle
from stedit.storage.labels import LabelTable
from stedit.training.classifier.config import ClassifierTraining
from stedit.training.editor.config import EditorTraining
from stedit.training.encoder.config import InversionTraining
from stedit.training.generator.config import GeneratorTraining
from stedit.training.judge.config import JudgeTraining

TOY = {
    "eye": "steps = 2\nbatch_size = 4\nlearning_rate = 1e-3\n",
    "judge": 'steps = 2\nbatch_size = 4\nheld_out = 0.2\nwidths = [4, 8]\ndevice = "cpu"\n',
    "generator": """
        mode = "joint"
        steps = 2
        batch_size = 4
        device = "cpu"
        resolution = 128
        style_dim = 16
        mapping_layers = 1
        channels = [16, 16, 8, 8, 4, 4]
        encoder_size = 32
        encoder_stem = 4
        encoder_widths = [4, 4, 8, 16]
        encoder_blocks = [1, 1, 1, 1]
        encoder_reduction = 4
        encoder_heads = 2
        encoder_feedforward = 16
        perceptual = "judge"
    """,
    "sharpen": """
        mode = "joint"
        steps = 2
        batch_size = 4
        device = "cpu"
        adversarial_weight = 0.1
        discriminator_channels = [8, 8, 8, 8, 4, 4]
        sampled_share = 0.0
        perceptual = "judge"
    """,
    "inversion": """
        keep_encoder = true
        corrections = 1
        steps = 2
        batch_size = 4
        held_out = 2
        device = "cpu"
        identity_weight = 0.0
        perceptual = "judge"
    """,
    "classifier": 'steps = 4\nhidden = [16]\nembedding = 4\ncovariance_rank = 4\nbatch_size = 16\ndevice = "cpu"\n',
    "editor": """
        steps = 4
        heads = 2
        feedforward = 16
        batch_size = 16
        held_out = 0.3
        labels = true
        device = "cpu"
    """,
    "retouch": """
        mode = "codes"
        steps = 2
        batch_size = 4
        perceptual = "judge"
        perceptual_shift = 1
        held_out = 8
        device = "cpu"
    """,
    "texture": """
        mode = "codes"
        steps = 2
        batch_size = 4
        perceptual = "judge"
        perceptual_shift = 1
        adversarial_weight = 0.1
        held_out = 8
        device = "cpu"
    """,
    "watch": 'mode = "pictures"\nsteps = 2\nbatch_size = 4\nheld_out = 0.3\npatience = 0\ndevice = "cpu"\n',
}


@pytest.fixture(scope="module")
def build(recipe):
    """The script, under a name of its own, because a package of the same name may be installed."""
    pytest.importorskip("numba")
    pytest.importorskip("accelerate")
    spec = importlib.util.spec_from_file_location("synthface_build", recipe / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthface_build"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["synthface_build"]


@pytest.mark.usefixtures("renderer")
def test_the_recipe_at_the_size_of_a_toy(build, faces, tmp_path, monkeypatch, capfd):
    import calibration

    monkeypatch.setattr(calibration, "SURE_CANDIDATES", (1.0, 2.0))
    monkeypatch.setattr(calibration, "LEARNED_CANDIDATES", (0.0, 2.0))
    monkeypatch.setattr(calibration, "CODES", 2)
    configs = tmp_path / "configs"
    configs.mkdir()
    for name, text in TOY.items():
        (configs / f"{name}.toml").write_text(text)
    places = build.Places(tmp_path / "work", tmp_path / "work" / "data", tmp_path / "work" / "edits", configs)
    places.work.mkdir()
    counts = build.Counts(train=60, test=4, pairs=1, edits=12)
    build.render(faces / "facekit.npz", places, counts, 1)
    before = sorted(path.stat().st_mtime_ns for path in places.work.rglob("*"))
    build.render(faces / "facekit.npz", places, counts, 1)
    assert before == sorted(path.stat().st_mtime_ns for path in places.work.rglob("*"))  # what is there stays

    # the true edit differs from its source in the parameters of its group alone
    from counterfactuals import GROUPS
    from renderer.parameters import NAMES

    portraits, edits = places.records()
    assert (len(portraits), len(edits)) == (60, 12)
    for row in edits:
        source, reference, made = (
            np.array(one["params"]) for one in (portraits[row["source"]], portraits[row["reference"]], row)
        )
        changed = {NAMES[index] for index in np.flatnonzero(made != source)}
        assert changed <= set(GROUPS[row["group"]][1])
        assert all(made[NAMES.index(name)] == reference[NAMES.index(name)] for name in changed)

    build.train(places)
    eyes = [path.read_bytes() for path in (*places.eyes, places.outsider)]
    assert len(set(eyes)) == 3
    learned, judging = [], []
    carry, calibrate = build.carry, build.calibrate

    def watched(engine, codes, edits):
        learned.append(len(edits))
        return carry(engine, codes, edits)

    def measured(engine, eye, codes):
        judging.append(eye.state_dict())
        return calibrate(engine, eye, codes)

    monkeypatch.setattr(build, "carry", watched)
    monkeypatch.setattr(build, "calibrate", measured)
    build.assemble(places, tmp_path / "toy")
    found = places.codes.stat().st_mtime_ns
    _, codes = build._with_codes(places)
    assert (len(codes), places.codes.stat().st_mtime_ns) == (72, found)  # those of this encoder stay
    bundle = Bundle.load(tmp_path / "toy")
    assert set(bundle.parts) == {"generator", "encoder", "classifier", "editor", "judge"}
    assert [item.name for item in bundle.attributes] == list(portraits[0]["attributes"])
    assert {item.sure for item in bundle.attributes} <= {1.0, 2.0}
    assert {logit for item in bundle.attributes for logit in (item.learned_sure, item.reference_sure)} <= {0.0, 2.0}
    assert bundle.parts["encoder"].config["corrections"] == 1
    told = bundle.training["editor"]["before"]["true_edits"]
    assert told > 0
    rows = places.true_edits.read_text().count("\n")
    assert 0 < learned[0] <= rows - told  # what is carried over is measured on edits that the editor has not seen
    assert bundle.training["classifier"]["codes"] == 54  # of the 60 portraits
    true = np.array([list(row["attributes"].values()) for row in portraits])
    names = list(portraits[0]["attributes"])
    softened = LabelTable.read(places.work / "seen.jsonl").of([row["id"] for row in portraits], names)
    assert softened[true == 1].min() > 1 / 3  # the label, and two thirds of what the eyes see
    assert softened[true == 0].max() < 2 / 3
    assert softened.std(axis=0).min() > 0
    assert bundle.training["generator"]["codes"] == 64
    assert bundle.training["generator"]["before"]
    soft, sharp = (Bundle.load(places.work / name).read_part("generator") for name in ("retouched", "textured"))
    for key, value in bundle.read_part("generator").items():
        wanted = torch.lerp(soft[key].float(), sharp[key].float(), build.TEXTURE)
        torch.testing.assert_close(value.float(), wanted, rtol=2e-3, atol=1e-4)
    stranger = load_file(places.outsider)
    assert len(judging) == 2
    assert all(torch.equal(value, stranger[key]) for one in judging for key, value in one.items())
    ready = Bundle.load(places.work / "ready").attributes  # what is watched are edits as far as they are to go
    assert Bundle.load(places.work / "watched").attributes == ready
    assert {item.sure for item in ready} <= {1.0, 2.0}
    for name in ("generator", "sharpen", "retouch", "texture"):
        config = GeneratorTraining.read(places.work / f"{name}.run" / "config.toml", {})
        assert config.judge == tuple(map(str, places.eyes))
    config = EditorTraining.read(places.work / "watch.run" / "config.toml", {})
    assert config.judge == tuple(map(str, places.eyes))
    assert bundle.training["editor"]["codes"] == 50  # of the 72
    assert bundle.training["judge"]["pictures"] == 58
    assert bundle.parts["judge"].config["widths"] == [4, 8]
    engine = Engine.from_pretrained(tmp_path / "toy", device="cpu")
    codes = engine.invert(np.zeros((1, 128, 128, 3), np.uint8))
    assert engine.synthesise(engine.edit_by_label(codes, "smile")).shape == (1, 128, 128, 3)
    assert engine.judge(engine.synthesise(codes)).shape == (1, 32)
    build.evaluate(places, tmp_path / "toy")
    told = capfd.readouterr().out
    assert all(title in told for title in ("Label edits", "Edits by reference", "True pairs"))


def test_the_configs_are_sound(build, recipe, tmp_path):
    places = build.Places(tmp_path, tmp_path, tmp_path)
    generator = places.config("generator", GeneratorTraining, data=("pictures.zip",))
    assert generator.generator_config().style_count == 12
    sharpen = places.config("sharpen", GeneratorTraining, start="generator", data=("pictures.zip",))
    assert len(sharpen.discriminator_channels) == len(generator.generator_config().channels)
    inversion = places.config("inversion", InversionTraining, model="model", data=("pictures.zip",))
    assert inversion.keep_encoder
    assert inversion.corrections > 0
    places.config("judge", JudgeTraining, data=("pictures.zip",), labels="labels.jsonl")
    codes = {"model": "model", "codes": ("codes.safetensors",)}
    places.config("classifier", ClassifierTraining, labels="labels.jsonl", **codes)
    editor = places.config("editor", EditorTraining, edits="edits.jsonl", **codes)
    assert generator.style_dim % editor.heads == 0
    retouch = places.config("retouch", GeneratorTraining, start="m", data=("p.zip",), edits="e.jsonl", codes=("c",))
    assert 0 < retouch.edited_share < 1
    texture = places.config("texture", GeneratorTraining, start="m", data=("p.zip",), edits="e.jsonl", codes=("c",))
    assert texture.adversarial_weight > retouch.adversarial_weight == 0
    watch = places.config("watch", EditorTraining, **codes)
    assert watch.mode == "pictures"
    assert json.loads((recipe.parents[1] / "synthface-128" / "config.json").read_text())["name"] == build.NAME
