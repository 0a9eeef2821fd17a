"""The public face of a loaded model: images to latent codes, edits of codes, codes to images.

What goes in says what comes out. Arrays in, arrays out: images as uint8 (B, H, W, 3), codes as float32 (B, N, D).
Tensors in, tensors out: images as float (B, 3, H, W) in [-1, 1], codes as (B, N, D), on any device. Paths, images of
Pillow and Photos give `LatentCode`s, and these give images of Pillow; a list gives a list.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, cast, overload

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
from stedit.faces import carry_edits, face_crops, faces_of, find_faces, invert_faces, invert_images, read_code
from stedit.imaging.files import Pixels, fit_image
from stedit.imaging.memory import rgb_batch
from stedit.inversion.familiarity import reconstruction_error
from stedit.inversion.methods import invert_by_encoder, invert_by_search, tune_generator
from stedit.inversion.optimisation import OnStep
from stedit.inversion.options import METHODS, InversionOptions, InversionProgress, Method, TuningOptions
from stedit.models.generator import Noise
from stedit.photo.photograph import FaceSearch, ImageLike, Photo
from stedit.runtime.arrays import Latents, as_given, checked, to_array, to_input, to_tensor
from stedit.runtime.codes import Codes, CodesT, as_codes, bound, latent_code, to_latents
from stedit.runtime.devices import Precision
from stedit.runtime.framing import centre_crop, resize
from stedit.runtime.model import Model
from stedit.runtime.networks import Networks
from stedit.runtime.prediction import attribute_features, attribute_logits, identity_embedding, predict_attributes
from stedit.runtime.synthesis import synthesise
from stedit.storage.bundle import Bundle
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

OutputType = Literal["pil", "np", "pt"]
Held = str | os.PathLike[str] | Image.Image | Photo  # an image that is neither array nor tensor
Images = Pixels | Tensor | Held | Sequence[ImageLike]
References = Codes | ImageLike | Sequence[Codes | ImageLike]
EditedT = TypeVar("EditedT", Pixels, LatentCode)
Result = Literal["photo", "crop", "render"]

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


class EditArguments(TypedDict, total=False):
    """The keywords of `Engine.edit`, but for `output_type`."""

    strength: float
    reference: References | None
    method: Method
    steps: int | None
    search: FaceSearch | None
    result: Result
    on_image: Callable[[int], object] | None


class Engine:
    """A loaded model and what can be done with it. Build it with `from_pretrained`."""

    def __init__(self, model: Model) -> None:
        if not isinstance(model, Model):
            raise UsageError(f"an engine is made of a loaded model: write Engine.from_pretrained({str(model)!r})")
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
        """Images -> W+ codes.

        Args:
            images: a path, an image of Pillow or a Photo, whose largest face is found, or a list of them; uint8
                (B, H, W, 3), (H, W, 3), (H, W) or RGBA of any size, which are crops already; or a tensor (B, 3, H, W)
                in [-1, 1] of the encoder's input size or, for the other methods, of `target_size`. A latent file, or
                a LatentCode, is a code already.
            method: "encoder", one pass of the encoder, and the corrections that it was trained for; "optimise",
                optimisation from the mean code, without encoder; "hybrid", optimisation from the encoder's code that
                stays near it; "iterative", several passes of an encoder that was trained for it.
            steps: of those methods but "encoder"; short for `options=InversionOptions(steps=...)`.
            options: of these methods, which compute in float32 whatever the precision.
            search: which face, and how it is found. By default the largest; of arrays and tensors the whole image.
            targets: arrays or tensors: the same images in `target_size`, which those methods compare renderings with;
                by default made of `images`.
            on_step: called after every step of those methods, with an InversionProgress.
            on_image: called with the number of images done since the last call, such as `bar.update` of tqdm.
            report: the old name of on_step, for one version.

        Returns:
            Codes (B, N, D), float32, for an array or a tensor; a LatentCode for anything else, and a list for a list.

        Raises:
            InputError: an image cannot be read, or shows no face.
            MissingPartError: the model has no encoder, no iterative one, or no network for one of the losses.
            UsageError: there is no such method, or an image is of another type, layout, range or size.
        """
        if method not in METHODS:
            raise UsageError(f"there is no method {method!r}: choose from {', '.join(METHODS)}")
        options, on_step = _with_steps(options, steps, method), on_step or report
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
        if method == "encoder":
            w = invert_by_encoder(self.model, to_input(images, self.input_size, "images for the encoder"))
        else:
            shown = self._to_targets(images if targets is None else targets)
            given = shown if method == "optimise" else self._to_encoder(images)
            w = invert_by_search(self.model, method, given, shown, options=options, on_step=on_step)
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
            targets: images as `invert` takes them; a tensor of `target_size`.
            codes: (B, N, D), or LatentCodes, of these images.
            options: steps, rank, losses.
            on_step: called after every step, with the number of the image.

        Returns:
            B tunings, for `synthesise`. Raises MissingPartError as `invert` does, and UsageError if sizes disagree.
        """
        images, w = self._to_targets(targets), to_latents(self.model, codes)
        return tune_generator(self.model, images, w, options=options, on_step=on_step)

    def reconstruction_error(self, images: Pixels, codes: Codes) -> NDArray[np.float64]:
        """How much of the structure of images is missing in what their codes render: see `inversion.familiarity`.

        Above `bundle.reconstruction_limit`, if the model has one, an image is unlike all that the model knows.

        Args:
            images: uint8 (B, H, W, 3) or (H, W, 3) of any size, fitted as `invert` does.
            codes: (B, N, D), or LatentCodes, of these images.

        Returns:
            0 where the structure is the same, about 1 where it has nothing in common, (B,). Raises MissingPartError.
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
            codes: (B, N, D) in W+; (N, D) or a LatentCode is a batch of one; or a list of LatentCodes.
            noise: "const" is the model's own, the same for every image; "random" is sampled from `seed`, the same for
                every image of one seed; "none" leaves it out.
            seed: for random noise.
            tunings: of each code, or None where the generator is to stay as it is; () for none at all.
            output_type: "pil", "np" or "pt", whatever the codes are given as. Images of Pillow show `target_size`: what
                a square rendering of something wider is padded with is left out.

        Raises:
            LatentError: a code or a tuning is of another model.
            UsageError: codes of the wrong size or not finite, or not as many tunings as codes.
        """
        images = synthesise(self.model, to_latents(self.model, codes), noise=noise, seed=seed, tunings=tunings)
        given = "np" if isinstance(codes, np.ndarray) else "pt" if isinstance(codes, Tensor) else "pil"
        match output_type or given:
            case "np":
                return to_array(images)
            case "pt":
                return images.to(codes.device) if isinstance(codes, Tensor) else images
            case "pil":
                shown = [Image.fromarray(one) for one in to_array(centre_crop(images, self.target_size))]
                return shown[0] if isinstance(codes, LatentCode) else shown
        raise UsageError(f"there is no output type {output_type!r}: choose pil, np or pt")

    synthesize = synthesise

    @overload
    def reconstruct(self, images: Pixels, *, noise: Noise = "const", seed: int = 0) -> Pixels: ...
    @overload
    def reconstruct(self, images: Tensor, *, noise: Noise = "const", seed: int = 0) -> Tensor: ...
    @overload
    def reconstruct(self, images: Held, *, noise: Noise = "const", seed: int = 0) -> Image.Image: ...
    def reconstruct(
        self, images: Pixels | Tensor | Held, *, noise: Noise = "const", seed: int = 0
    ) -> Pixels | Tensor | Image.Image:
        """`invert`, then `synthesise`."""
        return cast(
            "Pixels | Tensor | Image.Image", self.synthesise(cast(Any, self.invert(images)), noise=noise, seed=seed)
        )

    def sample_latents(self, count: int, *, seed: int = 0) -> Latents:
        """Codes (count, N, D) of random faces: all N styles of a code are alike."""
        return cast(Latents, self.model.sample_latents(count, seed=seed).cpu().numpy())

    def latent_codes(self, codes: Codes, *, method: str = "") -> list[LatentCode]:
        """Codes as LatentCodes, which show and save themselves.

        Args:
            codes: (B, N, D) or (N, D) in W+; or LatentCodes, such as `LatentCode.load` gives them, which cannot show
                themselves.
            method: how they were found, for a file to say.

        Raises:
            LatentError: a LatentCode is of another model.
            UsageError: codes of the wrong size, or not finite.
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
            attributes: names such as "smile" or "no-glasses".
            strength: as of `edit_by_label` or `edit_by_reference`; 0 gives the photograph itself.
            reference: somebody who has the attribute as it shall be, or a list of several: images, or codes. None edits
                by label.
            method: of inversion, as of `invert`.
            steps: of inversion, as of `invert`.
            search: which faces, and how they are found; by default the largest.
            result: as of `edit_photo`.
            output_type: "pil" or "np", whatever is given.
            on_image: called with 1 after each image, such as `bar.update` of tqdm.

        Returns:
            Of an array an array, of a LatentCode a LatentCode, of a list a list; of anything else an image of Pillow,
            with the transparency of the photograph.

        Raises:
            InputError: an image cannot be read, or shows no such face.
            AttributeNameError, LatentError, MissingPartError, UsageError: as of `invert` and the edits of codes.
        """
        others = None if reference is None else self._to_references(reference)
        several = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
        if isinstance(images, np.ndarray):
            rgb_batch(images)  # raises for what is none
        made: list[Any] = []
        for image in images if several else [images]:
            kind = output_type or ("np" if isinstance(image, np.ndarray) else "pil")
            if (code := read_code(self.model, image)) is not None:
                edited = self._change([code], attributes, strength, others)[0]
                as_code = isinstance(image, LatentCode) and output_type is None
                made.append(edited if as_code else self.synthesise(edited, output_type=kind))
            else:
                photo = Photo.of(image)
                pixels = self.edit_photo(
                    photo,
                    attributes,
                    strength=strength,
                    reference=others,
                    method=method,
                    steps=steps,
                    search=search,
                    result=result,
                )
                made.append(photo.with_pixels(pixels) if kind == "pil" else pixels)
            if on_image is not None:
                on_image(1)
        if isinstance(images, np.ndarray) and several and kind == "np":
            return np.stack(made)
        return made if several else made[0]

    def edit_photo(
        self,
        photo: Photo,
        attributes: str | Sequence[str],
        *,
        strength: float = 1.0,
        reference: References | None = None,
        method: Method = "encoder",
        steps: int | None = None,
        search: FaceSearch | None = None,
        result: Result = "photo",
    ) -> Pixels:
        """The pixels of a photograph with one thing changed, for `photo.save(path, pixels)` to write as it was.

        Args:
            photo: the photograph: `Photo.open("me.jpg")`.
            attributes: names such as "smile" or "no-glasses".
            strength: as of `edit_by_label` or `edit_by_reference`; 0 gives the photograph itself.
            reference: as of `edit`.
            method: of inversion, as of `invert`.
            steps: of inversion, as of `invert`.
            search: which faces, and how they are found; by default the largest.
            result: "photo" is the whole photograph with the edit carried over to it; "crop" is its first face's square
                in the photograph's own resolution; "render" is what the model renders.

        Returns:
            uint8 (H, W, 3), sRGB. Outside of what the edit changes, pixels are the photograph's.

        Raises:
            InputError: no such face is found.
            AttributeNameError, LatentError, MissingPartError, UsageError: as of `invert` and the edits of codes.
        """
        others = None if reference is None else self._to_references(reference)
        faces = find_faces(self.model, photo, search)
        codes = invert_faces(self.model, faces, method=method, options=_with_steps(None, steps, method))
        edited = self._change(codes, attributes, strength, others)
        if result == "render":
            return cast(Pixels, self.synthesise(edited[:1], output_type="np")[0])
        pixels = carry_edits(self.model, faces, codes, edited)
        quad = faces[0][1]
        return pixels if result == "photo" else quad.crop(pixels, round(quad.side))

    def carry_over(
        self, photo: Photo, codes: LatentCode | Sequence[LatentCode], edited: LatentCode | Sequence[LatentCode]
    ) -> Pixels:
        """A photograph with the edits of its codes made to it: `edit_photo` for codes that are edited already.

        Args:
            photo: the photograph that the codes were made of.
            codes: of one or several of its faces, as `invert` gives them.
            edited: the same, edited.

        Returns:
            uint8 (H, W, 3), sRGB.

        Raises:
            InputError: a code is of another photograph.
            LatentError: a code is of another model.
            UsageError: not as many edited codes as codes.
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
            codes: (B, N, D) in W+, or LatentCodes.
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
            strength_unit: what a strength of 1 is along a linear direction: "sure", as far as the classifier needs;
                "sigma", one standard deviation of codes; "raw", the vector as it is in its file, w + strength * v, as
                other tools count; "auto" is sure with attributes, else sigma.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, InputError for a file of directions, and
            UsageError for requests that contradict themselves.
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
        return as_codes(self.model, edited, codes, _name_of(attributes))

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
            codes: (B, N, D) in W+, or LatentCodes.
            references: (1 or B, N, D) in W+, a LatentCode, or an image as `invert` takes it; or a list of several such
                references, whose answers are averaged.
            attributes: names such as "glasses"; several are taken one after the other.
            strength: 1 is what the edit transformer answers and, as far as the model says, the reference's own trait
                carried over; and, where the reference has what the source has not, what is then missing to the model's
                `reference_target_logit`; 0 no change, others in proportion.
            weights: of several references, above 0; only their proportion counts. None weighs all alike.

        Returns:
            The edited codes. Raises AttributeNameError, MissingPartError, and UsageError for "no-glasses", since the
            reference decides, and for weights that do not fit the references.
        """
        w = to_latents(self.model, codes)
        others = self._to_references(references, len(w))
        edited = edit_by_reference(self.model, w, others, attributes, strength=strength, weights=weights)
        return as_codes(self.model, edited, codes, _name_of(attributes))

    def attention(
        self, codes: Codes, references: References, attributes: str | Sequence[str]
    ) -> list[list[NDArray[np.float32]]]:
        """Which source styles take from which reference styles in `edit_by_reference` at strength 1.

        Args:
            codes: (B, N, D), or LatentCodes.
            references: as of `edit_by_reference`; several weigh alike.
            attributes: as of `edit_by_reference`.

        Returns:
            For each attribute and each reference, (layers, B, heads, N, N): source styles before reference styles, each
            row with the sum 1. Raises as `edit_by_reference`.
        """
        w = to_latents(self.model, codes)
        maps = attention(self.model, w, self._to_references(references, len(w)), attributes)
        return [[one.cpu().numpy() for one in of_attribute] for of_attribute in maps]

    def mix(
        self, codes: CodesT, others: Codes, *, strength: float = 0.5, layers: Sequence[int] | None = None
    ) -> CodesT:
        """Go from codes (B, N, D) towards others (1 or B, N, D), in a straight line.

        Args:
            codes: in W+, or LatentCodes.
            others: in W+, or LatentCodes.
            strength: 0 gives `codes` and 1 gives `others`, bit by bit; other numbers lie between and beyond them.
            layers: the styles that go, counted from 0; None for all of them.

        Returns:
            The codes between. Raises UsageError if sizes disagree.
        """
        a, b = to_latents(self.model, codes), to_latents(self.model, others)
        _require_pairs(len(a), len(b))
        return as_codes(self.model, mix(a, b, strength, self.model.styles(layers)), codes, "mix")

    def learn_direction(
        self, attribute: str, codes: Codes | None = None, labels: Sequence[bool] | None = None
    ) -> LearnedDirection:
        """Find one direction for all codes that gives them an attribute; `Directions.save` keeps it.

        Args:
            attribute: what the classifier, or without one the labels, predict. With labels, any name will do.
            codes: (M, N, D) in W+, or LatentCodes, to learn from; None samples some.
            labels: which codes have the attribute; None asks the classifier.

        Returns:
            The direction, and the share of codes held back from learning that it puts on the right side.
            Raises AttributeNameError, MissingPartError, and UsageError if there are too few codes of either label.
        """
        w = None if codes is None else to_latents(self.model, codes)
        return learn_direction(self.model, attribute, w, labels)

    def has_learned_edit(self, attributes: str | Sequence[str]) -> bool:
        """Whether `edit_by_label` has a learned edit of all attributes. Raises AttributeNameError."""
        return has_learned_edit(self.model, attributes)

    # What networks read off codes and images

    @overload
    def classify(self, codes: Tensor) -> Tensor: ...
    @overload
    def classify(self, codes: Latents | LatentCode | Sequence[LatentCode]) -> Latents: ...
    def classify(self, codes: Codes) -> Latents | Tensor:
        """Codes (B, N, D), or LatentCodes -> the probability of each attribute, (B, K). Raises MissingPartError."""
        return _numbers(attribute_logits(self.model, to_latents(self.model, codes)).sigmoid(), codes)

    @overload
    def predict_attributes(self, images: Tensor) -> Tensor: ...
    @overload
    def predict_attributes(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def predict_attributes(self, images: Images) -> Latents | Tensor:
        """Images -> the probability (B, K) of each of the bundle's attributes, by the predictor in image space.

        Args:
            images: as `invert` takes them; a tensor of the predictor's input size.

        Returns:
            Probabilities (B, K), float32. Raises MissingPartError if the model has no judge.
        """
        return _numbers(predict_attributes(self.model, self._to_judge(images)), images)

    @overload
    def attribute_features(self, images: Tensor) -> Tensor: ...
    @overload
    def attribute_features(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def attribute_features(self, images: Images) -> Latents | Tensor:
        """Images, as `predict_attributes` takes them -> the features (B, 16 * C) that its logits are linear in."""
        return _numbers(attribute_features(self.model, self._to_judge(images)), images)

    @overload
    def identity_embedding(self, images: Tensor) -> Tensor: ...
    @overload
    def identity_embedding(self, images: Pixels | Held | Sequence[ImageLike]) -> Latents: ...
    def identity_embedding(self, images: Images) -> Latents | Tensor:
        """Faces, cropped as FFHQ's -> ArcFace embeddings (B, 512) of unit length; a high product is a high similarity.

        Args:
            images: as `invert` takes them; arrays and tensors of any size, best of 256 px or more.

        Returns:
            Embeddings, float32. Raises MissingPartError if the model has no identity network.
        """
        self.model.require_identity()
        if isinstance(images, Tensor):
            faces = checked(images)
        elif isinstance(images, np.ndarray):
            faces = to_tensor(rgb_batch(images))
        else:
            faces = to_tensor(face_crops(self.model, _as_list(images), IDENTITY_SIZE))
        return _numbers(identity_embedding(self.model, faces), images)

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

    def _to_judge(self, images: Images) -> Tensor:
        config = self.model.require_judge().config
        size = config.input_height, config.input_width
        if not isinstance(images, np.ndarray | Tensor):
            images = face_crops(self.model, _as_list(images), size)
        return to_input(images, size, "images for the judge")

    def _to_references(self, references: References, count: int = 1) -> list[Tensor]:
        """The codes of references, each for one or for each of `count` sources."""
        given = references if isinstance(references, list | tuple) else [references]
        if not given:
            raise UsageError("there is no reference in the list: give at least one")
        found = [to_latents(self.model, self._as_code(one)) for one in given]
        for one in found:
            _require_pairs(count, len(one))
        return found

    def _as_code(self, given: Any) -> Codes:
        """A code as it is, or that of a latent file or an image."""
        is_numbers = isinstance(given, Tensor) or (isinstance(given, np.ndarray) and given.dtype != np.uint8)
        return (
            cast(Codes, given)
            if is_numbers
            else self.invert(given if isinstance(given, LatentCode) else Photo.of(given))
        )

    def _change(
        self,
        codes: list[LatentCode],
        attributes: str | Sequence[str],
        strength: float,
        references: Sequence[Tensor] | None,
    ) -> list[LatentCode]:
        if references is None:
            return self.edit_by_label(codes, attributes, strength=strength)
        return self.edit_by_reference(codes, references, attributes, strength=strength)

    def __repr__(self) -> str:
        return f"Engine({self.model})"


def _with_steps(options: InversionOptions | None, steps: int | None, method: Method) -> InversionOptions | None:
    if steps is None:
        return options
    if method == "encoder":
        raise UsageError("the encoder takes no steps: choose the method 'hybrid' or 'optimise'")
    if options is not None and options.steps not in (None, steps):
        raise UsageError(f"there are to be {steps} steps, and {options.steps} in the options: leave one of them out")
    return replace(options or InversionOptions(), steps=steps)


def _require_pairs(count: int, others: int) -> None:
    if others not in (1, count):
        raise UsageError(f"there are {count} codes, and {others} to go with them: give one, or as many")


def _name_of(attributes: str | Sequence[str]) -> str:
    """What a latent file says of an edit."""
    return f"edit {attributes if isinstance(attributes, str) else ' + '.join(attributes)}".rstrip()


def _numbers(result: Tensor, given: object) -> Latents | Tensor:
    """What was computed of something: a tensor of a tensor, an array of anything else."""
    return result.to(given.device) if isinstance(given, Tensor) else cast(Latents, result.cpu().numpy())


def _as_list(images: Any) -> list[ImageLike]:
    return list(images) if isinstance(images, list | tuple) else [images]
