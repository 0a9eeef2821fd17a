"""What the pages in docs/ show is so: names of outputs, what commands print, records, and fields of files."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import Pixels, write_image
from stedit.storage.bundle_config import PART_CONFIGS

Cli = Callable[..., Result]

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND_LINE, FORMATS, EDITING, PHOTOGRAPHS, CODES = (
    (DOCS / name).read_text(encoding="utf-8")
    for name in ("command-line.md", "formats.md", "editing.md", "photographs.md", "codes.md")
)
NAMES = re.findall(r"^\| `stedit (.*)` \| `(.*)` \|$", COMMAND_LINE, flags=re.MULTILINE)
CONSOLE = {
    name: re.findall(r"^```console\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    for name, page in (
        ("command-line", COMMAND_LINE),
        ("editing", EDITING),
        ("photographs", PHOTOGRAPHS),
        ("codes", CODES),
    )
}


@pytest.fixture(scope="module")
def aligned_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as one of faces, which are searched in photographs."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("aligned") / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "alignment": "ffhq"}))
    return folder


@pytest.fixture(autouse=True)
def _files(face_image: Pixels, aligned_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures that the pages speak of, and a model for which they are of faces."""
    monkeypatch.setenv("STEDIT_MODEL", str(aligned_bundle))
    for name in ("face.jpg", "jane.jpg", "photos/grey.jpg", "photos/serious.jpg", "photos/more/hat.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_image(name, face_image)
    shutil.copy(DOCS.parent / "tests/data/scenes/room.jpg", "photo.jpg")
    rng = np.random.default_rng(0)
    jane, joe = rng.normal(size=(2, 8, 16)).astype(np.float32) + 1
    np.savez("projected_w.npz", w=jane[None])
    np.save("latents.npy", np.array({"jane.jpg": jane, "joe.jpg": joe}))
    shutil.copytree(aligned_bundle, "my-face")
    Path("points.json").write_text(json.dumps(example(PHOTOGRAPHS)))


def example(page: str) -> Any:
    """The one JSON example of a page."""
    (text,) = re.findall(r"^```json\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return json.loads(text)


def first_cells(page: str) -> set[str]:
    """What the first and second columns of its tables name in `code`."""
    rows = re.findall(r"^\| (.*?) \|(?: (.*?) \|)?", page, flags=re.MULTILINE)
    return {name for row in rows for cell in row for name in re.findall(r"`([^`]*)`", cell)}


def shape(value: Any) -> Any:
    """What keys an object has, all the way down; lists are alike if their first items are."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value[:1]] if isinstance(value, list) else type(value)


def without_numbers(line: str) -> str:
    """A line of output without what differs between machines and models: times and sizes."""
    return re.sub(r"\d+ x \d+ px", "N px", re.sub(r"[\d.]+ (s|images/s)\b", r"N \1", line))


@pytest.mark.parametrize(("command", "output"), NAMES)
def test_command_line_page_names_outputs_truly(cli: Cli, command: str, output: str) -> None:
    assert len(NAMES) == 17
    for word in shlex.split(command):
        if word.endswith(".latent.safetensors"):  # an output of another line
            Path(word).touch()
    result = cli(*shlex.split(command), "--dry-run")
    assert result.stdout.split(" -> ")[1] == f"{output}\n"


@pytest.mark.parametrize("page", CONSOLE)
def test_pages_show_what_commands_print(cli: Cli, page: str) -> None:
    for block in CONSOLE[page]:
        for command, *shown in (part.splitlines() for part in block.split("$ stedit ")[1:]):
            result = cli(*shlex.split(command))
            assert result.exit_code == 0
            printed = (result.stdout + (result.stderr if page == "command-line" else "")).splitlines()
            assert list(map(without_numbers, printed)) == list(map(without_numbers, shown))


def test_editing_page_python_example_runs(monkeypatch: pytest.MonkeyPatch, embedded: Engine) -> None:
    monkeypatch.chdir(DOCS.parent)
    (code,) = re.findall(r"^```python\n(.*?)^```", EDITING, flags=re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {}
    exec(compile(code, "editing.md", "exec"), found)
    assert [image.shape for image in found["images"]] == [(1, *embedded.output_size, 3)] * 3


def test_command_line_page_lists_all_fields_of_records(cli: Cli) -> None:
    record = json.loads(cli("edit", "-a", "smile", "face.jpg", "--json").stdout)
    assert shape(record) == shape(example(COMMAND_LINE))
    assert record["after"]["Smiling"] == example(COMMAND_LINE)["after"]["Smiling"]  # where the classifier is sure
    named = first_cells(COMMAND_LINE)
    assert set(record) <= named
    assert set(json.loads(cli("attributes", "face.jpg", "--json").stdout)) <= named
    learned = cli("directions", "learn", "-a", "smile", "--json").stdout
    assert set(json.loads(learned)) <= named
    assert set(json.loads(cli("sheet", "photos", "-o", "sheet.png", "--json").stdout)) <= named


def test_formats_page_lists_all_fields_of_bundles(tiny_bundle: Path) -> None:
    config = json.loads((tiny_bundle / "config.json").read_text())
    assert shape(example(FORMATS)) == shape(config)
    named = first_cells(FORMATS)
    assert set(config) <= named
    assert {field.name for part in PART_CONFIGS.values() for field in fields(part)} <= named


def test_formats_page_lists_all_keys_of_latent_files(cli: Cli) -> None:
    cli("invert", "face.jpg")
    with safe_open("face.latent.safetensors", framework="numpy") as file:
        assert set(file.metadata()) <= first_cells(FORMATS)


def test_formats_page_lists_all_keys_of_directions(cli: Cli) -> None:
    cli("directions", "learn", "-a", "smile")
    with safe_open("smile.directions.safetensors", framework="numpy") as file:
        assert set(file.metadata()) <= first_cells(FORMATS)


def test_editing_page_names_all_options(cli: Cli) -> None:
    for command in ("edit", "mix"):
        text = cli(command, "--help").stdout.split("╭─", 1)[1]
        options = set(re.findall(r"^│ \*?\s*(--[a-z-]+)", text, flags=re.MULTILINE))
        shared = set(re.findall(r"--[a-z-]+", cli("reconstruct", "--help").stdout))
        options -= shared | {"--manifest"}
        assert options >= {"--layers", "--strength"}
        assert {option for option in options if option not in EDITING} == set()
