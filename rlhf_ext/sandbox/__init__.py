"""Runs untrusted Python contained, or refuses: for code that a model wrote.

A program gets its own namespaces (bubblewrap), an unprivileged user, limits on processes and memory (prlimit), a filter on
system calls (seccomp) and nothing of the machine but `/usr`, read-only. It is a process sandbox, not a virtual machine:
it holds what a program can do with the kernel as it should be, not a hole in the kernel.
"""

from .bubblewrap import SandboxUnavailable, check_sandbox
from .grading import KINDS, Outcome, Submission, Test, grade, processes
from .process import SandboxResult
from .python import check_limits, run_many, run_python
from .runners import Bubblewrap, Runner, Unsandboxed, available_runner

__all__ = [
    "KINDS",
    "Bubblewrap",
    "Outcome",
    "Runner",
    "SandboxResult",
    "SandboxUnavailable",
    "Submission",
    "Test",
    "Unsandboxed",
    "available_runner",
    "check_limits",
    "check_sandbox",
    "grade",
    "processes",
    "run_many",
    "run_python",
]
