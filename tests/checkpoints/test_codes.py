"""Latent codes of other tools: every shape and container is read, nothing unsound is, what is written reads back."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import save_file

from stedit.checkpoints.arrays import MAX_UNPACKED, read_arrays
from stedit.checkpoints.codes import CodeFile, encode_codes, encode_named_codes, is_surely_codes
from stedit.errors import LatentError

N, D = 8, 16
SHAPE = (N, D)
CASES = Path(__file__).parents[3] / "shared" / "cases"

Codes = npt.NDArray[np.float32]


@pytest.fixture
def codes() -> Codes:
    """Three codes (3, N, D), of styles longer than any direction."""
    return np.random.default_rng(0).normal(size=(3, N, D)).astype(np.float32) + 1


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def saved(name: str, content: Any, **arrays: Any) -> Path:
    path = Path(name)
    if path.suffix == ".npz":
        np.savez(path, **(content or arrays))
    elif path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        torch.save(content, path)
    return path


def read(path: Path) -> dict[str, Codes]:
    found = CodeFile.read(path)
    return {name: found.code(name, SHAPE) for name in found.codes}


def refusal(path: Path) -> str:
    with pytest.raises(LatentError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("ending", [".npy", ".pt", ".npz"])
@pytest.mark.parametrize(
    "shape", [lambda w: w[0], lambda w: w[:1], lambda w: w[None, :1]], ids=["(N, D)", "(1, N, D)", "(1, 1, N, D)"]
)
def test_one_code_is_called_by_its_file(codes: Codes, ending: str, shape: Any) -> None:
    array = shape(codes)
    content = {"w": array} if ending == ".npz" else torch.from_numpy(array) if ending == ".pt" else array
    found = read(saved(f"face.2{ending}", content))
    assert list(found) == ["face.2"]
    np.testing.assert_array_equal(found["face.2"], codes[0])


@pytest.mark.parametrize("style", [lambda w: w[0, 0], lambda w: w[0, :1], lambda w: w[:1, :1]])
def test_code_in_w_serves_every_style(codes: Codes, style: Any) -> None:
    found = read(saved("0.pt", torch.from_numpy(style(codes))))
    np.testing.assert_array_equal(found["0"], np.broadcast_to(codes[0, 0], SHAPE))


def test_stack_of_codes_gives_numbered_codes(codes: Codes) -> None:
    found = read(saved("latents.pt", torch.from_numpy(codes)))
    assert list(found) == ["latents-0", "latents-1", "latents-2"]
    np.testing.assert_array_equal(np.stack(list(found.values())), codes)
    np.testing.assert_array_equal(read(saved("list.pt", [torch.from_numpy(w) for w in codes]))["list-2"], codes[2])


def test_dictionary_gives_codes_by_the_names_of_pictures(codes: Codes) -> None:
    named = OrderedDict({"photos/a.jpg": torch.from_numpy(codes[0]), "C:\\x\\b.PNG": torch.from_numpy(codes[1:2])})
    found = read(saved("latents.pt", named))
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], codes[1])
    wrapped = read(saved("latents.npy", {"a.jpg": codes[0], "b.jpg": codes[1]}))
    assert list(wrapped) == ["a", "b"]
    np.testing.assert_array_equal(wrapped["b"], codes[1])


def test_equal_names_keep_their_endings_and_no_name_leads_elsewhere(codes: Codes) -> None:
    tensors = [torch.from_numpy(w) for w in codes]
    assert list(read(saved("x.pt", {"a.jpg": tensors[0], "a.png": tensors[1]}))) == ["a", "a-png"]
    assert list(read(saved("y.pt", {"../..": tensors[0], ".hidden\n": tensors[1], "a:b*": tensors[2]}))) == [
        "code",
        "hidden_",
        "a_b_",
    ]


def test_projector_of_rosinality_keeps_the_code_beside_picture_and_noise(codes: Codes) -> None:
    content = {"a.jpg": {"img": torch.zeros(3, 64, 64), "latent": torch.from_numpy(codes[0]), "noise": [torch.ones(1)]}}
    np.testing.assert_array_equal(read(saved("a.pt", content))["a"], codes[0])


def test_known_keys_find_the_code_among_other_things(codes: Codes) -> None:
    other = {"args": {"steps": 1000}, "loss": torch.tensor([0.5, 0.25])}
    for key in ("latent", "w", "dlatents", "w_plus"):
        np.testing.assert_array_equal(read(saved("0.pt", {**other, key: torch.from_numpy(codes[:1])}))["0"], codes[0])


def test_several_arrays_of_an_npz_are_called_by_their_names(codes: Codes) -> None:
    assert list(read(saved("people.npz", None, jane=codes[0], joe=codes[1:2]))) == ["jane", "joe"]
    np.savez_compressed("packed.npz", w=codes)
    np.testing.assert_array_equal(read(Path("packed.npz"))["packed-1"], codes[1])


@pytest.mark.parametrize("kind", [np.float16, np.float64, ">f4"])
def test_other_widths_become_float32(codes: Codes, kind: Any) -> None:
    found = read(saved("face.npy", codes[0].astype(kind)))["face"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, codes[0], atol=2e-3)
    bfloat = torch.from_numpy(codes[0]).bfloat16()
    np.testing.assert_allclose(read(saved("b.pt", bfloat))["b"], codes[0], atol=2e-2)


def test_training_file_of_many_codes_keeps_names_and_model(codes: Codes) -> None:
    save_file({"w": codes}, "many.safetensors", {"names": '["a", "b", "c"]', "model": "m", "fingerprint": "f" * 16})
    found = CodeFile.read(Path("many.safetensors"))
    assert (list(found.codes), found.model, found.fingerprint) == (["a", "b", "c"], "m", "f" * 16)
    np.testing.assert_array_equal(found.code("c", SHAPE), codes[2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros((N, D), np.uint8), "uint8 (8, 16), which is no code"),
        (np.zeros((2, 3, N, D), np.float32), "(2, 3, 8, 16), which is no code"),
        (np.zeros((65, D), np.float32), "(65, 16), which is no code"),
        (np.zeros((N, 5000), np.float32), "(8, 5000), which is no code"),
        (np.float32(1), "which is no code"),
        (np.zeros((0, N, D), np.float32), "holds no code"),
        ({"a": np.zeros((3, 64, 64, 64), np.float32)}, "which is no code"),
        ({}, "holds no code"),
        (np.full((N, D), np.nan, np.float32), "not finite"),
        (np.full((N, D), 1e300), "not finite"),
        (np.zeros((10, D), np.float32), "is of 10 x 16 numbers, and the model takes 8 x 16"),
        (np.zeros((N, 32), np.float32), "is of 8 x 32 numbers, and the model takes 8 x 16"),
    ],
)
def test_file_that_holds_no_code_is_refused_in_a_sentence(content: Any, said: str) -> None:
    assert said in refusal(saved("odd.npy", content))


def test_damaged_and_hostile_files_are_refused(codes: Codes, tmp_path: Path) -> None:
    whole = saved("face.npz", {"w": codes}).read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    refusal(Path("cut.npz"))
    Path("cut.npy").write_bytes(saved("face.npy", codes).read_bytes()[:-9])
    refusal(Path("cut.npy"))
    Path("empty.pt").write_bytes(b"")
    refusal(Path("empty.pt"))
    assert "does not exist" in refusal(Path("nowhere.npy"))
    Path("folder.npz").mkdir()
    assert "not a file" in refusal(Path("folder.npz"))

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "touched",))

    refusal(saved("evil.npy", np.array([Attack()], dtype=object)))
    refusal(saved("evil.pt", {"w": Attack()}))
    assert not (tmp_path / "touched").exists()


def test_small_code_file_cannot_claim_much_memory() -> None:
    with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(MAX_UNPACKED + 1))
    assert Path("bomb.npz").stat().st_size < 2**20
    assert "unpacks to more" in refusal(Path("bomb.npz"))
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 16), }"
    lie = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
    Path("lie.npy").write_bytes(lie)
    refusal(Path("lie.npy"))
    with zipfile.ZipFile("lie.npz", "w") as archive:
        archive.writestr("w.npy", lie)
    assert "truncated" in refusal(Path("lie.npz"))


@pytest.mark.parametrize("file_format", ["npz", "npy", "pt"])
def test_codes_encode_and_read_round_trip_with_the_same_bytes(codes: Codes, file_format: Any) -> None:
    data = encode_codes(codes[:1], file_format)
    assert data == encode_codes(codes[:1].copy(), file_format)
    path = Path(f"face.{file_format}")
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path)["face"], codes[0])
    if file_format == "pt":
        loaded = torch.load(path, weights_only=True).numpy()
    else:
        loaded = np.load(path) if file_format == "npy" else np.load(path)["w"]
    np.testing.assert_array_equal(loaded, codes[:1])


def test_several_codes_keep_their_names_in_an_npz(codes: Codes) -> None:
    Path("all.npz").write_bytes(encode_named_codes({"a": codes[0], "b": codes[1]}, "npz"))
    assert list(read(Path("all.npz"))) == ["a", "b"]
    Path("all.pt").write_bytes(encode_named_codes({"a": codes[0], "b": codes[1]}, "pt"))
    np.testing.assert_array_equal(torch.load("all.pt", weights_only=True).numpy(), codes[:2])


def test_codes_are_told_from_directions(codes: Codes) -> None:
    unit = codes[0] / np.linalg.norm(codes[0], axis=1, keepdims=True)
    assert is_surely_codes(torch.from_numpy(codes[0]))
    assert is_surely_codes(torch.from_numpy(unit[None].repeat(2, axis=0)))  # a stack
    assert is_surely_codes({"a.jpg": torch.from_numpy(unit)})
    assert is_surely_codes({"w": torch.from_numpy(unit)})
    assert not is_surely_codes(torch.from_numpy(unit))
    assert not is_surely_codes(torch.from_numpy(codes[0]), "stylegan_smile-1")
    assert is_surely_codes(torch.from_numpy(codes[0]), "smiley")
    assert not is_surely_codes({"smile": torch.from_numpy(codes[0])})
    assert not is_surely_codes(torch.ones(D, dtype=torch.int64))


@pytest.mark.skipif(not CASES.is_dir(), reason="the collection of files is not here")
def test_files_of_the_collection_hold_one_code_under_many_names() -> None:
    first = CodeFile.read(CASES / "codes" / "face01.npy").code("face01")
    for file in sorted((CASES / "codes").iterdir()):
        found = CodeFile.read(file)
        code = found.code(next(iter(found.codes)))
        np.testing.assert_array_equal(code, first[: len(code)], err_msg=str(file))
        assert is_surely_codes(read_arrays(file), file.stem)
    for file in sorted((CASES / "directions").iterdir()):
        assert not is_surely_codes(read_arrays(file), file.stem), file
