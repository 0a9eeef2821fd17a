"""Models on the Hugging Face Hub: fetch them, keep them, share them.

A model on the Hub is a bundle (see `stedit.bundle`) in a repository, named OWNER/NAME or, to pin it to a branch, tag or
commit, OWNER/NAME@REVISION. It is kept in the cache that all programs on huggingface_hub share (HF_HOME, HF_HUB_CACHE),
asked for with their token (HF_TOKEN, or `hf auth login`), and never when they must stay offline (HF_HUB_OFFLINE).

What is fetched is `config.json`, which is checked first, then the files that it lists and the model card. `refs` in
the cache name a commit only once all of it is there, so an interrupted update leaves the model as it was.

huggingface_hub is imported when it is needed, since it takes longer than most commands that do not.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self, cast

from stedit import __version__
from stedit.atomic import write_file
from stedit.bundle import CARD_NAME, CONFIG_NAME, MAX_CONFIG_BYTES, MAX_PART_BYTES, Bundle
from stedit.errors import BundleError, HubError, OutputError, SteditError, UsageError, cause

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL = re.compile(
    rf"({_OWNER}/[A-Za-z0-9_](?:[A-Za-z0-9._-]{{0,94}}[A-Za-z0-9_])?)(?:@([A-Za-z0-9][A-Za-z0-9_./-]{{0,199}}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_ETAG = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")  # git's name of a file, or the SHA-256 of a large one
_NON_COMMERCIAL = re.compile(r"\bnc\b|\bnon-?\s?commercial", re.IGNORECASE)

_MAX_CARD_BYTES = 2**20
_BLOCK = 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubModel:
    """The name of a model on the Hub."""

    repository: str
    """"OWNER/NAME"."""
    revision: str | None = None
    """A branch, a tag, or a commit of 7 to 40 hex digits; None is the branch "main"."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read OWNER/NAME or OWNER/NAME@REVISION; None if `text` cannot be such a name."""
        match = _MODEL.fullmatch(text)
        if not match or "--" in match[1] or ".." in text or match[1].endswith(".git"):  # the Hub allows none of these
            return None
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    @property
    def branch(self) -> str:
        """The revision, spelt out."""
        return self.revision or "main"


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


@dataclass(frozen=True)
class Offer:
    """What the Hub has under a name: a commit, and its `config.json`, checked. Nothing else has been fetched."""

    model: HubModel
    commit: str
    bundle: Bundle
    """Without a path; the sizes of its parts are those that the Hub tells, the numbers of parameters are 0."""
    config: bytes
    files: Mapping[str, _HubFile] = field(repr=False)
    """All files that a pull fetches, by name."""

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class _HubFile:
    name: str
    size: int
    etag: str
    """Under which the cache keeps it: git's name of a small file, the SHA-256 of a large one."""


def find(model: HubModel) -> Path:
    """The folder of a model: as it was last pulled, or else pulled now. Raises HubError, BundleError."""
    cached = find_cached(model)
    if cached is None:
        return pull(model).path
    try:
        bundle = Bundle.load(cached.path)
    except BundleError:  # another program may have fetched a part of it only
        return pull(HubModel(model.repository, cached.commit)).path
    _tell_licence(model.repository, bundle.license)
    return cached.path


def find_cached(model: HubModel) -> CachedModel | None:
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
    repositories = sorted(folder.name.split("--") for folder in _cache().glob("models--*--*"))
    names = ["/".join(parts[1:]) for parts in repositories if len(parts) == 3]
    return [cached for name in names for cached in _cached_commits(name) if _is_model(cached)]


