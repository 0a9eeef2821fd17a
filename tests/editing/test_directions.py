"""Linear directions: files of all kinds, SeFa, learning, and what they do to the codes of the embedded model."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from stedit.checkpoints.interchange import load_directions
from stedit.editing.directions import (
    LinearDirection,
    parse_direction,
    select_direction,
)
from stedit.editing.learning import MIN_LABELLED, logistic_direction
from stedit.editing.linear import sefa
from stedit.engine import Engine
from stedit.errors import InputError, UsageError
from stedit.models.config import GeneratorConfig
from stedit.models.generator import Generator
from stedit.runtime.arrays import Latents
from stedit.runtime.networks import Networks
from stedit.storage.directions import Directions

PUBLISHED = Path(__file__).resolve().parents[3] / "shared/directions"


@pytest.fixture(scope="module")
def small(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


@pytest.fixture(scope="module")
def learned(model: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with directions for Smiling and Eyeglasses, learned from the embedded classifier."""
    codes = model.sample_latents(400)
    found = {name: model.learn_direction(name, codes).vector for name in ("Smiling", "Eyeglasses")}
    path = tmp_path_factory.mktemp("directions") / "learned.directions.safetensors"
    Directions(found).save(path)
    return path


def logits(model: Engine, codes: Latents) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(model.networks.classifier(torch.from_numpy(codes)))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("preserving", "preserving"),
        ("auto", "auto"),
        ("transformer", "transformer"),
        ("sefa:12", LinearDirection(None, None, 12)),
        ("linear:a/b.pt", LinearDirection(Path("a/b.pt"), None)),
        ("linear:a/b.pt:3", LinearDirection(Path("a/b.pt"), "3")),
        ("linear:C:x.npy:old", LinearDirection(Path("C:x.npy"), "old")),
    ],
)
def test_parse_direction_typed_text_gives_direction(text: str, meaning: object) -> None:
    assert parse_direction(text) == meaning
    assert text == "learned" or str(meaning) == text


def test_direction_by_its_former_name() -> None:
    assert parse_direction("learned") == "transformer"


def test_former_name_of_the_transformer_is_read() -> None:
    assert parse_direction("learned") == "transformer"


@pytest.mark.parametrize("text", ["", "third-order", "sefa", "sefa:-1", "sefa:x", "linear", "linear:"])
def test_parse_direction_unknown_text_raises(text: str) -> None:
    with pytest.raises(UsageError, match="unknown direction"):
        parse_direction(text)


def test_parse_direction_colon_in_existing_file_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a:b.pt").touch()
    assert parse_direction(f"linear:{tmp_path}/a:b.pt") == LinearDirection(tmp_path / "a:b.pt", None)


def test_save_directions_round_trip_same_bytes(tmp_path: Path) -> None:
    vectors = {"Smiling": np.ones((1, 4), np.float32), "tilt": np.arange(8, dtype=np.float32).reshape(2, 4)}
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path in paths:
        Directions(vectors, {"model": "tiny"}).save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    found = load_directions(paths[0])
    assert found.metadata["model"] == "tiny"
    for name, vector in vectors.items():
        np.testing.assert_array_equal(found.vectors[name], vector)
    np.testing.assert_array_equal(select_direction(found, "TILT", None, "it"), vectors["tilt"])
    np.testing.assert_array_equal(select_direction(found, None, "Smiling", "it"), vectors["Smiling"])
    with pytest.raises(UsageError, match="holds 2 directions: name one"):
        select_direction(found, None, None, "it")
    with pytest.raises(UsageError, match="no direction 'x': it holds Smiling, tilt"):
        select_direction(found, "x", "Smiling", "it")


def test_numbers_name_the_components_of_a_ganspace_file(tmp_path: Path) -> None:
    components, deviations = torch.randn(12, 1, 16), torch.rand(12) + 1
    torch.save({"comp": components, "std": deviations}, tmp_path / "pca.pt")
    found = load_directions(tmp_path / "pca.pt")
    np.testing.assert_allclose(select_direction(found, "3", None, "it"), components[3] * deviations[3], rtol=1e-6)
    np.testing.assert_array_equal(select_direction(found, "pca-11", None, "it"), found.vectors["pca-11"])
    with pytest.raises(UsageError, match="no direction '12'"):
        select_direction(found, "12", None, "it")


