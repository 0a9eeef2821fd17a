"""The state of a training on disk, written whole or not at all: `RUN/checkpoints/<step>/`.

    networks.safetensors     every tensor of every network, as "network/tensor"
    optimizers.safetensors   every tensor of every optimiser, as "optimizer/parameter/tensor"
    state.json               the step, and all that is no tensor

Nothing in it is unpickled. No random state is kept, because `loop` seeds every step's random numbers by the
seed and the step.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from stedit.errors import OutputError, TrainingError, UsageError, describe_cause
from stedit.storage.atomic import write_folder

FOLDER = "checkpoints"
FORMAT = 2
_RENAMED = {"kind": "command", "numbers": "scalars"}  # of format 1
_FORMER_COMMANDS = {"autoencoder": "generator", "finetune-generator": "generator", "finetune-editor": "editor"}
MAX_CHECKPOINTS = 2  # the newest, and the one before it in case the disk spoils the newest


@dataclass
class State:
    """What is no tensor."""

    command: str
    """Of `stedit train`, such as "generator"."""
    step: int = 0
    """Steps done."""
    scalars: dict[str, float] = field(default_factory=dict)
    """Of the task, such as the probability of an augmentation."""
    sums: dict[str, float] = field(default_factory=dict)
    """Of each loss over the steps since the last line of the metrics."""
    summed: dict[str, int] = field(default_factory=dict)
    """In how many of these steps there was such a loss."""
    scaler: dict[str, float] = field(default_factory=dict)
    """Of the gradient scaling of float16."""
    seconds: float = 0.0
    """Trained so far."""


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("*") if path.name.isdigit())


def make_folder(path: Path) -> None:
    """Make a folder, and those that it is in, unless it is there. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {describe_cause(error)}") from error


def require(run: Path) -> Path:
    """The newest checkpoint of a run. Raises UsageError if there is none."""
    found = checkpoints(run)
    if not found:
        raise UsageError(f"{run} holds no checkpoint to resume from: begin without resuming")
    return found[-1]


def save(
    run: Path, state: State, networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> None:
    """Write a checkpoint and drop the oldest ones. Raises OutputError, and TrainingError if a weight is not finite."""
    tensors = {f"{name}/{key}": value for name, one in networks.items() for key, value in one.state_dict().items()}
    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise TrainingError(f"training diverged: {key} holds numbers that are not finite after step {state.step}")
    moments: dict[str, Tensor] = {}
    groups = {}
    for name, optimizer in optimizers.items():
        values = optimizer.state_dict()
        groups[name] = [
            {key: value for key, value in group.items() if key != "params"} for group in values["param_groups"]
        ]
        for index, entry in values["state"].items():
            moments |= {f"{name}/{index}/{key}": value for key, value in entry.items() if value is not None}
    make_folder(run / FOLDER)
    with write_folder(run / FOLDER / f"{state.step:08d}") as folder:
        _write(tensors, folder / "networks.safetensors")
        _write(moments, folder / "optimizers.safetensors")
        values = {"format": FORMAT, **asdict(state), "groups": groups}
        (folder / "state.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    for old in checkpoints(run)[:-MAX_CHECKPOINTS]:
        shutil.rmtree(old, ignore_errors=True)


def load(
    run: Path, command: str, networks: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]
) -> State:
    """Put the newest checkpoint into networks and optimisers. Raises UsageError and TrainingError."""
    folder = require(run)
    try:
        values: dict[str, Any] = json.loads((folder / "state.json").read_bytes())
        if (version := values.pop("format")) == 1:
            values = {_RENAMED.get(name, name): value for name, value in values.items()}
        elif version != FORMAT:
            raise TrainingError(
                f"{folder} is of the checkpoint format {version}, this stedit writes {FORMAT}: start anew"
            )
        groups = values.pop("groups")
        if values["command"] not in (command, _FORMER_COMMANDS.get(command)):
            raise UsageError(
                f"{run} is a training of {values['command']!r}, not of {command!r}: give another run folder"
            )
        state = State(**{**values, "command": command})
        tensors = load_file(folder / "networks.safetensors")
        moments = load_file(folder / "optimizers.safetensors")
        for name, one in networks.items():
            one.load_state_dict(select(tensors, name))
        for name, optimizer in optimizers.items():
            _restore(optimizer, groups[name], select(moments, name))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"the checkpoint {folder} is damaged or of another config ({describe_cause(error)}): delete that folder to "
            "resume from the one before it"
        ) from error
    return state


def _restore(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]], moments: Mapping[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        index, name = key.split("/")
        entries.setdefault(int(index), {})[name] = value
    template = optimizer.state_dict()["param_groups"]
    merged = [{**group, "params": mine["params"]} for group, mine in zip(groups, template, strict=True)]
    optimizer.load_state_dict({"state": entries, "param_groups": merged})


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write tensors; where the disk refuses, raise the OSError that safetensors only quotes."""
    try:
        save_file(_plain(tensors), file)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise (
            OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(describe_cause(error))
        ) from error


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that the format can hold: on the CPU, contiguous, and sharing no memory."""
    return {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}


def select(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one network, or optimiser, of a file."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
