"""Size and hash of a video, be it a file or a folder of frames: whether it is still the one that was looked at."""

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path

_MEBIBYTE = 1 << 20


class StoppedError(Exception):
    """The work was called off from another thread."""


def size_and_time(path: Path) -> tuple[int, int]:
    """Bytes, and when it was last changed in nanoseconds since 1970; of a folder the sum and the latest of its files.

    Both are 0 if it is missing.
    """
    try:
        status = [file.stat() for file in _files(path)]
        return sum(each.st_size for each in status), max((each.st_mtime_ns for each in status), default=0)
    except OSError:
        return 0, 0  # missing: what opens it says so


def hash_outline(path: Path) -> str:
    """A hash that takes no time.

    Returns:
        ``sha256-ends:`` and the SHA-256 of the size (8 bytes, big-endian), the first and the last MiB of a file; of a
        folder ``sha256-names:`` and that of the lines ``NAME SIZE``.
    """
    if not path.is_dir():
        return f"sha256-ends:{_hash_ends(path)}"
    return f"sha256-names:{_hash_lines(f'{file.name} {file.stat().st_size}' for file in _files(path))}"


def hash_content(path: Path, stop: threading.Event) -> str:
    """A hash of every byte.

    Args:
        path: the file or folder.
        stop: set by another thread to call the work off.

    Returns:
        ``sha256:`` and the SHA-256 of a file, as ``sha256sum`` prints it; of a folder ``sha256-files:`` and that of
        what ``sha256sum *`` prints.

    Raises:
        StoppedError: if ``stop`` is set on the way.
    """
    if not path.is_dir():
        return f"sha256:{_hash_all(path, stop)}"
    return f"sha256-files:{_hash_lines(f'{_hash_all(file, stop)}  {file.name}' for file in _files(path))}"


def _files(path: Path) -> list[Path]:
    """The file itself, or the files of a folder by name; hidden ones do not count."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))


def _hash_lines(lines: Iterable[str]) -> str:
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")).hexdigest()


def _hash_all(path: Path, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_MEBIBYTE):
            if stop.is_set():
                raise StoppedError
            digest.update(block)
    return digest.hexdigest()


def _hash_ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(_MEBIBYTE)
        file.seek(max(0, size - _MEBIBYTE))
        last = file.read(_MEBIBYTE)
    return hashlib.sha256(size.to_bytes(8, "big") + first + last).hexdigest()
