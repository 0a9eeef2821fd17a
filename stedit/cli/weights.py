"""`stedit weights`: the models that there are, what they hold, whether they are sound; fetch, share and remove them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stedit.cli.command import spread
from stedit.cli.console import DONE, FAILED, NOTHING_TO_DO, Console
from stedit.cli.options import DEFAULT_MODEL, TalkOptions, complete_model
from stedit.errors import BundleError, HubError, UsageError

if TYPE_CHECKING:
    from stedit.hub import HubModelId
    from stedit.storage.bundle import Bundle

Model = Annotated[
    str,
    typer.Argument(
        metavar="[NAME|FOLDER|OWNER/NAME[@REV]]",
        envvar="STEDIT_MODEL",
        help="An embedded model, a folder that holds one, or one on the Hub.",
        autocompletion=complete_model,
    ),
]
OnHub = Annotated[
    str,
    typer.Argument(
        metavar="OWNER/NAME[@REV]",
        show_default=False,
        help="A model on the Hugging Face Hub.",
        autocompletion=lambda incomplete: [name for name in complete_model(incomplete) if "/" in name],
    ),
]


@spread
def list_models(talk: TalkOptions) -> int:
    """List the models on this machine: name, size, licence and parts.

    These are the embedded ones and those pulled from the Hub; --model takes
    their names.

    [bold]Examples[/]
    stedit weights list
    stedit weights list --json
    """
    from stedit import hub
    from stedit.hub.find import embedded_bundles
    from stedit.storage.bundle import Bundle

    console = Console(talk)
    failed = False
    found = [(name, path, "") for name, path in embedded_bundles().items()]
    found += [(one.name, one.path, one.commit) for one in hub.cached_models()]
    if not found:
        console.note("there is no model: pull one with `stedit weights pull OWNER/NAME`")
        return NOTHING_TO_DO
    width = max(len(name) for name, _, _ in found)
    for name, path, commit in found:
        try:
            bundle = Bundle.load(path)
        except BundleError as error:
            advice = f"{name} is here only in part: run `stedit weights pull {name}`, or remove it"
            console.error(HubError(advice) if commit else error)
            failed = True
            continue
        if console.json:
            console.data(_facts(bundle, name, commit))
        else:
            size = sum(part.size for part in bundle.parts.values())
            parts = " ".join(bundle.parts)
            console.result(f"{name:{width}}  {size / 1e6:6.1f} MB  {hub.one_line(bundle.license)}  {parts}")
            console.detail(f"  {hub.one_line(bundle.domain)}\n  {path}")
    return FAILED if failed else DONE


@spread
def info(talk: TalkOptions, model: Model = DEFAULT_MODEL) -> int:
    """Tell what a model is and what it holds.

    Of a model on the Hub that is not here yet, nothing but its config.json
    is fetched.

    [bold]Examples[/]
    stedit weights info
    stedit weights info synthface-128
    stedit weights info ./my-model --json
    stedit weights info jane/my-face
    """
    from stedit import hub
    from stedit.storage.bundle import Bundle

    console = Console(talk)
    name = _on_hub(model)
    cached = hub.find_cached(name) if name else None
    if name and not cached:
        remote = hub.fetch_info(name)
        facts = _facts(remote.bundle, model, remote.commit)
    else:
        facts = _facts(Bundle.load(_here(model)), model, cached.commit if cached else "")
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
    stedit weights verify jane/my-face
    """
    from stedit.storage.bundle import Bundle

    console = Console(talk)
    bundle = Bundle.load(_here(model))
    bundle.verify()
    if console.json:
        console.data({"name": bundle.name, "path": str(bundle.path), "sound": True})
    else:
        console.result(f"{bundle.name}: all {len(bundle.parts)} files match their checksums")
    return DONE


@spread
def pull(talk: TalkOptions, model: OnHub) -> int:
    """Fetch a model from the Hugging Face Hub, or what is new of it.

    It is kept in the Hub's cache and works offline from then on. An
    interrupted download goes on where it stopped. @REV pins a branch, a tag
    or a commit; the line that is printed pins the commit.

    [bold]Examples[/]
    stedit weights pull jane/my-face
    stedit weights pull jane/my-face@v1.0
    stedit edit -a smile --model jane/my-face face.png  [dim]# pulls if need be[/]
    """
    from stedit import hub

    console = Console(talk)
    name = _require_on_hub(model)
    bundle = hub.pull(name)
    commit = bundle.path.name
    if console.json:
        console.data(_facts(bundle, model, commit))
    else:
        console.result(f"{name.repository}@{commit}")
        console.detail(f"  {bundle.path}")
    return DONE


