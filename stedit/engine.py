"""The inference engine: one object that inverts, renders, classifies and edits.

Arrays in, arrays out: pictures as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: pictures as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stedit.allocator import keep_big_blocks
from stedit.bundle import PART_CONFIGS, Bundle, PartConfig, find_bundle, part_kind
from stedit.editing.attributes import RULED_OUT, related, resolve_attribute, resolve_reference_attribute
from stedit.editing.covariance import Spread, spread_of
from stedit.editing.directions import (
    Learned,
    LinearDirection,
    learn_from_classifier,
    learn_from_labels,
    linear_directions,
    parse_direction,
)
from stedit.editing.label import edit_along, edit_by_label, move_along
from stedit.editing.mixing import mix
from stedit.editing.reference import (
    condition_for,
    edit_by_learned_label,
    edit_by_reference,
    editor_for,
    learned_editor,
    shares,
)
from stedit.errors import BundleError, DeviceError, LatentError, MissingPartError, UsageError
from stedit.imaging.files import fit_picture
from stedit.inversion.encoder import iterate, one_pass
from stedit.inversion.hybrid import from_encoder
from stedit.inversion.objective import Objective, describe_losses, frame_size, resize
from stedit.inversion.optimisation import Report, code_statistics, from_mean
from stedit.inversion.options import DEFAULT_STEPS, METHODS, InversionOptions, Method, Step, TuningOptions
from stedit.inversion.tuning import render_tuned, tune
from stedit.models.attribute_network import Judge
from stedit.models.backbone import IdentityNetwork
from stedit.models.config import EncoderConfig, GeneratorConfig
from stedit.models.edit_transformer import EditTransformer
from stedit.models.generator import Generator, Noise, SynthesisBlock
from stedit.models.latent_classifier import LatentClassifier
from stedit.models.psp_encoder import PspEncoder
from stedit.models.style_transformer import StyleTransformer
from stedit.tunings import Tuning

Precision = Literal["float32", "bfloat16", "float16"]
Pixels = NDArray[np.uint8]
CodeArray = NDArray[np.float32]
Codes = TypeVar("Codes", CodeArray, Tensor)

LEARNING_CODES = 2000  # made up to learn a direction from

RULED_OUT_LOGIT = (
    3.0  # a probability of 5 %: enough not to be seen; to be as sure as of what is asked for would spoil it
)

_NETWORKS: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "encoder": StyleTransformer,
    "classifier": LatentClassifier,
    "editor": EditTransformer,
    "judge": Judge,
    "identity": IdentityNetwork,
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
        given = images if isinstance(images, Tensor) else _to_tensor(images if images.ndim == 4 else images[None])
        with torch.no_grad(), self._autocast():
            embeddings = network.embed(network.crop(given.to(self.device))).float()
        return embeddings.cpu().numpy() if isinstance(images, np.ndarray) else embeddings.to(images.device)

    def edit_by_label(
        self,
        codes: Codes,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        direction: str = "auto",
        keep: str | Sequence[str] = (),
        layers: Sequence[int] | None = None,
    ) -> Codes:
        """Give codes one or more attributes, or take them away.

        Args:
            codes: (B, N, D) in W+.
            attributes: names such as "smile", "no-glasses", "Blond_Hair"; none, (), to move along a linear direction
                whose meaning the classifier does not know.
            strength: 1 is the whole edit, below 0 goes the other way. Learned edits go in proportion. Along other
                directions, 1 goes to where the classifier is sure, at -1 of the opposite; between 0 and 1 goes part of
                the way, counted in its logit; a code of which it is sure already does not change at 1. Without
                attributes, strength counts standard deviations of codes along the direction.
            direction: "learned" (what the edit transformer has learned from true edits); "preserving", "first-order"
                or "second-order" (see `stedit.editing.label`); "linear:FILE", "linear:FILE:NAME" or "sefa:0" (see
                `stedit.editing.directions`); "auto" is learned where the model has learned all of the attributes, else
                preserving.
            keep: attributes to hold where they are; the preserving direction holds those that have nothing to do with
                the wanted ones in any case.
            layers: the styles that may change, counted from 0; None for all of them.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, InputError for a file of directions, and
            UsageError for requests that contradict themselves.
        """
        names = [attributes] if isinstance(attributes, str) else list(attributes)
        asked = parse_direction(direction)
        w = self._codes(codes)
        if asked == "auto":
            asked = "learned" if names and self.has_learned(names) else "preserving"
        styles = self._styles(layers)
        signs = self._signs(names)
        held = {resolve_attribute(name, self.attributes)[0] for name in ([keep] if isinstance(keep, str) else keep)}
        if both := held & {self.attributes[index] for index in signs}:
            raise UsageError(f"{min(both)} is both to be edited and to be kept: leave one of them out")
        lines = []
        if isinstance(asked, LinearDirection):
            lines = linear_directions(
                asked,
                [self.attributes[index] for index in signs],
                self._network("generator"),
                self._spread,
                fingerprint=self.bundle.fingerprint,
                styles=styles,
            )
        elif not names:
            raise UsageError("no attribute is named, and only linear directions can do without: name one with --attr")
        mask = torch.tensor([name in held for name in self.attributes], dtype=torch.bool, device=self.device)
        if not names:
            judge = cast(LatentClassifier, self._network("classifier")) if held else None
            return _like(move_along(w, strength * lines[0], judge, keep=mask, styles=styles), codes)
        classifier = cast(LatentClassifier, self._network("classifier"))
        if asked == "learned":
            edited = self._edit_learned(w, signs, strength)
            return _like(move_along(w, edited - w, classifier if held else None, keep=mask, styles=styles), codes)
        logits = self._logits(w)
        goals = {
            index: _goal(logits[:, index], sign * strength, self.bundle.attributes[index].sure)
            for index, sign in signs.items()
        }
        if isinstance(asked, LinearDirection):
            edited = edit_along(classifier, w, goals, dict(zip(goals, lines, strict=True)), keep=mask, styles=styles)
        else:
            if asked == "preserving":
                free = frozenset[str]().union(*(related(self.attributes[index]) for index in goals)) - held
                given = [self.attributes[index] for index, sign in signs.items() if sign * strength > 0]
                for index in self._ruled_out(given, free):
                    goals.setdefault(index, _goal(logits[:, index], -abs(strength), RULED_OUT_LOGIT))
                mask = torch.tensor([name not in free for name in self.attributes], device=self.device)
            edited = edit_by_label(classifier, w, goals, keep=mask, spread=self._spread, direction=asked, styles=styles)
        return _like(edited, codes)

    def edit_by_reference(
        self,
        codes: Codes,
        references: Codes | Sequence[Codes],
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
    ) -> Codes:
        """Give codes an attribute as the reference has it: its smile, its glasses, or their absence.

        Args:
            codes: (B, N, D) in W+.
            references: (1 or B, N, D) in W+; or a list of several such references, whose answers are averaged.
            attributes: names such as "glasses"; several are taken one after the other.
            strength: 1 is the edit transformer's answer, 0 no change, others in proportion.
            weights: of several references, above 0; only their proportion counts. None weighs all alike.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, and UsageError for "no-glasses", since the
            reference decides, and for weights that do not fit the references.
        """
        w, sources = self._codes(codes), self._references(references)
        parts = shares(weights, len(sources))
        for editor, index in self._editors(attributes):
            with self._autocast():
                w = edit_by_reference(editor, w, sources, index, weights=parts, strength=strength)
        return _like(w, codes)

    def attention(
        self, codes: Codes, references: Codes | Sequence[Codes], attributes: str | Sequence[str]
    ) -> list[list[NDArray[np.float32]]]:
        """Which source styles take from which reference styles in `edit_by_reference` at strength 1.

        Args:
            codes: (B, N, D).
            references: as of `edit_by_reference`; several weigh alike.
            attributes: as of `edit_by_reference`.

        Returns:
            For each attribute and each reference, (layers, B, heads, N, N): source styles before reference styles, each
            row with the sum 1. Raises as `edit_by_reference`.
        """
        w, sources = self._codes(codes), self._references(references)
        parts = shares(None, len(sources))
        maps = []
        for editor, index in self._editors(attributes):
            with torch.no_grad(), self._autocast():
                condition = condition_for(editor, w, index)
                weights = [editor.attention(w, source.expand_as(w), condition).float() for source in sources]
                w = edit_by_reference(editor, w, sources, index, weights=parts)
            maps.append([one.cpu().numpy() for one in weights])
        return maps

    def mix(self, codes: Codes, others: Codes, *, strength: float = 0.5, layers: Sequence[int] | None = None) -> Codes:
        """Go from codes (B, N, D) towards others (1 or B, N, D), in a straight line.

        Args:
            codes: in W+.
            others: in W+.
            strength: 0 gives `codes` and 1 gives `others`, bit by bit; other numbers lie between and beyond them.
            layers: the styles that go, counted from 0; None for all of them.
        """
        return _like(mix(self._codes(codes), self._codes(others), strength, self._styles(layers)), codes)

    def sample(self, count: int, *, seed: int = 0) -> CodeArray:
        """Codes (count, N, D) of faces that the generator makes up: all N styles of a code are alike."""
        mapping = cast(Generator, self._network("generator")).mapping
        z = torch.randn(count, self.code_shape[1], generator=torch.Generator().manual_seed(seed)).to(self.device)
        with torch.no_grad():
            w: Tensor = mapping(z)
        return cast(CodeArray, w[:, None].expand(-1, *self.code_shape).contiguous().cpu().numpy())

    def learn_direction(
        self, attribute: str, codes: CodeArray | None = None, labels: Sequence[bool] | None = None
    ) -> Learned:
        """Find one direction for all codes that gives them an attribute; `save_directions` keeps it.

        Args:
            attribute: what the classifier, or without one the labels, tell apart. With labels, any name will do.
            codes: (M, N, D) in W+ to learn from; None makes some up.
            labels: which codes have the attribute; None asks the classifier.

        Returns:
            The direction, and the share of codes held back from learning that it puts on the right side.
            Raises AttributeNameError, MissingPartError, and UsageError if there are too few codes of either label.
        """
        w = self._codes(self.sample(LEARNING_CODES) if codes is None else codes)
        if labels is not None:
            return learn_from_labels(w, torch.tensor(labels, dtype=torch.bool, device=self.device))
        classifier = cast(LatentClassifier, self._network("classifier"))
        index = self.attributes.index(resolve_attribute(attribute, self.attributes)[0])
        return learn_from_classifier(classifier, w, index, self._spread)

    def has_learned(self, attributes: str | Sequence[str]) -> bool:
        """Whether `edit_by_label` has a learned direction for all attributes. Raises AttributeNameError."""
        names = [attributes] if isinstance(attributes, str) else attributes
        return all(self._learned_editor(index) for index in self._signs(names))

    def _learned_editor(self, index: int) -> EditTransformer | None:
        editors = cast(Mapping[str, EditTransformer], self.networks)
        return learned_editor(editors, self.attributes[index], index)

    def _edit_learned(self, w: Tensor, signs: Mapping[int, int], strength: float) -> Tensor:
        """Codes (B, N, D) with one attribute after the other learned to be given or taken. Raises MissingPartError."""
        for index, sign in signs.items():
            editor = self._learned_editor(index)
            if editor is None:
                raise MissingPartError(
                    f"the model {self.bundle.name!r} has learned no edit of {self.attributes[index]} by label: leave "
                    "--direction out"
                )
            with self._autocast():
                amount = sign * strength * self.bundle.attributes[index].amount
                w = edit_by_learned_label(editor, w, index, strength=amount)
        return w

    @cached_property
    def _spread(self) -> Spread:
        """Multiplies flattened codes by their covariance."""
        return spread_of(cast(LatentClassifier | None, self.networks.get("classifier")), self._network("generator"))

    def _ruled_out(self, given: Sequence[str], free: frozenset[str]) -> list[int]:
        """Attributes that codes cannot have beside those given, and that are free to change."""
        names = {name for attribute in given for name in RULED_OUT.get(attribute, ())} & free
        return [index for index, name in enumerate(self.attributes) if name in names]

    def _signs(self, names: Sequence[str]) -> dict[int, int]:
        """Attribute index -> 1 for with, -1 for without. Raises AttributeNameError, MissingPartError, UsageError."""
        if names:
            self._network("classifier")
        signs: dict[int, int] = {}
        for name in names:
            attribute, sign = resolve_attribute(name, self.attributes)
            if signs.setdefault(self.attributes.index(attribute), sign) != sign:
                raise UsageError(f"{attribute} is asked for both ways: name it once")
        return signs

    def _styles(self, layers: Sequence[int] | None) -> list[int] | None:
        if layers is None:
            return None
        styles = sorted(set(layers))
        if not styles or styles[0] < 0 or styles[-1] >= self.code_shape[0]:
            raise UsageError(
                f"the layers {list(layers)} are not among those of this model, 0..{self.code_shape[0] - 1}"
            )
        return styles

    def _references(self, references: Codes | Sequence[Codes]) -> list[Tensor]:
        given = references if isinstance(references, list | tuple) else [references]
        return [self._codes(cast("CodeArray | Tensor", one)) for one in given]

    def _editors(self, attributes: str | Sequence[str]) -> list[tuple[EditTransformer, int]]:
        """The edit transformer of each attribute, and the attribute's index."""
        editors = {name: network for name, network in self.networks.items() if part_kind(name) == "editor"}
        names = [item.name for item in self.bundle.attributes]
        found = []
        for name in [attributes] if isinstance(attributes, str) else attributes:
            if not editors:
                self._network("editor")
            attribute = resolve_reference_attribute(name, names)
            editor = editor_for(cast(Mapping[str, EditTransformer], editors), attribute, self.bundle.name)
            found.append((editor, names.index(attribute)))
        return found

    def _encode(self, images: Tensor) -> Tensor:
        with torch.no_grad(), self._autocast():
            codes = one_pass(self._network("encoder"), self._network("generator"), images.to(self.device))
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


def build_network(name: str, config: PartConfig) -> nn.Module:
    """The network of a part, untrained."""
    if isinstance(config, EncoderConfig) and config.kind != "style-transformer":
        return PspEncoder(config)
    return _NETWORKS[part_kind(name)](config)


def _load_network(bundle: Bundle, name: str) -> nn.Module:
    config = PART_CONFIGS[part_kind(name)].from_dict(bundle.parts[name].config)
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


def _to_half(tensor: Tensor) -> NDArray[np.float16]:
    return cast("NDArray[np.float16]", tensor.to(torch.float16).cpu().numpy())


def _from_half(array: NDArray[np.float16]) -> Tensor:
    return torch.from_numpy(array).float()


def _like(result: Tensor, given: Codes) -> Codes:
    if isinstance(given, np.ndarray):
        return cast(Codes, result.cpu().numpy())
    return result.to(given.device)
