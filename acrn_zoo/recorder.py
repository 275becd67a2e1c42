"""Predictions onto disk as they come: AVA-form CSV, JSON lines and an annotated video, side by side."""

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from acrn_zoo.annotate import AnnotatedVideo
from acrn_zoo.errors import UserError
from acrn_zoo.files import require_writable
from acrn_zoo.results import AvaCsvWriter, JsonLinesWriter
from acrn_zoo.structures import Detections


class OutputError(UserError, OSError):
    """The output folder cannot be made."""


@dataclass
class Summary:
    """What has been recorded so far.

    Args:
        num_keyframes: keyframes, with and without people.
        num_people: people over all keyframes.
        actions: by name of the action: how many people did it, and the best score.
    """

    num_keyframes: int = 0
    num_people: int = 0
    actions: dict[str, tuple[int, float]] = field(default_factory=lambda: defaultdict(lambda: (0, 0.0)))

    def add(self, detections: Detections, *, top: int, threshold: float) -> None:
        """Count one keyframe."""
        self.num_keyframes += 1
        self.num_people += len(detections)
        for best in detections.top(top, threshold):
            for column, score in best:
                name = detections.categories[column]
                count, highest = self.actions[name]
                self.actions[name] = (count + 1, max(highest, score))


class Recorder:
    """Writes ``NAME.csv``, ``NAME.jsonl`` and ``NAME_annotated.mp4`` for a video ``NAME.*`` into one folder.

    A context manager. The files appear with the first keyframe: a run that fails before leaves nothing, and takes
    nothing away. From then on they are valid at any moment, so that an interrupted run leaves what it has done. Nothing
    that exists is overwritten unless asked for, and what the run reads not even then.

    Args:
        video: the video that the detections are of, a file or a folder of frames.
        folder: where to write; made if it is not there.
        hold: how many seconds before and after its keyframe a detection is drawn in the annotated video.
        top: at most so many actions a person are written and drawn.
        threshold: only actions with a score above it.
        with_video: write the annotated video.
        frame_rate: frames a second of a folder of frames.
        overwrite: whether existing files may be replaced.
        inputs: further files that the run reads (boxes, weights).

    Raises:
        UserError: if a file exists or is read by the run; with the first keyframe, if the folder cannot be made or
            written to.
    """

    def __init__(
        self,
        video: str | Path,
        folder: str | Path,
        *,
        hold: float = 0.5,
        top: int = 5,
        threshold: float = 0.3,
        with_video: bool = True,
        frame_rate: float | None = None,
        overwrite: bool = False,
        inputs: Sequence[Path] = (),
    ) -> None:
        self.video, self.frame_rate, folder = Path(video), frame_rate, Path(folder)
        self.hold, self.top, self.threshold, self.overwrite = hold, top, threshold, overwrite
        self.summary = Summary()
        name = self.video.stem
        endings = (".csv", ".jsonl", "_annotated.mp4") if with_video else (".csv", ".jsonl")
        self.paths = tuple(folder / f"{name}{ending}" for ending in endings)
        self._writers: list[AvaCsvWriter | JsonLinesWriter] = []
        self._annotated: AnnotatedVideo | None = None
        self._stack = ExitStack()
        _require_possible(folder)
        for path in self.paths:  # all before the first is opened: no half of a run beside an old other half
            _require_not_input(path, (self.video, *inputs))
            if path.parent.is_dir():
                require_writable(path, overwrite=overwrite)

    def __enter__(self) -> "Recorder":
        return self

    def add(self, detections: Detections) -> None:
        """Write one keyframe; keyframes ascend. The first one creates the files."""
        if not self.summary.num_keyframes:
            self._open()
        for writer in self._writers:
            writer.write(detections)
        self.summary.add(detections, top=self.top, threshold=self.threshold)
        if self._annotated is not None:
            self._annotated.add(detections)

    def _open(self) -> None:
        csv, json_lines, *annotated = self.paths
        top, threshold, overwrite = self.top, self.threshold, self.overwrite
        make_folder(csv.parent)
        if annotated:
            self._annotated = AnnotatedVideo(
                self.video,
                annotated[0],
                hold=self.hold,
                top=top,
                threshold=threshold,
                frame_rate=self.frame_rate,
                overwrite=overwrite,
            )
            self._stack.enter_context(self._annotated)
        rows = AvaCsvWriter(csv, top=top, threshold=threshold, overwrite=overwrite)
        self._writers.append(self._stack.enter_context(rows))
        lines = JsonLinesWriter(json_lines, top=top, threshold=threshold, overwrite=overwrite)
        self._writers.append(self._stack.enter_context(lines))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)


def _require_possible(folder: Path) -> None:
    """Tell now, not after a download, that a folder cannot be written to."""
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"the output folder {folder} cannot be written to: choose another one")


def _require_not_input(path: Path, inputs: Sequence[Path]) -> None:
    """Whatever may be overwritten, what the run reads may not."""
    for given in inputs:
        if path.exists() and given.exists() and path.samefile(given):
            raise OutputError(f"{path} would be overwritten, but it is read by this run: choose another output folder")


def make_folder(folder: Path) -> None:
    """Make the output folder and those above it, if they are not there.

    Raises:
        OutputError: if that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the output folder {folder} cannot be made ({error.strerror}): choose another one"
        ) from error