@spread
def push(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", show_default=False, help="A folder that holds a model.")],
    model: Annotated[str, typer.Argument(metavar="OWNER/NAME", show_default=False, help="What to call it on the Hub.")],
    talk: TalkOptions,
    private: Annotated[bool, typer.Option("--private", help="Let only the owner see it.")] = False,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", show_default=False, help="What the commit says.")
    ] = None,
) -> int:
    """Share a model on the Hugging Face Hub.

    The repository is made if there is none. The files of the model and its
    README.md are sent, nothing else of the folder, in one commit.

    [bold]Examples[/]
    hf auth login  [dim]# once[/]
    stedit weights push ./my-face jane/my-face --private
    stedit weights push ./my-face jane/my-face --message "Longer training"
    """
    from stedit import hub

    console = Console(talk)
    name = _require_on_hub(model)
    commit = hub.push(folder, name, private=private, message=message)
    if console.json:
        console.data({"model": str(name), "commit": commit})
    else:
        console.result(f"{name}@{commit}")
    return DONE


@spread
def remove(talk: TalkOptions, model: OnHub) -> int:
    """Delete a model from the Hub's cache on this machine.

    Without @REV, all of its revisions go. On the Hub, nothing changes.

    [bold]Examples[/]
    stedit weights remove jane/my-face
    stedit weights remove jane/my-face@v1.0
    """
    from stedit import hub
    from stedit.hub.find import embedded_bundles

    console = Console(talk)
    if model in embedded_bundles():
        raise UsageError(f"{model} comes with stedit and cannot be removed alone")
    if Path(model).is_dir():
        raise UsageError(f"{model} is a folder of yours: delete it as any other")
    freed = hub.remove(_require_on_hub(model))
    if console.json:
        console.data({"model": model, "freed": freed})
    else:
        console.result(f"{model}: removed, {freed / 1e6:.1f} MB freed")
    return DONE


def _on_hub(model: str) -> HubModelId | None:
    """Read the name of a model on the Hub; an embedded model and whatever lies under this path go before."""
    from stedit.hub import HubModelId
    from stedit.hub.find import embedded_bundles

    return None if model in embedded_bundles() or Path(model).exists() else HubModelId.parse(model)


def _require_on_hub(model: str) -> HubModelId:
    from stedit.hub import HubModelId

    if name := HubModelId.parse(model):
        return name
    raise UsageError(f"{model!r} is no name on the Hub: give OWNER/NAME, or OWNER/NAME@REV for a branch, tag or commit")


def _here(model: str) -> Path:
    """Find a model without fetching anything."""
    from stedit import hub
    from stedit.hub.find import find_bundle

    name = _on_hub(model)
    if not name:
        return find_bundle(model)
    if cached := hub.find_cached(name):
        return cached.path
    raise HubError(f"{model} is not on this machine: run `stedit weights pull {model}` first")


def _facts(bundle: Bundle, model: str, commit: str) -> dict[str, Any]:
    """What `--json` tells; `model` is what --model takes, `commit` empty for what is not from the Hub."""
    return {
        "model": model,
        "name": bundle.name,
        "description": bundle.description,
        "domain": bundle.domain,
        "license": bundle.license,
        "alignment": bundle.alignment,
        "path": str(bundle.path) if bundle.path.name else None,
        "commit": commit or None,
        "fingerprint": bundle.fingerprint,
        "bytes": sum(part.size for part in bundle.parts.values()),
        "parts": {
            name: {"file": part.file, "bytes": part.size, "parameters": part.parameters or None, "sha256": part.sha256}
            for name, part in bundle.parts.items()
        },
        "attributes": [attribute.name for attribute in bundle.attributes],
        "training": dict(bundle.training),
    }


def _lines(facts: dict[str, Any]) -> str:
    """The same for a person."""
    from stedit.hub import is_non_commercial

    licence = facts["license"] + (" (non-commercial)" if is_non_commercial(facts["license"]) else "")
    where = facts["path"] or "not here yet: run `stedit weights pull " + facts["model"] + "`"
    lines = [
        f"{facts['name']}: {facts['description'] or facts['domain']}",
        f"{'domain':12} {facts['domain']}",
        f"{'license':12} {licence}",
        *(f"{fact:12} {facts[fact]}" for fact in ("alignment", "fingerprint", "commit") if facts[fact]),
        f"{'path':12} {where}",
    ]
    for name, part in facts["parts"].items():
        size = f"{part['bytes'] / 1e6:.1f} MB"
        parameters = f"{part['parameters'] / 1e6:.2f} M parameters, " if part["parameters"] else ""
        lines.append(f"{name:12} {parameters}{size}")
    lines.append(f"{'attributes':12} {', '.join(facts['attributes']) or 'none'}")
    for key, value in facts["training"].items():
        if isinstance(value, dict):  # what --json tells in full
            value = value.get("command", f"{len(value)} facts")
        told = f"{key}: {value}"  # in a stranger's words, which may hold codes that rewrite a terminal
        lines.append(f"{'training':12} " + "".join(letter if letter.isprintable() else "?" for letter in told))
    return "\n".join(lines)