def inspect(model: HubModel) -> Offer:
    """Ask the Hub for a model and check its `config.json`. Raises HubError."""
    with _in_words(model):
        from huggingface_hub import constants

        info = _api().model_info(
            model.repository, revision=model.revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        commit = str(info.sha)
        if not _COMMIT.fullmatch(commit):
            raise ValueError("the Hub names no commit")
        listed = {item.rfilename: item for item in info.siblings or ()}
        if CONFIG_NAME not in listed:
            raise HubError(f"{model} is not a stedit model (it holds no {CONFIG_NAME}): choose another")
        config_file = _hub_file(listed[CONFIG_NAME], MAX_CONFIG_BYTES)
        config = _fetch_small(model, commit, config_file)
        bundle = Bundle.parse(config)
        files = {CONFIG_NAME: config_file}
        for part in bundle.parts.values():
            if part.file not in listed:
                raise ValueError(f"{part.file} is missing")
            files[part.file] = _hub_file(listed[part.file], MAX_PART_BYTES)
            large = listed[part.file].lfs
            if large and large.sha256 != part.sha256:
                raise ValueError(f"{part.file} is not the file that {CONFIG_NAME} lists")
        if CARD_NAME in listed:
            files[CARD_NAME] = _hub_file(listed[CARD_NAME], _MAX_CARD_BYTES)
        parts = {name: replace(part, size=files[part.file].size) for name, part in bundle.parts.items()}
        return Offer(model, commit, replace(bundle, parts=parts), config, files)


def pull(model: HubModel) -> Bundle:
    """Fetch a model, or what is new of it, into the cache; gives it from there, at a commit.

    A download that was interrupted goes on where it stopped, and files that are damaged are fetched again. Raises
    HubError if the Hub cannot be reached or has no such model, if the model is refused, or the cache cannot be written.
    """
    offer = inspect(model)
    folder = _repository_folder(model.repository) / "snapshots" / offer.commit
    parts = {part.file: part.sha256 for part in offer.bundle.parts.values()}
    checksums = parts | {CONFIG_NAME: hashlib.sha256(offer.config).hexdigest()}
    missing = [file for file in offer.files.values() if not _is_whole(folder / file.name, checksums.get(file.name))]
    _tell_licence(model.repository, offer.bundle.license)
    if missing:
        size = sum(file.size for file in missing)
        _log.warning("fetching %s at %s from the Hub (%.1f MB)", model.repository, offer.commit[:12], size / 1e6)
    with _in_words(model):
        for file in missing:
            if file.name in parts:
                _fetch_part(model, offer.commit, file, parts[file.name])
            else:
                known = offer.config if file.name == CONFIG_NAME else _fetch_small(model, offer.commit, file)
                write_file(_make_parent(_blob(model, file)), known)
            _link(model, offer.commit, file)
        try:
            bundle = Bundle.load(folder)
        except BundleError:
            _forget(model.repository, [offer.commit])
            raise
        if model.revision != offer.commit:
            ref = _repository_folder(model.repository) / "refs" / model.branch
            write_file(_make_parent(ref), offer.commit.encode())
    return bundle


def push(folder: Path, model: HubModel, *, private: bool = False, message: str | None = None) -> str:
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
        if (folder / CARD_NAME).stat().st_size > _MAX_CARD_BYTES:
            raise UsageError(f"{folder / CARD_NAME} is larger than {_MAX_CARD_BYTES // 2**20} MB: shorten it")
    with _in_words(model, writing=True), _quiet_library():
        from huggingface_hub import CommitOperationAdd, get_token

        if _is_offline():
            raise HubError(f"cannot share {model} while HF_HUB_OFFLINE is set: unset it and try again")
        if not get_token():
            raise HubError(
                f"sharing {model} needs a token that may write: log in with `hf auth login`, or set HF_TOKEN"
            )
        api = _api()
        api.create_repo(model.repository, private=private or None, exist_ok=True)
        if private and not api.model_info(model.repository).private:
            raise UsageError(f"{model} is public already: make it private on the Hub first, or leave --private out")
        commit = api.create_commit(
            model.repository,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names],
            commit_message=message or f"Upload {bundle.name} with stedit {__version__}",
        )
    return commit.oid


def remove(model: HubModel) -> int:
    """Delete a model, or one revision of it, from the cache; gives the bytes freed. Raises HubError."""
    if model.revision:
        cached = find_cached(model)
        doomed = [cached] if cached else []
    else:
        doomed = _cached_commits(model.repository)
    if not doomed:
        raise HubError(f"{model} is not on this machine: `stedit weights list` shows the models that are")
    if not any(_is_model(one) for one in doomed):
        raise HubError(f"{model} is not a stedit model: remove it with `hf cache rm model/{model.repository}`")
    before = _size(_repository_folder(model.repository))
    try:
        _forget(model.repository, [one.commit for one in doomed])
    except OSError as error:
        raise HubError(f"cannot remove {model} ({cause(error)}): check the permissions of {_cache()}") from error
    return before - _size(_repository_folder(model.repository))


def is_non_commercial(licence: str) -> bool:
    """Whether the name of a licence says that it forbids commercial use, as "cc-by-nc-4.0" does."""
    return bool(_NON_COMMERCIAL.search(licence.replace("_", "-")))


def _cached_commits(repository: str) -> list[CachedModel]:
    folder = _repository_folder(repository)
    refs: dict[str, list[str]] = {}
    for ref in sorted((folder / "refs").rglob("*")):
        if ref.is_file() and ref.stat().st_size <= len("0" * 40):
            refs.setdefault(ref.read_text("ascii", errors="replace"), []).append(
                ref.relative_to(folder / "refs").as_posix()
            )
    commits = sorted(path for path in (folder / "snapshots").glob("*") if _COMMIT.fullmatch(path.name))
    return [CachedModel(repository, path.name, path, tuple(refs.get(path.name, ()))) for path in commits]


