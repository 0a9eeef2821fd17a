"""Directions of other tools: one vector in every shape and container gives the same change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stedit.checkpoints.interchange import load_directions
from stedit.engine import Engine
from stedit.errors import InputError, UsageError

N, D = 8, 16
SHARED = Path(__file__).parents[3] / "shared"
VECTOR = np.random.default_rng(0).normal(size=D).astype(np.float32)


def saved(name: str, content: Any) -> Path:
    path = Path(name)
    if path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    else:
        torch.save(content, path)
    return path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.pt", torch.from_numpy(VECTOR), "a"),
        ("a.pt", torch.nn.Parameter(torch.from_numpy(VECTOR)), "a"),
        ("a.pt", {"smile": torch.from_numpy(VECTOR)[None]}, "smile"),
        ("a.pt", {"smile": VECTOR}, "smile"),
        ("a.pt", [torch.from_numpy(VECTOR), torch.ones(D)], "a-00"),
        ("a.pt", VECTOR, "a"),
        ("a.pt", {"ckpt": "stylegan2.pt", "eigvec": torch.from_numpy(np.stack([VECTOR, VECTOR + 1], axis=1))}, "a-00"),
        ("a.npy", VECTOR[None], "a"),
        ("a.npy", {"smile": VECTOR}, "smile"),
        ("a.npy", np.tile(VECTOR, N), "a"),
        ("a.npy", np.tile(VECTOR, (1, N, 1)), "a"),
        ("a.npz", {"smile": VECTOR.astype(np.float64)}, "smile"),
    ],
)
def test_direction_in_every_container_gives_the_same_edit(
    name: str, content: Any, named: str, tiny_bundle: Path
) -> None:
    path = saved(name, content)
    assert next(iter(load_directions(path).vectors)) == named
    engine = Engine.from_pretrained(tiny_bundle)
    w = np.zeros((1, N, D), np.float32)
    plain = saved("plain.npy", VECTOR)
    expected = engine.edit_by_label(w, [], direction=f"linear:{plain}")
    assert np.abs(expected).max() > 0.1
    edited = engine.edit_by_label(w, [], direction=f"linear:{path}:{named}")
    np.testing.assert_allclose(edited, expected, rtol=1e-5, atol=1e-6)


def test_raw_strength_adds_the_vector_as_it_is(tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle)
    w = np.random.default_rng(1).normal(size=(2, N, D)).astype(np.float32)
    a, b = saved("a.npy", VECTOR), saved("b.npy", np.tile(-2 * VECTOR[::-1], (1, N, 1)))
    for text, change in [
        (f"linear:{a}", VECTOR),
        (f"linear:{a}*0.5", 0.5 * VECTOR),
        (f"linear:{a}*0.6+linear:{b}*-0.2", 0.6 * VECTOR + 0.4 * VECTOR[::-1]),
    ]:
        edited = engine.edit_by_label(w, [], strength=-3, direction=text, strength_unit="raw")
        np.testing.assert_allclose(edited, w - 3 * change, rtol=1e-5, atol=1e-5, err_msg=text)
    edited = engine.edit_by_label(w, [], direction=f"linear:{a}", layers=[2], strength_unit="raw")
    np.testing.assert_array_equal(edited[:, [0, 1, 3]], w[:, [0, 1, 3]])
    named = engine.edit_by_label(w, "no-smile", direction=f"linear:{a}", strength_unit="raw")
    np.testing.assert_allclose(named, w - VECTOR, rtol=1e-5, atol=1e-5)


def test_sum_in_deviations_is_the_sum_of_its_parts(tiny_bundle: Path) -> None:
    engine = Engine.from_pretrained(tiny_bundle)
    w = np.zeros((1, N, D), np.float32)
    a, b = (f"linear:{saved(name, vector)}" for name, vector in (("a.npy", VECTOR), ("b.npy", VECTOR[::-1].copy())))
    parts = [engine.edit_by_label(w, [], direction=text) for text in (a, b)]
    summed = engine.edit_by_label(w, [], direction=f"{a}*0.6+{b}*-0.2")
    np.testing.assert_allclose(summed, 0.6 * parts[0] - 0.2 * parts[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ([], {"direction": "linear:a.npy", "strength_unit": "sure"}, "only an attribute says"),
        (["smile"], {"strength_unit": "raw"}, "is for linear directions"),
        ([], {"direction": "linear:a.npy+linear:a.npy*-1"}, "adds up to nothing"),
        (["smile", "glasses"], {"direction": "linear:a.npy+sefa:0"}, "cannot serve 2 attributes"),
    ],
)
def test_direction_units_and_sums_that_mean_nothing_are_refused(
    tiny_bundle: Path, names: Any, options: Any, said: str
) -> None:
    saved("a.npy", VECTOR)
    with pytest.raises(UsageError) as caught:
        Engine.from_pretrained(tiny_bundle).edit_by_label(np.zeros((1, N, D), np.float32), names, **options)
    assert said in str(caught.value)


def test_direction_of_whole_numbers_is_read() -> None:
    signs = np.where(VECTOR > 0, 1, -1)
    np.testing.assert_array_equal(load_directions(saved("a.npy", signs)).vectors["a"][0], signs)


def test_components_of_ganspace_are_scaled_by_their_deviations() -> None:
    content = {
        "act_comp": np.ones((2, 1, 4)),
        "lat_comp": np.stack([VECTOR, -VECTOR])[:, None],
        "lat_stdev": np.array([2.0, 3.0]),
        "lat_mean": np.zeros((1, D)),
    }
    found = load_directions(saved("stylegan2-ffhq.npz", content)).vectors
    np.testing.assert_allclose(found["stylegan2-ffhq-01"][0], -3 * VECTOR, rtol=1e-6)


@pytest.mark.parametrize("content", [{"a": np.array("text")}, {"a": np.zeros(D)}, {"a": np.full(D, np.nan)}])
def test_file_that_holds_no_direction_is_refused_in_a_sentence(content: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_directions(saved("a.npz", content))
    assert str(caught.value).startswith("a.npz ")
    assert "numpy" not in str(caught.value).lower()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of files is not here")
def test_direction_files_of_the_collection_are_read() -> None:
    one = load_directions(SHARED / "cases/directions/param.pt").vectors["param"]
    for file in sorted((SHARED / "cases/directions").iterdir()):
        assert load_directions(file).vectors, file
    np.testing.assert_array_equal(load_directions(SHARED / "cases/directions/npz.npz").vectors["direction"], one)
    assert len(load_directions(SHARED / "directions/ganspace_ffhq_pca.pt").vectors) == 80
