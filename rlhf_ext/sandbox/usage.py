"""What a sandbox takes in all, which no limit of the kernel's counts without cgroups: watched from outside, and ended."""

from __future__ import annotations

import os
from pathlib import Path

_FILES = 20_000
"""Files in each of its folders, at most: each is about a kilobyte of the kernel's memory, however empty."""
_FOLDERS = ("tmp", "dev/shm")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def exceeds(pid: int, memory_mb: int) -> bool:
    """Whether a process and what descends from it take more than they may.

    Args:
        pid (`int`):
            The process that was started.
        memory_mb (`int`):
            MiB of memory that all of them may have together. Pages that two have in common since a fork count twice, files
            that they map do not count.
    """
    family = _family(pid)
    return sum(map(_memory, family)) > memory_mb << 20 or any(_files(member) > _FILES for member in family[-1:])


def _family(pid: int) -> list[int]:
    """A process and its descendants, by number: the last one is inside of the sandbox."""
    # What it has started has higher numbers, unless they have begun anew since.
    begun_anew = int(Path("/proc/loadavg").read_text().split()[-1]) < pid
    others = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    parents = {other: _parent(other) for other in others if begun_anew or other > pid}
    family, found = [pid], {pid}
    while found:
        found = {child for child, parent in parents.items() if parent in found}
        family += sorted(found)
    return family


def _parent(pid: int) -> int:
    try:
        # The name, in parentheses, may hold anything.
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0


def _memory(pid: int) -> int:
    try:
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _files(pid: int) -> int:
    most = 0
    for folder in _FOLDERS:
        place = f"/proc/{pid}/root/{folder}"
        try:
            if os.stat(place).st_dev == os.stat(f"/{folder}").st_dev:
                continue  # not in the sandbox yet: these are the machine's
            found = os.statvfs(place)
        except OSError:  # it has ended, or the folder is not there yet
            continue
        most = max(most, found.f_files - found.f_ffree)
    return most
