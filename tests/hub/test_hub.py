"""Models on the Hub, through huggingface_hub and over HTTP: fetched whole or not at all, resumed, pinned, refused."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import READER, WRITER, HubServer, sha256

import stedit
from stedit import hub as hub_module
from stedit.cli.options import complete_model
from stedit.errors import BundleError, HubError, UsageError
from stedit.hub import HubModelId, cached_models, find_cached, find_or_pull, is_non_commercial, pull, push, remove
from stedit.hub.find import find_bundle
from stedit.hub.listing import MAX_LISTING_BYTES
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL

NAME = "jane/tiny-32"
MODEL = HubModelId(NAME)
PARTS = [f"{part}.safetensors" for part in ("generator", "encoder", "classifier", "editor", "judge")]
PIECE = 4096  # what the library writes at a time, else 10 MB, more than the small model holds
LICENCE = f"{NAME} is under the licence MIT"


@pytest.fixture
def published(hub: HubServer, tiny_bundle: Path) -> str:
    """The small model on the Hub, beside files that are no part of it; its commit."""
    return hub.add(NAME, tiny_bundle, optimizer__bin=b"0" * 100, spare__safetensors=b"1" * 100)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged since the last call."""
    caplog.set_level(logging.WARNING, logger="stedit")

    def call() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "stedit.hub"]
        caplog.clear()
        return messages

    return call


def cache() -> Path:
    return Path(os.environ["HF_HOME"], "hub")


def config(folder: Path, **changes: object) -> bytes:
    """The config.json of a bundle with some fields changed."""
    return json.dumps(json.loads((folder / "config.json").read_text()) | changes).encode()


def kept() -> list[str]:
    """The names of all files in the cache's repositories; links are not followed."""
    return sorted(path.name for path in cache().glob("models--*/**/*") if path.is_file())


@pytest.mark.parametrize(
    ("text", "repository", "revision"),
    [
        ("jane/my-face", "jane/my-face", None),
        ("jane/my_face.v2@v1.0", "jane/my_face.v2", "v1.0"),
        ("a/b@refs/pr/1", "a/b", "refs/pr/1"),
        ("a/b@" + "0" * 40, "a/b", "0" * 40),
    ],
)
def test_model_id_is_parsed(text: str, repository: str, revision: str | None) -> None:
    model = HubModelId.parse(text)
    assert model == HubModelId(repository, revision)
    assert str(model) == text


@pytest.mark.parametrize(
    "text",
    [
        *("face", "./a/b", "/a/b", "a/b/c", "a//b", "../a", "a/..", "~/a", "-a/b", "a--b/c", "a/b.git", "a/b\n", ""),
        *("a/b@", "a/b@../../x", "a/b@x y", "a/b@-x", "a" * 97 + "/b"),
    ],
)
def test_model_id_malformed_raises(text: str) -> None:
    assert HubModelId.parse(text) is None


def test_pull_fetches_what_the_model_lists_and_nothing_else(hub: HubServer, published: str, tiny_bundle: Path) -> None:
    bundle = pull(MODEL)
    assert sorted(hub.fetched()) == sorted(["config.json", "README.md", *PARTS])
    assert hub.fetched()[0] == "config.json"
    assert bundle.path == cache() / "models--jane--tiny-32" / "snapshots" / published
    for file in tiny_bundle.iterdir():
        assert (bundle.path / file.name).read_bytes() == file.read_bytes()
    assert bundle.fingerprint == Bundle.load(tiny_bundle).fingerprint
    bundle.verify()
    assert not [name for name in kept() if name.endswith(".incomplete")]


