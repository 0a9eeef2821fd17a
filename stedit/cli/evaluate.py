"""`stedit evaluate`: how good a model's reconstructions and edits are, as tables, JSON and a page with images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stedit.cli.command import flatten_options
from stedit.cli.completion import complete_attribute
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED, NOTHING_TO_DO
from stedit.cli.options import FaceFlags, FormerName, ModelOptions, Overwrite, Recursive, photo_options
from stedit.errors import OutputError, UsageError

if TYPE_CHECKING:
    from stedit.batch import PhotoOptions
    from stedit.engine import Engine
    from stedit.imaging.sources import ImageReader
    from stedit.metrics.inputs import EvaluationData
    from stedit.metrics.results import Results, Settings
    from stedit.metrics.run import MeasuringNetworks
    from stedit.storage.bundle import Bundle

_ALL = "all"

_ATTR = "Attributes to edit, both ways: smile,glasses,... or all."
_LABELS = "Labels of the images: .jsonl, .csv, or CelebA's list, gzipped or not."
_GROUND_TRUTH = (
    "Ground-truth edits: records (.jsonl, .jsonl.gz) and the folders or archives of their images. Repeatable."
)
_REFERENCE_EDITS = "Edit by reference too, each image after another one."
_FID = "Measure the FID too, with Inception's weights, torch-fidelity's file."
_LPIPS = "Measure LPIPS too, with AlexNet's or VGG16's weights, torchvision's file."
_LPIPS_HEADS = "The heads of LPIPS for that network; without them all its channels count the same."

Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGES", show_default=False, help="Images, folders of images, or zip archives."),
]


@dataclass(frozen=True)
class DataOptions:
    """What beside the images is read."""

    labels: Annotated[Path | None, typer.Option("--labels", "-l", metavar="FILE", help=_LABELS)] = None
    ground_truth: Annotated[
        list[Path] | None,
        typer.Option("--ground-truth", metavar="FILE|FOLDER", help=_GROUND_TRUTH),
        FormerName("--pairs"),
    ] = None
    limit: Annotated[int | None, typer.Option("--limit", metavar="COUNT", min=1, help="Only the first images.")] = None
    recursive: Recursive = False


@dataclass(frozen=True)
class MeasuredOptions:
    """Which inversions and edits are measured."""

    attr: Annotated[
        list[str] | None,
        typer.Option("--attr", "-a", metavar="NAMES", help=_ATTR, autocompletion=complete_attribute),
    ] = None
    strength: Annotated[str, typer.Option("--strength", "-s", metavar="NUMBERS", help="Of edits.")] = "1"
    direction: Annotated[str, typer.Option("--direction", metavar="NAMES", help="Of edits by label.")] = "auto"
    method: Annotated[str, typer.Option("--method", metavar="NAMES", help="Of inversion.")] = "encoder"
    reference_edits: Annotated[bool, typer.Option("--reference-edits", help=_REFERENCE_EDITS)] = False
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of the choice of references.")] = 0

    def settings(self, bundle: Bundle, *, batch_size: int, examples: int) -> Settings:
        """The same for the library. Raises UsageError and AttributeNameError."""
        from stedit.metrics.results import Settings

        return Settings(
            methods=_names(self.method, "--method"),
            attributes=_attributes(self.attr or [], bundle),
            directions=_directions(self.direction),
            strengths=_strengths(self.strength),
            references=self.reference_edits,
            seed=self.seed,
            batch_size=batch_size,
            samples=examples,
        )


@dataclass(frozen=True)
class MetricOptions:
    """Files of networks that measure, which come with no model."""

    fid: Annotated[Path | None, typer.Option("--fid", metavar="FILE", help=_FID)] = None
    lpips: Annotated[Path | None, typer.Option("--lpips", metavar="FILE", help=_LPIPS)] = None
    lpips_heads: Annotated[Path | None, typer.Option("--lpips-heads", metavar="FILE", help=_LPIPS_HEADS)] = None

    def networks(self) -> MeasuringNetworks:
        """The same for the library."""
        from stedit.metrics.run import MeasuringNetworks

        return MeasuringNetworks(self.fid, self.lpips, self.lpips_heads)


@dataclass(frozen=True)
class PageOptions:
    """The page that is written."""

    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write a page with images.")
    ] = None
    overwrite: Overwrite = False
    examples: Annotated[
        int,
        typer.Option("--examples", metavar="COUNT", min=1, help="Rows of images in the page."),
        FormerName("--samples"),
    ] = 6
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="A line for the page, such as a date.")] = ""


@flatten_options
def evaluate(
    data: DataOptions,
    measured: MeasuredOptions,
    metrics: MetricOptions,
    faces: FaceFlags,
    page: PageOptions,
    model: ModelOptions,
    console: Console,
    inputs: Images = None,
) -> int:
    """Measure reconstructions and edits.

    Faces of photographs are cropped first, as in every command; images without
    one are named and left out. Edits are judged by the model's attribute
    predictor, a network that reads images alone. Lists such as --method
    encoder,hybrid compare.

    [bold]Examples[/]
    stedit evaluate photos
    stedit evaluate photos -a smile,glasses -s 0.5,1 -o report.html
    stedit evaluate test.zip --labels test.jsonl.gz -a all --reference-edits
    stedit evaluate --ground-truth edits.jsonl.gz --ground-truth edits.zip --json
    """
    from stedit.hub.find import find_bundle
    from stedit.imaging.files import MAX_PIXELS
    from stedit.imaging.sources import ImageReader
    from stedit.metrics.inputs import EvaluationData
    from stedit.storage.bundle import Bundle

    if not inputs and not data.ground_truth:
        raise UsageError("nothing to measure: give images, or --ground-truth")
    if measured.reference_edits and not (measured.attr and inputs):
        raise UsageError("--reference-edits needs images, and the attributes to take over: name some with --attr")
    if metrics.lpips_heads and not metrics.lpips:
        raise UsageError("--lpips-heads is given without the network that they read: name it with --lpips")
    photo = photo_options(faces)
    bundle = Bundle.load(find_bundle(model.model))
    settings = measured.settings(bundle, batch_size=model.batch_size, examples=page.examples if page.output else 0)
    if page.output and _exists(page.output, overwrite=page.overwrite):
        console.note(f"skipped because {page.output} exists (--overwrite replaces it)")
        return NOTHING_TO_DO
    with ImageReader(faces.max_pixels or MAX_PIXELS) as reader:
        read = EvaluationData.find(
            inputs or [],
            reader,
            labels=data.labels,
            ground_truth=data.ground_truth or (),
            limit=data.limit,
            recursive=data.recursive,
        )
        _note_not_found(read, console)
        if not read.images and not read.pairs:
            console.note("nothing to do")
            return NOTHING_TO_DO
        results, facts = _measure(settings, read, reader, photo, metrics.networks(), model, console)
    _emit(results, facts, page.output, console)
    if page.output:
        from stedit.metrics.report import render
        from stedit.storage.atomic import write_file

        text = render(f"{bundle.name}, measured", facts, results, note=page.note)
        write_file(page.output, text.encode("utf-8", "surrogateescape"))
        console.note(f"written: {page.output}")
    return FAILED if results.failed else DONE


def _measure(
    settings: Settings,
    data: EvaluationData,
    reader: ImageReader,
    photo: PhotoOptions,
    networks: MeasuringNetworks,
    model: ModelOptions,
    console: Console,
) -> tuple[Results, dict[str, str]]:
    """Evaluate, in sight of a person who is watching."""
    with console.bar(len(data.images) + len(data.pairs), "Measuring") as bar:
        from stedit.metrics import distortion
        from stedit.metrics.run import run

        def loaded(engine: Engine) -> None:
            console.verbose_note(f"{engine.bundle.name} on {engine.device}, {engine.precision}")
            if not distortion.has_structural_similarity():
                console.note("SSIM and MS-SSIM are left out: pip install 'stedit[metrics]' adds them")
            bar.begin()

        return run(
            model.model,
            data,
            settings,
            reader=reader,
            photo=photo,
            networks=networks,
            device=model.device,
            precision=model.precision,
            loaded=loaded,
            advance=bar.advance,
            failed=lambda name, error: console.error(error, name),
            left_out=lambda _name, error: console.note(f"left out: {error}"),
        )


def _note_not_found(data: EvaluationData, console: Console) -> None:
    for name, error in data.found.unreadable:
        console.error(error, name)
    for folder in data.found.empty:
        console.note(f"{folder} holds no images to work on (--recursive looks into its folders)")


def _attributes(names: Sequence[str], bundle: Bundle) -> tuple[str, ...]:
    """CelebA names of `smile,glasses`, or of all. Raises AttributeNameError."""
    from stedit.editing.attributes import resolve_attribute

    known = [attribute.name for attribute in bundle.attributes]
    listed = [name for part in names for name in part.split(",") if name.strip()]
    if _ALL in listed:
        return tuple(known)
    return tuple(dict.fromkeys(resolve_attribute(name, known)[0] for name in listed))


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing: leave it out, or give a name")
    return names


def _directions(text: str) -> tuple[str, ...]:
    """Raises UsageError for a name that is not a direction's."""
    from stedit.editing.directions import parse_direction

    return tuple(dict.fromkeys(str(parse_direction(name)) for name in _names(text, "--direction")))


def _strengths(text: str) -> tuple[float, ...]:
    from stedit.batch.notation import parse_strengths

    strengths = tuple(dict.fromkeys(parse_strengths(text)))
    if min(strengths) <= 0:
        raise UsageError(f"--strength {text} holds a number that is not above 0: edits are measured both ways anyway")
    return strengths


def _exists(output: Path, *, overwrite: bool) -> bool:
    """Whether the page is there already and must stay. Raises UsageError or OutputError if it cannot be written."""
    if output.suffix.lower() not in {".html", ".htm"}:
        raise UsageError(f"-o {output} has an ending that this command does not write: name a .html file")
    if not output.parent.is_dir():
        raise OutputError(f"cannot write {output}: its folder does not exist, so create it first")
    return output.exists() and not overwrite


def _emit(results: Results, facts: dict[str, str], output: Path | None, console: Console) -> None:
    """Print the results: tables for a person, one JSON object for a program."""
    from stedit.cli.tables import format_table
    from stedit.metrics.tables import tables_of

    values = {"report": str(output) if output else None, "run": facts, **results.to_json()}
    console.emit(values, "\n".join(map(format_table, tables_of(results))), styled=True)
