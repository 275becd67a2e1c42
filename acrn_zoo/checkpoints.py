"""Checkpoint files: read, load into a model, and save. No file's code is ever run.

Fetching (:mod:`acrn_zoo.download`) and other projects' layouts (:mod:`acrn_zoo.conversion`) have pages of their own.
"""

import codecs
import importlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acrn_zoo.conversion import FORMAT, FORMAT_VERSION, CheckpointError
from acrn_zoo.files import durably_replacing, reason_of

MOST_NAMES = 10
"""So many names of each kind are listed when a checkpoint does not fit."""

_LOADING = threading.Lock()


def load_checkpoint_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint file onto the CPU: tensors and plain values, never code.

    Besides PyTorch's own files (zip and legacy), ``.safetensors`` files are read if safetensors is installed.
    Tensors of a zip file are mapped, not copied: they are read from disk when they are used.

    Raises:
        CheckpointError: if there is no such file, or it is empty, a web page, damaged, no checkpoint, or one
            that would run code on loading.
    """
    path = Path(path)
    head = _first_bytes(path)
    if not head:
        raise CheckpointError(f"{path} is empty: fetch or copy it again.")
    if head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<"):
        raise CheckpointError(f"{path} is a web page, not a checkpoint: a download that failed. Fetch the file itself.")
    if path.suffix.lower() == ".safetensors":
        return _load_safetensors(path)
    content = _load_torch(path, is_zip=head.startswith(b"PK\x03\x04"))
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a dictionary of tensors.")
    return content


def load_into(model: nn.Module, state_dict: Mapping[str, Tensor], *, source: str, prefix: str = "") -> None:
    """Copy tensors into a model, all of them or none.

    Every entry must fit: no name may be missing, unknown or of another shape. Values are cast to the model's
    dtypes and moved to its devices.

    Args:
        model: changed in place.
        state_dict: tensors by the model's own names.
        source: where they come from, for the error.
        prefix: only entries whose names begin like this are loaded, of the model and of ``state_dict``:
            ``"backbone."`` for initial weights. What is outside stays as it is.

    Raises:
        CheckpointError: if an entry does not fit; the model is unchanged then.
    """
    targets = {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}
    values = {name: value for name, value in state_dict.items() if name.startswith(prefix)}
    groups = {
        "missing": [name for name in targets if name not in values],
        "unexpected": [name for name in values if name not in targets],
        "of another shape": [
            f"{name} ({_shape(values[name])}, expected {_shape(target)})"
            for name, target in targets.items()
            if name in values and _shape(values[name]) != _shape(target)
        ],
    }
    if problems := [_listed(title, names) for title, names in groups.items() if names]:
        raise CheckpointError(f"{source} does not fit the model; nothing was loaded.\n" + "\n".join(problems))
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(values[name])


def save_checkpoint(
    path: str | os.PathLike[str],
    model: nn.Module,
    *,
    architecture: Mapping[str, Any],
    categories: Sequence[str],
    preprocessing: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a model to a file of this project: plain values and tensors, which loads without running code.

    The file appears complete or not at all.

    Args:
        path: the file to write; its folder must exist.
        model: its ``state_dict`` is saved, from whichever device.
        architecture: plain values (None, bool, int, float, str and lists, tuples and dictionaries of them)
            that say how to build the model again.
        categories: names of the classes in the order of the columns.
        preprocessing: plain values that say which clips it was trained on, if that is known.
        overwrite: whether an existing file may be replaced.

    Raises:
        CheckpointError: if the file exists, if its folder does not or cannot be written to, or if
            ``architecture`` holds something else than plain values.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists: choose another name, or say overwrite=True.")
    if len(categories) != len(model.state_dict().get("head.classifier.weight", categories)):
        raise CheckpointError(f"{len(categories)} categories are not as many as the model's actions.")
    if not _is_plain(architecture):
        raise CheckpointError(f"architecture holds more than plain values and cannot be saved: {architecture!r}")
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "architecture": dict(architecture),
        "categories": list(categories),
        **({} if preprocessing is None else {"preprocessing": dict(preprocessing)}),
        "state_dict": {name: value.detach().cpu() for name, value in model.state_dict().items()},
    }
    try:
        with durably_replacing(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be written: {reason_of(error)}.") from error


class _HistoryBuffer:
    """Stands in for MMEngine's log of training values: takes its state, can do nothing."""


def _no_attribute(*_: object) -> None:
    """Stands in for ``getattr``, with which MMEngine's log names its own methods."""


def _safe_globals() -> list[Any]:
    """What the ``meta`` of published and of self-trained MMAction2 checkpoints needs besides tensors.

    NumPy scalars and arrays (best scores, logs), under the names of NumPy 1 and 2, and MMEngine's log, for
    which stand-ins do. PyTorch refuses everything that is neither here nor on its own list.
    """
    scalar = np.float64(0).__reduce__()[0]
    reconstruct = np.empty(0).__reduce__()[0]
    dtypes = [type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    return [
        np.ndarray,
        np.dtype,
        *dict.fromkeys(dtypes),
        *((scalar, f"{module}.scalar") for module in modules),
        *((reconstruct, f"{module}._reconstruct") for module in modules),
        (_HistoryBuffer, "mmengine.logging.history_buffer.HistoryBuffer"),
        (_no_attribute, "builtins.getattr"),
    ]


@contextmanager
def _allowing(names: list[Any]) -> Iterator[None]:
    """PyTorch's ``safe_globals``, a list of the whole process: one thread at a time, and restored exactly."""
    with _LOADING:
        present = torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([name for name in names if name not in present]):
            yield


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: expected the path of a checkpoint file.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


def _load_torch(path: Path, *, is_zip: bool) -> object:
    try:
        with _allowing(_safe_globals()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a file of unknown origin may fail in any way
        if forbidden := re.search(r"GLOBAL (\S+)", str(error)):
            raise CheckpointError(
                f"{path} wants to use {forbidden[1]} while loading, which is refused: a checkpoint may hold "
                "only tensors and plain values. If you trust it, load it yourself and save its state_dict."
            ) from error
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path} is a TorchScript program, expected a checkpoint of tensors.") from error
        kind = "a damaged checkpoint" if is_zip else "not a checkpoint, or a damaged one"
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path} is {kind}: fetch or copy it again ({reason[:200]}).") from error


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        safetensors = importlib.import_module("safetensors.torch")
    except ImportError:
        raise CheckpointError(f"{path} needs safetensors to be read: pip install safetensors.") from None
    try:
        return safetensors.load_file(path)
    except Exception as error:  # the library has its own, undocumented kinds
        raise CheckpointError(f"{path} is a damaged safetensors file: fetch or copy it again.") from error


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _listed(title: str, names: list[str]) -> str:
    shown = names[:MOST_NAMES]
    rest = len(names) - len(shown)
    return f"{len(names)} {title}: {', '.join(shown)}" + (f" and {rest} more" if rest else "")


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) for key in value) and _all_plain(value.values())
    if isinstance(value, list | tuple):
        return _all_plain(value)
    return value is None or type(value) in (bool, int, float, str)


def _all_plain(values: Iterable[object]) -> bool:
    return all(_is_plain(value) for value in values)
