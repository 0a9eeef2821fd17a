"""`stedit weights list`: the models on this machine."""

from __future__ import annotations

from stedit.cli.command import flatten_options
from stedit.cli.console import Console
from stedit.cli.exit_codes import DONE, FAILED, NOTHING_TO_DO
from stedit.cli.weights_facts import facts_of, yunet_facts
from stedit.errors import BundleError, HubError


@flatten_options
def list_models(console: Console) -> int:
    """List the models on this machine: name, size, licence and parts.

    These are the embedded ones and those pulled from the Hub; --model takes
    their names, and --detector that of yunet.

    [bold]Examples[/]
    stedit weights list
    stedit weights list --json
    """
    from stedit import hub
    from stedit.hub import yunet
    from stedit.storage.bundle import Bundle
    from stedit.storage.embedded import embedded_bundles

    failed = False
    found = [(name, path, "") for name, path in embedded_bundles().items()]
    found += [(one.name, one.path, one.commit) for one in hub.cached_models()]
    detector = yunet.find_yunet()
    if not found and not detector:
        console.note("there is no model: pull one with `stedit weights pull OWNER/NAME`")
        return NOTHING_TO_DO
    width = max(len(name) for name in [yunet.YUNET, *(name for name, _, _ in found)])
    for name, path, commit in found:
        try:
            bundle = Bundle.load(path)
        except BundleError as error:
            advice = f"{name} is here only in part: run `stedit weights pull {name}`, or remove it"
            console.error(HubError(advice) if commit else error)
            failed = True
            continue
        size = sum(part.size for part in bundle.parts.values())
        line = f"{name:{width}}  {size / 1e6:6.1f} MB  {hub.one_line(bundle.license)}  {' '.join(bundle.parts)}"
        console.emit(facts_of(bundle, name, commit), line)
        console.verbose_note(f"  {hub.one_line(bundle.domain)}\n  {path}")
    if detector:
        line = f"{yunet.YUNET:{width}}  {yunet.FILE.size / 1e6:6.1f} MB  {yunet.LICENCE}  detector"
        console.emit(yunet_facts(detector), line)
        console.verbose_note(f"  {detector}")
    return FAILED if failed else DONE
