"""Numbers of a request as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedit.batch.notation import format_layers, parse_face, parse_layers, parse_strengths, parse_weights
from stedit.errors import UsageError


def test_strengths_are_read() -> None:
    assert parse_strengths("1") == (1.0,)
    assert parse_strengths("-2,-.5, 0,1e1") == (-2.0, -0.5, 0.0, 10.0)


@pytest.mark.parametrize("text", ["", "a", "1,", "nan", "inf,1"])
def test_strengths_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a number"):
        parse_strengths(text)


def test_weights_are_one_for_each_reference() -> None:
    assert parse_weights("0.7,0.3", 2) == (0.7, 0.3)
    for text in ("0.7", "1,0", "1,-1", "1,inf", "a,b"):
        with pytest.raises(UsageError, match="are not 2 numbers above 0"):
            parse_weights(text, 2)


@pytest.mark.parametrize(
    ("text", "layers"), [("4", (4,)), ("0-3,6", (0, 1, 2, 3, 6)), ("6, 0-1,1", (0, 1, 6)), ("2-2", (2,))]
)
def test_layers_are_read(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "3-1", "a", "-1", "1,,2", "1000"])
def test_layers_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not understood"):
        parse_layers(text)


@given(st.sets(st.integers(0, 40), min_size=1))
def test_layers_are_written_as_they_are_read(layers: set[int]) -> None:
    written = format_layers(sorted(layers))
    assert parse_layers(written.replace("+", ",")) == tuple(sorted(layers))
    assert "," not in written


def test_the_choice_of_faces_is_read() -> None:
    assert [parse_face(text) for text in ("largest", "all", "3")] == ["largest", "all", 3]
    for text in ("0", "-1", "smallest", "", "٣", "1.5"):
        with pytest.raises(UsageError, match="give largest, all, or the number of a face"):
            parse_face(text)
