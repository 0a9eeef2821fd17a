"""The model card of a bundle: a README with the Hub's front matter."""

from __future__ import annotations

from collections.abc import Sequence

from stedit.storage.bundle import Bundle


def model_card(name: str, license_name: str, lines: Sequence[str], *, tags: Sequence[str] = ()) -> str:
    """A new card of `lines` of Markdown, with the licence as the Hub names it."""
    front = ["---", f"license: {license_name}", "library_name: stedit"]
    front += [f"tags: [{', '.join(tags)}]"] if tags else []
    return "\n".join([*front, "---", "", f"# {name}", "", *lines, ""])


def read_card(bundle: Bundle) -> str:
    """The card of a bundle, "" if it has none. Raises BundleError if it leads out of the folder, or is too large."""
    return bundle.read_card()
