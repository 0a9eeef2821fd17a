"""A model in memory: its networks, where and in which precision they compute, and the shapes they take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from stedit.errors import MissingPartError, UsageError
from stedit.hub.find import find_bundle
from stedit.models.aligner import Aligner
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.edit_transformer import EditTransformer
from stedit.models.latent_classifier import LatentClassifier
from stedit.runtime.allocator import keep_big_blocks
from stedit.runtime.covariance import LatentCovariance, latent_covariance
from stedit.runtime.devices import Precision, choose_device, require_precision
from stedit.runtime.forking import compute_in_forked_processes
from stedit.runtime.framing import content_size
from stedit.runtime.networks import Encoder, Networks
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL


@dataclass(eq=False)
class Model:
    """A bundle loaded for use; `inversion` and `editing` are functions of it and of tensors."""

    bundle: Bundle
    networks: Networks
    device: torch.device
    precision: Precision = "float32"

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
    ) -> Self:
        """Load a model. Arguments and errors are those of `Engine.from_pretrained`."""
        bundle = Bundle.load(find_bundle(name_or_path))
        if "generator" not in bundle.parts:
            raise MissingPartError(
                f"the model {bundle.name!r} has no generator, only {', '.join(bundle.parts)}: join it to one",
                action="assemble",
            )
        chosen = choose_device(device)
        require_precision(precision, chosen)
        compute_in_forked_processes()
        if chosen.type == "cpu":
            keep_big_blocks()
        return cls(bundle, Networks.load(bundle, chosen), chosen, precision)

    def to(self, device: str | torch.device) -> Self:
        """Move all networks to another device, in place. Raises DeviceError."""
        chosen = choose_device(device)
        require_precision(self.precision, chosen)
        for network in self.networks.parts().values():
            network.to(chosen)
        if chosen != self.device:
            self.device = chosen
            vars(self).pop("covariance", None)
        return self

    def with_networks(self, **networks: Any) -> Self:
        """The same model with other networks in place of some: `with_networks(judge=None)`."""
        return replace(self, networks=replace(self.networks, **networks))

    @property
    def attributes(self) -> tuple[str, ...]:
        """CelebA names in the classifier's order; () without a classifier."""
        return tuple(item.name for item in self.bundle.attributes) if self.networks.classifier else ()

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the encoder's images. Raises MissingPartError."""
        config = self.require_encoder().config
        return config.input_height, config.input_width

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of renderings."""
        resolution = self.networks.generator.config.resolution
        return resolution, resolution

    @property
    def target_size(self) -> tuple[int, int]:
        """(height, width) of the part of a rendering that shows the image: all of it, where images are square."""
        resolution = self.output_size[0]
        return content_size(resolution, self.input_size) if self.networks.encoder else (resolution, resolution)

    @property
    def code_shape(self) -> tuple[int, int]:
        """(N, D) of a latent code."""
        config = self.networks.generator.config
        return config.style_count, config.style_dim

    @cached_property
    def covariance(self) -> LatentCovariance:
        """The covariance of latent codes."""
        return latent_covariance(self.networks.classifier, self.networks.generator)

    def require_encoder(self) -> Encoder:
        """The encoder. Raises MissingPartError."""
        return self.networks.encoder or self._lack("encoder")

    def require_classifier(self) -> LatentClassifier:
        """The attribute classifier. Raises MissingPartError."""
        return self.networks.classifier or self._lack("classifier")

    def require_judge(self) -> Judge:
        """The attribute predictor. Raises MissingPartError."""
        return self.networks.judge or self._lack("judge")

    def require_aligner(self) -> Aligner:
        """The network that finds faces. Raises MissingPartError."""
        return self.networks.aligner or self._lack("aligner")

    def require_identity(self) -> IdentityNetwork:
        """The identity network. Raises MissingPartError."""
        return self.networks.identity or self._lack("identity")

    def require_editors(self) -> Mapping[str, EditTransformer]:
        """The edit transformers by part. Raises MissingPartError if there is none."""
        return self.networks.editors or self._lack("editor")

    def sample_latents(self, count: int, *, seed: int = 0) -> Tensor:
        """Codes (count, N, D) of random z, the N styles of each alike."""
        width = self.networks.generator.config.z_width
        z = torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).to(self.device)
        with torch.no_grad():
            w: Tensor = self.networks.generator.mapping(z)
        return w[:, None].expand(-1, *self.code_shape).contiguous()

    def styles(self, layers: Sequence[int] | None) -> list[int] | None:
        """Layers sorted, each once; None for all of them. Raises UsageError for one that the model has not."""
        if layers is None:
            return None
        styles = sorted(set(layers))
        if not styles or styles[0] < 0 or styles[-1] >= self.code_shape[0]:
            raise UsageError(
                f"the layers {list(layers)} are not among those of this model, 0..{self.code_shape[0] - 1}"
            )
        return styles

    def attribute_mask(self, names: Collection[str]) -> Tensor:
        """Which of `attributes` are among `names`, (K,) bool."""
        return torch.tensor([name in names for name in self.attributes], dtype=torch.bool, device=self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks compute in `precision`."""
        dtype = getattr(torch, self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=self.precision != "float32")

    def _lack(self, part: str) -> NoReturn:
        raise MissingPartError(f"the model {self.bundle.name!r} has no {part}: choose a model that has one")

    def __repr__(self) -> str:
        (height, _), (count, dim) = self.output_size, self.code_shape
        return (
            f"Model({self.bundle.name!r}, {height} px, codes of {count} x {dim}, {', '.join(self.networks.parts())}; "
            f"{self.precision} on {self.device})"
        )
