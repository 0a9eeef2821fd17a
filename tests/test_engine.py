"""The engine on a small random model: arrays, tensors, batches, edits, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stedit.editing.label import edit_by_label
from stedit.editing.reference import edit_by_reference
from stedit.engine import Engine
from stedit.errors import AttributeNameError, BundleError, DeviceError, MissingPartError, UsageError
from stedit.imaging.files import Pixels, fit_image
from stedit.inversion.methods import invert_by_encoder
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.models.attribute_network import Judge
from stedit.models.config import ClassifierConfig, EncoderConfig, GeneratorConfig
from stedit.runtime.arrays import to_input
from stedit.runtime.synthesis import synthesise
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import CONFIG_NAME

from .conftest import TINY_ATTRIBUTES


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture
def codes(engine: Engine) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, *engine.code_shape)).astype(np.float32)


def logits(engine: Engine, codes: np.ndarray) -> np.ndarray:
    probabilities = engine.classify(codes).astype(np.float64)
    return np.log(probabilities / (1 - probabilities))


def test_engine_arrays_in_give_arrays(engine: Engine, face_image: Pixels) -> None:
    codes = engine.invert(np.stack([face_image, face_image[:, ::-1]]))
    assert codes.shape == (2, 8, 16)
    assert codes.dtype == np.float32
    pictures = engine.synthesise(codes)
    assert pictures.shape == (2, 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert np.array_equal(engine.reconstruct(np.stack([face_image, face_image[:, ::-1]])), pictures)
    assert not np.array_equal(codes[0], codes[1])


def test_engine_tensors_in_give_tensors_of_the_same_values(engine: Engine, face_image: Pixels) -> None:
    square = face_image[4:36, 4:36]
    images = torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    codes = engine.invert(images)
    np.testing.assert_array_equal(codes.numpy(), engine.invert(square))
    rendered = engine.synthesise(codes)
    assert rendered.shape == (1, 3, 32, 32)
    expected = ((rendered.clamp(-1, 1) + 1) * 127.5).round().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(engine.synthesise(codes.numpy()), expected)


def test_edit_by_label_takes_inverted_tensors(engine: Engine) -> None:
    codes = engine.invert(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert engine.edit_by_label(codes, "smile").shape == codes.shape


def test_engine_single_image_or_code_is_a_batch_of_one(engine: Engine, face_image: Pixels, codes: np.ndarray) -> None:
    assert engine.invert(face_image).shape == (1, 8, 16)
    np.testing.assert_array_equal(engine.synthesise(codes[0]), engine.synthesise(codes[:1]))


def test_engine_same_call_gives_the_same_bytes(engine: Engine, tiny_bundle: Path, codes: np.ndarray) -> None:
    again = Engine.from_pretrained(tiny_bundle, device="cpu")
    np.testing.assert_array_equal(engine.synthesise(codes), again.synthesise(codes))
    np.testing.assert_array_equal(engine.edit_by_label(codes, "smile"), again.edit_by_label(codes, "smile"))


def test_synthesise_random_noise_depends_on_seed_not_batch(tiny_bundle: Path, codes: np.ndarray) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    for name, parameter in engine.networks.generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    one = engine.synthesise(codes, noise="random", seed=1)
    np.testing.assert_array_equal(one, engine.synthesise(codes, noise="random", seed=1))
    np.testing.assert_allclose(one[1:2], engine.synthesise(codes[1:2], noise="random", seed=1), atol=1)
    assert not np.array_equal(one, engine.synthesise(codes, noise="random", seed=2))
    assert not np.array_equal(one, engine.synthesise(codes, noise="const"))


@pytest.mark.parametrize("name", ["smile", "no-smile", "Eyeglasses"])
def test_edit_by_label_strength_1_reaches_the_target_logit(engine: Engine, codes: np.ndarray, name: str) -> None:
    index = TINY_ATTRIBUTES.index("Eyeglasses" if name == "Eyeglasses" else "Smiling")
    sign = -1 if name.startswith("no-") else 1
    before = logits(engine, codes)[:, index] * sign
    after = logits(engine, engine.edit_by_label(codes, name))[:, index] * sign
    assert np.all(before < 3.0)
    np.testing.assert_allclose(after, 3.0, atol=0.05)


def test_edit_by_label_strength_scales_and_signs_the_edit(engine: Engine, codes: np.ndarray) -> None:
    before = logits(engine, codes)[:, 0]
    half = logits(engine, engine.edit_by_label(codes, "smile", strength=0.5))[:, 0]
    np.testing.assert_allclose(half, (before + 3.0) / 2, atol=0.05)
    back = logits(engine, engine.edit_by_label(codes, "smile", strength=-1))[:, 0]
    np.testing.assert_allclose(back, -3.0, atol=0.05)
    np.testing.assert_allclose(engine.edit_by_label(codes, "smile", strength=0), codes, atol=1e-5)


def test_edit_by_label_code_past_the_target_logit_is_unchanged(engine: Engine, codes: np.ndarray) -> None:
    sure = engine.edit_by_label(codes, "smile", strength=1.2)
    np.testing.assert_allclose(engine.edit_by_label(sure, "smile"), sure, atol=1e-5)


def test_edit_by_label_several_attributes_reach_their_goals(engine: Engine, codes: np.ndarray) -> None:
    after = logits(engine, engine.edit_by_label(codes, ["smile", "no-bangs"]))
    np.testing.assert_allclose(after[:, TINY_ATTRIBUTES.index("Smiling")], 3.0, atol=0.05)
    np.testing.assert_allclose(after[:, TINY_ATTRIBUTES.index("Bangs")], -3.0, atol=0.05)


def test_edit_by_label_hair_excludes_baldness(engine: Engine, codes: np.ndarray) -> None:
    bald, *others = engine.bundle.attributes
    attributes = (dataclasses.replace(bald, name="Bald"), *others)
    engine = Engine(dataclasses.replace(engine.model, bundle=dataclasses.replace(engine.bundle, attributes=attributes)))
    blond = TINY_ATTRIBUTES.index("Blond_Hair")
    given, taken, kept = (
        logits(engine, engine.edit_by_label(codes, name, keep=keep))
        for name, keep in (("blond", ()), ("no-blond", ()), ("blond", "Bald"))
    )
    np.testing.assert_allclose(given[:, [0, blond]], [[-3.0, 3.0]] * len(codes), atol=0.05)
    np.testing.assert_allclose(taken[:, blond], -3.0, atol=0.05)
    assert taken[:, 0].min() > -2, "taking a colour away says nothing of baldness"
    assert kept[:, 0].min() > -2, "what is to be kept is kept"


def test_edit_by_label_preserving_moves_others_less_than_the_gradient(engine: Engine, codes: np.ndarray) -> None:
    """What the attribute-preserving direction is for; Smiling shares no group with these."""
    others = [TINY_ATTRIBUTES.index(name) for name in ("Eyeglasses", "Blond_Hair", "No_Beard")]
    before = logits(engine, codes)
    edited = engine.edit_by_label(codes, "smile")
    plain = torch.from_numpy(codes).requires_grad_()
    gradient = torch.autograd.grad(engine.networks.classifier(plain)[:, 0].sum(), plain)[0].numpy()
    step = (3.0 - before[:, 0]) / (gradient**2).sum(axis=(1, 2))
    along = codes + step[:, None, None].astype(np.float32) * gradient
    moved = np.abs(logits(engine, edited) - before)[:, others].mean()
    assert moved < 0.3 * np.abs(logits(engine, along) - before)[:, others].mean()


def test_edit_by_reference_scales_with_strength(engine: Engine, codes: np.ndarray) -> None:
    with torch.no_grad():
        engine.networks.editors["editor"].output.weight.normal_(std=0.1)
    full = engine.edit_by_reference(codes, codes[:1], "glasses")
    assert not np.allclose(full, codes)
    half = engine.edit_by_reference(codes, codes[:1], "glasses", strength=0.5)
    np.testing.assert_allclose(half, (codes + full) / 2, atol=1e-5)
    np.testing.assert_array_equal(engine.edit_by_reference(codes, codes[:1], "glasses", strength=0), codes)
    assert not np.allclose(engine.edit_by_reference(codes, codes[:1], "bangs"), full)


def test_synthesise_bfloat16_is_near_float32(tiny_bundle: Path, codes: np.ndarray, engine: Engine) -> None:
    fast = Engine.from_pretrained(tiny_bundle, device="cpu", precision="bfloat16")
    difference = fast.synthesise(codes).astype(int) - engine.synthesise(codes).astype(int)
    assert 0 < np.abs(difference).mean() < 3


def test_predict_attributes_is_linear_in_attribute_features(engine: Engine, face_image: np.ndarray) -> None:
    images = np.stack([face_image, face_image[::-1]])
    network = engine.networks.judge
    assert isinstance(network, Judge)
    fitted = torch.from_numpy(np.stack([fit_image(image, (32, 32)) for image in images]))
    tensor = fitted.permute(0, 3, 1, 2) / 127.5 - 1
    probabilities, embeddings = engine.predict_attributes(images), engine.attribute_features(images)
    assert (probabilities.shape, embeddings.shape) == ((2, 5), (2, 16 * 16))
    np.testing.assert_allclose(probabilities, network(tensor).sigmoid(), atol=1e-6)
    np.testing.assert_allclose(engine.predict_attributes(tensor), probabilities, atol=1e-6)
    np.testing.assert_allclose(engine.predict_attributes(face_image), probabilities[:1], atol=1e-6)
    np.testing.assert_allclose(engine.attribute_features(tensor), embeddings, atol=1e-5)
    np.testing.assert_allclose(network.logits(torch.from_numpy(embeddings)).sigmoid(), probabilities, atol=1e-6)
    assert abs(probabilities[0] - probabilities[1]).max() > 1e-3
    with pytest.raises(UsageError, match=r"images for the judge have the shape \(3, 32, 32\)"):
        engine.predict_attributes(tensor[:, :, 4:])


def test_engine_bad_requests_raise(engine: Engine, tiny_bundle: Path, codes: np.ndarray) -> None:
    with pytest.raises(AttributeNameError, match="did you mean smile"):
        engine.edit_by_label(codes, "smyle")
    with pytest.raises(UsageError, match="both ways"):
        engine.edit_by_label(codes, ["smile", "no-smile"])
    with pytest.raises(UsageError, match=r"\(8, 16\)"):
        engine.synthesise(codes[:, :4])
    with pytest.raises(UsageError, match=r"images for the encoder have the shape \(3, 32, 32\), not \(3, 16, 32\)"):
        engine.invert(torch.full((2, 3, 16, 32), -0.5))
    with pytest.raises(DeviceError, match="choose cpu"):
        Engine.from_pretrained(tiny_bundle, device="abacus")
    with pytest.raises(DeviceError, match="float16"):
        Engine.from_pretrained(tiny_bundle, device="cpu", precision="float16")


def test_engine_missing_part_is_named(tiny_bundle: Path, tmp_path: Path, codes: np.ndarray) -> None:
    whole = Bundle.load(tiny_bundle)
    parts = {"generator": (GeneratorConfig.from_dict(whole.parts["generator"].config), whole.read_part("generator"))}
    Bundle.save(tmp_path / "small", name="small", domain="noise", license="MIT", parts=parts, readme="")
    engine = Engine.from_pretrained(tmp_path / "small", device="cpu")
    assert engine.attributes == ()
    assert engine.synthesise(codes).shape == (3, 32, 32, 3)
    for call, part in (
        (lambda: engine.invert(np.zeros((32, 32, 3), np.uint8)), "encoder"),
        (lambda: engine.edit_by_label(codes, "smile"), "classifier"),
        (lambda: engine.edit_by_reference(codes, codes, "smile"), "editor"),
        (lambda: engine.predict_attributes(np.zeros((32, 32, 3), np.uint8)), "judge"),
    ):
        with pytest.raises(MissingPartError, match=f"has no {part}"):
            call()


def test_from_pretrained_tensors_of_wrong_sizes_raise(tiny_bundle: Path, tmp_path: Path) -> None:
    """A config that lies about the sizes, its checksums right."""
    whole = Bundle.load(tiny_bundle)
    config = dataclasses.replace(ClassifierConfig.from_dict(whole.parts["classifier"].config), hidden=(32, 24))
    encoder = EncoderConfig.from_dict(whole.parts["encoder"].config)
    generator = GeneratorConfig.from_dict(whole.parts["generator"].config)
    bundle = Bundle.save(
        tmp_path / "liar",
        name="liar",
        domain="noise",
        license="MIT",
        attributes=whole.attributes,
        parts={
            "generator": (generator, whole.read_part("generator")),
            "encoder": (encoder, whole.read_part("encoder")),
            "classifier": (config, whole.read_part("classifier")),
        },
        readme="",
    )
    with pytest.raises(BundleError, match=r"classifier .* does not fit its sizes"):
        Engine.from_pretrained(bundle.path, device="cpu")


def test_from_pretrained_damaged_file_raises(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in tiny_bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "encoder.safetensors")
    tensors["queries"] += 1
    save_file(tensors, folder / "encoder.safetensors")
    assert json.loads((folder / CONFIG_NAME).read_text())["parts"]["encoder"]
    with pytest.raises(BundleError, match=r"encoder\.safetensors"):
        Engine.from_pretrained(folder, device="cpu")


def test_engine_repr_is_one_short_line(engine: Engine) -> None:
    text = repr(engine)
    assert "tiny-32" in text
    assert "\n" not in text
    assert len(text) < 200


def test_engine_to_another_device_moves_in_place_or_raises(tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle, device="cpu")
    assert engine.to("cpu") is engine
    with pytest.raises(DeviceError, match="'abacus' is not available"):
        engine.to("abacus")
    assert engine.device == torch.device("cpu")


def test_engine_old_names_still_work(engine: Engine, face_image: Pixels, codes: np.ndarray) -> None:
    np.testing.assert_array_equal(engine.judge(face_image), engine.predict_attributes(face_image))
    np.testing.assert_array_equal(engine.judge_embedding(face_image), engine.attribute_features(face_image))
    np.testing.assert_array_equal(engine.sample(2, seed=1), engine.sample_latents(2, seed=1))
    assert engine.has_learned("smile") is engine.has_learned_edit("smile")
    options, steps = InversionOptions(steps=2), []
    engine.invert(face_image, method="optimise", options=options, report=steps.append)
    assert [step.step for step in steps] == [1, 2]
    (tuning,) = engine.tune(face_image, codes[:1], options=TuningOptions(steps=1), report=lambda *_: None)
    assert tuning.fingerprint == engine.bundle.fingerprint


def test_functions_of_a_model_give_what_the_engine_gives(engine: Engine, face_image: Pixels, codes: np.ndarray) -> None:
    model, w = engine.model, torch.from_numpy(codes)
    images = to_input(face_image, model.input_size, "images")
    assert torch.equal(invert_by_encoder(model, images), torch.from_numpy(engine.invert(face_image)))
    assert torch.equal(edit_by_label(model, w, "smile"), engine.edit_by_label(w, "smile"))
    assert torch.equal(edit_by_reference(model, w, [w[:1]], "bangs"), engine.edit_by_reference(w, w[:1], "bangs"))
    assert torch.equal(synthesise(model, w, noise="none"), engine.synthesise(w, noise="none"))
