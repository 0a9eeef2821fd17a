"""`stedit evaluate`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import gzip
import importlib.util
import json
import signal
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from photo.scenes import backdrop, place
from typer.testing import Result

from stedit.imaging.files import Pixels, encode_image, read_image, write_image
from stedit.models.lpips import Lpips
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS
from stedit.storage.embedded import DEFAULT_MODEL

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def archive(face_image: Pixels) -> Path:
    """`set.zip` of six pictures, `set.jsonl.gz` with their labels."""
    records = []
    with zipfile.ZipFile("set.zip", "w") as file:
        for i in range(6):
            file.writestr(f"face_{i}.png", encode_image(np.roll(face_image, 3 * i, axis=1), "png"))
            records.append({"id": f"face_{i}", "attributes": {"Smiling": i % 2, "Eyeglasses": 0, "Male": 1}})
    Path("set.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return Path("set.zip")


def test_evaluate_table_and_json_agree(cli: Cli, photos: Path) -> None:
    result = cli("evaluate", photos, "-r")
    assert (result.exit_code, result.stderr) == (0, "")
    record = json.loads(cli("evaluate", photos, "-r", "--json").stdout)
    (row,) = record["reconstructions"]
    assert (row["method"], row["images"], record["images"], record["failed"]) == ("encoder", 4, 4, 0)
    assert f"{row['psnr']:.2f}" in result.stdout
    assert f"{100 * row['attribute_agreement']:.1f} %" in result.stdout
    assert record["run"]["model"] == "tiny-32"
    assert (record["edits"], record["ground_truth"], record["report"]) == ([], [], None)


def test_evaluate_archive_with_labels_measures_edits_and_references(cli: Cli, archive: Path) -> None:
    arguments = ("-l", "set.jsonl.gz", "-a", "smile,beard", "-a", "glasses", "--reference-edits", "-s", "1,2")
    record = json.loads(cli("evaluate", archive, *arguments, "--limit", 4, "--json").stdout)
    assert (record["images"], record["labelled"]) == (4, 4)
    assert set(record["judge"]["by_attribute"]) == {"Smiling", "Eyeglasses"}  # the model knows no Male
    names = ["Smiling", "No_Beard", "Eyeglasses"]
    assert [(row["by"], row["strength"], row["attribute"]) for row in record["edits"]] == [
        (by, strength, name) for by in ("label", "reference") for strength in (1, 2) for name in names
    ]
    assert all(row["added_images"] + row["removed_images"] == 4 for row in record["edits"] if row["by"] == "label")
    everything = json.loads(cli("evaluate", archive, "-a", "all", "--limit", 1, "--json").stdout)
    assert len(everything["edits"]) == 5


def test_evaluate_ground_truth_measures_edits(cli: Cli, archive: Path) -> None:
    records = [
        {"id": f"face_{2 * i + value}", "identity": i, "attribute": "Smiling", "value": value}
        for i in range(3)
        for value in (0, 1)
    ]
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    record = json.loads(cli("evaluate", "--ground-truth", "pairs.jsonl", "--ground-truth", archive, "--json").stdout)
    assert [(row["attribute"], row["images"]) for row in record["ground_truth"]] == [("Smiling", 6)]
    assert record["reconstructions"] == []
    result = cli("evaluate", "--ground-truth", "pairs.jsonl", "--ground-truth", archive)
    assert result.exit_code == 0
    assert "Ground-truth edits: encoder, auto, strength 1" in result.stdout


def test_evaluate_page_is_written_whole_and_needs_overwrite(cli: Cli, photos: Path) -> None:
    arguments = ("evaluate", photos, "-a", "smile", "-o", "report.html", "--note", "a Friday")
    result = cli(*arguments, "--examples", 2)
    assert (result.exit_code, result.stderr) == (0, "written: report.html\n")
    page = Path("report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert "a Friday" in page
    assert page.count("<img") == 2 * 3
    Path("report.html").write_text("kept")
    result = cli(*arguments)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "skipped because report.html exists (--overwrite replaces it)\n"
    assert Path("report.html").read_text() == "kept"
    assert json.loads(cli(*arguments, "--overwrite", "--json").stdout)["report"] == "report.html"
    assert Path("report.html").read_text().count("<img") == 3 * 3
    assert sorted(path.name for path in Path().iterdir()) == ["photos", "report.html"]


def test_evaluate_bad_images_are_reported_and_left_out(cli: Cli, photos: Path) -> None:
    (photos / "junk.png").write_bytes(b"junk")
    result = cli("evaluate", photos, "nobody.png", "--json")
    assert result.exit_code == 1
    record = json.loads(result.stdout)
    assert (record["images"], record["failed"]) == (3, 2)
    first, second = result.stderr.splitlines()
    assert first.startswith("error: photos/junk.png is not a picture")
    assert second == "error: nobody.png does not exist: check the spelling"


def test_evaluate_photographs_without_face_are_reported(cli: Cli, tmp_path: Path) -> None:
    scene, nobody = backdrop(240, 320, seed=7), backdrop(240, 320, seed=9)
    place(scene, read_image(Path(__file__).parents[1] / "data" / "faces" / "serious.jpg"), (150, 120), 100, angle=-15)
    (tmp_path / "party").mkdir()
    write_image("party/scene.png", scene)
    write_image("party/nobody.png", nobody)
    result = cli("evaluate", "party", "-m", DEFAULT_MODEL)
    assert result.exit_code == 0, result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("left out: party/nobody.png: no face was found")
    assert "1 without a face is left out" not in result.stdout  # the terminal's tables bear no explanation
    record = json.loads(cli("evaluate", "party", "-m", DEFAULT_MODEL, "--json").stdout)
    assert (record["images"], record["without_face"], record["failed"]) == (1, 1, 0)
    assert record["run"]["images"] == "1, 1 left out without a face"
    whole = json.loads(cli("evaluate", "party", "-m", DEFAULT_MODEL, "--align", "never", "--json").stdout)
    assert (whole["images"], whole["without_face"]) == (2, 0)
    assert whole["reconstructions"][0]["psnr"] < record["reconstructions"][0]["psnr"] - 2
    cli("evaluate", "party", "-m", DEFAULT_MODEL, "-o", "report.html")
    assert "1 images and their reconstructions; 1 without a face is left out." in Path("report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["photos", "--face", "none"], 2, "none"),
        (["photos", "--landmarks", "nowhere.json"], 1, "there are no landmarks nowhere.json"),
        ([], 2, "nothing to measure: give images, or --ground-truth"),
        (["photos", "--reference-edits"], 2, "--reference-edits needs images, and the attributes to take over"),
        (["photos", "-a", "smyle"], 2, "unknown attribute 'smyle': did you mean smile"),
        (["photos", "-a", "smile", "-s", "0,1"], 2, "--strength 0,1 holds a number that is not above 0"),
        (["photos", "-a", "smile", "-s", "much"], 2, "the strength 'much' is not a number"),
        (["photos", "--method", ","], 2, "--method names nothing"),
        (["photos", "-o", "report.pdf"], 2, "-o report.pdf has an ending that this command does not write"),
        (["photos", "-o", "nowhere/report.html"], 1, "cannot write nowhere/report.html: its folder does not exist"),
        (["photos", "-l", "nowhere.csv"], 1, "cannot read nowhere.csv (no such file or directory)"),
        (["nowhere.zip"], 1, "there are no pictures at nowhere.zip"),
        (["photos", "--ground-truth", "nowhere.jsonl"], 1, "cannot read nowhere.jsonl"),
    ],
)
def test_evaluate_wrong_request_gives_one_sentence(
    cli: Cli, photos: Path, arguments: list[str], code: int, reason: str
) -> None:
    assert photos.is_dir()
    result = cli("evaluate", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line


def test_evaluate_fid_needs_its_network_and_weights(cli: Cli, photos: Path) -> None:
    result = cli("evaluate", photos, "--fid", "nowhere.pth")
    if importlib.util.find_spec("torch_fidelity"):
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("error: cannot read Inception's weights nowhere.pth")
    else:
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == "error: the FID needs torch-fidelity: pip install 'stedit[metrics]'\n"


def test_evaluate_lpips_uses_the_weights_given(cli: Cli, photos: Path, tmp_path: Path) -> None:
    torch.save(Lpips("alex", heads=False).state_dict(), tmp_path / "alex.pth")
    result = cli("evaluate", str(photos), "--lpips", str(tmp_path / "alex.pth"), "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["reconstructions"][0]["lpips"] > 0.01
    alone = cli("evaluate", str(photos), "--lpips-heads", str(tmp_path / "alex.pth"))
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "name it with --lpips" in alone.stderr


def test_evaluate_empty_folder_exits_with_three(cli: Cli) -> None:
    Path("empty").mkdir()
    result = cli("evaluate", "empty")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.endswith("nothing to do\n")


def test_evaluate_without_judge_measures_distortion_only(cli: Cli, photos: Path, tiny_bundle: Path) -> None:
    tiny = Bundle.load(tiny_bundle)
    parts = {
        name: (PART_CONFIGS[name].from_dict(part.config), tiny.read_part(name))
        for name, part in tiny.parts.items()
        if name != "judge"
    }
    Bundle.save(
        "blind", name="blind", domain="noise", license="MIT", parts=parts, attributes=tiny.attributes, readme=""
    )
    (row,) = json.loads(cli("evaluate", photos, "-m", "blind", "--json").stdout)["reconstructions"]
    assert row["l2"] > 0
    assert row["attribute_agreement"] is None
    result = cli("evaluate", photos, "-m", "blind", "-a", "smile")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: the model 'blind' has no judge to see edits: choose a model that has one\n"


def test_evaluate_interrupted_leaves_nothing(process: Process, face_image: Pixels) -> None:
    Path("many").mkdir()
    for i in range(200):
        write_image(f"many/{i}.png", face_image)

    # A shell has its background jobs, such as these tests may be, ignore Ctrl-C, and what they start inherits that.
    def listen_to_ctrl_c() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = ("evaluate", "many", "-a", "all", "-b", 1, "-o", "report.html", "-v")
    with process(*command, preexec_fn=listen_to_ctrl_c) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith(b"tiny-32 on ")  # it has begun
        running.send_signal(signal.SIGINT)
        stdout, stderr = running.communicate(timeout=120)
    # Python kills itself by the signal if that came amidst an `exec`, as of an import: shells take it for 130 as well.
    assert (running.returncode in (130, -signal.SIGINT), stdout) == (True, b"")
    assert b"stopped" in stderr
    assert b"Traceback" not in stderr
    assert [path.name for path in Path().iterdir()] == ["many"]
