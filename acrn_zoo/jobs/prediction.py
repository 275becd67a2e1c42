"""Many videos, shared out over jobs; every video once, also where jobs are ended and started again.

::

    OUT/videos/NAME.csv, .jsonl, _annotated.mp4    of each video; there when it is finished
    OUT/sources/NAME.json                          which video that is
    OUT/locks/NAME                                 held by the process that is at a video
    OUT/predictions.csv, predictions.jsonl         all videos, one after the other, when the last is finished
    OUT/merged.json                                which videos these two hold; written behind them
"""

import argparse
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acrn_zoo.cli.interruption import Interruption
from acrn_zoo.cli.predict import create_predictor
from acrn_zoo.cli.recording import record
from acrn_zoo.data.importers.marks import VIDEO_SUFFIXES
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing, try_lock, write_json
from acrn_zoo.jobs.task import JobError
from acrn_zoo.predictor import ActionPredictor
from acrn_zoo.recorder import Recorder

MERGED = (".csv", ".jsonl")


@dataclass(frozen=True)
class PredictTask:
    """Label the people of some videos, by one process.

    Args:
        videos: those of this task.
        everything: those of all tasks, in the order in which they are merged.
        out: the folder of results; see the head of this module.
        options: of ``acrn-zoo predict``.
    """

    videos: tuple[Path, ...]
    everything: tuple[Path, ...]
    out: Path
    options: argparse.Namespace

    @property
    def device(self) -> str:
        """What it computes on."""
        return str(self.options.device)

    def progress(self) -> int:
        """How many of its videos are done, and stay so."""
        return sum(is_finished(self.out, video) for video in self.videos)

    def __call__(self, processes: Processes, stop_requested: Callable[[], bool]) -> bool:
        """Do those that are not finished, and merge the results if this was the last task.

        Raises:
            JobError: at the end, if a video could not be read: the others are done.
        """
        left = [video for video in self.videos if not is_finished(self.out, video)]
        predictor = create_predictor(self.options, self.options.boxes, processes.device) if left else None
        failed = []
        for video in left:
            if stop_requested():
                return False
            assert predictor is not None
            try:
                self._predict(predictor, video, stop_requested)
            except KeyboardInterrupt:
                return False
            except UserError as error:
                failed.append(f"{video.name}: {error}")
        if failed:
            raise JobError(
                f"{len(failed)} of {len(self.videos)} videos have no results, the others are done. "
                f"{' '.join(failed)}. Mend or leave out these, and give the same command again"
            )
        merge(self.out, self.everything)
        return True

    def _predict(self, predictor: ActionPredictor, video: Path, stop_requested: Callable[[], bool]) -> None:
        """Write the results of a video, all of them or none.

        Raises:
            KeyboardInterrupt: if this is asked to stop.
        """
        with _claimed(self.out / "locks" / video.stem) as is_ours:
            if not is_ours or is_finished(self.out, video):
                return  # a task of another launch is at it, or has done it
            partial = self.out / "videos" / f".{video.stem}.part"
            shutil.rmtree(partial, ignore_errors=True)  # of one that was killed
            options = self.options
            found = predictor.predict(
                video, every=options.every, decoder=options.decoder, frame_rate=options.frame_rate
            )
            recorder = Recorder(
                video,
                partial,
                hold=(options.every or 1.0) / 2,
                top=options.top,
                threshold=options.threshold,
                with_video=not options.no_video,
                frame_rate=options.frame_rate,
            )
            try:
                record(found, recorder, None, _Stop(stop_requested))
                _source_file(self.out, video).parent.mkdir(exist_ok=True)
                write_json(_source_file(self.out, video), source_of(video))
                for path in reversed(recorder.paths):  # the CSV file, which says that it is finished, comes last
                    if path.exists():
                        path.replace(self.out / "videos" / path.name)
                    elif path.suffix in MERGED:  # a video without a keyframe
                        (self.out / "videos" / path.name).touch()
            finally:
                shutil.rmtree(partial, ignore_errors=True)


class _Stop(Interruption):
    """Breaks off between two keyframes when the job is asked to stop."""

    def __init__(self, stop_requested: Callable[[], bool]) -> None:
        super().__init__()
        self._stop_requested = stop_requested

    @contextmanager
    def held(self) -> Iterator[None]:
        """A keyframe's writing."""
        yield
        if self._stop_requested():
            raise KeyboardInterrupt


