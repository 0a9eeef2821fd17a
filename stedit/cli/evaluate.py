"""`stedit evaluate`: how good a model's reconstructions and edits are, as tables, JSON and a page with pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stedit._version import __version__
from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED, NOTHING_TO_DO
from stedit.cli.options import ModelOptions, Overwrite, Recursive, complete_attribute
from stedit.errors import ImageError, OutputError, UsageError

if TYPE_CHECKING:
    from stedit.engine import Engine
    from stedit.imaging.sources import ImageReader, ImageRef
    from stedit.metrics.ground_truth import Pair
    from stedit.metrics.results import Results, Settings
    from stedit.storage.bundle import Bundle

_ALL = "all"

_ATTR = "Attributes to edit, both ways: smile,glasses,... or all."
_LABELS = "What is known of the pictures: .jsonl, .csv, or CelebA's list, gzipped or not."
_PAIRS = "True edits: records (.jsonl, .jsonl.gz) and the folders or reader of their pictures. Repeat it for each."
_FID = "Measure the FID too, with Inception's weights, torch-fidelity's file."
_LPIPS = "Measure LPIPS too, with AlexNet's or VGG16's weights, torchvision's file."
_LPIPS_HEADS = "The heads of LPIPS for that network; without them all its channels count the same."


@flatten_options
def evaluate(
    model: ModelOptions,
    console: Console,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURES", show_default=False, help="Pictures, folders of pictures, or zip reader."),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", "-l", metavar="FILE", help=_LABELS)] = None,
    attr: Annotated[
        list[str] | None,
        typer.Option("--attr", "-a", metavar="NAMES", help=_ATTR, autocompletion=complete_attribute),
    ] = None,
    strength: Annotated[str, typer.Option("--strength", "-s", metavar="NUMBER[,NUMBER...]", help="Of edits.")] = "1",
    direction: Annotated[str, typer.Option("--direction", metavar="NAMES", help="Of edits by label.")] = "auto",
    method: Annotated[str, typer.Option("--method", metavar="NAMES", help="Of inversion.")] = "encoder",
    reference_edits: Annotated[
        bool, typer.Option("--reference-edits", help="Edit by reference too, each picture after another one.")
    ] = False,
    pairs: Annotated[list[Path] | None, typer.Option("--pairs", metavar="FILE|FOLDER", help=_PAIRS)] = None,
    fid: Annotated[Path | None, typer.Option("--fid", metavar="FILE", help=_FID)] = None,
    lpips: Annotated[Path | None, typer.Option("--lpips", metavar="FILE", help=_LPIPS)] = None,
    lpips_heads: Annotated[Path | None, typer.Option("--lpips-heads", metavar="FILE", help=_LPIPS_HEADS)] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="COUNT", min=1, help="Only the first pictures.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="What references are drawn by.")] = 0,
    recursive: Recursive = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.html", help="Write a page with pictures.")
    ] = None,
    overwrite: Overwrite = False,
    samples: Annotated[
        int, typer.Option("--samples", metavar="COUNT", min=1, help="Rows of pictures in the page.")
    ] = 6,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="A line for the page, such as a date.")] = "",
) -> int:
    """Measure reconstructions and edits.

    Edits are seen by the model's judge, a network that looks at the pictures
    alone. Lists such as --method encoder,hybrid compare.

    [bold]Examples[/]
    stedit evaluate photos
    stedit evaluate photos -a smile,glasses -s 0.5,1 -o report.html
    stedit evaluate test.zip --labels test.jsonl.gz -a all --reference-edits
    stedit evaluate --pairs pairs.jsonl.gz --pairs pairs.zip --json
    """
    from stedit.hub.find import find_bundle
    from stedit.imaging.sources import ImageReader
    from stedit.metrics.ground_truth import read_pairs
    from stedit.metrics.results import Settings
    from stedit.storage.bundle import Bundle
    from stedit.storage.labels import LabelTable

    if not inputs and not pairs:
        raise UsageError("nothing to measure: give pictures, or --pairs")
    if reference_edits and not (attr and inputs):
        raise UsageError("--reference-edits needs pictures, and the attributes to take over: name some with --attr")
    if lpips_heads and not lpips:
        raise UsageError("--lpips-heads is given without the network that they read: name it with --lpips")
    bundle = Bundle.load(find_bundle(model.model))
    settings = Settings(
        methods=_names(method, "--method"),
        attributes=_attributes(attr or [], bundle),
        directions=_names(direction, "--direction"),
        strengths=_numbers(strength),
        references=reference_edits,
        seed=seed,
        batch_size=model.batch_size,
        samples=samples if output else 0,
    )
    if output and _exists(output, overwrite=overwrite):
        console.note(f"skipped because {output} exists (--overwrite replaces it)")
        return NOTHING_TO_DO
    with ImageReader() as reader:
        known = LabelTable.read(labels).rows if labels else {}
        entries = _entries(inputs or [], reader, console, recursive=recursive)
        others = entries[limit:] if limit else []
        entries = entries[:limit]
        records = [path for path in pairs or () if path.name.lower().endswith((".jsonl", ".jsonl.gz"))]
        places = [str(path) for path in pairs or () if path not in records]
        true_pairs = read_pairs(records, _entries(places, reader, console, recursive=recursive))
        if not entries and not true_pairs:
            console.note("nothing to do")
            return NOTHING_TO_DO
        engine, results = _measure(
            settings,
            model,
            console,
            reader,
            entries,
            true_pairs,
            _Weights(fid, lpips, lpips_heads),
            labels=known,
            others=others,
        )
    facts = _facts(engine, settings, model, results, inputs or [], labels, pairs or [])
    _tell(results, facts, output, console)
    if output:
        from stedit.metrics.report import render
        from stedit.storage.atomic import write_file

        page = render(f"{bundle.name}, measured", facts, results, note=note)
        write_file(output, page.encode("utf-8", "surrogateescape"))
        console.note(f"written: {output}")
    return FAILED if results.failed else DONE


@dataclass(frozen=True)
class _Weights:
    """Files of networks that measure, which come with no model."""

    fid: Path | None
    lpips: Path | None
    lpips_heads: Path | None


def _measure(
    settings: Settings,
    model: ModelOptions,
    console: Console,
    reader: ImageReader,
    entries: Sequence[ImageRef],
    pairs: Sequence[Pair],
    weights: _Weights,
    **known: Any,
) -> tuple[Engine, Results]:
    with console.bar(len(entries) + len(pairs), "Measuring") as progress:
        from stedit.checkpoints.perceptual import load_lpips
        from stedit.engine import Engine
        from stedit.metrics import distortion
        from stedit.metrics.evaluation import evaluate
        from stedit.metrics.frechet import Inception

        engine = Engine.from_pretrained(model.model, device=model.device, precision=model.precision)
        console.verbose_note(f"{engine.bundle.name} on {engine.device}, {model.precision}")
        inception = Inception(weights.fid, engine.device) if weights.fid else None
        lpips = None
        if weights.lpips:
            network = load_lpips(str(weights.lpips), str(weights.lpips_heads or "")).to(engine.device)
            lpips = partial(distortion.lpips, network)
        if not distortion.has_structural_similarity():
            console.note("SSIM and MS-SSIM are left out: pip install 'stedit[metrics]' adds them")
        if progress:
            progress.begin()

        def fail(name: str, error: ImageError) -> None:
            console.error(error, name)

        results = evaluate(
            engine,
            entries,
            settings,
            reader=reader,
            pairs=pairs,
            inception=inception,
            lpips=lpips,
            advance=progress.advance if progress else lambda: None,
            failed=fail,
            **known,
        )
    return engine, results


def _entries(inputs: Sequence[str], reader: ImageReader, console: Console, *, recursive: bool) -> list[ImageRef]:
    """The pictures that inputs stand for, in their order; archives hold pictures like folders."""
    from stedit.batch.inputs import collect_inputs
    from stedit.imaging.sources import ImageRef

    entries: list[ImageRef] = []
    for text in inputs:
        if text.lower().endswith(".zip"):
            entries += reader.find(Path(text))
            continue
        found = collect_inputs([text], recursive=recursive, latents=False)
        for name, error in found.unreadable:
            console.error(error, name)
        for folder in found.empty:
            console.note(f"{folder} holds no pictures to work on (--recursive looks into its folders)")
        entries += [ImageRef(source.path) for source in found.sources if source.path]
    return list(dict.fromkeys(entries))


def _attributes(names: Sequence[str], bundle: Bundle) -> tuple[str, ...]:
    """CelebA names of `smile,glasses`, or of all. Raises AttributeNameError."""
    from stedit.editing.attributes import resolve_attribute

    known = [attribute.name for attribute in bundle.attributes]
    wanted = [name for part in names for name in part.split(",") if name.strip()]
    if _ALL in wanted:
        return tuple(known)
    return tuple(dict.fromkeys(resolve_attribute(name, known)[0] for name in wanted))


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UsageError(f"{option} names nothing: leave it out, or give a name")
    return names


def _numbers(text: str) -> tuple[float, ...]:
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


def _facts(
    engine: Engine,
    settings: Settings,
    model: ModelOptions,
    results: Results,
    inputs: Sequence[str],
    labels: Path | None,
    pairs: Sequence[Path],
) -> dict[str, str]:
    """What was run, in words."""
    facts = {
        "model": engine.bundle.name,
        "fingerprint": engine.bundle.fingerprint,
        "pictures": f"{results.pictures}" + (f", {results.failed} failed" if results.failed else ""),
        "from": ", ".join(inputs),
        "labels": f"{labels} ({results.labelled} pictures)" if labels else "",
        "pairs": ", ".join(map(str, pairs)),
        "methods": ", ".join(settings.methods),
        "attributes edited": str(len(settings.attributes)) if settings.attributes else "",
        "directions": ", ".join(settings.directions) if settings.attributes or pairs else "",
        "strengths": ", ".join(f"{value:g}" for value in settings.strengths) if settings.attributes or pairs else "",
        "seed": str(settings.seed) if settings.references else "",
        "device": f"{engine.device}, {model.precision}, {model.batch_size} at a time",
        "peak memory": f"{results.peak_memory / 1e6:.0f} MB" if results.peak_memory else "",
        "versions": f"stedit {__version__}, PyTorch {version('torch')}",
    }
    return {name: value for name, value in facts.items() if value}


def _tell(results: Results, facts: dict[str, str], output: Path | None, console: Console) -> None:
    """Print the results: tables for a person, one JSON object for a program."""
    from stedit.metrics.tables import tables_of

    values = {"report": str(output) if output else None, "run": facts, **results.to_json()}
    console.emit(values, "\n".join(map(_drawn, tables_of(results))))


def _drawn(table: Any) -> str:
    """A table in text, coloured for a terminal."""
    from io import StringIO

    from rich import box
    from rich.console import Console as RichConsole
    from rich.table import Table as RichTable

    terminal = sys.stdout.isatty()
    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, show_footer=bool(table.means))
    for i, name in enumerate(table.columns):
        footer = table.means[i].text if table.means else ""
        drawn.add_column(name, footer, justify="left" if i == 0 else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(cell.text for cell in row))
    text = StringIO()
    RichConsole(file=text, force_terminal=terminal, width=None if terminal else 160, markup=False).print(drawn)
    return text.getvalue().rstrip("\n")
