"""A Python program in a bubblewrap sandbox: what it sees, what it may use, and how its failure is told from ours."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import ExitStack

from . import usage
from .process import SandboxResult, run, to_bytes
from .seccomp import AUDIT_ARCH, seccomp_filter

_PYTHON = "/usr/bin/python3"  # a virtual environment's would need folders that the program is not to see
_NOBODY = "65534"
_PROCESSES = 16
"""Processes and threads of one program, at most."""
_DISK_BYTES = 64 << 20
"""Bytes in `/tmp`, and in `/dev/shm`, at most. They are memory."""
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MALLOC_ARENA_MAX": "1",  # an arena a thread takes 64 MB of address space, which is what memory is counted in
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


_WAY_OUT = (
    "For code that you trust, say `trusted=True` (of a program) or `allow_unsandboxed=True` (of code and its tests)."
)


class SandboxUnavailable(RuntimeError):
    """Code was to be run contained, and this machine cannot."""


@functools.cache  # what it raises is not kept: a tool may be installed while this process runs
def check_sandbox() -> None:
    """Tries whether this machine can contain a program, once a process.

    Raises:
        SandboxUnavailable: If it cannot, with the reason and the way out.
    """
    if platform.system() != "Linux" or platform.machine() not in AUDIT_ARCH or not os.path.exists(_PYTHON):
        raise SandboxUnavailable(
            f"Untrusted code cannot be contained here, so it is not run: it needs Linux on {' or '.join(AUDIT_ARCH)}, with "
            f"{_PYTHON}. {_WAY_OUT}"
        )
    if (result := run_contained({"main.py": "print('contained')"}, "", 30.0, 64)).stdout != "contained\n":
        raise SandboxUnavailable(f"The sandbox did not run a trivial program: {result}")


def run_contained(sources: Mapping[str, str], stdin: str, timeout_s: float, memory_mb: int) -> SandboxResult:
    """[`run_python`] without its checks."""
    import fcntl  # Unix only

    with ExitStack() as stack:

        def memory(content: bytes, seal: bool = True) -> int:
            fd = os.memfd_create("sandbox", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            stack.callback(os.close, fd)
            with open(fd, "wb", closefd=False) as file:
                file.write(content)
            os.lseek(fd, 0, os.SEEK_SET)
            if seal:  # stdin reaches the program, which would else have memory there that nothing limits
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
            return fd

        given, status = memory(to_bytes(stdin)), memory(b"", seal=False)
        contents = {name: memory(to_bytes(text)) for name, text in sources.items()}
        seccomp = memory(seccomp_filter(platform.machine()))
        command = _command(contents, seccomp, status, _limits(timeout_s, memory_mb))
        fds = (*contents.values(), seccomp, status)
        exceeds = functools.partial(usage.exceeds, memory_mb=memory_mb)
        result = run(command, timeout_s, exceeds, stdin=given, cwd="/", env=_ENVIRONMENT, pass_fds=fds)
        with open(status, closefd=False, encoding="utf-8") as file:
            file.seek(0)
            reports = [json.loads(line) for line in file if line.endswith("\n")]
    killed = result.timed_out or result.overused
    if not killed and not any("exit-code" in report for report in reports):
        raise SandboxUnavailable(
            f"The sandbox failed before or while it ran the program: {result.stderr.strip() or 'it was killed'}. It needs "
            "unprivileged user namespaces, which containers and some distributions turn off (docker: --security-opt "
            f"seccomp=unconfined; Ubuntu: kernel.apparmor_restrict_unprivileged_userns=0). {_WAY_OUT}"
        )
    return result


def _command(files: Mapping[str, int], seccomp: int, status: int, limits: list[str]) -> list[str]:
    # RLIMIT_NPROC does not bind root, so root becomes nobody first, and it is set inside, where it counts the processes
    # of this user namespace alone.
    drop = [_tool("setpriv"), "--reuid", _NOBODY, "--regid", _NOBODY, "--clear-groups"] if os.geteuid() == 0 else []
    command = [*drop, _tool("bwrap"), "--unshare-all", "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    command += ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    for folder in ("/bin", "/lib", "/lib64"):
        if os.path.islink(folder):
            command += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            command += ["--ro-bind", folder, folder]
    # No /proc. What bubblewrap lays down itself, / and /dev, is memory without a limit until it is read-only.
    command += ["--dev", "/dev", "--size", str(_DISK_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    command += ["--size", str(_DISK_BYTES), "--tmpfs", "/tmp"]
    for name, fd in files.items():
        command += ["--file", str(fd), f"/tmp/{name}"]
    command += ["--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(seccomp), "--json-status-fd", str(status)]
    return [*command, _tool("prlimit"), *limits, _PYTHON, "-B", "-s", "/tmp/main.py"]


def _tool(name: str) -> str:
    if (path := shutil.which(name)) is None:
        raise SandboxUnavailable(
            f"Untrusted code cannot be contained here, so it is not run: {name} is not installed. On Debian or Ubuntu: "
            f"apt-get install bubblewrap util-linux. {_WAY_OUT}"
        )
    return path


def _limits(timeout_s: float, memory_mb: int) -> list[str]:
    import resource  # Unix only

    wanted = {
        "as": memory_mb << 20,
        "nproc": _PROCESSES,
        "nofile": 256,
        "core": 1,  # bytes: too few for a file, and the one value at which the kernel starts no handler of core dumps
        "memlock": 0,
        "msgqueue": 0,
        "cpu": int(timeout_s) + 2,  # of one process; `timeout_s` is the limit that counts
    }
    limits = []
    for name, value in wanted.items():
        hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1]
        limits.append(f"--{name}={value if hard == resource.RLIM_INFINITY else min(value, hard)}")
    return limits
