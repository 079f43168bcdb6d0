"""The examples run in this process, with the tiny model that they share built once."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """`run(name, *arguments)` runs an example's `main` with `--tiny` and gives what its last line says, and its folder."""
    monkeypatch.setenv("RLHF_EXT_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "160")  # labels of tables in one line
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])

    def run(name: str, *arguments: str) -> tuple[dict[str, Any], Path, str]:
        folder = tmp_path / name
        importlib.import_module(name).main(["--tiny", "--output", str(folder), *arguments])
        shown = capsys.readouterr().out
        return json.loads(shown.strip().splitlines()[-1]), folder, shown

    return run
