"""Outputs say what they were made of: nothing stale is taken for done, and nobody else's file is replaced."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stedit import batch
from stedit.engine import Engine
from stedit.errors import OutputError
from stedit.imaging.files import Pixels, read_image, write_image
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.storage.latents import LatentCode
from stedit.storage.origin import LEDGER, Origin, digest_of, digest_of_file, note_origin, read_origin, seal

ORIGIN = Origin("1" * 32, "2" * 32, "3" * 32)


class Listener(batch.SilentReporter):
    def __init__(self) -> None:
        self.records: list[batch.Record] = []

    def record(self, record: batch.Record) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture(autouse=True)
def _pictures(face_image: Pixels) -> None:
    write_image("a.png", face_image)
    write_image("b.png", face_image[:, ::-1].copy())
    write_image("jane.png", face_image[::-1].copy())


def ending(request: batch.Request, engine: Engine, output: str, source: str = "a.png", **options: object) -> str:
    """What became of one input: done, skipped or failed."""
    heard = Listener()
    batch.run(request, [source], output=output, model=engine, reporter=heard, **options)  # type: ignore[arg-type]
    assert len(heard.records) == 1
    return heard.records[0].status


FORMATS = ("png", "jpg", "webp", "avif", "tif", "latent.safetensors")


@pytest.mark.parametrize("form", FORMATS)
def test_same_request_of_the_same_bytes_is_skipped_and_another_is_made(engine: Engine, form: str) -> None:
    output = Path(f"out.{form}")
    assert ending(batch.LabelEdit("smile"), engine, str(output)) == "done"
    first = output.read_bytes()
    assert not Path(LEDGER).exists()
    assert ending(batch.LabelEdit("smile"), engine, str(output)) == "skipped"
    assert ending(batch.LabelEdit("Smiling"), engine, str(output)) == "skipped"  # the same by another name
    assert output.read_bytes() == first
    assert ending(batch.LabelEdit("smile", [0.5]), engine, str(output)) == "done"
    assert output.read_bytes() != first
    assert ending(batch.LabelEdit("smile"), engine, str(output), overwrite=True) == "done"
    assert output.read_bytes() == first


def other_reference(engine: Engine) -> str:
    write_image("jane.png", read_image("jane.png")[:, ::-1].copy())
    return ending(batch.ReferenceEdit("smile", ["jane.png"]), engine, "out.png")


def other_source(engine: Engine) -> str:
    shutil.copy("b.png", "a.png")
    return ending(batch.ReferenceEdit("smile", ["jane.png"]), engine, "out.png")


def other_file(engine: Engine) -> str:
    return ending(batch.ReferenceEdit("smile", ["jane.png"]), engine, "out.png", source="b.png")


def other_seed(engine: Engine) -> str:
    rendering = batch.Rendering("random", 2)
    return ending(batch.ReferenceEdit("smile", ["jane.png"], rendering=rendering), engine, "out.png")


def other_command(engine: Engine) -> str:
    return ending(batch.Reconstruction(), engine, "out.png")


def other_faces(engine: Engine) -> str:
    photo = batch.PhotoOptions(align="never")
    return ending(batch.ReferenceEdit("smile", ["jane.png"], photo=photo), engine, "out.png")


def other_model(engine: Engine) -> str:
    parts = {name: part for name, part in engine.bundle.parts.items() if name != "judge"}
    changed = Engine(replace(engine.model, bundle=replace(engine.bundle, parts=parts)))
    return ending(batch.ReferenceEdit("smile", ["jane.png"]), changed, "out.png")


@pytest.mark.parametrize(
    "other", [other_reference, other_source, other_file, other_seed, other_command, other_faces, other_model]
)
def test_what_was_made_of_something_else_is_made_anew(engine: Engine, other: Callable[[Engine], str]) -> None:
    request = batch.ReferenceEdit("smile", ["jane.png"])
    assert ending(request, engine, "out.png") == "done"
    assert ending(request, engine, "out.png") == "skipped"
    assert other(engine) == "done"


def test_other_method_of_inversion_is_another_request(engine: Engine) -> None:
    assert ending(batch.InversionRequest(), engine, "out.latent.safetensors") == "done"
    hybrid = batch.InversionRequest("hybrid", InversionOptions(steps=2))
    assert ending(hybrid, engine, "out.latent.safetensors") == "done"
    assert ending(hybrid, engine, "out.latent.safetensors") == "skipped"


def retouched(path: Path) -> None:
    """As a program does that keeps what a file says of itself."""
    with Image.open(path) as image:
        image.load()
        kept = {name: image.info[name] for name in ("xmp", "exif") if name in image.info}
        pixels = np.array(image)
    pixels[:8, :8] = 255
    Image.fromarray(pixels).save(path, quality=95, **kept)


@pytest.mark.parametrize("form", ["png", "jpg", "webp"])
def test_files_of_others_are_never_replaced_unless_told(engine: Engine, form: str) -> None:
    output = Path(f"out.{form}")
    ending(batch.LabelEdit("smile"), engine, str(output))
    made = output.read_bytes()
    strangers = [b"kept", b"", made[:-20], made + b"x"]
    retouched(output)
    strangers.append(output.read_bytes())
    for stranger in strangers:
        output.write_bytes(stranger)
        heard = Listener()
        batch.run(batch.LabelEdit("smile"), ["a.png"], output=output, model=engine, reporter=heard)
        assert isinstance(heard.records[0].error, OutputError)
        assert str(heard.records[0].error) == (
            f"{output} exists, and is not, or no longer, what stedit wrote there: name another output, or replace it"
        )
        assert heard.records[0].error.argument == "overwrite"
        assert output.read_bytes() == stranger
        assert ending(batch.LabelEdit("smile"), engine, str(output), overwrite=True) == "done"
        assert output.read_bytes() == made


def test_stranger_costs_itself_only(engine: Engine) -> None:
    Path("out").mkdir()
    Path("out/a.smile.png").write_bytes(b"kept")
    summary = batch.run(batch.LabelEdit("smile"), ["a.png", "b.png"], output="out", model=engine)
    assert (summary.done, summary.failed) == (1, 1)
    assert Path("out/a.smile.png").read_bytes() == b"kept"


def test_file_that_comes_while_a_run_goes_on_is_not_replaced(engine: Engine) -> None:
    request = batch.LabelEdit("smile")
    plan = batch.plan_request(request, ["a.png", "b.png"], engine.bundle, output="out")
    Path("out").mkdir()
    Path("out/a.smile.png").write_bytes(b"kept")
    summary = batch.run_plans([plan], model=engine, reporter=Listener())
    assert (summary.done, summary.failed) == (1, 1)
    assert Path("out/a.smile.png").read_bytes() == b"kept"


def test_without_a_mark_the_folder_knows_what_was_made(engine: Engine) -> None:
    quiet = batch.LabelEdit("smile", photo=batch.PhotoOptions(provenance=False))
    assert ending(quiet, engine, "out.png") == "done"
    assert b"stedit" not in Path("out.png").read_bytes()
    assert ending(quiet, engine, "out.png") == "skipped"
    assert ending(replace(quiet, strengths=(2.0,)), engine, "out.png") == "done"
    record = json.loads(Path(LEDGER).read_text().splitlines()[-1])
    assert (record["file"], record["source"]) == ("out.png", digest_of_file(Path("a.png")))
    Path(LEDGER).unlink()
    assert ending(quiet, engine, "out.png") == "failed"


def test_animation_has_its_record_beside_it(engine: Engine) -> None:
    morph = batch.Mix(Path("b.png"), (0.0, 0.5, 1.0))
    for name in ("out.gif", "more.gif"):
        assert ending(morph, engine, name) == "done"
        assert ending(morph, engine, name) == "skipped"
        assert ending(replace(morph, strengths=(0.0, 0.3, 1.0)), engine, name) == "done"


def test_torn_line_costs_no_other_record() -> None:
    for name in ("one", "two"):
        Path(name).write_bytes(name.encode())
    note_origin(Path("one"), b"one", ORIGIN)
    with Path(LEDGER).open("ab") as ledger:
        ledger.write(b'{"file": "x", "dig')
    note_origin(Path("two"), b"two", ORIGIN)
    assert [read_origin(Path(name)) for name in ("one", "two")] == [ORIGIN, ORIGIN]
    Path("one").write_bytes(b"other")
    assert read_origin(Path("one")) is None


def test_seal_holds_for_every_byte() -> None:
    data = f"before {ORIGIN.text} after".encode()
    sealed = seal(data)
    assert sealed is not None
    assert seal(sealed) is None  # there is nothing to complete
    Path("file").write_bytes(sealed)
    assert read_origin(Path("file")) == ORIGIN
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        Path("file").write_bytes(changed)
        assert read_origin(Path("file")) is None, place
    assert seal(b"nothing") is None
    assert seal(data + data) is None
    assert digest_of(b"") == "e3b0c44298fc1c149afbf4c8996fb924"  # the first half of what sha256sum says


def test_output_of_an_output_has_a_record_of_its_own(engine: Engine) -> None:
    ending(batch.LabelEdit("smile"), engine, "first.png")
    assert ending(batch.LabelEdit("bangs"), engine, "second.png", source="first.png") == "done"
    origin = read_origin(Path("second.png"))
    assert origin is not None
    assert origin.source == digest_of_file(Path("first.png"))
    assert ending(batch.LabelEdit("bangs"), engine, "second.png", source="first.png") == "skipped"


def test_code_without_its_tuning_is_made_anew(engine: Engine) -> None:
    request = batch.InversionRequest(tuning=TuningOptions(steps=2))
    assert ending(request, engine, "a.latent.safetensors") == "done"
    assert ending(request, engine, "a.latent.safetensors") == "skipped"
    Path("a.tuning.safetensors").unlink()
    assert ending(request, engine, "a.latent.safetensors") == "done"
    Path("a.latent.safetensors").unlink()
    Path("a.tuning.safetensors").write_bytes(b"kept")
    assert ending(request, engine, "a.latent.safetensors") == "failed"
    assert Path("a.tuning.safetensors").read_bytes() == b"kept"


def test_pictures_of_one_stem_are_both_done(engine: Engine) -> None:
    Path("in").mkdir()
    shutil.copy("a.png", "in/a.png")
    Image.open("b.png").save("in/a.jpg")
    summary = batch.run(batch.Reconstruction(), ["in"], model=engine)
    assert summary.done == 2
    assert sorted(path.name for path in Path("in").iterdir()) == [
        "a.jpg",
        "a.jpg.reconstruct.png",
        "a.png",
        "a.png.reconstruct.png",
    ]
    assert batch.run(batch.Reconstruction(), ["in"], model=engine).skipped == 2


def test_name_too_long_and_pipes_cost_themselves_only(engine: Engine) -> None:
    Path("in").mkdir()
    shutil.copy("a.png", "in/a.png")
    long = "b" * 247 + ".png"
    shutil.copy("a.png", f"in/{long}")
    os.mkfifo("in/pipe.png")
    heard = Listener()
    plan = batch.plan_request(batch.LabelEdit("smile"), ["in"], engine.bundle)
    assert plan.inputs.no_files == (Path("in/pipe.png"),)
    summary = batch.run_plans([plan], model=engine, reporter=heard)
    assert (summary.done, summary.failed) == (1, 1)
    assert "would be too long" in str(heard.records[0].error)


def test_pairs_of_strengths_edit_one_after_the_other(engine: Engine) -> None:
    both = batch.LabelEdit(["smile", "bangs"], [(0.5, 2.0)])
    assert both.suffix(engine.bundle) == "smile+bangs@0.5+2"
    assert ending(both, engine, "both.latent.safetensors") == "done"
    ending(batch.LabelEdit("smile", [0.5]), engine, "first.latent.safetensors")
    ending(batch.LabelEdit("bangs", [2.0]), engine, "then.latent.safetensors", source="first.latent.safetensors")
    load = LatentCode.load
    assert np.allclose(load("both.latent.safetensors").w, load("then.latent.safetensors").w, atol=1e-6)
    assert not np.allclose(load("both.latent.safetensors").w, load("first.latent.safetensors").w, atol=1e-3)