def _is_model(cached: CachedModel) -> bool:
    """Whether it is one of ours, even if only its `config.json` is there."""
    try:
        with (cached.path / CONFIG_NAME).open("rb") as file:
            Bundle.parse(file.read(MAX_CONFIG_BYTES + 1))
    except (OSError, ValueError):
        return False
    return True


def _forget(repository: str, commits: list[str]) -> None:
    """Delete commits from the cache, what only they use, and, with the last of them, all traces of the repository."""
    from huggingface_hub import scan_cache_dir

    folder = _repository_folder(repository)
    with _quiet_library():
        scan_cache_dir(_cache()).delete_revisions(*commits).execute()
    if not _cached_commits(repository):
        shutil.rmtree(folder, ignore_errors=True)  # what the library could not read, or an interrupted download left
        shutil.rmtree(_cache() / ".locks" / folder.name, ignore_errors=True)
        _licence_told(repository).unlink(missing_ok=True)


def _hub_file(item: Any, limit: int) -> _HubFile:
    """From the Hub's listing. Raises ValueError if it is too large or the listing is unfit."""
    etag = str(item.lfs.sha256 if item.lfs else item.blob_id)
    if not isinstance(item.size, int) or not _ETAG.fullmatch(etag):
        raise ValueError(f"the Hub does not tell what {item.rfilename} is")
    if item.size > limit:
        raise ValueError(f"{item.rfilename} is larger than {limit // 2**20} MB")
    return _HubFile(item.rfilename, item.size, etag)


def _fetch_small(model: HubModel, commit: str, file: _HubFile) -> bytes:
    data = io.BytesIO()
    _download(model, commit, file, data)
    return data.getvalue()


def _fetch_part(model: HubModel, commit: str, file: _HubFile, sha256: str) -> None:
    """Put a large file among the cache's blobs, going on with what an interrupted download left.

    huggingface_hub deletes what an interruption left, so its own download of a large file would begin anew each time.
    """
    from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

    blob = _make_parent(_blob(model, file))
    lock = _make_parent(_cache() / ".locks" / _repository_folder(model.repository).name / f"{file.etag}.lock")
    with WeakFileLock(lock):  # the library's own, so that it does not fetch the same file meanwhile
        if _is_whole(blob, sha256):
            return
        if blob.exists():
            blob.resolve().unlink()
        partial = blob.with_name(f"{blob.name}.incomplete")
        if partial.exists() and partial.stat().st_size > file.size:
            partial.unlink()
        with partial.open("ab") as opened:
            _download(model, commit, file, opened)
        if not _is_whole(partial, sha256):
            partial.unlink()
            raise HubError(
                f"{file.name} of {model} arrived damaged (its checksum differs): run `stedit weights pull {model}`"
            )
        partial.replace(blob)


def _download(model: HubModel, commit: str, file: _HubFile, to: BinaryIO) -> None:
    """Append to `to` what it lacks of a file."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    with _quiet_library(bars=file.size > _MAX_CARD_BYTES):
        http_get(
            hf_hub_url(model.repository, file.name, revision=commit),
            cast(BinaryIO, _Capped(to, file.size)),
            resume_size=to.tell(),
            headers=build_hf_headers(library_name="stedit", library_version=__version__),
            expected_size=file.size,
            displayed_filename=file.name,
        )


class _Capped:
    """A file that takes no more bytes than were announced, whatever a server sends."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def write(self, data: bytes) -> int:
        if self._file.tell() + len(data) > self._size:
            raise ValueError("the Hub sends more than it announced")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _link(model: HubModel, commit: str, file: _HubFile) -> None:
    """Let the cache know a blob under its name in a commit."""
    from huggingface_hub import hf_hub_download

    (_repository_folder(model.repository) / "snapshots" / commit / file.name).unlink(missing_ok=True)
    with _quiet_library():
        hf_hub_download(
            model.repository, file.name, revision=commit, library_name="stedit", library_version=__version__
        )


def _is_whole(path: Path, sha256: str | None) -> bool:
    """Whether a file is there and, if it has one, matches its checksum."""
    if not path.is_file() or sha256 is None:
        return path.is_file()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest() == sha256


def _tell_licence(repository: str, licence: str) -> None:
    """Say once, before a model is first used on this machine, what its licence is."""
    if not _log.isEnabledFor(logging.WARNING):
        return
    try:
        told = _licence_told(repository)
        if told.is_file() and told.read_text("utf-8") == licence:
            return
        write_file(told, licence.encode())
    except (OSError, ValueError, OutputError):
        pass  # where nothing can be remembered, it is said every time
    only = ": non-commercial use only" if is_non_commercial(licence) else ""
    _log.warning("%s is under the licence %s%s", repository, one_line(licence), only)


