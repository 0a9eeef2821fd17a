"""What people hold goes into the engine, and comes out as they hold it: files, Pillow, codes that show themselves."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stedit
from stedit import (
    Engine,
    FaceSearch,
    ImageError,
    InputError,
    InversionOptions,
    LatentCode,
    LatentError,
    Photo,
    UsageError,
    read_image,
    write_image,
)
from stedit.faces import PhotoEdit, edit_photo
from stedit.imaging.files import Pixels
from stedit.runtime.arrays import to_array

ROOM = Path(__file__).parent / "data/scenes/room.jpg"
FACES = Path(__file__).parent / "data/faces"


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture(scope="module")
def faces(embedded: Engine) -> Engine:
    return embedded


@pytest.fixture
def path(face_image: Pixels, tmp_path: Path) -> Path:
    write_image(tmp_path / "face.png", face_image)
    return tmp_path / "face.png"


@pytest.fixture
def code(engine: Engine, path: Path) -> LatentCode:
    return engine.invert(path)


# Images in


def test_an_image_in_any_form_gives_the_same_code(engine: Engine, face_image: Pixels, path: Path) -> None:
    expected = engine.invert(face_image)[0]
    for given in (path, str(path), Image.open(path), Image.fromarray(face_image), Photo.open(path)):
        code = engine.invert(given)
        assert isinstance(code, LatentCode)
        np.testing.assert_array_equal(code.w, expected)
    assert engine.invert(path).source == engine.invert(Image.open(path)).source == "face.png"
    several = engine.invert([path, Image.fromarray(face_image[:, ::-1]), face_image])
    assert [type(one) for one in several] == [LatentCode] * 3
    np.testing.assert_allclose(several[2].w, expected, atol=1e-5)
    np.testing.assert_allclose(several[1].w, engine.invert(face_image[:, ::-1])[0], atol=1e-5)


def test_grey_and_rgba_arrays_are_shown_as_pillow_shows_them(engine: Engine, face_image: Pixels) -> None:
    grey = np.array(Image.fromarray(face_image).convert("L"))
    expected = engine.invert(np.stack([grey] * 3, axis=2))
    for given in (grey, grey[..., None], grey[None, ..., None]):
        np.testing.assert_array_equal(engine.invert(given), expected)
    alpha = np.full(grey.shape, 255, np.uint8)
    alpha[:20] = 0
    white = face_image.copy()
    white[:20] = 255
    np.testing.assert_array_equal(engine.invert(np.dstack([face_image, alpha])), engine.invert(white))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "RGBA", "RGBa", "CMYK", "YCbCr", "I;16"])
def test_photo_of_pillow_is_what_its_file_would_be(mode: str, face_image: Pixels) -> None:
    image = Image.fromarray(face_image)
    if mode in {"La", "RGBa"}:
        image = image.convert(mode.upper())
    image = Image.fromarray(face_image[..., 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    assert image.mode == mode
    shown = Photo.of(image).pixels
    assert shown.shape == face_image.shape
    known = {"I;16": Image.fromarray(face_image[..., 0]), "La": Image.fromarray(face_image).convert("L")}
    plain = np.array(known.get(mode, image).convert("RGB"))
    assert np.abs(shown.astype(int) - plain).max() <= 1


def test_photo_of_pillow_is_upright_and_of_its_colours(face_image: Pixels, tmp_path: Path) -> None:
    image = Image.fromarray(face_image)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as opened:
        photo = Photo.of(opened)
    np.testing.assert_array_equal(photo.pixels, read_image(tmp_path / "turned.jpg"))
    assert photo.pixels.shape == (40, 48, 3)
    assert repr(photo) == f"Photo({str(tmp_path / 'turned.jpg')!r}, 48 x 40 px)"


def refused(call: Callable[[], Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda x: x / np.float32(255), r"from 0 to 1 it is \(images \* 255\)"),
        (lambda x: x / np.float32(127.5) - 1, r"from -1 to 1 it is \(\(images \+ 1\) \* 127.5\)"),
        (lambda x: x.astype(np.float64), r"float64: give images.clip\(0, 255\)"),
        (lambda x: np.where(x > 50, np.nan, x), "not finite"),
        (lambda x: x.astype(np.int64), "int64: give images.clip"),
        (lambda x: x.astype(np.uint16) * 257, r"\(images // 257\)"),
        (lambda x: x > 100, r"astype\('uint8'\) \* 255"),
        (lambda x: x.transpose(2, 0, 1), r"\(3, 48, 40\): give images.transpose\(1, 2, 0\)"),
        (lambda x: x.transpose(2, 0, 1)[None], r"give images.transpose\(0, 2, 3, 1\)"),
        (lambda x: x[..., :2], r"\(48, 40, 2\): give grey, RGB or RGBA"),
        (lambda x: x[None, None], r"\(1, 1, 48, 40, 3\)"),
        (lambda x: x[:0], "at least one pixel"),
    ],
)
def test_arrays_that_are_no_images_are_refused_in_one_sentence(
    engine: Engine, face_image: Pixels, make: Callable[[Any], Any], advice: str
) -> None:
    for call in (engine.invert, engine.predict_attributes, Photo.of, lambda image: engine.edit(image, "smile")):
        refused(lambda: call(make(face_image)), advice)  # noqa: B023 - it is called at once


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda x: (x + 1) / 2, r"from 0 to 1: give images \* 2 - 1"),
        (lambda x: (x + 1) * 127.5, r"from 0 to 255: give images / 127.5 - 1"),
        (lambda x: ((x + 1) * 127.5).to(torch.uint8), r"uint8 \(1, 3, 32, 32\): give images.float\(\) / 127.5 - 1"),
        (lambda x: x * 3, "from -3 to 3: scale them"),
        (lambda x: torch.where(x > 0.5, torch.nan, x), "not finite"),
        (lambda x: torch.where(x > 0.5, torch.inf, x), "not finite"),
        (lambda x: x.permute(0, 2, 3, 1), r"give images.permute\(0, 3, 1, 2\)"),
        (lambda x: x[0].permute(1, 2, 0), r"give images.permute\(2, 0, 1\)"),
        (lambda x: x[:, :1], "three channels"),
        (lambda x: x[:0], "at least one pixel"),
    ],
)
def test_tensors_that_are_no_images_are_refused_in_one_sentence(
    engine: Engine, make: Callable[[Any], Any], advice: str
) -> None:
    images = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    for call in (
        engine.invert,
        engine.predict_attributes,
        lambda given: engine.invert(given, method="hybrid", steps=1),
        lambda given: engine.tune_generator(given, np.zeros(engine.code_shape, np.float32)),
    ):
        refused(lambda: call(make(images)), advice)  # noqa: B023 - it is called at once
    assert engine.invert(images[0]).shape == engine.invert(images * 1.2).shape == (1, *engine.code_shape)


def test_what_is_no_image_or_no_code_is_refused(engine: Engine, path: Path, tmp_path: Path) -> None:
    refused(lambda: engine.invert(7), "this is int")
    refused(lambda: engine.invert([torch.zeros(3, 32, 32)]), "this is Tensor")
    refused(lambda: engine.synthesise(read_image(path)), r"this is uint8 \(48, 40, 3\): invert images first")
    refused(lambda: engine.synthesise("face.png"), "this is str")
    refused(lambda: engine.classify(np.full(engine.code_shape, np.nan, np.float32)), "not finite")
    refused(lambda: engine.synthesise(np.zeros(engine.code_shape, np.float32), output_type="jpg"), "choose pil, np")
    with pytest.raises(ImageError, match=r"no\.png does not exist"):
        engine.edit(tmp_path / "no.png", "smile")
    with pytest.raises(ImageError, match="mode 'F'"):
        engine.invert(Image.new("F", (8, 8)))
    cut = Image.open(io.BytesIO(path.read_bytes()[:-60]))
    with pytest.raises(ImageError, match="the image is damaged"):
        engine.invert(cut)


# Codes that show and save themselves


def test_latent_code_shows_itself_and_says_what_it_is(engine: Engine, code: LatentCode, tmp_path: Path) -> None:
    assert repr(code) == "LatentCode(8 x 16 of 'tiny-32', method='encoder', source='face.png')"
    shown = np.array(Image.open(io.BytesIO(code._repr_png_() or b"")))
    np.testing.assert_array_equal(shown, engine.synthesise(code.w)[0])
    code.save(tmp_path / "face.latent.safetensors")
    read = LatentCode.load(tmp_path / "face.latent.safetensors")
    assert read._repr_png_() is None
    for known in (engine.latent_codes(read)[0], engine.invert(tmp_path / "face.latent.safetensors")):
        assert (known.w == code.w).all()
        assert known._repr_png_() == code._repr_png_()
    assert read.encode() == code.encode()


def test_latent_code_pickles_without_the_model(code: LatentCode) -> None:
    data = pickle.dumps(code)
    assert len(data) < 2000
    again = pickle.loads(data)
    assert again.encode() == code.encode()
    assert again._repr_png_() is None


def test_every_method_takes_codes_and_gives_them(engine: Engine, code: LatentCode, path: Path) -> None:
    w = code.w[None]
    other = engine.latent_codes(engine.sample_latents(1, seed=3))[0]
    made = {
        "edit smile": (engine.edit_by_label(code, "smile"), engine.edit_by_label(w, "smile")),
        "edit bangs": (engine.edit_by_reference(code, other, "bangs"), engine.edit_by_reference(w, other.w, "bangs")),
        "mix": (engine.mix(code, other), engine.mix(w, other.w)),
    }
    for method, (one, array) in made.items():
        assert isinstance(one, LatentCode)
        np.testing.assert_array_equal(one.w, array[0])
        assert (one.method, one.source, one.crop) == (method, "face.png", code.crop)
        assert one._repr_png_() == engine.latent_codes(array)[0]._repr_png_()
    both = engine.edit_by_label([code, other], "smile")
    assert isinstance(both, list)
    np.testing.assert_allclose(both[0].w, made["edit smile"][1][0], rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(engine.classify(code), engine.classify(w))
    attention = engine.attention(code, [other, path], "bangs")
    assert len(attention[0]) == 2
    (tuning,) = engine.tune_generator(read_image(path), code, options=stedit.TuningOptions(steps=1))
    assert engine.synthesise(code, tunings=[tuning]).size == (32, 32)
    learned = engine.learn_direction("any", [code, other] * 10, [True, False] * 10)
    assert repr(learned).count("\n") == 0


def test_a_latent_file_is_a_reference_as_its_code_is(faces: Engine, tmp_path: Path) -> None:
    code, other = faces.invert([FACES / "serious.jpg", FACES / "glasses.jpg"])
    file = tmp_path / "other.latent.safetensors"
    other.save(file)
    expected = faces.edit_by_reference(code, other, "glasses")
    np.testing.assert_array_equal(faces.edit_by_reference(code, file, "glasses").w, expected.w)
    assert (expected.w != code.w).any()


def test_edit_photo_is_a_function_of_the_model(faces: Engine) -> None:
    photo, w = Photo.open(ROOM), faces.invert(FACES / "glasses.jpg").w[None]
    by_label, by_reference = PhotoEdit("smile", 0.8, result="crop"), PhotoEdit("glasses", references=[torch.tensor(w)])
    crop = faces.edit_photo(photo, "smile", strength=0.8, result="crop")
    np.testing.assert_array_equal(edit_photo(faces.model, photo, by_label), crop)
    np.testing.assert_array_equal(
        edit_photo(faces.model, photo, by_reference), faces.edit_photo(photo, "glasses", reference=w)
    )
    refused(lambda: faces.edit_photo(photo, "smile", method="best"), "there is no method 'best'")


def test_a_code_of_another_model_is_refused_by_name(engine: Engine, code: LatentCode) -> None:
    foreign = LatentCode(code.w, "other-32", "0" * 16, source="jane.png")
    for call in (
        engine.synthesise,
        engine.classify,
        engine.latent_codes,
        engine.invert,
        lambda one: engine.edit(one, "smile"),
        lambda one: engine.mix(code, one),
        lambda one: engine.edit_by_reference(code, one, "smile"),
    ):
        with pytest.raises(LatentError, match=r"the code of jane\.png was made with the model 'other-32'"):
            call(foreign)


def test_counts_that_do_not_go_together_are_refused(engine: Engine, code: LatentCode) -> None:
    codes = engine.sample_latents(3)
    refused(lambda: engine.mix(codes, codes[:2]), "3 codes, and 2 to go with them")
    refused(lambda: engine.edit_by_reference(codes, codes[:2], "smile"), "3 codes, and 2 to go with them")
    refused(lambda: engine.edit_by_reference(code, [], "smile"), "no reference in the list")
    refused(lambda: engine.carry_over(Photo.of(np.zeros((9, 9, 3), np.uint8)), [code], [code, code]), "1 codes and 2")


# Images out


def test_images_come_out_as_asked_for(engine: Engine, code: LatentCode, path: Path) -> None:
    expected = engine.synthesise(code.w)
    image = engine.synthesise(code)
    assert isinstance(image, Image.Image)
    np.testing.assert_array_equal(np.array(image), expected[0])
    assert [one.size for one in engine.synthesise([code, code])] == [(32, 32)] * 2
    assert [one.size for one in engine.synthesise(code.w[None], output_type="pil")] == [(32, 32)]
    np.testing.assert_array_equal(engine.synthesise(code, output_type="np"), expected)
    tensor = engine.synthesise(code.w, output_type="pt")
    assert tensor.shape == (1, 3, 32, 32)
    np.testing.assert_array_equal(to_array(tensor), expected)
    np.testing.assert_array_equal(engine.synthesize(code.w), expected)
    assert engine.reconstruct(path).size == (32, 32)


def test_edit_gives_the_photograph_back_as_it_was_given(faces: Engine, tmp_path: Path) -> None:
    photo = Photo.open(ROOM)
    expected = faces.edit_photo(photo, "smile")
    assert (expected != photo.pixels).any()
    edited = faces.edit(ROOM, "smile")
    assert isinstance(edited, Image.Image)
    np.testing.assert_array_equal(np.array(edited), expected)
    np.testing.assert_array_equal(faces.edit(photo.pixels, "smile"), expected)
    transparent = np.dstack([photo.pixels, np.full(photo.pixels.shape[:2], 128, np.uint8)])
    assert faces.edit(Image.fromarray(transparent), "smile", strength=0).mode == "RGBA"
    code = faces.invert(ROOM)
    carried = faces.carry_over(photo, code, faces.edit_by_label(code, "smile"))
    assert np.abs(carried.astype(int) - expected).max() <= 1  # a code says to 0.001 px where its face is
    half = faces.edit(photo, "smile", strength=0.5, output_type="np")
    assert 0 < np.abs(half.astype(int) - photo.pixels).sum() < np.abs(expected.astype(int) - photo.pixels).sum()
    code.save(tmp_path / "me.latent.safetensors")
    assert isinstance(faces.edit(code, "smile"), LatentCode)
    assert faces.edit(tmp_path / "me.latent.safetensors", "smile").size == faces.output_size[::-1]
    with pytest.raises(InputError, match="made of a photograph of"):
        faces.carry_over(Photo.open(FACES / "smile.jpg"), code, code)


def test_edit_of_a_list_after_another_person_counts_them(faces: Engine) -> None:
    done: list[int] = []
    given = [FACES / "serious.jpg", read_image(FACES / "serious.jpg")]
    made = faces.edit(given, "glasses", reference=FACES / "glasses.jpg", on_image=done.append)
    assert done == [1, 1]
    assert isinstance(made[0], Image.Image)
    np.testing.assert_array_equal(np.array(made[0]), made[1])
    assert (made[1] != given[1]).any()


# Inversion with steps


def test_invert_takes_steps_and_calls_after_each(engine: Engine, path: Path, face_image: Pixels) -> None:
    steps: list[int] = []
    code = engine.invert(path, method="hybrid", steps=3, on_step=lambda progress: steps.append(progress.step))
    assert steps == [1, 2, 3]
    assert code.method == "hybrid"
    expected = engine.invert(face_image, method="hybrid", options=InversionOptions(steps=3))
    np.testing.assert_allclose(code.w, expected[0], atol=1e-5)
    refused(lambda: engine.invert(path, steps=50), "the encoder takes no steps: choose the method 'hybrid'")
    refused(
        lambda: engine.invert(path, method="hybrid", steps=5, options=InversionOptions(steps=6)),
        "5 steps, and 6 in the options",
    )
    done: list[int] = []
    engine.invert([path] * 10, on_image=done.append)
    assert done == [8, 2]


def test_invert_finds_the_face_unless_it_is_to_take_the_whole(faces: Engine) -> None:
    found, whole = faces.invert(ROOM), faces.invert(ROOM, search=FaceSearch(align="never"))
    assert not np.allclose(found.w, whole.w)
    pixels = read_image(ROOM)
    np.testing.assert_array_equal(faces.invert(pixels)[0], whole.w)
    np.testing.assert_array_equal(faces.invert(pixels, search=FaceSearch())[0], found.w)
    assert faces.predict_attributes(ROOM).shape == (1, len(faces.attributes))


# The rest of the surface


def test_reprs_are_one_short_line(engine: Engine, faces: Engine, code: LatentCode) -> None:
    (tuning,) = engine.tune_generator(np.zeros((32, 32, 3), np.uint8), code, options=stedit.TuningOptions(steps=1))
    for thing in (engine, faces, engine.bundle, faces.bundle, engine.networks, code, tuning):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 200


def test_an_engine_of_a_name_says_how_to_load_it() -> None:
    for name in ("some-model", Path("some-model")):
        refused(lambda: Engine(name), r"write Engine.from_pretrained\('some-model'\)")  # noqa: B023


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_computes_the_same(tiny_bundle: Path) -> None:
    """Without care, it waits forever for threads that did not come along."""
    program = """
import os, signal, sys
import torch
torch.set_num_threads(2)
from stedit import Engine
engine = Engine.from_pretrained(sys.argv[1], device="cpu")
codes = engine.sample_latents(64)
expected = engine.synthesise(codes)
child = os.fork()
if not child:
    signal.alarm(60)
    os._exit(0 if (engine.synthesise(codes) == expected).all() else 3)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(tiny_bundle)]
    environment = os.environ | {"PYTHONPATH": str(Path(stedit.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert done.stdout == "0 2\n", done.stderr
