"""The options that commands share, each declared once.

Options that always come together are one dataclass; `command.flatten_options` makes an option of each of its fields, so
that a command lists what it takes (`files: FileOptions, model: ModelOptions`) instead of repeating eighteen parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stedit.cli.completion import complete_attribute, complete_direction, complete_model
from stedit.cli.devices import check_device
from stedit.storage.embedded import DEFAULT_MODEL

if TYPE_CHECKING:
    from stedit.batch import InversionRequest, PhotoOptions, Rendering

DEBUG = "stedit.debug"  # where the context keeps --debug, so that errors outside of a command's body see it too


@dataclass(frozen=True)
class FormerName:
    """Marks an option that had another name in the version before: it still works, and no help shows it."""

    flag: str


def _keep_debug(context: typer.Context, value: bool) -> bool:
    context.meta[DEBUG] = value
    return value


_about_labels = partial(typer.Option, rich_help_panel="Edits by label")
_about_references = partial(typer.Option, rich_help_panel="Edits by reference")
about_files = partial(typer.Option, rich_help_panel="Files")
_about_many = partial(typer.Option, rich_help_panel="Many files")
_about_model = partial(typer.Option, rich_help_panel="Model")
_about_inversion = partial(typer.Option, rich_help_panel="Inversion")
_about_messages = partial(typer.Option, rich_help_panel="Messages")

_about_photos = partial(typer.Option, rich_help_panel="Photographs")

_INPUTS = (
    "Images, folders of images, latent codes (also .npz, .npy, .pt), or - for standard input, which is read where a "
    "pipe leads to it."
)
_CODE_INPUTS = "Files of latent codes: .latent.safetensors, .npz, .npy, .pt; FILE:NAME for one of several in a file."
_ATTR = "smile, glasses, beard, ...; no-glasses for the other way; smile,glasses for both at once; smile=0.5 for half."
_STRENGTH = (
    "1: the whole edit; 0.5 or 50%: half of it; -1: the other way. A list such as -2,-1,0,1,2 makes a strip, or an "
    "animation with -o NAME.gif or NAME.webp. One after each --attr gives each its own."
)
_DIRECTION = (
    "How to edit: transformer (auto where the model can), preserving, first-order, second-order, linear:FILE, "
    "linear:FILE:NAME, or sefa:NUMBER; a sum: linear:A*0.6+linear:B*-0.2. "
    "Without --attr, a linear one is followed for --strength standard deviations."
)
_STRENGTH_UNIT = (
    "What --strength 1 is along a linear direction: sure, until the model is sure of --attr; sigma, as far as faces "
    "usually differ; raw, the numbers of the file, as other tools count. auto: sure with --attr, else sigma."
)
_KEEP = "An attribute to preserve, such as mouth-open while --attr smile. Repeat it for several."
_LAYERS = "Change these styles of the code only, such as 4-8 or 0-3,6."
_REF_WEIGHTS = "The weight of each --ref, in their order."
_ATTENTION = "Plot which styles of the source attend to which of the reference, for one input."
_FORMAT = (
    "The format to write; several strengths move in gif and webp; latent is the edited code, for further edits; npz, "
    "npy and pt are codes for other tools."
)
_OUTPUT = "Where to write; an output folder mirrors the tree of an input folder."
_MODEL = "An embedded model (see stedit weights list), a folder that holds one, or one on the Hub, pulled if need be."
_DEVICE = "Where to compute: auto, cpu, cuda, cuda:N or mps; several, as cuda:0,cuda:1, share a folder."
_NOISE_MODE = "The generator's noise inputs: its own constants, sampled from --seed, or none."
_METHOD = (
    "How to invert: one pass of the encoder, optimisation from the mean code, hybrid (optimisation from the encoder's "
    "code), or several passes of the encoder."
)
_LOSS = "The losses of a reconstruction: l1, l2, perceptual, identity, each with a weight if need be (l2,identity=0.2)."
_SPACE = "w+: a style for each layer; w: one for all, which fits worse and edits best."
_TUNE = "Adapt the generator to each image, for faces that no code can hold; FILE.tuning.safetensors keeps the change."
_AS_OUTPUT_SAYS = "as -o says, or png"

Inputs = Annotated[list[str] | None, typer.Argument(metavar="FILES", show_default=False, help=_INPUTS)]
CodeInputs = Annotated[list[str], typer.Argument(metavar="FILES", show_default=False, help=_CODE_INPUTS)]
Recursive = Annotated[bool, about_files("--recursive", "-r", help="Search the folders of folders as well.")]
Overwrite = Annotated[
    bool, about_files("--overwrite", help="Make all outputs anew, and replace whatever is in their places.")
]
Sheet = Annotated[bool, typer.Option("--sheet", help="Write source and reconstruction side by side.")]
ImageFormat = Annotated[
    Literal["png", "jpg", "webp"] | None,
    about_files("--format", "-f", show_default=_AS_OUTPUT_SAYS, help="The format to write."),
]


Model = Annotated[
    str,
    _about_model(
        "--model",
        "-m",
        metavar="MODEL",
        envvar="STEDIT_MODEL",
        help=_MODEL,
        autocompletion=complete_model,
    ),
]


@dataclass(frozen=True)
class EditOptions:
    """What to change, how far, and how to show it."""

    attr: Annotated[
        list[str] | None,
        typer.Option("--attr", "-a", metavar="NAME", show_default=False, help=_ATTR, autocompletion=complete_attribute),
    ] = None
    strength: Annotated[
        list[str] | None, typer.Option("--strength", "-s", metavar="NUMBERS", show_default="1", help=_STRENGTH)
    ] = None
    sheet: Annotated[
        bool, typer.Option("--sheet", help="Write source, reconstruction, reference (if any) and edit side by side.")
    ] = False
    format: Annotated[
        Literal["png", "jpg", "webp", "avif", "tif", "gif", "latent", "npz", "npy", "pt"] | None,
        about_files("--format", "-f", show_default="as -o says, or as the photograph", help=_FORMAT),
    ] = None


@dataclass(frozen=True)
class LabelOptions:
    """How to find an edit by label."""

    direction: Annotated[
        str, _about_labels("--direction", metavar="NAME", help=_DIRECTION, autocompletion=complete_direction)
    ] = "auto"
    keep: Annotated[
        list[str] | None,
        _about_labels("--keep", metavar="NAME", show_default=False, help=_KEEP, autocompletion=complete_attribute),
    ] = None
    strength_unit: Annotated[
        Literal["auto", "sure", "sigma", "raw"],
        _about_labels("--strength-unit", help=_STRENGTH_UNIT),
    ] = "auto"
    layers: Annotated[
        str | None, _about_labels("--layers", metavar="RANGES", show_default="all of them", help=_LAYERS)
    ] = None


@dataclass(frozen=True)
class ReferenceOptions:
    """The weights of references, and a plot of what is taken from them."""

    ref_weights: Annotated[
        str | None,
        _about_references("--ref-weights", metavar="NUMBERS", show_default="all alike", help=_REF_WEIGHTS),
    ] = None
    attention: Annotated[
        Path | None, _about_references("--attention", metavar="FILE", show_default=False, help=_ATTENTION)
    ] = None


@dataclass(frozen=True)
class FileOptions:
    """Which files to read and where to write."""

    output: Annotated[
        str | None,
        about_files("--output", "-o", metavar="FILE|FOLDER|-", show_default="beside each input", help=_OUTPUT),
    ] = None
    recursive: Recursive = False
    overwrite: Overwrite = False
    dry_run: Annotated[bool, about_files("--dry-run", "-n", help="Show what would be written, and stop.")] = False


@dataclass(frozen=True)
class BatchOptions:
    """Which of many inputs are meant, and what is kept of how they went."""

    from_file: Annotated[
        Path | None,
        _about_many("--from-file", metavar="FILE|-", show_default=False, help="Read names of inputs, one a line."),
    ] = None
    null: Annotated[
        bool,
        _about_many("--null", "-0", help="Names end in a zero byte; from standard input, unless --from-file is given."),
    ] = False
    include: Annotated[
        list[str] | None,
        _about_many("--include", metavar="PATTERN", show_default=False, help="In folders, take these only: '*.jpg'."),
    ] = None
    exclude: Annotated[
        list[str] | None,
        _about_many("--exclude", metavar="PATTERN", show_default=False, help="In folders, pass over these."),
    ] = None
    shard: Annotated[
        str | None,
        _about_many("--shard", metavar="I/N", show_default=False, help="Do the I-th of N parts, for job arrays."),
    ] = None
    engine: Annotated[
        Literal["local", "ray"],
        _about_many("--engine", help="What the work is done by: this machine, or a cluster of Ray."),
    ] = "local"
    ray_address: Annotated[
        str | None,
        _about_many("--ray-address", metavar="HOST:PORT", show_default=False, help="Where the head of the cluster is."),
    ] = None
    failures: Annotated[
        Path | None,
        _about_many("--failures", metavar="FILE", show_default=False, help="Write the inputs that fail, one a line."),
    ] = None
    fail_fast: Annotated[bool, _about_many("--fail-fast", help="Stop at the first input that fails.")] = False
    log: Annotated[
        Path | None,
        _about_many("--log", metavar="FILE", show_default=False, help="Add a JSON record of each input to this file."),
    ] = None

    def names(self, inputs: list[str] | None) -> list[str]:
        """All names of inputs; those of a list are taken as they are.

        Raises UsageError if nothing says where they are or one that is typed is not there, InputError for a list.
        """
        from stedit.batch.inputs import read_names
        from stedit.cli.inputs import expand_inputs

        if not self.from_file and not self.null:
            return expand_inputs(inputs or ())
        return [*(expand_inputs(inputs) if inputs else ()), *read_names(self.from_file or "-", null=self.null)]

    @property
    def parsed_shard(self) -> tuple[int, int] | None:
        """The number and the count. Raises UsageError."""
        from stedit.batch.notation import parse_shard

        return None if self.shard is None else parse_shard(self.shard)


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and how it computes."""

    model: Model = DEFAULT_MODEL
    device: Annotated[str, _about_model("--device", metavar="NAME", callback=check_device, help=_DEVICE)] = "auto"
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"],
        _about_model("--precision", help="Compute dtype; the short ones are for GPUs."),
    ] = "float32"
    batch_size: Annotated[
        int, _about_model("--batch-size", "-b", metavar="COUNT", min=1, help="Images computed at a time on a GPU.")
    ] = 8


