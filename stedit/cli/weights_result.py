"""Where a model that is converted or assembled goes, and what is printed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE

if TYPE_CHECKING:
    from stedit.checkpoints.conversion import ModelFacts
    from stedit.checkpoints.merge import ModelParts
    from stedit.storage.bundle import Bundle

_about_model = partial(typer.Option, rich_help_panel="Model")
_about_files = partial(typer.Option, rich_help_panel="Files")

_DERIVED = "The model from which the generator was fine-tuned: its codes, parts and directions then fit, too."
_OUTPUT = "The folder of the model; parts are added to a model that is there. NAME.safetensors for directions."


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
    derived_from: Annotated[
        str | None, _about_model("--derived-from", metavar="MODEL", show_default="none", help=_DERIVED)
    ] = None

    def facts(self) -> ModelFacts:
        """Raises UsageError for a name that is not allowed, and BundleError for a parent that cannot be read."""
        from stedit.checkpoints.conversion import ModelFacts
        from stedit.hub.find import find_bundle
        from stedit.storage.bundle import Bundle

        parent = Bundle.load(find_bundle(self.derived_from)) if self.derived_from else None
        return ModelFacts(self.name, self.license, self.domain, self.alignment, parent)


def save_model(sources: Sequence[ModelParts], target: Bundle | None, result: ResultOptions, console: Console) -> int:
    """Write the model, and print where it is; returns the exit code."""
    from stedit.checkpoints import conversion
    from stedit.checkpoints.merge import printable

    made = conversion.save_model(result.output, sources, result.facts(), target=target, replacing=result.overwrite)
    bundle = made.bundle
    for note in made.notes:
        console.note(printable(note))
    if "generator" not in bundle.parts:
        console.note(f"{result.output} has no generator yet: convert one into the same folder to use it")
    console.note(f"licence: {bundle.license}")
    values = {
        "path": str(result.output),
        "name": bundle.name,
        "fingerprint": bundle.fingerprint,
        "derived_from": bundle.derived_from or None,
        "license": bundle.license,
        "parts": list(bundle.parts),
        "probe": made.probe,
        "notes": list(made.notes),
    }
    console.emit(values, str(result.output))
    return DONE
