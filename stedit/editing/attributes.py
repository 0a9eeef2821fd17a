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
    before it. Raises AttributeNameError, with the nearest names, if `known` does not hold it.
    """
    names = {_plain(item): (item, 1) for item in known}
    names |= {alias: meaning for alias, meaning in ALIASES.items() if meaning[0] in known}
    plain_name = _plain(name)
    if plain_name in names:
        return names[plain_name]
    if plain_name.startswith("no-") and plain_name[3:] in names:
        attribute, sign = names[plain_name[3:]]
        return attribute, -sign
    if not known:
        raise AttributeNameError(f"the model knows no attributes, so {name!r} cannot be edited: choose another model")
    near = difflib.get_close_matches(plain_name.removeprefix("no-"), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise AttributeNameError(f"unknown attribute {name!r}: {hint}The model knows {', '.join(sorted(known))}")


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


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")
