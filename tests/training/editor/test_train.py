"""The edit transformer learns the three losses and true edits, stops early, and becomes a bundle's part."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stedit import Engine
from stedit.errors import AttributeNameError, InputError, MissingPartError
from stedit.models.config import ClassifierConfig, GeneratorConfig
from stedit.models.latent_classifier import LatentClassifier
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec
from stedit.training.data.edits import GroundTruthEdits
from stedit.training.data.latents import LatentSet
from stedit.training.editor.config import EditorTrainingConfig
from stedit.training.editor.train import build, reference_edit_loss
from stedit.training.loop import train


@pytest.fixture(scope="module")
def model(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a classifier of which attribute k is coordinate k of the first style."""
    tiny = Bundle.load(tiny_bundle)
    config = ClassifierConfig(8, 16, attributes=5, hidden=(16,), embedding=1)
    classifier = LatentClassifier(config).requires_grad_(False)
    for weight in (classifier.trunk[0].weight, classifier.embedding_weight):
        weight.zero_()
    for bias in (classifier.trunk[0].bias, classifier.embedding_bias, classifier.logit_bias):
        bias.zero_()
    for k in range(5):
        classifier.trunk[0].weight[k, k] = 1
        classifier.trunk[0].weight[k + 5, k] = -1  # so that the leaky rectifier loses no sign
        classifier.embedding_weight[k, 0, k] = 1
        classifier.embedding_weight[k, 0, k + 5] = -1
    classifier.logit_weight.fill_(1)
    generator = GeneratorConfig.from_dict(tiny.parts["generator"].config)
    return Bundle.save(
        tmp_path_factory.mktemp("models") / "model",
        name="with-classifier",
        domain="",
        license="MIT",
        attributes=tiny.attributes,
        parts={
            "generator": (generator, tiny.read_part("generator")),
            "classifier": (config, classifier.state_dict()),
        },
        readme="",
    ).path


def random_codes(count: int) -> Tensor:
    """Codes (count, 8, 16) whose styles differ in coordinates 5 to 15, as those of a generator differ."""
    means = torch.cat([torch.zeros(8, 5), torch.eye(8, 11) * 2], dim=1)
    return means + 0.7 * torch.randn(count, 8, 16)


def write(folder: Path, model: Path, **keys: Any) -> EditorTrainingConfig:
    torch.manual_seed(0)
    codes = LatentSet(tuple(f"code-{k}" for k in range(300)), random_codes(300))
    codes.save(folder / "codes.safetensors", Bundle.load(model))
    config = EditorTrainingConfig(
        model=str(model),
        codes=(str(folder / "codes.safetensors"),),
        steps=150,
        batch_size=64,
        learning_rate=5e-3,
        heads=2,
        feedforward=32,
        doubly_normalised=False,
        eval_interval=50,
        device="cpu",
    )
    return replace(config, **keys)


def test_edits_after_training_follow_the_reference(
    tmp_path: Path, model: Path, read_metrics: Callable[..., Any]
) -> None:
    config = write(tmp_path, model, steps=250, attribute="glasses")
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    bundle = task.save(tmp_path / "model", overwrite=False)
    rows = read_metrics(tmp_path / "run")
    first, last = (row["val/loss"] for row in (rows[0], rows[-1]))
    assert last < 0.6 * first
    assert rows[-1]["val/success"] > 0.85
    assert rows[-1]["val/side_effects"] < 0.1
    engine = Engine.from_pretrained(bundle.path, device="cpu")
    source, reference = random_codes(400).chunk(2)
    predicted, wanted = (engine.classify(codes)[:, 1] > 0.5 for codes in (source, reference))
    edited = engine.classify(engine.edit_by_reference(source, reference, "glasses"))[:, 1] > 0.5
    assert (predicted == wanted).float().mean() < 0.65
    assert (edited == wanted).float().mean() > 0.8
    assert bundle.training["editor"]["codes"] == 270


