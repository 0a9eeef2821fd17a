"""What is asked of glibc, measured in page faults of a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS_OF_REUSE = """
import resource, sys
from stedit.runtime.allocator import keep_big_blocks

if sys.argv[1] == "keep":
    keep_big_blocks()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(2**26)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_keep_big_blocks_reuses_memory_without_page_faults() -> None:
    command = [sys.executable, "-c", FAULTS_OF_REUSE]
    faults = {
        how: int(subprocess.run([*command, how], check=True, capture_output=True, text=True).stdout)
        for how in ("leave", "keep")
    }
    assert faults["leave"] >= 2**26 // 2**21  # at least one for each huge page
    assert faults["keep"] <= 4
