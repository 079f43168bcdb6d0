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
def test_clone3_is_said_to_be_missing():
    clone3 = 435
    assert results([(clone3, 0, 0)]) == [-38]  # ENOSYS


@contained
def test_other_calls_pass():
    getpid = 39
    assert results([(getpid,)])[0] > 0


def verdict(machine, number, first_argument=0, arch=None):
    """What the kernel would make of a call, by running the filter as it does."""
    steps = list(struct.iter_unpack("=HBBI", seccomp_filter(machine)))
    data = {0: number, 4: AUDIT_ARCH[machine] if arch is None else arch, 16: first_argument}
    tests = {0x15: lambda a, k: a == k, 0x35: lambda a, k: a >= k, 0x45: lambda a, k: bool(a & k)}
    place = accumulator = 0
    while True:
        code, if_true, if_false, value = steps[place]
        place += 1
        if code == 0x06:
            return {
                0x7FFF0000: "allow",
                0x80000000: "kill",
                0x50001: "EPERM",
                0x50026: "ENOSYS",
                0x50061: "EAFNOSUPPORT",
            }[value]
        if code == 0x20:
            accumulator = data[value]
        else:
            place += if_true if tests[code](accumulator, value) else if_false


@pytest.mark.parametrize(("machine", "column", "clone"), [("x86_64", 0, 56), ("aarch64", 1, 220)])
def test_the_filter_as_the_kernel_reads_it(machine, column, clone):
    assert {verdict(machine, numbers[column]) for numbers in _DENIED.values()} == {"EPERM"}
    assert verdict(machine, 435) == "ENOSYS"
    assert verdict(machine, clone, 0x10000000) == "EPERM"
    assert verdict(machine, clone, 0x003D0F00) == "allow"  # a thread
    write = {"x86_64": 1, "aarch64": 64}[machine]
    assert verdict(machine, write, 0x10000000) == "allow"
    assert verdict(machine, write, arch=0x40000003) == "kill"  # 32-bit calls have other numbers


def test_the_second_way_to_number_calls_is_closed():
    assert verdict("x86_64", 0x40000000 | 319) == "ENOSYS"


@pytest.mark.parametrize(("machine", "socket"), [("x86_64", 41), ("aarch64", 198)])
def test_only_families_that_a_namespace_holds(machine, socket):
    """AF_VSOCK (40) leads from a virtual machine to its host, whatever the network namespace."""
    allowed = [family for family in range(64) if verdict(machine, socket, family) == "allow"]
    assert allowed == [1, 2, 10, 16]
    assert {verdict(machine, socket, family) for family in set(range(64)) - set(allowed)} == {"EAFNOSUPPORT"}


@contained
def test_families_as_a_program_finds_them():
    code = """
import socket
for family in (1, 2, 10, 16, 17, 38, 40):
    try:
        socket.socket(family, socket.SOCK_DGRAM).close()
        print(family, "is there")
    except OSError as error:
        print(family, error.errno)
"""
    found = run_python(code).stdout.split("\n")
    assert found[:4] == ["1 is there", "2 is there", "10 is there", "16 is there"]
    assert found[4:7] == ["17 97", "38 97", "40 97"]
