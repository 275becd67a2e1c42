"""Dataset folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from acrn_zoo.data.folder import DATASET_FILE, read_dataset_folder
from acrn_zoo.files import OutputError, OutputExistsError


def require_free(out: Path, overwrite: bool) -> None:
    """Check that a dataset folder may be made.

    Args:
        out: the folder.
        overwrite: whether a dataset that is there may be replaced.

    Raises:
        OutputExistsError: if there is something that may not be replaced.
        OutputError: if it is a file.
    """
    if out.is_file():
        raise OutputError(f"{out} is a file, expected the name of a new folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputExistsError(
            f"{out} is not empty: choose another folder, or say --overwrite (in Python, overwrite=True) to replace "
            "the dataset in it"
        )
    if not (out / DATASET_FILE).is_file():
        raise OutputExistsError(f"{out} is not empty and holds no {DATASET_FILE}: only a dataset is overwritten")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` that takes its place at the end; nothing is left of it after an error.

    Of a dataset that is replaced, files that are not part of the new one stay, except annotations of its splits.
    """
    _remove_leftovers(out)
    partial = out.absolute().with_name(f".{out.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True)
        yield partial
        if out.is_dir() and any(out.iterdir()):
            _replace_files(partial, out)
        else:
            partial.replace(out)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_leftovers(out: Path) -> None:
    """Remove what killed runs into the same place have left; where processes are not in /proc, nobody knows of any."""
    if not Path("/proc/self").exists():
        return
    for path in out.absolute().parent.glob(f".{escape(out.name)}.*.part"):
        number = path.name.removeprefix(f".{out.name}.").removesuffix(".part")
        if number.isdecimal() and not Path("/proc", number).exists():
            shutil.rmtree(path, ignore_errors=True)


def _replace_files(new: Path, out: Path) -> None:
    """Move the files over one by one, ``dataset.json``, which names the others, as the last."""
    before = {split.annotations for split in read_dataset_folder(out).splits.values()}
    files = sorted((path for path in new.rglob("*") if path.is_file()), key=lambda path: path.name == DATASET_FILE)
    targets = [out / path.relative_to(new) for path in files]
    for path, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    for path in before - set(targets):
        if path.parent == out:
            path.unlink(missing_ok=True)
