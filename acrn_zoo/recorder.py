"""Predictions onto disk as they come: AVA-form CSV, JSON lines and an annotated video, side by side."""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from acrn_zoo.annotate import AnnotatedVideo
from acrn_zoo.errors import UserError
from acrn_zoo.results import AvaCsvWriter, JsonLinesWriter, require_writable
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

    A context manager. All are valid files at any moment, so that an interrupted run leaves what it has done; one that
    fails before its first keyframe leaves nothing. Nothing that exists is overwritten unless asked for.

    Args:
        video: the video file that the detections are of.
        folder: where to write; made if it is not there.
        hold: how many seconds before and after its keyframe a detection is drawn in the annotated video.
        top: at most so many actions a person are written and drawn.
        threshold: only actions with a score above it.
        with_video: write the annotated video.
        overwrite: whether existing files may be replaced.

    Raises:
        UserError: if the folder cannot be made or written to, or a file exists.
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
        overwrite: bool = False,
    ) -> None:
        self.video, folder = Path(video), Path(folder)
        self.hold, self.top, self.threshold, self.overwrite = hold, top, threshold, overwrite
        self.summary = Summary()
        name = self.video.stem
        endings = (".csv", ".jsonl", "_annotated.mp4") if with_video else (".csv", ".jsonl")
        self.paths = tuple(folder / f"{name}{ending}" for ending in endings)
        self._writers: tuple[AvaCsvWriter | JsonLinesWriter, ...] = ()
        self._annotated: AnnotatedVideo | None = None
        self._stack = ExitStack()
        _make_folder(folder)
        for path in self.paths:  # all before the first is opened: no half of a run beside an old other half
            require_writable(path, overwrite=overwrite)

    def __enter__(self) -> "Recorder":
        csv, json_lines, *annotated = self.paths
        with ExitStack() as stack:
            if annotated:
                video = AnnotatedVideo(
                    self.video,
                    annotated[0],
                    hold=self.hold,
                    top=self.top,
                    threshold=self.threshold,
                    overwrite=self.overwrite,
                )
                self._annotated = stack.enter_context(video)
            self._writers = (
                stack.enter_context(
                    AvaCsvWriter(csv, top=self.top, threshold=self.threshold, overwrite=self.overwrite)
                ),
                stack.enter_context(
                    JsonLinesWriter(json_lines, top=self.top, threshold=self.threshold, overwrite=self.overwrite)
                ),
            )
            self._stack = stack.pop_all()
        return self

    def add(self, detections: Detections) -> None:
        """Write one keyframe; keyframes ascend."""
        for writer in self._writers:
            writer.write(detections)
        self.summary.add(detections, top=self.top, threshold=self.threshold)
        if self._annotated is not None:
            self._annotated.add(detections)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)
        if error is not None and not self.summary.num_keyframes:
            for path in self.paths:  # empty, and in the way of the next try
                path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the output folder {folder} cannot be made ({error.strerror}): choose another one"
        ) from error
