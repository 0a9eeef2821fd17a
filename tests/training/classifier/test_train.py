"""The latent classifier learns labels that are known, is calibrated, resumes exactly, and becomes a bundle's part."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stedit import Engine
from stedit.errors import AttributeNameError, InputError, MissingPartError, UsageError
from stedit.models.attribute_network import Judge
from stedit.models.config import ClassifierConfig, GeneratorConfig, JudgeConfig
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.covariance import LowRankCovariance
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec
from stedit.training.attributes import accuracy, class_weights, cross_entropy
from stedit.training.classifier.config import ClassifierTrainingConfig
from stedit.training.classifier.train import ClassifierTask, build, fit_covariance
from stedit.training.data.latents import LatentSet
from stedit.training.loop import train
from stedit.training.provenance import with_parts

NAMES = ("Smiling", "Eyeglasses")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator for codes of 8 x 16, and nothing else."""
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=32, style_dim=16, mapping_layers=1, channels=(8, 8, 8, 8))
    path = tmp_path_factory.mktemp("models") / "bare"
    parts = {"generator": (config, Generator(config).state_dict())}
    return Bundle.save(path, name="bare", domain="", license="MIT", parts=parts, readme="# bare\n").path


def labelled_codes(count: int) -> tuple[Tensor, Tensor]:
    """Codes (count, 8, 16) in which two attributes are plain directions; one in five has the second."""
    labels = (torch.rand(count, 2) < torch.tensor([0.5, 0.2])).float()
    codes = 0.3 * torch.randn(count, 8, 16)
    codes[:, 0, 0] += labels[:, 0] * 2.0 - 1
    codes[:, 1, 3] += labels[:, 1] * 2.0 - 1
    return codes, labels


def write(folder: Path, model: Path, count: int = 600) -> ClassifierTrainingConfig:
    """Codes and labels, one in seven of which is unknown."""
    codes, labels = labelled_codes(count)
    names = tuple(f"code-{number}" for number in range(count))
    LatentSet(names, codes).save(folder / "codes.safetensors", Bundle.load(model))
    lines = ["id,Smiling,Eyeglasses"]
    for number, (name, row) in enumerate(zip(names, labels.int().tolist(), strict=True)):
        lines.append(f"{name}.jpg,{row[0]},{'' if number % 7 == 3 else row[1]}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return ClassifierTrainingConfig(
        model=str(model),
        codes=(str(folder / "codes.safetensors"),),
        labels=str(folder / "labels.csv"),
        steps=150,
        batch_size=64,
        learning_rate=5e-3,
        val_fraction=0.25,
        hidden=(32,),
        embedding=4,
        covariance_rank=4,
        eval_interval=50,
        device="cpu",
    )


def test_training_learns_and_calibrates(tmp_path: Path, model: Path, read_metrics: Callable[..., Any]) -> None:
    config = write(tmp_path, model)
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert outcome.step == 150
    bundle = task.save(tmp_path / "model", overwrite=False)
    assert [item.name for item in bundle.attributes] == list(NAMES)
    assert {item.target_logit for item in bundle.attributes} == {3.0}
    figures = bundle.training["classifier"]["validation"]
    assert figures["Smiling"]["accuracy"] > 0.95
    assert figures["Eyeglasses"]["positive"] == pytest.approx(0.2, abs=0.12)
    assert max(row["calibration_error"] for row in figures.values()) < 0.08
    engine = Engine.from_pretrained(tmp_path / "model", device="cpu")
    codes, labels = labelled_codes(500)
    predicted = engine.classify(codes)
    assert ((predicted > 0.5) == (labels > 0.5)).float().mean() > 0.95
    # a probability of 0.95 is where edits of strength 1 go
    edited = engine.classify(engine.edit_by_label(codes[:20], "glasses"))
    assert edited[:, 1].min() > 0.93
    assert bundle.fingerprint == Bundle.load(model).fingerprint
    rows = read_metrics(tmp_path / "run")
    assert rows[-1]["val/accuracy"] > 0.95


