"""Edits of painted faces, of which the true result is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stedit.photo.compositing import composite
from stedit.photo.fields import ellipse
from stedit.photo.transfer import estimate_change

SIZE = 384  # of the photograph; the model's renderings are of 128 px
LUMA = (0.299, 0.587, 0.114)


def face(skin=0.6, *, lips=(0.7, 0.3, 0.3), mouth=0.0, frames=False, grain=0.0, shade=1.0, backdrop=0.9):
    """A face (SIZE, SIZE, 3), its mouth so many sides lower; `shade` is a factor on the cheeks."""
    picture = np.full((SIZE, SIZE, 3), backdrop, np.float32)
    tint = np.array([1.0, 0.8, 0.68], np.float32)

    def fill(colour, x, y, width, height):
        inside = np.clip((1 - ellipse(SIZE, x, y, width, height)) * min(width, height) * SIZE + 0.5, 0, 1)[..., None]
        picture[:] = picture * (1 - inside) + inside * np.asarray(colour, np.float32)

    fill(0.15 * tint, 0.5, 0.45, 0.38, 0.42)
    fill(skin * tint, 0.5, 0.56, 0.28, 0.36)
    if shade != 1:
        near = np.exp(-(ellipse(SIZE, 0.5, 0.6, 0.2, 0.12) ** 2))[..., None]
        picture *= 1 + (shade - 1) * near
    for x in (0.38, 0.62):
        fill((0.95, 0.95, 0.95), x, 0.48, 0.05, 0.025)
        fill((0.2, 0.15, 0.1), x, 0.48, 0.02, 0.022)
    fill(lips, 0.5, 0.7 + mouth, 0.1, 0.03)
    if frames:
        for x in (0.38, 0.62):
            centre = int(x * SIZE), int(0.48 * SIZE)
            cv2.ellipse(picture, centre, (int(0.09 * SIZE), int(0.07 * SIZE)), 0, 0, 360, (0.05, 0.05, 0.05), 7)
    if grain:
        picture += grain * np.random.default_rng(1).standard_normal((SIZE, SIZE, 1)).astype(np.float32)
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def rendering(picture):
    return cv2.resize(picture, (128, 128), interpolation=cv2.INTER_AREA)


def carried(photo, before, after):
    return composite(photo, estimate_change(photo, rendering(before), rendering(after)))


def mean(picture, x, y, radius=0.02):
    return picture[ellipse(SIZE, x, y, radius, radius) < 1].mean(axis=0).astype(float)


def distance(a, b):
    return float(np.abs(a.astype(float) - b).mean())


def test_transfer_of_same_renderings_gives_the_photograph():
    photo = face(grain=0.03)
    change = estimate_change(photo, rendering(face()), rendering(face()))
    assert not change.mask.any()
    np.testing.assert_array_equal(composite(photo, change), photo)


def test_motion_moves_the_detail_of_the_photograph():
    photo, true = face(mouth=0.0, grain=0.0), face(mouth=0.03)
    change = estimate_change(photo, rendering(photo), rendering(true))
    rows = change.motion[..., 1]
    at_mouth = rows[ellipse(rows.shape[0], 0.5, 0.73, 0.06, 0.015) < 1]
    assert at_mouth.mean() == pytest.approx(-0.03, abs=0.006)
    assert distance(composite(photo, change), true) < 0.35 * distance(photo, true)
    assert np.abs(rows[ellipse(rows.shape[0], 0.5, 0.35, 0.2, 0.08) < 1]).max() < 1e-3  # the forehead stays


def test_lightness_factor_is_the_same_on_dark_and_light_skin():
    factors = []
    for skin in (0.25, 0.5, 0.8):
        photo = face(skin)
        result = carried(photo, face(1.15 * skin), face(1.15 * skin, shade=0.7))
        factors.append(mean(result, 0.5, 0.6) / mean(photo, 0.5, 0.6))
    assert np.ptp([factor.mean() for factor in factors]) < 0.06
    assert np.mean(factors) == pytest.approx(0.7, abs=0.08)


def grid(amount):
    """Faint lines (128, 128, 1) that repeat as in hair of the embedded generator: every 12 of 256 px."""
    line = amount * np.cos(np.arange(128) * 2 * np.pi / 6)
    return (line[:, None] + line)[..., None]


def test_a_grid_in_what_the_model_adds_stays_behind():
    before = rendering(face(0.6)).astype(np.float32)
    after = rendering(face(0.6, frames=True)).astype(np.float32)
    below = np.s_[44:58, 40:90]  # a beard, say, that is new
    after[70:100, 36:92] *= 0.3
    photo = face(0.6)
    plain, lined = (estimate_change(photo, before / 255, np.clip(after + x, 0, 255) / 255) for x in (0, grid(8)))
    assert np.abs(lined.matter - plain.matter).mean() < 2 / 255  # the lines are 5 apart in the mean
    thin = np.abs(rendering(face(0.6)).astype(float) - rendering(face(0.6, frames=True)))[below].max()
    assert thin > 60  # and frames, which are there once, are as dark as they were
    dark = carried(photo, face(0.6), face(0.6, frames=True))
    assert mean(dark, 0.38, 0.41, 0.008).max() < 0.5 * mean(photo, 0.38, 0.41, 0.008).max()


def hair(height, *, hat=False):
    """A face under much dark hair, or the same with a hat on the lower half of it that leaves hair above and beside."""
    picture = face(0.6, backdrop=0.7).astype(np.float32)
    rows, columns = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE
    bush = (ellipse(SIZE, 0.5, 0.3, 0.45, height) < 1) & (rows < 0.27)
    picture[bush] = (28, 24, 20)
    if hat:
        picture[(ellipse(SIZE, 0.5, 0.36, 0.34, 0.26) < 1) & (rows < 0.4) & (np.abs(columns - 0.5) < 0.34)] = (
            20,
            110,
            80,
        )
    return np.rint(picture).astype(np.uint8)


def test_a_hat_over_hair_is_opaque_and_hair_beside_it_stays():
    photo = hair(0.3)
    strands = np.random.default_rng(3).integers(0, 60, (SIZE, SIZE, 1))
    photo = np.where(photo < 30, photo + strands, photo).astype(np.uint8)
    result = carried(photo, hair(0.3), hair(0.3, hat=True))
    inside = ellipse(SIZE, 0.5, 0.2, 0.14, 0.05) < 1
    assert abs(np.corrcoef(result[inside][:, 1], photo[inside][:, 1])[0, 1]) < 0.4  # no strand shows through
    assert result[inside].mean(axis=0)[1] - result[inside].mean(axis=0)[0] > 50
    beside = ellipse(SIZE, 0.12, 0.24, 0.03, 0.02) < 1
    assert distance(result[beside], photo[beside]) < 3


def test_lip_colour_follows_the_outline_of_the_photograph():
    # the model paints the mouth a little lower than it is
    photo = face(mouth=0.0)
    before, after = face(mouth=0.008), face(mouth=0.008, lips=(0.6, 0.05, 0.15))
    result, true = carried(photo, before, after), face(lips=(0.6, 0.05, 0.15))
    assert distance(result, true) < 0.5 * distance(photo, true)
    below = mean(result, 0.5, 0.745, 0.008) - mean(photo, 0.5, 0.745, 0.008)
    assert np.abs(below).max() < 12


def test_new_matter_is_opaque():
    photo, true = face(), face(frames=True)
    change = estimate_change(photo, rendering(face()), rendering(true))
    frame = cv2.ellipse(
        np.zeros((SIZE, SIZE), np.uint8), (int(0.38 * SIZE), int(0.48 * SIZE)), (34, 26), 0, 0, 360, 1, 2
    )
    opacity = cv2.resize(change.opacity, (SIZE, SIZE))[frame > 0]
    assert np.median(opacity) > 0.9
    result = composite(photo, change)
    assert np.median(result[frame > 0]) < 60
    assert distance(result, true) < 0.5 * distance(photo, true)


def test_removed_matter_leaves_no_ghost():
    photo, true = face(frames=True), face()
    result = carried(photo, photo, true)
    lens = ellipse(SIZE, 0.38, 0.48, 0.12, 0.1) < 1
    assert distance(result[lens], true[lens]) < 0.15 * distance(photo[lens], true[lens])


def test_replaced_pixels_have_the_grain_of_the_photograph():
    photo = face(frames=True, grain=0.04)
    result = carried(photo, face(frames=True), face())
    fine = [x @ LUMA - cv2.GaussianBlur(x @ LUMA, (0, 0), 1.5) for x in (photo.astype(float), result.astype(float))]
    frame = cv2.ellipse(
        np.zeros((SIZE, SIZE), np.uint8), (int(0.38 * SIZE), int(0.48 * SIZE)), (34, 26), 0, 20, 160, 1, 3
    )
    cheek = ellipse(SIZE, 0.4, 0.62, 0.05, 0.03) < 1
    assert 0.5 < fine[1][frame > 0].std() / fine[0][cheek].std() < 1.5


def test_repainted_backdrop_stays_out_of_the_mask():
    photo = face(backdrop=0.5, grain=0.02)
    change = estimate_change(photo, rendering(face(backdrop=0.5)), rendering(face(backdrop=0.62, shade=0.7)))
    result = composite(photo, change)
    for x, y in ((0.05, 0.1), (0.95, 0.1), (0.04, 0.6), (0.96, 0.6)):
        spot = ellipse(SIZE, x, y, 0.03, 0.03) < 1
        np.testing.assert_array_equal(result[spot], photo[spot])
    assert mean(result, 0.5, 0.6).mean() < 0.85 * mean(photo, 0.5, 0.6).mean()


def test_white_hair_does_not_clip():
    before, after = face(), face()
    hair = (ellipse(SIZE, 0.5, 0.45, 0.38, 0.42) < 1) & (ellipse(SIZE, 0.5, 0.56, 0.28, 0.36) > 1)
    after[hair] = 200
    photo = face()
    strands = (0.5 + 0.5 * np.sin(np.arange(SIZE) / 2))[None, :, None] * 40
    photo[hair] = np.clip(photo + strands, 0, 255).astype(np.uint8)[hair]
    result = carried(photo, before, after)
    inner = cv2.erode(hair.astype(np.uint8), np.ones((9, 9))) > 0
    assert result[inner].mean() > 130
    assert (result[inner].max(axis=1) == 255).mean() < 0.02
    assert result[inner].std() > 5  # strands are still to be seen


def test_transfer_is_deterministic_with_any_threads():
    photo, other = face(grain=0.02), face(frames=True, mouth=0.02)
    results = []
    threads = cv2.getNumThreads()
    try:
        for count in (1, 2, 2):
            cv2.setNumThreads(count)
            results.append(carried(photo, face(), other))
    finally:
        cv2.setNumThreads(threads)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[1], results[2])


@pytest.mark.parametrize("size", [40, 128, 901])
def test_transfer_of_crops_of_any_size(size):
    photo = cv2.resize(face(grain=0.02), (size, size), interpolation=cv2.INTER_AREA)
    change = estimate_change(photo, rendering(face()), rendering(face(frames=True)))
    result = composite(photo, change)
    assert result.shape == photo.shape
    assert distance(result, photo) > 0.3
