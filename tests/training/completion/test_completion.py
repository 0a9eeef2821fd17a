"""A bare generator gets a classifier and an editor that work, as its pixels show; a run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stedit.engine import Engine
from stedit.errors import AttributeNameError, InputError, TrainingError, UsageError
from stedit.storage.bundle import Bundle
from stedit.training.completion.config import CompletionConfig
from stedit.training.completion.goals import Probes
from stedit.training.completion.labeller import load_labeller
from stedit.training.completion.samples import Renderer, choose_resolution, sample_codes
from stedit.training.completion.train import complete

Shown = Callable[..., float]


def brightness(images: Tensor) -> Tensor:
    return images.clamp(-1, 1).mean(dim=(1, 2, 3))


def redness(images: Tensor) -> Tensor:
    mean = images.clamp(-1, 1).mean(dim=(2, 3))
    return mean[:, 0] - mean[:, 2]


@pytest.fixture
def config(bare_model: Path, colour_judge: Path) -> CompletionConfig:
    return CompletionConfig(
        model=str(bare_model),
        labeller=str(colour_judge),
        samples=1200,
        inverted_fraction=0.0,  # the small model's encoder inverts nothing
        classifier_steps=400,
        editor_steps=300,
        measured_edits=16,
        device="cpu",
    )


def test_a_bare_generator_edits_by_label_and_by_reference(
    config: CompletionConfig, tmp_path: Path, stages: Any, shown: Shown
) -> None:
    bundle = complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    bare = Bundle.load(config.model)
    assert [item.name for item in bundle.attributes] == ["Bright", "Reddish"]
    assert set(bundle.parts) == {"generator", "encoder", "classifier", "editor"}
    assert bundle.fingerprint == bare.fingerprint
    assert bundle.parts["encoder"].sha256 == bare.parts["encoder"].sha256
    for name, value in (("Bright", brightness), ("Reddish", redness)):
        assert shown(bundle.path, name, value=value) >= 0.85
        assert shown(bundle.path, name, by="reference", value=value) >= 0.55
    figures = bundle.training["classifier"]["validation"]
    assert figures["Bright"]["accuracy"] > 0.8
    assert figures["Reddish"]["label"] >= 0.8
    card = bundle.read_card()
    assert card.startswith("# bare\n\nBare indeed.\n\n## Classifier and editor\n")
    assert "labelled by the judge of colour-judge" in card
    assert f"| Bright | {100 * figures['Bright']['positive']:.1f} % |" in card
    assert bundle.training["editor"]["labelled_by"] == "the judge of colour-judge"
    assert str(tmp_path) not in json.dumps(dict(bundle.training))
    assert (tmp_path / "run" / "edits.png").is_file()


def test_an_interrupted_run_ends_with_the_same_bytes(config: CompletionConfig, tmp_path: Path, stages: Any) -> None:
    config = replace(config, samples=200, classifier_steps=12, editor_steps=12, measured_edits=8)
    whole = complete(config, tmp_path / "whole.run", tmp_path / "whole", stage=stages)
    titles = list(stages.titles)
    for number, (where, after) in enumerate((("sampling", 100), ("editor", 5), ("how far", 1))):
        stages.stop_in, stages.stop_after = where, after
        with pytest.raises(KeyboardInterrupt):
            complete(config, tmp_path / "run", tmp_path / "again", stage=stages, resume=number > 0)
        assert not (tmp_path / "again").exists()
    stages.stop_in = ""
    again = complete(config, tmp_path / "run", tmp_path / "again", stage=stages, resume=True)
    assert stages.titles[-len(titles) :] == titles
    assert {name: part.sha256 for name, part in again.parts.items()} == {
        name: part.sha256 for name, part in whole.parts.items()
    }
    assert again.attributes == whole.attributes
    assert again.read_card() == whole.read_card()


def test_a_second_completion_replaces_the_first(config: CompletionConfig, tmp_path: Path, stages: Any) -> None:
    config = replace(config, samples=200, classifier_steps=8, editor_steps=8, measured_edits=8)
    first = complete(config, tmp_path / "first.run", tmp_path / "first", stage=stages)
    config = replace(config, model=str(first.path), attr=("reddish",))
    second = complete(config, tmp_path / "second.run", tmp_path / "second", stage=stages)
    assert [item.name for item in second.attributes] == ["Reddish"]
    assert second.read_card().count("## Classifier and editor") == 1
    assert "| Bright |" not in second.read_card()
    Engine.from_pretrained(second.path, device="cpu").edit_by_label(np.zeros((1, 8, 16), np.float32), "reddish")


def test_a_judge_stays_for_the_attributes_that_are_known(
    config: CompletionConfig, colour_judge: Path, tmp_path: Path, stages: Any
) -> None:
    both, judge = Bundle.load(config.model), Bundle.load(colour_judge)
    judged = Bundle.save(
        tmp_path / "judged",
        name="judged",
        domain="noise",
        license="MIT",
        attributes=judge.attributes,
        parts={**both.stored_parts(), **judge.stored_parts()},
        readme="# judged\n",
    )
    config = replace(config, model=str(judged.path), labeller="", attr=("reddish",), samples=200)
    config = replace(config, classifier_steps=8, editor_steps=8, measured_edits=8)
    bundle = complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    before = Engine.from_pretrained(judged.path, device="cpu").predict_attributes(images)
    after = Engine.from_pretrained(bundle.path, device="cpu").predict_attributes(images)
    assert after.shape == (4, 1)
    np.testing.assert_allclose(after[:, 0], before[:, 1], atol=1e-3)


def test_given_codes_are_learned_from_beside_the_samples(config: CompletionConfig, tmp_path: Path, stages: Any) -> None:
    codes = Engine.from_pretrained(config.model, device="cpu").sample_latents(70, seed=5)
    np.save(tmp_path / "codes.npy", codes)
    config = replace(config, codes=(str(tmp_path / "codes.npy"),), samples=130, classifier_steps=4, editor_steps=4)
    bundle = complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    assert bundle.training["editor"]["codes"] == 200


def test_samples_are_truncated_mixed_and_the_same_again(config: CompletionConfig) -> None:
    engine = Engine.from_pretrained(config.model, device="cpu")
    config = replace(config, style_mixing_prob=1.0, truncation=(0.5, 0.5))
    codes = sample_codes(engine, config, 50, purpose="x", number=0)
    assert torch.equal(codes, sample_codes(engine, config, 50, purpose="x", number=0))
    assert not torch.equal(codes, sample_codes(engine, config, 50, purpose="x", number=1))
    assert all(len(torch.unique(code, dim=0)) == 2 for code in codes)
    whole = sample_codes(engine, replace(config, truncation=(1.0, 1.0)), 50, purpose="x", number=0)
    mean = engine.networks.generator.mapping.mean
    torch.testing.assert_close(codes - mean, (whole - mean) / 2)
    plain = sample_codes(engine, replace(config, style_mixing_prob=0.0), 50, purpose="x", number=0)
    assert all(len(torch.unique(code, dim=0)) == 1 for code in plain)


def test_samples_are_rendered_as_small_as_labels_allow(config: CompletionConfig) -> None:
    """A judge of 8 px, and blocks of 8 and 16 px that are black: only at full size are there colours."""
    engine = Engine.from_pretrained(config.model, device="cpu")
    labeller = load_labeller(config, engine.bundle, None, engine.device)
    labeller.size = 8
    with torch.no_grad():
        for block in engine.networks.generator.blocks[3:]:
            block.to_rgb.conv.weight.mul_(1e-3)
    assert choose_resolution(engine, labeller, config) == 16  # 8 differs in what the block of 16 px adds
    assert choose_resolution(engine, labeller, replace(config, resolution=32)) == 32
    images = Renderer(engine, labeller, 16).images(torch.from_numpy(engine.sample_latents(2)))
    assert images.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labeller": ""}, UsageError, "has no judge, and nothing says what labels its samples"),
        ({"labeller": "BARE"}, InputError, "has no judge to label samples"),
        ({"labeller": "FOLDER"}, UsageError, "is no model: if it holds labelled images, name their CSV"),
        ({"attr": ("smile",)}, AttributeNameError, "'smile' is CelebA's Smiling, which this model has not learned"),
        ({"attr": ("no-reddish",)}, UsageError, "is learned as its opposite: say Reddish"),
        ({"truncation": (0.0, 0.0)}, InputError, "sees Bright in "),
    ],
)
def test_what_cannot_be_done_is_said(
    config: CompletionConfig,
    changes: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    stages: Any,
) -> None:
    places = {"BARE": config.model, "FOLDER": str(tmp_path)}
    given = {name: places.get(value, value) for name, value in changes.items()} | {"samples": 64}
    given |= {"attr": ("bright",)} if "truncation" in given else {}
    expected = error if error is not InputError or "sees" in message else Exception
    with pytest.raises(expected, match=message):
        complete(replace(config, **given), tmp_path / "run", tmp_path / "whole", stage=stages)
    assert not (tmp_path / "whole").exists()


def test_a_run_is_resumed_only_as_it_began(config: CompletionConfig, tmp_path: Path, stages: Any) -> None:
    with pytest.raises(UsageError, match="holds no completion to resume"):
        complete(config, tmp_path / "run", tmp_path / "whole", stage=stages, resume=True)
    stages.stop_in, stages.stop_after = "sampling", 64
    config = replace(config, samples=200)
    with pytest.raises(KeyboardInterrupt):
        complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    with pytest.raises(UsageError, match="holds a training already"):
        complete(config, tmp_path / "run", tmp_path / "whole", stage=stages)
    with pytest.raises(UsageError, match=r"seed is 0 in .*, not 1"):
        complete(replace(config, seed=1), tmp_path / "run", tmp_path / "whole", stage=stages, resume=True)
    (tmp_path / "run" / "samples" / "000000.safetensors").write_bytes(b"?")
    with pytest.raises(TrainingError, match=r"000000\.safetensors is damaged"):
        complete(config, tmp_path / "run", tmp_path / "whole", stage=stages, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model is empty"),
        ({"truncation": (1.0,)}, "truncation is two numbers"),
        ({"truncation": (1.0, 0.5)}, "truncation is two numbers"),
        ({"resolution": 100}, "resolution is 100, no power of two"),
        ({"attr": ("a: x | y", "a")}, "attr names one twice"),
        ({"attr": ("sun glasses: x | y",)}, "attr names 'sun glasses'"),
        ({"attr": ("sunglasses: a face",)}, "attr lacks words for sunglasses"),
        ({"attr": ("a: x | y",)}, "so the labeller has nothing to label"),
        ({"labeller": "", "labels": "x.csv"}, "labels is given without labeller"),
    ],
)
def test_contradictions_in_a_config(config: CompletionConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(config, **changes).check()


def test_an_edit_shows_when_it_is_seen_as_surely_as_without_one(config: CompletionConfig) -> None:
    engine = Engine.from_pretrained(config.model, device="cpu")
    renderer = Renderer(engine, load_labeller(config, engine.bundle, None, engine.device), 32)
    logits = torch.tensor([[-4.0, 1.0], [-1.0, 1.0], [-0.5, 1.0], [1.0, 1.0], [2.0, 1.0], [9.0, 1.0]])
    codes = torch.zeros(6, 8, 16)
    probes = Probes(renderer, codes, logits > 0, codes, logits)
    wanted = torch.tensor([True, True, False, False])
    seen = torch.tensor([1.9, 2.0, -0.9, -1.0])
    assert probes.surely(0, wanted, seen).tolist() == [False, True, False, True]  # medians are 2 and -1
    assert probes.surely(1, wanted, seen).tolist() == [True, True, True, True]  # none lacks it: 0 is enough
    chosen, _, _ = probes.by_reference(1)
    assert not chosen.any()  # for no reference lacks it
