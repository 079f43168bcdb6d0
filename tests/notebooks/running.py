"""A committed notebook run anew, whole, in a folder of its own, and compared with what was committed."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
_ABSOLUTE = re.compile(r"(?<![\w./:])/(?:tmp|root|home|work|usr|var|Users|private)/|[A-Z]:\\")


def check_notebook(name: str, tmp_path: Path) -> None:
    """Runs it in a fresh kernel and holds it against its committed outputs."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    committed = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(committed)
    fresh = _executed(nbclient, name, tmp_path)
    for old, new in zip(committed.cells, fresh.cells, strict=True):
        if old.cell_type == "code":
            _check_committed(old)
            _check_same(old, new)


def _executed(nbclient, name: str, folder: Path) -> nbformat.NotebookNode:
    for file in (FOLDER / f"{name}.ipynb", *FOLDER.glob("*.py")):
        shutil.copy(file, folder)
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    root = str(FOLDER.parent)  # the package beside the notebooks is the one that they import
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)  # raises on the first cell that does
    return notebook


def _check_committed(cell: nbformat.NotebookNode) -> None:
    """What is committed was run, in order, and says nothing of the machine that it was run on."""
    assert cell.execution_count is not None, f"committed without being run: {cell.source[:80]!r}"
    for output in cell.outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", f"committed with a warning: {output.text[:200]!r}"
        text = _text(output)
        assert not _ABSOLUTE.search(text), f"an absolute path stands in the outputs: {text[:200]!r}"


def _check_same(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> None:
    """The same kinds of output, as many pictures, and the same words.

    Numbers are not compared: a training differs in its last digits between processors, and then in more. What a model wrote is
    not either (cells tagged `varies`).
    """
    where = new.source[:80]
    assert [_kind(output) for output in new.outputs] == [_kind(output) for output in old.outputs], where
    assert _pictures(new) == _pictures(old), where
    if "varies" not in old.metadata.get("tags", []):
        assert [_words(output) for output in new.outputs] == [_words(output) for output in old.outputs], where


def _kind(output: nbformat.NotebookNode) -> tuple[str, ...]:
    return (output.output_type, output.get("name", ""), *sorted(output.get("data", {})))


def _pictures(cell: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def _text(output: nbformat.NotebookNode) -> str:
    return output.get("text", "") or str(output.get("data", {}).get("text/plain", ""))


def _words(output: nbformat.NotebookNode) -> str:
    """An output's text with a mark for each number, and one space for many."""
    return " ".join(_NUMBER.sub("#", _text(output)).split())
