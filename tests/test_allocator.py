"""Freed memory is kept: counted in page faults, which is what costs the time."""

import platform
import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from rlhf_ext._allocator import keep_freed_memory
import torch
torch.set_num_threads(1)
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(10):  # until the heap has its size
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc is what it is about")
def test_a_tensor_made_again_costs_no_page_faults():
    faults = {
        mode: int(
            subprocess.run([sys.executable, "-c", _FAULTS, mode], capture_output=True, text=True, check=True).stdout
        )
        for mode in ("kept", "not")
    }
    assert faults["not"] > 20 * 500  # 40 MB twenty times, in pages of 4 KiB (or, on some machines, 64)
    assert faults["kept"] < faults["not"] / 10
