"""Measure what stedit costs, beside the paper's formulas in plain PyTorch: `make bench`.

Cases that do the same work, as large, are processes that live side by side and take turns, round by round, so that a
machine whose speed drifts does so for all of them. Wall time is what a person waits for; CPU time, of all threads, is
steadier where other programs run. Figures are medians of the rounds, after one that is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import GROUPS, STEPS, Case
from bench.plot import plot
from bench.processes import PROCESSES, measure_processes

Row = dict[str, Any]
PYTHON_PATH = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])


def measure(cases: Sequence[Case], *, rounds: int, threads: int) -> list[Row]:
    """A row for each case; of its process, the peak of memory."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": PYTHON_PATH}
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.child", json.dumps(asdict(case))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for case in cases
    ]
    times: list[list[Row]] = [[] for _ in cases]
    try:
        operations = [_answer(child)["operations"] for child in children]
        for _ in range(rounds):
            for child, taken in zip(children, times, strict=True):
                assert child.stdin
                child.stdin.write("\n")
                child.stdin.flush()
                taken.append(_answer(child))
    finally:
        for child in children:
            child.communicate()
    return [_row(case, taken, ops) for case, taken, ops in zip(cases, times, operations, strict=True)]


def _answer(child: subprocess.Popen[str]) -> Row:
    assert child.stdout
    line = child.stdout.readline()
    if not line:
        sys.exit("a case has failed; see above")
    answer: Row = json.loads(line)
    return answer


def _row(case: Case, taken: list[Row], operations: float) -> Row:
    steps = STEPS if case.work in ("hybrid", "tune") else 1
    row: Row = asdict(case) | {"rounds": len(taken), "peak_mb": round(taken[-1]["peak_mb"])}
    for clock in ("wall", "cpu"):
        seconds = sorted(one[clock] / steps for one in taken)
        row[clock] = {"min": seconds[0], "median": median(seconds), "max": seconds[-1]}
    if operations:
        row["gflops"] = operations / row["cpu"]["median"] / 1e9  # of one thread's time
    return row


def print_table(title: str, rows: Sequence[Row], peaks: dict[str, float]) -> None:
    """A table of Markdown."""
    print(f"\n### {title}\n")
    print("| work | by | wall, s | CPU, s | CPU an image, s | of the peak | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        case = Case(**{key: row[key] for key in Case.__dataclass_fields__})
        peak = peaks.get(case.precision)
        share = f"{row['gflops'] / peak:.0%}" if peak and "gflops" in row else ""
        wall, cpu = row["wall"], row["cpu"]["median"]
        spread = f"{wall['median']:.3f} ({wall['min']:.3f} to {wall['max']:.3f})"
        cells = (case.name, case.doer, spread, f"{cpu:.3f}", f"{cpu / case.batch:.3f}", share, str(row["peak_mb"]))
        print(f"| {' | '.join(cells)} |")
    sys.stdout.flush()


def main() -> None:
    """Run the groups that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    groups = [*GROUPS, *PROCESSES]
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(groups)}; by default all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each process")
    parser.add_argument("--largest", type=int, default=2**20, help="leave out larger renderings, in pixels")
    parser.add_argument("--most", type=int, default=64, help="leave out larger batches")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="plot the groups generator and growth")
    chosen = parser.parse_args()
    if unknown := set(chosen.groups) - set(groups):
        parser.error(f"there is no group {min(unknown)}: choose from {', '.join(groups)}")

    machine = {
        "processor": _processor(),
        "threads": chosen.threads,
        "torch": version("torch"),
        "python": platform.python_version(),
        "stedit": version("stedit"),
        "allocator": "kept: blocks up to 2 GB stay in the process; default: as the C library does",
    }
    print("\n".join(f"{key}: {value}" for key, value in machine.items()), flush=True)
    found: dict[str, list[Row]] = {}
    for group in chosen.groups or groups:
        if group in PROCESSES:
            found[group] = measure_processes(group, rounds=chosen.rounds)
            continue
        cases = [case for case in GROUPS[group] if case.size <= chosen.largest and case.batch <= chosen.most]
        found[group] = []
        for _, compared in groupby(cases, key=lambda case: case.name):  # all at once may be more than memory holds
            found[group] += measure(tuple(compared), rounds=chosen.rounds, threads=chosen.threads)
        print_table(group, found[group], _peaks(found))
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": machine, "groups": found}, indent=1) + "\n", encoding="utf-8")
    if chosen.svg:
        chosen.svg.write_text(plot(found), encoding="utf-8")


def _peaks(found: dict[str, list[Row]]) -> dict[str, float]:
    """The fastest convolution's GFLOP/s of one thread, by precision."""
    peaks: dict[str, float] = {}
    for row in found.get("convolution", []):
        peaks[row["precision"]] = max(peaks.get(row["precision"], 0.0), row["gflops"])
    return peaks


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
