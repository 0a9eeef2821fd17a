"""Codes come from latent files, files of many codes, pictures and the mapping network, each under its name."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from stedit import Engine
from stedit.errors import InputError, LatentError
from stedit.storage.latents import LatentCode
from stedit.training.data.latents import LatentSet, validation_mask


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle, device="cpu")


def write_pictures(folder: Path, names: list[str]) -> list[np.ndarray]:
    pictures = [np.random.default_rng(k).integers(0, 256, (32, 32, 3), np.uint8) for k in range(len(names))]
    for name, pixels in zip(names, pictures, strict=True):
        Image.fromarray(pixels).save(folder / name)
    return pictures


def test_read_inverts_images(tmp_path: Path, engine: Engine) -> None:
    pictures = write_pictures(tmp_path, ["b.png", "a.png"])
    codes = LatentSet.read([str(tmp_path)], engine)
    assert codes.names == ("a", "b")
    np.testing.assert_allclose(codes.codes.numpy(), engine.invert(np.stack(pictures[::-1])), atol=1e-5)
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "folder/a.png")
    zipped = LatentSet.read([str(tmp_path / "pictures.zip")], engine)
    assert zipped.names == ("a",)
    assert torch.allclose(zipped.codes[0], codes.codes[0], atol=1e-5)


def test_read_prefers_latent_files_to_images(tmp_path: Path, engine: Engine) -> None:
    write_pictures(tmp_path, ["a.png"])
    (tmp_path / "deep").mkdir()
    w = np.ones(engine.code_shape, np.float32)
    bundle = engine.bundle
    LatentCode(w, bundle.name, bundle.fingerprint).save(tmp_path / "deep" / "x.y.latent.safetensors")
    codes = LatentSet.read([str(tmp_path), str(tmp_path / "deep" / "x.y.latent.safetensors")], engine)
    assert codes.names == ("x.y", "x.y")
    assert torch.equal(codes.codes, torch.ones(2, *engine.code_shape))
    LatentCode(w, "other", "0" * 16).save(tmp_path / "other.latent.safetensors")
    with pytest.raises(LatentError, match="was made with the model 'other'"):
        LatentSet.read([str(tmp_path)], engine)


def test_file_of_many_codes_round_trips(tmp_path: Path, engine: Engine) -> None:
    codes = LatentSet(("a", "b", "c"), torch.randn(3, *engine.code_shape))
    codes.save(tmp_path / "codes.safetensors", engine.bundle)
    again = LatentSet.read([str(tmp_path / "codes.safetensors")], engine)
    assert again.names == codes.names
    assert torch.equal(again.codes, codes.codes)
    save_file({"w": codes.codes.half()}, tmp_path / "plain.safetensors")
    plain = LatentSet.read([str(tmp_path / "plain.safetensors")], engine)
    assert plain.names == ("0", "1", "2")
    assert torch.equal(plain.codes, codes.codes.half().float())


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "said"),
    [
        ({"v": torch.zeros(2, 8, 16)}, None, InputError, "no tensor 'w'"),
        ({"w": torch.zeros(2, 8, 15)}, None, LatentError, "holds codes of"),
        ({"w": torch.zeros(2, 8, 16, dtype=torch.float64)}, None, InputError, "in F64"),
        ({"w": torch.full((2, 8, 16), torch.inf)}, None, InputError, "not finite"),
        ({"w": torch.zeros(2, 8, 16)}, {"names": '["a"]'}, InputError, "not a list of 2 texts"),
        ({"w": torch.zeros(2, 8, 16)}, {"names": "{"}, InputError, "not a list of 2 texts"),
        ({"w": torch.zeros(2, 8, 16)}, {"fingerprint": "x"}, LatentError, "was made with the model 'unknown'"),
    ],
)
def test_read_refuses_files_of_other_models(
    tmp_path: Path, engine: Engine, tensors: dict, metadata: dict | None, error: type, said: str
) -> None:
    save_file(tensors, tmp_path / "codes.safetensors", metadata)
    with pytest.raises(error, match=said):
        LatentSet.read([str(tmp_path / "codes.safetensors")], engine)


def test_read_refuses_damaged_and_missing_sources(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "codes.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"cannot read the codes .*codes\.safetensors"):
        LatentSet.read([str(tmp_path / "codes.safetensors")], engine)
    with pytest.raises(InputError, match=r"there are no codes at .*other\.safetensors"):
        LatentSet.read([str(tmp_path / "other.safetensors")], engine)
    write_pictures(tmp_path, ["a.png", "b.png"])
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        LatentSet.read([str(tmp_path)], engine)


def test_sample_is_a_function_of_the_seed(engine: Engine) -> None:
    one, same, other = (LatentSet.sample(5, engine, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.codes, same.codes)
    assert not torch.equal(one.codes, other.codes)
    assert torch.equal(one.codes, one.codes[:, :1].expand_as(one.codes))  # one w for all styles
    assert one.names[0] == "sample-0"
    assert len(one.join(other)) == 10


def test_validation_mask_is_evenly_spread() -> None:
    kept = validation_mask(100, 0.1)
    assert kept.nonzero()[:, 0].tolist() == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95]
    assert validation_mask(7, 0.5).sum() == 4
    assert not validation_mask(7, 0.0).any()
