"""The tree of errors is what its drawing says."""

from __future__ import annotations

import pytest

from stedit import errors


def drawn_tree() -> dict[str, str]:
    """Child -> parent, read from the drawing at the top of the module."""
    parents: dict[str, str] = {}
    branch: list[str] = []  # the last name on every level
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip("│├└─ ").split(" ")[0]
        if not name.endswith("Error"):
            continue
        depth = line.index(name) // 4
        branch[depth:] = [name]
        parents[name] = branch[depth - 1] if depth else "Exception"
    return parents


def test_tree_in_docstring_matches_the_classes() -> None:
    classes = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert drawn_tree() == {name: value.__base__.__name__ for name, value in classes.items()}
    assert len(classes) == 12


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("disk on fire", "disk on fire"),
        ("two\n  lines", "two lines"),
        ("\x1b[2Jowned\x07", "?[2Jowned?"),
        ("", "ValueError"),
        ("a" * 301, "a" * 300 + "..."),
    ],
)
def test_describe_cause_is_printable_and_short(said: str, told: str) -> None:
    assert errors.describe_cause(ValueError(said)) == told


def test_describe_cause_os_error_is_its_reason() -> None:
    assert errors.describe_cause(PermissionError(13, "Permission denied", "a.png")) == "permission denied"
    assert errors.describe_cause(OSError("image file is truncated")) == "image file is truncated"


def test_usage_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="give one"):
        raise errors.UsageError("nothing is named: give one")
