"""Reading checkpoint files: every container, and every way in which a file may be damaged or mean harm."""

from __future__ import annotations

import functools
import io
import os
import pickle
import struct
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from stedit.checkpoints.arrays import as_array
from stedit.checkpoints.formats import convert
from stedit.checkpoints.reader import load_file
from stedit.errors import InputError

Save = Callable[..., Path]

CONTENT = {
    "state_dict": OrderedDict(
        weight=torch.arange(6.0).reshape(2, 3),
        transposed=torch.arange(6.0).reshape(2, 3).T,
        row=torch.arange(12.0).reshape(4, 3)[2],
        half=torch.tensor([1.5, -2.0], dtype=torch.float16),
        short=torch.tensor([3.0], dtype=torch.bfloat16),
        counter=torch.tensor(7),
        flags=torch.tensor([True, False]),
        bytes=torch.tensor([1, 2, 3], dtype=torch.uint8),
        empty=torch.zeros(0, 4),
    ),
    "numbers": [1, -2, 2**40, 0.5, True, None, "text", b"bytes", (1, 2), (1,), (), {}, []],
}


def same(one: Any, other: Any) -> bool:
    """Whether two trees of plain containers and tensors are alike."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def refusal(path: Path) -> str:
    """The one sentence by which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_file(path)
    sentence = str(caught.value)
    assert str(path) in sentence
    assert "\n" not in sentence
    return sentence


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.pt"


# What is read


@pytest.mark.parametrize("legacy", [True, False])
def test_zip_and_legacy_containers_of_torch_are_read(save: Save, file: Path, legacy: bool) -> None:
    assert same(load_file(save(file, CONTENT, legacy=legacy)).content, CONTENT)


@pytest.mark.parametrize("legacy", [True, False])
def test_reads_the_same_as_torch_load(save: Save, file: Path, legacy: bool) -> None:
    save(file, CONTENT, legacy=legacy)
    assert same(load_file(file).content, torch.load(file, weights_only=True, map_location="cpu"))


@pytest.mark.parametrize("legacy", [True, False])
def test_python_objects_become_plain(save: Save, file: Path, legacy: bool) -> None:
    import argparse

    content = {
        "args": argparse.Namespace(size=64, device="cuda", betas=(0.0, 0.99), nested=argparse.Namespace(x=1)),
        "optim": defaultdict(dict, {0: {"step": 1}}),
        "names": {"a"},
        "best": np.float64(0.25),
        "count": np.int64(3),
        "device": torch.device("cuda", 1),
        "size": torch.Size([2, 3]),
        "shared": torch.nn.Parameter(torch.ones(2)),
    }
    read = load_file(save(file, content, legacy=legacy)).content
    assert read["args"] == {"size": 64, "device": "cuda", "betas": (0.0, 0.99), "nested": {"x": 1}}
    assert read["optim"] == {0: {"step": 1}}
    assert (read["names"], read["best"], read["count"]) == (["a"], 0.25, 3)
    assert (read["device"], read["size"]) == ("cuda:1", (2, 3))
    assert type(read["shared"]) is Tensor


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_protocol_of_pickle(file: Path, protocol: int) -> None:
    content = {"numbers": [*CONTENT["numbers"], 10**30, -(10**400), "ü\n", "x" * 300, b"y" * 300, {"deep": [{}]}]}
    file.write_bytes(pickle.dumps(content, protocol))
    assert same(load_file(file).content, content)


def test_shared_storages_stay_shared(save: Save, file: Path) -> None:
    whole = torch.arange(10.0)
    for legacy in (True, False):
        read = load_file(save(file, {"whole": whole, "part": whole[2:5]}, legacy=legacy)).content
        assert torch.equal(read["part"], whole[2:5])
        assert read["whole"].data_ptr() + 8 == read["part"].data_ptr()


def test_nvidias_pickle_is_a_tree_of_states(save_nvidia: Save, file: Path) -> None:
    for protocol in (2, 3, 4):
        tensors = {"mapping.w_avg": torch.arange(4.0), "synthesis.b4.const": torch.ones(2, 4, 4)}
        content = load_file(save_nvidia(file, tensors, protocol)).content
        state = content["G_ema"]["state"]
        assert state["_init_kwargs"]["synthesis_kwargs"] == {"channel_base": 32768, "conv_clamp": 256}
        mean = state["_modules"]["mapping"]["state"]["_parameters"]["w_avg"]
        assert torch.equal(mean, tensors["mapping.w_avg"])
        assert content["training_set_kwargs"] == {"path": "/data/ffhq.zip", "use_labels": False}


