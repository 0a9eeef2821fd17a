"""`stedit invert` and `stedit reconstruct` give what the engine gives, for pictures, latent files and pipes."""

from __future__ import annotations

import functools
import io
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import Pixels, read_image
from stedit.inversion.options import InversionOptions, TuningOptions
from stedit.storage.bundle import Bundle
from stedit.storage.bundle_config import PART_CONFIGS
from stedit.storage.latents import LatentCode
from stedit.storage.tunings import Tuning

Cli = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle)


def decoded(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_invert_writes_the_code_and_its_origin(cli: Cli, face: Path, engine: Engine, tiny_bundle: Path) -> None:
    result = cli("invert", face)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "face.latent.safetensors\n", "")
    code = LatentCode.load("face.latent.safetensors")
    np.testing.assert_allclose(code.w, engine.invert(read_image(face))[0], atol=1e-6)
    bundle = Bundle.load(tiny_bundle)
    assert (code.model, code.fingerprint) == ("tiny-32", bundle.fingerprint)
    assert (code.method, code.source) == ("encoder", "face.png")


def test_reconstruct_gives_the_engines_image(cli: Cli, face: Path, engine: Engine) -> None:
    result = cli("reconstruct", face)
    assert (result.exit_code, result.stdout) == (0, "face.reconstruct.png\n")
    written = read_image("face.reconstruct.png").astype(int)
    assert abs(written - engine.reconstruct(read_image(face))[0]).max() <= 1


def test_reconstruct_latent_file_equals_reconstruct_image(cli: Cli, face: Path) -> None:
    cli("reconstruct", face, "-o", "direct.png")
    cli("invert", face)
    result = cli("reconstruct", "face.latent.safetensors")
    assert result.stdout == "face.reconstruct.png\n"
    assert abs(read_image("face.reconstruct.png").astype(int) - read_image("direct.png")).max() <= 1


def test_reconstruct_twice_gives_the_same_bytes(cli: Cli, face: Path) -> None:
    for command, output in (("invert", "{}.latent.safetensors"), ("reconstruct", "{}.png")):
        for name in ("one", "two"):
            assert cli(command, face, "-o", output.format(name)).exit_code == 0
        assert Path(output.format("one")).read_bytes() == Path(output.format("two")).read_bytes()


def test_batch_size_does_not_change_images(cli: Cli, photos: Path) -> None:
    for size in (1, 3, 8):
        assert cli("reconstruct", "-r", photos, "-o", f"by-{size}", "-b", size).exit_code == 0
    for one in sorted(Path("by-1").rglob("*.png")):
        for size in (3, 8):
            other = Path(f"by-{size}") / one.relative_to("by-1")
            assert abs(read_image(one).astype(int) - read_image(other)).max() <= 1


