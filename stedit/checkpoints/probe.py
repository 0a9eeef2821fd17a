"""Run the parts of a model once on fixed inputs, and sum up what they answer.

A converted network that has the right tensors may still compute nonsense. The summary is kept in the bundle, so that
everybody who converts the same file can see whether their network answers the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from stedit.models.backbone import IdentityNetwork
from stedit.models.config import ClassifierConfig, EditorConfig, EncoderConfig, GeneratorConfig
from stedit.runtime.allocator import keep_big_blocks
from stedit.runtime.networks import build_network
from stedit.storage.bundle_config import PartConfig

SAMPLES = 6


def probe(name: str, config: PartConfig, tensors: Mapping[str, Tensor]) -> list[float]:
    """What a part answers to its fixed input: mean, standard deviation and SAMPLES values spread over the answer.

    Rounded to four decimals; machines differ by a few of the last one, half precision on disk by more. Raises
    ValueError if the part does not run, or answers numbers that are not finite.
    """
    keep_big_blocks()
    with torch.device("meta"):
        network = build_network(name, config)
    try:
        network.load_state_dict(dict(tensors), strict=True, assign=True)
        with torch.no_grad():
            answer = _answer(network.eval(), config).double().flatten()
    except RuntimeError as error:
        raise ValueError(f"the {name} does not run ({str(error).splitlines()[0]})") from error
    if not torch.isfinite(answer).all():
        raise ValueError(f"the {name} runs, but answers numbers that are not finite")
    spread = answer[torch.linspace(0, len(answer) - 1, SAMPLES).long()]
    values = (answer.mean(), answer.std(correction=0), *spread)
    return [round(float(value), 4) + 0.0 for value in values]  # + 0.0: no negative zero


def _answer(network: nn.Module, config: PartConfig) -> Tensor:
    called: Any = network
    if isinstance(config, GeneratorConfig):
        return cast(Tensor, called(called.mapping(_normal(1, config.z_width))))
    if isinstance(config, EncoderConfig):
        image = _waves(config.input_height, config.input_width)
        return cast(Tensor, called(torch.cat([image, image], dim=1) if config.iterative else image))
    if isinstance(config, ClassifierConfig):
        return cast(Tensor, called(_normal(1, config.style_count, config.style_dim)))
    if isinstance(config, EditorConfig):
        source, reference = _normal(2, 1, config.style_count, config.style_dim)
        condition = torch.zeros(1, dtype=torch.int64) if config.attributes else None
        return cast(Tensor, called(source, reference, condition))
    side = IdentityNetwork.INPUT_SIZE
    return cast(Tensor, called.embed(_waves(side, side)))


def _normal(*shape: int) -> Tensor:
    # NumPy's stream, because torch draws other numbers on other processors
    return torch.from_numpy(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))


def _waves(height: int, width: int) -> Tensor:
    """A smooth picture (1, 3, H, W) in [-1, 1]."""
    rows, columns = np.arange(height)[:, None] / height, np.arange(width) / width
    planes = [np.sin(2 * np.pi * (2 * rows + colour * columns)) * np.cos(2 * np.pi * columns) for colour in range(3)]
    return torch.from_numpy(np.stack(planes).astype(np.float32))[None]
