"""The whole recipe at the size of a toy: it renders, trains, assembles, and measures a model that edits."""

import importlib.util
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stedit import Engine
from stedit.storage.bundle import Bundle
from stedit.storage.jsonl import read_records
from stedit.storage.labels import LabelTable
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.editor.config import EditorFinetuneConfig, EditorTrainingConfig
from stedit.training.generator.config import AutoencoderTrainingConfig
from stedit.training.judge.config import JudgeTrainingConfig

SIZE, SMALL = 64, 32  # px of large and small images

TOY = {
    "perceptual_network": f"""
        steps = 2
        batch_size = 4
        learning_rate = 1e-3
        strength = 1.0
        size = {SIZE}
    """,
    "judge": """
        steps = 2
        batch_size = 4
        val_fraction = 0.2
        widths = [4, 8]
        jitter = 1.0
    """,
    "generator": f"""
        steps = 2
        batch_size = 4
        resolution = {SMALL}
        style_dim = 16
        mapping_layers = 1
        channels = [16, 16, 8, 8]
        encoder_size = 32
        encoder_stem = 4
        encoder_widths = [4, 4, 8, 16]
        encoder_blocks = [1, 1, 1, 1]
        encoder_reduction = 4
        encoder_heads = 2
        encoder_feedforward = 16
        perceptual = "judge"
    """,
    "generator-256": """
        steps = 2
        batch_size = 4
        jitter = 1.0
        perceptual = "judge"
    """,
    "classifier": "steps = 4\nhidden = [16]\nembedding = 4\ncovariance_rank = 4\nbatch_size = 16\n",
    "editor": """
        steps = 4
        heads = 2
        feedforward = 16
        batch_size = 16
        val_fraction = 0.3
        labels = true
    """,
    "editor-finetune": "steps = 2\nbatch_size = 4\nval_fraction = 0.3\npatience = 0\n",
}


