"""A pickle machine that builds tensors and plain containers, and nothing else.

Python's own unpickler imports what a file names and calls it, so a file can do anything. This one reads the same
instructions (`pickletools.genops` splits them) but imports nothing: a name stands for itself, and `pickle_names` says
what to build in its place. Instructions, items and bytes are counted, over all that a file nests.

What comes out: dict (also for OrderedDict, Counter, argparse.Namespace, and NVIDIA's EasyDict and persistent modules),
list (also for sets), tuple, str, bytes, int, float, bool, None, torch.Tensor (also for NumPy's arrays of numbers), and
for anything else a Placeholder or Global, which only names its type.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, cast

from torch import Tensor

from stedit.checkpoints.pickle_names import (
    MAX_SIZE,
    ArrayRecord,
    DtypeRecord,
    Global,
    PickleContext,
    Placeholder,
    array_of,
    called,
    dangerous,
    kind_of,
    safe_key,
)

MAX_TEXT = 2**28  # of one text or one nested file; the largest tensor of a StyleGAN2 has 9 MB
STEPS_OF_A_NAME = 2  # besides its own, since it takes the time


class _Stream:
    """The file, of which no single text or line may take more than MAX_TEXT."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        if count > MAX_TEXT:
            raise ValueError(f"its pickle claims a text of {count} bytes")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(MAX_TEXT)

    def tell(self) -> int:
        return self._file.tell()


def unpickle(stream: IO[bytes], source: PickleContext) -> Any:
    """Read one pickle; `stream` is left behind its end.

    Raises ValueError if it is damaged, asks for what only an attack needs, or for more than it may take.
    """
    machine = _Machine(source)
    budget = source.budget
    try:
        for operation, argument in _instructions(stream):
            budget.work()
            machine.do(operation, argument)
        return machine.pop()
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__}: {error})") from error


# fmt: off
_VALUES = frozenset({
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BYTEARRAY8",
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


def _instructions(stream: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """Up to the end of the pickle. Raises ValueError if the file ends before, or holds something else."""
    instructions = iter(pickletools.genops(cast("IO[bytes]", _Stream(stream))))
    while True:
        try:
            operation, argument, _ = next(instructions)
        except (ValueError, RuntimeError) as error:  # RuntimeError is what StopIteration becomes
            if "claims a text" in str(error):
                raise
            raise ValueError("it is no checkpoint, or is damaged or truncated: download it again") from error
        if operation.name == "STOP":
            return
        yield operation.name, argument


class _Machine:
    """Stack, marks and memo of a pickle being read; one method or table for each kind of instruction."""

    def __init__(self, source: PickleContext) -> None:
        self.source = source
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.names: dict[tuple[str, str], Global] = {}
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
            "DICT": lambda _: self.stack.append(self.paired(self.since_mark())),
            "APPEND": lambda _: self.extend([self.pop()]),
            "APPENDS": lambda _: self.extend(self.since_mark()),
            "ADDITEMS": lambda _: self.extend(self.since_mark()),
            "SETITEM": lambda _: self.update([self.pop(), self.pop()][::-1]),
            "SETITEMS": lambda _: self.update(self.since_mark()),
            "GLOBAL": lambda name: self.name(*name.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self.name(*[self.pop(), self.pop()][::-1]),
            "REDUCE": lambda _: self.call(*[self.pop(), self.pop()][::-1]),
            "NEWOBJ": lambda _: self.call(*[self.pop(), self.pop()][::-1]),
            "NEWOBJ_EX": lambda _: self.call_with_keywords(),
            "INST": lambda name: self.instantiate(Global(*name.split(" ", 1)), self.since_mark()),
            "OBJ": lambda _: self.instantiate(*_first_and_rest(self.since_mark())),
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
        if not 0 <= index < MAX_SIZE:
            raise ValueError("its pickle is damaged (it counts too far)")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        value = self.memo[index]
        if type(value) is ArrayRecord and value.value is not None:
            value = value.value
        if isinstance(value, Tensor):  # under another name it will be copied again
            self.source.budget.take(value.numel() * value.element_size())
        self.stack.append(value)

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Placeholder):
            raise ValueError("its pickle is damaged (it appends to what is no list)")

    def update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is dict:
            target.update(self.paired(items))
        elif not isinstance(target, Placeholder):
            raise ValueError("its pickle is damaged (it sets items of what is no dictionary)")

    def paired(self, items: list[Any]) -> dict[Any, Any]:
        if len(items) % 2:
            raise ValueError("its pickle is damaged (a key without a value)")
        return {safe_key(self.source, key): value for key, value in zip(items[::2], items[1::2], strict=True)}

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise ValueError("its pickle is damaged (a name that is no text)")
        self.source.budget.work(STEPS_OF_A_NAME)
        found = self.names.get((module, name))
        if found is None:
            found = self.names[module, name] = Global(module, name)
            if dangerous(found):
                raise ValueError(
                    f"it would run {found} if another program opened it, as only an attack does: delete it"
                )
        self.stack.append(found)

    def call(self, function: Any, arguments: Any) -> None:
        self.stack.append(called(self.source, function, arguments))

    def call_with_keywords(self) -> None:
        """A call whose keyword arguments cannot matter to tensors and plain containers."""
        self.pop()
        self.call(*[self.pop(), self.pop()][::-1])

    def instantiate(self, function: Any, arguments: list[Any]) -> None:
        """A class and its arguments, as protocols 0 and 1 write them."""
        self.name(function.module, function.name)
        self.call(self.pop(), tuple(arguments))

    def build(self, state: Any) -> None:
        """Give an object its attributes: a Namespace its values; an OrderedDict has none that matter."""
        target = self.stack[-1]
        if type(target) is dict:
            if type(state) is dict:
                self.source.budget.work(len(state))
                target.update({key: value for key, value in state.items() if key != "_metadata"})
        elif type(target) is ArrayRecord:
            target.value = array_of(self.source, state)
            self.stack[-1] = target.value
        elif type(target) is DtypeRecord:
            if type(state) is tuple and len(state) > 1 and type(state[1]) is str:
                target.order = state[1]
        elif not isinstance(target, Placeholder | Tensor):  # whose attributes do not matter
            raise ValueError(f"it sets attributes of a {kind_of(target)}")


def _first_and_rest(items: list[Any]) -> tuple[Global, list[Any]]:
    if not items or not isinstance(items[0], Global):
        raise ValueError("its pickle is damaged (an object of no class)")
    return items[0], items[1:]