def test_token_goes_to_the_hub_and_not_to_its_cdn(
    hub: HubServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[NAME].private = True
    monkeypatch.setenv("HF_TOKEN", READER)
    assert pull(MODEL).path.name == published
    ours = [request for request in hub.requests if NAME in request.path and not request.at_cdn]  # not the library's own
    assert {request.headers.get("authorization") for request in ours} == {f"Bearer {READER}"}
    assert [request.headers.get("authorization") for request in hub.requests if request.at_cdn] == [None] * 5


def test_pulled_model_is_found_without_asking(hub: HubServer, published: str) -> None:
    path = pull(MODEL).path
    hub.requests.clear()
    for name in (NAME, f"{NAME}@main", f"{NAME}@{published}", f"{NAME}@{published[:7]}"):
        assert find_bundle(name) == path
    assert hub.requests == []


def test_model_is_pulled_when_it_is_first_used(published: str, said: Callable[[], list[str]]) -> None:
    assert find_bundle(NAME).name == published
    assert said() == [LICENCE, f"fetching {NAME} at {published[:12]} from the Hub (0.1 MB)"]
    assert find_bundle(NAME).name == published
    assert said() == []


@pytest.mark.usefixtures("published")
def test_engine_takes_a_model_on_the_hub(face_image: np.ndarray, tiny_bundle: Path) -> None:
    engine = stedit.Engine.from_pretrained(NAME, device="cpu")
    there = stedit.Engine.from_pretrained(tiny_bundle, device="cpu")
    np.testing.assert_array_equal(engine.reconstruct(face_image), there.reconstruct(face_image))


def test_pull_fetches_only_what_is_new(hub: HubServer, published: str, tiny_bundle: Path) -> None:
    old = pull(MODEL)
    new = hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, description="Newer."))
    hub.requests.clear()
    assert find_or_pull(MODEL) == old.path  # what was pulled stays until the next pull
    bundle = pull(MODEL)
    assert (bundle.path.name, bundle.description) == (new, "Newer.")
    assert not any(request.at_cdn and request.method == "GET" for request in hub.requests)
    assert find_or_pull(MODEL) == bundle.path
    assert find_or_pull(HubModelId(NAME, published)) == old.path
    hub.requests.clear()
    pull(MODEL)
    assert hub.fetched() == ["config.json"]


def test_pull_of_a_branch_or_tag(hub: HubServer, published: str, tiny_bundle: Path) -> None:
    tagged = hub.add(NAME, tiny_bundle, ref="v1.0", config__json=config(tiny_bundle, description="Tagged."))
    assert pull(HubModelId(NAME, "v1.0")).path.name == tagged
    assert find_cached(MODEL) is None
    assert pull(HubModelId(NAME, published)).path.name == published
    assert find_cached(MODEL) is None  # a commit is not what main is
    assert {one.name for one in cached_models()} == {f"{NAME}@v1.0", f"{NAME}@{published[:12]}"}
    assert (pull(MODEL).path.name, find_or_pull(HubModelId(NAME, "v1.0")).name) == (published, tagged)


@pytest.mark.usefixtures("published")
def test_pull_that_is_refused_leaves_the_older_version(hub: HubServer, tiny_bundle: Path) -> None:
    old = pull(MODEL).path
    hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, description="Newer."), encoder__safetensors=b"wrong")
    with pytest.raises(HubError, match=r"encoder.safetensors is not the file that config.json lists"):
        pull(MODEL)
    assert find_or_pull(MODEL) == old


