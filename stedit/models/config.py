"""Sizes of every network, as plain dataclasses: what a bundle's `config.json` holds and what the constructors take.

Nothing here imports torch, so sizes can be read and checked before any memory is taken. `from_dict` accepts only
known fields of the right type within `LIMITS`, since configs come from strangers.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

MAX_RESOLUTION = 2048
MAX_WIDTH = 4096  # widest layer anywhere; the official classifier's first layer has 2048 units
MAX_ACTIVATIONS = 2**26  # numbers of one layer's features for one image; the official generator at 1024 px has half
MAX_DEPTH = 128
MAX_CORRECTIONS = 16
MAX_CLAMP = 65_504.0  # the largest number of half precision
MAX_TUNING_RANK = 64  # of the change of a layer that adapts a generator to one image
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # of a model, an attribute or a direction: safe in a file name
ENCODER_KINDS = ("style-transformer", "psp", "e4e", "w")


def stylegan2_channels(resolution: int, multiplier: int = 2) -> tuple[int, ...]:
    """Feature maps at 4, 8, … `resolution` px in StyleGAN2 config F (Karras 2020): 512 to 32 px, then halving."""
    return tuple(min(512, 512 * 32 * multiplier // size) for size in resolutions(resolution))


def resolutions(resolution: int) -> tuple[int, ...]:
    """(4, 8, …, `resolution`), the synthesis blocks of a StyleGAN2 generator."""
    return tuple(2**k for k in range(2, resolution.bit_length()))


def _check_int(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, outside {low}..{high}")


def _check_activations(pixels: int, widths: tuple[int, ...]) -> None:
    """Of layers of these widths, the first at so many pixels, the next at a quarter of them and so on."""
    for level, width in enumerate(widths):
        if pixels // 4**level * width > MAX_ACTIVATIONS:
            raise ValueError(
                f"{width} channels of {pixels // 4**level} pixels are more than a network here may compute"
            )


def _typed(value: Any, like: str) -> Any:
    """Return JSON `value` as the annotated type `like`, or raise ValueError: int, float, bool, str or tuple of int."""
    if like == "int" and type(value) is int:
        return value
    if like == "float" and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if like in ("bool", "str") and type(value).__name__ == like:
        return value
    if like.startswith("tuple") and isinstance(value, list | tuple) and all(type(item) is int for item in value):
        return tuple(value)
    raise ValueError(f"expected {like}, got {value!r}")


@dataclass(frozen=True)
class NetworkConfig:
    """What the configs share: strict reading from, and writing to, JSON-like dictionaries."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Build from a JSON object. Raises ValueError on unknown fields, wrong types or sizes out of bounds."""
        types = {field.name: str(field.type) for field in fields(cls)}
        unknown = sorted(set(values) - set(types))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        return cls(**{name: _typed(value, types[name]) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready fields; `from_dict` reverses it."""
        return asdict(self)


@dataclass(frozen=True)
class GeneratorConfig(NetworkConfig):
    """A StyleGAN2 generator: mapping network z -> w and synthesis network w -> image."""

    resolution: int = 1024
    style_dim: int = 512
    mapping_layers: int = 8
    channels: tuple[int, ...] = stylegan2_channels(1024)  # at 4, 8, … resolution
    z_dim: int = 0  # of the mapping network's input; 0: style_dim, as published
    clamp: float = 0.0  # of every layer's features, to +-clamp; 0: none. NVIDIA's half-precision networks have 256

    def __post_init__(self) -> None:
        _check_int("resolution", self.resolution, 8, MAX_RESOLUTION)
        if self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}, not a power of two")
        if len(self.channels) != len(resolutions(self.resolution)):
            raise ValueError(
                f"channels holds {len(self.channels)} widths for {len(resolutions(self.resolution))} blocks"
            )
        _check_int("style_dim", self.style_dim, 1, MAX_WIDTH)
        _check_int("z_dim", self.z_dim, 0, MAX_WIDTH)
        if not 0 <= self.clamp <= MAX_CLAMP:
            raise ValueError(f"clamp is {self.clamp}, outside 0..{MAX_CLAMP}")
        _check_int("mapping_layers", self.mapping_layers, 1, MAX_DEPTH)
        for width in self.channels:
            _check_int("channels", width, 1, MAX_WIDTH)
        _check_activations(self.resolution**2, self.channels[::-1])

    @property
    def z_width(self) -> int:
        """Numbers of a z."""
        return self.z_dim or self.style_dim

    @property
    def style_count(self) -> int:
        """Styles N of a W+ code: 18 at 1024 px, 16 at 512, 14 at 256, 12 at 128."""
        return 2 * len(self.channels)


@dataclass(frozen=True)
class BackboneConfig(NetworkConfig):
    """An IR-SE residual network (ArcFace, Deng et al. 2019; SE blocks, Hu et al. 2018). Defaults: IR-SE50."""

    stem_width: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (3, 4, 14, 3)
    reduction: int = 16  # of the squeeze-excitation bottleneck

    def __post_init__(self) -> None:
        if len(self.widths) != 4 or len(self.blocks) != 4:
            raise ValueError("widths and blocks need one entry for each of the four stages")
        for width in (self.stem_width, *self.widths):
            _check_int("widths", width, 1, MAX_WIDTH)
        for count in self.blocks:
            _check_int("blocks", count, 1, MAX_DEPTH)
        _check_int("reduction", self.reduction, 1, min(self.widths))


@dataclass(frozen=True)
class EncoderConfig(BackboneConfig):
    """An encoder: IR-SE backbone, feature pyramid, and what reads N styles from it.

    The "style-transformer" reads them by three transformer stages over N queries; "psp" (Richardson et al. 2021) and
    "e4e" (Tov et al. 2021) by a small convolutional network for each style, whose answers e4e adds to the first one;
    "w" reads one style for all by a linear layer.
    """

    kind: str = "style-transformer"
    input_height: int = 256
    input_width: int = 256
    unshuffle: int = (
        1  # squares of n x n pixels become one pixel of 3 n^2 channels: detail at 1/n of the cost; published: 1
    )
    style_count: int = 18
    style_dim: int = 512
    heads: int = 4  # from here on, of the style transformer alone
    feedforward: int = 1024
    position_embedding: bool = False  # learned, added to the pyramid's tokens; the official encoder has none
    query_rank: int = 0  # of a linear map from the coarse features to the queries; 0: constant queries, as published
    extra_queries: int = 0  # whose styles no generator reads: published encoders have 18 even where it takes 16 or 14
    pyramid: bool = True  # of psp and e4e; without it all styles read the coarsest features (ReStyle)
    iterative: bool = False  # takes what its last code renders, in three more channels (ReStyle, Alaluf et al. 2021)
    corrections: int = 0  # of its code, by how its codes of the image and of the rendering differ

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_int("unshuffle", self.unshuffle, 1, 8)
        if self.kind not in ENCODER_KINDS:
            raise ValueError(f"kind is {self.kind!r}, none of {', '.join(ENCODER_KINDS)}")
        if self.iterative and self.corrections:
            raise ValueError("iterative encoders return corrections, so corrections cannot be set")
        _check_int("corrections", self.corrections, 0, MAX_CORRECTIONS)
        _check_int("extra_queries", self.extra_queries, 0, 64)
        for name in ("input_height", "input_width"):
            size, unit = getattr(self, name), 16 * self.unshuffle
            _check_int(name, size, unit, MAX_RESOLUTION)
            if size % unit:
                raise ValueError(f"{name} is {size}, not a multiple of {unit}")
        pixels = self.input_height * self.input_width // self.unshuffle**2
        _check_activations(pixels, (max(self.stem_width, self.widths[0]), *self.widths[1:]))
        _check_int("style_count", self.style_count, 1, 64)
        _check_int("query_rank", self.query_rank, 0, MAX_WIDTH)
        _check_attention(self.style_dim, self.heads, self.feedforward)


@dataclass(frozen=True)
class ClassifierConfig(NetworkConfig):
    """The latent classifier: W+ code -> a small embedding and a logit per attribute. Defaults: LCNet-40."""

    style_count: int = 18
    style_dim: int = 512
    attributes: int = 40
    hidden: tuple[int, ...] = (2048, 512)
    embedding: int = 32
    covariance_rank: int = 0  # of the codes' covariance, which keeps edits plausible; 0 where it is unknown

    def __post_init__(self) -> None:
        _check_int("style_count", self.style_count, 1, 64)
        _check_int("attributes", self.attributes, 1, 1024)
        _check_int("covariance_rank", self.covariance_rank, 0, MAX_WIDTH)
        _check_int("hidden layers", len(self.hidden), 1, 8)
        for width in (self.style_dim, *self.hidden, self.embedding):
            _check_int("width", width, 1, MAX_WIDTH)


@dataclass(frozen=True)
class EditorConfig(NetworkConfig):
    """The edit transformer: source code as queries, reference code as keys and values."""

    style_count: int = 18
    style_dim: int = 512
    layers: int = 1
    heads: int = 4
    feedforward: int = 1024
    attributes: int = 0  # edits it is conditioned on; 0 means one unnamed edit, as published
    labels: tuple[int, ...] = ()  # those of them that it also makes without a reference, by label alone
    doubly_normalised: bool = True  # attention of the paper; the released code uses plain attention
    residual: bool = True  # predict w' - w_s instead of w'

    def __post_init__(self) -> None:
        _check_int("style_count", self.style_count, 1, 64)
        _check_int("layers", self.layers, 1, MAX_DEPTH)
        _check_int("attributes", self.attributes, 0, 1024)
        for label in self.labels:
            _check_int("labels", label, 0, max(self.attributes, 1) - 1)
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels names one of the edits twice")
        _check_attention(self.style_dim, self.heads, self.feedforward)


@dataclass(frozen=True)
class JudgeConfig(NetworkConfig):
    """The judge: a small network that predicts the bundle's attributes of images, by which edits are measured."""

    attributes: int = 40
    widths: tuple[int, ...] = (32, 64, 128, 192)  # at 1/2, 1/4, 1/8, ... of the input
    input_height: int = 128
    input_width: int = 128

    def __post_init__(self) -> None:
        _check_int("attributes", self.attributes, 1, 1024)
        _check_int("widths", len(self.widths), 1, 8)
        for width in self.widths:
            _check_int("widths", width, 1, MAX_WIDTH)
        for name in ("input_height", "input_width"):
            _check_int(name, getattr(self, name), 2 ** len(self.widths), MAX_RESOLUTION)
        _check_activations(self.input_height * self.input_width, self.widths)


@dataclass(frozen=True)
class AlignerConfig(NetworkConfig):
    """The aligner: a small fully convolutional network that finds faces and five points of each."""

    widths: tuple[int, ...] = (16, 32, 64, 96, 96)  # channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size
    smallest: int = 18  # geometric mean of a face's width and height, in pixels, from which it was trained
    largest: int = 100  # and up to which: an image is shown at such scales that each face lies between at one of them

    def __post_init__(self) -> None:
        if len(self.widths) != 5:
            raise ValueError("widths needs one entry for each of the five scales")
        for width in self.widths:
            _check_int("widths", width, 1, MAX_WIDTH)
        _check_int("smallest", self.smallest, 8, 64)
        _check_int("largest", self.largest, 3 * self.smallest, 512)


def _check_attention(width: int, heads: int, feedforward: int) -> None:
    _check_int("style_dim", width, 1, MAX_WIDTH)
    _check_int("heads", heads, 1, 64)
    _check_int("feedforward", feedforward, 1, 4 * MAX_WIDTH)
    if width % heads:
        raise ValueError(f"style_dim {width} is not divisible by {heads} heads")
