"""Runs untrusted Python contained, or refuses: for code that a model wrote.

A program gets its own namespaces (bubblewrap), an unprivileged user, limits on processes and memory (prlimit), a filter on
system calls (seccomp) and nothing of the machine but `/usr`, read-only. It is a process sandbox, not a virtual machine:
it holds what a program can do with the kernel as it should be, not a hole in the kernel.
"""

from .bubblewrap import SandboxUnavailable, check_sandbox
from .process import SandboxResult
from .python import run_many, run_python

__all__ = ["SandboxResult", "SandboxUnavailable", "check_sandbox", "run_many", "run_python"]
