"""What a run tells: lines of JSON, TensorBoard's curves, and a person at a terminal."""

import json
import math
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from tqdm import tqdm

from acrn_zoo.files import OutputError, replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_MIB = 2**20


class Progress(Protocol):
    """Work whose end is known."""

    def update(self, done: int, text: str = "") -> None:
        """Say how much is done of it, and how it goes."""


class Report(Protocol):
    """Whom a run talks to; the engine itself prints nothing."""

    def note(self, text: str) -> None:
        """Take a sentence that people should read."""

    def progress(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Progress]:
        """Begin work of which ``done`` of ``total`` are done already."""


class Silence:
    """A report to nobody: of all processes but the first, and in tests."""

    def note(self, text: str) -> None:
        """Nothing is said."""

    def update(self, done: int, text: str = "") -> None:
        """Nothing is shown."""

    def progress(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Progress]:  # noqa: ARG002
        """Nothing is shown."""
        return nullcontext(self)


class TerminalReport:
    """Sentences and progress bars on the standard error stream; in a file, a line every half minute."""

    def note(self, text: str) -> None:
        """Write a line, above a bar that is being shown."""
        tqdm.write(text, file=sys.stderr)

    @contextmanager
    def progress(self, title: str, total: int, done: int = 0) -> Iterator[Progress]:
        """Show a bar. It stays when its work has ended, unless it is within another's."""
        interval = 0.1 if sys.stderr.isatty() else 30.0
        with tqdm(desc=title, total=total, initial=done, mininterval=interval, dynamic_ncols=True, leave=None) as bar:
            yield _Bar(bar)


class _Bar:
    def __init__(self, bar: "tqdm[Any]") -> None:
        self._bar = bar

    def update(self, done: int, text: str = "") -> None:
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(done - self._bar.n)


@dataclass(frozen=True)
class StepRecord:
    """A step of the optimizer, as the log has it.

    Args:
        epoch: from 0 on.
        step: the number of steps that are done with this one, over all epochs.
        loss: mean over the labelled actors of the step, of all processes.
        learning_rate: which the step was made with.
        gradient_norm: before it was shortened; None where float16 was exceeded and the step was left out.
        clips_per_second: of all processes together.
        waiting_share: the part of the step's time in which a process waited for data, 0 to 1; of the one that waited
            longest.
        memory_bytes: the most that was held so far, of the GPU, or of the process; of the first process.
    """

    epoch: int
    step: int
    loss: float
    learning_rate: float
    gradient_norm: float | None
    clips_per_second: float
    waiting_share: float
    memory_bytes: int

    def __str__(self) -> str:
        """What a progress bar shows."""
        return (
            f"loss {self.loss:.4f}, lr {self.learning_rate:.3g}, {self.clips_per_second:.3g} clips/s, "
            f"{100 * self.waiting_share:.0f} % waiting for data, {self.memory_bytes / _MIB:.0f} MiB"
        )


@dataclass(frozen=True)
class EpochRecord:
    """An epoch, as the log has it.

    Args:
        epoch: from 0 on.
        step: steps that are done at its end, over all epochs.
        loss: mean over its steps.
        seconds: spent on its steps.
        clips_per_second: of all processes together.
        waiting_share: as of :class:`StepRecord`.
        memory_bytes: likewise.
        metrics: of the validation behind it, if there was one.
        validation_seconds: how long that took.
    """

    epoch: int
    step: int
    loss: float
    seconds: float
    clips_per_second: float
    waiting_share: float
    memory_bytes: int
    metrics: Mapping[str, float] | None = None
    validation_seconds: float | None = None

    def __str__(self) -> str:
        """What a person is told."""
        validation = "" if self.metrics is None else f", mAP {100 * self.metrics['mAP']:.2f} %"
        return f"loss {self.loss:.4f}, {self.clips_per_second:.3g} clips/s{validation}"


