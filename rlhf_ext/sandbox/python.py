"""Running Python programs, one or many."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any

from .process import SandboxResult
from .runners import Bubblewrap, Runner, Unsandboxed


def run_python(
    code: str,
    *,
    stdin: str = "",
    timeout_s: float = 10.0,
    memory_mb: int = 256,
    files: Mapping[str, str] | None = None,
    trusted: bool = False,
) -> SandboxResult:
    """Runs a Python program that nobody has read, contained.

    It runs as `/usr/bin/python3` with the standard library and what the system's packages add, without network,
    environment variables, other processes or files of this machine outside `/usr`. It may write 64 MiB to `/tmp`, its
    working folder, and 64 MiB to `/dev/shm`, 20,000 files in each; both are gone afterwards. It may have 16 processes and
    threads, which all end with it.

    Args:
        code (`str`):
            The program.
        stdin (`str`, *optional*, defaults to `""`):
            What it reads from standard input.
        timeout_s (`float`, *optional*, defaults to `10.0`):
            Seconds until it is killed, with every process it has started.
        memory_mb (`int`, *optional*, defaults to `256`):
            MiB of address space of each of its processes, and of memory that all of them may have together; at least 64.
        files (`Mapping[str, str]`, *optional*):
            Further files in its working folder, by relative name: modules to import, data to read.
        trusted (`bool`, *optional*, defaults to `False`):
            Says that you trust this code as you trust your own. It then runs with your rights, in this Python and with
            its packages, in a temporary folder; only `timeout_s` holds.

    Returns:
        [`SandboxResult`]

    Raises:
        SandboxUnavailable: If this machine cannot contain it (and `trusted` was not said), or the sandbox itself failed.
            The failure of a sandbox never looks like the failure of the program.
        ValueError: If an argument is out of range.

    Example:

    ```python
    >>> from rlhf_ext.sandbox import run_python
    >>> run_python("print(int(input()) * 2)", stdin="21").stdout
    '42\\n'
    >>> run_python("while True: pass", timeout_s=0.5).timed_out
    True

    ```
    """
    check_limits(timeout_s, memory_mb, files)
    runner = _runner(trusted)
    runner.check()
    return runner.run({"main.py": code, **(files or {})}, stdin, timeout_s, memory_mb)


def run_many(
    programs: Sequence[str], *, stdin: str | Sequence[str] = "", max_workers: int | None = None, **options: Any
) -> list[SandboxResult]:
    """Runs several programs at the same time.

    Args:
        programs (`Sequence[str]`):
            The programs.
        stdin (`str` or `Sequence[str]`, *optional*, defaults to `""`):
            What all of them read from standard input, or one text for each.
        max_workers (`int`, *optional*):
            How many at a time; by default as many as there are processors. With more, they share the processors and take
            longer to meet the same `timeout_s`.
        **options:
            `timeout_s`, `memory_mb`, `files` and `trusted` as for [`run_python`], the same for all.

    Returns:
        `list[SandboxResult]`: one a program, in order.

    Raises:
        SandboxUnavailable, ValueError: As [`run_python`], before any program runs.

    Example:

    ```python
    >>> from rlhf_ext.sandbox import run_many
    >>> [result.stdout for result in run_many(["print(1)", "print(input())"], stdin=["", "2"])]
    ['1\\n', '2\\n']

    ```
    """
    given = [stdin] * len(programs) if isinstance(stdin, str) else list(stdin)
    if len(given) != len(programs):
        raise ValueError(f"{len(programs)} programs but {len(given)} texts for their standard input.")
    trusted = options.pop("trusted", False)
    check_limits(max_workers=max_workers, **options)
    runner = _runner(trusted)
    runner.check()
    files, timeout_s = options.get("files") or {}, options.get("timeout_s", 10.0)

    def run(code: str, text: str) -> SandboxResult:
        return runner.run({"main.py": code, **files}, text, timeout_s, options.get("memory_mb", 256))

    with ThreadPoolExecutor(max_workers or os.cpu_count() or 1) as pool:
        return list(pool.map(run, programs, given))


def check_limits(
    timeout_s: float = 10.0,
    memory_mb: int = 256,
    files: Mapping[str, str] | None = None,
    max_workers: int | None = None,
) -> None:
    """Refuses limits that no runner could keep.

    Raises:
        ValueError: If one is out of range.
    """
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"`timeout_s` must be above 0 and finite, got {timeout_s}.")
    if memory_mb < 64:
        raise ValueError(f"`memory_mb` must be at least 64, what Python itself needs, got {memory_mb}.")
    if max_workers is not None and max_workers < 1:
        raise ValueError(f"`max_workers` must be at least 1, got {max_workers}.")
    for name in files or {}:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) in (".", "main.py") or "\0" in name:
            raise ValueError(f"`files` takes relative names below the working folder, main.py apart, got {name!r}.")


def _runner(trusted: bool) -> Runner:
    return Unsandboxed() if trusted else Bubblewrap()
