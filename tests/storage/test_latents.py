"""Latent files: the same code gives the same bytes, and nothing but a sound code of the right model is let in."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from stedit import __version__
from stedit.errors import LatentError, OutputError
from stedit.storage.latents import MAX_FILE_BYTES, LatentCode, is_latent_path

METADATA = {"format": "1", "model": "tiny-32", "fingerprint": "0123456789abcdef"}


@pytest.fixture
def code() -> LatentCode:
    w = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    return LatentCode(w, model="tiny-32", fingerprint="0123456789abcdef", source="Zoë.jpg", crop='{"box": [1, 2]}')


def file_of(header: object, payload: bytes = b"") -> bytes:
    """A safetensors file with a header of our choice."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + payload


def w_of(shape: list[int], dtype: str = "F32", size: int | None = None) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape)) if size is None else size]}


def refusal(path: Path) -> str:
    with pytest.raises(LatentError) as caught:
        LatentCode.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "it")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("face.latent.safetensors", True),
        ("a/b/FACE.Latent.SafeTensors", True),
        ("face.safetensors", False),
        ("face.latent.safetensors.png", False),
        ("folder.latent.safetensors/face.png", False),
    ],
)
def test_latent_path_is_known_by_its_suffix(name: str, expected: bool) -> None:
    assert is_latent_path(name) is expected
    assert is_latent_path(Path(name)) is expected


def test_latent_code_save_and_load_round_trip(code: LatentCode, tmp_path: Path) -> None:
    path = tmp_path / "face.latent.safetensors"
    code.save(path)
    loaded = LatentCode.load(path)
    np.testing.assert_array_equal(loaded.w, code.w)
    assert loaded.w.dtype == np.float32
    assert replace(loaded, w=code.w).__dict__ == code.__dict__
    assert (loaded.method, loaded.source, loaded.stedit_version) == ("encoder", "Zoë.jpg", __version__)
    assert [item.name for item in tmp_path.iterdir()] == ["face.latent.safetensors"]
    assert path.read_bytes() == code.encode()


def test_safetensors_library_reads_a_latent_file(code: LatentCode, tmp_path: Path) -> None:
    code.save(tmp_path / "a")
    with safe_open(tmp_path / "a", framework="numpy") as file:
        np.testing.assert_array_equal(file.get_tensor("w"), code.w)
        assert file.metadata()["model"] == "tiny-32"
        assert file.metadata()["format"] == "1"
        assert set(file.metadata()) == {*METADATA, "method", "source", "crop", "stedit_version", "tuning", "origin"}
    assert (int.from_bytes((tmp_path / "a").read_bytes()[:8], "little") + 8) % 8 == 0


def test_file_written_by_the_safetensors_library_is_read(code: LatentCode, tmp_path: Path) -> None:
    save_file({"w": code.w}, tmp_path / "a", metadata=METADATA)
    loaded = LatentCode.load(tmp_path / "a")
    np.testing.assert_array_equal(loaded.w, code.w)
    assert loaded.source == ""


def test_same_code_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from stedit.storage.latents import LatentCode\n"
        "LatentCode(np.ones((2, 3), np.float32), 'm', 'f', source='s', crop='c').save(sys.argv[1])"
    )
    for i in range(3):
        subprocess.run([sys.executable, "-c", program, tmp_path / str(i)], check=True)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(3)}) == 1


def test_big_endian_or_strided_code_is_stored_alike(code: LatentCode, tmp_path: Path) -> None:
    code.save(tmp_path / "a")
    replace(code, w=np.asfortranarray(code.w)).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no names that are not Unicode")
def test_source_name_that_is_not_unicode_is_kept(code: LatentCode, tmp_path: Path) -> None:
    replace(code, source=os.fsdecode(b"caf\xe9.jpg")).save(tmp_path / "a")
    assert LatentCode.load(tmp_path / "a").source == "caf?.jpg"


