"""What the names in a pickle stand for: tensors, plain containers, or a placeholder; nothing is ever looked up.

The machine of `unpickler` asks this table whenever a file names a class or calls a function. A name without an entry
becomes a `Placeholder`, which keeps its type and nothing else: paths, dates, schedulers and whole modules lie beside
good weights in many files. A name that only an attack needs ends the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stedit.storage.directions import printable

MAX_STEPS = 2_000_000  # a training checkpoint with its optimisers takes about 100,000, NVIDIA's pickles 20,000
MAX_AXES = 16
MAX_SIZE = 2**53  # of any number that counts something


@dataclass(frozen=True)
class Global:
    """A name that a pickle refers to; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return printable(f"{self.module}.{self.name}")


@dataclass(frozen=True, eq=False)
class Placeholder:
    """Stands for an object that is neither a tensor nor a plain container, of which only the type is kept."""

    type: str

    def __str__(self) -> str:
        return printable(self.type)


@dataclass
class Budget:
    """What a file may still make us do and hold, all that it nests included, so that small files stay cheap."""

    bytes_left: int
    steps_left: int = field(default_factory=lambda: MAX_STEPS)

    def work(self, steps: int = 1) -> None:
        """Spend instructions, or items that a call copies. Raises ValueError when there are too few left."""
        self.steps_left -= steps
        if self.steps_left < 0:
            raise ValueError(f"its pickle has more than {MAX_STEPS} instructions and items")

    def take(self, count: int) -> None:
        """Spend `count` bytes. Raises ValueError when there are too few left."""
        self.bytes_left -= count
        if self.bytes_left < 0:
            raise ValueError("its tensors claim more memory than the file has bytes")


@dataclass(frozen=True)
class PickleContext:
    """What the machine needs of the file around a pickle."""

    storage: Callable[[Any], Tensor | Placeholder | Global]
    """A persistent id of a storage -> its numbers, flat; of a class -> its name."""
    nested: Callable[[bytes], Any]
    """A torch.save file inside the pickle -> what it holds."""
    budget: Budget
    """One for the whole file."""


@dataclass
class DtypeRecord:
    """NumPy's dtype: what its call says, then the byte order that follows."""

    kind: str
    order: str = "="


@dataclass
class ArrayRecord:
    """NumPy's array between the call that announces it and the state that fills it."""

    value: Any = None


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
        "ComplexFloat": torch.complex64,
        "ComplexDouble": torch.complex128,
    }.items()
}

_NUMBERS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))  # NumPy's names
_ORDERS = frozenset("<>=|")


def dangerous(name: Global) -> bool:
    """Whether no checkpoint has a use for a name but that of an attack: it would start a program or run code."""
    if name.module in _PROGRAMS or name.module.partition(".")[0] in _PROGRAMS:
        return True
    if name.module in ("torch", "torch.serialization") and name.name == "load":
        return True
    return name.module in ("builtins", "__builtin__", "io", "_io") and name.name.partition(".")[0] in _CODE


# fmt: off
_PROGRAMS = frozenset({
    "os", "posix", "nt", "subprocess", "_posixsubprocess", "pty", "sys", "shutil", "socket", "importlib", "imp",
    "runpy", "ctypes", "webbrowser", "pip", "marshal", "commands", "popen2", "torch.hub",
})
_CODE = frozenset({
    "eval", "exec", "execfile", "compile", "__import__", "open", "getattr", "setattr", "delattr", "globals", "locals",
    "vars", "input", "breakpoint", "apply",
})
# fmt: on


def called(context: PickleContext, function: Any, arguments: Any) -> Any:
    """What a call of the pickle builds. Raises ValueError for arguments that cannot be."""
    if not isinstance(function, Global) or type(arguments) is not tuple:
        raise ValueError(f"its pickle is damaged (it calls a {kind_of(function)})")
    if function in CALLS:
        return CALLS[function](context, *arguments)
    return Placeholder(str(function))


def kind_of(value: object) -> str:
    """The type of a foreign value, whose own text may be endless."""
    return str(value) if isinstance(value, Global | Placeholder) else type(value).__name__


def safe_key(context: PickleContext, key: Any) -> Any:
    """A key that is quick to hash, whose collisions nobody can choose; text in place of any other."""
    if type(key) in (str, bytes, bool, type(None)):
        return key
    if type(key) in (int, float) and abs(key) < MAX_SIZE:
        return key
    if type(key) is tuple and len(key) <= MAX_AXES and all(type(part) in (str, int, bool) for part in key):
        parts = [safe_key(context, part) for part in key]
        context.budget.take(sum(len(part) if type(part) is str else 16 for part in parts))
        return f"({', '.join(map(str, parts))})"
    return f"<{kind_of(key)}>"


