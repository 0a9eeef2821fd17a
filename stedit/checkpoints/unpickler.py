"""A pickle machine that builds tensors and plain containers, and nothing else.

Python's own unpickler imports what a file names and calls it, so a file can do anything. This one reads the same
instructions (`pickletools.genops` splits them) but imports nothing: a name stands for itself, and the few names that
checkpoints need have an entry in CALLS, which says what to build in their place. Any other name ends the reading.

What comes out: dict (also for OrderedDict, argparse.Namespace, and NVIDIA's EasyDict and persistent modules), list
(also for sets), tuple, str, bytes, int, float, bool, None and torch.Tensor.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

MAX_OPERATIONS = 5_000_000  # a training checkpoint with its optimisers has about 100,000
MAX_AXES = 16


@dataclass(frozen=True)
class Global:
    """A name that a pickle refers to; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class MemoryBudget:
    """How many bytes a file may still make us take, so that small files cannot ask for much memory."""

    left: int

    def take(self, count: int) -> None:
        """Spend `count` bytes. Raises ValueError when there are too few left."""
        self.left -= count
        if self.left < 0:
            raise ValueError("its tensors claim more memory than the file has bytes")


@dataclass(frozen=True)
class PickleContext:
    """What the machine needs of the file around a pickle."""

    storage: Callable[[tuple[Any, ...]], Tensor]
    """A persistent id of a storage -> its numbers, flat."""
    nested: Callable[[bytes], Any]
    """A torch.save file inside the pickle -> what it holds."""
    views: MemoryBudget
    """For tensors, several of which may share a storage."""


STORAGES: Mapping[Global, torch.dtype] = {
    Global(module, f"{name}Storage"): dtype
    for module in ("torch", "torch.cuda")
    for name, dtype in {
        "Float": torch.float32,
        "Double": torch.float64,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}


def unpickle(stream: IO[bytes], source: PickleContext) -> Any:
    """Read one pickle; `stream` is left behind its end.

    Raises ValueError if it is damaged, or asks for anything but tensors and plain containers.
    """
    machine = _Machine(source)
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(stream)):
            if operation.name == "STOP":
                break
            if count > MAX_OPERATIONS:
                raise ValueError(f"its pickle has more than {MAX_OPERATIONS} instructions")
            machine.do(operation.name, argument)
        return machine.pop()
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error