def test_safetensors_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"encoder.x": torch.ones(2), "latent_avg": torch.zeros(3)}, path, {"encoder_type": "Encoder4Editing"})
    content = load_file(path).content
    assert same(content["state_dict"], {"encoder.x": torch.ones(2)})
    assert torch.equal(content["latent_avg"], torch.zeros(3))
    assert content["opts"] == {"encoder_type": "Encoder4Editing"}


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu], ids=str)
def test_numbers_of_one_byte_are_widened(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([0.5, 1.0, 2.0])
    save_file({"x": values.to(dtype)}, tmp_path / "m.safetensors")
    assert same(load_file(tmp_path / "m.safetensors").content["state_dict"], {"x": values})
    array = as_array(values.to(dtype))
    assert array is not None
    assert array.tolist() == values.tolist()


def test_numpy_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "age.npy", np.arange(4.0)[None])
    assert torch.equal(load_file(tmp_path / "age.npy").content, torch.arange(4.0)[None])


def test_checksum_is_that_of_the_file(save: Save, file: Path) -> None:
    import hashlib

    assert load_file(save(file, CONTENT, legacy=True)).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


# Files that mean harm. Each would make `harm` if anything in it were executed.


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def hostile(harm: Path) -> dict[str, tuple[object, str]]:
    """Objects whose pickles would run something, and the name that gives each away."""
    command = f"touch {harm}"
    return {
        "system": (Call(os.system, command), f"{os.system.__module__}.system"),
        "nested": ({"state_dict": {"a": [Call(os.system, command)]}}, ".system"),
        "eval": (Call(eval, f"__import__('os').system('{command}')"), ".eval"),
        "exec": (Call(exec, "raise SystemExit"), ".exec"),
        "getattr": (Call(getattr, "text", "format"), "getattr"),
        "import": (Call(__import__, "os"), "__import__"),
        "open": (Call(open, str(harm), "w"), "open"),
        "torch.load": (Call(torch.load, str(harm)), "torch.serialization.load"),
        "partial": ({"a": Call(functools.partial, os.system, command)}, ".system"),
    }


CASES = sorted(hostile(Path("x")))


@pytest.mark.parametrize("wrap", ["plain", "zip", "legacy"])
@pytest.mark.parametrize("case", CASES)
def test_pickle_executes_nothing(save: Save, file: Path, tmp_path: Path, case: str, wrap: str) -> None:
    content, name = hostile(tmp_path / "harm")[case]
    if wrap == "plain":
        file.write_bytes(pickle.dumps(content))
    else:
        save(file, content, legacy=wrap == "legacy")
    sentence = refusal(file)
    assert name in sentence
    assert "as only an attack does: delete it" in sentence
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "would run os.system"),
        (b"ccollections\nOrderedDict\n(cos\nsystem\ntR.", "would run os.system"),
        (b"\x8c\x0bcollections\x8c\x0bOrderedDict\x93\x8c\x05clear\x93.", "damaged"),
        (b"S'a'\n(tR.", "calls a str"),
        (b"(ios\nsystem\n.", "would run os.system"),
        (b"(cos\nsystem\no.", "would run os.system"),
        (b"\x82\x01.", "the instruction EXT1"),
        (b"Pid\n.", "the instruction PERSID"),
        (b"(I1\nI2\ntQ.", "a storage where none can be"),
        (b"]}b.", "sets attributes of a list"),
        (b"]K\x01K\x02s.", "sets items of what is no dictionary"),
        (b"}K\x01a.", "appends to what is no list"),
        (b"0.", "damaged"),
        (b"(0t.", "damaged"),
        (b"h\x05.", "damaged"),
        (b"N", "damaged or truncated: download it again"),
        (b"\xff.", "it is no checkpoint, or is damaged"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "claims a text of"),
        (b"r\xff\xff\xff\xff.", "damaged"),
        (b"ctorch\nSize\n(I1\ntR.", "a tensor that is none"),
        (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'f8'\ntRC\x04\0\0\0\0tR.", "of the wrong size"),
        (b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.", "strange encoding"),
        (b"ctorch.storage\n_load_from_bytes\n(S'a'\ntR.", "nests files in files"),
    ],
)
def test_hand_written_pickle_is_refused(file: Path, program: bytes, sentence: str) -> None:
    file.write_bytes(program)
    assert sentence in refusal(file)


def test_nested_files_come_to_an_end(file: Path) -> None:
    data = b"N."
    for _ in range(4):
        data = b"ctorch.storage\n_load_from_bytes\n(B" + struct.pack("<I", len(data)) + data + b"tR."
    file.write_bytes(data)
    assert "nests files in files" in refusal(file)


def test_storage_read_repeatedly_takes_no_more_memory_than_the_file(file: Path) -> None:
    stream = io.BytesIO()
    torch.save(torch.zeros(4096), stream, _use_new_zipfile_serialization=False)
    data = stream.getvalue()
    load = b"ctorch.storage\n_load_from_bytes\n(h\0tR"
    file.write_bytes(b"B" + struct.pack("<I", len(data)) + data + b"q\x000(" + 50 * load + b"t.")
    assert "claim more memory than the file has bytes" in refusal(file)


