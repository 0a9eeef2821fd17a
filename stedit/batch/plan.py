"""From inputs to jobs: where each output goes, and what is refused, skipped or left out.

Nothing is computed and nothing is written here, so whatever is wrong with a run is said before any work is done.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stedit.batch.inputs import KINDS, Inputs, Kind, Source, collect_inputs
from stedit.batch.naming import first_face_path, is_code_path, stem_of
from stedit.batch.origins import Recipe, Standing, foreign_output, signature
from stedit.batch.record import Record
from stedit.batch.request import (
    LATENT_FORMAT,
    SOURCE_FORMAT,
    InversionRequest,
    ReferenceEdit,
    Request,
    keeps_format,
    writes_further_faces,
)
from stedit.errors import OutputError, UsageError, describe_cause
from stedit.imaging.edited import output_suffix as photo_suffix
from stedit.imaging.provenance import Provenance
from stedit.storage.latents import SUFFIX as LATENT_SUFFIX

if TYPE_CHECKING:
    from stedit.runtime.devices import Precision
    from stedit.storage.bundle import Bundle

READERS = 4  # files read at the same time, to see what is there
LONGEST_NAME = 255  # bytes, on nearly every file system

SUFFIXES = {
    "png": (".png",),
    "jpg": (".jpg", ".jpeg"),
    "webp": (".webp",),
    "avif": (".avif",),
    "tif": (".tif", ".tiff"),
    "gif": (".gif",),
    "latent": (LATENT_SUFFIX,),
    "npz": (".npz",),
    "npy": (".npy",),
    "pt": (".pt", ".pth"),
}
"""What each format may be called on disk, the usual name first."""
_ENDING = re.compile(r"\.(?!v\d)[A-Za-z][A-Za-z0-9]{0,15}")
PLOT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Job:
    """One input and the one output made of it."""

    source: Source
    output: Path | None  # None: standard output, or no output at all
    replaces: tuple[int, ...] | None = None  # the `signature` of the output of an earlier run that is there


@dataclass(frozen=True)
class Plan:
    """What a run is going to do."""

    request: Request
    jobs: tuple[Job, ...]
    skipped: tuple[Job, ...] = ()  # their outputs are there by the same request
    refused: tuple[tuple[Job, OutputError], ...] = ()  # their outputs cannot be written
    inputs: Inputs = field(default_factory=Inputs)
    format: str = ""  # of all outputs; "" if nothing is written
    recipe: Recipe | None = None  # of all outputs; None if nothing is written
    mark: Provenance | None = None  # of renderings and sheets
    overwrite: bool = False
    others: int = 0  # jobs of other shards

    @property
    def writes_to_stdout(self) -> bool:
        """Whether an output goes to standard output."""
        return bool(self.format) and any(job.output is None for job in self.jobs)

    def undone(self) -> list[Record]:
        """A record of each input that is not computed: folders that cannot be listed, outputs that are there."""
        failed = [Record.failed(name, error) for name, error in self.inputs.unreadable]
        failed += [Record.failed(job.source.name, error) for job, error in self.refused]
        return failed + [Record(job.source.name, str(job.output), "skipped") for job in self.skipped]


@dataclass(frozen=True)
class OutputTarget:
    """Where outputs go, and of which format they are."""

    place: Literal["beside", "folder", "file", "stdout"]
    path: Path
    format: str

    @classmethod
    def parse(cls, output: str | None, file_format: str | None, formats: Sequence[str]) -> OutputTarget:
        """Understand an output and a format for a request that writes `formats`, of which the first is the default.

        Raises UsageError if the two contradict each other or name a format that is not written.
        """
        chosen = file_format or formats[0]
        if chosen not in formats:
            raise UsageError(f"the format {chosen!r} is not written here: choose from {', '.join(formats)}")
        if output is None:
            return cls("beside", Path(), chosen)
        if output == "-":
            return cls("stdout", Path(), chosen)
        path = Path(output)
        if path.is_dir() or output.endswith(("/", os.sep)) or not _looks_like_a_file(path):
            if path.exists() and not path.is_dir():
                raise UsageError(
                    f"the output {output} is a file and not a folder: name a folder, or a file ending in "
                    f"{SUFFIXES[formats[0]][0]}"
                )
            return cls("folder", path, chosen)
        named = next((name for name in formats if path.name.lower().endswith(SUFFIXES[name])), None)
        if named is None:
            endings = ", ".join(SUFFIXES[name][0] for name in formats)
            raise UsageError(
                f"the output {output} has an ending that is not written here: choose from {endings}, or write "
                f"{output}/ for a folder"
            )
        if file_format and file_format != named:
            raise UsageError(
                f"the output {output} and the format {file_format} contradict each other: leave one of them out"
            )
        return cls("file", path, named)


def _looks_like_a_file(path: Path) -> bool:
    """Whether it has an ending, such as .png or .xyz; what follows the dot in the names of folders is a version."""
    return bool(_ENDING.fullmatch(path.suffix))


def plan_request(
    request: Request,
    inputs: Sequence[str | Path],
    bundle: Bundle,
    *,
    output: str | Path | None = None,
    file_format: str | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    precision: Precision = "float32",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
) -> Plan:
    """Check `request` against a model, and pair every input with its output.

    Args:
        request: what to make of each input.
        inputs: images, latent codes, folders of them, or "-" for standard input.
        bundle: of the model that is to compute it.
        output: a file, a folder that mirrors the tree of an input folder, or "-"; None for beside each input.
        file_format: of the outputs; None for that of the output's name, else the first of `request.formats`.
        recursive: look into the folders of folders.
        overwrite: make all outputs anew, and replace whatever is in their places. Else an output that is there by the
            same request, of the same bytes, with the same model, is skipped; one of another request is made anew; and
            a file that stedit has not written, or that was changed since, is refused.
        precision: that the model is going to compute in.
        include, exclude: patterns of the files that are taken from folders; see `collect_inputs`.
        shard: (i, n) for the i-th of n parts of the inputs, counted from 1. Which part an input belongs to follows from
            its path within the folder that was named, so that other machines agree on it.

    Raises:
        AttributeNameError: the model does not know an attribute.
        UsageError: the request contradicts itself, two inputs share an output, an output would replace its input, or
            several outputs are to go to one place.
        OutputError: an output folder cannot be written to.
    """
    if not request.formats:
        found = collect_inputs(
            inputs, recursive=recursive, code_shape=bundle.code_shape, include=include, exclude=exclude
        )
        return only_shard(Plan(request, tuple(Job(source, None) for source in found.sources), inputs=found), shard)
    target = OutputTarget.parse(None if output is None else str(output), file_format, request.formats)
    if file_format is None and target.place != "file" and keeps_format(request, bundle):
        target = replace(target, format=SOURCE_FORMAT)
    request.check(bundle, target.format)
    plan = make_plan(
        request,
        inputs,
        request.suffix(bundle),
        target,
        [attribute.name for attribute in bundle.attributes],
        recipe=Recipe.of(request, bundle, target.format, precision),
        recursive=recursive,
        overwrite=overwrite,
        include=include,
        exclude=exclude,
        shard=shard,
        code_shape=bundle.code_shape,
        kinds=("image",) if isinstance(request, InversionRequest) else KINDS,  # codes need no inversion
    )
    plan = replace(plan, mark=mark_of(request, bundle))
    if writes_further_faces(request) and plan.writes_to_stdout:
        raise UsageError("standard output takes one face: choose it, or name an output", argument="face")
    if isinstance(request, ReferenceEdit) and request.attention:
        _require_place(request.attention, plan, request.references, overwrite=overwrite)
    if isinstance(request, InversionRequest) and request.tuning:
        if plan.writes_to_stdout:
            raise UsageError(
                "a tuned code is two files, and standard output takes one: name an output", argument="output"
            )
        if target.format != LATENT_FORMAT:
            raise UsageError(f"a tuned code is kept in files of stedit's own: write {SUFFIXES[LATENT_FORMAT][0]}")
    return plan


def mark_of(request: Request, bundle: Bundle) -> Provenance | None:
    """How renderings are marked; None if they are not to be."""
    return Provenance(bundle.name, request.suffix(bundle)) if request.photo.provenance else None


def make_plan(
    request: Request,
    inputs: Sequence[str | Path],
    suffix: str,
    target: OutputTarget,
    attributes: Sequence[str],
    *,
    recipe: Recipe,
    recursive: bool = False,
    overwrite: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    code_shape: tuple[int, int] | None = None,
    kinds: Sequence[Kind] = KINDS,
) -> Plan:
    """Pair every input with its output: `<stem>.<suffix>.<format>`, or what `target` says.

    In folders, what is of `kinds` is taken; codes of other tools, if they fit `code_shape`.

    `attributes` are the model's, by which outputs of earlier edits are known. Raises as `plan_request` does.
    """
    found = collect_inputs(
        inputs,
        recursive=recursive,
        own_outputs_of=attributes,
        kinds=kinds,
        code_shape=code_shape,
        outside=target.path if target.place == "folder" else None,
        include=include,
        exclude=exclude,
    )
    target = _settle(target, found.sources)
    pairs = [
        Job(source, path) for source, path in zip(found.sources, _outputs(found.sources, suffix, target), strict=True)
    ]
    makers = {os.path.realpath(job.output): job for job in pairs if job.output}
    jobs, left_out = [], []
    for job in pairs:
        maker = makers.get(os.path.realpath(job.source.path)) if job.source.path else None
        if maker is None and job.source.path and writes_further_faces(request):
            maker = makers.get(os.path.realpath(first_face_path(job.source.path)))
        if maker is job or _same_file(job):
            raise UsageError(
                f"{job.source.name} would be replaced by its own output: choose another place", argument="output"
            )
        if maker is None:
            jobs.append(job)
        elif job.source.path:  # *.png of a shell names the outputs of the last run as well
            left_out.append(job.source.path)
    refuse_collisions(jobs)
    found = replace(found, left_out=(*found.left_out, *left_out))
    plan = Plan(request, tuple(jobs), inputs=found, format=target.format, recipe=recipe, overwrite=overwrite)
    plan = sort_by_standing(only_shard(plan, shard), recipe)
    refuse_unwritable(plan.jobs)
    return plan


def only_shard(plan: Plan, shard: tuple[int, int] | None) -> Plan:
    """The plan with the jobs of a shard only; see `plan_request`."""
    if shard is None:
        return plan
    number, count = shard

    def is_ours(job: Job) -> bool:
        name = (job.source.subfolder / job.source.path.name).as_posix() if job.source.path else "-"
        return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") % count == number - 1

    ours = tuple(filter(is_ours, plan.jobs))
    return replace(plan, jobs=ours, others=len(plan.jobs) - len(ours))


def sort_by_standing(plan: Plan, recipe: Recipe) -> Plan:
    """Move jobs whose outputs are there, or cannot be, to `skipped` and `refused`."""
    todo: list[Job] = []
    skipped: list[Job] = []
    refused: list[tuple[Job, OutputError]] = []

    def standing(job: Job) -> Standing | OutputError:
        assert job.output
        try:
            return recipe.standing(job.output, job.source)
        except OSError as error:
            return OutputError(
                f"cannot read {job.output}, which is there ({describe_cause(error)}): name another output"
            )

    with ThreadPoolExecutor(READERS) as readers:  # files are read whole; hashing lets go of the interpreter
        known = readers.map(lambda job: standing(job) if job.output and not plan.overwrite else "absent", plan.jobs)
        for job, found in zip(plan.jobs, known, strict=True):
            if job.output and len(os.fsencode(job.output.name)) > LONGEST_NAME:
                error = OutputError(f"the name {job.output.name} would be too long: name an output", argument="output")
                refused.append((job, error))
            elif isinstance(found, OutputError):
                refused.append((job, found))
            elif found == "foreign":
                assert job.output
                refused.append((job, foreign_output(job.output)))
            elif found == "same" and not getattr(plan.request, "attention", None):
                skipped.append(job)
            else:
                todo.append(replace(job, replaces=signature(job.output)) if job.output else job)
    return replace(plan, jobs=tuple(todo), skipped=tuple(skipped), refused=tuple(refused))


def _settle(target: OutputTarget, sources: Sequence[Source]) -> OutputTarget:
    """Send what has no folder to standard output, and refuse to send several outputs to one place."""
    if target.place == "beside" and any(source.path is None for source in sources):
        if len(sources) > 1:
            raise UsageError("standard input has no folder to write beside: name an output folder", argument="output")
        return replace(target, place="stdout")
    if target.place in {"file", "stdout"} and len(sources) > 1:
        raise UsageError(
            f"one output cannot take the results of {len(sources)} inputs: name a folder", argument="output"
        )
    return target


def _outputs(sources: Sequence[Source], suffix: str, target: OutputTarget) -> list[Path | None]:
    """Where the output of each source goes; a.jpg and a.png of one folder, which would share one, add their ending."""
    outputs = [output_of(source, source.stem, suffix, target) for source in sources]
    if target.place in {"file", "stdout"}:
        return outputs
    count = Counter(
        (source.path.parent if source.path else None, path) for source, path in zip(sources, outputs, strict=True)
    )
    for i, source in enumerate(sources):
        if source.path and count[source.path.parent, outputs[i]] > 1:
            item = f".{source.item}" if source.item not in {"", stem_of(source.path)} else ""
            outputs[i] = output_of(source, f"{source.path.name}{item}", suffix, target)
    return outputs


def output_of(source: Source, stem: str, suffix: str, target: OutputTarget) -> Path | None:
    """`<stem>.<suffix>.<format>`, or what `target` says."""
    if target.place == "stdout":
        return None
    if target.place == "file":
        return target.path
    ending = _ending_of(source) if target.format == SOURCE_FORMAT else SUFFIXES[target.format][0]
    name = (f"{stem}.{suffix}" if suffix else stem) + ending
    if target.place == "folder":
        return target.path / source.subfolder / name
    assert source.path is not None  # _settle has sent standard input elsewhere
    return source.path.with_name(name)


def _ending_of(source: Source) -> str:
    """That of an output which is of its source's format."""
    return photo_suffix(source.path.suffix) if source.path and not is_code_path(source.path) else ".png"