@dataclass(frozen=True)
class InversionFlags:
    """How the code of an image is found."""

    method: Annotated[
        Literal["encoder", "optimise", "hybrid", "iterative"], _about_inversion("--method", help=_METHOD)
    ] = "encoder"
    steps: Annotated[
        int | None,
        _about_inversion(
            "--steps",
            metavar="COUNT",
            min=1,
            show_default="as the method needs",
            help="Maximum optimisation steps, or passes.",
        ),
    ] = None
    space: Annotated[Literal["w+", "w"], _about_inversion("--space", help=_SPACE)] = "w+"
    loss: Annotated[
        str | None,
        _about_inversion("--loss", metavar="LOSSES", show_default="l2, and perceptual if possible", help=_LOSS),
    ] = None
    tune: Annotated[bool, _about_inversion("--tune", help=_TUNE)] = False

    def to_request(self, faces: FaceFlags | None = None) -> InversionRequest:
        """Raises UsageError for an option that the method would ignore, and for losses that do not exist."""
        from stedit.batch import InversionRequest
        from stedit.inversion.options import InversionOptions, TuningOptions, parse_losses

        losses = parse_losses(self.loss) if self.loss is not None else {}
        options = InversionOptions(steps=self.steps, space=self.space, losses=losses)
        return InversionRequest(
            self.method,
            options,
            TuningOptions(losses=losses) if self.tune else None,
            photo_options(faces or FaceFlags()),
        )


