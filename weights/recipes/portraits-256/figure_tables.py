"""The figures of `evaluation.py` as tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

TOLD_APART = ("women", "men", "child", "young", "middle", "old", "dark skin", "medium skin", "light skin")


def look_up(figures: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """A figure by its path, or None."""
    for key in keys:
        if not isinstance(figures, Mapping) or key not in figures:
            return None
        figures = figures[key]
    return figures


def tables(figures: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by name; "" where nothing of it was measured."""
    groups = figures["groups"]

    def reconstructions(names: Iterable[str]) -> list[list[str]]:
        return [
            [name.removeprefix("source "), str(groups[name]["images"]), *cells(groups[name]["reconstruction"])]
            for name in names
            if name in groups
        ]

    distances = ("", "images", "PSNR, dB", "SSIM", "seen alike", "Fréchet distance")
    ways = ("rendered", "carried", "reference")
    edits = [
        [
            name,
            *(cell for way in ways for cell in pair(look_up(groups["photographs"], (way, name)))),
            *pair(look_up(groups.get("renders", {}), ("rendered", name))),
        ]
        for name in groups["photographs"]["rendered"]
    ]
    both = [
        [name, *(cell for way in ways for cell in added_and_removed(look_up(groups["photographs"], (way, name))))]
        for name in groups["photographs"]["rendered"]
        if name != "mean"
    ]
    people = [
        [
            name,
            str(groups[name].get("images", "–")),
            number(look_up(groups[name], ("reconstruction", "psnr")), 1),
            percent(look_up(groups[name], ("reconstruction", "agreement"))),
            *(percent(look_up(groups[name], (way, "mean", "shown"))) for way in ways),
            percent(look_up(groups[name], ("rendered", "mean", "side_effects"))),
            percent(look_up(groups[name], ("smile_pairs", "rendered, features"))),
            percent(look_up(groups[name], ("smile_pairs", "rendered, mouth"))),
        ]
        for name in ("photographs", *TOLD_APART)
        if name in groups
    ]
    judges = [
        [name, *(percent(row.get(key)) for key in ("measuring", "own", "people", "measuring, renders", "own, renders"))]
        for name, row in figures["judge"].items()
    ]
    kinds = [
        [name, str(row["of"]), percent(row["follow"]), percent(row["reference"])]
        for name, row in figures["kinds"].items()
    ]
    return {
        "reconstruction": table(distances, reconstructions(("photographs", "real", "generated", "renders"))),
        "sources": table(distances, reconstructions(name for name in groups if name.startswith("source "))),
        "edits": table(
            (
                "attribute",
                "rendered",
                "side effects",
                "carried over",
                "side effects",
                "by reference",
                "side effects",
                "renders",
                "side effects",
            ),
            edits,
        ),
        "ways": table(
            ("attribute", "added", "removed", "carried over: added", "removed", "by reference: added", "removed"), both
        ),
        "groups": table(
            (
                "",
                "images",
                "PSNR, dB",
                "seen alike",
                "rendered",
                "carried over",
                "by reference",
                "side effects",
                "smile, features",
                "smile, mouth",
            ),
            people,
        ),
        "judges": table(
            (
                "attribute",
                "measuring judge",
                "the model's",
                "two people agree",
                "measuring judge, renders",
                "the model's",
            ),
            judges,
        ),
        "kinds": table(("attribute", "images", "kind follows", "of the references"), kinds),
    }


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; "" without rows."""
    if not rows:
        return ""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(reconstruction: Mapping[str, Any]) -> Iterator[str]:
    """PSNR, SSIM, agreement, Fréchet distance."""
    yield number(reconstruction["psnr"], 2)
    yield number(reconstruction["ssim"], 3)
    yield percent(reconstruction["agreement"])
    yield number(reconstruction["frechet"], 3)


def pair(row: Mapping[str, Any] | None) -> tuple[str, str]:
    """In how many an edit shows, and its side effects."""
    return (percent(row["shown"]), percent(row["side_effects"])) if row else ("–", "–")


def added_and_removed(row: Mapping[str, Any] | None) -> tuple[str, str]:
    """In how many of those asked an attribute was added, and removed."""
    if not row:
        return "–", "–"
    return f"{percent(row['added'])} of {row['added_of']}", f"{percent(row['removed'])} of {row['removed_of']}"


def percent(share: float | None) -> str:
    """`97.5 %`."""
    return "–" if share is None else f"{100 * share:.1f} %"


def number(value: float | None, digits: int) -> str:
    """A number, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"
