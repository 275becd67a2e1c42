"""The folder of a run, and its checkpoints: everything that a run needs to go on as if it had never stopped.

::

    OUT/config.json                     the settings
    OUT/checkpoints/step_00001234.pth   the run after that many steps; the last few are kept
    OUT/best.pth, OUT/last.pth          weights for use, of the best and of the newest epoch
    OUT/log.jsonl, OUT/tensorboard/     what happened
    OUT/DONE.json                       the run is finished

Checkpoints are one dictionary of tensors and plain values, which loads without running code.
"""

import json
import math
import os
import re
import socket
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch

from acrn_zoo.engine.config import Config, ConfigError, differences, read_config
from acrn_zoo.engine.learner import FORMAT, FORMAT_VERSION, position_of
from acrn_zoo.engine.logs import json_values
from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, durably_replacing, reason_of, try_lock

_CHECKPOINT = re.compile(r"step_(\d{8,})\.pth")
_PARTIAL = ".part"


class RunError(UserError, RuntimeError):
    """The folder of a run cannot be used: somebody else does, or what is in it is damaged."""


class ForeignVersionError(RunError):
    """A checkpoint is sound, and of another version of this program."""


class RunFolder:
    """The folder of a run; see the head of this module.

    Args:
        root: the folder. It need not be there.
        keep_last: how many checkpoints are kept.
    """

    def __init__(self, root: Path, keep_last: int = 2) -> None:
        self.root, self.keep_last = root, keep_last
        self.config = root / "config.json"
        self.checkpoints = root / "checkpoints"
        self.best = root / "best.pth"
        self.last = root / "last.pth"
        self.log = root / "log.jsonl"
        self.tensorboard = root / "tensorboard"
        self.done = root / "DONE.json"

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Make the folder if need be, and keep it to this process.

        Raises:
            RunError: if another process has it, or it holds files of these names that are of no run.
            OutputError: if it cannot be made or written to.
        """
        self._require_of_a_run()
        with ExitStack() as stack:
            try:
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                self._take(stack.enter_context((self.root / "lock").open("a+", encoding="utf-8")))
                self._remove_partial()
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"The folder {self.root} cannot be used for a run: {reason}") from error
            yield

    def _take(self, lock: TextIO) -> None:
        """Lock a file, for this process alone: workers that outlive it by seconds, killed as it was, do not hold it."""
        if not try_lock(lock):
            lock.seek(0)
            raise RunError(
                f"{self.root} is in use by {lock.read().strip() or 'another run'}: wait until it has ended, or choose "
                "another folder with --out"
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()

    def _require_of_a_run(self) -> None:
        ours = (self.best, self.last, self.log, self.done)
        if not self.config.exists() and (strangers := [path.name for path in ours if path.exists()]):
            raise RunError(
                f"{self.root} has {', '.join(strangers)}, but no {self.config.name}, so that it is not known which run "
                "they are of: choose another folder with --out"
            )

    def _remove_partial(self) -> None:
        """What a run that was killed while it wrote has left."""
        for path in self.checkpoints.glob(f".step_*{_PARTIAL}"):
            path.unlink(missing_ok=True)
        for name in ("config", "best", "last", "log", "DONE"):
            for path in self.root.glob(f".{name}.*{_PARTIAL}*"):
                path.unlink(missing_ok=True)

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on from."""
        return self.done.exists() or bool(self._steps())

    @property
    def num_steps(self) -> int:
        """Steps of the newest checkpoint; 0 without any."""
        return max((number for number, _ in self._steps_by_number()), default=0)

    def save(self, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint, whole or not at all, and then remove the oldest.

        Those of later steps, which are damaged if there are any, are left alone.

        Raises:
            OutputError: if it cannot be written; those that there are stay.
        """
        step = position_of(state).step
        path = self.checkpoints / f"step_{step:08d}.pth"
        try:
            write_durably(path, lambda file: torch.save(dict(state), file))
        except OutputError as error:
            older = [one for one in self._steps() if one != path]
            advice = f"The run can go on from {older[0].name}" if older else "There is no earlier one"
            raise OutputError(f"{error}. {advice}: make room, and start the same command again") from error
        for old in [one for number, one in self._steps_by_number() if number <= step][self.keep_last :]:
            old.unlink(missing_ok=True)
        return path

    def newest(self, note: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint that is whole, and its content; None if there is none at all.

        Args:
            note: is told of those that are damaged.

        Raises:
            RunError: if all of them are damaged, or gone, or of another version.
        """
        damaged = []
        for path in self._steps():
            try:
                state = read_state(path)
            except ForeignVersionError:
                raise
            except RunError as error:
                damaged.append(str(error))
                continue
            for reason in damaged:
                note(f"{reason}. The one before it is taken: {path.name}")
            return path, state
        if damaged:
            raise RunError(
                f"No checkpoint in {self.checkpoints} can be read, and nothing was changed. {'. '.join(damaged)}. "
                "Restore one from a backup, or start anew with another --out"
            )
        if self.last.exists():
            raise RunError(
                f"{self.root} has the weights of a run that was not finished, but no checkpoint to go on from, and "
                "they would be overwritten: choose another --out"
            )
        return None

    def result(self, config: Config, facts: Mapping[str, object]) -> tuple[int, dict[str, float]] | None:
        """The steps and metrics of a run that is finished; None if it is not.

        Args:
            config: the settings.
            facts: of the data; those that :meth:`finish` was given have to be the same.

        Raises:
            ConfigError: if it was another run, or on other data, with the differences.
            RunError: if ``DONE.json`` is damaged.
        """
        if not self.done.exists():
            return None
        require_same(read_config(self.config), config, self.root)
        try:
            content = json.loads(self.done.read_text(encoding="utf-8"))
            require_same_facts(content["facts"], facts, self.root)
            metrics = {name: math.nan if value is None else value for name, value in content["metrics"].items()}
            return int(content["steps"]), metrics
        except ConfigError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{self.done} cannot be read ({error}): remove it, and the run goes on") from error

    def finish(self, steps: int, metrics: Mapping[str, float], facts: Mapping[str, object]) -> None:
        """Say that the run is finished.

        Args:
            steps: how many it took.
            metrics: of its last validation.
            facts: what decided how it went, besides its settings, as JSON has them.

        Raises:
            OutputError: if that cannot be written.
        """
        done = {"steps": steps, "metrics": json_values(metrics), "facts": dict(facts)}
        content = json.dumps(done, indent=1) + "\n"
        write_durably(self.done, lambda file: file.write(content.encode()))

    def _steps(self) -> list[Path]:
        """Checkpoints, the newest first."""
        return [path for _, path in self._steps_by_number()]

    def _steps_by_number(self) -> list[tuple[int, Path]]:
        found = ((_CHECKPOINT.fullmatch(path.name), path) for path in self.checkpoints.glob("*.pth"))
        return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def read_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run onto the CPU; every byte is checked.

    Raises:
        RunError: if it is damaged, or something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # PyTorch itself does not check the sums
            if (entry := archive.testzip()) is not None:
                raise RunError(f"{path} is damaged (in {entry})")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except RunError:
        raise
    except Exception as error:  # a damaged file may fail in any way
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RunError(f"{path} is damaged ({reason[:200]})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise RunError(f"{path} is no checkpoint of a run")
    if state.get("version") != FORMAT_VERSION:
        raise ForeignVersionError(
            f"{path} was written by another version of acrn_zoo (format {state.get('version')}, this one reads "
            f"{FORMAT_VERSION}): go on with that version, or start anew with another --out"
        )
    return state


def require_same(old: Config, new: Config, root: Path) -> None:
    """Refuse to go on with other settings.

    Raises:
        ConfigError: listing every setting that differs and changes what is learnt.
    """
    if changed := differences(old, new):
        raise ConfigError(
            f"{root} holds a run with other settings ({'; '.join(changed)}): say the same ones, or choose another "
            "folder with --out"
        )


def require_same_facts(old: Mapping[str, object], new: Mapping[str, object], root: Path) -> None:
    """Refuse to go on where the rest of the run would not be that of the run which began.

    Args:
        old: what decided how it went, besides its settings, by names that people understand.
        new: the same, now.
        root: the folder of the run.

    Raises:
        ConfigError: listing what differs.
    """
    changed = [f"{name}: {old.get(name)} before, {value} now" for name, value in new.items() if old.get(name) != value]
    if changed:
        raise ConfigError(
            f"{root} holds a run that began otherwise ({'; '.join(changed)}): go on as it began, or choose another "
            "folder with --out"
        )


def write_durably(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is there whole, or not at all, even if the machine stops at any moment.

    Args:
        path: the file; replaced if it is there.
        write: is given the open file.

    Raises:
        OutputError: if it cannot be written; what stood at ``path`` stays.
    """
    try:
        with durably_replacing(path) as file:
            write(file)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"{path} cannot be written ({reason_of(error)})") from error
