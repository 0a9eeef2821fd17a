"""Names of attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stedit.editing.attributes import ALIASES, friendly_name, related, resolve_attribute
from stedit.errors import AttributeNameError

KNOWN = ("Smiling", "Eyeglasses", "No_Beard", "Blond_Hair", "Young", "5_o_Clock_Shadow")


@pytest.mark.parametrize(
    ("typed", "meaning"),
    [
        ("smile", ("Smiling", 1)),
        ("Smiling", ("Smiling", 1)),
        ("no-smile", ("Smiling", -1)),
        ("beard", ("No_Beard", -1)),
        ("no-beard", ("No_Beard", 1)),
        ("No_Beard", ("No_Beard", 1)),
        ("no-no-beard", ("No_Beard", -1)),
        ("BLOND_HAIR", ("Blond_Hair", 1)),
        ("blond hair", ("Blond_Hair", 1)),
        ("old", ("Young", -1)),
        ("no-young", ("Young", -1)),
        ("5-o-clock-shadow", ("5_o_Clock_Shadow", 1)),
    ],
)
def test_resolve_attribute_typed_names_give_celeba_name_and_sign(typed: str, meaning: tuple[str, int]) -> None:
    assert resolve_attribute(typed, KNOWN) == meaning


def test_resolve_attribute_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(AttributeNameError, match=r"did you mean glasses\?$"):
        resolve_attribute("glases", KNOWN)
    with pytest.raises(AttributeNameError, match="'hat' is CelebA's Wearing_Hat, which this model has not learned"):
        resolve_attribute("hat", KNOWN)
    with pytest.raises(AttributeNameError, match=r"unknown attribute 'xyzzy': the model knows .*, .* and \d+ others"):
        resolve_attribute("xyzzy", KNOWN)
    with pytest.raises(AttributeNameError, match="knows no attributes"):
        resolve_attribute("smile", ())


@given(st.text(max_size=40))
def test_resolve_attribute_any_text_resolves_or_raises(text: str) -> None:
    try:
        name, sign = resolve_attribute(text, KNOWN)
    except AttributeNameError:
        return
    assert name in KNOWN
    assert sign in (-1, 1)


@pytest.mark.parametrize("attribute", sorted({*KNOWN, *(name for name, _ in ALIASES.values())}))
@pytest.mark.parametrize("sign", [-1, 1])
def test_friendly_name_resolves_back(attribute: str, sign: int) -> None:
    assert resolve_attribute(friendly_name(attribute, sign), [attribute]) == (attribute, sign)


def test_related_is_symmetric() -> None:
    assert "Black_Hair" in related("Blond_Hair")
    assert "Blond_Hair" in related("Black_Hair")
    assert related("Eyeglasses") == {"Eyeglasses"}
