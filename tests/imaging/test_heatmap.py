"""Matrices as pictures."""

from __future__ import annotations

import numpy as np

from stedit.imaging.heatmap import heatmap


def test_heatmap_is_dark_where_numbers_are_large() -> None:
    values = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.0]])
    picture = heatmap(values, rows="source style", columns="reference style", cell=20)
    left = top = 2 * 18 + 4
    squares = picture[top + 10 :: 20, left + 10 :: 20][:2, :3].astype(int).sum(axis=2)
    assert squares[0, 0] == squares[1, 1] == 3 * 255
    assert squares[0, 2] == squares[1, 0] < 200
    assert squares[0, 2] + 100 < squares[0, 1] < squares[0, 0] - 100
    labels = (picture[:, :left].min(axis=(1, 2)) < 100, picture[:top].min(axis=(0, 2)) < 100)
    assert labels[0].any()
    assert labels[1].any()


def test_heatmap_of_zeros_is_white() -> None:
    picture = heatmap(np.zeros((2, 2)), rows="", columns="")
    assert (picture[45:75, 45:75] == 255).all()