def find_videos(places: Sequence[Path]) -> tuple[Path, ...]:
    """The videos of files and folders, in order, with absolute paths.

    Args:
        places: video files; folders of such files; folders of frames, each a video.

    Raises:
        JobError: if one is not there, or two have the same name, and with it the same results.
    """
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise JobError(f"{place}: there is no such video or folder of videos")
        found.extend(path.absolute() for path in _videos_in(place))
    found = list(dict.fromkeys(found))
    names = Counter(path.stem for path in found)
    if same := [path for path in found if names[path.stem] > 1]:
        raise JobError(f"{same[0]} and {same[1]} have the same name, so their results would, too: rename one of them")
    return tuple(found)


def _videos_in(place: Path) -> list[Path]:
    """The place itself, unless it is a folder of video files."""
    if not place.is_dir():
        return [place]
    files = [path for path in place.iterdir() if path.is_file()]
    videos = sorted(path for path in files if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise JobError(
            f"{place} holds no files, so neither videos nor frames: name a video, a folder of videos, or folders of "
            "frames one by one"
        )
    return videos or [place]


def share_out(videos: Sequence[Path], num_shares: int) -> list[tuple[Path, ...]]:
    """Shares of about the same number of bytes; at most as many as there are videos.

    The largest videos are dealt out first, each to the share that has the least.
    """
    shares: list[list[Path]] = [[] for _ in range(min(num_shares, len(videos)))]
    sizes = [0] * len(shares)
    for video in sorted(videos, key=lambda path: (-path.stat().st_size, path)):
        least = min(range(len(shares)), key=lambda number: (sizes[number], len(shares[number])))
        shares[least].append(video)
        sizes[least] += video.stat().st_size
    return [tuple(share) for share in shares]


def is_finished(out: Path, video: Path) -> bool:
    """Whether the results of a video are there."""
    return (out / "videos" / f"{video.stem}.csv").exists()


def require_same_videos(out: Path, videos: Sequence[Path]) -> None:
    """Refuse videos that have the names of others whose results are there.

    Raises:
        JobError: for the first of them.
    """
    for video in videos:
        try:
            noted = json.loads(_source_file(out, video).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not finished
        found = source_of(video)
        if is_finished(out, video) and noted["content"] != found["content"]:
            raise JobError(
                f"{out / 'videos' / video.stem}.csv is of {noted['path']}, and {video} is another video, or was "
                "changed since: choose another directory with --out, rename it, or delete that file to label it anew"
            )


def source_of(video: Path) -> dict[str, str]:
    """Where a video is, and what tells it from others, wherever it is moved or copied to.

    Args:
        video: a file, known by its size and its first megabyte, or a folder of frames, by their names and sizes.
    """
    if video.is_dir():
        text = "\n".join(sorted(f"{path.name} {path.stat().st_size}" for path in video.iterdir()))
        digest = hashlib.sha256(text.encode())
    else:
        digest = hashlib.sha256(str(video.stat().st_size).encode())
        with video.open("rb") as file:
            digest.update(file.read(1 << 20))
    return {"path": str(video), "content": digest.hexdigest()[:16]}


def _source_file(out: Path, video: Path) -> Path:
    return out / "sources" / f"{video.stem}.json"


def merge(out: Path, videos: Sequence[Path]) -> bool:
    """Write the results of all videos into one file of each kind, if all are there.

    Returns:
        Whether they are; another process may be just writing them.
    """
    if not all(is_finished(out, video) for video in videos):
        return False
    with _claimed(out / "locks" / ".merge") as is_ours:
        if not is_ours or is_merged(out, videos):
            return True
        for ending in MERGED:
            with replacing(out / f"predictions{ending}") as partial, partial.open("wb") as whole:
                for video in videos:
                    with (out / "videos" / f"{video.stem}{ending}").open("rb") as one:
                        shutil.copyfileobj(one, whole)
        write_json(out / "merged.json", [video.stem for video in videos])
    return True


def is_merged(out: Path, videos: Sequence[Path]) -> bool:
    """Whether the merged files hold these videos, and no others."""
    try:
        names = json.loads((out / "merged.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    there = all((out / f"predictions{ending}").exists() for ending in MERGED)
    return there and names == [video.stem for video in videos]


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Whether this process alone has something to itself until the end of the block; it lets go also when killed."""
    for folder in (path.parent, path.parents[1] / "videos"):
        folder.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        yield try_lock(lock)
