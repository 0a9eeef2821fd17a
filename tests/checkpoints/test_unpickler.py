"""The pickle machine: what stays inert, and what small files may cost. Containers and refusals: test_reader.py."""

from __future__ import annotations

import argparse
import datetime as dt
import functools
import io
import pathlib
import pickle
import resource
import struct
import time
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stedit.checkpoints.pickle_names import Budget, Global, PickleContext, Placeholder
from stedit.checkpoints.reader import load_file
from stedit.checkpoints.unpickler import unpickle
from stedit.errors import InputError

STEPS = 200_000  # a tenth of what files may take, so that the tests are quick
PRIME = 2**61 - 1  # modulo which Python hashes whole numbers


def read(program: bytes, size: int = 10**6) -> Any:
    """What a pickle makes, within the budget of a file of `size` bytes."""

    def refuse(_: Any) -> Any:
        raise ValueError("none here")

    return unpickle(io.BytesIO(program), PickleContext(refuse, refuse, Budget(4 * size)))


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def whole(number: int) -> bytes:
    return pickle.dumps(number, 2)[2:-1]


def nest(opening: bytes, closing: bytes, leaf: bytes, levels: int) -> bytes:
    """Ten times the level below on each level, without taking memory for it."""
    out = leaf + b"q\0"
    for level in range(levels):
        out += b"0" + opening + 10 * (b"h" + bytes([level])) + closing + b"q" + bytes([level + 1])
    return out


LAUGHS = nest(b"(", b"l", b"]", 30)
TUPLES = nest(b"(", b"t", b")", 30)
DEEP = b")" + b"\x85" * 150_000  # a tuple in a tuple and so on: hash() of it overflows the C stack
LONG = text("a" * 1_000_000) + b"q\x000"
LIST = b"(" + b"N" * 100_000 + b"lq\x000"

