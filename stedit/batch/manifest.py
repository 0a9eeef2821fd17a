"""Many different edits in one run: a table with a row for each, as CSV with a header, or as JSON lines.

    source,attribute,strength,reference,output
    a.jpg,smile,0.5,,out/a.jpg
    b.jpg,glasses,,jane.jpg,

Only `source` must be there. What a row leaves out is as for the whole run. Several attributes, references or, one for
each attribute, strengths are separated by semicolons, or are a list in JSON.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stedit.batch.inputs import Source
from stedit.batch.origins import Recipe
from stedit.batch.plan import (
    Job,
    OutputTarget,
    Plan,
    mark_of,
    only_shard,
    output_of,
    refuse_collisions,
    refuse_unwritable,
    sort_by_standing,
)
from stedit.batch.request import SOURCE_FORMAT, LabelEdit, ReferenceEdit, keeps_format
from stedit.errors import AttributeNameError, InputError, UsageError
from stedit.storage.jsonl import read_lines, read_records

if TYPE_CHECKING:
    from stedit.runtime.devices import Precision
    from stedit.storage.bundle import Bundle

COLUMNS = ("source", "reference", "attribute", "strength", "output")


@dataclass(frozen=True)
class Row:
    """What one row asks for; empty where it leaves something out."""

    where: str
    """`line 3 of edits.csv`, for messages."""
    source: str
    references: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    strengths: tuple[str, ...] = ()
    output: str = ""


def read_manifest(path: Path) -> list[Row]:
    """The rows of a .csv or .jsonl file. Raises InputError if it cannot be read or a row is not understood."""
    jsonl = path.name.lower().endswith((".jsonl", ".jsonl.gz"))
    return [_parse_row(values, f"{where} of {path}") for where, values in (_records if jsonl else _cells)(path)]


def plan_manifest(
    rows: Sequence[Row],
    to_request: Callable[[Row], LabelEdit | ReferenceEdit],
    bundle: Bundle,
    *,
    output: str | None = None,
    file_format: str | None = None,
    overwrite: bool = False,
    precision: Precision = "float32",
    shard: tuple[int, int] | None = None,
) -> list[Plan]:
    """A plan for each different request of the rows, in the order in which they come first.

    `to_request` makes the request of a row; the other arguments, and what is raised, are those of `plan_request`.
    """
    groups: dict[str, Plan] = {}
    for row in rows:
        try:
            plan, job = _plan_row(row, to_request(row), bundle, output, file_format)
        except (UsageError, AttributeNameError) as error:
            raise type(error)(f"{row.where}: {error}", argument=error.argument) from error
        group = groups.setdefault(repr((plan.request, plan.format)), plan)
        groups[repr((plan.request, plan.format))] = replace(group, jobs=(*group.jobs, job))
    jobs = [job for plan in groups.values() for job in plan.jobs]
    refuse_collisions(jobs)
    _refuse_chains(jobs)
    plans = []
    for plan in groups.values():
        recipe = Recipe.of(plan.request, bundle, plan.format, precision)
        ours = only_shard(replace(plan, recipe=recipe, overwrite=overwrite), shard)
        plans.append(sort_by_standing(ours, recipe))
    refuse_unwritable([job for plan in plans for job in plan.jobs])
    return plans


def _plan_row(
    row: Row, request: LabelEdit | ReferenceEdit, bundle: Bundle, output: str | None, file_format: str | None
) -> tuple[Plan, Job]:
    """The plan, without jobs yet, and the job of a row."""
    target = OutputTarget.parse(row.output or output, None if row.output else file_format, request.formats)
    if target.place == "stdout" or (target.place == "file" and not row.output):
        raise UsageError("one output cannot take the results of many rows: name a folder", argument="output")
    if target.place != "file" and file_format is None and keeps_format(request, bundle):
        target = replace(target, format=SOURCE_FORMAT)
    request.check(bundle, target.format)
    source = Source.of(row.source)
    place = output_of(source, source.stem, request.suffix(bundle), target)
    return Plan(request, (), format=target.format, mark=mark_of(request, bundle)), Job(source, place)


def _refuse_chains(jobs: Iterable[Job]) -> None:
    jobs = list(jobs)
    sources = {os.path.realpath(job.source.path) for job in jobs if job.source.path}
    for job in jobs:
        if job.output and os.path.realpath(job.output) in sources:
            raise UsageError(f"{job.output} is both made and read by these rows: put what reads it into another run")


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, record in enumerate(read_records(path), 1):
        yield f"record {number}", record


def _cells(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(read_lines(path), strict=True)
    try:
        for cells in reader:
            if None in cells:
                raise InputError(f"line {reader.line_num} of {path} has more cells than the header: quote commas")
            yield f"line {reader.line_num}", cells
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} of {path} is no CSV ({error}): repair it") from error


def _parse_row(values: dict[str, Any], where: str) -> Row:
    unknown = [name for name in values if name not in COLUMNS]
    if unknown:
        raise InputError(f"{where} has the unknown column {unknown[0]!r}: the columns are {', '.join(COLUMNS)}")
    lists = {name: _parse_list(values.get(name), name, where) for name in COLUMNS}
    if len(lists["source"]) != 1 or len(lists["output"]) > 1:
        raise InputError(f"{where} names no source, or several sources or outputs: give one source in each row")
    return Row(
        where,
        lists["source"][0],
        lists["reference"],
        lists["attribute"],
        lists["strength"],
        lists["output"][0] if lists["output"] else "",
    )


def _parse_list(value: Any, name: str, where: str) -> tuple[str, ...]:
    if isinstance(value, str) and name in {"source", "output"}:
        return (value,) if value else ()
    parts = value.split(";") if isinstance(value, str) else value if isinstance(value, list) else [value]
    parts = [part for part in parts if part is not None and part != ""]
    if not all(isinstance(part, str | int | float) and not isinstance(part, bool) for part in parts):
        raise InputError(f"{where} has a {name} that is neither text nor a number: repair it")
    return tuple(str(part).strip() for part in parts)
