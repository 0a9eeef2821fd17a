"""The inference engine: one object that inverts, renders, classifies and edits.

Arrays in, arrays out: pictures as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: pictures as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stedit.allocator import keep_big_blocks
from stedit.bundle import PART_CONFIGS, Bundle, find_bundle
from stedit.editing.attributes import related, resolve_attribute
from stedit.editing.label import edit_by_label
from stedit.errors import BundleError, DeviceError, MissingPartError, UsageError
from stedit.imaging.files import fit_picture
from stedit.models.attribute_network import Judge
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator, Noise, SynthesisBlock
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer

Precision = Literal["float32", "bfloat16", "float16"]
Pixels = NDArray[np.uint8]
CodeArray = NDArray[np.float32]
Codes = TypeVar("Codes", CodeArray, Tensor)

_NETWORKS: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
    "judge": Judge,
}


@dataclass
class Engine:
    """A loaded model. Build it with `from_pretrained`."""

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
    ) -> Engine:
        """Load an embedded model by name, or a bundle from a folder.

        Args:
            name_or_path: "synthface-128", or a folder.
            device: "auto" (CUDA, then MPS, then CPU), or what torch calls it.
            precision: of convolutions and products; codes and pictures stay float32.

        Raises:
            BundleError: the model is missing, damaged, or its tensors do not fit its sizes.
            DeviceError: the device or precision is not available here.
        """
        bundle = Bundle.load(find_bundle(name_or_path))
        chosen = choose_device(device)
        if precision == "float16" and chosen.type == "cpu":
            raise DeviceError("the CPU has no fast float16: choose --precision bfloat16 or float32")
        if chosen.type == "cpu":
            keep_big_blocks()
        networks = {name: _load_network(bundle, name).to(chosen) for name in bundle.parts}
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
    def code_shape(self) -> tuple[int, int]:
        """(N, D) of a code."""
        config = cast(GeneratorConfig, self._network("generator").config)
        return config.style_count, config.style_dim

    @overload
    def invert(self, images: Pixels) -> CodeArray: ...
    @overload
    def invert(self, images: Tensor) -> Tensor: ...
    def invert(self, images: Pixels | Tensor) -> CodeArray | Tensor:
        """Pictures -> W+ codes in one pass of the style transformer.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size; or a tensor (B, 3, H, W) of the encoder's input size.

        Returns:
            Codes (B, N, D), float32. Raises MissingPartError if the model has no encoder.
        """
        if isinstance(images, np.ndarray):
            batch = images if images.ndim == 4 else images[None]
            fitted = np.stack([fit_picture(image, self.input_size) for image in batch])
            return cast(CodeArray, self._encode(_to_tensor(fitted)).cpu().numpy())
        return self._encode(images).to(images.device)

    @overload
    def synthesise(self, codes: CodeArray, *, noise: Noise = "const", seed: int = 0) -> Pixels: ...
    @overload
    def synthesise(self, codes: Tensor, *, noise: Noise = "const", seed: int = 0) -> Tensor: ...
    def synthesise(self, codes: CodeArray | Tensor, *, noise: Noise = "const", seed: int = 0) -> Pixels | Tensor:
        """Codes (B, N, D) -> pictures: uint8 (B, R, R, 3) for an array, float (B, 3, R, R) for a tensor.

        Args:
            codes: in W+; one code (N, D) is a batch of one.
            noise: "const" is the model's own, the same for every picture; "random" is drawn from `seed`, the same for
                every picture of one seed; "none" leaves it out.
            seed: for random noise.
        """
        images = self._render(self._codes(codes), noise, seed)
        return _to_array(images) if isinstance(codes, np.ndarray) else images.to(codes.device)

    @overload
    def reconstruct(self, images: Pixels, *, noise: Noise = "const", seed: int = 0) -> Pixels: ...
    @overload
    def reconstruct(self, images: Tensor, *, noise: Noise = "const", seed: int = 0) -> Tensor: ...
    def reconstruct(self, images: Pixels | Tensor, *, noise: Noise = "const", seed: int = 0) -> Pixels | Tensor:
        """`invert`, then `synthesise`."""
        return self.synthesise(self.invert(images), noise=noise, seed=seed)

    def classify(self, codes: Codes) -> Codes:
        """Codes (B, N, D) -> the probability of each attribute, (B, K). Raises MissingPartError."""
        probabilities = self._logits(self._codes(codes)).sigmoid()
        return _like(probabilities, codes)

    @overload
    def judge(self, images: Pixels) -> CodeArray: ...
    @overload
    def judge(self, images: Tensor) -> Tensor: ...
    def judge(self, images: Pixels | Tensor) -> CodeArray | Tensor:
        """Pictures -> the probability (B, K) of each of the bundle's attributes, as the image-space judge sees them.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size; or a tensor (B, 3, H, W) of the judge's input size.

        Returns:
            Probabilities (B, K), float32. Raises MissingPartError if the model has no judge.
        """
        with torch.no_grad(), self._autocast():
            seen: Tensor = self._network("judge")(self._judged(images)).float().sigmoid()
        return seen.cpu().numpy() if isinstance(images, np.ndarray) else seen.to(images.device)

    @overload
    def judge_embedding(self, images: Pixels) -> CodeArray: ...
    @overload
    def judge_embedding(self, images: Tensor) -> Tensor: ...
    def judge_embedding(self, images: Pixels | Tensor) -> CodeArray | Tensor:
        """Pictures, as `judge` takes them -> the features (B, 16 * C) that its answers are read from."""
        with torch.no_grad(), self._autocast():
            seen: Tensor = self._network("judge").embed(self._judged(images)).float()
        return seen.cpu().numpy() if isinstance(images, np.ndarray) else seen.to(images.device)

    def edit_by_label(self, codes: Codes, attributes: str | Sequence[str], *, strength: float = 1.0) -> Codes:
        """Give codes one or more attributes, or take them away.

        Args:
            codes: (B, N, D) in W+.
            attributes: names such as "smile", "no-glasses", "Blond_Hair".
            strength: 1 goes to where the classifier is sure; between 0 and 1 goes part of the way, counted in its
                logit; above 1 goes further; below 0 goes the other way, to where it is sure of the opposite at -1. A
                code of which the classifier is sure already does not change at 1.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, and UsageError for contradicting names.
        """
        classifier = cast(LatentClassifier, self._network("classifier"))
        goals: dict[int, int] = {}
        for name in [attributes] if isinstance(attributes, str) else attributes:
            attribute, sign = resolve_attribute(name, self.attributes)
            if goals.setdefault(self.attributes.index(attribute), sign) != sign:
                raise UsageError(f"{attribute} is asked for both ways: name it once")
        w = self._codes(codes)
        logits = self._logits(w)
        free = frozenset[str]().union(*(related(self.attributes[index]) for index in goals))
        edited = edit_by_label(
            classifier,
            w,
            {
                index: _goal(logits[:, index], sign * strength, self.bundle.attributes[index].sure)
                for index, sign in goals.items()
            },
            keep=torch.tensor([name not in free for name in self.attributes], device=self.device),
        )
        return _like(edited, codes)

    def edit_by_reference(
        self, codes: Codes, references: Codes, attributes: str | Sequence[str], *, strength: float = 1.0
    ) -> Codes:
        """Give codes an attribute as the reference has it: its smile, its glasses, or their absence.

        Args:
            codes: (B, N, D) in W+.
            references: (1 or B, N, D) in W+.
            attributes: names such as "glasses"; several are taken one after the other.
            strength: 1 is the edit transformer's answer, 0 no change, others in proportion.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError.
        """
        editor = cast(EditTransformer, self._network("editor"))
        w, reference = self._codes(codes), self._codes(references)
        for name in [attributes] if isinstance(attributes, str) else attributes:
            attribute, _ = resolve_attribute(name, [item.name for item in self.bundle.attributes])
            index = [item.name for item in self.bundle.attributes].index(attribute)
            condition = torch.full((w.shape[0],), index, device=self.device) if editor.config.attributes else None
            with torch.no_grad(), self._autocast():
                target = editor(w, reference.expand_as(w), condition).float()
            w = torch.lerp(w, target, strength)
        return _like(w, codes)

    def _encode(self, images: Tensor) -> Tensor:
        with torch.no_grad(), self._autocast():
            codes: Tensor = self._network("encoder")(images.to(self.device))
        return codes.float()

    def _judged(self, images: Pixels | Tensor) -> Tensor:
        """What the judge takes: (B, 3, H, W) of its input size. Raises UsageError for a tensor of another size."""
        config = cast(Judge, self._network("judge")).config
        size = (config.input_height, config.input_width)
        if isinstance(images, np.ndarray):
            batch = images if images.ndim == 4 else images[None]
            images = _to_tensor(np.stack([fit_picture(image, size) for image in batch]))
        if tuple(images.shape[1:]) != (3, *size):
            raise UsageError(f"the judge takes pictures of {(3, *size)}, not {tuple(images.shape[1:])}")
        return images.to(self.device)

    def _render(self, w: Tensor, noise: Noise, seed: int) -> Tensor:
        generator = cast(Generator, self._network("generator"))
        maps: Noise | list[Tensor] = noise
        if noise == "random":
            source = torch.Generator().manual_seed(seed)
            maps = [torch.randn(size, generator=source).to(self.device) for size in _noise_sizes(generator)]
        with torch.no_grad(), self._autocast():
            images: Tensor = generator(w, noise=maps)
        return images.float()

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


def _load_network(bundle: Bundle, name: str) -> nn.Module:
    config = PART_CONFIGS[name].from_dict(bundle.parts[name].config)
    with torch.device("meta"):
        network = _NETWORKS[name](config)
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


def choose_device(wanted: str | torch.device) -> torch.device:
    """The torch device of this name; "auto" is CUDA, then MPS, then the CPU. Raises DeviceError."""
    if str(wanted) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(f"the device {str(wanted)!r} is not available here: choose --device cpu") from error
    return device


def _goal(logit: Tensor, strength: float, sure: float) -> Tensor:
    """The logit that an edit of this strength aims for (see `Engine.edit_by_label`)."""
    direction = 1.0 if strength >= 0 else -1.0
    start, amount = logit * direction, abs(strength)
    goal = torch.where(
        start < sure, start + amount * (sure - start), torch.maximum(start, start.new_tensor(amount * sure))
    )
    return goal * direction


def _noise_sizes(generator: Generator) -> list[torch.Size]:
    blocks = cast("list[SynthesisBlock]", generator.blocks)
    return [layer.noise.shape for block in blocks for layer in block.layers]  # type: ignore[misc]


def _to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def _to_array(images: Tensor) -> NDArray[np.uint8]:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.ascontiguousarray(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _like(result: Tensor, given: Codes) -> Codes:
    if isinstance(given, np.ndarray):
        return cast(Codes, result.cpu().numpy())
    return result.to(given.device)