@pytest.mark.usefixtures("published")
def test_pull_goes_on_after_a_broken_connection(
    hub: HubServer, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", PIECE)
    cut = (tiny_bundle / "generator.safetensors").stat().st_size // 2
    hub.cut["generator.safetensors"] = cut
    pull(MODEL).verify()
    asked = [
        request.headers.get("range") for request in hub.requests if request.path.endswith("/generator.safetensors")
    ]
    assert f"bytes={cut // PIECE * PIECE}-" in asked


@pytest.mark.usefixtures("published")
def test_pull_goes_on_where_a_killed_download_stopped(hub: HubServer, tiny_bundle: Path) -> None:
    data = (tiny_bundle / "encoder.safetensors").read_bytes()
    blobs = cache() / "models--jane--tiny-32" / "blobs"
    hub.stall["encoder.safetensors"] = len(data) // 2
    # a shell has its background jobs, such as these tests may be, ignore Ctrl-C, and what they start inherits that
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from huggingface_hub import constants; constants.DOWNLOAD_CHUNK_SIZE = {PIECE}\n"
        "from stedit.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program, "weights", "pull", NAME]
    environment = os.environ | {"PYTHONPATH": str(Path(stedit.__file__).parent.parent)}
    partial = blobs / f"{sha256(data)}.incomplete"
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert hub.stalled.wait(30)
        while partial.stat().st_size < len(data) // 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, b"")
    assert b"stopped: what is written is whole, and the same command can be given again" in stderr
    assert find_cached(MODEL) is None
    begun = partial.stat().st_size
    assert begun == len(data) // 2 // PIECE * PIECE
    assert partial.read_bytes() == data[:begun]
    hub.stall.clear()
    hub.requests.clear()
    pull(MODEL).verify()
    asked = [r.headers.get("range") for r in hub.requests if r.at_cdn and r.path.endswith("/encoder.safetensors")]
    assert [one for one in asked if one] == [f"bytes={begun}-"]
    assert "generator.safetensors" not in hub.fetched()  # it had arrived
    assert not partial.exists()


@pytest.mark.usefixtures("published")
def test_pull_over_a_garbage_partial_download(tiny_bundle: Path) -> None:
    data = (tiny_bundle / "editor.safetensors").read_bytes()
    partial = cache() / "models--jane--tiny-32" / "blobs" / f"{sha256(data)}.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"?" * 10)
    with pytest.raises(HubError, match=rf"editor.safetensors of {NAME} arrived damaged .*: pull it again"):
        pull(MODEL)
    assert not partial.exists()
    partial.write_bytes(b"?" * (len(data) + 1))
    pull(MODEL).verify()


@pytest.mark.usefixtures("published")
def test_pull_fetches_a_damaged_or_missing_file_again(hub: HubServer) -> None:
    path = pull(MODEL).path
    blob = (path / "encoder.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    (path / "editor.safetensors").unlink()
    hub.requests.clear()
    pull(MODEL).verify()
    assert sorted(hub.fetched()) == ["config.json", "encoder.safetensors"]  # the editor is still among the blobs
    (path / "encoder.safetensors").resolve().unlink()
    assert find_or_pull(MODEL) == path
    Bundle.load(path).verify()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"license": "MIT\x1b[2J"}, "'license' in config.json holds control characters"),
        ({"format": 3}, "it is of the format version 3"),
        ({"name": "../up"}, "'name' in config.json is '../up', which is not allowed"),
        ({"parts": {}}, "it has no parts"),
    ],
)
def test_pull_refuses_a_hostile_config(
    hub: HubServer, tiny_bundle: Path, changes: dict[str, object], reason: str
) -> None:
    hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, **changes))
    with pytest.raises(HubError, match=f"^{NAME} is not a model for this stedit: ") as caught:
        find_bundle(NAME)
    assert reason in str(caught.value)
    assert hub.fetched() == ["config.json"]
    assert kept() == []


@pytest.mark.parametrize("file", ["../generator.safetensors", "/etc/passwd", "a/b.safetensors", "model.pkl", ".."])
def test_pull_refuses_a_config_that_names_files_elsewhere(hub: HubServer, tiny_bundle: Path, file: str) -> None:
    parts = json.loads(config(tiny_bundle))["parts"]
    parts["encoder"]["file"] = file
    hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, parts=parts))
    with pytest.raises(HubError, match=r"'file' in config.json is .*, which is not allowed"):
        pull(MODEL)
    assert (hub.fetched(), kept()) == (["config.json"], [])


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("file", "size", "reason"),
    [
        ("generator.safetensors", 2**31 + 1, "generator.safetensors is larger than 2048 MB"),
        ("config.json", 2**20 + 1, "config.json is larger than 1 MB"),
        ("README.md", 2**20 + 1, "README.md is larger than 1 MB"),
    ],
)
def test_pull_refuses_huge_files_before_they_come(hub: HubServer, file: str, size: int, reason: str) -> None:
    hub.claimed_sizes[file] = size
    with pytest.raises(HubError, match=reason):
        pull(MODEL)
    assert kept() == []
    assert not any(request.at_cdn for request in hub.requests)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("file", ["config.json", "encoder.safetensors"])
