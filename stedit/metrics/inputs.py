"""What an evaluation reads: the images that names stand for, labels, and pairs of images with their true edits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from stedit.batch.inputs import collect_inputs
from stedit.errors import InputError
from stedit.imaging.sources import ImageReader, ImageRef
from stedit.metrics.ground_truth import Pair, read_pairs
from stedit.storage.labels import Label, LabelTable


@dataclass(frozen=True)
class FoundImages:
    """The images that names stand for, each once, in their order."""

    images: tuple[ImageRef, ...] = ()
    unreadable: tuple[tuple[str, InputError], ...] = ()
    """Folders that could not be listed."""
    empty: tuple[Path, ...] = ()
    """Folders without an image."""

    def __add__(self, other: FoundImages) -> FoundImages:
        """Both together."""
        images = tuple(dict.fromkeys((*self.images, *other.images)))
        return FoundImages(images, self.unreadable + other.unreadable, self.empty + other.empty)


def find_images(names: Sequence[str | Path], reader: ImageReader, *, recursive: bool = False) -> FoundImages:
    """The images of files, folders and zip archives. Raises InputError if an archive cannot be opened."""
    found = FoundImages()
    for name in map(str, names):
        if name.lower().endswith(".zip"):
            found += FoundImages(tuple(reader.find(Path(name))))
            continue
        inputs = collect_inputs([name], recursive=recursive, kinds=("image",))
        images = tuple(ImageRef(source.path) for source in inputs.sources if source.path)
        found += FoundImages(images, inputs.unreadable, inputs.empty)
    return found


@dataclass(frozen=True)
class EvaluationData:
    """All that an evaluation reads, found but not decoded: see `evaluation.evaluate` for what each is for."""

    images: Sequence[ImageRef]
    others: Sequence[ImageRef] = ()
    labels: Mapping[str, Label] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    found: FoundImages = field(default_factory=FoundImages)
    """With what could not be found."""
    names: Sequence[str] = ()
    """What was asked for, as it was named; and the files of labels and pairs."""
    labels_file: Path | None = None
    ground_truth: Sequence[Path] = ()

    @classmethod
    def find(
        cls,
        names: Sequence[str | Path],
        reader: ImageReader,
        *,
        labels: Path | None = None,
        ground_truth: Sequence[Path] = (),
        limit: int | None = None,
        recursive: bool = False,
    ) -> Self:
        """Find what names stand for.

        Args:
            names: images, folders of images, and zip archives.
            reader: opens the archives.
            labels: a file of labels.
            ground_truth: records of pairs (.jsonl, .jsonl.gz), and folders or archives of their images.
            limit: how many images are measured, of those found first.
            recursive: whether folders of folders are searched.

        Raises InputError if one of them cannot be read.
        """
        known = LabelTable.read(labels).rows if labels else {}
        found = find_images(names, reader, recursive=recursive)
        records = [path for path in ground_truth if path.name.lower().endswith((".jsonl", ".jsonl.gz"))]
        of_pairs = find_images([path for path in ground_truth if path not in records], reader, recursive=recursive)
        others = found.images[limit:] if limit else ()
        return cls(
            found.images[:limit],
            others,
            known,
            read_pairs(records, of_pairs.images),
            found + of_pairs,
            names=tuple(map(str, names)),
            labels_file=labels,
            ground_truth=tuple(ground_truth),
        )
