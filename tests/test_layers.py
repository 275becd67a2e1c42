"""Imports only go down: the layers of the design, read from the source."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "acrn_zoo"

# From the bottom up. Modules of one layer do not import each other, except inside one folder.
LAYERS = (
    {"errors", "version", "registration"},
    {"files"},
    {"pickles", "labels", "tables"},
    {"structures"},
    {"boxes"},
    {"ops", "tracking"},
    {"data", "people", "models", "evaluation", "visualize", "results"},
    {"weights"},
    {"conversion", "download"},
    {"checkpoints", "architecture"},
    {"loading"},
    {"zoo"},
    {"predictor", "annotate"},
    {"recorder", "proposals", "dataset_check", "loading_speed", "ava_download"},
    {"engine", "export", "report", "demo"},
    {"cli"},
    {"jobs"},
    {"__init__", "__main__"},
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imported_rooms(source: str) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports inside the package are absolute"
            module = node.module or ""
            names = [f"{module}.{alias.name}" if module == "acrn_zoo" else module for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("acrn_zoo.")}
        rooms |= {"__init__" for name in names if name == "acrn_zoo"}  # the package itself reaches everything
    return rooms


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_go_down(path: Path) -> None:
    room = room_of(path)
    assert room in LEVEL, f"{room} has no layer: add it to LAYERS"
    for imported in imported_rooms(path.read_text(encoding="utf-8")) - {room}:
        assert LEVEL[imported] < LEVEL[room], f"{room} imports {imported}, which is not below it"


def test_finds_an_import_that_goes_up() -> None:
    assert imported_rooms("def f():\n    from acrn_zoo.zoo import x\n    import acrn_zoo.cli") == {"zoo", "cli"}
    assert imported_rooms("import acrn_zoo") == {"__init__"}
    assert LEVEL["models"] < LEVEL["zoo"]
