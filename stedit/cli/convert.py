"""`stedit weights convert` and `assemble`: checkpoints of other projects, and parts of models, become one model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stedit.cli.command import spread
from stedit.cli.console import DONE, Console
from stedit.cli.options import TalkOptions, complete_model
from stedit.errors import InputError, OutputError, UsageError
from stedit.models.config import NAME

if TYPE_CHECKING:
    from stedit.checkpoints.merge import ModelParts
    from stedit.storage.bundle import Bundle

DIRECTIONS_SUFFIX = ".safetensors"

_about_model = partial(typer.Option, rich_help_panel="Model")
_about_files = partial(typer.Option, rich_help_panel="Files")

_OUTPUT = "The folder of the model; parts are added to a model that is there. NAME.safetensors for directions."
_ATTRIBUTE = "What a reference-edit checkpoint was trained to take over, such as Bangs; the file does not tell."

Files = Annotated[
    list[Path], typer.Argument(metavar="FILES", show_default=False, help="Checkpoints: .pt, .pth, .pkl, .safetensors.")
]
Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODELS",
        show_default=False,
        help="Folders of models, whole or in parts, or embedded models.",
        autocompletion=complete_model,
    ),
]


@dataclass(frozen=True)
class ResultOptions:
    """Where the model goes, and what it says of itself."""

    output: Annotated[Path, _about_files("--output", "-o", metavar="FOLDER|FILE", show_default=False, help=_OUTPUT)]
    overwrite: Annotated[bool, _about_files("--overwrite", help="Replace parts, or a file, that exist already.")] = (
        False
    )
    name: Annotated[
        str | None, _about_model("--name", show_default="that of the folder", help="What the model is called.")
    ] = None
    license: Annotated[
        str | None, _about_model("--license", show_default="of the published files", help="Of your own weights.")
    ] = None
    domain: Annotated[
        str | None, _about_model("--domain", show_default="as sizes tell", help="What it draws: faces, cars.")
    ] = None
    alignment: Annotated[
        Literal["ffhq", "none"] | None,
        _about_model("--alignment", show_default="as sizes tell", help="How pictures are cropped before the encoder."),
    ] = None


@spread
def convert(
    result: ResultOptions,
    talk: TalkOptions,
    files: Files,
    precision: Annotated[
        Literal["float32", "float16", "bfloat16"],
        _about_model("--precision", help="Numbers on disk; float16 halves the size and rounds the weights."),
    ] = "float32",
    attribute: Annotated[str, _about_model("--attribute", metavar="NAME", show_default=False, help=_ATTRIBUTE)] = "",
) -> int:
    """Make a model of checkpoints from other projects. Nothing in them is executed.

    Style Transformer, LCNet, pSp, e4e, rosinality's and NVIDIA's StyleGAN2 and ArcFace are recognised by their tensors;
    InterFaceGAN's and GANSpace's directions become a file of directions.

    [bold]Examples[/]
    stedit weights convert style_transformer_ffhq.pt -o my-face
    stedit weights convert inversion.pt classifier.pt editor.pt -o my-face
    stedit weights convert model_ir_se50.pth -o my-face              [dim]# added to the model[/]
    stedit weights convert stylegan2-ffhq.pkl e4e_ffhq_encode.pt -o e4e
    stedit weights convert age.pt smile.pt -o directions.safetensors
    """
    from stedit.checkpoints.interchange import directions_of
    from stedit.checkpoints.merge import from_checkpoint
    from stedit.checkpoints.reader import load_file

    console = Console(talk)
    if attribute and not NAME.fullmatch(attribute):
        raise UsageError(f"--attribute {attribute!r} is no name: give letters, digits, - and _ only")
    target = _target(result)
    sources: list[ModelParts] = []
    found: dict[str, Any] = {}
    for path in files:
        file = load_file(path)
        try:
            some = directions_of(file.content, path.stem)
        except ValueError as error:
            raise InputError(f"{path} holds directions, but {error}") from error
        if some is None:
            sources.append(from_checkpoint(file, precision=precision, attribute=attribute))
            console.detail(f"{path}: {', '.join(sources[-1].parts)}")
        elif bad := next((name for name in some if not NAME.fullmatch(name)), None):
            raise InputError(f"{path} holds directions, but one cannot be called {bad!r}: rename the file")
        elif twice := sorted(found.keys() & some.keys()):
            raise UsageError(f"two files hold a direction {twice[0]!r}: rename one of them")
        else:
            found |= some
    if found and sources:
        raise UsageError("directions go to a file of their own: convert them apart, with -o NAME.safetensors")
    if found:
        return _write_directions(found, result, console)
    return _write(sources, target, result, console)


@spread
def assemble(result: ResultOptions, talk: TalkOptions, models: Models) -> int:
    """Join the parts of several models, such as a classifier that was trained for a generator, into one model.

    Files are taken as they are, so codes of the first model stay valid.

    [bold]Examples[/]
    stedit weights assemble my-generator my-encoder my-classifier -o my-model
    stedit weights assemble synthface-128 my-editor -o edited --overwrite   [dim]# mine in the place of its editor[/]
    """
    from stedit.checkpoints.merge import from_bundle
    from stedit.hub.find import find_bundle
    from stedit.storage.bundle import Bundle

    target = _target(result)
    sources = [from_bundle(Bundle.load(find_bundle(model))) for model in models]
    return _write(sources, target, result, Console(talk))


def _target(result: ResultOptions) -> Bundle | None:
    """The model that is there already. Raises before anything is computed if nothing can be written there."""
    from stedit.storage.bundle import Bundle

    if result.name is not None and not NAME.fullmatch(result.name):
        raise UsageError(f"--name {result.name!r} is not allowed: give letters, digits, ., _ and - only, at most 100")
    path = result.output
    if not path.resolve().parent.is_dir():
        raise OutputError(f"cannot write {path}: its folder does not exist, so create it first")
    if path.is_file() and path.suffix != DIRECTIONS_SUFFIX:
        raise OutputError(f"cannot write {path}: a model is a folder, and this is a file, so choose another name")
    if path.suffix == DIRECTIONS_SUFFIX or not path.is_dir() or not any(path.iterdir()):
        return None
    return Bundle.load(path)


def _write(sources: Sequence[ModelParts], target: Bundle | None, result: ResultOptions, console: Console) -> int:
    """Join and save; what is at the target stays as it is if anything fails."""
    from stedit.checkpoints.merge import from_bundle, merge, model_card, printable, table
    from stedit.storage.bundle import CARD_NAME, Bundle

    if result.output.suffix == DIRECTIONS_SUFFIX:
        raise UsageError(f"a model is a folder, and {result.output} names a file: leave out the suffix")
    there = [from_bundle(target)] if target else []
    joined = merge([*there, *sources], replacing=result.overwrite)
    name = result.name or (target.name if target else re.sub(r"[^A-Za-z0-9._-]+", "-", result.output.resolve().name))
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a model: give one with --name")
    training = dict(target.training) if target else {}
    training |= {"parts": dict(joined.origin), "probe": dict(joined.probes)}
    card = model_card(joined, name)
    if target and (target.path / CARD_NAME).is_file():
        old = (target.path / CARD_NAME).read_text(encoding="utf-8", errors="replace")
        added = [row for one in sources for row in table(one)]
        card = "\n".join([old.rstrip(), "", "## Added", "", *dict.fromkeys(added), ""])
    bundle = Bundle.save(
        result.output,
        name=name,
        domain=result.domain if result.domain is not None else joined.domain,
        license=result.license if result.license is not None else joined.license,
        description=target.description if target else "",
        alignment=result.alignment or joined.alignment,
        attributes=joined.attributes,
        training=training,
        parts=joined.parts,
        generator_fingerprint=joined.fingerprint,
        readme=card,
        overwrite=target is not None,
    )
    for note in joined.notes:
        console.note(printable(note))
    if "generator" not in bundle.parts:
        console.note(f"{result.output} has no generator yet: convert one into the same folder to use it")
    console.note(f"licence: {bundle.license}")
    if console.json:
        console.data(
            {
                "path": str(result.output),
                "name": bundle.name,
                "fingerprint": bundle.fingerprint,
                "license": bundle.license,
                "parts": list(bundle.parts),
                "probe": training["probe"],
                "notes": list(joined.notes),
            }
        )
    else:
        console.result(str(result.output))
    return DONE


def _write_directions(found: dict[str, Any], result: ResultOptions, console: Console) -> int:
    from stedit.storage.directions import Directions

    path = result.output
    if path.suffix != DIRECTIONS_SUFFIX:
        raise UsageError(f"directions go to a file: write -o {path.name}{DIRECTIONS_SUFFIX}")
    if path.exists() and not result.overwrite:
        raise OutputError(f"cannot write {path}: it exists already, so choose another name or give --overwrite")
    Directions(found).save(path)
    if console.json:
        shapes = {name: list(vector.shape) for name, vector in found.items()}
        console.data({"path": str(path), "directions": shapes})
    else:
        console.result(str(path))
    console.note(f"{len(found)} directions")
    return DONE
