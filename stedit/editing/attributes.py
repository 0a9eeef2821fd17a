"""Names of attributes: CelebA's, the friendly ones people type, and which attributes change together by definition."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from stedit.errors import AttributeNameError, UsageError

# friendly name -> (CelebA name, sign); -1 where CelebA names the absence
ALIASES: dict[str, tuple[str, int]] = {
    "smile": ("Smiling", 1),
    "mouth-open": ("Mouth_Slightly_Open", 1),
    "open-mouth": ("Mouth_Slightly_Open", 1),
    "glasses": ("Eyeglasses", 1),
    "beard": ("No_Beard", -1),
    "stubble": ("5_o_Clock_Shadow", 1),
    "moustache": ("Mustache", 1),
    "blond": ("Blond_Hair", 1),
    "blonde": ("Blond_Hair", 1),
    "grey-hair": ("Gray_Hair", 1),
    "curly-hair": ("Wavy_Hair", 1),
    "hat": ("Wearing_Hat", 1),
    "lipstick": ("Wearing_Lipstick", 1),
    "makeup": ("Heavy_Makeup", 1),
    "pale": ("Pale_Skin", 1),
    "blush": ("Rosy_Cheeks", 1),
    "old": ("Young", -1),
    "eye-bags": ("Bags_Under_Eyes", 1),
    "man": ("Male", 1),
    "woman": ("Male", -1),
}

# what people type besides -> the same; never part of a file's name
SYNONYMS: dict[str, tuple[str, int]] = {
    "happy": ("Smiling", 1),
    "laugh": ("Smiling", 1),
    "grin": ("Smiling", 1),
    "spectacles": ("Eyeglasses", 1),
    "bearded": ("No_Beard", -1),
    "clean-shaven": ("No_Beard", 1),
    "shaved": ("No_Beard", 1),
    "fringe": ("Bangs", 1),
    "black": ("Black_Hair", 1),
    "dark-hair": ("Black_Hair", 1),
    "brunette": ("Brown_Hair", 1),
    "brown": ("Brown_Hair", 1),
    "blonde-hair": ("Blond_Hair", 1),
    "grey": ("Gray_Hair", 1),
    "gray": ("Gray_Hair", 1),
    "curly": ("Wavy_Hair", 1),
    "curls": ("Wavy_Hair", 1),
    "straight": ("Straight_Hair", 1),
    "cap": ("Wearing_Hat", 1),
    "make-up": ("Heavy_Makeup", 1),
    "age": ("Young", -1),
    "aged": ("Young", -1),
    "older": ("Young", -1),
    "elderly": ("Young", -1),
    "younger": ("Young", 1),
    "youth": ("Young", 1),
    "fat": ("Chubby", 1),
    "male": ("Male", 1),
    "female": ("Male", -1),
    "gender": ("Male", 1),
    "sex": ("Male", 1),
}

# Attributes that name the absence of a trait.
NEGATED_ATTRIBUTES = frozenset({"No_Beard", "Young"})

# Attributes of one group describe the same thing, so that changing one may, or must, change the others.
GROUPS: tuple[frozenset[str], ...] = (
    frozenset({"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bald"}),
    frozenset({"No_Beard", "Goatee", "Mustache", "5_o_Clock_Shadow", "Sideburns"}),
    frozenset({"Straight_Hair", "Wavy_Hair", "Bald"}),
    frozenset({"Bald", "Bangs", "Receding_Hairline", "Wearing_Hat"}),
    frozenset({"Smiling", "High_Cheekbones", "Narrow_Eyes"}),
    frozenset({"Heavy_Makeup", "Wearing_Lipstick", "Rosy_Cheeks"}),
    frozenset({"Chubby", "Double_Chin", "Oval_Face", "High_Cheekbones"}),
    frozenset({"Big_Lips", "Pointy_Nose", "Big_Nose"}),
)

_HAIR = ("Bangs", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Straight_Hair", "Wavy_Hair")
# Attributes that cannot be beside another: hair excludes baldness.
EXCLUDES: dict[str, tuple[str, ...]] = dict.fromkeys(_HAIR, ("Bald",))


def resolve_attribute(name: str, known: Sequence[str]) -> tuple[str, int]:
    """The CelebA name, and +1 or -1 for with or without, of what a person typed.

    Takes CelebA's names in any case, with "-", "_" or spaces, the friendly names of `ALIASES`, and either with "no-"
    before it, and `SYNONYMS`. Raises AttributeNameError, with the nearest friendly names, if `known` does not hold it.
    """
    names = {_plain(item): (item, 1) for item in known}
    friendly = ALIASES | SYNONYMS
    names |= {alias: meaning for alias, meaning in friendly.items() if meaning[0] in known and alias not in names}
    plain_name = _plain(name)
    if plain_name in names:
        return names[plain_name]
    if plain_name.startswith("no-") and plain_name[3:] in names:
        attribute, sign = names[plain_name[3:]]
        return attribute, -sign
    if not known:
        raise AttributeNameError(f"the model knows no attributes, so {name!r} cannot be edited: choose another model")
    plain_name = plain_name.removeprefix("no-")
    if plain_name in friendly:
        raise AttributeNameError(f"{name!r} is CelebA's {friendly[plain_name][0]}, which this model has not learned")
    near = [friendly_name(*names[close]) for close in difflib.get_close_matches(plain_name, names, n=6, cutoff=0.65)]
    if near := list(dict.fromkeys(near))[:3]:
        raise AttributeNameError(f"unknown attribute {name!r}: did you mean {' or '.join(near)}?")
    some = [friendly_name(attribute, 1) for attribute in known]
    listed = ", ".join(some[:3]) + (f" and {len(some) - 3} others" if len(some) > 3 else "")
    raise AttributeNameError(f"unknown attribute {name!r}: the model knows {listed}")


def resolve_reference_attribute(name: str, known: Sequence[str]) -> str:
    """The CelebA name of what is to be taken from a reference, which itself decides whether there is any.

    Raises AttributeNameError as `resolve_attribute`, and UsageError for "no-glasses", which asks for two things.
    """
    attribute, _ = resolve_attribute(name, known)
    if name not in known and _plain(name).startswith("no-"):
        there = name.strip()[3:]
        raise UsageError(
            f"{name!r} contradicts a reference, which decides itself whether there is any: say {there!r} and give a "
            "reference without it, or edit by label"
        )
    return attribute


def related(attribute: str) -> frozenset[str]:
    """The attributes that an edit of `attribute` is free to change: all that share a group with it, and itself."""
    return frozenset({attribute}).union(*(group for group in GROUPS if attribute in group))


def excluded_by(attribute: str) -> frozenset[str]:
    """The attributes that cannot be beside `attribute`: a bald head has no hair to be wavy or black."""
    return frozenset(EXCLUDES.get(attribute, ())) | {name for name, out in EXCLUDES.items() if attribute in out}


def friendly_name(attribute: str, sign: int) -> str:
    """The shortest of the names that `resolve_attribute` reads as (attribute, sign); for file names and titles."""
    names = [alias for alias, meaning in ALIASES.items() if meaning == (attribute, sign)]
    if names:
        return names[0]
    if sign < 0:
        return f"no-{friendly_name(attribute, 1)}"
    return _plain(attribute)


def aliases(attribute: str, sign: int) -> list[str]:
    """What else `resolve_attribute` reads as (attribute, sign), beside its friendly name and CelebA's."""
    friendly = friendly_name(attribute, sign)
    names = ALIASES | SYNONYMS
    return [alias for alias, meaning in names.items() if meaning == (attribute, sign) and alias != friendly]


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")
