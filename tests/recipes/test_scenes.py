"""The recipe's scenes: a person before a background, in a wide picture, which stands for a photograph."""

import numpy as np
import pytest

SIZE = 320


@pytest.fixture(scope="module")
def wide_renderer(faces):
    pytest.importorskip("numba")
    pytest.importorskip("scipy")
    from renderer.portrait import Renderer

    return Renderer(faces / "facekit.npz", SIZE, supersampling=2)


@pytest.mark.parametrize("name", ["room", "park"])
def test_the_face_lies_where_the_frame_puts_it(wide_renderer, name):
    from renderer.camera import crop_around
    from renderer.scenery import SCENERY
    from scenes import SCENES

    scene = SCENES[name]
    _, record = wide_renderer.render(scene.parameters(), scene.frame, SCENERY[scene.scenery](3, SIZE))
    square = crop_around(np.array(record["landmarks"]))
    half, middle = complex(square.right_x, square.right_y), complex(square.x, square.y) / (SIZE / 2) - (1 + 1j)
    assert abs(half) * 2 == pytest.approx(SIZE / scene.frame.zoom, rel=0.01)
    assert np.degrees(np.angle(half)) == pytest.approx(-scene.frame.tilt, abs=6)  # and the person's own roll
    assert middle.real == pytest.approx(scene.frame.x, abs=0.02)
    assert middle.imag == pytest.approx(scene.frame.y, abs=0.02)


def test_a_scene_shows_background_at_the_top_and_clothes_at_the_bottom(wide_renderer):
    from scenes import SCENES, render_scene

    pixels = render_scene(wide_renderer, SCENES["room"])
    assert pixels.shape == (SIZE * 3 // 4, SIZE, 3)
    assert np.array_equal(pixels, render_scene(wide_renderer, SCENES["room"]))
    red, _, blue = pixels[-6:, SIZE // 2 - 40 : SIZE // 2 + 40].reshape(-1, 3).mean(0)
    assert blue > red + 60  # a blue jumper
    red, _, blue = pixels[:6, SIZE // 3 : SIZE // 3 + 20].reshape(-1, 3).mean(0)
    assert red > blue + 15  # a warm wall
