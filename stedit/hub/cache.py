"""Models in the Hub's cache: which commits are there, under which names, and how they go."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from stedit.errors import HubError, describe_cause
from stedit.hub.client import cache_folder, quiet_library
from stedit.hub.model_id import HubModelId
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import CONFIG_NAME, MAX_CONFIG_BYTES

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class CachedModel:
    """A commit of a model in the Hub's cache, whole or in part."""

    repository: str
    commit: str
    """40 hex digits."""
    path: Path
    """The folder of the commit."""
    refs: tuple[str, ...] = ()
    """The branches and tags that named this commit when they were last pulled."""

    @property
    def name(self) -> str:
        """The shortest that `--model` takes: OWNER/NAME if it is main, else with a branch, a tag, or the commit."""
        if "main" in self.refs:
            return self.repository
        return f"{self.repository}@{self.refs[0] if self.refs else self.commit[:12]}"


def find_cached(model: HubModelId) -> CachedModel | None:
    """The commit in the cache that `model` named when it was last pulled."""
    for cached in _cached_commits(model.repository):
        if model.branch in cached.refs or model.revision == cached.commit:
            return cached
    if model.revision and _SHORT_COMMIT.fullmatch(model.revision):
        matching = [one for one in _cached_commits(model.repository) if one.commit.startswith(model.revision)]
        return matching[0] if len(matching) == 1 else None
    return None


def cached_models() -> list[CachedModel]:
    """Every commit of every stedit model in the cache, by name; some may be there in part."""
    repositories = sorted(folder.name.split("--") for folder in cache_folder().glob("models--*--*"))
    names = ["/".join(parts[1:]) for parts in repositories if len(parts) == 3]
    return [cached for name in names for cached in _cached_commits(name) if _is_model(cached)]


def remove(model: HubModelId) -> int:
    """Delete a model, or one revision of it, from the cache; gives the bytes freed. Raises HubError."""
    if model.revision:
        cached = find_cached(model)
        removed = [cached] if cached else []
    else:
        removed = _cached_commits(model.repository)
    if not removed:
        raise HubError(f"{model} is not on this machine: choose one of those that are", action="list")
    if not any(_is_model(one) for one in removed):
        raise HubError(f"{model} is not a stedit model: remove it with `hf cache rm model/{model.repository}`")
    before = folder_size(repository_folder(model.repository))
    try:
        delete_revisions(model.repository, [one.commit for one in removed])
    except OSError as error:
        raise HubError(
            f"cannot remove {model} ({describe_cause(error)}): check the permissions of {cache_folder()}"
        ) from error
    return before - folder_size(repository_folder(model.repository))


def delete_revisions(repository: str, commits: list[str]) -> None:
    """Delete commits from the cache, what only they use, and, with the last of them, all traces of the repository."""
    from huggingface_hub import scan_cache_dir

    folder = repository_folder(repository)
    with quiet_library():
        scan_cache_dir(cache_folder()).delete_revisions(*commits).execute()
    if not _cached_commits(repository):
        shutil.rmtree(folder, ignore_errors=True)  # what the library could not read, or an interrupted download left
        shutil.rmtree(cache_folder() / ".locks" / folder.name, ignore_errors=True)
        licence_notice_file(repository).unlink(missing_ok=True)


def _cached_commits(repository: str) -> list[CachedModel]:
    folder = repository_folder(repository)
    refs: dict[str, list[str]] = {}
    for ref in sorted((folder / "refs").rglob("*")):
        if ref.is_file() and ref.stat().st_size <= len("0" * 40):
            refs.setdefault(ref.read_text("ascii", errors="replace"), []).append(
                ref.relative_to(folder / "refs").as_posix()
            )
    commits = sorted(path for path in (folder / "snapshots").glob("*") if COMMIT.fullmatch(path.name))
    return [CachedModel(repository, path.name, path, tuple(refs.get(path.name, ()))) for path in commits]


def _is_model(cached: CachedModel) -> bool:
    """Whether it is one of ours, even if only its `config.json` is there."""
    try:
        with (cached.path / CONFIG_NAME).open("rb") as file:
            Bundle.parse(file.read(MAX_CONFIG_BYTES + 1))
    except (OSError, ValueError):
        return False
    return True


def licence_notice_file(repository: str) -> Path:
    """The file that holds the licence of a model that the user was notified of, outside the cache."""
    from huggingface_hub import cached_assets_path

    return cached_assets_path("stedit", "licences") / f"{repository.replace('/', '--')}.txt"


def repository_folder(repository: str) -> Path:
    """Where the cache keeps a model: its blobs, snapshots and refs."""
    return cache_folder() / f"models--{repository.replace('/', '--')}"


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder, each once."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