def test_pull_refuses_more_bytes_than_announced(hub: HubServer, tiny_bundle: Path, file: str) -> None:
    hub.served[file] = (tiny_bundle / file).read_bytes() + b" " * 10**6
    with pytest.raises(HubError, match="the Hub sends more than it announced"):
        pull(MODEL)
    assert max((path.stat().st_size for path in cache().rglob("*") if path.is_file()), default=0) < 10**6
    assert find_cached(MODEL) is None


@pytest.mark.usefixtures("published")
def test_pull_refuses_bytes_of_another_checksum(hub: HubServer, tiny_bundle: Path) -> None:
    hub.served["encoder.safetensors"] = bytes((tiny_bundle / "encoder.safetensors").stat().st_size)
    with pytest.raises(HubError, match=r"encoder.safetensors of jane/tiny-32 arrived damaged"):
        pull(MODEL)
    assert find_cached(MODEL) is None
    assert not [name for name in kept() if name.endswith(".incomplete")]
    hub.served.clear()
    hub.requests.clear()
    pull(MODEL).verify()
    assert "generator.safetensors" not in hub.fetched()


def test_pull_refuses_a_hostile_tensor_header(hub: HubServer, tiny_bundle: Path) -> None:
    data = (2**40).to_bytes(8, "little") + b"{}"
    parts = json.loads(config(tiny_bundle))["parts"]
    parts["editor"]["sha256"] = sha256(data)
    hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, parts=parts), editor__safetensors=data)
    with pytest.raises(BundleError, match="claims a header of 1099511627776 bytes"):
        pull(MODEL)
    assert kept() == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config__json": None}, "is not a stedit model .it holds no config.json.: choose another"),
        ({"config__json": b'{"model_type": "bert"}'}, "'format' is missing in config.json"),
        ({"config__json": b"\x80\x04"}, "config.json is not JSON"),
        ({"editor__safetensors": None}, "editor.safetensors is missing"),
    ],
)
def test_pull_of_a_repository_that_is_no_model_raises(
    hub: HubServer, tiny_bundle: Path, changes: dict[str, bytes | None], reason: str
) -> None:
    hub.add(NAME, tiny_bundle, **changes)
    with pytest.raises(HubError, match=reason):
        pull(MODEL)
    assert kept() == []


@pytest.mark.usefixtures("published")
def test_pull_of_an_unknown_repository_raises(hub: HubServer) -> None:
    with pytest.raises(HubError, match=f"neither a folder jane/other here nor a model of this name at {hub.url}"):
        find_bundle("jane/other")
    with pytest.raises(HubError, match=f"{NAME} has no revision 'v9': see {hub.url}/{NAME}/commits/main"):
        find_bundle(f"{NAME}@v9")
    hub.repositories[NAME].private = True
    with pytest.raises(HubError, match=r"or it is private: .*hf auth login"):
        find_bundle(NAME)


@pytest.mark.parametrize("token", ["", "hf_stranger"])
def test_pull_of_a_gated_model_says_how_to_get_access(
    hub: HubServer, published: str, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    hub.repositories[NAME].gated = True
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError, match=f"{NAME} is gated: ask for access at {hub.url}/{NAME}, then log in"):
        pull(MODEL)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert pull(MODEL).path.name == published


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "does not know your token: log in"),
        (403, "ask its owner for access"),
        (429, "wait some minutes"),
        (503, "the Hub returned a server error for jane/tiny-32: try again later"),
    ],
)
def test_pull_other_refusals_of_the_hub_raise(hub: HubServer, status: int, advice: str) -> None:
    hub.status = status
    with pytest.raises(HubError, match=rf"{advice}.*\({status}\)$"):
        pull(MODEL)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b'{"a":' * 10**5,
        b'{"id":"a/b","siblings":"x"}',
        b'{"id":"a/b","siblings":[1]}',
    ],
)
def test_pull_of_a_senseless_listing_raises(hub: HubServer, listing: bytes) -> None:
    hub.listing = [listing]
    with pytest.raises(HubError, match="the Hub's answer makes no sense; choose another"):
        pull(MODEL)


