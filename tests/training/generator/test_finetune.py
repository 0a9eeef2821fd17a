"""A generator alone learns to render codes, also those that the editor makes, while all else of the model stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError, UsageError
from stedit.imaging.files import decode_image, write_image
from stedit.models.attribute_network import AttributeNetwork
from stedit.models.edit_transformer import EditTransformer
from stedit.storage.bundle import Bundle
from stedit.storage.latents import LatentCode
from stedit.training import checkpoint
from stedit.training.data.latents import LatentSet
from stedit.training.generator import finetune
from stedit.training.generator.config import GeneratorFinetuneConfig
from stedit.training.generator.finetune import GeneratorFinetuneTask, build
from stedit.training.loop import train
from stedit.training.run import Run

COUNT = 24


@pytest.fixture
def config(tmp_path: Path, tiny_bundle: Path) -> GeneratorFinetuneConfig:
    """A config for 24 codes, each with a picture of one colour, of which the last eight are edits of the first."""
    codes = torch.randn(COUNT, 8, 16)
    codes[16:] = codes[:8] + 0.1 * torch.randn(8, 8, 16)  # what an encoder finds in the edited pictures
    (tmp_path / "pictures").mkdir()
    for number, colour in enumerate(np.random.default_rng(0).integers(0, 255, (COUNT, 3))):
        write_image(tmp_path / "pictures" / f"p{number:02}.png", np.full((32, 32, 3), colour, np.uint8))
    names = tuple(f"p{number:02}" for number in range(COUNT))
    LatentSet(names, codes).save(tmp_path / "codes.safetensors", Bundle.load(tiny_bundle))
    rows = [
        {"source": names[k], "reference": names[8 + k], "edited": names[16 + k], "attribute": "Bangs"} for k in range(8)
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GeneratorFinetuneConfig(
        init_from=str(tiny_bundle),
        data=(str(tmp_path / "pictures"),),
        codes=(str(tmp_path / "codes.safetensors"),),
        edits=str(tmp_path / "edits.jsonl"),
        steps=60,
        batch_size=8,
        learning_rate=2e-2,
        ema_images=30,
        perceptual="none",
        eval_interval=30,
        checkpoint_interval=1000,
        device="cpu",
    )


def missed(engine: Engine, codes: Tensor, images: Tensor) -> float:
    """How far pictures of codes are from `images`."""
    rendered = engine.networks.generator
    return F.l1_loss(rendered(codes), images).item()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_reduces_errors_of_images_and_of_edits(
    config: GeneratorFinetuneConfig, tmp_path: Path, tiny_bundle: Path, precision: Literal["float32", "bfloat16"]
) -> None:
    config = replace(config, precision=precision)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    old, new = Bundle.load(tiny_bundle), task.save(tmp_path / "model", overwrite=False)
    assert set(new.parts) == set(old.parts)
    assert [name for name in new.parts if new.parts[name].sha256 != old.parts[name].sha256] == ["generator"]
    assert new.fingerprint != old.fingerprint
    assert new.derived_from == old.fingerprint
    assert new.training["generator"]["ground_truth_edits"] == 8
    without = replace(config, edits="")
    task_without, _ = train(lambda: build(without), without, tmp_path / "without")
    plain = task_without.save(tmp_path / "plain", overwrite=False)
    before, after, untold = (Engine.from_pretrained(path, device="cpu") for path in (tiny_bundle, new.path, plain.path))
    images, codes = task.data.images(range(COUNT)), task.codes
    edited = before.edit_by_reference(codes[:8], codes[8:16], "bangs")
    assert missed(after, codes[:16], images[:16]) < 0.5 * missed(before, codes[:16], images[:16])
    assert missed(after, edited, images[16:]) < 0.5 * missed(before, edited, images[16:])
    assert missed(after, edited, images[16:]) < 0.8 * missed(untold, edited, images[16:])


def test_edits_by_label_are_used_where_near_to_the_truth(
    config: GeneratorFinetuneConfig, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    plain = engine.networks.editors["editor"]
    knowing = EditTransformer(replace(plain.config, labels=(2,)))
    knowing.load_state_dict({**plain.state_dict(), "label_tokens": knowing.label_tokens.detach()})
    engine = Engine(engine.model.with_networks(editors={"editor": knowing.eval()}))
    codes = torch.randn(COUNT, 8, 16)
    lacks = engine.classify(codes[:8])[:, 2] < 0.5
    labelled = torch.stack(
        [
            engine.edit_by_label(one[None], "bangs" if without else "no-bangs")[0]
            for one, without in zip(codes[:8], lacks, strict=True)
        ]
    )
    codes[16:20] = labelled[:4] + 1e-3
    LatentSet(tuple(f"p{number:02}" for number in range(COUNT)), codes).save(
        tmp_path / "codes.safetensors", engine.bundle
    )
    rows = [json.loads(line) for line in (tmp_path / "edits.jsonl").read_text().splitlines()]
    rows = [{**row, "present": bool(without)} for row, without in zip(rows, lacks, strict=True)]
    rows.append({"source": "p00", "reference": "p08", "edited": "p16", "attribute": "Bangs"})  # which way is not said
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = GeneratorFinetuneTask(config, engine)
    referred = engine.edit_by_reference(codes[:8], codes[8:16], "bangs")
    for share, expected in ((0.0, referred), (1.0, torch.cat([labelled[:4], referred[4:]]))):
        monkeypatch.setattr(finetune, "LABELLED", share)
        torch.testing.assert_close(task._edited(torch.arange(9)), torch.cat([expected, referred[:1]]))


def test_adversarial_loss_adds_texture_that_codes_lack(config: GeneratorFinetuneConfig, tmp_path: Path) -> None:
    """Pictures are noise around a colour: the mean of all they could be is the colour alone."""
    rng = np.random.default_rng(1)
    for path in sorted((tmp_path / "pictures").iterdir()):
        noisy = decode_image(path).pixels / 2 + 64 + rng.normal(0, 25, (32, 32, 1))
        write_image(path, np.clip(noisy, 0, 255).astype(np.uint8))

    def detail(images: Tensor) -> float:
        return (images - F.avg_pool2d(images, 5, 1, 2))[..., 2:-2, 2:-2].std().item()

    rendered = []
    for weight in (0.0, 0.8):
        keys = replace(
            config,
            adversarial_weight=weight,
            r1_gamma=0.5,
            r1_interval=8,
            augmentation="none",
            edits="",
            image_weight=4.0,
            steps=400 if weight else 100,
            ema_images=100,
        )
        task, _ = train(lambda keys=keys: build(keys), keys, tmp_path / f"run{weight}")
        with torch.no_grad():
            rendered.append(task.average(task.codes))
    real = task.data.images(range(COUNT))
    without, judged = rendered
    assert detail(without) < 0.1 * detail(real)
    assert 0.25 * detail(real) < detail(judged) < 1.5 * detail(real)
    colours, drawn_colours = real.mean(dim=(2, 3)), judged.mean(dim=(2, 3))
    assert F.l1_loss(drawn_colours, colours) < 0.85 * F.l1_loss(drawn_colours.roll(1, 0), colours)


def test_training_without_codes_inverts_the_images(
    config: GeneratorFinetuneConfig, tmp_path: Path, read_metrics: Callable[..., Any]
) -> None:
    config = replace(config, codes=(), steps=2, val_images=3, eval_interval=1)
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    engine = Engine.from_pretrained(config.init_from, device="cpu")
    pixels = np.stack([task.data.read(index)[1] for index in range(COUNT)])
    np.testing.assert_allclose(task.codes, engine.invert(pixels), atol=1e-4)
    assert (len(task.training), len(task.held_out), len(task.edits)) == (21, 3, 7)
    lines = read_metrics(tmp_path / "run")
    errors = [line["val/l2"] for line in lines if "val/l2" in line]
    images = task.data.images(task.held_out.tolist())
    with torch.no_grad():
        rendered = task.average(task.codes[task.held_out]).clamp(-1, 1)
    assert errors[-1] == pytest.approx(F.mse_loss(rendered, images).item(), rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_resumed_run_equals_the_unbroken_run(
    config: GeneratorFinetuneConfig, tmp_path: Path, weight: float, read_metrics: Callable[..., Any]
) -> None:
    for name in ("first", "second"):
        save_file(AttributeNetwork(2, widths=(4, 8)).state_dict(), tmp_path / f"{name}.safetensors")
    config = replace(
        config,
        steps=6,
        checkpoint_interval=3,
        log_interval=1,
        adversarial_weight=weight,
        adversarial_start=1,
        r1_interval=2,
        perceptual="judge",
        judge=(str(tmp_path / "first.safetensors"), str(tmp_path / "second.safetensors")),
        perceptual_shift=2,
    )
    whole, _ = train(lambda: build(config), config, tmp_path / "whole")
    first = replace(config, steps=3)
    train(lambda: build(first), first, tmp_path / "parts")
    assert checkpoint.checkpoints(tmp_path / "parts")
    resumed, _ = train(lambda: build(config), config, tmp_path / "parts", resume=True)
    assert ("discriminator" in whole.networks) == bool(weight)
    lines = read_metrics(tmp_path / "whole")
    judged = [line["step"] for line in lines if "adversarial" in line]
    assert judged == ([line["step"] for line in lines][1:] if weight else [])
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks[name].state_dict()[key]), (name, key)


def test_unreadable_image_is_replaced_by_its_neighbour_and_its_code(
    config: GeneratorFinetuneConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recording_monitor: Callable[..., Any],
) -> None:
    pixels = [decode_image(tmp_path / "pictures" / f"p{number:02}.png").pixels for number in range(COUNT)]
    for number in (4, 17):  # the latter is the picture of an edit
        (tmp_path / "pictures" / f"p{number:02}.png").write_bytes(b"")
    rendered: list[Tensor] = []
    wanted: list[Tensor] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        wanted.extend(target)
        return F.l1_loss(output, target)

    monkeypatch.setattr(finetune, "multiscale_l1", loss)
    config, monitor = replace(config, steps=12, val_images=4, eval_interval=12), recording_monitor()

    def build_and_listen() -> GeneratorFinetuneTask:
        task = build(config)
        task.generator.register_forward_pre_hook(lambda _, inputs: rendered.extend(inputs[0]))
        return task

    task, _ = train(build_and_listen, config, tmp_path / "run", monitor=monitor)
    assert monitor.notes[0] == "there is no perceptual loss"
    assert any("of 24 images cannot be read, such as " in note and "p04.png" in note for note in monitor.notes)
    engine, codes = task.engine, task.codes
    edited = engine.edit_by_reference(codes[:8], codes[8:16], "bangs")
    found = set()
    assert len(rendered) == len(wanted) == 96
    for code, image in zip(rendered, wanted, strict=True):
        shown = ((image.permute(1, 2, 0) + 1) * 127.5).round().numpy()
        number = next(k for k in range(COUNT) if np.array_equal(shown, pixels[k]))
        by_edit = number >= 16 and torch.allclose(code, edited[number - 16], atol=1e-4)
        assert by_edit or torch.equal(code, codes[number])
        found.add((number, by_edit))
    assert {number for number, _ in found} & {4, 17} == set()
    assert {by_edit for _, by_edit in found} == {True, False}


def test_unreadable_held_out_image_does_not_change_the_figures(config: GeneratorFinetuneConfig, tmp_path: Path) -> None:
    config = replace(config, val_images=4, steps=1, eval_interval=1)
    whole = build(config)
    first, second = whole.held_out[:2].tolist()
    (tmp_path / "pictures" / f"p{first:02}.png").write_bytes(b"")
    task, _ = train(lambda: build(config), config, tmp_path / "run")
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    chosen = [second, *task.held_out[1:].tolist()]
    with torch.no_grad():
        expected = F.mse_loss(task.average(task.codes[chosen]).clamp(-1, 1), task.data.images(chosen))
    assert line["val/l2"] == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, [2, 2, 0, 0]), (0.2, [2, 0, 0, 0]), (1.0, [2, 2, 2, 2]), (0.0, [0] * 4)]
)
def test_edits_of_a_batch_are_shared_by_processes(
    config: GeneratorFinetuneConfig, share: float, expected: list[int]
) -> None:
    config = replace(config, edited_fraction=share)
    task = build(config)
    runs = [SimpleNamespace(process=process, share=2) for process in range(4)]
    assert [task._count_edited(cast(Run, run)) for run in runs] == expected


def test_images_of_equal_names_are_matched_by_order(config: GeneratorFinetuneConfig, tmp_path: Path) -> None:
    """Folders of several people, whose pictures are numbered alike, need no codes with names."""
    for number in range(6):
        (tmp_path / "people" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        write_image(
            tmp_path / "people" / "ab"[number % 2] / f"{number // 2}.png", np.full((32, 32, 3), 40 * number, np.uint8)
        )
    task = build(replace(config, data=(str(tmp_path / "people"),), codes=(), edits=""))
    pixels = np.stack([task.data.read(index)[1] for index in range(6)])
    assert pixels[:, 0, 0, 0].tolist() == [0, 80, 160, 40, 120, 200]
    np.testing.assert_allclose(task.codes, task.engine.invert(pixels), atol=1e-4)
    # where latent files lie beside the pictures, they are the codes, each of its own picture
    latents = {number: task.codes[number - 2].numpy() for number in (7, 2)}
    bundle = task.engine.bundle
    for number, w in latents.items():
        LatentCode(w, bundle.name, bundle.fingerprint).save(tmp_path / "pictures" / f"p{number:02}.latent.safetensors")
    task = build(replace(config, codes=(), edits=""))
    assert list(task.data.ids) == ["p02", "p07"]
    np.testing.assert_allclose(task.codes, np.stack([latents[2], latents[7]]), atol=1e-6)
    write_image(tmp_path / "pictures" / "p01.jpg", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"p01\.jpg and .*p01\.png share a name"):
        build(config)


def test_build_refuses_wrong_requests(config: GeneratorFinetuneConfig, tmp_path: Path, tiny_bundle: Path) -> None:
    for keys, message in (
        ({"init_from": ""}, "init_from is empty: name the model"),
        ({"data": ()}, "data is empty"),
        ({"perceptual": "discriminator"}, "that of patches has no features"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config, **keys).check()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="perceptual is lpips, but lpips_backbone names no file"):
        build(replace(config, perceptual="lpips"))
    with pytest.raises(InputError, match="24 of 24 codes cannot be held out"):
        build(replace(config, val_images=COUNT))
    (tmp_path / "pictures" / "p03.png").unlink()
    with pytest.raises(InputError, match="1 of 24 codes have no image in data, such as p03"):
        build(config)
    rows = [{"source": "p00", "reference": "p01", "edited": "p02", "attribute": "Smiling"}]
    (tmp_path / "edits.jsonl").write_text(json.dumps(rows[0]))
    bare = Bundle.load(tiny_bundle)
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    own = Engine(engine.model.with_networks(editors={"editor-Bangs": engine.networks.editors["editor"]}))
    write_image(tmp_path / "pictures" / "p03.png", np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(MissingPartError, match="has no editor for Smiling: it has those for Bangs"):
        GeneratorFinetuneTask(config, own)
    parts = {"generator": (Engine.from_pretrained(tiny_bundle).networks.generator.config, bare.read_part("generator"))}
    Bundle.save(tmp_path / "bare", name="bare", domain="", license="MIT", parts=parts, readme="")  # type: ignore[arg-type]
    with pytest.raises(MissingPartError, match="'bare' has no classifier, which names attributes: leave edits out"):
        build(replace(config, init_from=str(tmp_path / "bare")))
