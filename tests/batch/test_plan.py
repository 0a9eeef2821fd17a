"""Which files are taken, where outputs go, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedit.batch.inputs import collect_inputs
from stedit.batch.naming import output_suffix, own_outputs, stem_of
from stedit.batch.origins import Recipe
from stedit.batch.plan import OutputTarget, Plan, make_plan
from stedit.batch.request import Reconstruction
from stedit.errors import OutputError, UsageError
from stedit.imaging.files import encode_image
from stedit.imaging.provenance import Provenance
from stedit.storage.origin import digest_of, seal

ATTRIBUTES = ("Smiling", "Eyeglasses", "Wearing_Lipstick_Red")
RECIPE = Recipe("1" * 32, "2" * 32)
PICTURES = ("png", "jpg", "webp")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def planned(
    *inputs: str, what: str = "smile", output: str | None = None, form: str | None = None, **files: bool
) -> Plan:
    target = OutputTarget.parse(output, form, ("png", "jpg", "webp", "latent"))
    return make_plan(Reconstruction(), inputs, what, target, ATTRIBUTES, recipe=RECIPE, **files)


def pairs(plan: Plan) -> dict[str, str]:
    return {job.source.name: str(job.output) for job in plan.jobs}


def test_output_lies_beside_its_input() -> None:
    touch("in/face.png")
    assert pairs(planned("in/face.png")) == {"in/face.png": "in/face.smile.png"}
    assert pairs(planned("in/face.png", form="jpg")) == {"in/face.png": "in/face.smile.jpg"}
    assert pairs(planned("in/face.png", form="latent")) == {"in/face.png": "in/face.smile.latent.safetensors"}


def test_latent_file_is_called_by_the_same_stem() -> None:
    touch("face.latent.safetensors")
    assert pairs(planned("face.latent.safetensors")) == {"face.latent.safetensors": "face.smile.png"}


def test_inversion_gives_stem_and_latent_suffix() -> None:
    touch("a.b.png")
    assert pairs(planned("a.b.png", what="", form="latent")) == {"a.b.png": "a.b.latent.safetensors"}


def test_folder_is_mirrored_and_never_flattened() -> None:
    touch("in/a.png", "in/x/b.jpg", "in/x/y/c.webp", "in/readme.txt", "in/.hidden.png", "in/.cache/d.png")
    assert pairs(planned("in", output="out", recursive=True)) == {
        "in/a.png": "out/a.smile.png",
        "in/x/b.jpg": "out/x/b.smile.png",
        "in/x/y/c.webp": "out/x/y/c.smile.png",
    }
    assert pairs(planned("in", output="out")) == {"in/a.png": "out/a.smile.png"}
    assert pairs(planned("in", recursive=True))["in/x/b.jpg"] == "in/x/b.smile.png"


def test_named_file_is_taken_whatever_it_is_called() -> None:
    touch("face", ".face.png", "other.png", "other.sheet.png")
    assert len(planned("face", ".face.png", "other.sheet.png").jobs) == 3


def test_missing_file_is_left_to_the_reader_to_report() -> None:
    assert pairs(planned("nowhere.png")) == {"nowhere.png": "nowhere.smile.png"}


def test_file_named_twice_is_taken_once() -> None:
    touch("in/a.png")
    assert pairs(planned("in/a.png", "./in/a.png", "in")) == {"in/a.png": "in/a.smile.png"}


@pytest.mark.parametrize(
    ("output", "place", "form"),
    [
        ("out", "folder", "png"),
        ("out.v2", "folder", "png"),
        ("out.png/", "folder", "png"),
        ("there.png", "folder", "png"),  # a folder that exists
        ("new.JPEG", "file", "jpg"),
        ("new.webp", "file", "webp"),
        ("new.latent.safetensors", "file", "latent"),
        ("-", "stdout", "png"),
        (None, "beside", "png"),
    ],
)
def test_place_and_format_follow_from_the_output(output: str | None, place: str, form: str) -> None:
    Path("there.png").mkdir()
    target = OutputTarget.parse(output, None, ("png", "jpg", "webp", "latent"))
    assert (target.place, target.format) == (place, form)


@pytest.mark.parametrize(
    ("output", "form", "reason"),
    [
        ("a.png", "jpg", "contradict"),
        ("a.tiff", None, "choose from .png, .jpg, .webp"),
        ("a.safetensors", None, "choose from .png, .jpg, .webp"),
        ("a.latent.safetensors", None, "choose from .png, .jpg, .webp"),
        ("file", None, "is a file and not a folder"),
    ],
)
def test_contradicting_output_is_refused(output: str, form: str | None, reason: str) -> None:
    touch("file")
    with pytest.raises(UsageError, match=reason):
        OutputTarget.parse(output, form, PICTURES)


def test_two_inputs_for_one_output_are_refused_by_name() -> None:
    touch("one/a.png", "two/a.png")
    with pytest.raises(UsageError, match=r"one/a\.png and two/a\.png"):
        planned("one", "two", output="out")


def test_several_inputs_for_one_file_are_refused() -> None:
    touch("a.png", "b.png")
    for output in ("out.png", "-"):
        with pytest.raises(UsageError, match="results of 2 inputs: name a folder"):
            planned("a.png", "b.png", output=output)


def test_output_never_replaces_its_input() -> None:
    touch("a.png")
    os.link("a.png", "hard.png")
    Path("soft.png").symlink_to("a.png")
    for output in ("a.png", "./a.png", "hard.png", "soft.png"):
        with pytest.raises(UsageError, match="replaced by its own output"):
            planned("a.png", output=output, overwrite=True)


def test_pictures_of_one_stem_are_told_apart_by_their_endings() -> None:
    touch("in/a.png", "in/a.jpg", "in/b.png")
    assert pairs(planned("in", output="out")) == {
        "in/a.jpg": "out/a.jpg.smile.png",
        "in/a.png": "out/a.png.smile.png",
        "in/b.png": "out/b.smile.png",
    }
    assert pairs(planned("in", what="", form="latent"))["in/a.png"] == "in/a.png.latent.safetensors"
    touch("in/a.jpg.smile.png", "in/a.png.latent.safetensors")
    assert len(planned("in", output="out").jobs) == 3


def test_existing_outputs_are_skipped_or_refused_unless_told() -> None:
    touch("a.png", "b.png", "c.png", "b.smile.png")
    mark = Provenance("model", "smile", origin=RECIPE.origin(digest_of(b"")))
    sealed = seal(encode_image(np.zeros((4, 4, 3), np.uint8), "png", provenance=mark))
    assert sealed is not None
    Path("a.smile.png").write_bytes(sealed)
    plan = planned("a.png", "b.png", "c.png")
    assert [job.source.name for job in plan.skipped] == ["a.png"]
    assert [job.source.name for job, _ in plan.refused] == ["b.png"]
    assert pairs(plan) == {"c.png": "c.smile.png"}
    assert len(planned("a.png", "b.png", overwrite=True).jobs) == 2


def test_outputs_of_the_same_glob_are_no_inputs_of_the_next_run() -> None:
    touch("a.png", "a.smile.png")
    plan = planned("a.png", "a.smile.png", overwrite=True)
    assert pairs(plan) == {"a.png": "a.smile.png"}
    assert plan.inputs.left_out == (Path("a.smile.png"),)


def test_standard_input_goes_to_standard_output_unless_told() -> None:
    assert pairs(planned("-")) == {"-": "None"}
    assert pairs(planned("-", output="out")) == {"-": "out/stdin.smile.png"}
    assert pairs(planned("-", output="x.png")) == {"-": "x.png"}
    touch("a.png")
    with pytest.raises(UsageError, match="no folder to write beside"):
        planned("-", "a.png")


def test_empty_name_is_refused() -> None:
    with pytest.raises(UsageError, match="empty name"):
        planned("")


def test_output_folder_below_a_file_is_refused() -> None:
    touch("a.png", "file")
    with pytest.raises(OutputError, match="file is a file"):
        planned("a.png", output="file/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_refused() -> None:
    touch("a.png")
    Path("locked").mkdir(mode=0o500)
    with pytest.raises(OutputError, match="permission is denied"):
        planned("a.png", output="locked/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_unreadable_folder_is_reported_and_the_others_are_read() -> None:
    touch("in/a.png", "in/locked/b.png")
    Path("in/locked").chmod(0)
    gathered = collect_inputs(["in"], recursive=True, own_outputs_of=ATTRIBUTES)
    Path("in/locked").chmod(0o700)
    assert [source.name for source in gathered.sources] == ["in/a.png"]
    assert [name for name, _ in gathered.unreadable] == ["in/locked"]


def test_output_folder_inside_the_input_folder_is_no_input() -> None:
    touch("in/a.png", "in/out/a.smile.png")
    assert pairs(planned("in", output="in/out", recursive=True, overwrite=True)) == {"in/a.png": "in/out/a.smile.png"}


def test_folder_without_a_picture_is_told() -> None:
    touch("in/readme.txt", "in/deeper/a.png")
    assert planned("in").inputs.empty == (Path("in"),)
    assert planned("in", recursive=True).inputs.empty == ()


@pytest.mark.parametrize(
    "name",
    [
        "face.latent.safetensors",
        "face.reconstruct.png",
        "face.reconstruct.sheet.jpg",
        "face.aligned.face-2.jpg",
        "face.face-2.latent.safetensors",
        "face.face-2.npz",
        "face.aligned.face-12.smile.jpg",
        "face.smile.png",
        "face.no-smile.png",
        "face.SMILING.png",
        "face.smile+no-glasses@-0.5.webp",
        "face.smile@-2to2.png",  # as the version before called it
        "face.smile@-2to2x5.png",
        "face.smile@-2,-1,2.sheet.png",
        "face.png.smile.png",
        "face.smile-from-jane_2.sheet.png",
        "face.smile.latent.safetensors",
        "face.smile.reconstruct.png",  # of face.smile.png, which may have gone since
        "face.beard.png",  # of another model
        "face.wearing-lipstick-red.png",
    ],
)
def test_output_of_an_earlier_run_is_known_by_its_origin(name: str) -> None:
    assert own_outputs([Path("face.png"), Path(name)], ATTRIBUTES) == {Path(name)}
    assert own_outputs([Path("other.png"), Path(name)], ATTRIBUTES) == set()


@pytest.mark.parametrize(
    "name",
    ["face.2024.png", "face.cropped.png", "face.face-2.png", "face.smile.backup.png", "face.png", "face-smile.png"],
)
def test_picture_with_a_dot_in_its_name_is_not_taken_for_an_output(name: str) -> None:
    assert own_outputs([Path("face.jpg"), Path(name)], ATTRIBUTES) == set()


def test_latent_file_stands_for_its_picture_where_that_is_gone() -> None:
    files = [Path("face.latent.safetensors"), Path("face.smile.png")]
    assert own_outputs(files, ATTRIBUTES) == {Path("face.smile.png")}


@given(
    st.lists(st.sampled_from(["smile", "no-smile", "glasses", "no-glasses"]), min_size=1, max_size=3),
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=4),
    st.none() | st.text("ab.@-+ é", min_size=1).map(lambda text: Path(f"{text}.png")),
)
def test_every_name_that_an_edit_gets_is_known_again(
    names: list[str], strengths: list[float], ref: Path | None
) -> None:
    output = Path(f"face.{output_suffix(names, strengths, [f'from-{stem_of(ref)}'] if ref else [])}.png")
    assert own_outputs([Path("face.png"), output], ATTRIBUTES) == {output}


def test_strength_is_part_of_the_name_unless_it_is_the_default() -> None:
    assert output_suffix(["smile"], [1.0]) == "smile"
    assert output_suffix(["smile", "no-glasses"], [-1.5]) == "smile+no-glasses@-1.5"
    assert output_suffix(["smile"], [-2, 0, 2], ["from-jane.doe"]) == "smile-from-jane_doe@-2to2x3"
    assert output_suffix(["smile"], [-2, -1, 2]) == "smile@-2,-1,2"
    assert output_suffix(["smile", "bangs"], [(0.5, 1), (1, 1)]) == "smile+bangs@0.5+1,1+1"
    many = [output_suffix(["smile"], [*(i * 1.01 for i in range(40)), last]) for last in (50, 51)]
    assert many[0] != many[1]
    assert own_outputs([Path("face.png"), *(Path(f"face.{name}.png") for name in many)], ATTRIBUTES) == {
        Path(f"face.{name}.png") for name in many
    }
