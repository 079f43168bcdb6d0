"""What a run has been answered so far, so that one that was stopped repeats nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO


class Journal:
    """A JSONL file with a line for each batch that was answered, or none at all: then nothing is kept.

    The first line says which run it is; each other line holds all the answers of one call, by row. A line is written
    whole and synced before its answers are used. A process killed at any moment loses the call in flight; half a last
    line is dropped, and the call made again on the same rows.

    Args:
        path (`str`, `Path` or `None`):
            The file; it is made where there is none.
        identity (`Mapping[str, Any]`):
            What makes the run this run, ready for JSON.
        kind (`str`):
            What it is a store of (`"revisions"`).

    Raises:
        FileExistsError: If the file is the journal of another run (what differs is named), or no journal.
        BlockingIOError: If another process is writing it.
        ValueError: If a line in it is damaged.
    """

    def __init__(self, path: str | Path | None, identity: Mapping[str, Any], kind: str):
        self._kind = f"rlhf_ext {kind} journal 1"
        self._what = kind
        self._known: dict[tuple[str, int, str], Any] = {}
        self._file: BinaryIO | None = None
        if path is None:
            return
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            file = stack.enter_context(open(self._path, "a+b"))
            self._lock(file)
            self._read(file, json.loads(json.dumps(identity)))
            stack.pop_all()  # stays open, and locked, until `__exit__`
        self._file = file

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._file is not None:
            self._file.close()

    def ask(
        self, stage: str, turn: int, keys: Sequence[str], compute: Callable[[list[int]], Sequence[Any]]
    ) -> list[Any]:
        """The answers of one call, from the journal where they are known, else computed and written down.

        Args:
            stage (`str`), turn (`int`):
                What is asked, and in which round.
            keys (`Sequence[str]`):
                The rows.
            compute (`Callable`):
                Given the indices of the rows that are not known, gives their answers, ready for JSON. Not called if all
                are known.
        """
        missing = [index for index, key in enumerate(keys) if (stage, turn, key) not in self._known]
        if missing:
            values = zip(missing, compute(missing), strict=True)
            self.record(stage, turn, {keys[index]: value for index, value in values})
        return [self._known[stage, turn, key] for key in keys]

    def record(self, stage: str, turn: int, values: Mapping[str, Any]) -> None:
        """Writes answers down, all or none of them, and syncs."""
        if self._file is not None:
            self._append(self._file, {"stage": stage, "round": turn, "values": values})
        self._known.update({(stage, turn, key): value for key, value in values.items()})

    def known(self, stage: str, turn: int) -> dict[str, Any]:
        """The answers that there are, by row."""
        return {row: value for (asked, number, row), value in self._known.items() if (asked, number) == (stage, turn)}

    def _lock(self, file: BinaryIO) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"Another process is writing the store {self._path}; wait for it, or end it."
            ) from error

    def _read(self, file: BinaryIO, identity: dict[str, Any]) -> None:
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if not content.startswith(_start(self._kind)[: len(content)]):
            raise FileExistsError(f"{self._path} is no store of {self._what}. Choose another `store`, or remove it.")
        if whole < len(content):
            file.truncate(whole)  # killed while writing
        lines = [self._parse(number, line) for number, line in enumerate(content[:whole].splitlines(), start=1)]
        if not lines:
            self._append(file, {"kind": self._kind, "identity": identity})
            return
        self._check(lines[0]["identity"], identity)
        for line in lines[1:]:
            self._known.update({(line["stage"], line["round"], key): value for key, value in line["values"].items()})

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            return json.loads(line)
        except ValueError as error:
            raise ValueError(f"{self._path} line {number} is damaged ({error}). Restore it, or remove it.") from error

    def _check(self, saved: dict[str, Any], identity: dict[str, Any]) -> None:
        for name in identity | saved:
            if identity.get(name) != saved.get(name):
                raise FileExistsError(
                    f"{self._path} is the store of another run: there `{name}` is {saved.get(name)!r}, now it is "
                    f"{identity.get(name)!r}. Choose another `store`, or remove it."
                )

    def _append(self, file: BinaryIO, line: dict[str, Any]) -> None:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _start(kind: str) -> bytes:
    return json.dumps({"kind": kind})[:-1].encode()
