"""Other tools' latent codes go in and out of every command that takes codes, and `stedit codes` exchanges them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from typer.testing import Result

from stedit.engine import Engine
from stedit.imaging.files import read_image
from stedit.storage.bundle import Bundle
from stedit.storage.latents import LatentCode

Cli = Callable[..., Result]
Codes = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def engine(tiny_bundle: Path) -> Engine:
    return Engine.from_pretrained(tiny_bundle)


@pytest.fixture
def codes(engine: Engine) -> Codes:
    """Two codes (2, N, D) that differ in every style, and are longer than directions."""
    return np.random.default_rng(1).normal(size=(2, *engine.code_shape)).astype(np.float32) + 1


@pytest.fixture
def files(codes: Codes) -> None:
    """Files of other tools."""
    np.savez("projected_w.npz", w=codes[:1])
    np.save("w.npy", codes[0, :1])
    torch.save(torch.from_numpy(codes), "latents.pt")
    torch.save({"jane.jpg": torch.from_numpy(codes[0]), "joe.png": torch.from_numpy(codes[1])}, "people.pt")


@pytest.mark.usefixtures("files")
def test_code_of_another_tool_renders_as_the_engine_renders_it(cli: Cli, engine: Engine, codes: Codes) -> None:
    result = cli("reconstruct", "projected_w.npz")
    assert (result.exit_code, result.stdout) == (0, "projected_w.reconstruct.png\n")
    assert "projected_w.npz does not say which model its codes are of" in result.stderr
    assert "codes of tiny-32" in result.stderr
    np.testing.assert_array_equal(read_image("projected_w.reconstruct.png"), engine.synthesise(codes[:1])[0])
    cli("reconstruct", "w.npy")
    style = np.repeat(codes[:1, :1], codes.shape[1], axis=1)
    np.testing.assert_array_equal(read_image("w.reconstruct.png"), engine.synthesise(style)[0])


@pytest.mark.usefixtures("files")
def test_several_codes_in_a_file_are_several_inputs(cli: Cli, engine: Engine, codes: Codes) -> None:
    result = cli("edit", "-a", "smile", "people.pt", "--json")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["input"] for record in records] == ["people.pt:jane", "people.pt:joe"]
    assert [record["output"] for record in records] == ["jane.smile.png", "joe.smile.png"]
    edited = engine.synthesise(engine.edit_by_label(codes, "smile"))
    np.testing.assert_allclose(read_image("joe.smile.png").astype(int), edited[1].astype(int), atol=1)
    assert cli("reconstruct", "latents.pt", "-o", "out/").stdout.split() == [
        "out/latents-0.reconstruct.png",
        "out/latents-1.reconstruct.png",
    ]
    assert cli("reconstruct", "people.pt:joe", "-o", "joe.png").exit_code == 0
    np.testing.assert_array_equal(read_image("joe.png"), engine.synthesise(codes[1:])[0])


@pytest.mark.usefixtures("files")
def test_references_and_mixing_take_one_code_of_a_file(cli: Cli, face: Path) -> None:
    result = cli("edit", "-a", "smile", "--ref", "people.pt:joe", face)
    assert (result.exit_code, result.stdout) == (0, "face.smile-from-joe.png\n")
    result = cli("mix", face, "people.pt:jane")
    assert (result.exit_code, result.stdout) == (0, "face.mix-jane.png\n")
    result = cli("mix", face, "people.pt")
    assert result.exit_code == 1
    assert "people.pt holds 2 codes, and this takes one: name it, as in people.pt:jane" in result.stderr
    assert "holds no code 'nobody': it holds jane, joe" in cli("reconstruct", "people.pt:nobody").stderr


@pytest.mark.usefixtures("files")
def test_attributes_and_directions_learn_from_codes(cli: Cli) -> None:
    lines = cli("attributes", "people.pt", "--json").stdout.splitlines()
    assert [json.loads(line)["input"] for line in lines] == ["people.pt:jane", "people.pt:joe"]
    many = np.random.default_rng(0).normal(size=(40, 8, 16)).astype(np.float32) + 1
    np.savez("many.npz", **{f"face{i}": w for i, w in enumerate(many)})
    rows = "".join(f"face{i}.jpg,{int(w[0, 0] > 1)}\n" for i, w in enumerate(many))
    Path("labels.csv").write_text("file,winking\n" + rows)
    result = cli("directions", "learn", "-a", "winking", "--labels", "labels.csv", "many.npz", "-o", "d.safetensors")
    assert result.exit_code == 0, result.stderr
    assert "of 40 in all" in result.stderr


@pytest.mark.usefixtures("files")
def test_folder_gives_the_codes_that_fit_the_model(cli: Cli) -> None:
    np.save("other.npy", np.ones((18, 512), np.float32))
    torch.save(torch.ones(1, 16) / 4, "smile.pt")  # a direction
    torch.save({"state_dict": {"weight": torch.ones(3, 3, 3, 3)}}, "checkpoint.pt")
    result = cli("reconstruct", ".", "-n")
    assert sorted(line.partition(" -> ")[0] for line in result.stdout.splitlines()) == [
        "latents.pt:latents-0",
        "latents.pt:latents-1",
        "people.pt:jane",
        "people.pt:joe",
        "projected_w.npz",
    ]


def test_code_of_other_sizes_fails_alone(cli: Cli, codes: Codes) -> None:
    torch.save({"a": torch.from_numpy(codes[0]), "b": torch.ones(18, 512), "c": torch.full((8, 16), torch.nan)}, "x.pt")
    result = cli("reconstruct", "x.pt")
    assert (result.exit_code, result.stdout) == (1, "a.reconstruct.png\n")
    assert "x.pt:b is of 18 x 512 numbers, and the model takes 8 x 16" in result.stderr
    assert "with --model" in result.stderr
    assert "x.pt:c holds numbers that are not finite" in result.stderr


@pytest.mark.parametrize("ending", ["npz", "npy", "pt"])
def test_inversion_and_edits_write_what_other_tools_read(cli: Cli, face: Path, engine: Engine, ending: str) -> None:
    result = cli("invert", face, "-o", f"x.{ending}")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"x.{ending}\n", "")
    if ending == "pt":
        w = torch.load("x.pt", weights_only=True).numpy()
    else:
        w = np.load("x.npz")["w"] if ending == "npz" else np.load("x.npy")
    np.testing.assert_allclose(w, engine.invert(read_image(face)), atol=1e-6)
    assert cli("invert", face, "-f", ending).stdout == f"face.{ending}\n"
    assert cli("edit", "-a", "smile", face, "-f", ending).stdout == f"face.smile.{ending}\n"
    assert "1 skipped" in cli("invert", face, "-f", ending).stderr
    assert cli("reconstruct", ".", "-n").stdout.count("\n") == 2  # x and face.png, not what is made of face.png


@pytest.mark.parametrize("output", ["x.xyz", "x.png", "x.safetensors", "codes.json"])
def test_unknown_ending_of_an_output_is_refused(cli: Cli, face: Path, output: str) -> None:
    result = cli("invert", face, "-o", output)
    assert result.exit_code == 2
    assert "choose from .latent.safetensors, .npz, .npy, .pt" in result.stderr
    assert not Path(output).exists()


def test_tuned_code_is_not_written_without_its_tuning(cli: Cli, face: Path) -> None:
    result = cli("invert", face, "--tune", "-o", "x.npz")
    assert result.exit_code == 2
    assert "write .latent.safetensors" in result.stderr


@pytest.mark.usefixtures("files")
def test_import_makes_latent_files_of_the_model(cli: Cli, codes: Codes, tiny_bundle: Path) -> None:
    result = cli("codes", "import", "people.pt", "w.npy", "-o", "codes")
    assert result.stdout.split() == [f"codes/{name}.latent.safetensors" for name in ("jane", "joe", "w")]
    assert "cannot be checked, but for their sizes" in result.stderr
    code, bundle = LatentCode.load("codes/joe.latent.safetensors"), Bundle.load(tiny_bundle)
    np.testing.assert_array_equal(code.w, codes[1])
    assert (code.model, code.fingerprint, code.method, code.source) == (
        "tiny-32",
        bundle.fingerprint,
        "import",
        "people.pt",
    )
    assert "2 skipped" in cli("codes", "import", "people.pt", "-o", "codes").stderr
    assert cli("reconstruct", "codes/joe.latent.safetensors").stderr == ""


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("ending", ["npz", "npy", "pt"])
def test_export_and_import_give_the_same_code(cli: Cli, ending: str) -> None:
    cli("codes", "import", "people.pt", "-o", "codes")
    original = Path("codes/joe.latent.safetensors").read_bytes()
    assert cli("codes", "export", "codes/joe.latent.safetensors", "-f", ending).stdout == f"codes/joe.{ending}\n"
    assert cli("codes", "export", "codes", "-f", ending).stdout == f"codes/jane.{ending}\n"  # joe's is there
    cli("codes", "import", f"codes/joe.{ending}", "-o", "back/")
    back = LatentCode.load("back/joe.latent.safetensors")
    np.testing.assert_array_equal(back.w, LatentCode.load("codes/joe.latent.safetensors").w)
    assert Path("codes/joe.latent.safetensors").read_bytes() == original


@pytest.mark.usefixtures("files")
def test_export_joins_codes_in_one_file(cli: Cli, codes: Codes) -> None:
    cli("codes", "import", "people.pt", "-o", "codes")
    assert cli("codes", "export", "codes", "-o", "all.pt").stdout == "all.pt\n"
    np.testing.assert_array_equal(torch.load("all.pt", weights_only=True).numpy(), codes)
    cli("codes", "export", "codes", "-o", "all.npz")
    assert sorted(np.load("all.npz")) == ["jane", "joe"]
    assert "1 skipped" in cli("codes", "export", "codes", "-o", "all.npz").stderr
    result = cli("codes", "export", "w.npy", "people.pt", "-o", "mixed.npy")
    assert result.exit_code == 1
    assert "codes of several shapes do not fit one file" in result.stderr
    assert not Path("mixed.npy").exists()
    result = cli("codes", "export", "all.npz", "-o", "all.npz", "--overwrite")
    assert (result.exit_code, sorted(np.load("all.npz"))) == (2, ["jane", "joe"])


@pytest.mark.usefixtures("files")
def test_info_tells_what_is_in_files(cli: Cli) -> None:
    cli("codes", "import", "w.npy")
    lines = cli("codes", "info", "w.npy", "people.pt", "w.latent.safetensors").stdout.splitlines()
    assert lines[0].startswith("w.npy  1 x 16 in W  of an unknown model")
    assert [line.partition("  ")[0] for line in lines[1:3]] == ["people.pt:jane", "people.pt:joe"]
    assert lines[3].startswith("w.latent.safetensors  8 x 16 in W+  of tiny-32 (")
    facts = json.loads(cli("codes", "info", "people.pt:joe", "--json").stdout)
    assert (facts["name"], facts["shape"], facts["space"], facts["model"]) == ("joe", [8, 16], "W+", None)
    result = cli("codes", "info", "nowhere.npz", "w.npy")
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    assert "nowhere.npz does not exist" in result.stderr


def test_picture_and_model_are_no_codes(cli: Cli, face: Path, tiny_bundle: Path) -> None:
    result = cli("codes", "import", face)
    assert (result.exit_code, "is no file of another tool's codes" in result.stderr) == (1, True)
    result = cli("codes", "export", tiny_bundle / "generator.safetensors", "-f", "npy", "-o", "out/")
    assert result.exit_code == 1
    assert "cannot be read as latent codes" in result.stderr


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("file", ["projected_w.npz", "people.pt", "latents.pt", "w.npy"])
def test_conversion_of_weights_knows_codes(cli: Cli, file: str) -> None:
    result = cli("weights", "convert", file, "-o", "model")
    assert result.exit_code == 1
    assert f"{file} holds latent codes" in result.stderr
    assert f"stedit codes import {file}" in result.stderr
    assert not Path("model").exists()
