"""Requests: what an output is made of its input, as plain data.

    InversionRequest    the latent code
    Reconstruction      the image that the code stands for
    LabelEdit           an edit by the names of attributes, or along a direction
    ReferenceEdit       an edit after other people
    Mix                 what lies between the input and another face
    Classification      nothing but the probabilities of attributes
    AlignedCrop         the square of a face, as the model's images are aligned

Those of images hold `PhotoOptions`: which faces of a photograph are meant, and what comes back of an edit.

A request can be pickled, so that a worker elsewhere can compute it with an engine of its own (`process.py`). What is
wrong with one is raised when it is made, or by `check` once the model is known; nothing has been loaded by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stedit.batch.naming import output_suffix, stem_of
from stedit.batch.notation import format_layers
from stedit.editing.attributes import friendly_name, resolve_attribute, resolve_reference_attribute
from stedit.editing.directions import LinearDirection, StrengthUnit, parse_direction
from stedit.errors import UsageError
from stedit.inversion.options import DEFAULT_STEPS, InversionOptions, Method, TuningOptions
from stedit.models.config import GeneratorConfig

if TYPE_CHECKING:
    from stedit.models.generator import Noise
    from stedit.photo.photograph import Alignment, Choice, Result
    from stedit.storage.bundle import Bundle

IMAGE_FORMATS = ("png", "jpg", "webp")
PHOTO_FORMATS = (*IMAGE_FORMATS, "avif", "tif")
SOURCE_FORMAT = "source"
"""That of the photograph which an output is made of."""
LATENT_FORMAT = "latent"
CODE_FORMATS = (LATENT_FORMAT, "npz", "npy", "pt")  # the last three are those of other tools
ANIMATION_FORMAT = "gif"
"""Written of several strengths only; WebP takes both, one image and many."""
MAX_CROP = 4096  # px, of a side


Strength = float | Sequence[float]
"""Of all attributes of an edit, or of each of them, which are then edited one after the other."""


@dataclass(frozen=True)
class Rendering:
    """How a code becomes an image: see `Engine.synthesise`."""

    noise: Noise = "const"
    seed: int = 0


@dataclass(frozen=True)
class PhotoOptions:
    """Which faces of photographs are meant, how they are found, and what comes back of an edit."""

    align: Alignment = "auto"
    """auto: search whatever is not an aligned crop already; always; never: take every image for a crop."""
    face: Choice = "largest"
    """largest, all, or a number, counted from the largest."""
    landmarks: Path | None = None
    """A JSON file of points given by hand."""
    detector: str | Path | None = None
    """YuNet's ONNX file, or "yunet" for the one that was pulled; None for the model's own detector."""
    max_pixels: int | None = None
    """Of a photograph; None for the usual limit."""
    result: Result | None = None
    """The whole photograph with the edit carried over to it, its face's square, or what the model renders; None for the
    photograph where the model's images are aligned faces, else the rendering."""
    into: Path | None = None
    """The photograph that a latent code was made of, to carry an edit of the code over to it."""
    keep_gps: bool = False
    provenance: bool = True
    """Whether a mark in the file says how it was made."""
    quality: int | None = None
    """1 to 100 for JPEG, WebP and AVIF; None for the photograph's own."""

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"the quality {self.quality} is outside 1 to 100: choose 95 for hardly any loss")
        if self.max_pixels is not None and self.max_pixels < 1:
            raise UsageError(f"a limit of {self.max_pixels} pixels lets nothing through: give 1 or more")
        if self.into and self.result == "render":
            raise UsageError("a rendering is not put into a photograph: choose the result photo or crop")

    def result_of(self, bundle: Bundle) -> Result:
        """What comes back of edits by a model. Raises UsageError for what only models of aligned faces give."""
        faces = bundle.alignment == "ffhq"
        if self.result in {"photo", "crop"} and not faces:
            raise UsageError(
                f"the model {bundle.name!r} is not of aligned faces, and edits of other things are not carried over to "
                "photographs: leave the result out"
            )
        return self.result or ("photo" if faces else "render")


