"""A loaded model: its networks, where they compute, and what shapes they take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from stedit.errors import BundleError, MissingPartError, UsageError
from stedit.hub.find import find_bundle
from stedit.models.aligner import Aligner
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.psp_encoder import PspEncoder
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.allocator import keep_big_blocks
from stedit.runtime.arrays import CodeArray
from stedit.runtime.devices import Precision, choose_device, require_precision
from stedit.runtime.framing import frame_size
from stedit.storage.bundle import PART_CONFIGS, Bundle, PartConfig, part_type

_NETWORKS: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
    "judge": Judge,
    "aligner": Aligner,
    "identity": IdentityNetwork,
}


@dataclass
class Model:
    """Networks by the names of their parts; `Engine` is what it can do."""

    bundle: Bundle
    networks: dict[str, nn.Module]
    device: torch.device
    precision: Precision = "float32"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "synthface-128",
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
    ) -> Self:
        """Load an embedded model by name, a bundle from a folder, or one from the Hub.

        Args:
            name_or_path: "synthface-128", a folder, or "OWNER/NAME" or "OWNER/NAME@REVISION", pulled if it is not here.
            device: "auto" (CUDA, then MPS, then CPU), or what torch calls it.
            precision: of convolutions and products; codes and pictures stay float32.

        Raises:
            BundleError: the model is missing, damaged, or its tensors do not fit its sizes.
            HubError: the model is not here and cannot be fetched.
            DeviceError: the device or precision is not available here.
        """
        bundle = Bundle.load(find_bundle(name_or_path))
        if "generator" not in bundle.parts:
            raise MissingPartError(
                f"the model {bundle.name!r} has no generator, only {', '.join(bundle.parts)}: join it to one with "
                "`stedit weights assemble`"
            )
        chosen = choose_device(device)
        require_precision(precision, chosen)
        if chosen.type == "cpu":
            keep_big_blocks()
        networks = {name: load_network(bundle, name).to(chosen) for name in bundle.parts}
        return cls(bundle, networks, chosen, precision)

    @property
    def attributes(self) -> tuple[str, ...]:
        """CelebA names in the classifier's order; () without a classifier."""
        return tuple(item.name for item in self.bundle.attributes) if "classifier" in self.networks else ()

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) that the encoder takes; `invert` fits other sizes to it. Raises MissingPartError."""
        config = cast(EncoderConfig, self._network("encoder").config)
        return config.input_height, config.input_width

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of rendered pictures."""
        resolution = cast(GeneratorConfig, self._network("generator").config).resolution
        return resolution, resolution

    @property
    def target_size(self) -> tuple[int, int]:
        """(height, width) of the part of a rendering that shows the picture: all of it, where pictures are square."""
        resolution = self.output_size[0]
        return frame_size(resolution, self.input_size) if "encoder" in self.networks else (resolution, resolution)

    @property
    def code_shape(self) -> tuple[int, int]:
        """(N, D) of a code."""
        config = cast(GeneratorConfig, self._network("generator").config)
        return config.style_count, config.style_dim

    def sample(self, count: int, *, seed: int = 0) -> CodeArray:
        """Codes (count, N, D) of faces that the generator makes up: all N styles of a code are alike."""
        mapping = cast(Generator, self._network("generator")).mapping
        z = torch.randn(count, self.code_shape[1], generator=torch.Generator().manual_seed(seed)).to(self.device)
        with torch.no_grad():
            w: Tensor = mapping(z)
        return cast(CodeArray, w[:, None].expand(-1, *self.code_shape).contiguous().cpu().numpy())

    def _styles(self, layers: Sequence[int] | None) -> list[int] | None:
        if layers is None:
            return None
        styles = sorted(set(layers))
        if not styles or styles[0] < 0 or styles[-1] >= self.code_shape[0]:
            raise UsageError(
                f"the layers {list(layers)} are not among those of this model, 0..{self.code_shape[0] - 1}"
            )
        return styles

    def _logits(self, w: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = self._network("classifier")(w)
        return logits

    def _network(self, name: str) -> Any:
        if name not in self.networks:
            raise MissingPartError(f"the model {self.bundle.name!r} has no {name}: choose a model that has one")
        return self.networks[name]

    def _codes(self, codes: CodeArray | Tensor) -> Tensor:
        w = torch.from_numpy(codes) if isinstance(codes, np.ndarray) else codes
        w = (w if w.ndim == 3 else w[None]).to(self.device, torch.float32)
        if tuple(w.shape[1:]) != self.code_shape:
            raise UsageError(f"a code of this model is {self.code_shape}, not {tuple(w.shape[1:])}")
        return w

    def _autocast(self) -> AbstractContextManager[object]:
        dtype = getattr(torch, self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "float32")


def build_network(name: str, config: PartConfig) -> nn.Module:
    """The network of a part, untrained."""
    if isinstance(config, EncoderConfig) and config.kind != "style-transformer":
        return PspEncoder(config)
    return _NETWORKS[part_type(name)](config)


def load_network(bundle: Bundle, name: str) -> nn.Module:
    """The network of a part with its weights, frozen. Raises BundleError if they do not fit its sizes."""
    config = PART_CONFIGS[part_type(name)].from_dict(bundle.parts[name].config)
    with torch.device("meta"):
        network = build_network(name, config)
    tensors = bundle.read_part(name)
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        line = str(error).splitlines()[1].strip()
        raise BundleError(
            f"the {name} of {bundle.path} does not fit its sizes ({line}): get the model again"
        ) from error
    network.eval().requires_grad_(False)
    return cast(nn.Module, cast(Any, network).to(memory_format=torch.channels_last))
