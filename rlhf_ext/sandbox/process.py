"""One process from start to end: its time, its output, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

_OUTPUT_BYTES = 1 << 20
"""Bytes of stdout, and of stderr, that are kept."""


@dataclass(frozen=True)
class SandboxResult:
    """What became of a program.

    Args:
        returncode (`int`):
            Its exit status: 0 where it ended well, 128 + n (contained) or -n (trusted) where signal n ended it, -9 where
            time ran out.
        stdout (`str`), stderr (`str`):
            What it wrote, as UTF-8: the first MiB of each.
        timed_out (`bool`):
            Whether it was killed because time ran out.
        truncated (`bool`):
            Whether it wrote more than is kept.
        seconds (`float`):
            How long it ran, start-up of the sandbox included.
    """

    returncode: int
    stdout: str
    stderr: str
    timed_out: bool
    truncated: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.returncode == 0 and not self.timed_out


def run(command: list[str], timeout_s: float, **options: Any) -> SandboxResult:
    """Runs a command to its end or to the end of its time, then ends what is left of its process group."""
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options
    ) as process:
        try:
            timed_out, (stdout, stderr), truncated = _read(process, start + timeout_s)
        finally:
            _kill_group(process.pid)
            process.wait()
    return SandboxResult(
        returncode=process.returncode,
        stdout=stdout.decode("utf-8", errors="replace"),
        stderr=stderr.decode("utf-8", errors="replace"),
        timed_out=timed_out,
        truncated=truncated,
        seconds=time.monotonic() - start,
    )


def _read(process: subprocess.Popen[bytes], deadline: float) -> tuple[bool, list[bytes], bool]:
    """Reads both streams until the process ends: whether time ran out, the first bytes of each, whether there were more."""
    kept: dict[int, bytearray] = {
        stream.fileno(): bytearray() for stream in (process.stdout, process.stderr) if stream
    }
    truncated = False
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            # A process that trusted code has left behind may hold the streams open: its parent's end is the end.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(0.05, left))
            for key, _ in ready:
                block = os.read(key.fd, 1 << 16)
                room = _OUTPUT_BYTES - len(kept[key.fd])
                kept[key.fd] += block[:room]
                truncated |= len(block) > room
                if not block:
                    selector.unregister(key.fd)
            if ended and not ready:
                break
    try:
        process.wait(max(0, deadline - time.monotonic()))
        timed_out = False
    except subprocess.TimeoutExpired:
        timed_out = True
    return timed_out, [bytes(block) for block in kept.values()], truncated


def to_bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair becomes bytes that are none, which is the program's problem."""
    return text.encode("utf-8", errors="surrogatepass")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(pid, signal.SIGKILL)