@dataclass(frozen=True)
class InversionRequest:
    """How the code of an image is found. Raises UsageError for an option that the method would ignore."""

    method: Method = "encoder"
    options: InversionOptions = field(default_factory=InversionOptions)
    tuning: TuningOptions | None = None
    """Adapt the generator to each image, too."""
    photo: PhotoOptions = field(default_factory=PhotoOptions)

    formats = CODE_FORMATS

    def __post_init__(self) -> None:
        if self.options.steps is not None and self.method == "encoder":
            raise UsageError("steps do not apply to the method encoder: choose one that has steps", argument="method")
        if self.options.space != "w+" and self.method not in {"optimise", "hybrid"}:
            raise UsageError(
                f"the method {self.method} finds codes in w+ only: choose optimise or hybrid", argument="method"
            )
        if self.options.losses and self.method == "encoder" and not self.tuning:
            raise UsageError("losses do not apply to the method encoder: choose one that has steps", argument="method")

    @property
    def steps(self) -> int:
        """The most that an image may take."""
        return self.options.steps or DEFAULT_STEPS[self.method]

    def check(self, _bundle: Bundle, _file_format: str) -> None:
        """What a model lacks for a method, the engine says."""

    def suffix(self, _bundle: Bundle) -> str:
        """`face.png` gives `face.latent.safetensors`."""
        return ""


@dataclass(frozen=True)
class Reconstruction:
    """Render each image from its code; of all faces of a photograph, each into a file of its own."""

    inversion: InversionRequest = field(default_factory=InversionRequest)
    sheet: bool = False
    """Source and reconstruction side by side."""
    rendering: Rendering = field(default_factory=Rendering)

    @property
    def photo(self) -> PhotoOptions:
        """Those of the inversion."""
        return self.inversion.photo

    formats = IMAGE_FORMATS

    def check(self, _bundle: Bundle, _file_format: str) -> None:
        """What a model lacks for a method, the engine says."""

    def suffix(self, _bundle: Bundle) -> str:
        """`face.png` gives `face.reconstruct.png`."""
        return "reconstruct.sheet" if self.sheet else "reconstruct"


@dataclass(frozen=True)
class LabelEdit:
    """Edit by the names of attributes: see `Engine.edit_by_label`. Raises UsageError for what contradicts itself."""

    attributes: str | Sequence[str] = ()
    """Names such as "smile", "no-glasses" or "Blond_Hair"; none to follow a linear direction."""
    strengths: Sequence[Strength] = (1.0,)
    """Several make a strip, or in WebP and GIF an animation; each is one for all attributes, or one for each."""
    direction: str = "auto"
    keep: str | Sequence[str] = ()
    layers: Sequence[int] | None = None
    sheet: bool = False
    """Source, reconstruction and edit side by side."""
    rendering: Rendering = field(default_factory=Rendering)
    photo: PhotoOptions = field(default_factory=PhotoOptions)
    strength_unit: StrengthUnit = "auto"
    """Of strengths along linear directions."""

    formats = (*PHOTO_FORMATS, ANIMATION_FORMAT, *CODE_FORMATS)

    def __post_init__(self) -> None:
        _check_strengths(self.strengths)
        object.__setattr__(self, "attributes", _listed(self.attributes))
        object.__setattr__(self, "keep", _listed(self.keep))
        if not self.attributes and not isinstance(parse_direction(self.direction), LinearDirection):
            raise UsageError(
                "nothing is named to be edited: give a linear direction, or name an attribute", argument="attributes"
            )

    def check(self, bundle: Bundle, file_format: str) -> None:
        """Raises AttributeNameError and UsageError for what the model or the format cannot do."""
        _check_one_code(file_format, self.strengths, sheet=self.sheet)
        _check_animation(file_format, self.strengths, sheet=self.sheet)
        _check_layers(self.layers, bundle)
        self.photo.result_of(bundle)
        _resolve(self.keep, bundle)
        _check_pairs(self.strengths, self.names(bundle))

    def suffix(self, bundle: Bundle) -> str:
        """`smile`, `smile+no-glasses@0.5`, `along-sefa-3-layers-0-3`; with `.sheet` for one."""
        return f"{self.name(bundle)}.sheet" if self.sheet else self.name(bundle)

    def name(self, bundle: Bundle) -> str:
        """Of the edit, as in file names."""
        qualifiers = []
        direction = parse_direction(self.direction)
        if direction != "auto":
            qualifiers.append(f"along-{direction.title if isinstance(direction, LinearDirection) else direction}")
        if self.strength_unit != "auto":
            qualifiers.append(f"along-{self.strength_unit}" if direction == "auto" else self.strength_unit)
        if self.keep:
            kept = sorted({name for name, _ in _resolve(self.keep, bundle)})
            qualifiers.append("keep-" + "+".join(friendly_name(name, 1) for name in kept))
        if self.layers is not None:
            qualifiers.append(f"layers-{format_layers(self.layers)}")
        return output_suffix(self.names(bundle), self.strengths, qualifiers)

    def names(self, bundle: Bundle) -> list[str]:
        """The friendly names of the attributes, each once. Raises AttributeNameError."""
        return [friendly_name(name, sign) for name, sign in _resolve(self.attributes, bundle)]

    def celeba_names(self, bundle: Bundle) -> list[str]:
        """CelebA's names of the attributes, each once. Raises AttributeNameError."""
        return [name for name, _ in _resolve(self.attributes, bundle)]


