"""An editor is fine-tuned by what judges predict of its edits by label."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError
from stedit.models.attribute_network import AttributeNetwork, Judge
from stedit.models.config import EditorConfig, JudgeConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import AttributeSpec
from stedit.training.data.latents import LatentSet
from stedit.training.editor.config import EditorFinetuneConfig
from stedit.training.editor.finetune import build
from stedit.training.loop import train
from stedit.training.provenance import with_parts

LABELS = (0, 2, 3)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an editor whose edits by label change a code at random."""
    torch.manual_seed(1)
    tiny = Bundle.load(tiny_bundle)
    config = replace(EditorConfig.from_dict(tiny.parts["editor"].config), labels=LABELS)
    network = EditTransformer(config)
    torch.nn.init.normal_(network.output.weight, std=0.3)
    torch.nn.init.normal_(network.label_tokens, std=2)
    parts = {"editor": (config, network.state_dict())}
    path = tmp_path_factory.mktemp("models") / "labelled"
    return with_parts(tiny, path, parts, {"editor": {"ground_truth_edits": 7}}, overwrite=False).path


@pytest.fixture(scope="module")
def judges(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Two random networks with large weights; two of their targets are not attributes."""
    folder = tmp_path_factory.mktemp("judges")
    for seed in range(2):
        torch.manual_seed(seed)
        network = AttributeNetwork(7, (8, 16))
        torch.nn.init.normal_(network.head.weight, std=0.5)
        save_file(network.state_dict(), folder / f"{seed}.safetensors")
    return tuple(str(folder / f"{seed}.safetensors") for seed in range(2))


def write(folder: Path, model: Path, judges: tuple[str, ...] = (), **keys: Any) -> EditorFinetuneConfig:
    torch.manual_seed(0)
    codes = LatentSet(tuple(f"code-{k}" for k in range(200)), torch.randn(200, 8, 16))
    codes.save(folder / "codes.safetensors", Bundle.load(model))
    config = EditorFinetuneConfig(
        model=str(model),
        codes=(str(folder / "codes.safetensors"),),
        judge=judges,
        steps=60,
        batch_size=16,
        learning_rate=1e-2,
        val_fraction=0.25,
        eval_interval=60,
        patience=0,
        device="cpu",
    )
    return replace(config, **keys)


def answers(engine: Engine, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Edits of the attributes learned by label, and of all by reference."""
    names = [engine.attributes[index] for index in LABELS]
    by_label = [engine.edit_by_label(codes, name, direction="transformer") for name in names]
    by_reference = [engine.edit_by_reference(codes, codes[:1], name) for name in engine.attributes]
    return torch.stack(by_label), torch.stack(by_reference)


def test_loss_weights_decide_success_and_side_effects(
    tmp_path: Path, model: Path, judges: tuple[str, ...], read_metrics: Callable[..., Any]
) -> None:
    """Nothing is learned from held-out codes; the weights of the losses decide what comes of them."""
    found = {}
    for name, weights in {
        "preservation": {
            "target_weight": 0.0,
            "preservation_weight": 10.0,
            "proximity_weight": 0.1,
            "precision": "bfloat16",
        },
        "target": {"target_weight": 10.0, "preservation_weight": 0.0, "proximity_weight": 0.1},
    }.items():
        config = write(tmp_path, model, judges, steps=70, learning_rate=7e-3, eval_interval=70, **weights)
        task, _ = train(lambda config=config: build(config), config, tmp_path / name)
        found[name] = read_metrics(tmp_path / name)[-1]
        started = task._first
    others, asked = found["preservation"], found["target"]
    assert max(started["code"], started["reference"]) < 1e-12
    for name in ("success", "side_effects"):
        assert others[f"val/{name}_before"] == pytest.approx(started[name], abs=0.02)
        assert asked[f"val/{name}_before"] == started[name]
    assert others["val/preservation"] < 0.8 * started["preservation"]
    assert others["val/side_effects"] < 0.9 * started["side_effects"]
    assert asked["val/target"] < 0.9 * started["target"]
    assert asked["val/preservation"] > others["val/preservation"]


def test_metrics_equal_those_of_the_saved_model(
    tmp_path: Path, model: Path, judges: tuple[str, ...], read_metrics: Callable[..., Any]
) -> None:
    """Edits go on after the editor's answer, until the classifier is as sure as the model says."""
    bundle = Bundle.load(model)
    sure = tuple(replace(item, learned_target_logit=0.3) for item in bundle.attributes)
    old = with_parts(bundle, tmp_path / "sure", {}, {}, attributes=sure, overwrite=False)
    config = write(tmp_path, old.path, judges, steps=20, eval_interval=20)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    saved = task.save(tmp_path / "model", overwrite=False)
    made = saved.training["editor"]
    assert (made["codes"], made["before"]) == (150, {"ground_truth_edits": 7})
    assert made["command"] == "stedit train finetune-editor"
    assert [name for name in saved.parts if saved.parts[name].sha256 != old.parts[name].sha256] == ["editor"]
    engine = Engine.from_pretrained(saved.path, device="cpu")
    networks = [AttributeNetwork(7, (8, 16)).eval() for _ in judges]
    for network, path in zip(networks, judges, strict=True):
        network.load_state_dict(load_file(path))

    def predict(codes: Tensor) -> Tensor:
        with torch.no_grad():
            rendered = engine.synthesise(codes).clamp(-1, 1)
            return torch.stack([network(rendered)[:, :5] > 0 for network in networks])

    codes = task.codes[task.held_out]
    shows, changes = [], []
    for place, index in enumerate(LABELS):
        some = codes[torch.arange(32 * place, 32 * place + 32) % len(codes)]
        present = engine.classify(some)[:, index] <= 0.5
        for given in (False, True):
            rows = present == given
            edited = engine.edit_by_label(
                some[rows], engine.attributes[index], strength=1.0 if given else -1.0, direction="transformer"
            )
            before, after = predict(some[rows]), predict(edited)
            others = ~task._groups[index]
            shows += (after[..., index] == given).flatten().tolist()
            changes += (after != before)[..., others].flatten().tolist()
    measured = read_metrics(tmp_path / "run")[-1]
    assert len(shows) == len(task.judges) * 96
    assert sum(shows) / len(shows) == pytest.approx(measured["val/success"], abs=0.03)
    assert sum(changes) / len(changes) == pytest.approx(measured["val/side_effects"], abs=0.02)


def test_proximity_weight_keeps_edits_near_the_former_ones(
    tmp_path: Path, model: Path, judges: tuple[str, ...]
) -> None:
    codes, before = torch.randn(20, 8, 16), Engine.from_pretrained(model, device="cpu")
    moved = []
    for weight in (0.0, 100.0):
        config = write(tmp_path, model, judges, steps=20, proximity_weight=weight)
        task, _ = train(lambda config=config: build(config), config, tmp_path / str(weight))
        after = Engine.from_pretrained(task.save(tmp_path / f"{weight}.model", overwrite=False).path, device="cpu")
        pairs = zip(answers(after, codes), answers(before, codes), strict=True)
        moved.append([(new - old).square().mean().item() for new, old in pairs])
    assert all(kept < 0.1 * free for free, kept in zip(*moved, strict=True))


def test_resumed_run_equals_the_unbroken_run(
    tmp_path: Path,
    model: Path,
    judges: tuple[str, ...],
    recording_monitor: Callable[..., Any],
    assert_same_state: Callable[..., Any],
) -> None:
    shutil.copytree(model, tmp_path / "model")
    config = write(tmp_path, tmp_path / "model", judges, steps=10, eval_interval=4)
    train(lambda: build(config), config, tmp_path / "whole")

    begun, outcome = train(lambda: build(config), config, tmp_path / "part", monitor=recording_monitor(stop=5))
    assert outcome.step == 5
    begun.save(tmp_path / "model", overwrite=True)  # the run's own model goes on with what was learned so far
    train(lambda: build(config), config, tmp_path / "part", resume=True)
    assert_same_state(tmp_path / "whole", tmp_path / "part")


def test_two_processes_end_with_the_same_weights(
    tmp_path: Path, model: Path, judges: tuple[str, ...], together: Callable[..., str], read_metrics: Callable[..., Any]
) -> None:
    weights = {"target_weight": 0.0, "preservation_weight": 10.0, "proximity_weight": 0.1, "learning_rate": 7e-3}
    config = write(tmp_path, model, judges, steps=40, eval_interval=20, **weights)
    script = tmp_path / "two.py"
    script.write_text(TWO_PROCESSES.format(config=repr(config), run=str(tmp_path / "run")))
    (first, moved), (second, _) = (line.split() for line in together(script).splitlines())
    assert first == second
    assert float(moved) > 1e-3
    last = read_metrics(tmp_path / "run")[-1]
    assert last["step"] == 40
    assert last["val/side_effects"] < last["val/side_effects_before"]


TWO_PROCESSES = """
import hashlib
import sys
import torch
from pathlib import Path
from stedit.training.editor.finetune import build
from stedit.training.editor.config import EditorFinetuneConfig
from stedit.training.loop import leave, train

task, _ = train(lambda: build({config}), {config}, Path({run!r}))
weights, before = (
    torch.nn.utils.parameters_to_vector(task.networks[name].parameters()).detach() for name in ("editor", "before")
)
line = hashlib.sha256(weights.numpy().tobytes()).hexdigest() + f" {{(weights - before).abs().max()}}\\n"
sys.stdout.write(line)  # at once, so that no line of the other process gets into it
leave()
"""


def test_judge_defaults_to_that_of_the_model(tmp_path: Path, model: Path, read_metrics: Callable[..., Any]) -> None:
    config = write(tmp_path, model, steps=2, val_fraction=0.0, synthetic_latents=50)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    assert len(task.judges) == 1
    assert len(task.training) == 250
    assert "val/loss" not in read_metrics(tmp_path / "run")[-1]
    assert task.sample() is None


def test_attribute_with_an_editor_of_its_own_is_left_out(tmp_path: Path, model: Path) -> None:
    bundle = Bundle.load(model)
    own = EditTransformer(EditorConfig(style_count=8, style_dim=16, heads=2, feedforward=32, labels=(0,)))
    parts = {f"editor-{bundle.attributes[0].name}": (own.config, own.state_dict())}
    both = with_parts(bundle, tmp_path / "both", parts, {}, overwrite=False)
    task = build(write(tmp_path, both.path))
    assert task.by_label.tolist() == [2, 3]
    assert task.by_reference.tolist() == [1, 2, 3, 4]


def test_attribute_whose_own_editor_needs_references_is_kept(tmp_path: Path, model: Path) -> None:
    bundle = Bundle.load(model)
    own = EditTransformer(EditorConfig(style_count=8, style_dim=16, heads=2, feedforward=32))
    parts = {f"editor-{bundle.attributes[0].name}": (own.config, own.state_dict())}
    both = with_parts(bundle, tmp_path / "both", parts, {}, overwrite=False)
    task = build(write(tmp_path, both.path))
    assert task.by_label.tolist() == list(LABELS)


def test_patience_may_keep_the_first_editor(tmp_path: Path, model: Path, judges: tuple[str, ...]) -> None:
    config = write(
        tmp_path, model, judges, steps=20, learning_rate=1.0, schedule="constant", eval_interval=2, patience=2
    )
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert (outcome.reason, outcome.step) == ("stopped", 4)
    first = task.before.networks.editors["editor"].state_dict()
    assert all(torch.equal(first[key], value) for key, value in task.best.network.state_dict().items())
    assert task.scalars["best"] == task._first["loss"]


def test_without_held_out_codes_the_last_weights_are_kept(tmp_path: Path, model: Path) -> None:
    """A share of a few codes may be none; patience has nothing to go by then."""
    config = write(tmp_path, model, steps=6, eval_interval=1, patience=2, val_fraction=0.1)
    LatentSet(tuple("abcd"), torch.randn(4, 8, 16)).save(tmp_path / "codes.safetensors", Bundle.load(model))
    task, outcome = train(lambda: build(config), config, tmp_path / "run")
    assert (outcome.reason, outcome.step) == ("done", 6)
    last = task.editor.state_dict()
    assert all(torch.equal(last[key], value) for key, value in task.best.network.state_dict().items())


def test_predict_resizes_images_for_the_judge(tmp_path: Path, model: Path) -> None:
    torch.manual_seed(3)
    config = JudgeConfig(attributes=5, widths=(8, 16), input_height=16, input_width=16)
    bundle = with_parts(
        Bundle.load(model), tmp_path / "small", {"judge": (config, Judge(config).state_dict())}, {}, overwrite=False
    )
    task = build(write(tmp_path, model, (str(bundle.path),)))
    codes, engine = torch.randn(4, 8, 16), Engine.from_pretrained(bundle.path, device="cpu")
    wanted = engine.predict_attributes(F.avg_pool2d(engine.synthesise(codes).clamp(-1, 1), 2))
    torch.testing.assert_close(task._predict(task.judges[0], codes).sigmoid(), wanted)


def test_judges_see_images_of_the_given_resolution(tmp_path: Path, model: Path, judges: tuple[str, ...]) -> None:
    task = build(write(tmp_path, model, judges, resolution=16))
    codes, generator = torch.randn(4, 8, 16), Engine.from_pretrained(model, device="cpu").networks.generator
    with torch.no_grad():
        wanted = task.judges[0](generator(codes, resolution=16).clamp(-1, 1))[:, :5]
        torch.testing.assert_close(task._predict(task.judges[0], codes), wanted)
        assert (task.judges[0](generator(codes).clamp(-1, 1))[:, :5] - wanted).abs().max() > 0.01
    for wrong in (24, 64):
        with pytest.raises(InputError, match=f"'tiny-32' does not render {wrong} px: choose a power of two up to 32"):
            build(write(tmp_path, model, judges, resolution=wrong))


def test_build_names_what_is_missing(tmp_path: Path, model: Path, tiny_bundle: Path) -> None:
    with pytest.raises(MissingPartError, match="'tiny-32' has no editor that has learned edits by label: train one"):
        build(write(tmp_path, tiny_bundle))
    bundle = Bundle.load(model)
    parts = {
        name: (type(network.config).from_dict(bundle.parts[name].config), bundle.read_part(name))
        for name, network in Engine.from_pretrained(model, device="cpu").networks.parts().items()
        if name != "judge"
    }
    blind = Bundle.save(
        tmp_path / "blind", name="blind", domain="", license="", attributes=bundle.attributes, parts=parts, readme=""
    )
    with pytest.raises(MissingPartError, match="'blind' has no judge to predict attributes: name one"):
        build(write(tmp_path, blind.path))
    config = write(tmp_path, model, val_fraction=0.5)
    LatentSet(("a", "b"), torch.randn(2, 8, 16)).save(tmp_path / "codes.safetensors", bundle)
    with pytest.raises(InputError, match="2 codes are too few"):
        build(config)


def test_judge_of_other_attributes_is_refused(tmp_path: Path, model: Path) -> None:
    bundle = Bundle.load(model)
    others = with_parts(
        bundle,
        tmp_path / "preservation",
        {},
        {},
        attributes=(*bundle.attributes[:-1], AttributeSpec("Attractive")),
        overwrite=False,
    )
    with pytest.raises(InputError, match=r"the judge .* predicts other attributes than the model knows"):
        build(write(tmp_path, model, (str(others.path),)))
    save_file(AttributeNetwork(4, (8, 16)).state_dict(), tmp_path / "few.safetensors")
    with pytest.raises(InputError, match=r"the judge .*few.safetensors predicts other attributes than the model knows"):
        build(write(tmp_path, model, (str(tmp_path / "few.safetensors"),)))
