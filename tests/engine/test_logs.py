"""The lines of a log, also of a run that goes on; TensorBoard's curves; what a terminal shows."""

import builtins
import errno
import json
import math
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from acrn_zoo.engine.logs import EpochRecord, RunLog, Silence, StepRecord, TerminalReport, open_log
from acrn_zoo.files import OutputError

STEP = StepRecord(
    epoch=0,
    step=1,
    loss=0.5,
    learning_rate=0.01,
    gradient_norm=2.0,
    clips_per_second=8.0,
    waiting_share=0.25,
    memory_bytes=3 * 2**20,
)
EPOCH = EpochRecord(
    epoch=0, step=2, loss=0.5, seconds=4.0, clips_per_second=8.0, waiting_share=0.25, memory_bytes=3 * 2**20
)


def write_log(path: Path, *, epoch: int = 0, step: int = 0, until: int = 3, tensorboard: Path | None = None) -> None:
    """Epochs of two steps each."""
    with open_log(path, epoch=epoch, step=step, tensorboard=tensorboard, note=print) as log:
        for number in range(step + 1, 2 * until + 1):
            log.add_step(replace(STEP, epoch=(number - 1) // 2, step=number))
            if number % 2 == 0:
                log.add_epoch(replace(EPOCH, epoch=number // 2 - 1, step=number, metrics={"mAP": number / 10}))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def keys(lines: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    return [(line["kind"], line["epoch"], line["step"]) for line in lines]


WHOLE = [
    ("step", 0, 1),
    ("step", 0, 2),
    ("epoch", 0, 2),
    ("step", 1, 3),
    ("step", 1, 4),
    ("epoch", 1, 4),
    ("step", 2, 5),
    ("step", 2, 6),
    ("epoch", 2, 6),
]


def test_lines(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.jsonl", epoch=0, step=0, tensorboard=None, note=print) as log:
        log.add_step(STEP)
        log.add_step(replace(STEP, gradient_norm=None))
        log.add_epoch(replace(EPOCH, metrics={"mAP": 0.5, "AP/walk": math.nan}, validation_seconds=1.5))
        log.sync()
        assert keys(lines_of(tmp_path / "log.jsonl")) == [("step", 0, 1), ("step", 0, 1), ("epoch", 0, 2)]
    first, skipped, epoch = lines_of(tmp_path / "log.jsonl")
    assert first == {
        "kind": "step",
        "epoch": 0,
        "step": 1,
        "loss": 0.5,
        "learning_rate": 0.01,
        "gradient_norm": 2.0,
        "clips_per_second": 8.0,
        "waiting_share": 0.25,
        "memory_bytes": 3 * 2**20,
    }
    assert skipped == {**first, "gradient_norm": None}
    assert epoch["metrics"] == {"mAP": 0.5, "AP/walk": None}
    assert (epoch["seconds"], epoch["validation_seconds"]) == (4.0, 1.5)


@pytest.mark.parametrize(
    ("epoch", "step", "kept"),
    [
        (0, 0, 0),
        (0, 1, 1),
        (0, 2, 2),  # the epoch's steps are done, its validation is not
        (1, 2, 3),
        (1, 3, 4),
        (2, 6, 8),
        (3, 6, 9),
    ],
)
def test_a_log_that_goes_on(epoch: int, step: int, kept: int, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path)
    assert keys(lines_of(path)) == WHOLE
    with open_log(path, epoch=epoch, step=step, tensorboard=None, note=print):
        assert keys(lines_of(path)) == WHOLE[:kept]
    if (epoch, step) not in ((0, 2), (2, 6)):  # there only the epoch would be missing
        write_log(path, epoch=epoch, step=step)
        assert keys(lines_of(path)) == WHOLE


@pytest.mark.parametrize("last", ['{"kind": "step", "epoch": 0, "st', "[1]\n", '{"kind": "step"}\n', "\0\0\0\0"])
def test_a_line_that_was_not_finished(last: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write_log(path, until=1)
    path.write_text(path.read_text() + last)
    write_log(path, epoch=1, step=2)
    assert keys(lines_of(path)) == WHOLE


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="The log .*none/log.jsonl cannot be written: No such"):
        write_log(tmp_path / "none/log.jsonl")
    with (
        pytest.raises(OutputError, match="The log /dev/full cannot be written: No space left"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        RunLog(full).add_step(STEP)


class FullDisk:
    """TensorBoard's writer, where the disk is full when something is done."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.done: list[str] = []

    def add_scalar(self, *_: object) -> None:
        self._do("add_scalar")

    def flush(self) -> None:
        self._do("flush")

    def close(self) -> None:
        self._do("close")

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what == self.moment:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("moment", "done"),
    [
        ("open", ["open"]),
        ("add_scalar", ["add_scalar"]),
        ("flush", ["add_scalar", "flush"]),
        ("close", ["add_scalar", "flush", "add_scalar", "flush", "close"]),
    ],
)
def test_curves_that_cannot_be_written(
    moment: str, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on without them, and says so once."""
    writer, notes = FullDisk(moment), list[str]()

    def opened(*_: object, **__: object) -> FullDisk:
        writer._do("open")
        writer.done.clear()
        return writer

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=opened))
    path, folder = tmp_path / "log.jsonl", tmp_path / "curves"
    with open_log(path, epoch=0, step=0, tensorboard=folder, note=notes.append) as log:
        for step in (1, 2):
            log.add_step(replace(STEP, step=step))
            log.sync()
    assert keys(lines_of(path)) == WHOLE[:2]
    assert notes == ["TensorBoard's curves cannot be written (No space left on device): the run goes on without them"]
    assert [name for name, _ in groupby(writer.done)] == done


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own
def test_a_disk_that_is_full_for_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes in a thread, whose traceback nobody needs. Those of other threads are shown."""
    module, notes, shown = pytest.importorskip("tensorboard.summary.writer.record_writer"), list[str](), list[object]()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(threading, "excepthook", lambda failure: shown.append(failure.exc_type))
    path, folder = tmp_path / "log.jsonl", tmp_path / "curves"
    with open_log(path, epoch=0, step=0, tensorboard=folder, note=notes.append) as log:
        monkeypatch.setattr(module.RecordWriter, "write", fail)
        for step in range(1, 7):
            log.add_step(replace(STEP, step=step))
            log.sync()
        assert shown == []
        other = threading.Thread(target=fail)
        other.start()
        other.join()
    assert notes == ["TensorBoard's curves cannot be written (No space left on device): the run goes on without them"]
    assert shown == [OSError]
    assert len(lines_of(path)) == 6


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_curves(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    write_log(tmp_path / "log.jsonl", until=2, tensorboard=tmp_path / "curves")
    write_log(tmp_path / "log.jsonl", epoch=1, step=3, tensorboard=tmp_path / "curves")
    events = accumulator.EventAccumulator(str(tmp_path / "curves"))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "train/waiting_share", "epoch/loss", "val/mAP"} <= set(
        events.Tags()["scalars"]
    )
    assert "train/step" not in events.Tags()["scalars"]
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("val/mAP")] == [
        (2, 0.2),
        (4, 0.4),
        (6, 0.6),
    ]


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__
    notes: list[str] = []

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return original(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with open_log(tmp_path / "log", epoch=0, step=0, tensorboard=tmp_path / "curves", note=notes.append) as log:
        log.add_step(STEP)
    assert notes == ["TensorBoard's curves are not written: `pip install tensorboard`, or say --no-tensorboard"]
    assert keys(lines_of(tmp_path / "log")) == [("step", 0, 1)]


def test_nobody_is_told() -> None:
    log, report = RunLog(), Silence()
    log.add_step(STEP)
    log.add_epoch(EPOCH)
    log.sync()
    report.note("something")
    with report.progress("training", 4) as bar:
        bar.update(3)


def test_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    report = TerminalReport()
    with report.progress("training", 4, done=1) as bar:
        report.note("a sentence")
        bar.update(4, str(STEP))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a sentence\n" in shown.err
    assert "training:  25%" in shown.err
    assert "4/4" in shown.err
    assert "loss 0.5000, lr 0.01, 8 clips/s, 25 % waiting for data, 3 MiB" in shown.err


def test_what_an_epoch_says() -> None:
    assert str(EPOCH) == "loss 0.5000, 8 clips/s"
    assert str(replace(EPOCH, metrics={"mAP": 0.1234})) == "loss 0.5000, 8 clips/s, mAP 12.34 %"
