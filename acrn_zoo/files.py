"""Files that appear whole or not at all, and that one process has to itself."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from acrn_zoo.errors import UserError


class OutputError(UserError, OSError):
    """A file cannot be created or written."""


class OutputExistsError(OutputError, FileExistsError):
    """A file is there already and may not be replaced."""


def require_writable(path: Path, *, overwrite: bool) -> None:
    """Check that an output file may be created.

    Args:
        path: the file.
        overwrite: whether one that exists may be replaced.

    Raises:
        OutputExistsError: if the file exists and ``overwrite`` is false.
        OutputError: if its folder is missing, or the path is a folder.
    """
    if not path.parent.is_dir():
        raise OutputError(f"Cannot write {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise OutputError(f"Cannot write {path}: it is a folder, expected the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} exists already: choose another place, or say --overwrite (in Python, overwrite=True) to replace it"
        )


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of ``path`` when the block ends without an error.

    Until then, and for ever if the block fails, what stood at ``path`` stays as it was.

    Args:
        path: the file to create or replace; of a link, what it leads to.

    Yields:
        Where to write: a path in the same folder.

    Raises:
        OutputError: if the file cannot be written (no folder, no right, a full disk).
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OutputError(f"Cannot write {path}: it is no file (a folder, a device, a pipe), so it cannot be replaced")
    # The ending stays, since it tells some writers which form to write.
    partial = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield partial
        partial.replace(target)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def durably_replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that is there whole, or not at all, even if the machine stops at any moment: for what took hours to make.

    What stood at ``path`` stays until the block ends without an error. Errors are the writer's own;
    :func:`reason_of` makes words of them.

    Args:
        path: the file to create or replace.

    Yields:
        Where to write.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: object, *, ensure_ascii: bool = True) -> None:
    """Write values as JSON, an entry a line; a file that exists is replaced, whole or not at all.

    Args:
        path: the file.
        content: plain values: dictionaries, lists, texts, numbers.
        ensure_ascii: escape other characters than ASCII's, so that any text can be written; else they can be read.

    Raises:
        OutputError: if it cannot be written.
        ValueError: if a number is not finite, which JSON does not know.
    """
    text = json.dumps(content, indent=1, ensure_ascii=ensure_ascii, allow_nan=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def try_lock(file: IO[str]) -> bool:
    """Lock an open file for this process alone, unless another process has it; does not wait.

    The lock is let go when the file is closed, or the process ends, however it ends. Its children do not hold it.

    Args:
        file: open for writing.

    Returns:
        Whether this process has it now.

    Raises:
        OSError: if the file cannot be locked at all.
    """
    import fcntl  # not every system has it, and only those who lock need it

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def reason_of(error: OSError | RuntimeError) -> str:
    """Why a file could not be written, in the system's words if it has any.

    PyTorch reports a full disk as a RuntimeError, with the system's error behind it, or in words of its own.
    """
    for one in (error, error.__context__):
        if reason := getattr(one, "strerror", None):
            return str(reason)
    return (str(error).splitlines() or ["unknown"])[0]


def _sync_folder(folder: Path) -> None:
    """Make sure that the names of the files in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