BOMBS = {
    "a nest is called": LAUGHS + b"(tR.",
    "a nest names a device": LAUGHS + b"q\x320ctorch\ndevice\n(h\x32tR.",
    "a nest is a number's type": LAUGHS + b"q\x320cnumpy.core.multiarray\nscalar\n(h\x32C\x04aaaatR.",
    "a nest is a key": b"}" + TUPLES + b"Ns.",
    "a nest is a module": TUPLES + text("x") + b"\x93.",
    "a deep tuple is a key": b"}" + DEEP + b"Ns.",
    "a deep tuple is a module": DEEP + text("x") + b"\x93.",
    "keys collide": b"}(" + b"".join(whole(k * PRIME) + b"N" for k in range(1, 30_000)) + b"u.",
    "tuples of keys": b"}(" + b"".join(whole(k * PRIME) + b"\x85N" for k in range(1, 30_000)) + b"u.",
    "places in the memo collide": b"N" + b"".join(b"p%d\n" % (k * PRIME) for k in range(1, 30_000)) + b".",
    "a place in the memo is huge": b"Np" + b"9" * 4000 + b"\n.",
    "sets are copied": LIST + b"(" + 5000 * b"c__builtin__\nset\nh\x00\x85R" + b"t.",
    "dictionaries are copied": LIST + b"(" + 5000 * b"}}(" + b"I1\nh\0u" + b"bt.",
    "texts are encoded": LONG + b"(" + 5000 * (b"c_codecs\nencode\nh\0" + text("latin1") + b"\x86R") + b"t.",
    "texts are joined": LONG + b"(" + 5000 * b"ctorch\ndevice\nh\x00h\x00\x86R" + b"t.",
    "names": b"(" + b"".join(b"c%d\nb\n" % k for k in range(STEPS // 3 + 1)) + b"t.",
    "instructions": b"N0" * STEPS + b"N.",
    "a huge key": b"}" + whole(1 << 8_000_000) + b"Ns.",
    "a huge shape": whole(1 << 8_000_000) + b"q\x000ctorch\nSize\n((" + 16 * b"h\0" + b"ttR.",
    "a text that is not there": b"\x8e" + struct.pack("<Q", 2**62) + b"abc.",
    "a set of the letters of a text": LONG + b"c__builtin__\nset\nh\0\x85R.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickle_cannot_take_time_or_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.checkpoints.pickle_names.MAX_STEPS", STEPS)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        read(b"\x80\x02" + BOMBS[name], len(BOMBS[name]))
    except ValueError as error:
        assert len(str(error)) < 400  # noqa: PT017 - reading it is as good as refusing it
    assert time.process_time() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_nested_files_share_one_budget(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.checkpoints.pickle_names.MAX_STEPS", STEPS)
    inner = b"\x80\x02" + b"N0" * 40_000 + b"N."
    load = b"ctorch.storage\n_load_from_bytes\nh\0\x85R0"
    program = b"\x80\x02B" + struct.pack("<I", len(inner)) + inner + b"q\0" + 2000 * load + b"N."
    (tmp_path / "x.pkl").write_bytes(program)
    with pytest.raises(InputError, match="more than 200000 instructions and items"):
        load_file(tmp_path / "x.pkl")


def test_one_tensor_under_many_names_is_charged_for_each(tmp_path: pathlib.Path) -> None:
    one = torch.zeros(100_000)
    torch.save({f"name{k}": one for k in range(10_000)}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="more memory than the file has bytes"):
        load_file(tmp_path / "x.pt")


def test_tensor_may_have_two_names(tmp_path: pathlib.Path) -> None:
    one = torch.arange(1000.0)
    torch.save({"a": one, "b": one}, tmp_path / "x.pt")
    content = load_file(tmp_path / "x.pt").content
    assert torch.equal(content["a"], content["b"])


# What lies beside good weights


class Odd:
    """A class that only its author has."""

    def __init__(self) -> None:
        self.tensor, self.secret = torch.ones(3), "x"

    def method(self) -> None:
        """Never called."""


ODD: dict[str, Callable[[], Any]] = {
    "path": lambda: pathlib.Path("a/b"),
    "date": lambda: dt.datetime(2022, 3, 15, tzinfo=dt.UTC),
    "slice": lambda: slice(1, 2),
    "complex": lambda: 1 + 2j,
    "type of torch": lambda: torch.float32,
    "type of NumPy": lambda: np.dtype("f4"),
    "class": lambda: OrderedDict,
    "partial": lambda: functools.partial(int, base=2),
    "random state": lambda: np.random.RandomState(0),
    "generator": lambda: np.random.default_rng(0),
    "random state as a tuple": lambda: np.random.RandomState(0).get_state(),
    "module": lambda: torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()),
    "optimiser": lambda: torch.optim.Adam([torch.nn.Parameter(torch.ones(2))]),
    "object": Odd,
    "range": lambda: range(3),
    "texts of NumPy": lambda: np.array(["a", "bc"]),
    "objects of NumPy": lambda: np.array([{}, None], dtype=object),
    "date of NumPy": lambda: np.datetime64("2022-03-15"),
    "counter": lambda: Counter("aab"),
    "lists by default": lambda: defaultdict(list, a=[1]),
    "namespace": lambda: types.SimpleNamespace(a=1),
    "tuples as keys": lambda: {(0, "a"): 1, (1.5,): 2, frozenset(): 3},
    "frozen set": lambda: frozenset({1, 2}),
    "bytes to write": lambda: bytearray(b"abc"),
    "sparse tensor": lambda: torch.eye(2).to_sparse(),
    "complex tensor": lambda: torch.ones(2, dtype=torch.complex64),
    "tensor of eight bits": lambda: torch.ones(2, dtype=torch.float8_e5m2),
    "meta tensor": lambda: torch.ones(2, device="meta"),
}


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", ODD)
def test_unknown_types_lie_beside_good_weights(tmp_path: pathlib.Path, name: str, legacy: bool) -> None:
    weights = torch.arange(4.0)
    if legacy and name == "tensor of eight bits":
        pytest.skip("how long its storage is, only torch knows")
    content = {"odd": ODD[name](), "state_dict": {"w": weights}, "list": [ODD[name]()]}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=not legacy)
    read_back = load_file(tmp_path / "x.pt").content
    assert torch.equal(read_back["state_dict"]["w"], weights)
    assert len(read_back["list"]) == 1


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_unknown_types_in_every_pickle_protocol(protocol: int) -> None:
    for name in ("path", "date", "slice", "complex", "counter", "lists by default", "tuples as keys", "partial"):
        content = read(pickle.dumps({"odd": ODD[name](), "good": [1, "a"]}, protocol))
        assert content["good"] == [1, "a"]


def test_placeholder_names_its_type_and_keeps_nothing() -> None:
    content = read(pickle.dumps({"path": pathlib.PurePosixPath("a/b"), "class": OrderedDict, "odd": np.dtype("M8")}))
    assert str(content["path"]) == "pathlib.PurePosixPath"
    assert vars(content["path"]) == {"type": "pathlib.PurePosixPath"}
    assert isinstance(content["path"], Placeholder)
    assert content["class"] == Global("collections", "OrderedDict")


def test_subclasses_of_plain_types_become_plain() -> None:
    content = read(pickle.dumps([Counter("aab"), defaultdict(list, a=[1]), {(0, "a"): 1}]))
    assert content == [{"a": 2, "b": 1}, {"a": [1]}, {"(0, a)": 1}]
    namespace = types.SimpleNamespace(a=1, b=argparse.Namespace(c=[2]))
    assert read(pickle.dumps(namespace)) == {"a": 1, "b": {"c": [2]}}


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2", "<i4", ">i8", "u1", "?"])
def test_arrays_of_numpy_become_tensors(protocol: int, kind: str) -> None:
    array = np.arange(12).reshape(3, 4).astype(kind)
    deep = np.arange(24).reshape(2, 3, 4).astype(kind)
    for given in (
        deep.transpose(2, 0, 1),
        deep.transpose(1, 0, 2),
        array,
        array.T,
        np.asfortranarray(array),
        array[:0],
        array[1:2, 2].reshape(()),
    ):
        found = read(pickle.dumps({"a": given, "again": given}, protocol))
        assert isinstance(found["a"], Tensor)
        assert torch.equal(found["a"], found["again"])
        assert np.array_equal(found["a"].numpy(), given)


def test_array_of_objects_becomes_what_it_lists() -> None:
    assert read(pickle.dumps(np.array({"a": 1}, dtype=object))) == {"a": 1}
    assert read(pickle.dumps(np.array([{"a": 1}, None], dtype=object))) == [{"a": 1}, None]


def test_array_that_lies_about_its_shape_is_refused() -> None:
    good = pickle.dumps(np.zeros(4, "<f4"), 2)
    assert read(good).shape == (4,)
    with pytest.raises(ValueError, match="whose shape is not that of its numbers"):
        read(good.replace(b"K\x04\x85", b"K\x05\x85", 1))