def test_resumed_run_equals_the_unbroken_run(
    tmp_path: Path, model: Path, recording_monitor: Callable[..., Any], assert_same_state: Callable[..., Any]
) -> None:
    config = replace(write(tmp_path, model, 200), steps=30, eval_interval=10, patience=5)
    train(lambda: build(config), config, tmp_path / "whole")
    assert train(lambda: build(config), config, tmp_path / "part", monitor=recording_monitor(stop=17))[1].step == 17
    train(lambda: build(config), config, tmp_path / "part", resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "part")


def test_unknown_labels_have_no_effect(tmp_path: Path, model: Path) -> None:
    codes, labels = labelled_codes(400)
    some = labels.clone()
    some[::2, 0] = math.nan
    config = ClassifierTrainingConfig(
        steps=80, batch_size=64, learning_rate=1e-2, hidden=(16,), embedding=4, covariance_rank=0
    )
    config = replace(config, val_fraction=0.0, calibrate=False, device="cpu")
    task = ClassifierTask(config, Bundle.load(model), codes, some, NAMES)
    train(lambda: task, config, tmp_path / "run")
    network, figures = task.result()
    assert figures == {}
    with torch.no_grad():
        assert accuracy(network(codes), labels).min() > 0.95


def test_labels_that_are_probabilities_are_learned(tmp_path: Path, model: Path) -> None:
    """Of codes with a trait, those who label it are sure of it in nine of ten, of others in one of five."""
    config = replace(write(tmp_path, model), calibrate=False, balance=False, steps=400)
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text().replace(",0", ",0.2").replace(",1", ",0.9"))
    task, _ = train(lambda: build(config), config, tmp_path / "run", resume=False)
    codes, labels = labelled_codes(400)
    with torch.no_grad():
        probabilities = task.result()[0](codes).sigmoid()
    for k in range(2):
        means = [probabilities[labels[:, k] == state, k].mean().item() for state in (0, 1)]
        assert means == pytest.approx([0.2, 0.85], abs=0.09)  # taken for no and yes, they would be nearer to 0 and 1


def test_balance_gives_rare_classes_their_weight() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, math.nan], [0.0, 0.0]])
    weights = class_weights(labels, balance=True, attributes=NAMES, examples="codes")
    assert torch.allclose(weights, torch.tensor([[2.0, 1.5], [2 / 3, 0.75]]))
    assert torch.equal(class_weights(labels, balance=False, attributes=NAMES, examples="codes"), torch.ones(2, 2))
    with pytest.raises(InputError, match="0 have Eyeglasses and 4 do not"):
        class_weights(
            torch.tensor([[1.0, 0.0]] * 2 + [[0.0, 0.0]] * 2), balance=False, attributes=NAMES, examples="codes"
        )


def test_balance_weighs_probabilities_by_their_value() -> None:
    """Hard labels and soft ones of the same mean pull the logit to the same place: to one half, since they balance."""
    hard = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    for labels in (hard, torch.full((4, 1), 0.25), torch.tensor([[0.55], [0.15], [0.15], [0.15]])):
        weights = torch.tensor([[2.0], [2 / 3]])  # of one in four
        if (labels > 0.5).any():
            torch.testing.assert_close(class_weights(labels, balance=True, attributes=["a"], examples="codes"), weights)
        logits = torch.zeros(4, 1, requires_grad=True)
        (gradient,) = torch.autograd.grad(cross_entropy(logits, labels, weights), logits)
        assert gradient.sum().item() == pytest.approx(0, abs=1e-6)


def test_new_classifier_keeps_transfer_weights(tmp_path: Path, model: Path) -> None:
    old = tuple(
        AttributeSpec(name, target_logit=8, learned_target_logit=5, reference_target_logit=7, transfer_weight=0.75)
        for name in NAMES
    )
    knowing = with_parts(Bundle.load(model), tmp_path / "knowing", {}, {}, attributes=old, overwrite=False)
    config = replace(write(tmp_path, knowing.path, 200), steps=2)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    for spec in task.save(tmp_path / "made", overwrite=False).attributes:
        assert spec == AttributeSpec(spec.name, transfer_weight=0.75)  # a logit means something else now


