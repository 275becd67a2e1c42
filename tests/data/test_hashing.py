"""Hashes of files and folders: what they are of, and that the work stops when it is called off."""

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import pytest

from acrn_zoo.data.hashing import StoppedError, hash_content, hash_outline, size_and_time

LARGE = bytes(range(256)) * 12000  # about 3 MiB
GOING_ON = threading.Event()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nine pictures as far as hashes go, written in no order, and a hidden file."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (5, 2, 9, 1, 7, 3, 8, 4, 6):
        (folder / f"img_{number:05d}.jpg").write_bytes(LARGE[: 1000 * number])
    (folder / ".DS_Store").write_bytes(b"not counted")
    return folder


def sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("content", [LARGE, b"short", b""], ids=["large", "short", "empty"])
def test_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    size = len(content).to_bytes(8, "big")
    assert hash_outline(path) == "sha256-ends:" + sha256(size, content[: 1 << 20], content[-(1 << 20) :])
    assert hash_content(path, GOING_ON) == "sha256:" + sha256(content)


def test_folders(folder: Path) -> None:
    names = "".join(f"img_{number:05d}.jpg {1000 * number}\n" for number in range(1, 10))
    assert hash_outline(folder) == "sha256-names:" + sha256(names.encode())
    printed = subprocess.run("sha256sum *", shell=True, cwd=folder, capture_output=True, check=True).stdout
    assert hash_content(folder, GOING_ON) == "sha256-files:" + sha256(printed)


def test_size_and_time(folder: Path) -> None:
    for number in range(1, 10):
        os.utime(folder / f"img_{number:05d}.jpg", ns=(0, 30 if number == 4 else number))
    assert size_and_time(folder / "img_00002.jpg") == (2000, 2)
    assert size_and_time(folder) == (45000, 30)
    assert size_and_time(folder / "missing") == (0, 0)


def test_the_work_stops_when_it_is_called_off(folder: Path) -> None:
    stop = threading.Event()
    stop.set()
    for path in (folder, folder / "img_00001.jpg"):
        with pytest.raises(StoppedError):
            hash_content(path, stop)
