"""`stedit invert` and `stedit reconstruct` give what the engine gives, for pictures, latent files and pipes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from stedit.bundle import PART_CONFIGS, Bundle
from stedit.engine import Engine
from stedit.imaging.files import Pixels, read_image
from stedit.latents import LatentCode

Cli = Callable[..., Result]


@pytest.fixture
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle)


def decoded(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_inversion_keeps_the_code_and_where_it_is_from(cli: Cli, face: Path, engine: Engine, tiny_bundle: Path) -> None:
    result = cli("invert", face)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "face.latent.safetensors\n", "")
    code = LatentCode.load("face.latent.safetensors")
    np.testing.assert_allclose(code.w, engine.invert(read_image(face))[0], atol=1e-6)
    bundle = Bundle.load(tiny_bundle)
    assert (code.model, code.fingerprint) == ("tiny-32", bundle.fingerprint)
    assert (code.method, code.source) == ("encoder", "face.png")


def test_reconstruction_is_the_engines(cli: Cli, face: Path, engine: Engine) -> None:
    result = cli("reconstruct", face)
    assert (result.exit_code, result.stdout) == (0, "face.reconstruct.png\n")
    written = read_image("face.reconstruct.png").astype(int)
    assert abs(written - engine.reconstruct(read_image(face))[0]).max() <= 1


def test_latent_file_reconstructs_as_its_picture_does(cli: Cli, face: Path) -> None:
    cli("reconstruct", face, "-o", "direct.png")
    cli("invert", face)
    result = cli("reconstruct", "face.latent.safetensors")
    assert result.stdout == "face.reconstruct.png\n"
    assert abs(read_image("face.reconstruct.png").astype(int) - read_image("direct.png")).max() <= 1


def test_same_input_gives_same_bytes(cli: Cli, face: Path) -> None:
    for command, output in (("invert", "{}.latent.safetensors"), ("reconstruct", "{}.png")):
        for name in ("one", "two"):
            assert cli(command, face, "-o", output.format(name)).exit_code == 0
        assert Path(output.format("one")).read_bytes() == Path(output.format("two")).read_bytes()


def test_batch_size_does_not_change_the_pictures(cli: Cli, photos: Path) -> None:
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


def test_noise_and_seed_reach_the_generator(cli: Cli, face: Path, noisy_bundle: Path) -> None:
    pictures = {}
    for name in ("const", "none", "random --seed 1", "random --seed 1 -q", "random --seed 2"):
        arguments = ("--model", noisy_bundle, "--noise", *name.split())
        assert cli("reconstruct", face, "-o", f"{name}.png", *arguments).exit_code == 0
        pictures[name] = read_image(f"{name}.png")
    assert np.array_equal(pictures["random --seed 1"], pictures["random --seed 1 -q"])
    for name in ("const", "none", "random --seed 2"):
        assert not np.array_equal(pictures["random --seed 1"], pictures[name])


def test_model_without_attributes_knows_none_to_edit(cli: Cli, face: Path, noisy_bundle: Path) -> None:
    result = cli("edit", "-a", "smile", face, "--model", noisy_bundle)
    assert result.exit_code == 2
    assert "the model knows no attributes" in result.stderr


def test_standard_input_goes_to_standard_output(cli: Cli, face: Path) -> None:
    cli("reconstruct", face)
    result = cli("reconstruct", "-", stdin=face.read_bytes())
    assert result.exit_code == 0
    assert np.array_equal(decoded(result.stdout_bytes), read_image("face.reconstruct.png"))
    as_jpeg = cli("reconstruct", "-", "--format", "jpg", stdin=face.read_bytes())
    assert as_jpeg.stdout_bytes[:3] == b"\xff\xd8\xff"


def test_latent_code_goes_to_standard_output(cli: Cli, face: Path) -> None:
    cli("invert", face)
    assert cli("invert", face, "-o", "-").stdout_bytes == Path("face.latent.safetensors").read_bytes()


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("jpg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_format_decides_name_and_kind(cli: Cli, face: Path, form: str, magic: bytes) -> None:
    assert cli("reconstruct", face, "--format", form).stdout == f"face.reconstruct.{form}\n"
    assert Path(f"face.reconstruct.{form}").read_bytes().startswith(magic)


def test_sheet_has_the_source_left_of_the_reconstruction(cli: Cli, face: Path, engine: Engine) -> None:
    assert cli("reconstruct", face, "--sheet").stdout == "face.reconstruct.sheet.png\n"
    sheet = read_image("face.reconstruct.sheet.png").astype(int)
    assert sheet.shape[1] == 3 * 4 + 2 * 32
    assert sheet.shape[0] > 32 + 2 * 4  # captions stand above
    left, right = sheet[-36:-4, 4:36], sheet[-36:-4, 40:72]
    assert abs(right - engine.reconstruct(read_image(face))[0]).max() <= 1
    assert abs(left - right).mean() > 10
    assert abs(left - np.asarray(Image.open(face).crop((0, 4, 40, 44)).resize((32, 32)))).mean() < 10


def test_sheet_of_a_latent_file_has_no_source(cli: Cli, face: Path) -> None:
    cli("invert", face)
    cli("reconstruct", "face.latent.safetensors", "--sheet", "-o", "sheet.png")
    assert read_image("sheet.png").shape[1] == 2 * 4 + 32


def test_folder_of_latent_files_is_worked_on_like_a_folder_of_pictures(cli: Cli, photos: Path) -> None:
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


def test_inverting_again_takes_no_latent_file_for_an_input(cli: Cli, photos: Path) -> None:
    cli("invert", photos)
    again = cli("invert", photos)
    assert (again.exit_code, again.stdout) == (3, "")
    assert "3 skipped" in again.stderr


def test_damaged_latent_file_is_refused_in_a_sentence(cli: Cli) -> None:
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
