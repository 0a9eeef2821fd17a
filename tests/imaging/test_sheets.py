"""Sheets put every picture whole into its place in the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedit.imaging.files import Pixels
from stedit.imaging.sheets import sheet


def plain(height: int, width: int, shade: int) -> Pixels:
    return np.full((height, width, 3), shade, np.uint8)


def test_sheet_without_titles_is_a_grid() -> None:
    result = sheet([[plain(10, 20, 0), plain(10, 20, 50)], [plain(10, 20, 100), plain(10, 20, 150)]], gap=4)
    assert result.dtype == np.uint8
    assert result.shape == (4 + 10 + 4 + 10 + 4, 4 + 20 + 4 + 20 + 4, 3)
    for shade, top, left in ((0, 4, 4), (50, 4, 28), (100, 18, 4), (150, 18, 28)):
        assert (result[top : top + 10, left : left + 20] == shade).all()
    inside = np.zeros(result.shape[:2], bool)
    for top in (4, 18):
        for left in (4, 28):
            inside[top : top + 10, left : left + 20] = True
    assert (result[~inside] == 255).all()


def test_sheet_does_not_change_its_images(face_image: Pixels) -> None:
    result = sheet([[face_image]], titles=["face"], gap=3)
    np.testing.assert_array_equal(result[-3 - 48 : -3, 3 : 3 + 40], face_image)


def test_sheet_centres_smaller_images_and_takes_short_rows() -> None:
    result = sheet([[plain(30, 30, 0), plain(30, 30, 0)], [plain(10, 20, 100)]], gap=0)
    assert result.shape == (40, 60, 3)
    assert (result[30:40, 5:25] == 100).all()
    assert (result[30:40, :5] == 255).all()
    assert (result[30:40, 25:] == 255).all()


def test_sheet_titles_stand_above_their_columns() -> None:
    pictures = [[plain(100, 100, 128), plain(100, 100, 128), plain(100, 100, 128)]]
    bare = sheet(pictures)
    titled = sheet(pictures, titles=["source", "", "edit"])
    header = titled.shape[0] - bare.shape[0]
    assert 10 <= header <= 24
    np.testing.assert_array_equal(titled[header:], bare)
    has_ink = (titled[:header] < 128).any(axis=(0, 2))
    columns = [has_ink[4 + i * 104 : 104 + i * 104] for i in range(3)]
    assert [column.any() for column in columns] == [True, False, True]
    for column in (columns[0], columns[2]):
        inked = np.flatnonzero(column)
        assert abs(inked.mean() - 50) < 4  # centred
    assert columns[0].sum() > columns[2].sum()


def test_sheet_long_title_stays_above_its_own_column() -> None:
    pictures = [[plain(20, 60, 128), plain(20, 60, 128)]]
    titled = sheet(pictures, titles=["a very long title that cannot fit", ""])
    assert (titled[:-28, 4:64] < 128).any()
    assert (titled[:-28, 65:] == 255).all()


def test_sheet_twice_gives_the_same_pixels() -> None:
    pictures = [[plain(40, 40, 9)]]
    np.testing.assert_array_equal(sheet(pictures, titles=["one"]), sheet(pictures, titles=["one"]))


@pytest.mark.parametrize("rows", [[], [[]], [[], []]])
def test_sheet_of_nothing_raises(rows: list[list[Pixels]]) -> None:
    with pytest.raises(ValueError, match="a sheet needs at least one image"):
        sheet(rows)


@given(
    st.lists(st.lists(st.tuples(*[st.integers(1, 9)] * 2), max_size=4), min_size=1, max_size=4).filter(any),
    st.lists(st.text(max_size=12), max_size=5),
    st.integers(0, 5),
)
def test_fuzz_sheet_of_any_grid_and_any_title(sizes: list[list[tuple[int, int]]], titles: list[str], gap: int) -> None:
    result = sheet([[plain(*size, 7) for size in row] for row in sizes], titles=titles, gap=gap)
    area = sum(height * width for row in sizes for height, width in row)
    assert (result == 7).all(axis=2).sum() >= area
