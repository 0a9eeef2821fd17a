"""The public face of a loaded model: images to latent codes, edits of codes, codes to images.

What goes in says what comes out. Arrays in, arrays out: images as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: images as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device. Paths, images of
Pillow and Photos give `LatentCode`s, and these give images of Pillow; a list gives a list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar, Unpack, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from stedit.editing.directions import StrengthUnit
from stedit.editing.label import edit_by_label, has_learned_edit
from stedit.editing.learning import LearnedDirection, learn_direction
from stedit.editing.mixing import mix
from stedit.editing.reference import attention, edit_by_reference
from stedit.errors import UsageError
from stedit.faces import (
    PhotoEdit,
    References,
    carry_edits,
    edit_image,
    edit_photo,
    face_crops,
    faces_of,
    invert_images,
    read_references,
)
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.memory import rgb_batch
from stedit.inversion.familiarity import reconstruction_error
from stedit.inversion.methods import invert_crops, tune_generator
from stedit.inversion.optimisation import OnStep
from stedit.inversion.options import InversionOptions, InversionProgress, Method, TuningOptions, resolve_options
from stedit.models.generator import Noise
from stedit.photo.photograph import FaceSearch, ImageLike, Photo, Result
from stedit.runtime.arrays import Latents, as_given, as_numbers, checked, to_input, to_tensor
from stedit.runtime.codes import (
    Codes,
    CodesT,
    OutputType,
    as_codes,
    as_images,
    bound,
    edit_name,
    latent_code,
    require_pairs,
    to_latents,
)
from stedit.runtime.devices import Precision
from stedit.runtime.model import Model
from stedit.runtime.networks import Networks
from stedit.runtime.prediction import attribute_features, attribute_logits, identity_embedding, predict_attributes
from stedit.runtime.synthesis import synthesise
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

Held = str | os.PathLike[str] | Image.Image | Photo  # an image that is neither array nor tensor
Images = Pixels | Tensor | Held | Sequence[ImageLike]
ArrayT = TypeVar("ArrayT", Pixels, Tensor)
EditedT = TypeVar("EditedT", Pixels, LatentCode)

IDENTITY_SIZE = (256, 256)  # of crops for the identity network, which ArcFace's own crop is made of


class InversionArguments(TypedDict, total=False):
    """The keywords of `Engine.invert`."""

    method: Method
    steps: int | None
    options: InversionOptions | None
    search: FaceSearch | None
    targets: Pixels | Tensor | None
    on_step: OnStep | None
    on_image: Callable[[int], object] | None
    report: OnStep | None


class SynthesisArguments(TypedDict, total=False):
    """The keywords of `Engine.synthesise`, but for `output_type`."""

    noise: Noise
    seed: int
    tunings: Sequence[Tuning | None]


class PhotoArguments(TypedDict, total=False):
    """The keywords of `Engine.edit_photo`."""

    strength: float
    reference: References | None
    method: Method
    steps: int | None
    search: FaceSearch | None
    result: Result


class EditArguments(PhotoArguments, total=False):
    """The keywords of `Engine.edit`, but for `output_type`."""

    on_image: Callable[[int], object] | None


class Engine:
    """A loaded model and what can be done with it. Build it with `from_pretrained`.

    What the arguments of its methods mean, unless they say otherwise:

        images: a path, an image of Pillow or a Photo, whose largest face is found, or a list of them; arrays, uint8
            (B, H, W, 3), (H, W, 3), (H, W) or RGBA of any size, which are crops already; or a tensor (B, 3, H, W) in
            [-1, 1] of the size that a network takes.
        codes: numbers (B, N, D) or (N, D) in W+, as an array or a tensor; a LatentCode, or a list of them.
        references: codes (1 or B, N, D), a LatentCode, an image or a latent file; or a list of several such.
        attributes: one name or several, such as "smile", "no-glasses", "Blond_Hair".
        layers: the styles that may change, counted from 0; None for all of them.
        noise: "const" is the model's own, the same for every image; "random" is sampled from `seed`, the same for every
            image of one seed; "none" leaves it out.
        on_image: called with the number of images done since the last call, such as `bar.update` of tqdm.

    What methods raise, each a SteditError:

        InputError: an image cannot be read, or shows no such face.
        AttributeNameError: the model knows no such attribute.
        LatentError: a code or a tuning is of another model.
        MissingPartError: the model lacks a network that this needs.
        UsageError: a value is of another type, layout, range or size, or a request contradicts itself.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model, Model):
            raise UsageError(f"an engine is made of a loaded model: write Engine.from_pretrained({str(model)!r})")
        self.model = model

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = DEFAULT_MODEL,
        *,
        device: str | torch.device = "auto",
        precision: Precision = "float32",
    ) -> Self:
        """Load an embedded model by name, a bundle from a folder, or one from the Hub.

        Args:
            name_or_path: a name, a folder, or "OWNER/NAME" or "OWNER/NAME@REVISION", pulled if it is not here.
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
    def invert(self, images: Pixels, **how: Unpack[InversionArguments]) -> Latents: ...
    @overload
    def invert(self, images: Tensor, **how: Unpack[InversionArguments]) -> Tensor: ...
    @overload
    def invert(self, images: Held | LatentCode, **how: Unpack[InversionArguments]) -> LatentCode: ...  # type: ignore[overload-overlap]
    @overload
    def invert(
        self, images: Sequence[ImageLike | LatentCode], **how: Unpack[InversionArguments]
    ) -> list[LatentCode]: ...
    def invert(
        self,
        images: Images | LatentCode | Sequence[ImageLike | LatentCode],
        *,
        method: Method = "encoder",
        steps: int | None = None,
        options: InversionOptions | None = None,
        search: FaceSearch | None = None,
        targets: Pixels | Tensor | None = None,
        on_step: OnStep | None = None,
        on_image: Callable[[int], object] | None = None,
        report: OnStep | None = None,
    ) -> Latents | Tensor | LatentCode | list[LatentCode]:
        """Images -> W+ codes: a LatentCode of each, or of arrays and tensors as many numbers (B, N, D).

        Args:
            images: see `Engine`; latent files and LatentCodes are codes already. A tensor is of the encoder's input
                size or, for the methods but "encoder", of `target_size`.
            method: "encoder", one pass of the encoder, and the corrections that it was trained for; "optimise",
                optimisation from the mean code, without encoder; "hybrid", optimisation from the encoder's code that
                stays near it; "iterative", several passes of an encoder that was trained for it.
            steps: of those methods but "encoder"; short for `options=InversionOptions(steps=...)`.
            options: of these methods, which compute in float32 whatever the precision.
            search: which face, and how it is found. By default the largest; of arrays and tensors the whole image.
            targets: arrays or tensors: the same images in `target_size`, which those methods compare renderings with;
                by default made of `images`.
            on_step: called after every step of those methods, with an InversionProgress.
            on_image: see `Engine`.
            report: the old name of on_step, for one version.

        Raises:
            MissingPartError: the model has no encoder, no iterative one, or no network for one of the losses.
        """
        options, on_step = resolve_options(method, options, steps), on_step or report
        if isinstance(images, list | tuple) or search or not isinstance(images, np.ndarray | Tensor):
            several = list(images) if isinstance(images, list | tuple) else [images]
            codes = invert_images(
                self.model,
                cast("list[ImageLike | LatentCode]", several),
                method=method,
                options=options,
                search=search,
                on_step=on_step,
                on_image=on_image,
            )
            if isinstance(images, np.ndarray):
                return np.stack([code.w for code in codes])
            return codes if isinstance(images, list | tuple) else codes[0]
        w = invert_crops(self.model, images, method=method, options=options, targets=targets, on_step=on_step)
        if on_image is not None:
            on_image(len(w))
        return as_given(w, images)

    def tune_generator(
        self,
        targets: Pixels | Tensor,
        codes: Codes,
        *,
        options: TuningOptions | None = None,
        on_step: Callable[[int, InversionProgress], None] | None = None,
    ) -> list[Tuning]:
        """Adapt the generator to each of some images, whose codes stay, for faces that a code alone cannot hold.

        Args:
            targets: arrays as `invert` takes them, or a tensor of `target_size`.
            codes: of these images.
            options: steps, rank, losses.
            on_step: called after every step, with the number of the image.

        Returns:
            A tuning for each code, for `synthesise`.
        """
        images, w = to_input(targets, self.target_size, "targets of this model"), to_latents(self.model, codes)
        return tune_generator(self.model, images, w, options=options, on_step=on_step)

    def reconstruction_error(self, images: Pixels, codes: Codes) -> NDArray[np.float64]:
        """How much of the structure of images is missing in what their codes render: see `inversion.familiarity`.

        Above `bundle.reconstruction_limit`, if the model has one, an image is unlike all that the model knows.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size, fitted as `invert` does.
            codes: of these images.

        Returns:
            0 where the structure is the same, about 1 where it has nothing in common, (B,).
        """
        fitted = np.stack([fit_image(image, self.input_size) for image in rgb_batch(images)])
        return reconstruction_error(self.model, fitted, to_latents(self.model, codes))

    @overload
    def synthesise(self, codes: Codes, *, output_type: OutputType, **how: Unpack[SynthesisArguments]) -> Any: ...
    @overload
    def synthesise(self, codes: Latents, **how: Unpack[SynthesisArguments]) -> Pixels: ...
    @overload
    def synthesise(self, codes: Tensor, **how: Unpack[SynthesisArguments]) -> Tensor: ...
    @overload
    def synthesise(self, codes: LatentCode, **how: Unpack[SynthesisArguments]) -> Image.Image: ...
    @overload
    def synthesise(self, codes: Sequence[LatentCode], **how: Unpack[SynthesisArguments]) -> list[Image.Image]: ...
    def synthesise(
        self,
        codes: Codes,
        *,
        noise: Noise = "const",
        seed: int = 0,
        tunings: Sequence[Tuning | None] = (),
        output_type: OutputType | None = None,
    ) -> Pixels | Tensor | Image.Image | list[Image.Image]:
        """Codes -> images: uint8 (B, R, R, 3) for an array, float (B, 3, R, R) for a tensor, Pillow's for LatentCodes.

        A tensor is what the generator computes, which leaves [-1, 1] where an image is at its brightest or darkest.

        Args:
            codes: see `Engine`; noise and its seed too.
            noise: "const", "random" or "none".
            seed: of random noise.
            tunings: of each code, or None where the generator is to stay as it is; () for none at all.
            output_type: "pil", "np" or "pt", whatever the codes are given as. Images of Pillow show `target_size`: what
                a square rendering of something wider is padded with is left out.
        """
        images = synthesise(self.model, to_latents(self.model, codes), noise=noise, seed=seed, tunings=tunings)
        return as_images(self.model, images, codes, output_type)

    synthesize = synthesise

    @overload
    def reconstruct(self, images: ArrayT, *, noise: Noise = "const", seed: int = 0) -> ArrayT: ...
    @overload
    def reconstruct(self, images: Held, *, noise: Noise = "const", seed: int = 0) -> Image.Image: ...
    def reconstruct(self, images: Any, *, noise: Noise = "const", seed: int = 0) -> Any:
        """`invert`, then `synthesise`."""
        return self.synthesise(cast(Any, self.invert(images)), noise=noise, seed=seed)

    def sample_latents(self, count: int, *, seed: int = 0) -> Latents:
        """Codes (count, N, D) of random faces: all N styles of a code are alike."""
        return cast(Latents, self.model.sample_latents(count, seed=seed).cpu().numpy())

    def latent_codes(self, codes: Codes, *, method: str = "") -> list[LatentCode]:
        """Codes as LatentCodes, which show and save themselves.

        Args:
            codes: numbers; or LatentCodes that cannot show themselves, as `LatentCode.load` gives them.
            method: how they were found, for a file to say.
        """
        if isinstance(codes, np.ndarray | Tensor):
            return [latent_code(self.model, w, method=method) for w in to_latents(self.model, codes)]
        return [bound(self.model, one) for one in ([codes] if isinstance(codes, LatentCode) else codes)]

    # From images to edited images

    @overload
    def edit(
        self, images: Any, attributes: str | Sequence[str], *, output_type: OutputType, **how: Unpack[EditArguments]
    ) -> Any: ...
    @overload
    def edit(self, images: EditedT, attributes: str | Sequence[str], **how: Unpack[EditArguments]) -> EditedT: ...
    @overload
    def edit(self, images: Held, attributes: str | Sequence[str], **how: Unpack[EditArguments]) -> Image.Image: ...
    @overload
    def edit(
        self, images: Sequence[Any], attributes: str | Sequence[str], **how: Unpack[EditArguments]
    ) -> list[Any]: ...
    def edit(
        self,
        images: Any,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        reference: References | None = None,
        method: Method = "encoder",
        steps: int | None = None,
        search: FaceSearch | None = None,
        result: Result = "photo",
        output_type: OutputType | None = None,
        on_image: Callable[[int], object] | None = None,
    ) -> Any:
        """Photographs with one thing changed: `engine.edit("me.jpg", "smile", strength=0.7)`.

        Args:
            images: paths, images of Pillow, Photos, or uint8 arrays (H, W, 3) or (B, H, W, 3); or a list of these.
                LatentCodes and latent files are edited too; for codes as numbers there are `edit_by_label` and
                `edit_by_reference`.
            attributes: see `Engine`.
            strength: as of `edit_by_label` or `edit_by_reference`; 0 gives the photograph itself.
            reference: somebody who has the attribute as it shall be, or a list of several: images, or codes. None edits
                by label.
            method: of inversion, as of `invert`.
            steps: of inversion, as of `invert`.
            search: which faces, and how they are found; by default the largest.
            result: "photo" is the whole photograph with the edit carried over to it; "crop" is its first face's square
                in the photograph's own resolution; "render" is what the model renders.
            output_type: "pil" or "np", whatever is given.
            on_image: see `Engine`.

        Returns:
            Of an array an array, of a LatentCode a LatentCode, of a list a list; of anything else an image of Pillow,
            with the transparency of the photograph. Outside of what the edit changes, pixels are the photograph's.
        """
        several = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
        if isinstance(images, np.ndarray):
            rgb_batch(images)  # raises for what is none
        edit = self._photo_edit(
            attributes,
            strength=strength,
            reference=reference,
            method=method,
            steps=steps,
            search=search,
            result=result,
        )
        made: list[Any] = []
        for image in images if several else [images]:
            made.append(edit_image(self.model, image, edit, output_type))
            if on_image is not None:
                on_image(1)
        if isinstance(images, np.ndarray) and several and output_type in (None, "np"):
            return np.stack(made)
        return made if several else made[0]

    def edit_photo(self, photo: Photo, attributes: str | Sequence[str], **how: Unpack[PhotoArguments]) -> Pixels:
        """`edit` of one photograph, as pixels (H, W, 3), uint8 sRGB, which `photo.save(path, pixels)` writes.

        Arguments and errors are those of `edit`.
        """
        return edit_photo(self.model, photo, self._photo_edit(attributes, **how))

    def carry_over(
        self, photo: Photo, codes: LatentCode | Sequence[LatentCode], edited: LatentCode | Sequence[LatentCode]
    ) -> Pixels:
        """A photograph with the edits of its codes made to it: `edit_photo` for codes that are edited already.

        Args:
            photo: the photograph that the codes were made of.
            codes: of one or several of its faces, as `invert` gives them.
            edited: the same, edited.

        Returns:
            uint8 (H, W, 3), sRGB. Raises InputError for a code of another photograph.
        """
        before, after = ([one] if isinstance(one, LatentCode) else list(one) for one in (codes, edited))
        if len(before) != len(after):
            raise UsageError(f"there are {len(before)} codes and {len(after)} edited ones: give one for each")
        return carry_edits(self.model, faces_of(photo, before), before, after)

    # Edits of codes

    def edit_by_label(
        self,
        codes: CodesT,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        direction: str = "auto",
        keep: str | Sequence[str] = (),
        layers: Sequence[int] | None = None,
        strength_unit: StrengthUnit = "auto",
    ) -> CodesT:
        """Give codes one or more attributes, or take them away.

        Args:
            codes: see `Engine`; layers too.
            attributes: none, (), to move along a linear direction whose meaning the classifier does not know.
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
            layers: which styles may change.
            strength_unit: what a strength of 1 is along a linear direction: "sure", as far as the classifier needs;
                "sigma", one standard deviation of codes; "raw", the vector as it is in its file, w + strength * v, as
                other tools count; "auto" is sure with attributes, else sigma.

        Returns:
            The edited codes. Raises InputError for a file of directions that cannot be used.
        """
        w = to_latents(self.model, codes)
        edited = edit_by_label(
            self.model,
            w,
            attributes,
            strength=strength,
            direction=direction,
            keep=keep,
            layers=layers,
            strength_unit=strength_unit,
        )
        return as_codes(self.model, edited, codes, edit_name(attributes))

    def edit_by_reference(
        self,
        codes: CodesT,
        references: References,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        weights: Sequence[float] | None = None,
    ) -> CodesT:
        """Give codes an attribute as the reference has it: its smile, its glasses, or their absence.

        Args:
            codes: see `Engine`.
            references: of several, answers are averaged.
            attributes: several are taken one after the other; "no-glasses" is none, since the reference decides.
            strength: 1 is what the edit transformer answers and, as far as the model says, the reference's own trait
                carried over; and, where the reference has what the source has not, what is then missing to the model's
                `reference_target_logit`; 0 no change, others in proportion.
            weights: of several references, above 0; only their proportion counts. None weighs all alike.
        """
        w = to_latents(self.model, codes)
        others = read_references(self.model, references, len(w))
        edited = edit_by_reference(self.model, w, others, attributes, strength=strength, weights=weights)
        return as_codes(self.model, edited, codes, edit_name(attributes))

    def attention(
        self, codes: Codes, references: References, attributes: str | Sequence[str]
    ) -> list[list[NDArray[np.float32]]]:
        """Which source styles take from which reference styles in `edit_by_reference` at strength 1.

        Returns:
            For each attribute and each reference, (layers, B, heads, N, N): source styles before reference styles, each
            row with the sum 1.
        """
        w = to_latents(self.model, codes)
        maps = attention(self.model, w, read_references(self.model, references, len(w)), attributes)
        return [[one.cpu().numpy() for one in of_attribute] for of_attribute in maps]

    def mix(
        self, codes: CodesT, others: Codes, *, strength: float = 0.5, layers: Sequence[int] | None = None
    ) -> CodesT:
        """Go from codes (B, N, D) towards others (1 or B, N, D), in a straight line.

        Args:
            codes: see `Engine`; layers, the styles that go, too.
            others: codes as well.
            strength: 0 gives `codes` and 1 gives `others`, bit by bit; other numbers lie between and beyond them.
            layers: which styles go.
        """
        a, b = to_latents(self.model, codes), to_latents(self.model, others)
        require_pairs(len(a), len(b))
        return as_codes(self.model, mix(a, b, strength, self.model.styles(layers)), codes, "mix")

    def learn_direction(
        self, attribute: str, codes: Codes | None = None, labels: Sequence[bool] | None = None
    ) -> LearnedDirection:
        """Find one direction for all codes that gives them an attribute; `Directions.save` keeps it.

        Args:
            attribute: what the classifier, or without one the labels, predict. With labels, any name will do.
            codes: M of them to learn from; None samples some.
            labels: which codes have the attribute; None asks the classifier.

        Returns:
            The direction, and the share of codes held back from learning that it puts on the right side.
        """
        w = None if codes is None else to_latents(self.model, codes)
        return learn_direction(self.model, attribute, w, labels)

    def has_learned_edit(self, attributes: str | Sequence[str]) -> bool:
        """Whether `edit_by_label` has a learned edit of all attributes."""
        return has_learned_edit(self.model, attributes)

    # What networks read off codes and images

    @overload
    def classify(self, codes: Tensor) -> Tensor: ...
    @overload
    def classify(self, codes: Latents | LatentCode | Sequence[LatentCode]) -> Latents: ...
    def classify(self, codes: Codes) -> Latents | Tensor:
        """Codes (B, N, D) -> the probability of each attribute, (B, K)."""
        return as_numbers(attribute_logits(self.model, to_latents(self.model, codes)).sigmoid(), codes)

    @overload
    def predict_attributes(self, images: Tensor) -> Tensor: ...
    @overload
    def predict_attributes(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def predict_attributes(self, images: Images) -> Latents | Tensor:
        """Images -> the probability (B, K) of each of the bundle's attributes, by the predictor in image space."""
        return as_numbers(predict_attributes(self.model, self._to_judge(images)), images)

    @overload
    def attribute_features(self, images: Tensor) -> Tensor: ...
    @overload
    def attribute_features(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def attribute_features(self, images: Images) -> Latents | Tensor:
        """Images, as `predict_attributes` takes them -> the features (B, 16 * C) that its logits are linear in."""
        return as_numbers(attribute_features(self.model, self._to_judge(images)), images)

    @overload
    def identity_embedding(self, images: Tensor) -> Tensor: ...
    @overload
    def identity_embedding(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def identity_embedding(self, images: Images) -> Latents | Tensor:
        """Faces, cropped as FFHQ's -> ArcFace embeddings (B, 512) of unit length; a high product is a high similarity.

        Arrays and tensors are of any size, best of 256 px or more.
        """
        self.model.require_identity()
        if isinstance(images, Tensor):
            faces = checked(images)
        elif isinstance(images, np.ndarray):
            faces = to_tensor(rgb_batch(images))
        else:
            faces = to_tensor(face_crops(self.model, _as_list(images), IDENTITY_SIZE))
        return as_numbers(identity_embedding(self.model, faces), images)

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

    def _photo_edit(
        self, attributes: str | Sequence[str], reference: References | None = None, **how: Any
    ) -> PhotoEdit:
        references = None if reference is None else read_references(self.model, reference)
        return PhotoEdit(attributes, references=references, **how)

    def _to_judge(self, images: Images) -> Tensor:
        config = self.model.require_judge().config
        size = config.input_height, config.input_width
        if not isinstance(images, np.ndarray | Tensor):
            images = face_crops(self.model, _as_list(images), size)
        return to_input(images, size, "images for the judge")

    def __repr__(self) -> str:
        return f"Engine({self.model})"


def _as_list(images: Any) -> list[ImageLike]:
    return list(images) if isinstance(images, list | tuple) else [images]