@dataclass(frozen=True)
class ReferenceEdit:
    """Edit after other people: see `Engine.edit_by_reference`. Raises UsageError for what contradicts itself."""

    attributes: str | Sequence[str]
    """Names such as "smile": whether there will be one is up to the references."""
    references: Sequence[str | Path]
    """Images or latent codes."""
    weights: Sequence[float] | None = None
    """Of the references, above 0; None for all alike."""
    strengths: Sequence[Strength] = (1.0,)
    """Several make a strip, or in WebP and GIF an animation; each is one for all attributes, or one for each."""
    attention: Path | None = None
    """Where to plot which styles take from which, for one input."""
    sheet: bool = False
    """Source, reconstruction, references and edit side by side."""
    rendering: Rendering = field(default_factory=Rendering)
    photo: PhotoOptions = field(default_factory=PhotoOptions)

    formats = (*PHOTO_FORMATS, ANIMATION_FORMAT, *CODE_FORMATS)

    def __post_init__(self) -> None:
        _check_strengths(self.strengths)
        object.__setattr__(self, "attributes", _listed(self.attributes))
        object.__setattr__(self, "references", _listed(self.references))
        if not self.references:
            raise UsageError("no reference is named: name one", argument="references")
        if not self.attributes:
            raise UsageError("nothing is named to take from the reference: name an attribute", argument="attributes")
        if self.weights is not None and (
            len(self.weights) != len(self.references) or not all(0 < weight < math.inf for weight in self.weights)
        ):
            raise UsageError(f"give {len(self.references)} weights above 0, one for each reference")

    def check(self, bundle: Bundle, file_format: str) -> None:
        """Raises AttributeNameError and UsageError for what the model or the format cannot do."""
        _check_one_code(file_format, self.strengths, sheet=self.sheet)
        _check_animation(file_format, self.strengths, sheet=self.sheet)
        self.photo.result_of(bundle)
        _check_pairs(self.strengths, self.celeba_names(bundle))

    def suffix(self, bundle: Bundle) -> str:
        """`smile-from-jane`, `glasses-from-jane+joe-weights-70-30@0.5`; with `.sheet` for one."""
        return f"{self.name(bundle)}.sheet" if self.sheet else self.name(bundle)

    def name(self, bundle: Bundle) -> str:
        """Of the edit, as in file names."""
        qualifiers = ["from-" + "+".join(stem_of(Path(path)) for path in self.references)]
        if self.weights is not None:
            shares = (round(100 * weight / sum(self.weights)) for weight in self.weights)
            qualifiers.append("weights-" + "-".join(map(str, shares)))
        return output_suffix(self.names(bundle), self.strengths, qualifiers)

    def names(self, bundle: Bundle) -> list[str]:
        """The friendly names of the attributes, each once. Raises AttributeNameError."""
        return [friendly_name(name, sign) for name, sign in _resolve(self.attributes, bundle)]

    def celeba_names(self, bundle: Bundle) -> list[str]:
        """CelebA's names of the attributes, each once. Raises AttributeNameError."""
        known = [attribute.name for attribute in bundle.attributes]
        return list(dict.fromkeys(resolve_reference_attribute(name, known) for name in self.attributes))


@dataclass(frozen=True)
class Mix:
    """Go from each face towards another one: see `Engine.mix`. Raises UsageError for what contradicts itself."""

    other: Path
    """An image or a latent code."""
    strengths: Sequence[float] = ()
    """0 is the input and 1 the other; several make a strip or an animation; none for half-way, or all with layers."""
    layers: Sequence[int] | None = None
    rendering: Rendering = field(default_factory=Rendering)
    photo: PhotoOptions = field(default_factory=PhotoOptions)

    sheet = False
    formats = (*PHOTO_FORMATS, ANIMATION_FORMAT, *CODE_FORMATS)

    def __post_init__(self) -> None:
        if not self.strengths:
            object.__setattr__(self, "strengths", (self._usual_strength,))
        _check_strengths(self.strengths)

    def check(self, bundle: Bundle, file_format: str) -> None:
        """Raises UsageError for what the model or the format cannot do."""
        _check_one_code(file_format, self.strengths)
        self.photo.result_of(bundle)
        _check_animation(file_format, self.strengths)
        _check_layers(self.layers, bundle)

    def suffix(self, _bundle: Bundle) -> str:
        """`mix-jane`, `mix-jane@0to1`, `mix-jane-layers-0-3`."""
        layers = [] if self.layers is None else [f"layers-{format_layers(self.layers)}"]
        return output_suffix((), self.strengths, [f"mix-{stem_of(self.other)}", *layers], self._usual_strength)

    @property
    def _usual_strength(self) -> float:
        return 0.5 if self.layers is None else 1.0