@pytest.mark.parametrize(
    "w",
    [
        np.zeros((8, 16), np.float64),
        np.zeros((8,), np.float32),
        np.zeros((1, 8, 16), np.float32),
        np.zeros((0, 16), np.float32),
        np.zeros((65, 16), np.float32),
        np.zeros((8, 4097), np.float32),
        np.full((8, 16), np.nan, np.float32),
        np.full((8, 16), -np.inf, np.float32),
    ],
)
def test_latent_code_of_wrong_shape_or_values_raises(w: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^w (is|has|holds) "):
        LatentCode(w, "tiny-32", "0123456789abcdef")


def test_largest_code_can_be_saved_and_loaded(code: LatentCode, tmp_path: Path) -> None:
    replace(code, w=np.ones((64, 4096), np.float32)).save(tmp_path / "a")
    assert LatentCode.load(tmp_path / "a").w.shape == (64, 4096)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is not a latent code, or is damaged"),
        (b"hello", "it is not a latent code, or is damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "it is not a latent code, or is damaged"),
        (struct.pack("<Q", 2**63), "it is not a latent code, or is damaged"),
        (file_of([]), "it is not a latent code, or is damaged"),
        (file_of({"w": w_of([8, 16])}), "it is not a latent code, or is damaged"),  # no payload
        (file_of({"w": w_of([2**40, 2**40])}, bytes(64)), "it is not a latent code, or is damaged"),
        (file_of({"w": w_of([8, 16], size=64)}, bytes(64)), "it is not a latent code, or is damaged"),
        (file_of({"w": w_of([-8, 16])}, bytes(512)), "it is not a latent code, or is damaged"),
        (
            file_of({"__metadata__": METADATA}),
            "it holds no latent code (no tensor 'w'): invert a picture to make one",
        ),
        (
            file_of({"__metadata__": METADATA, "W": w_of([8, 16])}, bytes(512)),
            "it holds no latent code (no tensor 'w'): invert a picture to make one",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([8, 16], "F16", 256)}, bytes(256)),
            "it holds a code in F16, not F32: invert the picture again",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([8, 16], "BF16", 256)}, bytes(256)),
            "it holds a code in BF16, not F32: invert the picture again",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([128])}, bytes(512)),
            "it is damaged (w is float32 (128,), not float32 (N, D)): invert the picture again",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([0, 16])}),
            "it is damaged (w has the shape (0, 16), outside (1..64, 1..4096)): invert the picture again",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([65, 1])}, bytes(260)),
            "it is damaged (w has the shape (65, 1), outside (1..64, 1..4096)): invert the picture again",
        ),
        (
            file_of({"__metadata__": METADATA, "w": w_of([1, 1])}, struct.pack("<f", np.nan)),
            "it is damaged (w holds numbers that are not finite): invert the picture again",
        ),
        (
            file_of({"w": w_of([1, 1])}, bytes(4)),
            "it does not state the format of its code: invert the picture again",
        ),
        (
            file_of({"__metadata__": {**METADATA, "model": ""}, "w": w_of([1, 1])}, bytes(4)),
            "it does not state the model of its code: invert the picture again",
        ),
        (
            file_of({"__metadata__": {**METADATA, "format": "2"}, "w": w_of([1, 1])}, bytes(4)),
            "it is of the latent format '2': upgrade stedit to read it",
        ),
        (
            file_of({"__metadata__": {**METADATA, "model": 5}, "w": w_of([1, 1])}, bytes(4)),
            "it is not a latent code, or is damaged",
        ),
    ],
)
def test_damaged_latent_file_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "bad.latent.safetensors"
    path.write_bytes(data)
    sentence = refusal(path)
    assert sentence.startswith(reason)
    assert sentence.count(": ") >= 1  # what is wrong: what to do