def _mapping(_: PickleContext, pairs: Any = ()) -> dict[Any, Any]:
    """An OrderedDict, a Namespace or an EasyDict; items of most follow later."""
    return {_key(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _tensor(source: PickleContext, flat: Tensor, offset: int, shape: Any, strides: Any, *_: Any) -> Tensor:
    """A view of a storage, whose bounds are checked here; torch allows views with more elements than the storage."""
    shape, strides = tuple(shape), tuple(strides)
    if not isinstance(flat, Tensor) or flat.ndim != 1 or len(shape) != len(strides) or len(shape) > MAX_AXES:
        raise ValueError("it holds a tensor that is none")
    if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
        raise ValueError("it holds a tensor of impossible shape")
    count = 1
    for length in shape:
        count *= length
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if count and (last >= flat.numel() or count > flat.numel()):
        raise ValueError(f"it holds a tensor of the shape {shape} that needs more numbers than the file has for it")
    source.views.take(count * flat.element_size())
    return torch.as_strided(flat, shape, strides, offset) if count else flat.new_empty(shape)


def _number(_: PickleContext, kind: Any, data: Any = b"") -> Any:
    """A NumPy scalar; `kind` is the text that stands for its dtype."""
    if kind not in ("f2", "f4", "f8", "i4", "i8", "u1", "b1") or not isinstance(data, bytes):
        raise ValueError(f"it holds a NumPy number of a strange kind, {str(kind)[:20]!r}")
    return np.frombuffer(data, np.dtype(kind))[0].item()


def _encoded(_: PickleContext, text: str, encoding: str) -> bytes:
    """Bytes, as pickles before protocol 3 write them."""
    if encoding != "latin1":
        raise ValueError("it holds text in a strange encoding")
    return text.encode("latin1")


def _module(_: PickleContext, meta: dict[str, Any]) -> dict[str, Any]:
    """A network of NVIDIA's: its state; the Python source that comes with it stays text, and is dropped."""
    return {"class_name": meta["class_name"], "state": meta["state"]}


CALLS: Mapping[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): _mapping,
    Global("collections", "defaultdict"): lambda _, __=None: {},
    Global("argparse", "Namespace"): _mapping,
    Global("dnnlib.util", "EasyDict"): _mapping,
    Global("dnnlib", "EasyDict"): _mapping,
    Global("torch._utils", "_rebuild_tensor"): _tensor,
    Global("torch._utils", "_rebuild_tensor_v2"): _tensor,
    Global("torch._utils", "_rebuild_parameter"): lambda _, data, *__: data,
    Global("torch.storage", "_load_from_bytes"): lambda source, data: source.nested(data),
    Global("torch", "Size"): lambda _, lengths: tuple(lengths),
    Global("torch", "device"): lambda _, *names: ":".join(map(str, names)),
    Global("numpy", "dtype"): lambda _, kind, *__: kind,
    Global("numpy.core.multiarray", "scalar"): _number,
    Global("numpy._core.multiarray", "scalar"): _number,
    Global("_codecs", "encode"): _encoded,
    Global("builtins", "set"): lambda _, items=(): list(items),
    Global("__builtin__", "set"): lambda _, items=(): list(items),
    Global("torch_utils.persistence", "_reconstruct_persistent_obj"): _module,
}
_KNOWN = frozenset((*CALLS, *STORAGES, Global("builtins", "dict"), Global("__builtin__", "dict")))
# fmt: off
_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8",
})
# fmt: on
_IGNORED = frozenset({"PROTO", "FRAME"})
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """Stack, marks and memo of a pickle being read; one method or table for each kind of instruction."""

    def __init__(self, source: PickleContext) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.done: dict[str, Callable[[Any], None]] = {
            "MARK": lambda _: self.marks.append(len(self.stack)),
            "POP": lambda _: self.drop(),
            "POP_MARK": lambda _: self.stack.__delitem__(slice(self.marks.pop(), None)),
            "DUP": lambda _: self.stack.append(self.stack[-1]),
            "PUT": self.remember,
            "BINPUT": self.remember,
            "LONG_BINPUT": self.remember,
            "MEMOIZE": lambda _: self.remember(len(self.memo)),
            "GET": self.recall,
            "BINGET": self.recall,
            "LONG_BINGET": self.recall,
            "LIST": lambda _: self.stack.append(self.since_mark()),
            "TUPLE": lambda _: self.stack.append(tuple(self.since_mark())),
            "FROZENSET": lambda _: self.stack.append(self.since_mark()),
            "DICT": lambda _: self.stack.append(_paired(self.since_mark())),
            "APPEND": lambda _: self.extend([self.pop()]),
            "APPENDS": lambda _: self.extend(self.since_mark()),
            "ADDITEMS": lambda _: self.extend(self.since_mark()),
            "SETITEM": lambda _: self.update([self.pop(), self.pop()][::-1]),
            "SETITEMS": lambda _: self.update(self.since_mark()),
            "GLOBAL": lambda name: self.name(*name.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self.name(*[self.pop(), self.pop()][::-1]),
            "REDUCE": lambda _: self.call(*[self.pop(), self.pop()][::-1]),
            "NEWOBJ": lambda _: self.call(*[self.pop(), self.pop()][::-1]),
            "BUILD": lambda _: self.build(self.pop()),
            "BINPERSID": lambda _: self.stack.append(self.source.storage(self.pop())),
        }

    def do(self, operation: str, argument: Any) -> None:
        if operation in _VALUES:
            self.stack.append(argument)
        elif operation in _CONSTANTS:
            self.stack.append(_CONSTANTS[operation]())
        elif operation in _TUPLES:
            items = [self.pop() for _ in range(_TUPLES[operation])]
            self.stack.append(tuple(reversed(items)))
        elif operation in self.done:
            self.done[operation](argument)
        elif operation not in _IGNORED:
            raise ValueError(f"its pickle holds the instruction {operation}, which no checkpoint needs")

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise ValueError("its pickle is damaged (it takes from an empty stack)")
        return self.stack.pop()

    def drop(self) -> None:
        """POP, which also takes back a mark that nothing follows."""
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.stack.pop()

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("its pickle is damaged (it appends to what is no list)")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise ValueError("its pickle is damaged (it sets items of what is no dictionary)")
        self.stack[-1].update(_paired(items))

    def name(self, module: str, name: str) -> None:
        found = Global(module, name)
        if found not in _KNOWN:
            if module.startswith(("dnnlib.tflib", "tfutil")):
                raise ValueError(
                    "it is a StyleGAN pickle of NVIDIA's TensorFlow era: convert it with the legacy.py of their "
                    "stylegan3 repository first"
                )
            raise ValueError(f"it asks for {str(found)[:200]}, and only tensors and plain containers are read")
        self.stack.append(found)

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Global) or function not in CALLS or type(arguments) is not tuple:
            raise ValueError(f"it calls {str(function)[:200]!r}, which builds neither a tensor nor a plain container")
        self.stack.append(CALLS[function](self.source, *arguments))

    def build(self, state: Any) -> None:
        """Give an object its attributes: a Namespace its values; an OrderedDict has none that matter."""
        target = self.stack[-1]
        if type(target) is dict and type(state) is dict:
            target.update({key: value for key, value in state.items() if key != "_metadata"})
        elif type(target) is not str:  # a NumPy dtype
            raise ValueError("it sets attributes of what is no plain container")


def _paired(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("its pickle is damaged (a key without a value)")
    return {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}


def _key(key: Any) -> Any:
    """Only keys that are quick to hash: a nest of tuples can take for ever."""
    if type(key) not in (str, int, float, bool, bytes, type(None)):
        raise ValueError(f"it has a dictionary with a {type(key).__name__} for a key")
    return key