class RunLog:
    """Writes records as lines of JSON and as curves of TensorBoard. Made by :func:`open_log`.

    Args:
        lines: the file of lines, at its end, without a buffer; None to write none.
        curves: TensorBoard's writer; None to write none.
        note: is told when curves cannot be written any longer. The run goes on without them.
    """

    def __init__(
        self,
        lines: FileIO | None = None,
        curves: "SummaryWriter | None" = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self._lines, self._curves, self._note = lines, curves, note

    def add_step(self, record: StepRecord) -> None:
        """Write a step."""
        self._write("step", asdict(record))
        self._draw("train", asdict(record), record.step)

    def add_epoch(self, record: EpochRecord) -> None:
        """Write an epoch and what its validation has found."""
        values = {**asdict(record), "metrics": None if record.metrics is None else dict(record.metrics)}
        self._write("epoch", values)
        self._draw("epoch", values, record.step)
        self._draw("val", record.metrics or {}, record.step)

    def sync(self) -> None:
        """Make sure that all of it is on disk, as it has to be before a checkpoint that follows it."""
        if self._lines is not None:
            with _explained(self._lines.name):
                os.fsync(self._lines.fileno())
        self._on_curves(lambda curves: curves.flush())

    def close_curves(self) -> None:
        """Write what is left of the curves, and write none from now on."""
        self._on_curves(lambda curves: curves.close())
        self._curves = None

    def _write(self, kind: str, values: Mapping[str, Any]) -> None:
        if self._lines is not None:
            line = (json.dumps({"kind": kind, **json_values(values)}, allow_nan=False) + "\n").encode()
            with _explained(self._lines.name):
                while line:  # the last bytes of a disk take a part of it
                    line = line[self._lines.write(line) :]

    def _draw(self, group: str, values: Mapping[str, Any], step: int) -> None:
        scalars = {
            f"{group}/{name}": value
            for name, value in values.items()
            if isinstance(value, int | float) and name not in ("epoch", "step")
        }

        def draw(curves: "SummaryWriter") -> None:
            for name, value in scalars.items():
                curves.add_scalar(name, value, step)

        self._on_curves(draw)

    def _on_curves(self, act: "Callable[[SummaryWriter], object]") -> None:
        if self._curves is not None:
            try:
                act(self._curves)
            except OSError as error:
                self._curves = None
                if self._note is not None:
                    self._note(_without_curves(error))


@contextmanager
def open_log(
    path: Path, *, epoch: int, step: int, tensorboard: Path | None, note: Callable[[str], None]
) -> Iterator[RunLog]:
    """Open the log of a run, at its beginning or where it goes on.

    Lines of steps behind ``step`` and of epochs from ``epoch`` on are removed: the run will write them once more.

    Args:
        path: the file of lines; made if it is not there.
        epoch: in which the run goes on.
        step: how many steps are done.
        tensorboard: folder of the curves; None for none.
        note: is told when TensorBoard is not installed, or its curves cannot be written.

    Raises:
        OutputError: if a file cannot be written.
    """
    _cut(path, epoch, step)
    with _explained(path):
        lines = path.open("ab", buffering=0)
    with lines, ExitStack() as stack:
        log = RunLog(lines, None if tensorboard is None else _open_curves(tensorboard, step, note), note)
        stack.enter_context(_quiet_curves())
        stack.callback(log.close_curves)
        yield log


def memory_bytes(device: torch.device) -> int:
    """The most memory that was held so far: of a GPU by tensors, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cut(path: Path, epoch: int, step: int) -> None:
    """Keep the lines of what is done; a last line may be half a line."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as old, replacing(path) as partial:
        partial.write_text("".join(line for line in old if _is_done(line, epoch, step)), encoding="utf-8")


def _is_done(line: str, epoch: int, step: int) -> bool:
    try:
        values = json.loads(line)
        last = epoch - 1 if values["kind"] == "epoch" else epoch
        return line.endswith("\n") and values["step"] <= step and values["epoch"] <= last
    except (ValueError, KeyError, TypeError):
        return False


def _open_curves(folder: Path, step: int, note: Callable[[str], None]) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        note("TensorBoard's curves are not written: `pip install tensorboard`, or say --no-tensorboard")
        return None
    try:
        return SummaryWriter(str(folder), purge_step=step + 1)
    except OSError as error:
        note(_without_curves(error))
        return None


@contextmanager
def _quiet_curves() -> Iterator[None]:
    """Show no traceback of TensorBoard's own thread: its errors arrive with the next call, too."""
    original = threading.excepthook

    def show(failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            original(failure)

    threading.excepthook = show
    try:
        yield
    finally:
        threading.excepthook = original


def _without_curves(error: OSError) -> str:
    return f"TensorBoard's curves cannot be written ({error.strerror or error}): the run goes on without them"


def json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as JSON knows them, which has no NaN: the average precision of a class without examples is null."""
    return {name: _json_value(value) for name, value in values.items()}


def _json_value(value: object) -> object:
    if isinstance(value, Mapping):
        return json_values(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _explained(path: Path | str) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"The log {path} cannot be written: {error.strerror or error}") from error
