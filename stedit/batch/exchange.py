"""Latent codes from file to file, without a network: other tools' become latent files of a model, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from stedit.batch.inputs import Kind, Source, collect_inputs
from stedit.batch.naming import is_code_path
from stedit.batch.origins import ALGORITHM, Recipe
from stedit.batch.output import Output
from stedit.batch.plan import Job, OutputTarget, Plan, make_plan
from stedit.batch.record import Record, Summary
from stedit.batch.reporter import Reporter, SilentReporter
from stedit.batch.request import CODE_FORMATS, LATENT_FORMAT, InversionRequest
from stedit.batch.writing import write_output
from stedit.checkpoints.codes import CodeFile, CodeFormat, encode_named_codes
from stedit.errors import InputError, LatentError, OutputError, UsageError, describe_cause
from stedit.hub.find import find_bundle
from stedit.storage.atomic import write_file
from stedit.storage.bundle import Bundle
from stedit.storage.latents import LatentCode, is_latent_path
from stedit.storage.origin import digest_of

_CODES: tuple[Kind, ...] = ("latent", "foreign code")

Array = npt.NDArray[np.float32]


def import_codes(
    inputs: Sequence[str | Path],
    model: str | Path,
    *,
    output: str | Path | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    same_space: bool = False,
    reporter: Reporter | None = None,
) -> Summary:
    """Make latent files of a model of the codes in files of other tools; see `stedit.checkpoints.codes`.

    `same_space` takes codes that say they are of another model, latent files too: by the word of whoever knows that
    both models share their latent space.

    A code in W, (D,) or (1, D), is written once for each style. Nobody can check that the codes are of that model,
    but for their sizes. Arguments and errors are those of `run`.
    """
    bundle, reporter = Bundle.load(find_bundle(model)), reporter or SilentReporter()
    if bundle.code_shape is None:
        raise UsageError(f"the model {bundle.name!r} has no codes: choose one with a generator", argument="model")
    shape = bundle.code_shape
    target = OutputTarget.parse(None if output is None else str(output), None, (LATENT_FORMAT,))
    plan = _plan(
        inputs,
        target,
        recipe=_recipe("import", bundle.fingerprint),
        recursive=recursive,
        overwrite=overwrite,
        code_shape=bundle.code_shape,
        kinds=_CODES if same_space else _CODES[1:],
    )
    files = _CodeFiles()
    if any(job.source.is_foreign_code for job in plan.jobs):
        reporter.note(f"whether these codes are of {bundle.name} cannot be checked, but for their sizes")

    def convert(job: Job) -> LatentCode:
        if same_space and job.source.path and is_latent_path(job.source.path):
            code = LatentCode.load(job.source.path)
            moved = replace(code, model=bundle.name, fingerprint=bundle.fingerprint, tuning="")
            moved.require(model=bundle.name, fingerprint=bundle.fingerprint, shape=shape, path=job.source.path)
            return moved
        if not job.source.is_foreign_code:
            raise LatentError(
                f"{job.source.name} is no file of another tool's codes: end its name in .npz, .npy or .pt"
            )
        assert job.source.path
        found = files.read(job.source.path)
        if found.fingerprint and not same_space and not bundle.takes_codes_of(found.fingerprint):
            raise LatentError(f"{job.source.name} is of the model {found.model!r}: name that model", argument="model")
        w = found.code(job.source.item or next(iter(found.codes)), bundle.code_shape)
        return LatentCode(w, bundle.name, bundle.fingerprint, method="import", source=job.source.path.name)

    return _run(plan, convert, reporter)


def export_codes(
    inputs: Sequence[str | Path],
    *,
    output: str | Path | None = None,
    file_format: CodeFormat | None = None,
    recursive: bool = False,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> Summary:
    """Write codes as other tools read them: one file for each, or all of them into the file `output`.

    One code is an array (1, N, D), called `w` in an .npz file. Several in one file are an array (B, N, D), in an .npz
    file one for each, by name. Arguments and errors are those of `run`.
    """
    reporter = reporter or SilentReporter()
    target = OutputTarget.parse(None if output is None else str(output), file_format, CODE_FORMATS[1:])
    if target.place == "file":
        found = collect_inputs(inputs, recursive=recursive, own_outputs_of=(), kinds=_CODES)
        jobs = tuple(Job(source, target.path) for source in found.sources)
        return _export_together(Plan(InversionRequest(), jobs, inputs=found), target, reporter, overwrite=overwrite)
    codes = _CodeFiles()
    plan = _plan(inputs, target, recipe=_recipe("export", ""), recursive=recursive, overwrite=overwrite)
    return _run(plan, lambda job: LatentCode(codes.code(job.source), "", ""), reporter)


@dataclass(frozen=True)
class CodeFacts:
    """What is known of a code in a file."""

    source: Source
    shape: tuple[int, ...]
    model: str
    fingerprint: str
    method: str
    """The last three are "" in files of other tools."""
    spread: float
    """The root of the mean square of its numbers."""

    @classmethod
    def of(cls, name: str | Path) -> list[CodeFacts]:
        """Of each code that the name of a file or folder stands for. Raises LatentError."""
        files, found = _CodeFiles(), []
        sources = collect_inputs([name], kinds=_CODES).sources
        if not sources:
            raise LatentError(f"{name} holds no latent codes: name files of codes")
        for source in sources:
            w = files.code(source)
            assert source.path
            if source.is_foreign_code:
                stated = files.read(source.path)
                said = (stated.model, stated.fingerprint, "")
            else:
                code = LatentCode.load(source.path)
                said = (code.model, code.fingerprint, code.method)
            found.append(cls(source, w.shape, *said, float(np.sqrt(np.square(w, dtype=np.float64).mean()))))
        return found

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": str(self.source.path),
            "name": self.source.stem,
            "shape": list(self.shape),
            "space": self.space,
            "model": self.model or None,
            "fingerprint": self.fingerprint or None,
            "method": self.method or None,
            "spread": round(self.spread, 6),
        }

    def line(self) -> str:
        """For a person."""
        rows, width = self.shape
        model = f"of {self.model} ({self.fingerprint})" if self.model else "of an unknown model"
        parts = [self.source.name, f"{rows} x {width} in {self.space}", model, self.method, f"spread {self.spread:.3f}"]
        return "  ".join(part for part in parts if part)

    @property
    def space(self) -> str:
        """W for a style that serves all layers, else W+."""
        return "W" if self.shape[0] == 1 else "W+"


class _CodeFiles:
    """Reads codes; of a file that was read last, without reading it again."""

    def __init__(self) -> None:
        self._last: CodeFile | None = None

    def read(self, path: Path) -> CodeFile:
        """The codes of another tool's file. Raises LatentError."""
        if self._last is None or self._last.path != path:
            self._last = CodeFile.read(path)
        return self._last

    def code(self, source: Source) -> Array:
        """The code (n, D) of any input. Raises LatentError."""
        if source.path is None or not is_code_path(source.path):
            raise LatentError(
                f"{source.name} is no file of latent codes: find its code", action="invert", on=source.name
            )
        if is_latent_path(source.path):
            return LatentCode.load(source.path).w
        found = self.read(source.path)
        return found.code(source.item or next(iter(found.codes)))


