"""The renderer of the recipe draws what the data set holds."""

import gzip
import importlib
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

NUMBERS = (0, 3, 5, 11, 24)  # of training pictures: beards, bangs, glasses and a hat are among them


def stored(faces, name, number):
    """A record of the data set, and its picture."""
    with gzip.open(faces / "dataset" / f"{name}.jsonl.gz", "rt") as lines:
        record = next(json.loads(line) for k, line in enumerate(lines) if k == number)
    with zipfile.ZipFile(faces / "dataset" / f"{name}-000.zip") as archive:
        return record, np.asarray(Image.open(io.BytesIO(archive.read(f"{record['id']}.jpg"))))


def same(order, rendered, record, picture):
    """Whether a rendered picture and its record are those of the data set."""
    from renderer.pictures import encode_jpeg

    pixels, made = rendered
    again = np.asarray(Image.open(io.BytesIO(encode_jpeg(pixels)))).astype(int)
    # another processor may round a few pixels differently, which a JPEG spreads over their blocks
    return {"id": order.name, **order.extra, **made} == record and (again != picture).mean() < 0.02


@pytest.mark.parametrize("number", NUMBERS)
def test_pictures_of_the_data_set_are_drawn_again(renderer, faces, number):
    from renderer.pictures import random_orders

    (order,) = random_orders("train", 1, [number])
    assert same(order, renderer.render(order.parameters), *stored(faces, "train", number))


def test_pairs_of_the_data_set_are_drawn_again(renderer, faces):
    from renderer.pictures import pair_orders

    orders = list(pair_orders("pairs", 3, [0]))
    for number in (5, 7, 11):  # with glasses, without a beard, blond
        order = orders[number]
        assert same(order, renderer.render(order.parameters), *stored(faces, "pairs", number))
    off, on = orders[4].parameters, orders[5].parameters
    assert (off != on).sum() == 1


def test_the_first_renderer_draws_the_same_pixels(renderer, faces, monkeypatch, pytestconfig):
    if not (faces / "render_faces.py").is_file():
        pytest.skip("there is no ../shared/faces/render_faces.py")
    folder = pytestconfig.cache.mkdir("first-renderer")  # where what numba compiles is kept, by the name of the module
    shutil.copy2(faces / "render_faces.py", folder)
    monkeypatch.syspath_prepend(str(folder))
    first = importlib.import_module("render_faces")
    other = first.Renderer(str(faces / "facekit.npz"))
    for number in NUMBERS:
        z = first.sample_params(1, number)
        pixels, record = other.render(z)
        mine, made = renderer.render(z)
        assert (mine == pixels).all()
        assert made == record


def test_a_missing_facekit_is_told_with_how_to_get_it(tmp_path):
    pytest.importorskip("numba")
    from renderer.head import FaceKitError, Head

    with pytest.raises(FaceKitError, match=r"there is no .*facekit\.npz: get ICT-FaceKit .*pack\.py"):
        Head(tmp_path / "facekit.npz")


def test_pictures_are_written_as_zip_files_and_records(tmp_path):
    pytest.importorskip("numba")
    from renderer.pictures import MEMBER_OVERHEAD, write_pictures

    made = [(f"p_{k}", bytes(100), {"id": f"p_{k}"}) for k in range(5)]
    assert write_pictures(made, tmp_path, "p", shard_bytes=2 * (100 + MEMBER_OVERHEAD)) == 5
    names = [zipfile.ZipFile(tmp_path / f"p-{shard:03d}.zip").namelist() for shard in range(3)]
    assert names == [["p_0.jpg", "p_1.jpg"], ["p_2.jpg", "p_3.jpg"], ["p_4.jpg"]]
    records = gzip.decompress((tmp_path / "p.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(line)["id"] for line in records] == ["p_0", "p_1", "p_2", "p_3", "p_4"]
    names = json.loads((tmp_path / "param_names.json").read_text())
    assert len(names["names"]) == 193
