"""Tuning files keep what was put in; files that are damaged, hostile or of another code are refused in a sentence."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from stedit.errors import LatentError, OutputError
from stedit.storage.tunings import MAX_FILE_BYTES, Tuning, tuning_path

LAYER = "blocks.0.layers.0.conv.weight"
OTHER = "blocks.3.to_rgb.conv.weight"


def half(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float16)


@pytest.fixture
def tuning() -> Tuning:
    return Tuning({OTHER: (half(3, 1), half(1, 8)), LAYER: (half(8, 2), half(2, 72))}, "tiny-32", "0123456789abcdef")


def refusal(path: Path) -> str:
    with pytest.raises(LatentError) as caught:
        Tuning.load(path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_tuning_save_and_load_round_trip(tuning: Tuning, tmp_path: Path) -> None:
    path = tmp_path / "face.tuning.safetensors"
    tuning.save(path)
    again = Tuning.load(path)
    assert (again.model, again.fingerprint, again.digest) == ("tiny-32", "0123456789abcdef", tuning.digest)
    assert set(again.factors) == {LAYER, OTHER}
    for name, factors in tuning.factors.items():
        for one, other in zip(factors, again.factors[name], strict=True):
            np.testing.assert_array_equal(one, other)
    again.require(digest=tuning.digest, path=path)


def test_same_tuning_gives_the_same_bytes_and_digest(tuning: Tuning) -> None:
    assert tuning.encode() == replace(tuning).encode()
    reordered = replace(tuning, factors=dict(reversed(tuning.factors.items())))
    assert reordered.digest == tuning.digest
    assert replace(tuning, fingerprint="f" * 16).digest != tuning.digest
    up, down = tuning.factors[LAYER]
    assert replace(tuning, factors={**tuning.factors, LAYER: (up + up, down)}).digest != tuning.digest


def test_safetensors_library_reads_a_tuning_file(tuning: Tuning, tmp_path: Path) -> None:
    tuning.save(tmp_path / "a")
    with safe_open(tmp_path / "a", framework="numpy") as file:
        assert file.metadata()["model"] == "tiny-32"
        np.testing.assert_array_equal(file.get_tensor(f"{LAYER}.up"), tuning.factors[LAYER][0])


def test_tuning_path_lies_beside_the_latent_file() -> None:
    assert tuning_path(Path("a/face.latent.safetensors")) == Path("a/face.tuning.safetensors")


def test_tuning_of_another_code_is_refused(tuning: Tuning) -> None:
    with pytest.raises(LatentError, match="x belongs to another code than the latent file beside it"):
        tuning.require(digest="0" * 16, path="x")


@pytest.mark.parametrize(
    "factors",
    [
        {},
        {"mapping.layers.0.weight": (half(8, 2), half(2, 72))},
        {"../x": (half(8, 2), half(2, 72))},
        {LAYER: (half(8, 2).astype(np.float32), half(2, 72))},
        {LAYER: (half(8, 2), half(3, 72))},
        {LAYER: (half(8, 65), half(65, 72))},
        {LAYER: (half(8), half(2, 72))},
        {LAYER: (half(8, 2), half(2, 72) * np.float16(np.inf))},
        {LAYER: (half(4097, 1), half(1, 72))},
    ],
)
def test_tuning_of_wrong_shapes_raises(factors: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=r"changes|factors"):
        Tuning(factors, "m", "f")


def save(path: Path, tensors: dict[str, np.ndarray], **metadata: str) -> Path:
    texts = {"format": "1", "model": "m", "fingerprint": "f"} | metadata
    save_file(tensors, path, {key: text for key, text in texts.items() if text})
    return path


def test_damaged_tuning_file_is_refused(tmp_path: Path) -> None:
    path, good = tmp_path / "a", {f"{LAYER}.up": half(8, 2), f"{LAYER}.down": half(2, 72)}
    assert "is missing, which a tuned code needs beside it" in refusal(path)
    assert "is not a file" in refusal(tmp_path)
    for data in (b"", b"junk", struct.pack("<Q", 2**63)):
        path.write_bytes(data)
        assert "is not a tuning, or is damaged" in refusal(path)
    assert "does not state the fingerprint" in refusal(save(path, good, fingerprint=""))
    assert "tuning format '2': upgrade stedit" in refusal(save(path, good, format="2"))
    assert "no pairs of factors" in refusal(save(path, {f"{LAYER}.up": half(8, 2)}))
    assert "no convolution of a generator" in refusal(save(path, {"x.up": half(8, 2), "x.down": half(2, 72)}))
    assert "something other than a tuning" in refusal(save(path, {"w": np.zeros((8, 16), np.float32)}))
    save(path, good)
    Tuning.load(path)


def test_huge_tuning_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "larger than any tuning" in refusal(path)


def test_save_into_a_missing_folder_raises(tuning: Tuning, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        tuning.save(tmp_path / "none" / "a")