def test_endless_pickle_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.checkpoints.pickle_names.MAX_STEPS", 1000)
    file.write_bytes(b"N0" * 1000 + b"N.")
    assert "more than 1000 instructions" in refusal(file)


# Tensors that lie


def rebuilt(numel: int, offset: object, shape: object, strides: object) -> bytes:
    """A zip container whose one tensor claims these sizes of a storage of four numbers."""
    stream = io.BytesIO()
    torch.save({"x": torch.arange(4.0)}, stream)
    with zipfile.ZipFile(stream) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(files)).split("/")[0]
    unpacked = b"".join(pickle.dumps(item, 2)[2:-1] for item in (offset, shape, strides))
    storage = (
        b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu" + pickle.dumps(numel, 2)[2:-1] + b"tQ"
    )
    files[f"{root}/data.pkl"] = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + unpacked + b"\x89}tR."
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_tensor_of_true_sizes_is_read(file: Path) -> None:
    file.write_bytes(rebuilt(4, 1, (3,), (1,)))
    assert torch.equal(load_file(file).content, torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ((4, 0, (5,), (1,)), "needs more numbers than the file has"),
        ((4, 2, (3,), (1,)), "needs more numbers than the file has"),
        ((4, 0, (2, 2), (3, 1)), "needs more numbers than the file has"),
        ((4, 0, (10**12,), (0,)), "needs more numbers than the file has"),
        ((4, 0, (10**30,), (1,)), "impossible shape"),
        ((4, -1, (3,), (1,)), "impossible shape"),
        ((4, 0, (-3,), (1,)), "impossible shape"),
        ((4, 3, (3,), (-1,)), "impossible shape"),
        ((4, 0.5, (3,), (1,)), "impossible shape"),
        ((4, 0, ("3",), (1,)), "impossible shape"),
        ((4, 0, (True,), (1,)), "impossible shape"),
        ((4, 0, (2, 2), (1,)), "a tensor that is none"),
        ((4, 0, (1,) * 20, (1,) * 20), "a tensor that is none"),
        ((4, 0, 3, 1), "a tensor that is none"),
        ((400, 0, (3,), (1,)), "a storage is missing, or of another size"),
        ((3, 0, (3,), (1,)), "a storage is missing, or of another size"),
        ((-4, 0, (3,), (1,)), "impossible storage"),
        ((10**30, 0, (3,), (1,)), "a storage is missing, or of another size"),
    ],
)
def test_tensor_of_wrong_sizes_is_refused(file: Path, sizes: tuple[Any, ...], sentence: str) -> None:
    file.write_bytes(rebuilt(*sizes))
    assert sentence in refusal(file)


def test_views_of_one_storage_cannot_multiply(save: Save, file: Path) -> None:
    """A thousand tensors of one storage would take a thousand times its memory once they are copied."""
    whole = torch.zeros(10_000)
    save(file, [whole[:] for _ in range(1000)], legacy=False)
    assert "claim more memory than the file has bytes" in refusal(file)


# Containers that lie


def rezipped(save: Save, file: Path, change: Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]) -> Path:
    save(file, CONTENT, legacy=False)
    with zipfile.ZipFile(file) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for info, data in files:
            change(archive, info, data)
    return file


def test_zip_bomb_is_refused_before_it_is_unpacked(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(10**7))
    assert file.stat().st_size < 20_000
    assert "compressed or encrypted archive" in refusal(file)


def test_declared_sizes_are_compared_with_the_file(save: Save, file: Path) -> None:
    save(file, CONTENT, legacy=False)
    data = bytearray(file.read_bytes())
    entry = data.index(b"PK\x01\x02")
    while entry >= 0:  # in the directory, every file claims to have 1 GB
        data[entry + 20 : entry + 28] = struct.pack("<II", 2**30, 2**30)
        entry = data.find(b"PK\x01\x02", entry + 4)
    file.write_bytes(data)
    assert "claims to hold more than it does" in refusal(file)