@pytest.fixture(scope="module")
def build(recipe):
    """The script, under a name of its own, because a package of the same name may be installed."""
    pytest.importorskip("numba")
    pytest.importorskip("accelerate")
    spec = importlib.util.spec_from_file_location("recipe_build", recipe / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["recipe_build"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["recipe_build"]


@pytest.fixture
def toy(build, tmp_path, monkeypatch):
    """Paths of a build of a few small images, with configs of small networks."""
    import calibration

    monkeypatch.setattr(build, "SIZE", SIZE)
    monkeypatch.setattr(build, "SMALL", SMALL)
    monkeypatch.setattr(calibration, "RESOLUTION", SIZE)
    monkeypatch.setattr(calibration, "TARGET_LOGITS", (1.0, 2.0))
    monkeypatch.setattr(calibration, "LEARNED_TARGET_LOGITS", (0.0, 2.0))
    monkeypatch.setattr(calibration, "CODES", 2)
    configs = tmp_path / "configs"
    configs.mkdir()
    for name, text in TOY.items():
        (configs / f"{name}.toml").write_text(text)
    paths = build.Paths(tmp_path / "work", tmp_path / "photos", configs=configs)
    paths.work.mkdir()
    return paths


def write_photographs(facekit, folder):
    """Renders in the place of photographs: 20 to learn from and 4 to test on, with labels but without parameters."""
    from renderer.pictures import random_orders, render_orders, write_pictures

    for prefix, seed, count in (("train", 8, 20), ("test", 9, 4)):
        made = render_orders(random_orders(f"photo-{prefix}", seed, range(count)), facekit, size=SIZE)
        known = ((name, data, photograph_record(row)) for name, data, row in made)
        write_pictures(known, folder, prefix)


def photograph_record(row):
    """What is known of a photograph: its labels, among them kinds, its source, and five points."""
    has = row["attributes"]
    kinds = {"smile": "teeth" if has["Smiling"] else "none", "glasses": "clear" if has["Eyeglasses"] else "none"}
    kinds |= {"beard": "none" if has["No_Beard"] else "full", "age": "young" if has["Young"] else "old"}
    marks = np.array(row["landmarks"])
    points = [marks[36:42].mean(axis=0), marks[42:48].mean(axis=0), marks[30], marks[48], marks[54]]
    points = [point.tolist() for point in points]
    return {"id": row["id"], "source": "toy", "attributes": has, "kinds": kinds, "points": points}


def rows_of(path):
    return list(read_records(path))


@pytest.mark.usefixtures("renderer")
def test_build_of_toy_size_makes_a_model_that_edits(build, toy, faces, embedded, tmp_path, monkeypatch, capfd):
    paths, facekit = toy, faces / "facekit.npz"
    write_photographs(facekit, paths.photos)
    counts = build.Counts(small=40, train=40, test=4, pairs=1, edits=12)
    build.render(facekit, paths, counts, 1)
    before = sorted(path.stat().st_mtime_ns for path in paths.work.rglob("*"))
    build.render(facekit, paths, counts, 1)
    assert before == sorted(path.stat().st_mtime_ns for path in paths.work.rglob("*"))  # what is there stays

    build.train(paths)
    networks = [path.read_bytes() for path in (*paths.perceptual_networks, paths.calibration_network)]
    assert len(set(networks)) == 2
    assert rows_of(paths.labels)[0]["id"] == "train_000000"
    assert len(rows_of(paths.labels)) == 20 + 40 + 12
    judge = JudgeTrainingConfig.read(paths.work / "judge.run" / "config.toml", {})
    assert judge.repeat == (build.PHOTOGRAPHS, build.RENDERS)
    assert judge.cache_images
    for name in ("generator", "generator-256"):
        config = AutoencoderTrainingConfig.read(paths.work / f"{name}.run" / "config.toml", {})
        assert config.judge == tuple(map(str, paths.perceptual_networks))
    assert config.repeat == (build.PHOTOGRAPHS, build.RENDERS)

    used_edits, calibrating = [], []
    fit_transfer_weight, calibrate = build.fit_transfer_weight, build.calibrate

    def record_edits(engine, codes, edits):
        used_edits.append(len(edits))
        return fit_transfer_weight(engine, codes, edits)

    def record_network(engine, network, codes):
        calibrating.append((network.state_dict(), len(codes)))
        return calibrate(engine, network, codes)

    monkeypatch.setattr(build, "fit_transfer_weight", record_edits)
    monkeypatch.setattr(build, "calibrate", record_network)
    shutil.copytree(embedded.bundle.path, paths.aligner)
    build.assemble(paths, tmp_path / "toy")
    made_at = paths.codes.stat().st_mtime_ns
    _, codes = build._with_codes(paths)
    assert (len(codes), paths.codes.stat().st_mtime_ns) == (20 + 40 + 12, made_at)  # those of this encoder stay
    bundle = Bundle.load(tmp_path / "toy")
    assert set(bundle.parts) == {"generator", "encoder", "classifier", "editor", "judge", "aligner"}
    photographs = rows_of(paths.photos / "train.jsonl.gz")
    names = list(photographs[0]["attributes"])
    assert [item.name for item in bundle.attributes] == names
    assert {item.target_logit for item in bundle.attributes} <= {1.0, 2.0}
    assert {
        logit for item in bundle.attributes for logit in (item.learned_target_logit, item.reference_target_logit)
    } <= {0.0, 2.0}
    assert bundle.parts["generator"].config["resolution"] == SIZE
    assert bundle.parts["encoder"].config["corrections"] == 0
    assert bundle.reconstruction_limit is not None

    # transfer weights are fitted on edits from which the editor has not learned
    learned = bundle.training["editor"]["before"]["ground_truth_edits"]
    assert learned > 0
    assert 0 < used_edits[0] <= len(rows_of(paths.ground_truth_edits)) - learned

    # soft labels are a third the label, and two thirds what the perceptual networks predict
    portraits = rows_of(paths.data / "train.jsonl.gz")
    known = [*photographs, *portraits]
    true = np.array([list(row["attributes"].values()) for row in known])
    soft = LabelTable.read(paths.work / "soft-labels.jsonl").of([row["id"] for row in known], names)
    kept = ~np.isnan(soft).any(axis=1)  # all photographs, and some renders
    assert kept[: len(photographs)].all()
    assert 0 < kept[len(photographs) :].sum() < len(portraits)
    true, soft = true[kept], soft[kept]
    assert soft[true == 1].min() > 1 / 3
    assert soft[true == 0].max() < 2 / 3
    assert soft.std(axis=0).min() > 0
    assert bundle.training["classifier"]["codes"] == pytest.approx(0.9 * kept.sum(), abs=1)

    # the network that calibrates took part in no training, and looks at photographs
    stranger = load_file(paths.calibration_network)
    assert [count for _, count in calibrating] == [20, 20]
    assert all(torch.equal(value, stranger[key]) for state, _ in calibrating for key, value in state.items())
    ready = Bundle.load(paths.work / "ready").attributes  # fine-tuned are edits as far as they are to go
    assert Bundle.load(paths.work / "finetuned").attributes == ready

    assert bundle.training["editor"]["codes"] == 50  # seven tenths of 72
    assert bundle.parts["judge"].config["widths"] == [4, 8]
    engine = Engine.from_pretrained(tmp_path / "toy", device="cpu")
    codes = engine.invert(np.zeros((1, SIZE, SIZE, 3), np.uint8))
    assert engine.synthesise(engine.edit_by_label(codes, "smile")).shape == (1, SIZE, SIZE, 3)
    assert engine.predict_attributes(engine.synthesise(codes)).shape == (1, len(names))
    build.evaluate(paths, tmp_path / "toy")
    report = capfd.readouterr().out
    assert all(title in report for title in ("| renders | 4 |", "by reference", "Ground-truth edits"))
    assert "| photographs | 4 |" in (tmp_path / "toy" / "README.md").read_text()


@pytest.mark.usefixtures("renderer")
def test_ground_truth_edit_differs_in_the_parameters_of_its_group_alone(build, toy, faces):
    from render_edits import GROUPS
    from renderer.parameters import NAMES

    build.render(faces / "facekit.npz", toy, build.Counts(small=40, train=1, test=1, pairs=1, edits=12), 1)
    portraits, edits = rows_of(toy.small / "train.jsonl.gz"), rows_of(toy.edits / "edits.jsonl.gz")
    assert (len(portraits), len(edits)) == (40, 12)
    for row in edits:
        source, reference, made = (
            np.array(one["params"]) for one in (portraits[row["source"]], portraits[row["reference"]], row)
        )
        changed = {NAMES[index] for index in np.flatnonzero(made != source)}
        assert changed <= set(GROUPS[row["group"]][1])
        assert all(made[NAMES.index(name)] == reference[NAMES.index(name)] for name in changed)


def test_configs_of_the_recipe_fit_together(build, tmp_path):
    paths = build.Paths(tmp_path, tmp_path)
    data = {"data": ("pictures.zip",)}
    generator = paths.config("generator", AutoencoderTrainingConfig, **data)
    assert generator.generator_config().style_count == 12
    assert generator.device == "cpu"
    assert generator.deterministic
    paths.config("generator-256", AutoencoderTrainingConfig, init_from="generator", **data)
    paths.config("judge", JudgeTrainingConfig, labels="labels.jsonl", **data)
    codes = {"model": "model", "codes": ("codes.safetensors",)}
    paths.config("classifier", ClassifierTrainingConfig, labels="labels.jsonl", **codes)
    editor = paths.config("editor", EditorTrainingConfig, edits="edits.jsonl", **codes)
    assert generator.style_dim % editor.heads == 0
    paths.config("editor-finetune", EditorFinetuneConfig, **codes)


def test_build_on_a_gpu_may_choose_the_fastest_algorithms(build, tmp_path):
    config = build.Paths(tmp_path, tmp_path, device="cuda").config(
        "judge", JudgeTrainingConfig, data=("a",), labels="b"
    )
    assert not config.deterministic
    assert config.cache_images