def test_truncated_latent_file_is_refused(code: LatentCode, tmp_path: Path) -> None:
    path = tmp_path / "a"
    code.save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 41):
        path.write_bytes(whole[:size])
        assert "is not a latent code, or is damaged" in refusal(path)


def test_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: takes no room on the disk
    assert "(it is 1099511.6 MB, larger than any latent code): invert the picture again" in refusal(path)
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "larger than any latent code" in refusal(path)


def test_load_of_a_path_that_is_no_file_raises(tmp_path: Path) -> None:
    assert "(it is not a file): invert the picture again" in refusal(tmp_path)
    assert refusal(tmp_path / "none") == "it does not exist: check the spelling"
    os.mkfifo(tmp_path / "pipe")
    assert "(it is not a file): invert the picture again" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_file_raises(code: LatentCode, tmp_path: Path) -> None:
    code.save(tmp_path / "a")
    (tmp_path / "a").chmod(0)
    assert refusal(tmp_path / "a") == "cannot read it: permission denied"


def test_save_to_an_unwritable_place_raises(code: LatentCode, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its folder does not exist, so create it first"):
        code.save(tmp_path / "none" / "face.latent.safetensors")


def test_require_accepts_a_code_of_the_right_model(code: LatentCode) -> None:
    code.require(model="tiny-32", fingerprint="0123456789abcdef", shape=(8, 16), path="a")
    code.require(model="tiny, renamed", fingerprint="0123456789abcdef", shape=(8, 16), path="a")


def test_code_of_another_model_is_refused_by_name(code: LatentCode) -> None:
    with pytest.raises(LatentError) as caught:
        code.require(model="ffhq-1024", fingerprint="f" * 16, shape=(8, 16), path="a")
    assert str(caught.value) == (
        "a was made with the model 'tiny-32' (fingerprint '0123456789abcdef'), "
        "not with 'ffhq-1024' ('ffffffffffffffff'): use that model, or invert the picture again"
    )


def test_code_of_the_parent_is_taken_and_one_of_nobody_is_not(code: LatentCode) -> None:
    child = {"model": "toon", "fingerprint": "f" * 16, "shape": (8, 16), "path": "a"}
    code.require(**child, derived_from="0123456789abcdef")
    with pytest.raises(LatentError, match="not with 'toon'"):
        code.require(**child, derived_from="e" * 16)
    with pytest.raises(LatentError, match="not with 'toon'"):
        replace(code, fingerprint="").require(**child)


def test_code_of_another_size_is_refused(code: LatentCode) -> None:
    with pytest.raises(LatentError) as caught:
        code.require(model="tiny-32", fingerprint="0123456789abcdef", shape=(18, 512), path="a")
    assert str(caught.value) == (
        "a holds a code of 8 x 16 numbers, but 'tiny-32' takes 18 x 512: invert the picture again"
    )


def test_error_of_a_hostile_latent_file_has_no_control_characters(code: LatentCode, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(file_of({"w": {**w_of([1, 1]), "dtype": "\x1b[2J"}}, bytes(4)))
    assert refusal(tmp_path / "a").isprintable()
    replace(code, model="\x1b[2Jowned", fingerprint="\x1b[31m").save(tmp_path / "a")
    with pytest.raises(LatentError) as caught:
        LatentCode.load(tmp_path / "a").require(model="m", fingerprint="f", shape=(8, 16), path="a")
    assert "\x1b" not in str(caught.value)


@settings(max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=400),
        st.binary(max_size=200).map(lambda text: struct.pack("<Q", len(text)) + text),
        st.dictionaries(
            st.sampled_from(["w", "__metadata__", "x"]),
            st.recursive(
                st.none() | st.integers() | st.text(max_size=5) | st.just("F32"),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "model"]), inner)
                ),
            ),
        ).map(lambda header: file_of(header, bytes(64))),
    )
)
def test_fuzz_random_files_are_refused_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.latent.safetensors"
    path.write_bytes(data)
    refusal(path)
