"""Where in a checkpoint the network lies: dictionaries are searched for it, and the prefixes of its tensors' names.

Projects wrap their weights differently: `g_ema`, `params_ema`, `state_dict`, Lightning's `model.`, DataParallel's
`module.`, the compiler's `_orig_mod.`. All dictionaries near the top are searched, averaged weights first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from stedit.checkpoints.pickle_names import Global, Placeholder
from stedit.checkpoints.state_dicts import Checkpoint, Tensors
from stedit.storage.directions import printable

# the most wanted first; others come in the order of the file
AVERAGED = ("g_ema", "G_ema", "params_ema", "ema", "generator_ema")
WRAPPERS = (*AVERAGED, "state_dict", "model_state_dict", "model", "params", "g", "G", "generator", "net")
OPTIONS = ("opts", "args", "hparams", "hyper_parameters")
WRAPPING_PARTS = frozenset({"module", "_orig_mod"})  # of names
DEPTH = 3
MAX_DICTIONARIES = 64
FEW = 8  # names that a sentence lists


def candidates(checkpoint: Mapping[Any, Any]) -> Iterator[Checkpoint]:
    """Each dictionary of the checkpoint that holds tensors, the most wanted first."""
    waiting: list[tuple[Mapping[Any, Any], Tensor | None, Mapping[str, Any], int]] = [(checkpoint, None, {}, 0)]
    for _ in range(MAX_DICTIONARIES):
        if not waiting:
            return
        found, mean, opts, depth = waiting.pop(0)
        mean = _mean(found.get("latent_avg"), mean)
        opts = next((found[key] for key in OPTIONS if isinstance(found.get(key), dict)), opts)
        tensors = {_bare(key): value for key, value in found.items() if _is_named_tensor(key, value)}
        tensors.pop("latent_avg", None)
        if tensors:
            yield Checkpoint(tensors, mean, opts)
        if depth < DEPTH:
            keys = [key for key in WRAPPERS if key in found]
            keys += [key for key in found if key not in keys and key not in OPTIONS]
            inner = [found[key] for key in keys if isinstance(found[key], Mapping)]
            waiting += [(mapping, mean, opts, depth + 1) for mapping in inner]


def prefixes(tensors: Tensors, keys: frozenset[str]) -> Iterator[str]:
    """What stands before all of `keys` in the names, the shortest first; "" if they are there as they are."""
    anchor = min(keys, key=len)
    found = {name.removesuffix(anchor) for name in tensors if name.endswith(anchor)}
    for prefix in sorted(found, key=len):
        if (not prefix or prefix.endswith(".")) and all(prefix + key in tensors for key in keys):
            yield prefix


def missing(tensors: Tensors, keys: frozenset[str]) -> list[str]:
    """Those of `keys` in which no name ends."""
    return sorted(key for key in keys if not any(name == key or name.endswith(f".{key}") for name in tensors))


def describe(checkpoint: Mapping[Any, Any]) -> str:
    """What a checkpoint holds, in a few words of its own."""
    shown = [
        f"{printable(key if isinstance(key, str) else type(key).__name__)[:60]}{_type(key, value)}"
        for key, value in list(checkpoint.items())[:FEW]
    ]
    more = len(checkpoint) - len(shown)
    return f"{', '.join(shown) or 'nothing'}{f' and {more} more' if more > 0 else ''}"


def _type(key: object, value: object) -> str:
    if not isinstance(value, Placeholder | Global):
        return ""
    return f" (a {value}, saved whole: save its state_dict() instead)" if key in WRAPPERS else f" (a {value})"


def _is_named_tensor(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPING_PARTS)


def _mean(value: object, otherwise: Tensor | None) -> Tensor | None:
    """latent_avg, without the axis of a batch of one."""
    if not isinstance(value, Tensor):
        return otherwise
    return value[0] if value.ndim == 3 and len(value) == 1 else value