def _same_file(job: Job) -> bool:
    """Whether an existing output is the input itself by another name (a hard link)."""
    if not job.source.path or not job.output or not all(map(os.path.exists, (job.source.path, job.output))):
        return False
    return job.output.samefile(job.source.path)


def refuse_collisions(jobs: Sequence[Job]) -> None:
    """Raise UsageError if two jobs have one output."""
    makers: dict[str, Job] = {}
    for job in jobs:
        if job.output:
            other = makers.setdefault(os.path.normcase(os.path.realpath(job.output)), job)
            if other is not job:
                raise UsageError(
                    f"{other.source.name} and {job.source.name} would both be written to {job.output}: "
                    "rename one, or do them one after the other, each into a folder of its own"
                )


def refuse_unwritable(jobs: Sequence[Job]) -> None:
    """Raise OutputError if the folder of an output cannot be written to."""
    for folder in {job.output.parent for job in jobs if job.output}:
        existing = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 - a name too long is none
        if not existing.is_dir():
            raise OutputError(
                f"cannot write into {folder}: {existing} is a file: choose another folder", argument="output"
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot write into {folder}: permission is denied: choose another folder", argument="output"
            )


def _require_place(attention: Path, plan: Plan, references: Sequence[str | Path], *, overwrite: bool) -> None:
    """Refuse to plot the attention of several inputs, or in the place of anything that is needed. Raises UsageError."""
    if attention.suffix.lower() not in PLOT_SUFFIXES:
        raise UsageError(f"the plot of attention {attention} is not an image file: end its name in .png")
    jobs = (*plan.jobs, *plan.skipped, *(job for job, _ in plan.refused))
    if len(jobs) > 1:
        raise UsageError(f"attention is plotted for one input, not for {len(jobs)}: give one")
    others = [path for job in jobs for path in (job.source.path, job.output) if path]
    if attention.absolute() in {path.absolute() for path in (*others, *map(Path, references))}:
        raise UsageError(f"{attention} is another file of this run: choose another place", argument="attention")
    if attention.exists() and not overwrite:
        raise UsageError(
            f"{attention} exists: choose another place for the plot of attention, or replace it", argument="overwrite"
        )
