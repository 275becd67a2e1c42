"""Copies of the code."""

from pathlib import Path

import pytest

from acrn_zoo.files import OutputError
from acrn_zoo.jobs.snapshot import snapshot_path, take_snapshot


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name in ("acrn_zoo/zoo.py", "acrn_zoo/data/ava.py", "acrn_zoo/__pycache__/zoo.pyc", "slurm/launch.py", "x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "code"
    folder.mkdir(parents=True)
    return folder


def test_copies_what_runs(source: Path, copies: Path) -> None:
    code = take_snapshot(source, copies)
    assert code == snapshot_path(source, copies)
    names = sorted(str(path.relative_to(code)) for path in code.rglob("*") if path.is_file())
    assert names == ["acrn_zoo/data/ava.py", "acrn_zoo/zoo.py", "slurm/launch.py"]
    assert [path.name for path in copies.iterdir()] == [code.name]


def test_the_same_code_is_kept_once_and_never_changed(source: Path, copies: Path) -> None:
    first = take_snapshot(source, copies)
    (source / "acrn_zoo/__pycache__/new.pyc").touch()
    assert take_snapshot(source, copies) == first
    (source / "acrn_zoo/zoo.py").write_text("edited")
    second = take_snapshot(source, copies)
    assert second != first
    assert (first / "acrn_zoo/zoo.py").read_text() == "acrn_zoo/zoo.py"
    assert (second / "acrn_zoo/zoo.py").read_text() == "edited"


def test_renaming_is_a_change(source: Path, copies: Path) -> None:
    before = snapshot_path(source, copies)
    (source / "acrn_zoo/zoo.py").rename(source / "acrn_zoo/zoos.py")
    assert snapshot_path(source, copies) != before


def test_a_copy_launches_itself(source: Path, copies: Path) -> None:
    code = take_snapshot(source, copies)
    (code / "acrn_zoo/__pycache__").mkdir()
    assert take_snapshot(code, copies) == code


def test_no_place(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be copied to"):
        take_snapshot(source, tmp_path / "file" / "code")
