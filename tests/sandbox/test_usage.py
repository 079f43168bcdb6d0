"""What all processes of a program take together, seen from outside."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from rlhf_ext.sandbox import run_python, usage

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")

CHILDREN = """
import os, time
for _ in range({count}):
    if os.fork() == 0:
        os.setsid()
        block = bytearray({mib} << 20)
        time.sleep(1)
        os._exit(0)
time.sleep(1.2)
print("done")
"""


def test_memory_is_counted_over_all_processes():
    assert run_python(CHILDREN.format(count=3, mib=40), memory_mb=256, timeout_s=20).stdout == "done\n"
    result = run_python(CHILDREN.format(count=5, mib=100), memory_mb=256, timeout_s=20)
    assert (result.overused, result.ok, result.timed_out, result.stdout) == (True, False, False, "")
    assert run_python(CHILDREN.format(count=5, mib=100), memory_mb=1024, timeout_s=20).ok


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
def test_files_are_counted(folder):
    code = f"import os, time\nfor n in range({{count}}): os.mknod(f'{folder}/{{n}}')\ntime.sleep(0.2)\nprint('done')"
    few, many = (run_python(code.replace("{count}", str(n)), timeout_s=20) for n in (10_000, 40_000))
    assert (few.stdout, few.overused) == ("done\n", False)
    assert (many.stdout, many.overused) == ("", True)


def test_trusted_code_takes_what_it_likes():
    assert run_python(CHILDREN.format(count=3, mib=100), memory_mb=64, timeout_s=20, trusted=True).ok


def test_the_family_is_all_that_descends_from_a_process():
    child_code = "import os; block = bytearray(9 << 20); print(os.getpid(), flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child_code!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        child = int(process.stdout.readline())
        assert usage._family(process.pid) == [process.pid, child]
        assert (
            usage._memory(child) > 9 << 20 and not usage.exceeds(process.pid, 1000) and usage.exceeds(process.pid, 1)
        )
        process.stdin.close()
    assert usage._files(os.getpid()) == 0  # the machine's own folders are not counted, however full
    deadline = time.monotonic() + 10
    while usage._parent(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert usage._parent(child) == usage._memory(child) == 0
    assert usage._parent(os.getpid()) == os.getppid()
