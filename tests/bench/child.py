"""A process that holds one case: it does the work each time that a line comes in, and says how long it took.

The peak of memory, the allocator and the threads are those of a process, hence one for each case.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch
from bench.cases import Case, prepare

from stedit.runtime.allocator import keep_big_blocks


def main() -> None:
    """Prepare the case that the arguments hold as JSON, and do it once for each line of standard input."""
    case = Case(**json.loads(sys.argv[1]))
    if case.allocator == "kept":
        keep_big_blocks()
    with torch.no_grad():
        work, operations = prepare(case)
        work()
        threads = torch.get_num_threads()
        print(json.dumps({"operations": operations, "threads": threads}), flush=True)
        for _ in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({**took, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    main()
