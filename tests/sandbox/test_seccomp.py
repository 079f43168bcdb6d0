"""The filter on system calls, as the kernel applies it."""

import platform
import shutil
import struct

import pytest

from rlhf_ext.sandbox import run_python
from rlhf_ext.sandbox.seccomp import _DENIED, AUDIT_ARCH, seccomp_filter

contained = pytest.mark.skipif(
    shutil.which("bwrap") is None or platform.machine() != "x86_64", reason="needs bubblewrap on x86-64"
)

CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
for number, *arguments in {calls}:
    ctypes.set_errno(0)
    result = libc.syscall(number, *(ctypes.c_long(argument) for argument in arguments))
    print(result if result >= 0 else -ctypes.get_errno())
"""


def results(calls, **options):
    return [int(line) for line in run_python(CALL.format(calls=calls), timeout_s=20.0, **options).stdout.split()]


@contained
def test_every_denied_call_is_denied():
    calls = [(numbers[0], -1, -1, -1, -1, -1) for numbers in _DENIED.values()]
    assert results(calls) == [-1] * len(_DENIED)  # EPERM


@contained
def test_memory_that_no_limit_counts_is_to_be_had_without_the_filter():
    memfd_create, empty_name = 319, "b''"
    code = CALL.replace("ctypes.c_long(argument)", "argument").format(calls=f"[({memfd_create}, {empty_name}, 0)]")
    assert int(run_python(code, trusted=True).stdout) > 2
    assert int(run_python(code).stdout) == -1


@contained
@pytest.mark.parametrize("flag", [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
def test_no_new_namespace_by_any_call(flag):
    clone, sigchld = 56, 17
    assert results([(clone, flag | sigchld, 0, 0, 0, 0)]) == [-1]


@contained
def test_clone3_is_said_to_be_missing_and_x32_too():
    getpid, x32 = 39, 0x40000000
    clone3 = 435
    assert results([(clone3, 0, 0), (x32 | getpid,)]) == [-38, -38]  # ENOSYS


@contained
def test_other_calls_pass():
    getpid = 39
    assert results([(getpid,)])[0] > 0


@pytest.mark.parametrize("machine", AUDIT_ARCH)
def test_the_program_is_well_formed(machine):
    """Every jump stays inside and the last step returns, or the kernel would refuse the filter."""
    steps = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    for place, (code, if_true, if_false, _) in enumerate(steps):
        if code & 7 == 5:  # a jump
            assert place + 1 + max(if_true, if_false) < len(steps)
    assert steps[-1][0] == 6 and steps[-1][3] == 0x7FFF0000
    assert steps[1] == (0x15, 1, 0, AUDIT_ARCH[machine])
