"""A generator learns alone to draw codes, those that the editor makes among them, while all else of the model stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stedit.bundle import Bundle
from stedit.engine import Engine
from stedit.errors import InputError, MissingPartError, UsageError
from stedit.imaging.files import write_image
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.training import checkpoint, drawing, generator
from stedit.training.codes import CodeSet
from stedit.training.drawing import Drawing
from stedit.training.generator_config import GeneratorTraining
from stedit.training.loop import train

COUNT = 24


@pytest.fixture
def config(tmp_path: Path, tiny_bundle: Path) -> GeneratorTraining:
    """A config for 24 codes, each with a picture of one colour, of which the last eight are edits of the first."""
    codes = torch.randn(COUNT, 8, 16)
    codes[16:] = codes[:8] + 0.1 * torch.randn(8, 8, 16)  # what an encoder finds in the edited pictures
    (tmp_path / "pictures").mkdir()
    for number, colour in enumerate(np.random.default_rng(0).integers(0, 255, (COUNT, 3))):
        write_image(tmp_path / "pictures" / f"p{number:02}.png", np.full((32, 32, 3), colour, np.uint8))
    names = tuple(f"p{number:02}" for number in range(COUNT))
    CodeSet(names, codes).save(tmp_path / "codes.safetensors", Bundle.load(tiny_bundle))
    rows = [
        {"source": names[k], "reference": names[8 + k], "edited": names[16 + k], "attribute": "Bangs"} for k in range(8)
    ]
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return GeneratorTraining(
        mode="codes",
        start=str(tiny_bundle),
        data=(str(tmp_path / "pictures"),),
        codes=(str(tmp_path / "codes.safetensors"),),
        edits=str(tmp_path / "edits.jsonl"),
        steps=60,
        batch_size=8,
        learning_rate=2e-2,
        average_images=30,
        perceptual="none",
        sample_every=30,
        checkpoint_every=1000,
        device="cpu",
    )


def missed(engine: Engine, codes: Tensor, images: Tensor) -> float:
    """How far pictures of codes are from `images`."""
    drawn = cast(Generator, engine.networks["generator"])
    return F.l1_loss(drawn(codes), images).item()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_codes_of_pictures_and_of_edits_are_learned(
    config: GeneratorTraining, tmp_path: Path, tiny_bundle: Path, precision: Literal["float32", "bfloat16"]
) -> None:
    config = replace(config, precision=precision)
    task, _ = train(lambda: generator.build(config), config, tmp_path / "run")
    assert isinstance(task, Drawing)
    old, new = Bundle.load(tiny_bundle), task.save(tmp_path / "model", overwrite=False)
    assert set(new.parts) == set(old.parts)
    assert [name for name in new.parts if new.parts[name].sha256 != old.parts[name].sha256] == ["generator"]
    assert new.fingerprint != old.fingerprint
    assert new.training["generator"]["true_edits"] == 8
    without = replace(config, edits="")
    task_without, _ = train(lambda: generator.build(without), without, tmp_path / "without")
    plain = task_without.save(tmp_path / "plain", overwrite=False)
    before, after, untold = (Engine.from_pretrained(path, device="cpu") for path in (tiny_bundle, new.path, plain.path))
    images, codes = task.pictures.images(range(COUNT)), task.codes
    edited = before.edit_by_reference(codes[:8], codes[8:16], "bangs")
    assert missed(after, codes[:16], images[:16]) < 0.5 * missed(before, codes[:16], images[:16])
    assert missed(after, edited, images[16:]) < 0.5 * missed(before, edited, images[16:])
    assert missed(after, edited, images[16:]) < 0.8 * missed(untold, edited, images[16:])


def test_an_edit_by_label_counts_where_it_comes_near_to_the_truth(
    config: GeneratorTraining, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    plain = cast(EditTransformer, engine.networks["editor"])
    knowing = EditTransformer(replace(plain.config, labels=(2,)))
    knowing.load_state_dict({**plain.state_dict(), "label_tokens": knowing.label_tokens.detach()})
    engine = replace(engine, networks={**engine.networks, "editor": knowing.eval()})
    codes = torch.randn(COUNT, 8, 16)
    lacks = engine.classify(codes[:8])[:, 2] < 0.5
    labelled = torch.stack(
        [
            engine.edit_by_label(one[None], "bangs" if without else "no-bangs")[0]
            for one, without in zip(codes[:8], lacks, strict=True)
        ]
    )
    codes[16:20] = labelled[:4] + 1e-3
    CodeSet(tuple(f"p{number:02}" for number in range(COUNT)), codes).save(
        tmp_path / "codes.safetensors", engine.bundle
    )
    rows = [json.loads(line) for line in (tmp_path / "edits.jsonl").read_text().splitlines()]
    rows = [{**row, "present": bool(without)} for row, without in zip(rows, lacks, strict=True)]
    rows.append({"source": "p00", "reference": "p08", "edited": "p16", "attribute": "Bangs"})  # which way is not said
    (tmp_path / "edits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Drawing(config, engine)
    referred = engine.edit_by_reference(codes[:8], codes[8:16], "bangs")
    for share, expected in ((0.0, referred), (1.0, torch.cat([labelled[:4], referred[4:]]))):
        monkeypatch.setattr(drawing, "LABELLED", share)
        torch.testing.assert_close(task._edited(torch.arange(9)), torch.cat([expected, referred[:1]]))


def test_codes_are_found_where_none_are_given(config: GeneratorTraining, tmp_path: Path) -> None:
    config = replace(config, codes=(), steps=2, held_out=3, sample_every=1)
    task, _ = train(lambda: generator.build(config), config, tmp_path / "run")
    assert isinstance(task, Drawing)
    engine = Engine.from_pretrained(config.start, device="cpu")
    pixels = np.stack([task.pictures.read(index) for index in range(COUNT)])
    np.testing.assert_allclose(task.codes, engine.invert(pixels), atol=1e-4)
    assert (len(task.training), len(task.held_out), len(task.edits)) == (21, 3, 7)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    errors = [line["held_out/l2"] for line in lines if "held_out/l2" in line]
    images = task.pictures.images(task.held_out.tolist())
    with torch.no_grad():
        drawn = task.average(task.codes[task.held_out]).clamp(-1, 1)
    assert errors[-1] == pytest.approx(F.mse_loss(drawn, images).item(), rel=1e-4)


def test_resuming_gives_the_weights_of_an_unbroken_run(config: GeneratorTraining, tmp_path: Path) -> None:
    config = replace(config, steps=6, checkpoint_every=3)
    whole, _ = train(lambda: generator.build(config), config, tmp_path / "whole")
    first = replace(config, steps=3)
    train(lambda: generator.build(first), first, tmp_path / "parts")
    assert checkpoint.checkpoints(tmp_path / "parts")
    resumed, _ = train(lambda: generator.build(config), config, tmp_path / "parts", resume=True)
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, resumed.networks[name].state_dict()[key]), (name, key)


def test_a_picture_that_cannot_be_read_is_told_and_does_no_harm(config: GeneratorTraining, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "p17.png").write_bytes(b"")

    class Watcher:
        notes: tuple[str, ...] = ()

        def advance(self, *_: object) -> None: ...

        def note(self, text: str) -> None:
            self.notes = (*self.notes, text)

    watcher = Watcher()
    task, _ = train(lambda: generator.build(config), config, tmp_path / "run", monitor=watcher)
    assert isinstance(task, Drawing)
    assert "1 of 24 pictures cannot be read, such as p17.png" in watcher.notes
    assert watcher.notes[0] == "there is no perceptual loss"
    before, images = Engine.from_pretrained(config.start, device="cpu"), task.pictures.images(range(17))
    after = replace(before, networks={**before.networks, "generator": task.average})
    assert missed(after, task.codes[:17], images) < 0.5 * missed(before, task.codes[:17], images)


def test_wrong_requests(config: GeneratorTraining, tmp_path: Path, tiny_bundle: Path) -> None:
    for keys, message in (
        ({"start": ""}, "mode is codes, but start names no model"),
        ({"mode": "joint"}, "codes is for the mode codes, and mode is joint"),
        ({"mode": "adversarial", "codes": ()}, "edits is for the mode codes, and mode is adversarial"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(config, **keys).check()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="perceptual is discriminator, but there is none"):
        generator.build(replace(config, perceptual="discriminator"))
    with pytest.raises(InputError, match="24 of 24 codes cannot be held out"):
        generator.build(replace(config, held_out=COUNT))
    (tmp_path / "pictures" / "p03.png").unlink()
    with pytest.raises(InputError, match="1 of 24 codes have no picture in data, such as p03"):
        generator.build(config)
    bare = Bundle.load(tiny_bundle)
    parts = {
        "generator": (Engine.from_pretrained(tiny_bundle).networks["generator"].config, bare.read_part("generator"))
    }
    Bundle.save(tmp_path / "bare", name="bare", domain="", license="MIT", parts=parts, readme="")  # type: ignore[arg-type]
    with pytest.raises(MissingPartError, match="'bare' has no editor, whose codes to draw: leave edits out"):
        generator.build(replace(config, start=str(tmp_path / "bare")))
