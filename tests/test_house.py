"""The house: who may import whom, what is public, and that importing it costs next to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rlhf_ext

PACKAGE = Path(rlhf_ext.__file__).parent

# Rooms by floor. A room imports from lower floors only; `rewards` and `data` may look at their own files.
FLOORS = {
    "types": 0,
    "_compat": 0,
    "_strict_yaml": 0,
    "_allocator": 0,
    "_processes": 0,
    "stats": 0,
    "sandbox": 0,
    "generation": 1,
    "data": 1,
    "rewards": 1,
    "embedded": 2,  # the tiny model learns from the project's own preferences
    "labelers": 2,
    "active": 3,  # has models write candidates through labelers
    "evaluation": 2,
    "trainers": 2,
    "constitution": 3,  # may ask labelers
    "pipeline": 4,
    "deployment": 4,
    "demo": 5,
    "cli": 6,
    "__main__": 7,
}

# One room may show its face in another on the same floor only where the design says so.
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Top-level rooms of rlhf_ext that a file imports, wherever in it the import stands."""
    here = path.relative_to(PACKAGE).parts
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = here[: len(here) - node.level]
            names = [*base, *(node.module.split(".") if node.module else [])]
            rooms |= {names[0]} if names else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rlhf_ext"):
            rooms.add((node.module.split(".") + ["__init__"])[1])
    return {name for name in rooms if not name.startswith("__version")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_from_lower_floors_only(path: Path):
    mine = room(path.relative_to(PACKAGE).parts)
    assert mine in FLOORS, f"{mine} has no floor: give it one here and in CONTRIBUTING.md"
    for other in imported_rooms(path) - {mine}:
        assert FLOORS[other] < FLOORS[mine], f"{path.name} (floor {FLOORS[mine]}) imports {other} ({FLOORS[other]})"


@pytest.mark.parametrize("name", rlhf_ext.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is_for(name: str):
    thing = getattr(rlhf_ext, name)
    assert name in dir(rlhf_ext)
    if name != "__version__":
        assert (thing.__doc__ or "").strip(), f"{name} has no docstring"


def test_an_unknown_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="no attribute 'PPO2'"):
        _ = rlhf_ext.PPO2


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, rlhf_ext; print([m for m in ('torch', 'trl', 'transformers', 'datasets') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_swallows_errors_or_prints(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            names = [n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)] if node.type else [None]
            assert not {None, "Exception", "BaseException"} & set(names), f"{path.name}:{node.lineno} broad except"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{path.name}:{node.lineno} prints"
