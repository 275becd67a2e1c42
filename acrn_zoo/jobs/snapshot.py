"""A copy of the code, which is what a job runs, whatever is edited while it waits in the queue.

A copy is a folder named after its content, so that the same code is kept once, and none is ever changed.
"""

import hashlib
import os
import shutil
from pathlib import Path

from acrn_zoo.files import OutputError

PARTS = ("acrn_zoo", "slurm")
"""What is copied: the package, with all that is built inside it, and the launcher, which resumes with it."""

_CACHES = "__pycache__"


def snapshot_path(source: Path, folder: Path) -> Path:
    """Where the copy of the code in ``source`` is, or would be, in a folder of copies."""
    if source.parent.resolve() == folder.resolve():  # the launcher of a copy: a run that goes on with its own code
        return source
    return folder / _digest(source)


def take_snapshot(source: Path, folder: Path) -> Path:
    """Copy the code, unless the same is there.

    Args:
        source: the folder with the package and the launcher.
        folder: of copies.

    Returns:
        The copy: a folder that Python can run in.

    Raises:
        OutputError: if it cannot be written.
    """
    target = snapshot_path(source, folder)
    if target.exists():
        return target
    partial = folder / f".{target.name}.{os.getpid()}.part"
    try:
        for part in _parts(source):
            shutil.copytree(source / part, partial / part, ignore=shutil.ignore_patterns(_CACHES))
        partial.rename(target)
    except OSError as error:
        if not target.exists():  # else somebody else was faster
            raise OutputError(f"The code cannot be copied to {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _parts(source: Path) -> list[str]:
    return [part for part in PARTS if (source / part).is_dir()]


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for part in _parts(source):
        for path in sorted((source / part).rglob("*")):
            if path.is_file() and _CACHES not in path.parts:
                content = path.read_bytes()
                digest.update(f"{path.relative_to(source)}\0{len(content)}\0".encode())
                digest.update(content)
    return digest.hexdigest()[:12]
