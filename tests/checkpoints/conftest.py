"""Checkpoint files as people have them: containers and wrappings, the recipe's weights, and NVIDIA's pickles."""

from __future__ import annotations

import argparse
import importlib.util
import json
import pickle
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

PARITY = Path(__file__).resolve().parents[3] / "shared" / "parity"
ALLOWED = 10.0  # times the tolerance of an array
HALF_ROUNDING = 2.0**-11

Save = Callable[..., Path]


class Golden:
    """One .npz of the published networks' outputs: its arrays, its `doc`, and the seed of its weights."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as file:
            self.arrays: dict[str, NDArray[Any]] = dict(file)
        self.doc: dict[str, Any] = json.loads(str(self.arrays.pop("doc")))
        self.seed = int(re.findall(r"seed (\d+)", self.doc["weights"])[0])

    def compare(self, name: str, actual: Tensor) -> None:
        """Fail unless `actual` equals the array within ten times the published network's own rounding."""
        expected = self.arrays[name].astype(np.float64)
        assert actual.shape == expected.shape
        error = np.abs(actual.detach().double().numpy() - expected)
        if self.arrays[name].dtype == np.float16:
            error -= HALF_ROUNDING * np.abs(expected)
        assert error.max() <= ALLOWED * float(self.arrays[f"tol_{name}"]), name


class Parity:
    """The recipe, the tables of names and shapes, and the goldens."""

    def __init__(self) -> None:
        spec = importlib.util.spec_from_file_location("parity_recipe", PARITY / "recipe.py")
        assert spec is not None
        assert spec.loader is not None
        self.recipe: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.recipe)
        self.formats: dict[str, Any] = json.loads((PARITY / "formats.json").read_text())

    def golden(self, name: str) -> Golden:
        return Golden(PARITY / "golden" / f"golden_{name}.npz")

    def shapes(self, name: str, group: str = "state_dict") -> dict[str, tuple[int, ...]]:
        """Names and shapes of a published file, as its table gives them, or as it differs from another's."""
        table = self.formats[name]
        if "differs_from" not in table:
            return {key: tuple(row[0]) for key, row in table[group].items()}
        shapes = self.shapes(table["differs_from"], group)
        shapes = {key: shape for key, shape in shapes.items() if key not in table["absent_here"]}
        return shapes | {key: tuple(row[0]) for key, row in table["only_here_or_changed"].items()}

    def fill(self, shapes: Mapping[str, tuple[int, ...]], seed: int, drawn_as: str = "") -> dict[str, Tensor]:
        """The recipe's weights; `drawn_as` is put before the keys for the draw only."""
        filled = self.recipe.fill({drawn_as + key: shape for key, shape in shapes.items()}, seed)
        return {key.removeprefix(drawn_as): torch.from_numpy(np.asarray(value)) for key, value in filled.items()}

    def image(self, height: int, width: int, seed: int, batch: int = 1) -> Tensor:
        return torch.from_numpy(self.recipe.image(batch, height, width, seed))

    def normal(self, seed: int, key: str, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self.recipe.normal(seed, key, shape))


@pytest.fixture(scope="session")
def parity() -> Parity:
    if not (PARITY / "golden").is_dir():
        pytest.skip("the golden outputs are not beside this checkout")
    return Parity()


@pytest.fixture
def save(monkeypatch: pytest.MonkeyPatch) -> Save:
    """torch.save in either container, with storages that say that they lay on a GPU."""

    def write(path: Path, content: object, *, legacy: bool) -> Path:
        with monkeypatch.context() as patch:
            patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        return path

    return write


def namespace(**values: Any) -> argparse.Namespace:
    return argparse.Namespace(**values, device="cuda", exp_dir="/home/somebody", lr=1e-4, ids=[0, 1], start=None)


# NVIDIA's pickles

SOURCE = "raise SystemExit('the source of a pickle was executed')"


class _Persistent:
    """Pickles as NVIDIA's persistent classes do: a call of their function, with source and state in its argument."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name, "state": self.state}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,)


def _module(class_name: str, tensors: dict[str, Tensor], **attributes: Any) -> _Persistent:
    """A network whose `tensors` have dotted names; all that torch.nn.Module keeps is there."""
    children: dict[str, dict[str, Tensor]] = {}
    own: OrderedDict[str, Any] = OrderedDict()
    for key, tensor in tensors.items():
        first, dot, rest = key.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = tensor
        else:
            own[first] = torch.nn.Parameter(tensor) if "filter" not in key else tensor
    hooks = {f"_{name}_hooks": OrderedDict() for name in ("backward", "forward", "forward_pre", "state_dict")}
    state = {
        "training": False,
        "_parameters": OrderedDict((key, value) for key, value in own.items() if isinstance(value, torch.nn.Parameter)),
        "_buffers": OrderedDict(
            (key, value) for key, value in own.items() if not isinstance(value, torch.nn.Parameter)
        ),
        "_non_persistent_buffers_set": set(),
        "_is_full_backward_hook": None,
        **hooks,
        "_modules": OrderedDict((name, _module("Layer", inner)) for name, inner in children.items()),
        "weight_gain": np.float64(0.5) / np.sqrt(512),
        "activation": "lrelu",
        **attributes,
    }
    return _Persistent(class_name, state)


@pytest.fixture
def save_nvidia(monkeypatch: pytest.MonkeyPatch) -> Iterator[Save]:
    """Write `tensors`, with NVIDIA's names, as their G_ema; their modules exist only while it is written."""

    def write(path: Path, tensors: dict[str, Tensor], protocol: int = 4, **content: Any) -> Path:
        persistence, dnnlib = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")
        exec("def _reconstruct_persistent_obj(meta): raise SystemExit", vars(persistence))
        exec("class EasyDict(dict): pass", vars(dnnlib))
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torch_utils", ModuleType("torch_utils"))
            patch.setitem(sys.modules, "torch_utils.persistence", persistence)
            patch.setitem(sys.modules, "dnnlib", ModuleType("dnnlib"))
            patch.setitem(sys.modules, "dnnlib.util", dnnlib)
            options = dnnlib.EasyDict(c_dim=0, synthesis_kwargs=dnnlib.EasyDict(channel_base=32768, conv_clamp=256))
            network = _module("Generator", tensors, _init_args=(), _init_kwargs=options)
            other = _module("Discriminator", {"b4.conv.weight": torch.ones(3, 3), "b4.resample_filter": torch.ones(2)})
            named = {"G": network, "D": other, "G_ema": network, "augment_pipe": None}
            settings = dnnlib.EasyDict(path="/data/ffhq.zip", use_labels=False)
            with path.open("wb") as file:
                pickle.dump({"training_set_kwargs": settings, **named, **content}, file, protocol=protocol)
        return path

    yield write
    assert "torch_utils.persistence" not in sys.modules


@pytest.fixture
def checkpoint_options() -> Callable[..., argparse.Namespace]:
    return namespace
