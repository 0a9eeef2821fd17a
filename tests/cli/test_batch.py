"""Many files at once: one that is bad costs itself only, and what is done is never done again."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.imaging.files import Pixels, read_image, write_image
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


def write_bad_files(folder: Path) -> dict[str, str]:
    """One file of each kind of damage; gives what is said about it."""
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("no picture at all")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:400])
    (folder / "junk.latent.safetensors").write_bytes(b"junk")
    return {
        "empty.png": "is empty",
        "text.jpg": "is not a picture",
        "cut.png": "is damaged or incomplete",
        "junk.latent.safetensors": "is not a latent code",
    }


def test_batch_bad_files_fail_alone(cli: Cli, photos: Path) -> None:
    sentences = write_bad_files(photos)
    for batch_size in (1, 2, 8):
        result = cli("reconstruct", photos, "-o", f"by-{batch_size}", "-b", batch_size)
        assert result.exit_code == 1
        assert sorted(Path(line).name for line in result.stdout.splitlines()) == [f"{n}.reconstruct.png" for n in "abc"]
        for name, sentence in sentences.items():
            lines = [line for line in result.stderr.splitlines() if name in line]
            assert len(lines) == 1
            assert lines[0].startswith(f"error: {photos / name} {sentence}")
        assert "3 done in " in result.stderr
        assert result.stderr.splitlines()[-1].endswith(", 4 failed")


def test_batch_of_bad_files_exits_with_one(cli: Cli) -> None:
    for name in ("junk.png", "rubbish.png"):
        Path(name).write_bytes(b"junk")
    result = cli("invert", "junk.png", "rubbish.png")
    assert (result.exit_code, result.stdout) == (1, "")
    first, second, summary = result.stderr.splitlines()
    assert first.startswith("error: junk.png is not a picture")
    assert second.startswith("error: rubbish.png is not a picture")
    assert summary == "2 failed"


def test_batch_unforeseen_error_fails_each_image_alone(
    cli: Cli, photos: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    tiny = Bundle.load(tiny_bundle)
    parts = {name: (PART_CONFIGS[name].from_dict(tiny.parts[name].config), tiny.read_part(name)) for name in tiny.parts}
    for tensor in parts["encoder"][1].values():
        if tensor.is_floating_point():
            tensor.mul_(1e30)  # codes overflow, which no latent file may hold
    Bundle.save(
        tmp_path / "broken",
        name="broken",
        domain="",
        license="",
        parts=parts,
        readme="",
        dtype="float32",
        attributes=tiny.attributes,
    )
    result = cli("invert", photos, "--model", "broken")
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.split(", ")[0] for line in result.stderr.splitlines()[:-1]] == [
        f"error: {photos}/{name}: a result holds numbers that are not finite" for name in ("a.png", "b.jpg", "c.webp")
    ]
    assert result.stderr.splitlines()[-1] == "3 failed"


def test_tuning_of_other_shapes_costs_its_code_alone(cli: Cli, face: Path, tiny_bundle: Path) -> None:
    folder = Path("codes")
    folder.mkdir()
    model = Bundle.load(tiny_bundle)
    half = np.ones((3, 1), np.float16)
    tuning = Tuning({"blocks.0.layers.0.conv.weight": (half, half.T)}, model.name, model.fingerprint)
    cli("invert", face, "-o", folder / "a.latent.safetensors")
    good = LatentCode.load(folder / "a.latent.safetensors")
    replace(good, tuning=tuning.digest).save(folder / "b.latent.safetensors")
    replace(good, w=np.full_like(good.w, 3e38)).save(folder / "c.latent.safetensors")
    tuning.save(folder / "b.tuning.safetensors")
    result = cli("reconstruct", folder)
    assert result.exit_code == 1
    assert result.stdout == "codes/a.reconstruct.png\n"
    errors = result.stderr.splitlines()
    assert errors[0].startswith("error: codes/b.latent.safetensors: a tuning is damaged (the tuning of blocks.0")
    assert errors[1].startswith("error: codes/c.latent.safetensors: a rendering holds numbers that are not finite")


def test_json_records_cover_every_input(cli: Cli, photos: Path) -> None:
    cli("reconstruct", photos / "b.jpg")
    (photos / "empty.png").touch()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    result = cli("reconstruct", "--json", photos)
    assert result.exit_code == 1
    records = {record["input"]: record for record in map(json.loads, result.stdout.splitlines())}
    assert {Path(name).name: record["status"] for name, record in records.items()} == {
        "a.png": "done",
        "b.jpg": "skipped",
        "c.webp": "done",
        "empty.png": "failed",
        "moving.gif": "done",
    }
    failed = records[str(photos / "empty.png")]
    assert failed["error"] == f"{photos}/empty.png is empty: give a picture"
    assert failed["output"] is None
    assert records[str(photos / "b.jpg")]["output"] == f"{photos}/b.reconstruct.png"
    assert records[str(photos / "moving.gif")]["notes"] == ["several frames: only the first is used"]
    assert "moving.gif: several frames: only the first is used\n" in result.stderr


def test_rerun_skips_outputs_and_overwrite_replaces_them(cli: Cli, photos: Path) -> None:
    cli("reconstruct", photos)
    done = photos / "a.reconstruct.png"
    (photos / "b.reconstruct.png").unlink()
    again = cli("reconstruct", photos)
    assert (again.exit_code, again.stdout) == (0, f"{photos}/b.reconstruct.png\n")
    assert "2 skipped, made by the same request before (--overwrite makes them anew)" in again.stderr
    done.write_bytes(b"kept")
    refused = cli("reconstruct", photos)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.splitlines()[0] == (
        f"error: {done} exists, and is not, or no longer, what stedit wrote there: name another output, or replace it "
        "with --overwrite"
    )
    assert refused.stderr.splitlines()[-1] == (
        "1 failed, 2 skipped, made by the same request before (--overwrite makes them anew)"
    )
    assert done.read_bytes() == b"kept"
    assert cli("reconstruct", photos, "--overwrite").exit_code == 0
    assert read_image(done).shape == (32, 32, 3)


def test_run_without_work_exits_with_three(cli: Cli, face: Path) -> None:
    Path("empty").mkdir()
    result = cli("reconstruct", "empty")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "empty holds no images" in result.stderr
    cli("reconstruct", face)
    assert cli("reconstruct", face).exit_code == 0
    assert cli("reconstruct", face, "--dry-run").exit_code == 0


def test_named_output_is_that_of_the_last_request(cli: Cli, face: Path, face_image: Pixels) -> None:
    write_image("other.png", face_image[::-1].copy())
    pictures = []
    for source in (face, Path("other.png"), face):
        assert cli("reconstruct", source, "-o", "out.png").stdout == "out.png\n"
        pictures.append(Path("out.png").read_bytes())
    assert pictures[0] == pictures[2] != pictures[1]


def test_option_for_one_value_given_twice_is_refused(cli: Cli, face: Path) -> None:
    result = cli("reconstruct", face, "-o", "one.png", "--output", "two.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: --output is given twice, and takes one value: leave one of them out\n"
    assert cli("edit", face, "-a", "smile", "-a", "bangs", "-q", "-q").exit_code == 0


def test_folder_own_outputs_are_reported_as_left_out(cli: Cli, photos: Path) -> None:
    cli("edit", "-a", "smile", photos)
    result = cli("reconstruct", photos)
    assert len(result.stdout.splitlines()) == 3
    assert f"3 left out as outputs of earlier runs, such as {photos}/a.smile.png\n" in result.stderr


def test_dry_run_prints_the_plan_and_writes_nothing(cli: Cli, photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    result = cli("reconstruct", "-r", photos, "-o", "out", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{photos}/a.png -> out/a.reconstruct.png",
        f"{photos}/b.jpg -> out/b.reconstruct.png",
        f"{photos}/c.webp -> out/c.reconstruct.png",
        f"{photos}/deeper/d.png -> out/deeper/d.reconstruct.png",
    ]
    assert sorted(photos.rglob("*")) == before
    assert not Path("out").exists()
    record = json.loads(cli("reconstruct", photos / "a.png", "-n", "--json").stdout)
    assert (record["status"], record["output"]) == ("planned", f"{photos}/a.reconstruct.png")


def test_quiet_prints_results_and_errors_only(cli: Cli, photos: Path) -> None:
    (photos / "empty.png").touch()
    result = cli("reconstruct", "-q", photos)
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == f"error: {photos}/empty.png is empty: give a picture\n"


def test_plan_collision_is_refused_before_any_work(cli: Cli, photos: Path, face_image: Pixels) -> None:
    write_image("a.png", face_image)
    result = cli("reconstruct", "a.png", photos, "-o", "out")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a.png and photos/a.png would both be written to out/a.reconstruct.png" in result.stderr
    assert not Path("out").exists()


def test_json_with_image_on_stdout_is_refused(cli: Cli, face: Path) -> None:
    result = cli("reconstruct", face, "-o", "-", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "both ask for standard output" in result.stderr


def test_output_folder_below_a_file_is_refused(cli: Cli, face: Path) -> None:
    Path("file").touch()
    result = cli("reconstruct", face, "-o", "file/out")
    assert result.exit_code == 1
    assert result.stderr == "error: cannot write into file/out: file is a file: choose another folder with -o\n"


def test_file_names_with_markup_and_dashes_are_kept(cli: Cli, face: Path) -> None:
    for name in ("[red]a.png", "ünï cödé.png", "-dash.png"):
        Path(name).write_bytes(face.read_bytes())
        assert cli("reconstruct", "--", name).stdout == f"{Path(name).stem}.reconstruct.png\n"
    assert cli("reconstruct", "[red]no.png").stderr == "error: [red]no.png does not exist: did you mean [red]a.png?\n"


def test_file_name_that_is_no_text_is_kept(process: Process, face: Path) -> None:
    face.rename(os.fsdecode(b"\xff.png"))
    with process("reconstruct", os.fsdecode(b"\xff.png")) as ran:
        stdout, stderr = ran.communicate(timeout=120)
    assert (ran.returncode, stdout, stderr) == (0, b"\xff.reconstruct.png\n", b"")


def test_full_disk_fails_each_output(process: Process, photos: Path) -> None:
    def allow_small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    with process("reconstruct", photos, "-o", "out", preexec_fn=allow_small_files_only) as ran:
        stdout, stderr = ran.communicate(timeout=120)
    assert (ran.returncode, stdout) == (1, b"")
    sentences = [line for line in stderr.decode().splitlines() if line.startswith("error: cannot write out/")]
    assert len(sentences) == 3
    assert list(Path("out").iterdir()) == []


def test_interrupted_run_leaves_no_half_file_and_goes_on(process: Process, face: Path) -> None:
    Path("many").mkdir()
    for i in range(300):
        Path(f"many/{i:03}.png").write_bytes(face.read_bytes())

    # A shell has its background jobs, such as these tests may be, ignore Ctrl-C, and what they start inherits that.
    def listen_to_ctrl_c() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with process("reconstruct", "many", "-o", "out", "--batch-size", 1, preexec_fn=listen_to_ctrl_c) as ran:
        assert ran.stdout is not None
        assert [ran.stdout.readline() for _ in range(3)] == [b"out/%03d.reconstruct.png\n" % i for i in range(3)]
        ran.send_signal(signal.SIGINT)
        stdout, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 130
    assert re.fullmatch(rb"stopped after \d+ of 300: the same command goes on\n", stderr)
    written = list(Path("out").iterdir())
    assert 3 <= len(written) < 300
    assert {read_image(path).shape for path in written} == {(32, 32, 3)}
    assert len(written) - 3 - len(stdout.splitlines()) in range(4)  # some may be written and not yet told

    with process("reconstruct", "many", "-o", "out", "--batch-size", 64) as ran:
        stdout, stderr = ran.communicate(timeout=120)
    assert ran.returncode == 0
    assert len(stdout.splitlines()) == 300 - len(written)
    assert f"{len(written)} skipped".encode() in stderr
    assert len(list(Path("out").iterdir())) == 300


def test_closed_pipe_is_no_error(process: Process, photos: Path) -> None:
    with process("reconstruct", "-r", photos, "-b", 1) as ran:
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()
        stderr = ran.stderr.read()
    assert (ran.returncode, stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full on this system")
def test_full_stdout_is_an_error(process: Process, face: Path) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for arguments in (("attributes", face), ("reconstruct", face, "-o", "-")):
        for environment in (buffered, buffered | {"PYTHONUNBUFFERED": "1"}):
            with Path("/dev/full").open("wb") as full, process(*arguments, stdout=full, env=environment) as ran:
                _, stderr = ran.communicate(timeout=120)
            assert ran.returncode == 1
            assert stderr.startswith(b"error: cannot write to standard output (no space left on device)")
            assert stderr.count(b"\n") == 1


def test_closed_stdout_is_an_error(face: Path) -> None:
    for arguments in ("attributes", f"reconstruct {face} -o -"):
        command = ["sh", "-c", f'"{sys.executable}" -m stedit {arguments} >&-']
        ran = subprocess.run(command, capture_output=True, timeout=120, check=False)
        assert ran.returncode == 1
        assert ran.stderr == b"error: cannot write to standard output (it is closed): send it somewhere else\n"


def test_pipe_of_two_commands_gives_an_image(process: Process, face: Path) -> None:
    with process("edit", "-a", "smile", "-", "-f", "webp") as ran:
        stdout, stderr = ran.communicate(face.read_bytes(), timeout=120)
    assert (ran.returncode, stderr) == (0, b"")
    assert stdout[:4] == b"RIFF"
