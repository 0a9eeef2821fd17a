"""`stedit weights` and `--model` with models on the Hub: what is printed where, and what needs no network."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import numpy as np
import pytest
from hub_server import WRITER, HubServer, Repository, sha256
from photo.scenes import backdrop, place
from typer.testing import Result

from stedit.hub import yunet
from stedit.imaging.files import Pixels, read_image, write_image
from stedit.storage.bundle import Bundle
from stedit.storage.embedded import DEFAULT_MODEL, embedded_bundles

Cli = Callable[..., Result]
Process = Callable[..., "Popen[bytes]"]

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "hub.md").read_text(encoding="utf-8")
FACES = Path(__file__).parents[1] / "data" / "faces"
NAME = "jane/tiny-32"
LICENCE = f"{NAME} is under the licence MIT\n"


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Commands send the log where they want it."""
    log = logging.getLogger("stedit")
    before = log.handlers, log.level
    yield
    log.handlers, log.level = before


@pytest.fixture
def commit(hub: HubServer, tiny_bundle: Path) -> str:
    """The commit of the small model on the Hub."""
    return hub.add(NAME, tiny_bundle)


def test_pull_pins_the_commit_on_stdout_and_tells_the_rest_on_stderr(cli: Cli, commit: str) -> None:
    result = cli("weights", "pull", NAME)
    assert (result.exit_code, result.stdout) == (0, f"{NAME}@{commit}\n")
    assert result.stderr == LICENCE + f"fetching {NAME} at {commit[:12]} from the Hub (0.1 MB)\n"
    result = cli("weights", "pull", f"{NAME}@{commit}", "-v")
    assert result.stdout == f"{NAME}@{commit}\n"
    assert result.stderr.strip().endswith(f"models--jane--tiny-32/snapshots/{commit}")


def test_quiet_says_nothing_but_the_result_and_leaves_the_licence_for_later(cli: Cli, commit: str) -> None:
    result = cli("weights", "pull", NAME, "-q")
    assert (result.stdout, result.stderr) == (f"{NAME}@{commit}\n", "")
    assert cli("attributes", "--model", NAME).stderr == LICENCE
    assert cli("attributes", "--model", NAME).stderr == ""


def test_pull_as_json(cli: Cli, commit: str, tiny_bundle: Path) -> None:
    facts = json.loads(cli("weights", "pull", NAME, "--json").stdout)
    assert (facts["model"], facts["commit"], facts["license"]) == (NAME, commit, "MIT")
    assert facts["bytes"] == sum(file.stat().st_size for file in tiny_bundle.glob("*.safetensors"))
    assert Bundle.load(facts["path"]).fingerprint == facts["fingerprint"]


