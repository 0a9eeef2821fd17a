"""The batch engine from Python: the same files as the command line writes, and what a reporter hears."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stedit import Engine, batch
from stedit.batch.codes import read_codes
from stedit.batch.inputs import Source
from stedit.errors import AttributeNameError, ImageError, InputError, UsageError
from stedit.imaging.files import Pixels, read_image, write_image
from stedit.inversion.options import InversionOptions
from stedit.models.config import EncoderConfig
from stedit.models.style_transformer import StyleTransformer
from stedit.storage.latents import LatentCode


class Listener(batch.SilentReporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.records: list[batch.Record] = []
        self.calls: list[str] = []

    def record(self, record: batch.Record) -> None:
        self.records.append(record)
        self.calls.append(f"record {Path(record.input).name} {record.status}")

    def planned(self, plan: batch.Plan) -> None:
        self.calls.append(f"planned {len(plan.jobs)}")

    def loaded(self, engine: Engine | None) -> None:
        self.calls.append(f"loaded {engine.bundle.name}")

    def note(self, text: str) -> None:
        self.calls.append(f"note {text}")

    def progress(self, state: str, done: float = 0.0) -> None:  # noqa: ARG002
        self.calls.append(f"progress {state}")


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture
def photos(face_image: Pixels) -> list[Pixels]:
    """`photos/`: a.png, deeper/b.png, and broken.png; gives what the two hold."""
    Path("photos/deeper").mkdir(parents=True)
    images = [face_image, np.ascontiguousarray(face_image[:, ::-1])]
    write_image("photos/a.png", images[0])
    write_image("photos/deeper/b.png", images[1])
    Path("photos/broken.png").touch()
    return images


def test_edit_of_a_folder_is_the_engines_edit_of_each(engine: Engine, photos: list[Pixels]) -> None:
    request = batch.LabelEdit("smile", rendering=batch.Rendering("none"))
    summary = batch.run(request, ["photos"], output="out", recursive=True, model=engine, batch_size=1)
    assert (summary.done, summary.failed, summary.skipped, summary.untried) == (2, 1, 0, 0)
    for image, name in zip(photos, ("out/a.smile.png", "out/deeper/b.smile.png"), strict=True):
        edited = engine.edit_by_label(engine.invert(image), "smile")
        assert np.array_equal(read_image(name), engine.synthesise(edited, noise="none")[0])


def test_reporter_hears_of_every_input_once(engine: Engine, photos: list[Pixels]) -> None:
    del photos
    batch.run(batch.Reconstruction(), ["photos/a.png"], model=engine)
    heard = Listener()
    batch.run(batch.Reconstruction(), ["photos"], recursive=True, model=engine, reporter=heard)
    assert heard.calls == [
        "record a.png skipped",
        "planned 2",
        "loaded tiny-32",
        "record broken.png failed",
        "record b.png done",
    ]
    assert isinstance(heard.records[1].error, ImageError)
    assert heard.records[2].output == "photos/deeper/b.reconstruct.png"
    assert heard.records[2].seconds > 0


def test_model_is_not_loaded_when_there_is_nothing_to_do(tiny_bundle: Path, photos: list[Pixels]) -> None:
    del photos
    heard = Listener()
    Path("photos/broken.png").unlink()
    batch.run(batch.InversionRequest(), ["photos"], model=tiny_bundle, device="cpu")
    summary = batch.run(batch.InversionRequest(), ["photos"], model=tiny_bundle, device="abacus", reporter=heard)
    assert (summary.done, summary.skipped) == (0, 1)
    assert heard.calls == ["record a.png skipped", "planned 0"]


def test_inversion_reports_its_steps_and_details(engine: Engine, photos: list[Pixels]) -> None:
    del photos
    heard = Listener()
    request = batch.InversionRequest("hybrid", InversionOptions(steps=2, losses={"l2": 1.0}))
    batch.run(request, ["photos/a.png"], output="a.latent.safetensors", model=engine, reporter=heard)
    assert "note hybrid: at most 2 steps in w+, on l2" in heard.calls
    assert any(call.startswith("progress step 2 of 2, loss ") for call in heard.calls)
    assert heard.records[0].details["steps"] == 2
    assert heard.records[0].summary.startswith("hybrid: 2 steps, loss ")
    assert LatentCode.load("a.latent.safetensors").method == "hybrid"


def test_classification_writes_nothing_and_reports_probabilities(engine: Engine, photos: list[Pixels]) -> None:
    before = sorted(Path().rglob("*"))
    heard = Listener()
    assert batch.run(batch.Classification(), ["photos/a.png"], model=engine, reporter=heard).done == 1
    assert sorted(Path().rglob("*")) == before
    expected = dict(zip(engine.attributes, engine.classify(engine.invert(photos[0]))[0], strict=True))
    assert heard.records[0].details["attributes"] == pytest.approx(expected, abs=1e-6)


def test_reference_edit_and_mix_read_the_other_face(engine: Engine, photos: list[Pixels]) -> None:
    source, other = (engine.invert(image) for image in photos)
    place = {"output": "out/", "file_format": "latent", "model": engine}
    batch.run(batch.ReferenceEdit("smile", ["photos/deeper/b.png"]), ["photos/a.png"], **place)
    batch.run(batch.Mix(Path("photos/deeper/b.png"), [0.25]), ["photos/a.png"], **place)
    edited = LatentCode.load("out/a.smile-from-b.latent.safetensors").w
    assert np.allclose(edited, engine.edit_by_reference(source, other, "smile")[0], atol=1e-5)
    mixed = LatentCode.load("out/a.mix-b@0.25.latent.safetensors").w
    assert np.allclose(mixed, (0.75 * source + 0.25 * other)[0], atol=1e-5)


def test_reference_that_cannot_be_read_ends_the_run(engine: Engine, photos: list[Pixels]) -> None:
    del photos
    with pytest.raises(InputError, match="is empty"):
        batch.run(batch.ReferenceEdit("smile", ["photos/broken.png"]), ["photos/a.png"], model=engine)


def test_wrong_request_is_refused_before_the_model_is_loaded(tiny_bundle: Path) -> None:
    wrong = {"model": tiny_bundle, "device": "abacus"}
    with pytest.raises(AttributeNameError):
        batch.run(batch.LabelEdit("moustache"), ["a.png"], **wrong)
    with pytest.raises(UsageError, match="written here"):
        batch.run(batch.Reconstruction(), ["a.png"], file_format="gif", **wrong)
    with pytest.raises(UsageError, match="no file to go to"):
        batch.run(batch.LabelEdit("smile"), ["a.png"], output="-", **wrong)


def test_codes_of_images_and_latent_files_are_read(engine: Engine, photos: list[Pixels]) -> None:
    batch.run(batch.InversionRequest(), ["photos/deeper/b.png"], model=engine)
    paths = ["photos/a.png", "photos/broken.png", "photos/deeper/b.latent.safetensors"]
    codes, summary = read_codes(engine, [Source(Path(path)) for path in paths], batch.SilentReporter())
    assert [source.name for source in codes] == [paths[0], paths[2]]
    assert (summary.done, summary.failed) == (2, 1)
    for code, image in zip(codes.values(), photos, strict=True):
        assert np.allclose(code, engine.invert(image)[0], atol=1e-5)


def test_engine_in_memory_is_used_as_it_is(engine: Engine, photos: list[Pixels]) -> None:
    del photos
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    heard = Listener()
    batch.run(batch.Reconstruction(), ["moving.gif"], model=engine, reporter=heard)
    assert heard.records[0].notes == ("several frames: only the first is used",)


def test_the_page_of_the_batch_engine_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = Path(__file__).resolve().parents[2]
    shutil.copytree(root / "tests/data/faces", tmp_path / "tests/data/faces")
    page = (root / "docs/batch.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL))
    exec(compile(code, "docs/batch.md", "exec"), {})
    counts, failures = capsys.readouterr().out.splitlines()
    assert counts == "10 0 0"
    assert failures == "['missing.png: missing.png does not exist: check the spelling']"


def test_results_of_a_model_of_wide_images_are_as_wide(tiny_bundle: Path, tmp_path: Path, face_image: Pixels) -> None:
    whole = Engine.from_pretrained(tiny_bundle, device="cpu")
    config = EncoderConfig.from_dict(whole.bundle.parts["encoder"].config | {"input_height": 16})
    wide = Engine(whole.model.with_networks(encoder=StyleTransformer(config).eval().requires_grad_(False)))
    assert wide.target_size == (16, 32)
    write_image(tmp_path / "car.png", face_image)
    sheet = batch.LabelEdit("smile", sheet=True)
    assert batch.run(sheet, [tmp_path / "car.png"], output=tmp_path / "sheet.png", model=wide).done == 1
    height, width = read_image(tmp_path / "sheet.png").shape[:2]
    assert width == 4 + 3 * (32 + 4)
    assert height < 32 + 24  # squares would be as high
    codes = wide.invert(face_image)
    rendered = wide.synthesise(codes)[0]
    batch.run(batch.Reconstruction(), [tmp_path / "car.png"], output=tmp_path / "out.png", model=wide)
    assert np.array_equal(read_image(tmp_path / "out.png"), rendered[8:24])
