"""The inference engine: one object that inverts, renders, classifies and edits.

Arrays in, arrays out: pictures as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: pictures as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
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
from stedit.errors import BundleError, DeviceError, LatentError, MissingPartError, UsageError
from stedit.imaging.files import fit_picture
from stedit.inversion.encoder import iterate, one_pass
from stedit.inversion.hybrid import from_encoder
from stedit.inversion.objective import Objective, describe_losses, frame_size, resize
from stedit.inversion.optimisation import Report, code_statistics, from_mean
from stedit.inversion.options import DEFAULT_STEPS, METHODS, InversionOptions, Method, Step, TuningOptions
from stedit.inversion.tuning import render_tuned, tune
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator, Noise, SynthesisBlock
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer
from stedit.tunings import Tuning

Precision = Literal["float32", "bfloat16", "float16"]
Pixels = NDArray[np.uint8]
CodeArray = NDArray[np.float32]
Codes = TypeVar("Codes", CodeArray, Tensor)

_NETWORKS: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
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
        chosen = _choose_device(device)
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
    def target_size(self) -> tuple[int, int]:
        """(height, width) of the part of a rendering that shows the picture: all of it, where pictures are square."""
        resolution = self.output_size[0]
        return frame_size(resolution, self.input_size) if "encoder" in self.networks else (resolution, resolution)

    @property
    def code_shape(self) -> tuple[int, int]:
        """(N, D) of a code."""
        config = cast(GeneratorConfig, self._network("generator").config)
        return config.style_count, config.style_dim

    @overload
    def invert(
        self,
        images: Pixels,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Pixels | None = None,
        report: Report | None = None,
    ) -> CodeArray: ...
    @overload
    def invert(
        self,
        images: Tensor,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Tensor | None = None,
        report: Report | None = None,
    ) -> Tensor: ...
    def invert(
        self,
        images: Pixels | Tensor,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Pixels | Tensor | None = None,
        report: Report | None = None,
    ) -> CodeArray | Tensor:
        """Pictures -> W+ codes.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size; or a tensor (B, 3, H, W) of the encoder's input size
                or, for the other methods, of `target_size`.
            method: "encoder", one pass of the style transformer; "optimise", a descent from the mean code, without
                encoder; "hybrid", a descent from the encoder's code that stays near it; "iterative", several passes of
                an encoder that was trained for it.
            options: of the methods other than "encoder", which compute in float32 whatever the precision.
            targets: the same pictures in `target_size`, which those methods compare renderings with; by default made
                of `images`.
            report: told after every step of those methods.

        Returns:
            Codes (B, N, D), float32.

        Raises:
            MissingPartError: the model has no encoder, no iterative one, or no network for a loss asked for.
            UsageError: there is no such method, or the targets are of the wrong size.
        """
        if method not in METHODS:
            raise UsageError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
        if method == "encoder":
            codes = self._encode(self._fit(images, self.input_size))
        else:
            seen = images if targets is None else targets
            codes = self._search(images, self._targets(seen), method, options or InversionOptions(), report)
        return codes.cpu().numpy() if isinstance(images, np.ndarray) else codes.to(images.device)

    def tune(
        self,
        targets: Pixels | Tensor,
        codes: CodeArray | Tensor,
        *,
        options: TuningOptions | None = None,
        report: Callable[[int, Step], None] | None = None,
    ) -> list[Tuning]:
        """Adapt the generator to each of some pictures, whose codes stay, for faces that a code alone cannot hold.

        Args:
            targets: pictures as `invert` takes them; a tensor of `target_size`.
            codes: (B, N, D) of these pictures.
            options: how.
            report: told after every step, with the number of the picture.

        Returns:
            B tunings, for `synthesise`. Raises MissingPartError as `invert` does, and UsageError if sizes disagree.
        """
        options = options or TuningOptions()
        generator = cast(Generator, self._network("generator"))
        images, w = self._targets(targets), self._codes(codes)
        if len(images) != len(w):
            raise UsageError(f"there are {len(images)} pictures and {len(w)} codes: give a code for each picture")
        tunings = []
        for i in range(len(w)):
            objective = Objective(images[i : i + 1], options.losses, self.networks)
            tell = partial(report, i) if report else None
            factors = tune(generator, w[i : i + 1], objective, options, report=tell)
            halves = {name: (_to_half(up), _to_half(down)) for name, (up, down) in factors.items()}
            tunings.append(Tuning(halves, self.bundle.name, self.bundle.fingerprint))
        return tunings

    def require_iterative(self) -> StyleTransformer:
        """The encoder, if the method iterative can use it. Raises MissingPartError."""
        encoder = cast(StyleTransformer, self._network("encoder"))
        if not encoder.config.iterative:
            raise MissingPartError(
                f"the encoder of {self.bundle.name!r} was not trained to see its own renderings, as the method "
                "iterative needs it: choose hybrid"
            )
        return encoder

    def describe_losses(self, losses: Mapping[str, float]) -> str:
        """What losses such as those of InversionOptions come to with this model: `l2 + 0.02 perceptual (judge)`.

        Raises MissingPartError if no part of the model can measure one of them.
        """
        return describe_losses(losses, self.networks)

    @overload
    def synthesise(
        self, codes: CodeArray, *, noise: Noise = "const", seed: int = 0, tunings: Sequence[Tuning | None] = ()
    ) -> Pixels: ...
    @overload
    def synthesise(
        self, codes: Tensor, *, noise: Noise = "const", seed: int = 0, tunings: Sequence[Tuning | None] = ()
    ) -> Tensor: ...
    def synthesise(
        self,
        codes: CodeArray | Tensor,
        *,
        noise: Noise = "const",
        seed: int = 0,
        tunings: Sequence[Tuning | None] = (),
    ) -> Pixels | Tensor:
        """Codes (B, N, D) -> pictures: uint8 (B, R, R, 3) for an array, float (B, 3, R, R) for a tensor.

        Args:
            codes: in W+; one code (N, D) is a batch of one.
            noise: "const" is the model's own, the same for every picture; "random" is drawn from `seed`, the same for
                every picture of one seed; "none" leaves it out.
            seed: for random noise.
            tunings: of each code, or None where the generator is to stay as it is; () for none at all.

        Raises:
            LatentError: a tuning is of another model.
            UsageError: codes of the wrong size, or not as many tunings as codes.
        """
        w = self._codes(codes)
        if any(tunings):
            images = self._render_tuned(w, noise, seed, tunings)
        else:
            images = self._render(w, noise, seed)
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
            codes = one_pass(self._network("encoder"), self._network("generator"), images.to(self.device))
        return codes.float()

    def _search(
        self, images: Pixels | Tensor, targets: Tensor, method: Method, options: InversionOptions, report: Report | None
    ) -> Tensor:
        """Codes (B, N, D) of `targets` by any method but the encoder's one pass."""
        generator = cast(Generator, self._network("generator"))
        encoder = cast("StyleTransformer | None", self.networks.get("encoder"))
        steps = options.steps or DEFAULT_STEPS[method]
        with torch.no_grad():
            objective = Objective(targets, options.losses, self.networks)
            if method == "iterative":
                encoder = self.require_iterative()
                return iterate(encoder, generator, self._seen(images), objective, steps=steps, report=report)
            statistics = code_statistics(generator, encoder)
            if method == "optimise":
                return from_mean(generator, objective, statistics, options, steps=steps, report=report)
            start = self._encode(self._seen(images))
            classifier = cast("LatentClassifier | None", self.networks.get("classifier"))
            return from_encoder(
                generator, objective, start, statistics, classifier, options, steps=steps, report=report
            )

    def _seen(self, images: Pixels | Tensor) -> Tensor:
        """What the encoder sees of pictures of any size."""
        return resize(self._fit(images, self.input_size).to(self.device, torch.float32), self.input_size)

    def _fit(self, images: Pixels | Tensor, size: tuple[int, int]) -> Tensor:
        """Pictures of any size as a tensor (B, 3, *size); a tensor comes back as it is."""
        if not isinstance(images, np.ndarray):
            return images
        batch = images if images.ndim == 4 else images[None]
        return _to_tensor(np.stack([fit_picture(image, size) for image in batch]))

    def _targets(self, images: Pixels | Tensor) -> Tensor:
        """What renderings are compared with: (B, 3, *target_size). Raises UsageError for a tensor of another size."""
        targets = self._fit(images, self.target_size)
        if tuple(targets.shape[1:]) != (3, *self.target_size):
            raise UsageError(f"targets of this model are {(3, *self.target_size)}, not {tuple(targets.shape[1:])}")
        return targets.to(self.device, torch.float32)

    def _render_tuned(self, w: Tensor, noise: Noise, seed: int, tunings: Sequence[Tuning | None]) -> Tensor:
        """As `_render`, one by one, since each code with a tuning has a generator of its own."""
        if len(tunings) != len(w):
            raise UsageError(f"there are {len(w)} codes and {len(tunings)} tunings: give one, or None, for each code")
        pairs = zip(torch.split(w, 1), tunings, strict=True)
        return torch.cat([self._render(one, noise, seed, tuning) for one, tuning in pairs])

    def _render(self, w: Tensor, noise: Noise, seed: int, tuning: Tuning | None = None) -> Tensor:
        generator = cast(Generator, self._network("generator"))
        if tuning is not None and tuning.fingerprint != self.bundle.fingerprint:
            raise LatentError(
                f"a tuning of the model {tuning.model!r} (fingerprint {tuning.fingerprint!r}) does not fit "
                f"{self.bundle.name!r} ({self.bundle.fingerprint!r}): use that model, or invert the picture again"
            )
        maps: Noise | list[Tensor] = noise
        if noise == "random":
            source = torch.Generator().manual_seed(seed)
            maps = [torch.randn(size, generator=source).to(self.device) for size in _noise_sizes(generator)]
        with torch.no_grad(), self._autocast():
            images: Tensor = generator(w, noise=maps) if tuning is None else self._with_tuning(tuning, w, maps)
        return images.float()

    def _with_tuning(self, tuning: Tuning, w: Tensor, noise: Noise | list[Tensor]) -> Tensor:
        factors = {
            name: (_from_half(up).to(self.device), _from_half(down).to(self.device))
            for name, (up, down) in tuning.factors.items()
        }
        try:
            return render_tuned(cast(Generator, self._network("generator")), factors, w, noise=noise)
        except ValueError as error:
            raise LatentError(f"a tuning is damaged ({error}): make it again with stedit invert --tune") from error

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


def _choose_device(wanted: str | torch.device) -> torch.device:
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


def _to_half(tensor: Tensor) -> NDArray[np.float16]:
    return cast("NDArray[np.float16]", tensor.to(torch.float16).cpu().numpy())


def _from_half(array: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(array).float()


def _like(result: Tensor, given: Codes) -> Codes:
    if isinstance(given, np.ndarray):
        return cast(Codes, result.cpu().numpy())
    return result.to(given.device)
