"""The record of a run in its folder: what it is, which stages are finished, and where to go on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import PartialState
from datasets import Dataset

from .._processes import leave_group_at_exit

_FILE = "run.json"

# Settings that do not change what a run computes: they may differ when it goes on.
_FREE = ("output_dir", "report_to", "checkpoint_steps", "trust_remote_code", "evaluation")


def processes() -> PartialState:
    """Accelerate's view of the processes of this run. On the CPU it must be told, or each thinks itself alone."""
    leave_group_at_exit()
    return PartialState(cpu=not torch.accelerator.is_available())


T = TypeVar("T")

_PATIENCE = timedelta(days=30)
"""Labels may take days, and a process group's own time limit is minutes."""


def on_main(work: Callable[[], T]) -> T:
    """Does something on the main process alone; all get what it gives, and all fail where it fails.

    Raises:
        Exception: What `work` raises, on the main process.
        RuntimeError: Its words, on the others.
    """
    state = processes()
    outcome: list[Any] = [None, None]  # what it gave, and why it gave nothing
    try:
        if state.is_main_process:
            outcome[0] = work()
    finally:  # whatever it raises goes on its way once the others know
        failure = sys.exception()
        if isinstance(failure, Exception):
            outcome[1] = f"{type(failure).__name__}: {failure}"
        if state.num_processes > 1 and isinstance(failure, Exception | None):  # an interrupt reaches all by itself
            group = dist.new_group(backend="gloo", timeout=_PATIENCE)
            dist.broadcast_object_list(outcome, src=0, group=group)
            dist.barrier(group)  # a main process that fails, and ends, would take its words with it
            dist.destroy_process_group(group)
    if outcome[1] is not None:
        raise RuntimeError(f"The main process stopped with {outcome[1]}")
    return outcome[0]


class RunRecord:
    """`run.json` in the output folder: the identity of the run and the results of finished stages.

    Every write replaces the file whole, so that a run killed at any moment finds either the old record or the new one.

    Args:
        folder (`str` or `Path`):
            The run's output folder.
        identity (`dict`):
            What makes the run this run: settings, model and data.
        is_main (`bool`, *optional*, defaults to `True`):
            Whether this process writes; the others keep the same record in memory.

    Raises:
        FileExistsError: If the folder holds another run; the message names what differs.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], is_main: bool = True):
        self.folder, self._is_main = Path(folder), is_main
        self._path = self.folder / _FILE
        self._identity = json.loads(json.dumps(identity, default=str))
        self._stages: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            saved = json.loads(self._path.read_text(encoding="utf-8"))
            self._check(saved["identity"])
            self._stages = saved["stages"]
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise FileExistsError(
                f"{self.folder} is not empty and holds no run of rlhf_ext. Choose another `output_dir`, or empty it."
            )

    def _check(self, saved: dict[str, Any]) -> None:
        for name in self._identity.keys() | saved.keys():
            if self._identity.get(name) != saved.get(name):
                raise FileExistsError(
                    f"{self.folder} holds another run: there `{name}` is {_short(saved.get(name))}, now it is "
                    f"{_short(self._identity.get(name))}. Choose another `output_dir`, or remove the folder."
                )

    def start(self) -> None:
        """Writes the record: from here on the folder belongs to this run."""
        self._write()

    def finished(self, stage: str) -> dict[str, Any] | None:
        """The result of a finished stage, or None."""
        return self._stages.get(stage)

    def finish(self, stage: str, result: dict[str, Any]) -> None:
        """Records that a stage is finished; its checkpoints are no longer needed."""
        self._stages[stage] = result
        self._write()
        if self._is_main:
            shutil.rmtree(self.checkpoints(stage), ignore_errors=True)

    def checkpoints(self, stage: str) -> Path:
        """Where a stage keeps its checkpoints while it runs."""
        return self.folder / "checkpoints" / stage

    def last_checkpoint(self, stage: str) -> str | None:
        """The last complete checkpoint of a stage; one that was cut off while being written is removed."""
        folder = self.checkpoints(stage)
        found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
        while found:
            if _is_complete(found[-1]):
                return str(found[-1])
            cut_off = found.pop()
            if self._is_main:
                shutil.rmtree(cut_off)
        return None

    def _write(self) -> None:
        if not self._is_main:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        text = json.dumps({"identity": self._identity, "stages": self._stages}, indent=1)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self._path)


def identity_of(settings: dict[str, Any], model: str, data: dict[str, Dataset | None]) -> dict[str, Any]:
    """What makes a run this run: the settings that change its result, its model and its rows."""
    identity = {name: value for name, value in settings.items() if name not in _FREE}
    return {**identity, "model": model, **{name: _digest(dataset) for name, dataset in data.items()}}


def _digest(dataset: Dataset | None) -> str | None:
    if dataset is None:
        return None
    digest = hashlib.sha256()
    for row in dataset:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return f"{len(dataset)} rows, sha256 {digest.hexdigest()[:16]}"


def _is_complete(checkpoint: Path) -> bool:
    # Transformers writes the trainer's state last.
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 80 else text[:77] + "..."