@dataclass(frozen=True)
class FaceFlags:
    """Which faces of photographs are meant, and how they are found."""

    align: Annotated[
        Literal["auto", "always", "never"],
        _about_photos("--align", help="Search for faces: in all but aligned crops, always, or never."),
    ] = "auto"
    face: Annotated[
        str,
        _about_photos("--face", metavar="WHICH", help="Which face: largest, all, or a number, 1 being the largest."),
    ] = "largest"
    landmarks: Annotated[
        Path | None,
        _about_photos("--landmarks", metavar="FILE", show_default=False, help="JSON of points given by hand."),
    ] = None
    detector: Annotated[
        str | None,
        _about_photos(
            "--detector",
            metavar="yunet|FILE",
            show_default="the model's own",
            help="YuNet, as pulled by stedit weights pull yunet, or its ONNX file.",
            autocompletion=lambda incomplete: ["yunet"] if "yunet".startswith(incomplete) else [],
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        _about_photos(
            "--max-pixels", metavar="COUNT", min=1, show_default="64 million", help="Read photographs up to this size."
        ),
    ] = None


@dataclass(frozen=True)
class ResultFlags:
    """What comes back of an edit of a photograph, and what its file says."""

    result: Annotated[
        Literal["photo", "crop", "render"] | None,
        _about_photos(
            "--result",
            show_default="photo, for models of faces",
            help="The whole photograph, its face's square, or what the model renders.",
        ),
    ] = None
    into: Annotated[
        Path | None,
        _about_photos(
            "--into", metavar="PHOTO", show_default=False, help="For a latent file: the photograph it was made of."
        ),
    ] = None
    quality: Annotated[
        int | None,
        _about_photos(
            "--quality",
            metavar="1-100",
            min=1,
            max=100,
            show_default="the photograph's",
            help="Of JPEG, WebP and AVIF.",
        ),
    ] = None
    keep_gps: Annotated[bool, _about_photos("--keep-gps", help="Keep where the photograph was taken.")] = False
    no_provenance: Annotated[
        bool, _about_photos("--no-provenance", help="Leave out the mark that says how the file was made.")
    ] = False


def photo_options(faces: FaceFlags, result: ResultFlags | None = None) -> PhotoOptions:
    """The same for the batch engine. Raises UsageError."""
    from stedit.batch import PhotoOptions
    from stedit.batch.notation import parse_face
    from stedit.hub.yunet import YUNET

    result = result or ResultFlags()
    return PhotoOptions(
        faces.align,
        parse_face(faces.face),
        faces.landmarks,
        faces.detector if faces.detector in {None, YUNET} else Path(faces.detector),
        faces.max_pixels,
        result.result,
        result.into,
        result.keep_gps,
        not result.no_provenance,
        result.quality,
    )


@dataclass(frozen=True)
class RenderOptions:
    """How a code becomes an image."""

    noise_mode: Annotated[
        Literal["const", "random", "none"], _about_model("--noise-mode", help=_NOISE_MODE), FormerName("--noise")
    ] = "const"
    seed: Annotated[int, _about_model("--seed", metavar="NUMBER", min=0, help="Seed of --noise-mode random.")] = 0

    def to_rendering(self) -> Rendering:
        """The same for the batch engine."""
        from stedit.batch import Rendering

        return Rendering(self.noise_mode, self.seed)


@dataclass(frozen=True)
class MessageOptions:
    """What is printed, and in which form."""

    json: Annotated[bool, _about_messages("--json", help="Print JSON records, one per line.")] = False
    quiet: Annotated[bool, _about_messages("--quiet", "-q", help="Print nothing but errors and results.")] = False
    verbose: Annotated[bool, _about_messages("--verbose", "-v", help="Print more about each input.")] = False
    debug: Annotated[bool, _about_messages("--debug", callback=_keep_debug, help="Show where an error came from.")] = (
        False
    )