@pytest.mark.parametrize("stated", ["1", "stedit-directions", "somebody else's"])
def test_files_of_earlier_formats_are_read(stated: str, tmp_path: Path) -> None:
    save_file({"a": np.ones(4, np.float32)}, tmp_path / "a.safetensors", {"format": stated, "model": "tiny"})
    found = load_directions(tmp_path / "a.safetensors")
    assert dict(found.metadata) == {"model": "tiny"}
    assert found.vectors["a"].shape == (1, 4)


def test_files_of_a_later_format_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.ones(4, np.float32)}, tmp_path / "a.safetensors", {"format": "stedit-directions-2"})
    with pytest.raises(InputError, match="a later stedit wrote: upgrade stedit"):
        load_directions(tmp_path / "a.safetensors")


def test_select_friendly_name_finds_attribute() -> None:
    vectors = {"smile": np.ones((1, 4), np.float32), "glasses": -np.ones((1, 4), np.float32)}
    np.testing.assert_array_equal(select_direction(Directions(vectors), None, "Eyeglasses", "it"), vectors["glasses"])


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published directions are not here")
@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [("age", 1, (1, 512)), ("smile", 1, (1, 512)), ("pose", 1, (18, 512)), ("ganspace_ffhq_pca", 80, (1, 512))],
)
def test_load_directions_published_files(name: str, count: int, shape: tuple[int, int]) -> None:
    vectors = load_directions(PUBLISHED / f"{name}.pt").vectors
    assert len(vectors) == count
    for vector in vectors.values():
        assert vector.shape == shape
        if count == 1:  # components have the length of their deviation
            np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1, atol=1e-3)
    assert list(vectors)[:2] == ([name] if count == 1 else [f"{name}-00", f"{name}-01"])


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published directions are not here")
def test_edit_by_label_published_direction_needs_its_code_size(small: Engine) -> None:
    config = GeneratorConfig(resolution=8, style_dim=512, mapping_layers=1, channels=(8, 8))
    networks = Networks(Generator(config).eval().requires_grad_(False))
    engine = Engine(dataclasses.replace(small.model, networks=networks))
    codes = np.random.default_rng(0).standard_normal((2, 4, 512)).astype(np.float32)
    moved = engine.edit_by_label(codes, (), direction=f"linear:{PUBLISHED / 'age.pt'}", strength=2) - codes
    age = load_directions(PUBLISHED / "age.pt").vectors["age"]
    cosine = (moved @ age[0]) / np.linalg.norm(moved, axis=2)
    np.testing.assert_allclose(cosine, 1, atol=1e-4)
    with pytest.raises(UsageError, match="1 x 512 numbers, and this model's are 8 x 16"):
        small.edit_by_label(codes[:, :1, :16].repeat(8, axis=1), (), direction=f"linear:{PUBLISHED / 'age.pt'}")


def test_load_directions_numpy_files(tmp_path: Path) -> None:
    for name, shape in (("flat", (16,)), ("row", (1, 16)), ("full", (8, 16)), ("deep", (1, 8, 16))):
        array = np.random.default_rng(0).standard_normal(shape)
        np.save(tmp_path / f"{name}.npy", array)
        np.testing.assert_allclose(
            load_directions(tmp_path / f"{name}.npy").vectors[name], array.reshape(-1, 16), rtol=1e-6
        )


class Bomb:
    def __reduce__(self) -> object:
        return Path.touch, (Path("exploded"),)