def _plan(
    inputs: Sequence[str | Path],
    target: OutputTarget,
    *,
    recipe: Recipe,
    recursive: bool,
    overwrite: bool,
    code_shape: tuple[int, int] | None = None,
    kinds: Sequence[Kind] = _CODES,
) -> Plan:
    if target.place == "stdout":
        raise UsageError("codes go to files: name one, or a folder", argument="output")
    return make_plan(
        InversionRequest(),
        inputs,
        "",
        target,
        (),
        recipe=recipe,
        recursive=recursive,
        overwrite=overwrite,
        code_shape=code_shape,
        kinds=kinds,
    )


def _recipe(what: str, fingerprint: str) -> Recipe:
    return Recipe(digest_of(f"{what} {ALGORITHM}".encode()), digest_of(fingerprint.encode()))


def _run(plan: Plan, convert: Callable[[Job], LatentCode], reporter: Reporter) -> Summary:
    """Do each job; one that fails costs itself only."""
    summary, began = Summary(), time.perf_counter()
    for record in plan.undone():
        summary.count(record)
        reporter.record(record)
    reporter.planned(plan)
    for job in plan.jobs:
        record = Record(job.source.name, str(job.output))
        assert job.output
        assert plan.recipe
        try:
            origin = plan.recipe.origin(job.source.digest())
            write_output(Output(convert(job)), job.output, plan.format, origin=origin)
        except OSError as error:
            reason = LatentError(f"cannot read {job.source.name}: {describe_cause(error)}")
            record = Record.failed(job.source.name, reason)
        except (InputError, OutputError) as error:
            record = Record.failed(job.source.name, error)
        summary.count(record)
        reporter.record(record)
    summary.seconds = time.perf_counter() - began
    return summary


def _export_together(plan: Plan, target: OutputTarget, reporter: Reporter, *, overwrite: bool) -> Summary:
    """All codes in one file, or none of it is written. Raises InputError."""
    began, summary, codes = time.perf_counter(), Summary(), _CodeFiles()
    path, sources = target.path, [job.source for job in plan.jobs]
    if plan.inputs.unreadable:
        raise plan.inputs.unreadable[0][1]
    if any(source.path and source.path.exists() and path.exists() and path.samefile(source.path) for source in sources):
        raise UsageError(f"{path} would be replaced by its own output: choose another place", argument="output")
    reporter.planned(plan)
    if not sources:
        return summary
    name = ", ".join(source.name for source in sources[:3]) + (", ..." if len(sources) > 3 else "")
    record = Record(name, str(path), "skipped" if path.exists() and not overwrite else "done")
    if record.status == "done":
        found: dict[str, Array] = {}
        for source in sources:
            if source.stem in found:
                raise LatentError(f"two codes are called {source.stem!r}, one of them in {source.name}: rename one")
            found[source.stem] = codes.code(source)
        if len({w.shape for w in found.values()}) > 1:
            raise LatentError(f"codes of several shapes do not fit one file: write each to a file, in {path.stem}/")
        _make_folder(path)
        write_file(path, encode_named_codes(found, cast("CodeFormat", target.format)))
    summary.count(record)
    reporter.record(record)
    summary.seconds = time.perf_counter() - began
    return summary


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path.parent} ({describe_cause(error)}): choose another one"
        ) from error