def test_every_command_takes_the_name_and_works_offline_afterwards(
    cli: Cli, commit: str, hub: HubServer, face: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = cli("reconstruct", face, "--model", NAME, "-o", "online.png")
    assert (result.exit_code, result.stdout) == (0, "online.png\n")
    assert result.stderr == LICENCE + f"fetching {NAME} at {commit[:12]} from the Hub (0.1 MB)\n"
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("STEDIT_MODEL", f"{NAME}@{commit[:10]}")
    result = cli("reconstruct", face, "-o", "offline.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "offline.png\n", "")
    assert Path("offline.png").read_bytes() == Path("online.png").read_bytes()
    assert hub.requests == []


@pytest.mark.usefixtures("commit")
def test_the_switch_of_the_hub_keeps_everything_offline(
    cli: Cli, process: Process, hub: HubServer, tiny_bundle: Path
) -> None:
    cli("weights", "pull", NAME)
    hub.add("joe/other", tiny_bundle)
    hub.requests.clear()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with process("attributes", "--model", NAME, env=environment) as here:
        stdout, stderr = here.communicate()
    assert (here.returncode, stdout[:5], stderr) == (0, b"smile", b"")
    with process("attributes", "--model", "joe/other", env=environment) as away:
        stdout, stderr = away.communicate()
    assert (away.returncode, stdout) == (1, b"")
    assert stderr.decode() == (
        "error: cannot fetch joe/other while HF_HUB_OFFLINE is set: unset it and try again, once\n"
    )
    assert hub.requests == []


def test_without_a_network(process: Process, hub: HubServer) -> None:
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    with process("weights", "pull", NAME, env=environment) as lost:
        stdout, stderr = lost.communicate()
    assert (lost.returncode, stdout, hub.requests) == (1, b"", [])
    assert stderr.decode().startswith(f"error: cannot reach http://127.0.0.1:9 for {NAME} (")
    assert stderr.decode().count("\n") == 1


def test_list_shows_what_was_pulled_after_what_is_embedded(
    cli: Cli, commit: str, hub: HubServer, tiny_bundle: Path
) -> None:
    cli("weights", "pull", NAME)
    licence = json.loads((tiny_bundle / "config.json").read_text()) | {"license": "cc-by-nc-4.0"}
    other = hub.add("joe/x", tiny_bundle, config__json=json.dumps(licence).encode())
    cli("weights", "pull", f"joe/x@{other}")
    lines = [line.split() for line in cli("weights", "list").stdout.splitlines()]
    assert [line[0] for line in lines] == [*embedded_bundles(), NAME, f"joe/x@{other[:12]}"]
    assert lines[-1][1:] == ["0.1", "MB", "cc-by-nc-4.0", "generator", "encoder", "classifier", "editor", "judge"]
    records = [json.loads(line) for line in cli("weights", "list", "--json").stdout.splitlines()]
    assert [(one["model"], one["commit"]) for one in records[-2:]] == [
        (NAME, commit),
        (f"joe/x@{other[:12]}", other),
    ]
    assert records[0]["commit"] is None
    assert cli("weights", "verify", f"joe/x@{other[:12]}").exit_code == 0


@pytest.mark.usefixtures("commit")
def test_list_tells_of_a_model_that_is_here_in_part(cli: Cli) -> None:
    path = Path(json.loads(cli("weights", "pull", NAME, "--json").stdout)["path"])
    (path / "editor.safetensors").unlink()
    result = cli("weights", "list")
    assert result.exit_code == 1
    assert f"error: {NAME} is here only in part: run `stedit weights pull {NAME}`, or remove it\n" in result.stderr
    assert cli("weights", "pull", NAME).exit_code == cli("weights", "list").exit_code == 0


def test_info_fetches_nothing_but_the_config(cli: Cli, commit: str, hub: HubServer) -> None:
    text = cli("weights", "info", NAME).stdout
    assert hub.fetched() == ["config.json"]
    assert text.startswith("tiny-32: Random weights, for tests.\n")
    assert f"\npath         not here yet: run `stedit weights pull {NAME}`\n" in text
    assert f"\ncommit       {commit}\n" in text
    away = json.loads(cli("weights", "info", NAME, "--json").stdout)
    assert (away["path"], away["parts"]["encoder"]["parameters"]) == (None, None)
    cli("weights", "pull", NAME)
    hub.requests.clear()
    here = json.loads(cli("weights", "info", NAME, "--json").stdout)
    assert hub.requests == []
    assert here["commit"] == commit
    assert here["bytes"] == away["bytes"]
    assert here["parts"]["encoder"]["parameters"] > 10_000


@pytest.mark.usefixtures("commit")
def test_verify_fetches_nothing(cli: Cli, hub: HubServer) -> None:
    result = cli("weights", "verify", NAME)
    assert (result.exit_code, hub.requests) == (1, [])
    assert result.stderr == f"error: {NAME} is not on this machine: run `stedit weights pull {NAME}` first\n"
    path = Path(json.loads(cli("weights", "pull", NAME, "--json").stdout)["path"])
    assert cli("weights", "verify", NAME).stdout == "tiny-32: all 5 files match their checksums\n"
    blob = (path / "editor.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert "editor.safetensors is damaged" in cli("weights", "verify", NAME).stderr
    assert cli("weights", "pull", NAME).exit_code == cli("weights", "verify", NAME).exit_code == 0


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the library's own, at every upload
def test_push(cli: Cli, hub: HubServer, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    result = cli("weights", "push", tiny_bundle, NAME, "--private", "--message", "First")
    commit = hub.repositories[NAME].refs["main"]
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{NAME}@{commit}\n", "")
    assert hub.repositories[NAME].messages[commit] == "First"
    assert json.loads(cli("weights", "push", tiny_bundle, NAME, "--json").stdout) == {"model": NAME, "commit": commit}
    assert cli("weights", "push", tiny_bundle, f"{NAME}@v1").exit_code == 2


@pytest.mark.usefixtures("commit")
def test_remove(cli: Cli, tiny_bundle: Path) -> None:
    cli("weights", "pull", NAME)
    result = cli("weights", "remove", NAME)
    assert (result.exit_code, result.stdout) == (0, f"{NAME}: removed, 0.1 MB freed\n")
    assert [line.split()[0] for line in cli("weights", "list").stdout.splitlines()] == list(embedded_bundles())
    assert cli("weights", "remove", NAME).exit_code == 1
    for other, reason in ((DEFAULT_MODEL, "comes with stedit"), (tiny_bundle, "is a folder of yours")):
        result = cli("weights", "remove", other)
        assert result.exit_code == 2
        assert reason in result.stderr


@pytest.mark.parametrize("command", ["pull", "remove"])
def test_what_is_no_name_on_the_hub(cli: Cli, hub: HubServer, command: str) -> None:
    result = cli("weights", command, "a/b/c")
    assert (result.exit_code, hub.requests) == (2, [])
    assert result.stderr.startswith("error: 'a/b/c' is not a name on the Hub: give OWNER/NAME")


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
def test_commands_print_what_the_page_shows(
    cli: Cli, hub: HubServer, tiny_bundle: Path, face_image: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    write_image("face.jpg", face_image)
    shutil.copytree(tiny_bundle, "my-face")
    commit = hub.add("jane/my-face", tiny_bundle)
    hub.repositories["jane/my-face"].refs["v1.0"] = commit
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    commands = [part.splitlines() for block in blocks for part in block.split("$ stedit ")[1:]]
    assert len(commands) == 8
    for command, *shown in commands:
        result = cli(*shlex.split(command.replace("3c1f0a9be27d", commit[:12])))
        assert result.exit_code == 0, result.stderr
        if shown:
            assert _without_numbers(result.stderr + result.stdout) == _without_numbers("\n".join(shown))


def _without_numbers(text: str) -> list[str]:
    """Lines, in which commits and sizes are all the same."""
    return [
        re.sub(r" +", " ", re.sub(r"\b[0-9a-f]{12,40}\b|[\d.]+ (?=MB)", "N ", line)).strip()
        for line in text.splitlines()
    ]


@pytest.fixture
def detector(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The bytes of a YuNet, which stands on the Hub in the place of the pinned one."""
    path = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "yunet_n_640_640.onnx"
    if not path.is_file():
        pytest.skip("YuNet's file is not here")
    data = path.read_bytes()
    monkeypatch.setattr(yunet, "FILE", replace(yunet.FILE, size=len(data), etag=sha256(data)))
    repository = hub.repositories[yunet.MODEL.repository] = Repository()
    repository.commits[str(yunet.MODEL.revision)] = {yunet.FILE.name: data}
    return data


def test_yunet_is_pulled_listed_used_and_removed(cli: Cli, detector: bytes, hub: HubServer) -> None:
    scene = backdrop(480, 640, seed=7)
    place(scene, read_image(FACES / "serious.jpg"), (300, 240), 170, angle=-15)
    write_image("me.png", scene)
    use = ("align", "me.png", "--model", DEFAULT_MODEL, "--overwrite", "--detector")
    missing = cli(*use, "yunet")
    assert (missing.exit_code, hub.requests) == (1, [])
    assert missing.stderr == (
        "error: the detector YuNet is not on this machine, or is damaged: pull it with `stedit weights pull yunet`\n"
    )
    pulled = cli("weights", "pull", "yunet")
    assert (pulled.exit_code, pulled.stdout) == (0, f"{yunet.MODEL}\n")
    assert pulled.stderr == "fetching opencv/face_detection_yunet from the Hub (0.3 MB, licence MIT)\n"
    path = Path(json.loads(cli("weights", "pull", yunet.MODEL.repository, "--json").stdout)["path"])
    assert path.read_bytes() == detector
    assert cli("weights", "list").stdout.splitlines()[-1].split() == ["yunet", "0.3", "MB", "MIT", "detector"]
    hub.requests.clear()
    assert cli(*use, "yunet").stdout == "me.aligned.png\n"
    by_name = read_image("me.aligned.png")
    assert cli(*use, path).exit_code == 0
    assert np.array_equal(read_image("me.aligned.png"), by_name)
    assert hub.requests == []
    assert cli("weights", "remove", "yunet").stdout == "yunet: removed, 0.3 MB freed\n"
    assert cli("weights", "list").stdout.count("\n") == len(embedded_bundles())