def compressed(path: Path) -> None:
    """A file of torch that grows a thousandfold when it is unpacked."""
    whole = io.BytesIO()
    torch.save(torch.ones(4), whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        new.writestr("archive/data/1", bytes(2**27))


def lying_numpy(path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (64, 10000000000), }".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())


def lying_safetensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 2**40]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def noise(path: Path) -> None:
    path.write_bytes(b"whatever")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "pickle.pt": lambda path: path.write_bytes(pickle.dumps(Bomb())),
    "code.pt": lambda path: torch.save({"comp": Bomb()}, path),
    "endless.pt": lambda path: torch.save(torch.ones(1).expand(10**6, 1, 10**6), path),
    "text.pt": lambda path: torch.save({"mean": "no direction"}, path),
    "compressed.pt": compressed,
    "noise.pt": noise,
    "missing.pt": lambda _path: None,
    "folder.pt": lambda path: path.mkdir(),
    "objects.npy": lambda path: np.save(path, np.array([Bomb()]), allow_pickle=True),
    "booleans.npy": lambda path: np.save(path, np.ones(4, np.bool_)),
    "large.npy": lambda path: path.write_bytes(bytes(2**26 + 1)),
    "liar.npy": lying_numpy,
    "noise.npy": noise,
    "liar.safetensors": lying_safetensors,
    "wide.safetensors": lambda path: save_file({"a": np.ones((2, 5000), np.float32)}, path),
    "nothing.safetensors": lambda path: save_file({}, path),
    "nan.safetensors": lambda path: save_file({"a": np.full(4, np.nan, np.float32)}, path),
    "zero.safetensors": lambda path: save_file({"a": np.zeros(4, np.float32)}, path),
    "noise.safetensors": noise,
    "picture.png": noise,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_load_directions_hostile_file_raises_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    HOSTILE[name](path)
    with pytest.raises(InputError) as caught:
        load_directions(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "give " in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_sefa_directions_orthonormal_and_ordered_by_response(model: Engine) -> None:
    generator = model.networks.generator
    assert isinstance(generator, Generator)
    directions, values = sefa(generator)
    torch.testing.assert_close(directions @ directions.T, torch.eye(len(directions)), atol=1e-5, rtol=0)
    assert (values.diff() <= 0).all()
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()
    # against its definition: how far the scales of the feature maps move per unit of w, in all layers together
    moved = torch.zeros(len(directions))
    for block in generator.blocks:
        for layer in [*block.layers, block.to_rgb]:  # type: ignore[union-attr, misc]
            affine = layer.conv.affine
            moved += (affine(directions) - affine(torch.zeros_like(directions))).square().sum(1)
    torch.testing.assert_close(moved, values, rtol=1e-3, atol=1e-4)


def test_sefa_some_layers_uses_only_their_weights(model: Engine) -> None:
    generator = model.networks.generator
    assert isinstance(generator, Generator)
    directions, values = sefa(generator, [0])
    affine = generator.blocks[0].layers[0].conv.affine  # type: ignore[union-attr, index]
    weight = affine.weight * affine.weight_gain
    torch.testing.assert_close((directions[0] @ weight.T).square().sum(), values[0], rtol=1e-4, atol=0)
    assert abs(float(directions[0] @ sefa(generator)[0][0])) < 0.999
    # the last style is read by the last colours alone, which weigh so many feature maps
    last = sefa(generator, [generator.config.style_count - 1])[1]
    assert int((last > 1e-5).sum()) == generator.config.channels[-1]


def test_edit_by_label_linear_reaches_goals_together_and_alone(model: Engine, faces: Latents, learned: Path) -> None:
    smiling, glasses = (model.attributes.index(name) for name in ("Smiling", "Eyeglasses"))
    sure = {place: model.bundle.attributes[place].target_logit for place in (smiling, glasses)}
    before = logits(model, faces)
    assert (before[:, [smiling, glasses]] < 0).all()
    for names, goals in (
        (["smile"], {smiling: sure[smiling]}),
        (["no-glasses"], {glasses: -sure[glasses]}),
        (["smile", "glasses"], {smiling: sure[smiling], glasses: sure[glasses]}),
    ):
        after = logits(model, model.edit_by_label(faces, names, direction=f"linear:{learned}"))
        for place, goal in goals.items():
            expected = goal if goal > 0 else np.minimum(before[:, place], goal)
            np.testing.assert_allclose(after[:, place], expected, atol=(0.05 if len(goals) == 1 else 0.15) * abs(goal))


def test_edit_by_label_linear_is_a_straight_line_with_strength_in_logits(
    model: Engine, faces: Latents, learned: Path
) -> None:
    full, half = (
        model.edit_by_label(faces, "smile", direction=f"linear:{learned}:Smiling", strength=strength) - faces
        for strength in (1.0, 0.5)
    )
    vector = load_directions(learned).vectors["Smiling"]
    for moved in (full[1:], half[1:]):
        cosine = (moved * vector).sum((1, 2)) / np.linalg.norm(moved, axis=(1, 2)) / np.linalg.norm(vector)
        np.testing.assert_allclose(cosine, 1, atol=1e-3)
    before, goal = logits(model, faces)[:, 0], model.bundle.attributes[0].target_logit
    np.testing.assert_allclose(logits(model, faces + half)[:, 0], (before + goal) / 2, atol=0.05 * goal)
    nothing = model.edit_by_label(faces, "smile", direction=f"linear:{learned}:Smiling", strength=0)
    np.testing.assert_array_equal(nothing, faces)


def test_edit_by_label_linear_keep_holds_the_attribute(model: Engine, faces: Latents, learned: Path) -> None:
    names = ("Narrow_Eyes", "Pale_Skin")
    kept = [model.attributes.index(name) for name in names]
    before = logits(model, faces)[:, kept]
    for attributes, direction in (("smile", f"linear:{learned}:Smiling"), ((), "sefa:2")):
        free, held = (
            logits(model, model.edit_by_label(faces, attributes, direction=direction, keep=keep))
            for keep in ((), names)
        )
        assert (np.abs(held[:, kept] - before).mean(axis=0) < 0.5 * np.abs(free[:, kept] - before).mean(axis=0)).all()
        if attributes:
            np.testing.assert_allclose(held[:, 0], model.bundle.attributes[0].target_logit, rtol=0.1)


def test_edit_by_label_without_attribute_strength_counts_standard_deviations(model: Engine, faces: Latents) -> None:
    moved = [model.edit_by_label(faces, (), direction="sefa:1", strength=s) - faces for s in (1.0, -2.0)]
    np.testing.assert_allclose(moved[1], -2 * moved[0], atol=1e-4)
    generator = model.networks.generator
    assert isinstance(generator, Generator)
    unit = sefa(generator)[0][1].expand(model.code_shape).flatten()
    unit = unit / unit.norm()
    deviation = (unit @ model.model.covariance.multiply(unit)).sqrt()
    np.testing.assert_allclose(np.linalg.norm(moved[0], axis=(1, 2)), float(deviation), rtol=1e-3)


def test_learn_direction_separates_held_out_codes(model: Engine) -> None:
    codes = model.sample_latents(600)
    smiling = (logits(model, codes)[:, 0] > 0).tolist()
    from_gradients = model.learn_direction("smile", codes)
    from_labels = model.learn_direction("anything", codes, smiling)
    assert (from_gradients.method, from_labels.method) == ("the classifier's gradients", "labelled codes")
    assert from_gradients.accuracy > 0.7  # 0.84 of 2000 codes when this was written
    assert from_labels.accuracy > 0.75
    assert (from_gradients.vector * from_labels.vector).sum() > 0.3
    for found in (from_gradients, from_labels):
        assert found.codes == 600
        assert np.linalg.norm(found.vector) == pytest.approx(1, abs=1e-4)
    shuffled = np.random.default_rng(0).permutation(smiling).tolist()
    assert 0.35 < model.learn_direction("anything", codes, shuffled).accuracy < 0.65  # it is measured on unseen codes


def test_logistic_direction_is_the_normal_of_the_plane() -> None:
    codes = torch.randn(500, 20)
    normal = torch.nn.functional.normalize(torch.randn(20), dim=0)
    found = logistic_direction(codes, codes @ normal > 0.3)
    assert float(found @ normal) > 0.97


def test_edit_by_label_contradicting_directions_raise(model: Engine, faces: Latents, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"3 have the attribute and 37 have not: give {MIN_LABELLED} of each"):
        model.learn_direction("x", model.sample_latents(40), [True] * 3 + [False] * 37)
    with pytest.raises(UsageError, match="sefa:0 to sefa:255"):
        model.edit_by_label(faces, (), direction="sefa:256")
    with pytest.raises(UsageError, match="cannot serve 2 attributes"):
        model.edit_by_label(faces, ["smile", "glasses"], direction="sefa:1")
    with pytest.raises(UsageError, match="only linear directions can do without"):
        model.edit_by_label(faces, ())
    with pytest.raises(UsageError, match="both to be edited and to be kept"):
        model.edit_by_label(faces, "smile", keep=["no-smile"])
    last = model.code_shape[0] - 1
    with pytest.raises(UsageError, match=rf"among those of this model, 0\.\.{last}"):
        model.edit_by_label(faces, "smile", layers=[last, last + 1])
    vector = np.zeros(model.code_shape, np.float32)
    vector[3] = 1
    path = tmp_path / "third.safetensors"
    Directions({"third": vector}, {"model": "other", "fingerprint": "f" * 16}).save(path)
    with pytest.raises(UsageError, match="learned for the model 'other'"):
        model.edit_by_label(faces, (), direction=f"linear:{path}")
    Directions({"third": vector}).save(path)
    assert np.abs(model.edit_by_label(faces, (), direction=f"linear:{path}") - faces)[:, 3].min() > 0
    with pytest.raises(UsageError, match="changes none of these layers"):
        model.edit_by_label(faces, (), direction=f"linear:{path}", layers=[4])
