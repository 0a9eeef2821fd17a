"""Models of the Hub as a whole: what the Hub has under a name, a pull of what is new of it, and a push."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from stedit._version import __version__
from stedit.errors import BundleError, HubError, OutputError, UsageError
from stedit.hub.cache import (
    COMMIT,
    delete_revisions,
    find_cached,
    licence_notice_file,
    repository_folder,
)
from stedit.hub.client import hub_api, is_offline, quiet_library, translated_errors
from stedit.hub.download import (
    MAX_SMALL_BYTES,
    HubFile,
    blob_path,
    fetch_part,
    fetch_small,
    link,
    listed_file,
    make_parent,
    matches_sha256,
)
from stedit.hub.listing import ask_for_model
from stedit.hub.model_id import HubModelId
from stedit.storage.atomic import write_file
from stedit.storage.bundle import CARD_NAME, Bundle
from stedit.storage.bundle_config import CONFIG_NAME, MAX_CONFIG_BYTES, MAX_PART_BYTES

_NON_COMMERCIAL = re.compile(r"\bnc\b|\bnon-?\s?commercial", re.IGNORECASE)

_log = logging.getLogger("stedit.hub")


@dataclass(frozen=True)
class RemoteModel:
    """A model on the Hub at a commit, with its `config.json`, checked. Nothing else has been fetched."""

    model: HubModelId
    commit: str
    bundle: Bundle
    """Without a path; the sizes of its parts are those that the Hub lists, the numbers of parameters are 0."""
    config: bytes
    files: Mapping[str, HubFile] = field(repr=False)
    """All files that a pull fetches, by name."""


def find_or_pull(model: HubModelId) -> Path:
    """The folder of a model: as it was last pulled, or else pulled now. Raises HubError, BundleError."""
    cached = find_cached(model)
    if cached is None:
        return pull(model).path
    try:
        bundle = Bundle.load(cached.path)
    except BundleError:  # another program may have fetched a part of it only
        return pull(HubModelId(model.repository, cached.commit)).path
    _notify_licence(model.repository, bundle.license)
    return cached.path


def fetch_info(model: HubModelId) -> RemoteModel:
    """Ask the Hub for a model and check its `config.json`. Raises HubError."""
    with translated_errors(model):
        info = ask_for_model(model)
        commit = str(info.sha)
        if not COMMIT.fullmatch(commit):
            raise ValueError("the Hub names no commit")
        listed = {item.rfilename: item for item in info.siblings or ()}
        if CONFIG_NAME not in listed:
            raise HubError(f"{model} is not a stedit model (it holds no {CONFIG_NAME}): choose another")
        config_file = listed_file(listed[CONFIG_NAME], MAX_CONFIG_BYTES)
        config = fetch_small(model, commit, config_file)
        bundle = Bundle.parse(config)
        files = {CONFIG_NAME: config_file}
        for part in bundle.parts.values():
            if part.file not in listed:
                raise ValueError(f"{part.file} is missing")
            files[part.file] = listed_file(listed[part.file], MAX_PART_BYTES)
            large = listed[part.file].lfs
            if large and large.sha256 != part.sha256:
                raise ValueError(f"{part.file} is not the file that {CONFIG_NAME} lists")
        if CARD_NAME in listed:
            files[CARD_NAME] = listed_file(listed[CARD_NAME], MAX_SMALL_BYTES)
        parts = {name: replace(part, size=files[part.file].size) for name, part in bundle.parts.items()}
        return RemoteModel(model, commit, replace(bundle, parts=parts), config, files)


def pull(model: HubModelId) -> Bundle:
    """Fetch a model, or what is new of it, into the cache; gives it from there, at a commit.

    A download that was interrupted goes on where it stopped, and files that are damaged are fetched again. Raises
    HubError if the Hub cannot be reached or has no such model, if the model is refused, or the cache cannot be written.
    """
    remote = fetch_info(model)
    folder = repository_folder(model.repository) / "snapshots" / remote.commit
    parts = {part.file: part.sha256 for part in remote.bundle.parts.values()}
    checksums = parts | {CONFIG_NAME: hashlib.sha256(remote.config).hexdigest()}
    missing = [
        file for file in remote.files.values() if not matches_sha256(folder / file.name, checksums.get(file.name))
    ]
    _notify_licence(model.repository, remote.bundle.license)
    if missing:
        size = sum(file.size for file in missing)
        _log.warning("fetching %s at %s from the Hub (%.1f MB)", model.repository, remote.commit[:12], size / 1e6)
    with translated_errors(model):
        for file in missing:
            if file.name in parts:
                fetch_part(model, remote.commit, file, parts[file.name])
            else:
                known = remote.config if file.name == CONFIG_NAME else fetch_small(model, remote.commit, file)
                write_file(make_parent(blob_path(model, file)), known)
            link(model, remote.commit, file)
        try:
            bundle = Bundle.load(folder)
        except BundleError:
            delete_revisions(model.repository, [remote.commit])
            raise
        if model.revision != remote.commit:
            ref = repository_folder(model.repository) / "refs" / model.branch
            write_file(make_parent(ref), remote.commit.encode())
    return bundle


def push(folder: Path, model: HubModelId, *, private: bool = False, message: str | None = None) -> str:
    """Share the model in `folder` as `model`, making its repository if there is none; gives the commit.

    All files go up in one commit: it is there whole or not at all. Only what belongs to the model is sent.

    Raises:
        BundleError: the folder holds no model, or a damaged one.
        HubError: the Hub cannot be reached, or does not let this token write there.
        UsageError: `model` has a revision, or is to be private and is public already, or its card is too long.
    """
    if model.revision:
        raise UsageError(f"a push goes to the branch main: leave @{model.revision} out")
    bundle = Bundle.load(folder)
    bundle.verify()
    names = [CONFIG_NAME, *dict.fromkeys(part.file for part in bundle.parts.values())]
    if (folder / CARD_NAME).is_file():
        names.append(CARD_NAME)
        if (folder / CARD_NAME).stat().st_size > MAX_SMALL_BYTES:
            raise UsageError(f"{folder / CARD_NAME} is larger than {MAX_SMALL_BYTES // 2**20} MB: shorten it")
    with translated_errors(model, writing=True), quiet_library():
        from huggingface_hub import CommitOperationAdd, get_token

        if is_offline():
            raise HubError(f"cannot share {model} while HF_HUB_OFFLINE is set: unset it and try again")
        if not get_token():
            raise HubError(
                f"sharing {model} needs a token that may write: log in with `hf auth login`, or set HF_TOKEN"
            )
        api = hub_api()
        api.create_repo(model.repository, private=private or None, exist_ok=True)
        if private and not api.model_info(model.repository).private:
            raise UsageError(
                f"{model} is public already: make it private on the Hub first, or push it without asking for that"
            )
        commit = api.create_commit(
            model.repository,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names],
            commit_message=message or f"Upload {bundle.name} with stedit {__version__}",
        )
    return commit.oid


def is_non_commercial(licence: str) -> bool:
    """Whether the name of a licence says that it forbids commercial use, as "cc-by-nc-4.0" does."""
    return bool(_NON_COMMERCIAL.search(licence.replace("_", "-")))


def one_line(text: str) -> str:
    """A stranger's text, on one line, of at most 100 letters."""
    text = " ".join(text.split())
    return text if len(text) <= 100 else text[:97] + "..."


def _notify_licence(repository: str, licence: str) -> None:
    """Log once, before a model is first used on this machine, what its licence is."""
    if not _log.isEnabledFor(logging.WARNING):
        return
    try:
        notice = licence_notice_file(repository)
        if notice.is_file() and notice.read_text("utf-8") == licence:
            return
        write_file(notice, licence.encode())
    except (OSError, ValueError, OutputError):
        pass  # where nothing can be remembered, it is logged every time
    only = ": non-commercial use only" if is_non_commercial(licence) else ""
    _log.warning("%s is under the licence %s%s", repository, one_line(licence), only)
