"""The inference engine: one object that inverts, renders, classifies and edits.

Arrays in, arrays out: pictures as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: pictures as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast, overload

import numpy as np
import torch
from torch import Tensor

from stedit.editing.edits import Edits
from stedit.errors import LatentError, MissingPartError, UsageError
from stedit.imaging.files import Pixels, fit_picture
from stedit.inversion.encoder import encode, iterate
from stedit.inversion.hybrid import from_encoder
from stedit.inversion.objective import Objective, describe_losses
from stedit.inversion.optimisation import Report, code_statistics, from_mean
from stedit.inversion.options import DEFAULT_STEPS, METHODS, InversionOptions, Method, Step, TuningOptions
from stedit.inversion.tuning import render_tuned, tune
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.generator import Generator, Noise, SynthesisBlock
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.style_transformer import StyleTransformer
from stedit.runtime.arrays import CodeArray, Codes, from_half, like, to_array, to_half, to_tensor
from stedit.runtime.framing import resize
from stedit.storage.tunings import Tuning


class Engine(Edits):
    """A loaded model. Build it with `from_pretrained`."""

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
            method: "encoder", one pass of the encoder, and the corrections that it was trained for; "optimise", a
                descent from the mean code, without encoder; "hybrid", a descent from the encoder's code that stays near
                it; "iterative", several passes of an encoder that was trained for it.
            options: of the methods other than "encoder", which compute in float32 whatever the precision.
            targets: the same pictures in `target_size`, which those methods compare renderings with; by default made
                of `images`.
            report: told after every step of those methods.

        Returns:
            Codes (B, N, D), float32.

        Raises:
            MissingPartError: the model has no encoder, no iterative one, or no network for a loss asked for.
            UsageError: there is no such method, or a tensor is of the wrong size.
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
            halves = {name: (to_half(up), to_half(down)) for name, (up, down) in factors.items()}
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
        """What losses such as those of InversionOptions come to with this model: `l2 + 0.02 perceptual (encoder)`.

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
        return to_array(images) if isinstance(codes, np.ndarray) else images.to(codes.device)

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
        return like(probabilities, codes)

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

    @overload
    def identity(self, images: Pixels) -> CodeArray: ...
    @overload
    def identity(self, images: Tensor) -> Tensor: ...
    def identity(self, images: Pixels | Tensor) -> CodeArray | Tensor:
        """Faces, cropped as FFHQ's -> ArcFace embeddings (B, 512) of unit length; who is alike has a high product.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3); or a tensor (B, 3, H, W) in [-1, 1]; best of 256 px or more.

        Returns:
            Embeddings, float32. Raises MissingPartError if the model has no identity network.
        """
        network = cast(IdentityNetwork, self._network("identity"))
        given = images if isinstance(images, Tensor) else to_tensor(images if images.ndim == 4 else images[None])
        with torch.no_grad(), self._autocast():
            embeddings = network.embed(network.crop(given.to(self.device))).float()
        return embeddings.cpu().numpy() if isinstance(images, np.ndarray) else embeddings.to(images.device)

    def _encode(self, images: Tensor) -> Tensor:
        _require_size(images, self.input_size, "encoder")
        with torch.no_grad(), self._autocast():
            codes = encode(self._network("encoder"), self._network("generator"), images.to(self.device))
        return codes.float()

    def _judged(self, images: Pixels | Tensor) -> Tensor:
        """What the judge takes: (B, 3, H, W) of its input size. Raises UsageError for a tensor of another size."""
        config = cast(Judge, self._network("judge")).config
        size = (config.input_height, config.input_width)
        if isinstance(images, np.ndarray):
            batch = images if images.ndim == 4 else images[None]
            images = to_tensor(np.stack([fit_picture(image, size) for image in batch]))
        _require_size(images, size, "judge")
        return images.to(self.device)

    def _search(
        self, images: Pixels | Tensor, targets: Tensor, method: Method, options: InversionOptions, report: Report | None
    ) -> Tensor:
        """Codes (B, N, D) of `targets` by any method but the encoder alone."""
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
        return to_tensor(np.stack([fit_picture(image, size) for image in batch]))

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
            name: (from_half(up).to(self.device), from_half(down).to(self.device))
            for name, (up, down) in tuning.factors.items()
        }
        try:
            return render_tuned(cast(Generator, self._network("generator")), factors, w, noise=noise)
        except ValueError as error:
            raise LatentError(f"a tuning is damaged ({error}): make it again with stedit invert --tune") from error


def _require_size(images: Tensor, size: tuple[int, int], network: str) -> None:
    if tuple(images.shape[1:]) != (3, *size):
        raise UsageError(f"the {network} takes pictures of {(3, *size)}, not {tuple(images.shape[1:])}")


def _noise_sizes(generator: Generator) -> list[torch.Size]:
    blocks = cast("list[SynthesisBlock]", generator.blocks)
    return [layer.noise.shape for block in blocks for layer in block.layers]  # type: ignore[misc]
