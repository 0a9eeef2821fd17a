"""The public face of a loaded model: images to latent codes, edits of codes, codes to images.

Arrays in, arrays out: images as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: images as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stedit.editing.label import edit_by_label, has_learned_edit
from stedit.editing.learning import LearnedDirection, learn_direction
from stedit.editing.mixing import mix
from stedit.editing.reference import attention, edit_by_reference
from stedit.errors import UsageError
from stedit.imaging.files import Pixels
from stedit.inversion.methods import invert_by_encoder, invert_by_search, tune_generator
from stedit.inversion.optimisation import OnStep
from stedit.inversion.options import METHODS, InversionOptions, InversionProgress, Method, TuningOptions
from stedit.models.generator import Noise
from stedit.photo.photograph import FaceSearch, Photo, carry_over, crop_for, detector_for
from stedit.runtime.arrays import Latents, LatentsT, as_given, to_array, to_input, to_tensor
from stedit.runtime.devices import Precision
from stedit.runtime.framing import resize
from stedit.runtime.model import Model
from stedit.runtime.networks import Networks
from stedit.runtime.prediction import attribute_features, attribute_logits, identity_embedding, predict_attributes
from stedit.runtime.synthesis import synthesise
from stedit.storage.bundle import Bundle
from stedit.storage.tunings import Tuning


class Engine:
    """A loaded model and what can be done with it. Build it with `from_pretrained`."""

    def __init__(self, model: Model) -> None:
        self.model = model

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
            precision: of convolutions and products; codes and images stay float32.

        Raises:
            BundleError: the model is missing, damaged, or its tensors do not fit its sizes.
            HubError: the model is not here and cannot be fetched.
            DeviceError: the device or precision is not available here.
        """
        return cls(Model.from_pretrained(name_or_path, device=device, precision=precision))

    def to(self, device: str | torch.device) -> Self:
        """Move the model to another device, in place. Raises DeviceError."""
        self.model.to(device)
        return self

    @property
    def bundle(self) -> Bundle:
        """The model's description: name, attributes, licence, parts."""
        return self.model.bundle

    @property
    def networks(self) -> Networks:
        """The model's networks."""
        return self.model.networks

    @property
    def device(self) -> torch.device:
        """Where networks compute."""
        return self.model.device

    @property
    def precision(self) -> Precision:
        """The numbers that networks compute in."""
        return self.model.precision

    @property
    def attributes(self) -> tuple[str, ...]:
        """CelebA names in the classifier's order; () without a classifier."""
        return self.model.attributes

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) that the encoder takes; `invert` fits other sizes to it. Raises MissingPartError."""
        return self.model.input_size

    @property
    def output_size(self) -> tuple[int, int]:
        """(height, width) of renderings."""
        return self.model.output_size

    @property
    def target_size(self) -> tuple[int, int]:
        """(height, width) of the part of a rendering that shows the image: all of it, where images are square."""
        return self.model.target_size

    @property
    def code_shape(self) -> tuple[int, int]:
        """(N, D) of a latent code."""
        return self.model.code_shape

    # From images to codes, and back

    @overload
    def invert(
        self,
        images: Pixels,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Pixels | None = None,
        on_step: OnStep | None = None,
        report: OnStep | None = None,
    ) -> Latents: ...
    @overload
    def invert(
        self,
        images: Tensor,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Tensor | None = None,
        on_step: OnStep | None = None,
        report: OnStep | None = None,
    ) -> Tensor: ...
    def invert(
        self,
        images: Pixels | Tensor,
        *,
        method: Method = "encoder",
        options: InversionOptions | None = None,
        targets: Pixels | Tensor | None = None,
        on_step: OnStep | None = None,
        report: OnStep | None = None,
    ) -> Latents | Tensor:
        """Images -> W+ codes.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size; or a tensor (B, 3, H, W) of the encoder's input size
                or, for the other methods, of `target_size`.
            method: "encoder", one pass of the encoder, and the corrections that it was trained for; "optimise",
                optimisation from the mean code, without encoder; "hybrid", optimisation from the encoder's code that
                stays near it; "iterative", several passes of an encoder that was trained for it.
            options: of the methods other than "encoder", which compute in float32 whatever the precision.
            targets: the same images in `target_size`, which those methods compare renderings with; by default made
                of `images`.
            on_step: called after every step of those methods.
            report: the old name of on_step, for one version.

        Returns:
            Codes (B, N, D), float32.

        Raises:
            MissingPartError: the model has no encoder, no iterative one, or no network for one of the losses.
            UsageError: there is no such method, or a tensor is of the wrong size.
        """
        if method not in METHODS:
            raise UsageError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
        if method == "encoder":
            codes = invert_by_encoder(self.model, to_input(images, self.input_size, "images for the encoder"))
        else:
            shown = self._to_targets(images if targets is None else targets)
            given = shown if method == "optimise" else self._to_encoder(images)
            codes = invert_by_search(self.model, method, given, shown, options=options, on_step=on_step or report)
        return as_given(codes, images)

    def tune_generator(
        self,
        targets: Pixels | Tensor,
        codes: Latents | Tensor,
        *,
        options: TuningOptions | None = None,
        on_step: Callable[[int, InversionProgress], None] | None = None,
    ) -> list[Tuning]:
        """Adapt the generator to each of some images, whose codes stay, for faces that a code alone cannot hold.

        Args:
            targets: images as `invert` takes them; a tensor of `target_size`.
            codes: (B, N, D) of these images.
            options: steps, rank, losses.
            on_step: called after every step, with the number of the image.

        Returns:
            B tunings, for `synthesise`. Raises MissingPartError as `invert` does, and UsageError if sizes disagree.
        """
        images, w = self._to_targets(targets), self.model.as_latents(codes)
        return tune_generator(self.model, images, w, options=options, on_step=on_step)

    @overload
    def synthesise(
        self, codes: Latents, *, noise: Noise = "const", seed: int = 0, tunings: Sequence[Tuning | None] = ()
    ) -> Pixels: ...
    @overload
    def synthesise(
        self, codes: Tensor, *, noise: Noise = "const", seed: int = 0, tunings: Sequence[Tuning | None] = ()
    ) -> Tensor: ...
    def synthesise(
        self,
        codes: Latents | Tensor,
        *,
        noise: Noise = "const",
        seed: int = 0,
        tunings: Sequence[Tuning | None] = (),
    ) -> Pixels | Tensor:
        """Codes (B, N, D) -> images: uint8 (B, R, R, 3) for an array, float (B, 3, R, R) for a tensor.

        Args:
            codes: in W+; one code (N, D) is a batch of one.
            noise: "const" is the model's own, the same for every image; "random" is sampled from `seed`, the same for
                every image of one seed; "none" leaves it out.
            seed: for random noise.
            tunings: of each code, or None where the generator is to stay as it is; () for none at all.

        Raises:
            LatentError: a tuning is of another model.
            UsageError: codes of the wrong size, or not as many tunings as codes.
        """
        images = synthesise(self.model, self.model.as_latents(codes), noise=noise, seed=seed, tunings=tunings)
        return to_array(images) if isinstance(codes, np.ndarray) else images.to(codes.device)

    @overload
    def reconstruct(self, images: Pixels, *, noise: Noise = "const", seed: int = 0) -> Pixels: ...
    @overload
    def reconstruct(self, images: Tensor, *, noise: Noise = "const", seed: int = 0) -> Tensor: ...
    def reconstruct(self, images: Pixels | Tensor, *, noise: Noise = "const", seed: int = 0) -> Pixels | Tensor:
        """`invert`, then `synthesise`."""
        return self.synthesise(self.invert(images), noise=noise, seed=seed)

    def sample_latents(self, count: int, *, seed: int = 0) -> Latents:
        """Codes (count, N, D) of random faces: all N styles of a code are alike."""
        return cast(Latents, self.model.sample_latents(count, seed=seed).cpu().numpy())

    # Edits of codes

    def edit_by_label(
        self,
        codes: LatentsT,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        direction: str = "auto",
        keep: str | Sequence[str] = (),
        layers: Sequence[int] | None = None,
    ) -> LatentsT:
        """Give codes one or more attributes, or take them away.

        Args:
            codes: (B, N, D) in W+.
            attributes: names such as "smile", "no-glasses", "Blond_Hair"; none, (), to move along a linear direction
                whose meaning the classifier does not know.
            strength: 1 is the whole edit, below 0 goes the other way. Learned edits go in proportion: 1 is what was
                learned and what is then missing to the model's `learned_target_logit`; a code that has the attribute
                already does not change. Along other directions, 1 goes to where the classifier is sure, at -1 of the
                opposite; between 0 and 1 goes part of the way, counted in its logit; a code of which it is sure
                already does not change at 1. Without attributes, strength counts standard deviations of codes along
                the direction.
            direction: "transformer" (what the edit transformer has learned from ground-truth edits); "preserving",
                "first-order" or "second-order" (see `stedit.editing.gradient`); "linear:FILE", "linear:FILE:NAME" or
                "sefa:0" (see `stedit.editing.directions`); "auto" is transformer where it has learned all of the
                attributes, else preserving.
            keep: attributes to hold where they are; the preserving direction holds those that have nothing to do with
                the ones edited in any case.
            layers: the styles that may change, counted from 0; None for all of them.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, InputError for a file of directions, and
            UsageError for requests that contradict themselves.
        """
        w = self.model.as_latents(codes)
        edited = edit_by_label(
            self.model, w, attributes, strength=strength, direction=direction, keep=keep, layers=layers
        )
        return as_given(edited, codes)

    def edit_by_reference(
        self,
        codes: LatentsT,
        references: LatentsT | Sequence[LatentsT],
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
    ) -> LatentsT:
        """Give codes an attribute as the reference has it: its smile, its glasses, or their absence.

        Args:
            codes: (B, N, D) in W+.
            references: (1 or B, N, D) in W+; or a list of several such references, whose answers are averaged.
            attributes: names such as "glasses"; several are taken one after the other.
            strength: 1 is what the edit transformer answers and, as far as the model says, the reference's own trait
                carried over; and, where the reference has what the source has not, what is then missing to the model's
                `reference_target_logit`; 0 no change, others in proportion.
            weights: of several references, above 0; only their proportion counts. None weighs all alike.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, and UsageError for "no-glasses", since the
            reference decides, and for weights that do not fit the references.
        """
        w, others = self.model.as_latents(codes), self._to_references(references)
        edited = edit_by_reference(self.model, w, others, attributes, strength=strength, weights=weights)
        return as_given(edited, codes)

    def edit_photo(
        self,
        photo: Photo,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        reference: Photo | None = None,
        search: FaceSearch | None = None,
        result: Literal["photo", "crop", "render"] = "photo",
    ) -> Pixels:
        """A photograph with one thing changed: `engine.edit_photo(Photo.open("me.jpg"), "smile")`.

        Args:
            photo: the photograph; `photo.save(path, pixels)` writes what is made of it as the kind of file that it is.
            attributes: names such as "smile" or "no-glasses".
            strength: as of `edit_by_label` or `edit_by_reference`; 0 gives the photograph itself.
            reference: a photograph of somebody who has the attribute as it shall be; None edits by label.
            search: which faces, and how they are found; by default the largest.
            result: "photo" is the whole photograph with the edit carried over to it; "crop" is its first face's square
                in the photograph's own resolution; "render" is what the model renders.

        Returns:
            uint8 (H, W, 3), sRGB. Outside of what the edit changes, pixels are the photograph's.

        Raises:
            InputError: no such face is found.
            AttributeNameError, MissingPartError, UsageError: as of `edit_by_label` and `edit_by_reference`.
        """
        quads = photo.find_quads(search, detector_for(self.model))
        codes = self.invert(np.stack([crop_for(photo.pixels, quad, self.input_size) for quad in quads]))
        if reference is None:
            edited = self.edit_by_label(codes, attributes, strength=strength)
        else:
            (quad,) = reference.find_quads(FaceSearch(), detector_for(self.model))
            other = self.invert(crop_for(reference.pixels, quad, self.input_size))
            edited = self.edit_by_reference(codes, other, attributes, strength=strength)
        after = self.synthesise(edited)
        if result == "render":
            return cast(Pixels, after[0])
        pixels = carry_over(photo.pixels, quads, self.synthesise(codes), after)
        return pixels if result == "photo" else quads[0].crop(pixels, round(quads[0].side))

    def attention(
        self, codes: LatentsT, references: LatentsT | Sequence[LatentsT], attributes: str | Sequence[str]
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
        maps = attention(self.model, self.model.as_latents(codes), self._to_references(references), attributes)
        return [[one.cpu().numpy() for one in of_attribute] for of_attribute in maps]

    def mix(
        self, codes: LatentsT, others: LatentsT, *, strength: float = 0.5, layers: Sequence[int] | None = None
    ) -> LatentsT:
        """Go from codes (B, N, D) towards others (1 or B, N, D), in a straight line.

        Args:
            codes: in W+.
            others: in W+.
            strength: 0 gives `codes` and 1 gives `others`, bit by bit; other numbers lie between and beyond them.
            layers: the styles that go, counted from 0; None for all of them.
        """
        a, b = self.model.as_latents(codes), self.model.as_latents(others)
        return as_given(mix(a, b, strength, self.model.styles(layers)), codes)

    def learn_direction(
        self, attribute: str, codes: Latents | None = None, labels: Sequence[bool] | None = None
    ) -> LearnedDirection:
        """Find one direction for all codes that gives them an attribute; `Directions.save` keeps it.

        Args:
            attribute: what the classifier, or without one the labels, predict. With labels, any name will do.
            codes: (M, N, D) in W+ to learn from; None samples some.
            labels: which codes have the attribute; None asks the classifier.

        Returns:
            The direction, and the share of codes held back from learning that it puts on the right side.
            Raises AttributeNameError, MissingPartError, and UsageError if there are too few codes of either label.
        """
        w = None if codes is None else self.model.as_latents(codes)
        return learn_direction(self.model, attribute, w, labels)

    def has_learned_edit(self, attributes: str | Sequence[str]) -> bool:
        """Whether `edit_by_label` has a learned edit of all attributes. Raises AttributeNameError."""
        return has_learned_edit(self.model, attributes)

    # What networks read off codes and images

    def classify(self, codes: LatentsT) -> LatentsT:
        """Codes (B, N, D) -> the probability of each attribute, (B, K). Raises MissingPartError."""
        return as_given(attribute_logits(self.model, self.model.as_latents(codes)).sigmoid(), codes)

    @overload
    def predict_attributes(self, images: Pixels) -> Latents: ...
    @overload
    def predict_attributes(self, images: Tensor) -> Tensor: ...
    def predict_attributes(self, images: Pixels | Tensor) -> Latents | Tensor:
        """Images -> the probability (B, K) of each of the bundle's attributes, by the predictor in image space.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size; or a tensor (B, 3, H, W) of the predictor's input size.

        Returns:
            Probabilities (B, K), float32. Raises MissingPartError if the model has no judge.
        """
        return as_given(predict_attributes(self.model, self._to_judge(images)), images)

    @overload
    def attribute_features(self, images: Pixels) -> Latents: ...
    @overload
    def attribute_features(self, images: Tensor) -> Tensor: ...
    def attribute_features(self, images: Pixels | Tensor) -> Latents | Tensor:
        """Images, as `predict_attributes` takes them -> the features (B, 16 * C) that its logits are linear in."""
        return as_given(attribute_features(self.model, self._to_judge(images)), images)

    @overload
    def identity_embedding(self, images: Pixels) -> Latents: ...
    @overload
    def identity_embedding(self, images: Tensor) -> Tensor: ...
    def identity_embedding(self, images: Pixels | Tensor) -> Latents | Tensor:
        """Faces, cropped as FFHQ's -> ArcFace embeddings (B, 512) of unit length; a high product is a high similarity.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3); or a tensor (B, 3, H, W) in [-1, 1]; best of 256 px or more.

        Returns:
            Embeddings, float32. Raises MissingPartError if the model has no identity network.
        """
        given = images if isinstance(images, Tensor) else to_tensor(images if images.ndim == 4 else images[None])
        return as_given(identity_embedding(self.model, given), images)

    # Old names, for one version

    judge, judge_embedding, identity = predict_attributes, attribute_features, identity_embedding
    sample, has_learned = sample_latents, has_learned_edit

    def tune(
        self,
        targets: Pixels | Tensor,
        codes: Latents | Tensor,
        *,
        options: TuningOptions | None = None,
        report: Callable[[int, InversionProgress], None] | None = None,
    ) -> list[Tuning]:
        """The old name of `tune_generator`."""
        return self.tune_generator(targets, codes, options=options, on_step=report)

    def _to_encoder(self, images: Pixels | Tensor) -> Tensor:
        """Images of any size for the encoder, (B, 3, *input_size)."""
        if isinstance(images, Tensor):
            return resize(images.to(self.device, torch.float32), self.input_size)
        return to_input(images, self.input_size, "images for the encoder")

    def _to_targets(self, images: Pixels | Tensor) -> Tensor:
        """What renderings are compared with, (B, 3, *target_size)."""
        return to_input(images, self.target_size, "targets of this model")

    def _to_judge(self, images: Pixels | Tensor) -> Tensor:
        config = self.model.require_judge().config
        return to_input(images, (config.input_height, config.input_width), "images for the judge")

    def _to_references(self, references: LatentsT | Sequence[LatentsT]) -> list[Tensor]:
        given = references if isinstance(references, list | tuple) else [references]
        return [self.model.as_latents(cast("Latents | Tensor", one)) for one in given]

    def __repr__(self) -> str:
        return f"Engine({self.model})"