def test_covariance_equals_that_of_the_codes() -> None:
    codes, _ = labelled_codes(3000)
    classifier = LatentClassifier(ClassifierConfig(8, 16, attributes=2, hidden=(4,), embedding=2, covariance_rank=2))
    classifier.requires_grad_(False)
    fit_covariance(classifier, codes)
    covariance = LowRankCovariance.of(classifier)
    assert covariance is not None
    flat = codes.flatten(1)
    for coordinate in (0, 19, 50):  # two in which attributes are, and one of the rest
        unit = torch.zeros(1, 128)
        unit[0, coordinate] = 1
        variance = covariance.multiply(unit)[0, coordinate].item()
        assert variance == pytest.approx(flat[:, coordinate].var().item(), rel=0.1)


def test_judge_labels_sampled_codes(tmp_path: Path, model: Path) -> None:
    config = JudgeConfig(attributes=1, widths=(4, 4), input_height=16, input_width=16)
    network = Judge(config).requires_grad_(False).eval()
    network.head.weight.mul_(30)
    base = Bundle.load(model)

    def saved() -> Engine:
        parts = {"judge": (config, network.state_dict())}
        attributes = (AttributeSpec("Smiling"),)
        with_parts(base, tmp_path / "judged", parts, {}, attributes=attributes, overwrite=True)
        return Engine.from_pretrained(tmp_path / "judged", device="cpu")

    def judged(engine: Engine) -> Tensor:
        codes = LatentSet.sample(64, engine, seed=0).codes
        return torch.from_numpy(engine.predict_attributes(engine.synthesise(codes.numpy()))[:, 0])

    network.head.bias.sub_(judged(saved()).logit().median())  # so that both answers come
    predicted = judged(saved())
    keys = ClassifierTrainingConfig(
        synthetic_latents=64, pseudo_label_threshold=0.6, hidden=(8,), val_fraction=0.25, device="cpu"
    )
    task = build(replace(keys, model=str(tmp_path / "judged")))
    labels = torch.cat([task.labels, task.held_out[1]])
    assert 0 < (predicted >= 0.6).sum() < 64
    assert labels.sum() == (predicted >= 0.6).sum()
    assert len(labels) == ((predicted >= 0.6) | (predicted <= 0.4)).sum()
    other = build(replace(keys, model=str(model), judge=str(tmp_path / "judged")))
    assert torch.equal(other.labels, task.labels)
    alone = Bundle.save(
        tmp_path / "alone",
        name="alone",
        domain="",
        license="MIT",
        attributes=(AttributeSpec("Smiling"),),
        parts={"judge": (config, network.state_dict())},
        readme="",
    )
    other = build(replace(keys, model=str(model), judge=str(alone.path)))
    assert torch.equal(other.labels, task.labels)


def test_build_refuses_what_cannot_be_learned(tmp_path: Path, model: Path, tiny_bundle: Path) -> None:
    config = write(tmp_path, model, 40)
    with pytest.raises(AttributeNameError, match="unknown attribute 'smirk'"):
        build(replace(config, attributes=("smirk",)))
    with pytest.raises(MissingPartError, match="has no judge to label sampled codes"):
        build(replace(config, synthetic_latents=5))
    codes = LatentSet.read(config.codes, Engine.from_pretrained(model, device="cpu"))
    codes.save(tmp_path / "codes.safetensors", Bundle.load(tiny_bundle))
    with pytest.raises(UsageError, match="the editor of 'tiny-32' knows Bangs, which is not to be learned"):
        build(replace(config, model=str(tiny_bundle)))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "model is empty"),
        ({"model": "m"}, "codes is empty and synthetic_latents is 0"),
        ({"model": "m", "codes": ("c",)}, "labels is empty"),
        ({"model": "m", "synthetic_latents": 9, "labels": "l"}, "labels is given without codes"),
        ({"model": "m", "synthetic_latents": 9, "val_fraction": 0.0}, "calibrate is true, but val_fraction is 0"),
        (
            {"model": "m", "synthetic_latents": 9, "val_fraction": 0.0, "patience": 1},
            "patience is given, but val_fraction is 0",
        ),
        ({"model": "m", "synthetic_latents": 9, "attributes": ("a", "a")}, "names one twice"),
    ],
)
def test_check_of_contradicting_keys_names_them(keys: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ClassifierTrainingConfig(**keys).check()