@pytest.fixture
def noisy_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The small model with noise that shows; an untrained generator gives it no weight."""
    tiny = Bundle.load(tiny_bundle)
    parts = {name: (PART_CONFIGS[name].from_dict(tiny.parts[name].config), tiny.read_part(name)) for name in tiny.parts}
    for name, tensor in parts["generator"][1].items():
        if name.endswith("noise_strength"):
            tensor.fill_(1)
    kept = {name: parts[name] for name in ("generator", "encoder")}
    return Bundle.save(tmp_path / "noisy", name="noisy", domain="", license="", parts=kept, readme="").path


def test_noise_mode_and_seed_reach_the_generator(cli: Cli, face: Path, noisy_bundle: Path) -> None:
    pictures = {}
    for name in ("const", "none", "random --seed 1", "random --seed 1 -q", "random --seed 2"):
        arguments = ("--model", noisy_bundle, "--noise", *name.split())
        assert cli("reconstruct", face, "-o", f"{name}.png", *arguments).exit_code == 0
        pictures[name] = read_image(f"{name}.png")
    assert np.array_equal(pictures["random --seed 1"], pictures["random --seed 1 -q"])
    for name in ("const", "none", "random --seed 2"):
        assert not np.array_equal(pictures["random --seed 1"], pictures[name])


def test_edit_model_without_attributes_is_refused(cli: Cli, face: Path, noisy_bundle: Path) -> None:
    result = cli("edit", "-a", "smile", face, "--model", noisy_bundle)
    assert result.exit_code == 2
    assert "the model knows no attributes" in result.stderr


def test_reconstruct_stdin_writes_to_stdout(cli: Cli, face: Path) -> None:
    cli("reconstruct", face)
    result = cli("reconstruct", "-", stdin=face.read_bytes())
    assert result.exit_code == 0
    assert np.array_equal(decoded(result.stdout_bytes), read_image("face.reconstruct.png"))
    as_jpeg = cli("reconstruct", "-", "--format", "jpg", stdin=face.read_bytes())
    assert as_jpeg.stdout_bytes[:3] == b"\xff\xd8\xff"


def test_invert_stdin_writes_a_code_to_stdout(cli: Cli, face: Path) -> None:
    cli("invert", face)
    assert cli("invert", face, "-o", "-").stdout_bytes == Path("face.latent.safetensors").read_bytes()


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_format_decides_name_and_encoding(cli: Cli, face: Path, form: str, magic: bytes) -> None:
    assert cli("reconstruct", face, "--format", form).stdout == f"face.reconstruct.{form}\n"
    assert Path(f"face.reconstruct.{form}").read_bytes().startswith(magic)


def test_sheet_shows_source_left_of_reconstruction(cli: Cli, face: Path, engine: Engine) -> None:
    assert cli("reconstruct", face, "--sheet").stdout == "face.reconstruct.sheet.png\n"
    sheet = read_image("face.reconstruct.sheet.png").astype(int)
    assert sheet.shape[1] == 3 * 4 + 2 * 32
    assert sheet.shape[0] > 32 + 2 * 4  # captions stand above
    left, right = sheet[-36:-4, 4:36], sheet[-36:-4, 40:72]
    assert abs(right - engine.reconstruct(read_image(face))[0]).max() <= 1
    assert abs(left - right).mean() > 10
    assert abs(left - np.asarray(Image.open(face).crop((0, 4, 40, 44)).resize((32, 32)))).mean() < 10


def test_sheet_of_latent_file_shows_no_source(cli: Cli, face: Path) -> None:
    cli("invert", face)
    cli("reconstruct", "face.latent.safetensors", "--sheet", "-o", "sheet.png")
    assert read_image("sheet.png").shape[1] == 2 * 4 + 32


def test_folder_of_latent_files_is_read_like_images(cli: Cli, photos: Path) -> None:
    assert cli("invert", "-r", photos, "-o", "codes").stdout.splitlines() == [
        "codes/a.latent.safetensors",
        "codes/b.latent.safetensors",
        "codes/c.latent.safetensors",
        "codes/deeper/d.latent.safetensors",
    ]
    assert cli("reconstruct", "-r", "codes").stdout.splitlines() == [
        "codes/a.reconstruct.png",
        "codes/b.reconstruct.png",
        "codes/c.reconstruct.png",
        "codes/deeper/d.reconstruct.png",
    ]


def test_invert_folder_twice_passes_over_latent_files(cli: Cli, photos: Path) -> None:
    cli("invert", photos)
    again = cli("invert", photos)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "3 skipped" in again.stderr


def test_damaged_latent_file_is_refused(cli: Cli) -> None:
    Path("face.latent.safetensors").write_bytes(b"junk")
    result = cli("reconstruct", "face.latent.safetensors")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: face.latent.safetensors is not a latent code")


def test_latent_file_of_another_model_is_refused_by_name(cli: Cli, engine: Engine) -> None:
    LatentCode(np.zeros(engine.code_shape, np.float32), "other", "0" * 16).save("alien.latent.safetensors")
    result = cli("reconstruct", "alien.latent.safetensors")
    assert result.exit_code == 1
    assert "'other'" in result.stderr
    assert "'tiny-32'" in result.stderr


# Methods


@pytest.mark.parametrize("method", ["optimise", "hybrid"])
def test_invert_method_gives_the_engines_code_and_records_it(cli: Cli, face: Path, engine: Engine, method: str) -> None:
    result = cli("invert", face, "--method", method, "--steps", 4, "--loss", "l2=2,perceptual")
    assert (result.exit_code, result.stdout) == (0, "face.latent.safetensors\n")
    assert f"{method}: at most 4 steps in w+, on 2 l2 + 0.02 perceptual (" in result.stderr
    code = LatentCode.load("face.latent.safetensors")
    options = InversionOptions(steps=4, losses={"l2": 2, "perceptual": 0.02})
    expected = engine.invert(read_image(face), method=method, options=options)  # type: ignore[call-overload]
    np.testing.assert_allclose(code.w, expected[0], atol=1e-3)
    assert (code.method, code.tuning) == (method, "")


def test_invert_hybrid_is_closer_than_encoder(cli: Cli, face: Path) -> None:
    target = np.asarray(Image.open(face).crop((0, 4, 40, 44)).resize((32, 32))).astype(int)
    errors = []
    for method in ("encoder", "hybrid"):
        cli("reconstruct", face, "--method", method, "-o", f"{method}.png", *(["--steps", 30] * (method == "hybrid")))
        errors.append(((read_image(f"{method}.png") - target) ** 2).mean())
    assert errors[1] < 0.8 * errors[0]


def test_invert_space_w_gives_one_style_to_all_layers(cli: Cli, face: Path) -> None:
    assert cli("invert", face, "--method", "optimise", "--steps", 3, "--space", "w").exit_code == 0
    assert np.ptp(LatentCode.load("face.latent.safetensors").w, axis=0).max() == 0


def test_reconstruct_images_and_codes_in_one_batch(cli: Cli, photos: Path) -> None:
    """Codes that were read stay as they are, whatever the method, and each record tells of its own picture."""
    cli("invert", photos / "a.png")
    code = photos / "a.latent.safetensors"
    arguments = ("--method", "hybrid", "--steps", 3, "--json", "-o", "out/")
    result = cli("reconstruct", code, photos / "b.jpg", photos / "c.webp", *arguments)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert ["steps" in record for record in records] == [False, True, True]
    assert [record.get("method") for record in records] == [None, "hybrid", "hybrid"]
    for record in records[1:]:
        assert record["steps"] == 3
        assert set(record["losses"]) == {"l2", "perceptual"}
        assert record["loss"] > 0
        assert -10 < record["psnr"] < 60
    assert records[1]["psnr"] != records[2]["psnr"]
    cli("reconstruct", code, "-o", "alone.png")
    assert abs(read_image("alone.png").astype(int) - read_image("out/a.reconstruct.png")).max() <= 1


def test_verbose_notes_the_loss_of_each_image(cli: Cli, face: Path) -> None:
    result = cli("invert", face, "--method", "hybrid", "--steps", 2, "-v")
    assert re.search(r"face\.png: hybrid: 2 steps, loss \d+\.\d{4}, -?\d+\.\d\d dB", result.stderr)
    quiet = cli("invert", face, "--method", "hybrid", "--steps", 2, "-q", "--overwrite")
    assert quiet.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--steps", "5"], "steps do not apply to the method encoder"),
        (["--loss", "l2"], "losses do not apply to the method encoder"),
        (["--space", "w"], "the method encoder finds codes in w+ only"),
        (["--method", "iterative", "--space", "w"], "the method iterative finds codes in w+ only"),
        (["--method", "hybrid", "--loss", "ssim"], "the losses 'ssim' name 'ssim', which is not a loss"),
        (["--method", "hybrid", "--steps", "0"], "--steps"),
        (["--method", "magic"], "'magic' is not one of"),
        (["--method", "hybrid", "--steps", "1000000"], "give 1 to 100000"),
    ],
)
def test_invert_contradiction_is_refused_before_any_work(cli: Cli, face: Path, arguments: list[str], what: str) -> None:
    result = cli("invert", face, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert what in result.stderr
    assert not Path("face.latent.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--method", "iterative"], "the encoder of 'tiny-32' was not trained on its own renderings"),
        (["--method", "hybrid", "--loss", "identity"], "the model has no identity network"),
    ],
)
def test_invert_missing_part_is_refused(cli: Cli, face: Path, arguments: list[str], what: str) -> None:
    result = cli("invert", face, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert what in result.stderr


def test_invert_optimise_needs_no_encoder(cli: Cli, face: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    tiny = Bundle.load(tiny_bundle)
    config = PART_CONFIGS["generator"].from_dict(tiny.parts["generator"].config)
    parts = {"generator": (config, tiny.read_part("generator"))}
    alone = Bundle.save(tmp_path / "alone", name="alone", domain="", license="", parts=parts, readme="").path
    result = cli("reconstruct", face, "--model", alone, "--method", "optimise", "--steps", 2)
    assert (result.exit_code, result.stdout) == (0, "face.reconstruct.png\n")
    assert "on l2\n" in result.stderr


# Tuning


@pytest.fixture
def short_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stedit.inversion.options.TuningOptions", functools.partial(TuningOptions, steps=30))


@pytest.fixture
def tuned(cli: Cli, face: Path, short_tuning: None) -> Path:
    """`face.latent.safetensors` and the tuning beside it."""
    del short_tuning
    result = cli("invert", face, "--tune", "--loss", "l2")
    assert (result.exit_code, result.stdout) == (0, "face.latent.safetensors\n")
    assert "tuning: at most 30 steps of rank 8, on l2" in result.stderr
    return Path("face.latent.safetensors")


def test_tuned_code_is_rendered_by_its_generator(cli: Cli, tuned: Path, engine: Engine) -> None:
    code, tuning = LatentCode.load(tuned), Tuning.load("face.tuning.safetensors")
    assert (code.method, code.tuning) == ("encoder", tuning.digest)
    assert cli("reconstruct", tuned).exit_code == 0
    drawn = read_image("face.reconstruct.png").astype(int)
    assert np.array_equal(drawn, engine.synthesise(code.w, tunings=[tuning])[0])
    assert abs(drawn - engine.synthesise(code.w)[0]).mean() > 1
    cli("reconstruct", "face.png", "--tune", "--loss", "l2", "-o", "direct.png")
    assert abs(read_image("direct.png") - drawn).max() <= 1


def test_tuned_code_edit_keeps_its_generator(cli: Cli, tuned: Path, engine: Engine) -> None:
    tuning = Tuning.load("face.tuning.safetensors")
    result = cli("edit", "-a", "smile", tuned, "-f", "latent", "-o", "edits/")
    assert result.stdout == "edits/face.smile.latent.safetensors\n"
    edited = LatentCode.load("edits/face.smile.latent.safetensors")
    assert Tuning.load("edits/face.smile.tuning.safetensors").digest == edited.tuning == tuning.digest
    assert cli("edit", "-a", "smile", tuned, "-o", "smile.png").exit_code == 0
    assert cli("reconstruct", "edits/face.smile.latent.safetensors", "-o", "again.png").exit_code == 0
    expected = engine.synthesise(edited.w, tunings=[tuning])[0].astype(int)
    for name in ("smile.png", "again.png"):
        assert abs(read_image(name) - expected).max() <= 1


def test_tuning_missing_or_of_another_code_is_refused(cli: Cli, tuned: Path) -> None:
    tuning = Path("face.tuning.safetensors")
    good = Tuning.load(tuning)
    name, (up, down) = next(iter(good.factors.items()))
    replace(good, factors={**good.factors, name: (up + np.float16(1), down)}).save(tuning)
    result = cli("reconstruct", tuned)
    assert result.exit_code == 1
    assert "belongs to another code" in result.stderr
    tuning.unlink()
    result = cli("reconstruct", tuned)
    assert result.exit_code == 1
    assert "face.tuning.safetensors is missing" in result.stderr


def test_invert_again_without_tune_removes_the_tuning(cli: Cli, tuned: Path, engine: Engine) -> None:
    assert cli("invert", "face.png", "--overwrite").exit_code == 0
    code = LatentCode.load(tuned)
    assert code.tuning == ""
    cli("reconstruct", tuned)
    assert abs(read_image("face.reconstruct.png").astype(int) - engine.synthesise(code.w)[0]).max() <= 1


def test_tune_to_stdout_is_refused(cli: Cli, face: Path, tuned: Path) -> None:
    result = cli("invert", face, "--tune", "-o", "-")
    assert result.exit_code == 2
    assert "a tuned code is two files" in result.stderr
    result = cli("edit", "-a", "smile", tuned, "-f", "latent", "-o", "-")
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert "a tuned code is two files" in result.stderr


def test_folder_with_tunings_is_read_like_any_other(cli: Cli, tuned: Path) -> None:
    del tuned
    result = cli("reconstruct", ".")
    assert result.stdout == "face.reconstruct.png\n"


def test_interrupted_invert_keeps_what_is_done(process: Process, photos: Path) -> None:
    def listen_to_ctrl_c() -> None:  # which jobs in the background are told to ignore
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    arguments = ("--method", "hybrid", "--steps", "150", "-b", "1", "-o", "codes")
    with process("invert", photos, *arguments, preexec_fn=listen_to_ctrl_c) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"codes/a.latent.safetensors\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    assert running.returncode == 130
    assert re.search(rb"stopped after [12] of 3: the same command goes on", errors)
    assert {path.name for path in Path("codes").iterdir()} <= {f"{name}.latent.safetensors" for name in "abc"}
    assert len(list(Path("codes").iterdir())) < 3
    LatentCode.load("codes/a.latent.safetensors")


def test_bar_shows_steps_and_loss(process: Process, face: Path) -> None:
    terminal, child_end = pty.openpty()
    with process("invert", face, "--method", "hybrid", "--steps", "60", stderr=child_end) as ran:
        os.close(child_end)
        seen = b""
        while True:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # how Linux says that the other end is closed
                break
        assert ran.wait(timeout=120) == 0
    os.close(terminal)
    assert re.search(rb"step \d+ of 60, loss \d+\.\d{4}", seen)
