"""Where a program runs: contained on this machine, on another one, or not contained at all."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from .bubblewrap import SandboxUnavailable, check_sandbox, run_contained
from .process import SandboxResult, run, to_bytes


class Runner(Protocol):
    """Runs one program. Whatever has these two methods can stand in for the sandbox: a container, a service elsewhere.

    Programs are hostile: a runner keeps them from the machine, the network and one another, limits what they take, and
    gives them `/usr/bin/python3` or a Python like it, 3.9 or later. Several threads call `run` at a time.
    """

    def check(self) -> None:
        """Tries whether it can run programs.

        Raises:
            SandboxUnavailable: If it cannot, with the reason and the way out.
        """
        ...

    def run(self, sources: Mapping[str, str], stdin: str, timeout_s: float, memory_mb: int) -> SandboxResult:
        """Runs `main.py` among some files, in a folder that they are alone in, and ends all of it.

        Args:
            sources (`Mapping[str, str]`):
                Files by relative name, `main.py` among them.
            stdin (`str`):
                What the program reads from standard input.
            timeout_s (`float`):
                Seconds until it is killed, with every process it has started.
            memory_mb (`int`):
                MiB of memory that it may take.

        Returns:
            [`SandboxResult`]

        Raises:
            SandboxUnavailable: If the runner failed, not the program.
        """
        ...


class Bubblewrap:
    """The sandbox of this machine; see [`~rlhf_ext.sandbox.run_python`] for what it holds."""

    def check(self) -> None:
        """Raises [`SandboxUnavailable`] where this machine cannot contain programs."""
        check_sandbox()

    def run(self, sources: Mapping[str, str], stdin: str, timeout_s: float, memory_mb: int) -> SandboxResult:
        """Runs a program contained."""
        return run_contained(sources, stdin, timeout_s, memory_mb)


class Unsandboxed:
    """No sandbox: programs run with your rights, in this Python, and only `timeout_s` holds. For code that you trust."""

    def check(self) -> None:
        """Always can."""

    def run(self, sources: Mapping[str, str], stdin: str, timeout_s: float, memory_mb: int) -> SandboxResult:
        """Runs a program as it is, in a temporary folder."""
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as given:
            for name, text in sources.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(to_bytes(text))
            given.write(to_bytes(stdin))
            given.seek(0)
            return run([sys.executable, "-B", "main.py"], timeout_s, stdin=given.fileno(), cwd=folder)


def available_runner(runner: Runner | None = None, allow_unsandboxed: bool = False) -> Runner:
    """The runner to use: the one given, or this machine's sandbox; checked.

    Args:
        runner (`Runner`, *optional*):
            One of your own. By default [`Bubblewrap`].
        allow_unsandboxed (`bool`, *optional*, defaults to `False`):
            Where it is not available, run programs without containment, with a warning. They can then do all that you can:
            read your keys, delete your files, fake their results.

    Returns:
        `Runner`

    Raises:
        SandboxUnavailable: If it is not available and that was not allowed.
    """
    wanted: Runner = runner or Bubblewrap()
    try:
        wanted.check()
    except SandboxUnavailable as error:
        if not allow_unsandboxed:
            raise
        warnings.warn(f"Code that nobody has read runs with your rights, uncontained: {error}", stacklevel=2)
        return Unsandboxed()
    return wanted
