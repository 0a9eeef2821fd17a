"""`stedit weights`: the models that there are, what they hold, and whether their files are sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stedit.cli.console import DONE, FAILED, NOTHING_TO_DO, Console
from stedit.cli.options import DEFAULT_MODEL, TalkOptions, complete_model, spread
from stedit.errors import BundleError

if TYPE_CHECKING:
    from stedit.bundle import Bundle

Model = Annotated[
    str,
    typer.Argument(
        metavar="[NAME|FOLDER]",
        envvar="STEDIT_MODEL",
        help="An embedded model, or a folder that holds one.",
        autocompletion=complete_model,
    ),
]


@spread
def list_models(talk: TalkOptions) -> int:
    """List the embedded models: name, size, domain and licence.

    [bold]Examples[/]
    stedit weights list
    stedit weights list --json
    """
    from stedit.bundle import Bundle, embedded_bundles

    console = Console(talk)
    failed = False
    bundles = embedded_bundles()
    if not bundles:
        console.note("no model is embedded: give a model folder with --model")
        return NOTHING_TO_DO
    for path in bundles.values():
        try:
            bundle = Bundle.load(path)
        except BundleError as error:
            console.error(error)
            failed = True
            continue
        if console.json:
            console.data(_facts(bundle))
        else:
            size = sum(part.size for part in bundle.parts.values())
            console.result(f"{bundle.name}  {size / 1e6:.1f} MB  {bundle.domain}  {bundle.license}")
            console.detail(f"  {path}")
    return FAILED if failed else DONE


@spread
def info(talk: TalkOptions, model: Model = DEFAULT_MODEL) -> int:
    """Tell what a model is and what it holds.

    [bold]Examples[/]
    stedit weights info
    stedit weights info synthface-128
    stedit weights info ./my-model --json
    """
    from stedit.bundle import Bundle, find_bundle

    console = Console(talk)
    facts = _facts(Bundle.load(find_bundle(model)))
    if console.json:
        console.data(facts)
    else:
        console.result(_lines(facts))
    return DONE


@spread
def verify(talk: TalkOptions, model: Model = DEFAULT_MODEL) -> int:
    """Compare every file of a model with its checksum.

    [bold]Examples[/]
    stedit weights verify
    stedit weights verify ./my-model
    """
    from stedit.bundle import Bundle, find_bundle

    console = Console(talk)
    bundle = Bundle.load(find_bundle(model))
    bundle.verify()
    if console.json:
        console.data({"name": bundle.name, "path": str(bundle.path), "sound": True})
    else:
        console.result(f"{bundle.name}: all {len(bundle.parts)} files match their checksums")
    return DONE


def _facts(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "description": bundle.description,
        "domain": bundle.domain,
        "license": bundle.license,
        "alignment": bundle.alignment,
        "path": str(bundle.path),
        "fingerprint": bundle.fingerprint,
        "parts": {
            name: {"file": part.file, "bytes": part.size, "parameters": part.parameters, "sha256": part.sha256}
            for name, part in bundle.parts.items()
        },
        "attributes": [attribute.name for attribute in bundle.attributes],
        "training": dict(bundle.training),
    }


def _lines(facts: dict[str, Any]) -> str:
    """The same for a person."""
    lines = [
        f"{facts['name']}: {facts['description'] or facts['domain']}",
        *(f"{fact:12} {facts[fact]}" for fact in ("domain", "license", "alignment", "fingerprint", "path")),
    ]
    for name, part in facts["parts"].items():
        lines.append(f"{name:12} {part['parameters'] / 1e6:.2f} M parameters, {part['bytes'] / 1e6:.1f} MB")
    lines.append(f"{'attributes':12} {', '.join(facts['attributes']) or 'none'}")
    for key, value in facts["training"].items():
        told = f"{key}: {value}"  # in a stranger's words, which may hold codes that rewrite a terminal
        lines.append(f"{'training':12} " + "".join(letter if letter.isprintable() else "?" for letter in told))
    return "\n".join(lines)