def test_training_on_ground_truth_edits_reproduces_them(
    tmp_path: Path, model: Path, read_metrics: Callable[..., Any]
) -> None:
    """Edits that no loss of the classifier knows of: the last style is taken too."""
    config = write(tmp_path, model, steps=200, code_weight=0.0, reference_weight=0.0, source_weight=0.0)
    source = random_codes(200)
    edited = source.clone()
    edited[:, 7] = 0.5
    names = tuple(f"{what}-{k}" for what in ("before", "after") for k in range(200))
    LatentSet(names, torch.cat([source, edited])).save(tmp_path / "edits.safetensors", Bundle.load(model))
    rows = [
        {"source": f"before-{k}", "reference": f"code-{k}", "edited": f"after-{k}", "attribute": "Bangs"}
        for k in range(200)
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(
        config, codes=(*config.codes, str(tmp_path / "edits.safetensors")), edits=str(tmp_path / "edits.jsonl")
    )
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    assert (len(task.edits), len(task.edits_held_out)) == (180, 20)
    lines = read_metrics(tmp_path / "run")
    assert lines[-1]["val/edit"] < 0.35  # 1 is to leave the source as it is


@pytest.mark.parametrize("only", ["", "Bangs"])
def test_training_with_labels_reproduces_edits_by_label(
    tmp_path: Path, model: Path, only: str, read_metrics: Callable[..., Any]
) -> None:
    """Where `present` is unknown, the classifier predicts whether the edit added or removed the attribute."""
    config = write(tmp_path, model, steps=300, code_weight=0.0, reference_weight=0.0, source_weight=0.0, attribute=only)
    bangs = Bundle.load(model).attributes.index(AttributeSpec("Bangs"))
    source = random_codes(200)
    edited = source.clone()
    edited[:100, 0, bangs], edited[100:, 0, bangs] = 2.0, -2.0
    names = tuple(f"{what}-{k}" for what in ("before", "after") for k in range(200))
    LatentSet(names, torch.cat([source, edited])).save(tmp_path / "edits.safetensors", Bundle.load(model))
    rows = [
        {
            "source": f"before-{k}",
            "reference": [f"after-{k}"] * (k % 3 + 1),
            "edited": f"after-{k}",
            "attribute": "Bangs",
        }
        | ({"present": k < 100} if k % 2 else {})
        for k in range(200)
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(
        config,
        codes=(*config.codes, str(tmp_path / "edits.safetensors")),
        edits=str(tmp_path / "edits.jsonl"),
        labels=True,
    )
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    assert (task.edits.present == (task.edits.edited < 600)).all()  # 300 codes, 200 sources, 100 that were given bangs
    lines = read_metrics(tmp_path / "run")
    assert lines[-1]["val/label"] < 0.5  # 1 is to leave the source as it is
    saved = task.save(tmp_path / "model", overwrite=False)
    engine = Engine.from_pretrained(saved.path, device="cpu")
    if only:  # an editor of one attribute is only found under a name that names it
        assert not engine.has_learned_edit("bangs")
        engine = Engine(engine.model.with_networks(editors={"editor-Bangs": engine.networks.editors["editor"]}))
    assert engine.has_learned_edit("bangs")
    assert not engine.has_learned_edit("smile")
    codes = random_codes(50)
    for name, wanted in (("bangs", 1.0), ("no-bangs", 0.0)):
        predicted = engine.classify(engine.edit_by_label(codes, name, direction="transformer"))[:, bangs]
        assert ((predicted > 0.5) == wanted).float().mean() > 0.85, name


def test_finetune_starts_from_the_editor_of_the_model(tmp_path: Path, tiny_bundle: Path) -> None:
    tiny = Engine.from_pretrained(tiny_bundle, device="cpu")
    names = [item.name for item in tiny.bundle.attributes]
    config = write(tmp_path, tiny_bundle, steps=1, learning_rate=1e-9, finetune=True, layers=7)
    rows = [
        {"source": f"code-{k}", "reference": f"code-{k + 1}", "edited": f"code-{k + 2}", "attribute": names[k % 2]}
        for k in range(100)
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(config, edits=str(tmp_path / "edits.jsonl"), labels=True)
    saved = train(lambda: build(config), config, tmp_path / "run")[0].save(tmp_path / "model", overwrite=False)
    engine = Engine.from_pretrained(saved.path, device="cpu")
    codes = random_codes(4)
    for name in names:
        edits = [one.edit_by_reference(codes, codes[:1], name) for one in (tiny, engine)]
        torch.testing.assert_close(edits[0], edits[1], atol=1e-3, rtol=1e-3)  # stored in half precision
    assert not any(map(tiny.has_learned, names))
    assert [engine.has_learned_edit(name) for name in names] == [True, True, False, False, False]
    # once more, with true edits of another attribute: what was learned by label stays
    rows = [{**row, "attribute": names[2]} for row in rows]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = replace(config, model=str(saved.path), codes=config.codes)
    again = train(lambda: build(config), config, tmp_path / "again")[0].save(tmp_path / "third", overwrite=False)
    assert again.parts["editor"].config["labels"] == [0, 1, 2]
    third = Engine.from_pretrained(again.path, device="cpu")
    edits = [one.edit_by_label(codes, names[1], direction="transformer") for one in (engine, third)]
    torch.testing.assert_close(edits[0], edits[1], atol=1e-3, rtol=1e-3)


def test_finetune_without_an_editor_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(MissingPartError, match="'with-classifier' has no editor to train on: leave finetune out"):
        build(write(tmp_path, model, finetune=True))
    with pytest.raises(ValueError, match="leave attribute out"):
        write(tmp_path, model, finetune=True, attribute="Bangs").check()


def test_split_holds_out_an_edit_with_its_reverse() -> None:
    kept = torch.tensor([True, True, True, False])
    source, edited = torch.tensor([[0, 1, 0, 3, 0], [1, 0, 1, 0, 3]])
    references = torch.tensor([[2, 2], [3, 2], [3, 3], [2, 2], [1, 1]])
    learned, measured = GroundTruthEdits(source, references, edited, source, source).split(kept)
    assert list(zip(learned.source.tolist(), learned.edited.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert learned.references.tolist() == [[2, 2], [2, 2]]
    assert list(zip(measured.source.tolist(), measured.edited.tolist(), strict=True)) == [(3, 0), (0, 3)]


def test_resumed_run_equals_the_unbroken_run(
    tmp_path: Path, model: Path, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    config = write(tmp_path, model, steps=12, eval_interval=4, batch_size=16, patience=5)
    train(lambda: build(config), config, tmp_path / "whole")

    assert train(lambda: build(config), config, tmp_path / "part", monitor=recording_monitor(stop=7))[1].step == 7
    train(lambda: build(config), config, tmp_path / "part", resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "part")


def test_editor_of_one_attribute_has_no_condition(tmp_path: Path, model: Path) -> None:
    config = write(tmp_path, model, steps=4, eval_interval=2, attribute="smile", synthetic_latents=40)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    assert task.editor.config.attributes == 0
    assert len(task.training) == 306
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert bundle.training["editor"]["config"]["attribute"] == "smile"
    assert Engine.from_pretrained(bundle.path, device="cpu").edit_by_reference(
        torch.randn(1, 8, 16), torch.randn(1, 8, 16), "smile"
    ).shape == (1, 8, 16)


def test_patience_stops_and_keeps_the_best_weights(
    tmp_path: Path, model: Path, read_metrics: Callable[..., Any]
) -> None:
    config = write(tmp_path, model, learning_rate=3.0, schedule="constant", eval_interval=2, patience=3, steps=100)
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert outcome.reason == "stopped"
    assert outcome.why == "no better on held-out examples for 3 evaluations"
    lines = read_metrics(tmp_path / "run")
    losses = [line["val/loss"] for line in lines]
    assert task.scalars["best"] == min(losses) == losses[-4]
    assert any(
        not torch.equal(a, b) for a, b in zip(task.editor.parameters(), task.best.network.parameters(), strict=True)
    )


def test_reference_edit_losses_equal_those_of_the_paper(model: Path) -> None:
    engine = Engine.from_pretrained(model, device="cpu")
    classifier: Any = engine.networks.classifier
    source, reference, edited = torch.randn(3, 4, 8, 16)
    taken = torch.zeros(4, 5, dtype=torch.bool)
    taken[:, 2] = True
    losses = reference_edit_loss(classifier, edited, source, reference, taken)
    e = [classifier.embed(w)[..., 0] for w in (source, reference, edited)]
    others = [0, 1, 3, 4]
    assert losses.code.item() == pytest.approx((edited - source).square().mean().item())
    assert losses.reference.item() == pytest.approx((e[2] - e[1])[:, 2].square().mean().item(), rel=1e-5)
    assert losses.source.item() == pytest.approx((e[2] - e[0])[:, others].square().mean().item(), rel=1e-5)
    assert losses.total((0.1, 1.0, 2.0)).item() == pytest.approx(
        (0.1 * losses.code + losses.reference + 2 * losses.source).item()
    )


def test_build_refuses_what_cannot_be_learned(tmp_path: Path, model: Path) -> None:
    config = write(tmp_path, model)
    with pytest.raises(AttributeNameError, match="unknown attribute 'smirk'"):
        build(replace(config, attribute="smirk"))
    edits = tmp_path / "edits.jsonl"
    for row, said in (
        ({"attribute": "Age"}, "record 1, has no attribute that the model knows"),
        ({"attribute": "Bangs", "source": "code-0", "reference": "x"}, "the reference 'x' is not a code"),
        ({"attribute": "Bangs", "source": ["code-0"]}, "the source"),
        ({"attribute": "Bangs", "source": "code-0", "edited": "code-1", "reference": ["code-0", 3]}, "the reference 3"),
        ({"attribute": "Bangs", "source": "code-0", "edited": "code-1", "reference": []}, "the reference "),
        (
            {"attribute": "Bangs", "present": "yes"} | dict.fromkeys(("source", "reference", "edited"), "code-0"),
            "present is 'yes': write true or false",
        ),
    ):
        edits.write_text(json.dumps(row) + "\n")
        with pytest.raises(InputError, match=said):
            build(replace(config, edits=str(edits)))
    edits.write_text("")
    with pytest.raises(InputError, match="holds no edit of anything"):
        build(replace(config, edits=str(edits)))
    assert len(GroundTruthEdits.read("", ["a"], ["Bangs"])) == 0
    base = Bundle.load(model)
    generator = GeneratorConfig.from_dict(base.parts["generator"].config)
    parts = {"generator": (generator, base.read_part("generator"))}
    Bundle.save(tmp_path / "bare", name="bare", domain="", license="MIT", parts=parts, readme="")
    with pytest.raises(MissingPartError, match="has no classifier, by which edits are learned"):
        build(replace(config, model=str(tmp_path / "bare")))
    with pytest.raises(ValueError, match="codes is empty and synthetic_latents is 0"):
        EditorTrainingConfig(model="m").check()
    with pytest.raises(ValueError, match="edits names no ground-truth edits"):
        EditorTrainingConfig(model="m", synthetic_latents=10, labels=True).check()