def _licence_told(repository: str) -> Path:
    from huggingface_hub import cached_assets_path

    return cached_assets_path("stedit", "licences") / f"{repository.replace('/', '--')}.txt"


def one_line(text: str) -> str:
    """A stranger's text, on one line, of at most 100 letters."""
    text = " ".join(text.split())
    return text if len(text) <= 100 else text[:97] + "..."


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(library_name="stedit", library_version=__version__)


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _repository_folder(repository: str) -> Path:
    return _cache() / f"models--{repository.replace('/', '--')}"


def _blob(model: HubModel, file: _HubFile) -> Path:
    return _repository_folder(model.repository) / "blobs" / file.etag


def _make_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


@contextmanager
def _quiet_library(*, bars: bool = True) -> Iterator[None]:
    """Keep the library from telling of its retries, and of progress where nobody watches or wants to hear of it."""
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    from huggingface_hub.utils import logging as library_log

    with ExitStack() as stack:
        stack.callback(library_log.set_verbosity, library_log.get_verbosity())
        library_log.set_verbosity(logging.ERROR)
        watched = bars and sys.stderr.isatty() and _log.isEnabledFor(logging.WARNING)
        if not watched and constants.HF_HUB_DISABLE_PROGRESS_BARS is None:  # which goes before whatever is asked here
            stack.enter_context(disable_progress_bars())
        yield


@contextmanager
def _in_words(model: HubModel, *, writing: bool = False) -> Iterator[None]:
    """Turn what goes wrong with the Hub into a HubError that says what to do."""
    from httpx2 import HTTPError

    try:
        yield
    except SteditError:
        raise
    except (OSError, ValueError, RuntimeError, HTTPError) as error:
        raise HubError(_sentence(error, model, writing)) from error


def _sentence(error: Exception, model: HubModel, writing: bool) -> str:
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{model.repository}"
    lost = (
        f"cannot reach {constants.ENDPOINT} for {model} ({cause(error)}): check the connection and try again, to go on "
        "where it stopped; what was pulled before needs no network"
    )
    full = f"cannot keep {model} in {_cache()} ({cause(error)}): free some space, or set HF_HOME to another folder"
    sentences = {  # the first that fits is the one
        errors.OfflineModeIsEnabled: (
            f"cannot fetch {model} while HF_HUB_OFFLINE is set: unset it and run `stedit weights pull {model}`, once"
        ),
        errors.GatedRepoError: (
            f"{model} is gated: ask for access at {page}, then log in with `hf auth login` or set HF_TOKEN"
        ),
        errors.RepositoryNotFoundError: (
            f"there is neither a folder {model.repository} here nor a model of this name at {constants.ENDPOINT}, or "
            "it is private: check the name, or log in with `hf auth login`"
        ),
        errors.RevisionNotFoundError: (
            f"{model.repository} has no revision {model.branch!r}: see {page}/commits/main for those that it has"
        ),
        errors.HfHubHTTPError: _refusal(error, model, writing),
        errors.LocalEntryNotFoundError: lost,
        ValueError: f"{model} is no model that this stedit can use: {cause(error)}; choose another, or tell its owner",
        RuntimeError: (  # so the library calls it if one of several uploads fails
            f"the upload of {model} broke off ({cause(_root(error))}): push again; what has arrived is not sent again"
        ),
        OSError: full if getattr(error, "errno", None) else lost,
    }
    return next((text for kind, text in sentences.items() if isinstance(error, kind)), lost)


def _refusal(error: Exception, model: HubModel, writing: bool) -> str:
    """What an answer of the Hub without a name of its own means, and what to do."""
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    if status == 401:
        text = f"the Hub does not know your token: log in with `hf auth login`, and ask for {model} again"
    elif status == 403 and writing:
        text = f"your token may not write to {model}: log in with one that may, or choose another name"
    elif status == 403:
        text = f"the Hub does not let you have {model}: ask its owner for access"
    elif status == 429:
        text = f"the Hub refuses {model} after too many requests: wait some minutes, or log in"
    elif status >= 500:
        text = f"the Hub is in trouble and cannot serve {model}: try again later"
    else:
        text = f"the Hub refuses {model}: check the name and the revision"
    told = getattr(error, "server_message", None)
    return f"{text} ({status}{', ' + cause(ValueError(told)) if told else ''})"


def _root(error: Exception) -> Exception:
    return error.__cause__ if isinstance(error.__cause__, Exception) else error