def test_archive_of_something_else_is_refused(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    assert "an archive, but none of torch.save's" in refusal(file)


def test_archive_member_names_lead_nowhere(save: Save, file: Path, tmp_path: Path) -> None:
    def add(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        archive.writestr(info, data)
        if info.filename.endswith("data.pkl"):
            archive.writestr("../../evil", b"evil")
            archive.writestr("/tmp/evil.txt", b"evil")

    before = set(tmp_path.parent.iterdir())
    assert same(load_file(rezipped(save, file, add)).content, CONTENT)
    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_big_endian_files_are_refused(save: Save, file: Path) -> None:
    def change(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        archive.writestr(info.filename, b"big" if info.filename.endswith("byteorder") else data)

    assert "big-endian" in refusal(rezipped(save, file, change))


@pytest.mark.parametrize("legacy", [True, False])
def test_checkpoint_truncated_anywhere_is_refused(save: Save, file: Path, legacy: bool) -> None:
    data = save(file, CONTENT, legacy=legacy).read_bytes()
    for length in [1, 2, 9, 20, *range(50, len(data), len(data) // 25), len(data) - 1]:
        file.write_bytes(data[:length])
        refusal(file)


def test_flipped_bit_in_a_zip_is_found(save: Save, file: Path) -> None:
    data = bytearray(save(file, {"x": torch.ones(1000)}, legacy=False).read_bytes())
    data[data.index(np.ones(4, np.float32).tobytes()) + 2000] ^= 1
    file.write_bytes(data)
    assert "a checksum differs" in refusal(file)


def test_legacy_storage_of_another_size_is_refused(save: Save, file: Path) -> None:
    data = save(file, {"x": torch.ones(1000)}, legacy=True).read_bytes()
    place = data.index(struct.pack("<q", 1000) + np.ones(4, np.float32).tobytes())
    file.write_bytes(data[:place] + struct.pack("<q", 10**15) + data[place + 8 :])
    assert "a storage of another size" in refusal(file)


def test_legacy_file_cannot_reserve_more_than_it_has(save: Save, file: Path) -> None:
    data = save(file, {"x": torch.ones(1000)}, legacy=True).read_bytes()
    count = b"M\xe8\x03"  # 1000 in the pickle
    assert data.count(count) >= 1
    file.write_bytes(data.replace(count, b"J\xff\xff\xff\x7f"))
    assert "claim more memory than the file has bytes" in refusal(file)


# Files that are none


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "it is a web page"),
        (b"  <html>", "it is a web page"),
        (b"\x93NUMPY\x01\x00", "cannot be used as a checkpoint"),
        (b"PK\x03\x04", "cannot be used as a checkpoint"),
        (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "its header claims to be larger"),
        (b"\x10\0\0\0\0\0\0\0{}", "cannot be used as a checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "cannot be used as a checkpoint"),
    ],
)
def test_file_that_is_no_checkpoint_is_refused(file: Path, data: bytes, sentence: str) -> None:
    file.write_bytes(data)
    assert sentence in refusal(file)


def test_path_that_is_no_file_raises(tmp_path: Path) -> None:
    assert "it is not a file" in refusal(tmp_path)
    assert "does not exist: check the spelling" in refusal(tmp_path / "absent.pt")
    (tmp_path / "link.pt").symlink_to(tmp_path / "gone.pt")
    assert "does not exist" in refusal(tmp_path / "link.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    assert "it is not a file" in refusal(tmp_path / "pipe.pt")
    (tmp_path / "null.pt").symlink_to("/dev/zero")
    assert "it is not a file" in refusal(tmp_path / "null.pt")


def test_file_larger_than_any_checkpoint_is_refused(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(2**33 + 1)  # a hole, which takes no disk
    assert "larger than any checkpoint" in refusal(file)


def test_array_that_is_no_direction_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    refusal(tmp_path / "objects.npy")
    np.save(tmp_path / "whole.npy", np.arange(3))
    assert "is no direction" in refusal(tmp_path / "whole.npy")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64))
    refusal(tmp_path / "huge.npy")


# Any file at all


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Sound files to damage."""
    folder = tmp_path_factory.mktemp("seeds")
    torch.save(CONTENT, folder / "zip")
    torch.save(CONTENT, folder / "legacy", _use_new_zipfile_serialization=False)
    (folder / "pickle").write_bytes(pickle.dumps({"G_ema": [1, {"a": (2.0, "b")}]}))
    save_file({"x": torch.ones(2)}, folder / "safetensors")
    return [(folder / name).read_bytes() for name in ("zip", "legacy", "pickle", "safetensors")]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch") / "file.pt"


@pytest.fixture
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a damaged string may hold an escape that Python frowns on
        yield


@pytest.mark.usefixtures("_no_warnings")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzz_damaged_files_are_read_or_refused(seeds: list[bytes], scratch: Path, data: st.DataObject) -> None:
    sound = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(sound) - 1))
        sound[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    if sound:
        scratch.write_bytes(sound[: data.draw(st.one_of(st.just(len(sound)), st.integers(1, len(sound))))])
    with suppress(InputError):
        content = load_file(scratch).content
        if isinstance(content, dict):
            convert(content)


@pytest.mark.usefixtures("_no_warnings")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=200))
def test_fuzz_any_bytes_are_read_or_refused(scratch: Path, data: bytes) -> None:
    scratch.write_bytes(data)
    with suppress(InputError):
        load_file(scratch)