@dataclass(frozen=True)
class Classification:
    """Predict the probability of each attribute; nothing is written."""

    photo: PhotoOptions = field(default_factory=PhotoOptions)

    formats = ()

    def check(self, _bundle: Bundle, _file_format: str) -> None:
        """That a model has no classifier, the engine says."""

    def suffix(self, _bundle: Bundle) -> str:
        """Nothing is written."""
        return ""


@dataclass(frozen=True)
class AlignedCrop:
    """Cut out the square of a face, as the model's images are aligned; of all faces, each into a file of its own.

    Raises UsageError for a size out of bounds.
    """

    size: int | None = None
    """Its side in pixels; None for the photograph's own resolution."""
    photo: PhotoOptions = field(default_factory=PhotoOptions)

    formats = PHOTO_FORMATS

    def __post_init__(self) -> None:
        if self.size is not None and not 16 <= self.size <= MAX_CROP:
            raise UsageError(f"a crop of {self.size} px cannot be cut: choose 16 to {MAX_CROP}")

    def check(self, bundle: Bundle, _file_format: str) -> None:
        """Raises UsageError for a model of other things than faces."""
        if bundle.alignment != "ffhq":
            raise UsageError(f"the model {bundle.name!r} is not of aligned faces: choose another", argument="model")

    def suffix(self, _bundle: Bundle) -> str:
        """`face.png` gives `face.aligned.png`."""
        return "aligned"


Request = InversionRequest | Reconstruction | LabelEdit | ReferenceEdit | Mix | Classification | AlignedCrop


def keeps_format(request: Request, bundle: Bundle) -> bool:
    """Whether an output is a photograph of the kind that its input is, unless another format is asked for."""
    match request:
        case LabelEdit() | ReferenceEdit() | Mix():
            return len(request.strengths) == 1 and not request.sheet and request.photo.result_of(bundle) != "render"
        case AlignedCrop():
            return True
    return False


def writes_further_faces(request: Request) -> bool:
    """Whether an input may have several outputs, one for each face: see `naming.face_path`."""
    return isinstance(request, AlignedCrop | InversionRequest | Reconstruction) and request.photo.face == "all"


def _listed(names: str | Path | Sequence[str | Path]) -> tuple[str | Path, ...]:
    """One name, or several."""
    return (names,) if isinstance(names, str | Path) else tuple(names)


def _resolve(names: Sequence[str], bundle: Bundle) -> list[tuple[str, int]]:
    """CelebA's name and 1 or -1 for each name, each once. Raises AttributeNameError."""
    known = [attribute.name for attribute in bundle.attributes]
    return list(dict.fromkeys(resolve_attribute(name, known) for name in names))


def _check_strengths(strengths: Sequence[Strength]) -> None:
    if not strengths or not all(math.isfinite(strength) for each in strengths for strength in parts_of(each)):
        raise UsageError(f"the strengths {list(strengths)} are not numbers: give one or more")


def _check_pairs(strengths: Sequence[Strength], names: Sequence[str]) -> None:
    for strength in strengths:
        if isinstance(strength, Sequence) and len(strength) != len(names):
            raise UsageError(
                f"there are {len(strength)} strengths for {len(names)} attributes: give one for all, or one for each"
            )


def parts_of(strength: Strength) -> Sequence[float]:
    """The strengths of the attributes, or the one of all."""
    return strength if isinstance(strength, Sequence) else (strength,)


def _check_one_code(file_format: str, strengths: Sequence[Strength], *, sheet: bool = False) -> None:
    if file_format not in CODE_FORMATS or (not sheet and len(strengths) == 1):
        return
    leave_out = "make no sheet, and give one strength" if sheet else "give one strength"
    raise UsageError(f"a latent file holds one code: {leave_out}", argument="strengths")


def _check_animation(file_format: str, strengths: Sequence[Strength], *, sheet: bool = False) -> None:
    if file_format != ANIMATION_FORMAT:
        return
    if sheet:
        raise UsageError("a sheet is one image, and gif is for animations: choose png, or make no sheet")
    if len(strengths) == 1:
        raise UsageError("an animation needs several images: give several strengths", argument="strengths")


def _check_layers(layers: Sequence[int] | None, bundle: Bundle) -> None:
    if layers is None:
        return
    count = GeneratorConfig.from_dict(bundle.parts["generator"].config).style_count
    if not layers or not 0 <= min(layers) <= max(layers) < count:
        raise UsageError(f"the layers {format_layers(layers)!r} do not exist: this model has layers 0-{count - 1}")