def _mapping(context: PickleContext, pairs: Any = (), *_: Any) -> dict[Any, Any]:
    """An OrderedDict, a Namespace or an EasyDict; items of most follow later."""
    if type(pairs) not in (dict, list, tuple):
        return {}
    context.budget.work(len(pairs))
    items = pairs.items() if type(pairs) is dict else pairs
    if any(type(item) not in (list, tuple) or len(item) != 2 for item in items):
        raise ValueError("its pickle is damaged (a dictionary of something other than pairs)")
    return {safe_key(context, key): value for key, value in items}


def _items(context: PickleContext, items: Any = ()) -> list[Any]:
    """A set."""
    if type(items) not in (list, tuple):
        raise ValueError("its pickle is damaged (a set of no list)")
    context.budget.work(len(items))
    return list(items)


def _lengths(_: PickleContext, lengths: Any = ()) -> tuple[int, ...]:
    """A torch.Size, the shape or the strides of a tensor."""
    if type(lengths) not in (list, tuple) or len(lengths) > MAX_AXES:
        raise ValueError("it holds a tensor that is none")
    if any(type(number) is not int or not 0 <= number < MAX_SIZE for number in lengths):
        raise ValueError("it holds a tensor of impossible shape")
    return tuple(lengths)


def _tensor(
    context: PickleContext, flat: Any, offset: Any, shape: Any, strides: Any, *_: Any
) -> Tensor | Placeholder | Global:
    """A view of a storage, whose bounds are checked here; torch allows views with more elements than the storage."""
    if isinstance(flat, Placeholder | Global):
        return flat
    shape, strides = _lengths(context, shape), _lengths(context, strides)
    if not isinstance(flat, Tensor) or flat.ndim != 1 or len(shape) != len(strides):
        raise ValueError("it holds a tensor that is none")
    (offset,) = _lengths(context, (offset,))
    count = 1
    for length in shape:
        count *= length
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if count and (last >= flat.numel() or count > flat.numel()):
        raise ValueError(f"it holds a tensor of the shape {shape} that needs more numbers than the file has for it")
    context.budget.take(count * flat.element_size())
    return torch.as_strided(flat, shape, strides, offset) if count else flat.new_empty(shape)


