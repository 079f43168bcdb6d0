"""One process from start to end: its time, its output, and what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

_OUTPUT_BYTES = 1 << 20
"""Bytes of stdout, and of stderr, that are kept."""
_WATCH_S = 0.05
"""Seconds between two looks at what a process takes."""


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
        overused (`bool`, *optional*, defaults to `False`):
            Whether it was killed because its processes together took more memory, or made more files, than they may.
    """

    returncode: int
    stdout: str
    stderr: str
    timed_out: bool
    truncated: bool
    seconds: float
    overused: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with status 0."""
        return self.returncode == 0 and not self.timed_out and not self.overused


def run(
    command: list[str], timeout_s: float, exceeds: Callable[[int], bool] = lambda pid: False, **options: Any
) -> SandboxResult:
    """Runs a command to its end, to the end of its time, or until it takes more than it may; then ends what is left of it.

    Args:
        command (`list[str]`), **options:
            As for `subprocess.Popen`. What is ended is its process group.
        timeout_s (`float`):
            Its time.
        exceeds (`Callable`, *optional*):
            Says of its number, 20 times a second, whether it takes more than it may.
    """
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options
    ) as process:
        try:
            ending, (stdout, stderr), truncated = _read(process, start + timeout_s, exceeds)
        finally:
            _kill_group(process.pid)
            process.wait()
    return SandboxResult(
        returncode=process.returncode,
        stdout=stdout.decode("utf-8", errors="replace"),
        stderr=stderr.decode("utf-8", errors="replace"),
        timed_out=ending == "timeout",
        truncated=truncated,
        seconds=time.monotonic() - start,
        overused=ending == "overused",
    )


def _read(
    process: subprocess.Popen[bytes], deadline: float, exceeds: Callable[[int], bool]
) -> tuple[Literal["end", "timeout", "overused"], list[bytes], bool]:
    """Reads both streams until the process ends: what ended it, the first bytes of each, whether there were more."""
    kept: dict[int, bytearray] = {
        stream.fileno(): bytearray() for stream in (process.stdout, process.stderr) if stream
    }
    truncated, watched = False, time.monotonic()
    with selectors.DefaultSelector() as selector:
        for fd in kept:
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            # A process that trusted code has left behind may hold the streams open: its parent's end is the end.
            ended = process.poll() is not None
            open_streams = bool(selector.get_map())
            ready = selector.select(0 if ended else min(_WATCH_S, left)) if open_streams else []
            for key, _ in ready:
                block = os.read(key.fd, 1 << 16)
                room = _OUTPUT_BYTES - len(kept[key.fd])
                kept[key.fd] += block[:room]
                truncated |= len(block) > room
                if not block:
                    selector.unregister(key.fd)
            if ended and not ready:
                return "end", _bytes(kept), truncated
            if not ended and not open_streams:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(min(_WATCH_S, left))
            if time.monotonic() - watched > _WATCH_S:
                watched = time.monotonic()
                if not ended and exceeds(process.pid):
                    return "overused", _bytes(kept), truncated
    return "timeout" if process.poll() is None else "end", _bytes(kept), truncated


def _bytes(kept: dict[int, bytearray]) -> list[bytes]:
    return [bytes(block) for block in kept.values()]


def to_bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair becomes bytes that are none, which is the program's problem."""
    return text.encode("utf-8", errors="surrogatepass")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing is left
        os.killpg(pid, signal.SIGKILL)
