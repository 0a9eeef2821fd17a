"""A model in memory: what loading it costs, and what it asks of its networks."""

from __future__ import annotations

import subprocess
import sys

RECONSTRUCT = """
import sys
import numpy as np
from stedit import Engine

Engine.from_pretrained(device="cpu").reconstruct(np.zeros((128, 128, 3), np.uint8))
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""

BUILD_ALL = """
import sys
import torch
from stedit.models.config import EncoderConfig
from stedit.runtime.networks import build_network
from stedit.storage.bundle_config import PART_CONFIGS

configs = [(name, config()) for name, config in PART_CONFIGS.items()]
configs += [("encoder", EncoderConfig(position_embedding=True, query_rank=8)), ("encoder", EncoderConfig(kind="psp"))]
configs += [("classifier", PART_CONFIGS["classifier"](covariance_rank=8))]
configs += [("editor", PART_CONFIGS["editor"](attributes=4, labels=(1, 2)))]
with torch.device("meta"):
    networks = [build_network(*one) for one in configs]
assert all(parameter.is_meta for network in networks for parameter in network.parameters())
print(sorted({"torch._dynamo", "sympy"} & set(sys.modules)))
"""


def output_of(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


def test_reconstruct_in_a_fresh_process_leaves_dynamo_and_sympy_unimported() -> None:
    assert output_of(RECONSTRUCT) == "[]"


def test_build_network_on_the_meta_device_leaves_dynamo_and_sympy_unimported() -> None:
    assert output_of(BUILD_ALL) == "[]"