def _subclass(context: PickleContext, function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    """A tensor of a subclass, or with attributes: the tensor alone."""
    return called(context, function, arguments)


def _device(_: PickleContext, *parts: Any) -> str:
    if any(type(part) not in (str, int) or (type(part) is str and len(part) > 100) for part in parts[:2]):
        raise ValueError("it names a device that is none")
    return ":".join(str(part) for part in parts[:2] if type(part) is str or abs(part) < MAX_SIZE)


def _dtype(_: PickleContext, kind: Any, *__: Any) -> DtypeRecord | Placeholder:
    if type(kind) is not str or len(kind) > 100:
        return Placeholder("numpy.dtype")
    return DtypeRecord(kind)


def _numpy_type(dtype: Any) -> np.dtype[Any] | None:
    """None for a type that holds no numbers."""
    if not isinstance(dtype, DtypeRecord) or dtype.kind not in _NUMBERS or dtype.order not in _ORDERS:
        return None
    return np.dtype(f"{dtype.order}{dtype.kind}")


def _number(_: PickleContext, dtype: Any, data: Any = b"") -> Any:
    """A NumPy scalar."""
    known = _numpy_type(dtype)
    if known is None:
        return Placeholder("a NumPy scalar")
    if type(data) not in (bytes, bytearray) or len(data) != known.itemsize:
        raise ValueError("it holds a NumPy number of the wrong size")
    return np.frombuffer(data, known)[0].item()


def _announced(_: PickleContext, *__: Any) -> ArrayRecord:
    """A NumPy array, whose shape, type and numbers follow."""
    return ArrayRecord()


def array_of(context: PickleContext, state: Any) -> Any:
    """What NumPy's array of a state is: a tensor, or what it lists if it holds objects.

    `state` is (version, shape, dtype, is_fortran, data), of which old pickles lack the version.
    """
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ValueError("its pickle is damaged (an array without a state)")
    shape, dtype, fortran, data = state[-4:]
    if type(data) is list and isinstance(dtype, DtypeRecord) and dtype.kind.startswith("O"):
        return data[0] if shape == () and len(data) == 1 else data
    return _from_buffer(context, data, dtype, shape, "F" if fortran else "C")


def _from_buffer(context: PickleContext, data: Any, dtype: Any, shape: Any, order: Any = "C", axes: Any = None) -> Any:
    """An array; in the order "K", its `axes` are those of the shape, permuted."""
    known = _numpy_type(dtype)
    if known is None or type(data) not in (bytes, bytearray):
        return Placeholder("numpy.ndarray")
    shape = _lengths(context, shape)
    count = 1
    for length in shape:
        count *= length
    if count * known.itemsize != len(data):
        raise ValueError("it holds an array whose shape is not that of its numbers")
    context.budget.take(len(data))
    flat = np.frombuffer(data, known).astype(known.newbyteorder("="))  # a copy, which torch may write to
    array = flat.reshape(shape, order="F" if order == "F" else "C")
    if order == "K" and axes is not None:
        axes = _lengths(context, axes)
        if sorted(axes) != list(range(array.ndim)):
            raise ValueError("it holds an array whose axes are not its own")
        array = array.transpose(axes)
    return torch.from_numpy(array)


def _encoded(context: PickleContext, text: Any, encoding: Any) -> bytes:
    """Bytes, as pickles before protocol 3 write them."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("it holds text in a strange encoding")
    context.budget.take(len(text))
    return text.encode("latin1")


def _bytes(context: PickleContext, text: Any = b"", encoding: Any = "latin1") -> bytes:
    """Bytes or a bytearray, as pickles before protocol 5 write what is empty or may be written to."""
    if type(text) is str:
        return _encoded(context, text, encoding)
    if type(text) is not bytes:
        raise ValueError("it holds bytes in a strange form")
    context.budget.take(len(text))
    return text


def _loaded(context: PickleContext, data: Any) -> Any:
    if type(data) is not bytes:
        raise ValueError("it nests files in files")
    context.budget.take(len(data))
    return context.nested(data)


def _module(_: PickleContext, meta: Any) -> dict[str, Any]:
    """A network of NVIDIA's: its state; the Python source that comes with it stays text, and is dropped."""
    if type(meta) is not dict or "class_name" not in meta or "state" not in meta:
        raise ValueError("its pickle is damaged (a network without a state)")
    return {"class_name": meta["class_name"], "state": meta["state"]}


def _calls() -> Iterator[tuple[Global, Callable[..., Any]]]:
    def mapping(*_: Any) -> dict[Any, Any]:
        return {}

    for name in ("bytes", "bytearray"):
        yield Global("builtins", name), _bytes
        yield Global("__builtin__", name), _bytes
    builtins, arrays = ("builtins", "__builtin__"), ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("OrderedDict", "Counter"):
        yield Global("collections", name), _mapping
    yield Global("collections", "defaultdict"), mapping  # its argument makes new values
    for name in ("dict", "set", "frozenset", "list"):
        for module in builtins:
            yield Global(module, name), _mapping if name == "dict" else _items
    yield Global("dnnlib.tflib.network", "Network"), _mapping  # its state follows
    for module, name in (("argparse", "Namespace"), ("types", "SimpleNamespace"), ("dnnlib.util", "EasyDict")):
        yield Global(module, name), _mapping
    yield Global("dnnlib", "EasyDict"), _mapping
    yield Global("torch._utils", "_rebuild_tensor"), _tensor
    yield Global("torch._utils", "_rebuild_tensor_v2"), _tensor
    for name in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
        yield Global("torch._utils", name), lambda _, data, *__: data
    yield Global("torch._tensor", "_rebuild_from_type_v2"), _subclass
    yield Global("torch.storage", "_load_from_bytes"), _loaded
    yield Global("torch", "Size"), _lengths
    yield Global("torch", "device"), _device
    yield Global("numpy", "dtype"), _dtype
    for module in arrays:
        yield Global(module, "scalar"), _number
        yield Global(module, "_reconstruct"), _announced
    for module in ("numpy.core.numeric", "numpy._core.numeric"):
        yield Global(module, "_frombuffer"), _from_buffer
    yield Global("_codecs", "encode"), _encoded
    yield Global("torch_utils.persistence", "_reconstruct_persistent_obj"), _module


CALLS: Mapping[Global, Callable[..., Any]] = dict(_calls())