@pytest.mark.usefixtures("published")
def test_pull_takes_no_listing_without_end(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        for _ in range(200):
            sent.append(2**20)
            yield b" " * 2**20

    hub.listing = endless()
    with pytest.raises(HubError, match="the Hub's answer is larger than any listing"):
        pull(MODEL)
    assert sum(sent) < 2 * MAX_LISTING_BYTES

    def dripping() -> Iterator[bytes]:
        while not done.wait(0.05):
            yield b" "

    done = threading.Event()
    hub.listing = dripping()
    monkeypatch.setattr("stedit.hub.listing.SECONDS", 0.5)
    with pytest.raises(HubError, match=r"it takes longer than 0 s.*check the connection"):
        pull(MODEL)
    done.set()


@pytest.mark.usefixtures("published")
def test_local_folder_goes_before_the_hub(
    hub: HubServer, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jane").mkdir()
    Path(NAME).symlink_to(tiny_bundle)
    assert find_bundle(NAME) == Path(NAME)
    Path("jane/file").write_text("no folder")
    with pytest.raises(BundleError, match="there is no model 'jane/file'"):
        find_bundle("jane/file")
    assert hub.requests == []


def test_licence_is_printed_once(hub: HubServer, tiny_bundle: Path, said: Callable[[], list[str]]) -> None:
    hub.add(NAME, tiny_bundle, config__json=config(tiny_bundle, license="cc-by-nc-4.0"))
    pull(MODEL)
    told = f"{NAME} is under the licence cc-by-nc-4.0: non-commercial use only"
    assert told in said()
    pull(MODEL)
    find_or_pull(MODEL)
    assert said() == []
    hub.add(NAME, tiny_bundle)
    pull(MODEL)
    assert LICENCE in said()  # it changed


@pytest.mark.parametrize("licence", ["CC BY-NC-SA 4.0", "cc-by-nc-4.0", "NVIDIA-NC", "other_nc", "Non-commercial use"])
def test_licence_non_commercial_is_recognised(licence: str) -> None:
    assert is_non_commercial(licence)


@pytest.mark.parametrize("licence", ["MIT", "apache-2.0", "cc-by-4.0", "commercial", "once", "ncsa"])
def test_licence_commercial_is_recognised(licence: str) -> None:
    assert not is_non_commercial(licence)


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the library's own, at every upload
def test_push_and_pull_round_trip(
    hub: HubServer, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my-face"
    folder.mkdir()
    for file in tiny_bundle.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "secret.txt").write_text("mine")
    monkeypatch.setenv("HF_TOKEN", WRITER)
    commit = push(folder, MODEL, private=True, message="First")
    repository = hub.repositories[NAME]
    assert (repository.private, repository.messages[commit], repository.refs["main"]) == (True, "First", commit)
    assert set(repository.commits[commit]) == {".gitattributes", "config.json", "README.md", *PARTS}
    bundle = pull(MODEL)
    assert bundle.path.name == commit
    assert {file.name: file.read_bytes() for file in bundle.path.iterdir()} == {
        file.name: file.read_bytes() for file in tiny_bundle.iterdir()
    }
    assert push(folder, MODEL) == commit  # nothing is new
    (folder / "README.md").write_text("# My face\n")
    hub.requests.clear()
    again = push(folder, MODEL)
    assert again != commit
    assert repository.messages[again] == f"Upload tiny-32 with stedit {stedit.__version__}"
    assert not any(request.method == "PUT" for request in hub.requests)
    assert (pull(MODEL).path / "README.md").read_text() == "# My face\n"


@pytest.mark.usefixtures("published")
def test_push_of_a_pulled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    push(pull(MODEL).path, HubModelId("joe/copy"))
    assert pull(HubModelId("joe/copy")).fingerprint == pull(MODEL).fingerprint


def test_push_that_cannot_be_done_raises(
    hub: HubServer, published: str, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HubError, match="needs a token that may write: log in with `hf auth login`"):
        push(tiny_bundle, MODEL)
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(HubError, match=f"your token may not write to {NAME}.*403, a write token is needed"):
        push(tiny_bundle, MODEL)
    monkeypatch.setenv("HF_TOKEN", WRITER)
    with pytest.raises(UsageError, match=f"{NAME} is public already"):
        push(tiny_bundle, MODEL, private=True)
    with pytest.raises(UsageError, match="leave @v1 out"):
        push(tiny_bundle, HubModelId(NAME, "v1"))
    with pytest.raises(BundleError, match="there is no model at"):
        push(tmp_path / "nowhere", MODEL)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in tiny_bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "README.md").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(UsageError, match=r"README.md is larger than 1 MB"):
        push(damaged, MODEL)
    data = (damaged / "editor.safetensors").read_bytes()
    (damaged / "editor.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"editor.safetensors is damaged"):
        push(damaged, MODEL)
    assert list(hub.repositories[NAME].commits) == [published]


def test_remove_deletes_a_pulled_model(
    hub: HubServer, published: str, tiny_bundle: Path, said: Callable[[], list[str]]
) -> None:
    old = pull(MODEL)
    new = hub.add(NAME, tiny_bundle, ref="v1.0", config__json=config(tiny_bundle, description="Newer."))
    pull(HubModelId(NAME, "v1.0"))
    assert 0 < remove(HubModelId(NAME, "v1.0")) < 10_000  # the weights are those of main as well
    assert [one.commit for one in cached_models()] == [published] != [new]
    old.verify()
    said()
    assert remove(MODEL) >= sum(part.size for part in old.parts.values())
    assert (kept(), cached_models()) == ([], [])
    with pytest.raises(HubError, match=f"{NAME} is not on this machine"):
        remove(MODEL)
    pull(MODEL)
    assert LICENCE in said()


def test_remove_leaves_models_of_other_programs_alone(hub: HubServer, tiny_bundle: Path) -> None:
    from huggingface_hub import hf_hub_download

    hub.add("joe/bert", tiny_bundle, config__json=b'{"model_type": "bert"}')
    path = Path(hf_hub_download("joe/bert", "config.json")).parent
    assert cached_models() == []
    with pytest.raises(HubError, match="joe/bert is not a stedit model: remove it with `hf cache rm model/joe/bert`"):
        remove(HubModelId("joe/bert"))
    assert (path / "config.json").is_file()


def test_pull_completes_what_another_program_fetched_in_part(
    hub: HubServer, published: str, said: Callable[[], list[str]]
) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(NAME, "config.json")
    assert [one.name for one in cached_models()] == [NAME]
    hub.add(NAME, Path(find_bundle(NAME)), extra__txt=b"newer")
    assert find_or_pull(MODEL).name == published
    Bundle.load(find_or_pull(MODEL)).verify()
    assert LICENCE in said()


@pytest.mark.usefixtures("published")
def test_pull_fetches_a_damaged_config_again() -> None:
    path = pull(MODEL).path
    (path / "config.json").resolve().write_text("{}")
    assert find_cached(MODEL) is not None
    assert find_or_pull(MODEL) == path
    Bundle.load(path).verify()


@pytest.mark.usefixtures("published")
def test_cache_of_shared_blobs_is_read() -> None:
    path = pull(MODEL).path
    blob = (path / "editor.safetensors").resolve()
    shared = cache() / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(shared)
    assert find_or_pull(MODEL) == path
    Bundle.load(path).verify()


@pytest.mark.usefixtures("published")
def test_completion_offers_pulled_models() -> None:
    assert complete_model("jane") == []
    pull(MODEL)
    assert complete_model("jane") == [NAME]
    assert DEFAULT_MODEL in complete_model(DEFAULT_MODEL[:5])


@pytest.mark.usefixtures("published")
def test_cache_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    path = pull(MODEL).path
    elsewhere = tmp_path / "editor.safetensors"
    elsewhere.write_bytes((path / "editor.safetensors").read_bytes())
    (path / "editor.safetensors").unlink()
    (path / "editor.safetensors").symlink_to(elsewhere)
    with pytest.raises(BundleError, match=r"editor.safetensors is a link that leads out of the folder"):
        Bundle.load(path)


def test_import_of_hub_loads_no_torch_and_no_http_client() -> None:
    program = "import sys, stedit.hub; print(*sorted({'torch', 'huggingface_hub', 'httpx2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
    assert hub_module.__doc__
