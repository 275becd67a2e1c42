"""Annotated videos as PyTorch datasets: one sample a keyframe, its clip decoded from the video when it is asked for.

:class:`TrainingDataset` augments and gathers the actors to train on, :class:`EvaluationDataset` does neither. Both
read video files and folders of frames, whole films and cuts of them, and hold neither files nor frames: they may be
handed to worker processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from acrn_zoo.boxes import scale_boxes
from acrn_zoo.data.actors import training_actors
from acrn_zoo.data.annotations import Annotations, read_annotations
from acrn_zoo.data.clips import END_TOLERANCE, ClipFrames, ClipSampling, read_clips
from acrn_zoo.data.folder import DatasetError, DatasetFolder, VideoEntry, read_dataset_folder
from acrn_zoo.data.frames import Video, open_video
from acrn_zoo.data.manifest import OffsetError, resolve_offset
from acrn_zoo.data.proposals import Proposals, read_proposals, select_proposals
from acrn_zoo.data.transforms import ClipTransform, RandomAugmentation, normalize, sample_random
from acrn_zoo.data.video import VideoError
from acrn_zoo.errors import UserError
from acrn_zoo.structures import Keyframe

_PUBLISHED = ClipSampling()  # 32 frames, every second one of 30 a second


class SampleError(UserError, RuntimeError):
    """The clip of a keyframe cannot be read; the message names the video, the moment and the file."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The clip round one keyframe and the people in it.

    Args:
        keyframe: which moment of which video, as the annotations count seconds.
        index: of the sample in its dataset.
        frame_size: height and width of the video's own frames in pixels.
        frames: ``[T, H, W, 3]`` uint8 RGB, resized; a quarter of the bytes of :attr:`clip`.
        boxes: ``[R, 4]`` float32, xyxy in pixels of the clip. R may be 0.
        labels: ``[R, K]`` float32, 1 in column ``id - 1`` of every action, else 0; all 0 for a proposal without label.
        person_scores: ``[R]`` float32, how sure the person detector was, 0 to 1; 1 for people who were annotated or
            are trained on.
    """

    keyframe: Keyframe
    index: int
    frame_size: tuple[int, int]
    frames: Tensor
    boxes: Tensor
    labels: Tensor
    person_scores: Tensor

    @property
    def clip(self) -> Tensor:
        """What a model sees: ``[3, T, H, W]`` float32, normalised. Every access computes it anew."""
        return normalize(self.frames)

    @property
    def has_labels(self) -> Tensor:
        """``[R]`` bool: which actors have at least one action, and thus count in the loss."""
        return self.labels.bool().any(dim=1)


@dataclass(eq=False, repr=False)
class ActionDataset(Dataset[Sample]):
    """What training and evaluation have in common. A sample is a keyframe that the annotations name.

    Args:
        annotations: who does what.
        videos: video id to file and offset; more than the annotations name are no error.
        categories: the names of the K actions.
        proposals: where a detector found people, if that is known.
        min_score: which of them count, see :func:`acrn_zoo.data.proposals.select_proposals`.
        sampling: which frames make a clip.
        frame_rate: frames a second of videos that are folders of frames.
        decoder: what decodes files, "pyav" or "torchcodec".

    Raises:
        DatasetError: if a video is missing in ``videos``, or ``categories`` are not K.
    """

    annotations: Annotations
    videos: Mapping[str, VideoEntry]
    categories: tuple[str, ...]
    _: KW_ONLY
    proposals: Proposals | None = None
    min_score: float = 0.9
    sampling: ClipSampling = _PUBLISHED
    frame_rate: float | None = None
    decoder: str = "pyav"

    def __post_init__(self) -> None:
        names, num_classes = self.annotations.keyframes.video_ids, self.annotations.num_classes
        if len(self.categories) != num_classes:
            raise DatasetError(f"{len(self.categories)} categories for annotations of {num_classes} actions")
        if unknown := [name for name in names if name not in self.videos]:
            shown = ", ".join(unknown[:5]) + (" ..." if len(unknown) > 5 else "")
            raise DatasetError(
                f"{len(unknown)} videos are annotated, and the dataset does not say where they are: {shown}. Add them "
                "to its videos, or remove their rows from the annotations"
            )
        self.videos = {name: self.videos[name] for name in names}
        self.categories = tuple(self.categories)

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> Sample:
        """Decode and prepare one keyframe.

        Raises:
            SampleError: naming video, moment and file, if the clip cannot be read.
            IndexError: if there is no such sample.
        """
        video_id, timestamp = self.annotations.keyframes[index]
        entry = self.videos[video_id]
        try:
            with open_video(entry.path, self.frame_rate, self.decoder) as video:
                # Whole microseconds, as keyframes are told apart: a subtraction must not end just below 0.
                moment = round(timestamp - resolve_offset(entry, video.info.duration), 6)
                return self._prepare(index, video, moment)
        except (VideoError, OffsetError) as error:
            raise SampleError(f"The keyframe at {timestamp:g} s of video {video_id} cannot be read. {error}") from error

    def _prepare(self, index: int, video: Video, moment: float) -> Sample:
        raise NotImplementedError

    def _keyframe(self, index: int) -> Keyframe:
        return Keyframe(*self.annotations.keyframes[index])

    def _proposals(self, index: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Boxes (fractions) and scores of the keyframe's proposals that count."""
        if self.proposals is None:
            return np.zeros((0, 4)), np.zeros(0)
        return select_proposals(self.proposals, *self.annotations.keyframes[index], min_score=self.min_score)


@dataclass(eq=False, repr=False)
class TrainingDataset(ActionDataset):
    """Clips to train on: augmented, with the annotated people and, if there are any, the proposals that match them.

    What a sample looks like depends on ``seed``, epoch and index alone, not on workers or ranks. Call
    :meth:`set_epoch` before every epoch, lest all of them be alike; it reaches workers that are kept, too.

    Args:
        seed: of all random choices.
        augmentation: how clips are resized, cropped and mirrored.
        jitter: seconds by which every frame, with probability 1/2, is taken earlier: one frame of 30 a second, as
            published; 0 for none.
        with_unmatched: whether proposals without label fill up the actors, see
            :func:`acrn_zoo.data.actors.training_actors`.

    The others are those of :class:`ActionDataset`.
    """

    _: KW_ONLY
    seed: int = 0
    augmentation: RandomAugmentation = field(default_factory=RandomAugmentation)
    jitter: float = 1 / 30
    with_unmatched: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.jitter <= self.sampling.interval:
            raise ValueError(
                f"jitter is {self.jitter}, expected seconds from 0 to {self.sampling.interval}, the interval of frames"
            )
        # In shared memory, so that workers that live on from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @classmethod
    def from_folder(
        cls,
        folder: DatasetFolder | str | Path,
        split: str = "train",
        *,
        seed: int = 0,
        sampling: ClipSampling = _PUBLISHED,
        decoder: str = "pyav",
    ) -> "TrainingDataset":
        """The training clips of one part of a dataset folder; proposals are taken if it has them.

        Raises:
            UserError: if a file of the folder cannot be read, or is wrong.
        """
        dataset = folder if isinstance(folder, DatasetFolder) else read_dataset_folder(folder)
        return cls(
            *_parts_of(dataset, split),
            proposals=_proposals_of(dataset, split),
            frame_rate=dataset.frame_rate,
            seed=seed,
            sampling=sampling,
            decoder=decoder,
        )

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 0 on: its samples are cropped, mirrored and jittered in their own way.

        Raises:
            ValueError: if ``epoch`` is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}, expected 0 or more")
        self._epoch.fill_(epoch)

    def _prepare(self, index: int, video: Video, moment: float) -> Sample:
        random = sample_random(self.seed, int(self._epoch), index)
        size = (video.info.height, video.info.width)
        augmentation = self.augmentation.draw(size, random)
        shifts = np.where(random.random(self.sampling.length) < 0.5, self.jitter, 0.0)
        sampling = _JitteredSampling(self.sampling.length, self.sampling.interval, tuple(shifts.tolist()))
        clip = _read_clip(video, moment, sampling, augmentation.frame)
        boxes, labels = training_actors(
            augmentation.boxes(_pixels(self.annotations.boxes(index), size), size),
            torch.from_numpy(self.annotations.labels(index)),
            augmentation.boxes(_pixels(self._proposals(index)[0], size), size),
            random,
            with_unmatched=self.with_unmatched,
        )
        return Sample(self._keyframe(index), index, size, clip.frames, boxes, labels, torch.ones(len(boxes)))


@dataclass(eq=False, repr=False)
class EvaluationDataset(ActionDataset):
    """Clips to evaluate on: the whole frame, resized as the published weights want it.

    The people are the proposals if there are any, else those who are annotated, with their labels. The samples are
    the annotated keyframes in both cases: the official evaluation ignores what is predicted elsewhere.

    Args:
        transform: how frames are resized.

    The others are those of :class:`ActionDataset`.
    """

    _: KW_ONLY
    transform: ClipTransform = field(default_factory=ClipTransform)

    @classmethod
    def from_folder(
        cls,
        folder: DatasetFolder | str | Path,
        split: str = "val",
        *,
        people: Literal["proposals", "annotated"] = "proposals",
        min_score: float = 0.9,
        sampling: ClipSampling = _PUBLISHED,
        decoder: str = "pyav",
    ) -> "EvaluationDataset":
        """The clips of one part of a dataset folder.

        Args:
            folder: the dataset.
            split: which part.
            people: who is classified: those whom a detector found, which is what published numbers mean, or those
                whom the annotations know, which no detector can do better than.
            min_score: see :class:`ActionDataset`.
            sampling: likewise.
            decoder: likewise.

        Raises:
            UserError: if a file of the folder cannot be read, or is wrong, or there are no proposals.
            ValueError: if ``people`` is something else.
        """
        if people not in ("proposals", "annotated"):
            raise ValueError(f"people is {people!r}, expected 'proposals' or 'annotated'")
        dataset = folder if isinstance(folder, DatasetFolder) else read_dataset_folder(folder)
        proposals = _proposals_of(dataset, split) if people == "proposals" else None
        if people == "proposals" and proposals is None:
            raise DatasetError(
                f"{dataset.root}: the split {split!r} has no proposals. Find them with `acrn-zoo data people`, or "
                'evaluate on the annotated boxes (people="annotated")'
            )
        return cls(
            *_parts_of(dataset, split),
            proposals=proposals,
            frame_rate=dataset.frame_rate,
            min_score=min_score,
            sampling=sampling,
            decoder=decoder,
        )

    def _prepare(self, index: int, video: Video, moment: float) -> Sample:
        size = (video.info.height, video.info.width)
        clip = _read_clip(video, moment, self.sampling, self.transform.resize)
        if self.proposals is None:
            fractions, labels = self.annotations.boxes(index), self.annotations.labels(index)
            scores = np.ones(len(fractions))
        else:
            fractions, scores = self._proposals(index)
            labels = np.zeros((len(fractions), len(self.categories)), dtype=np.float32)
        return Sample(
            keyframe=self._keyframe(index),
            index=index,
            frame_size=size,
            frames=clip.frames,
            boxes=scale_boxes(_pixels(fractions, size), size, self.transform.resized_size(size)),
            labels=torch.from_numpy(labels),
            person_scores=torch.from_numpy(scores).float(),
        )


@dataclass(frozen=True)
class _JitteredSampling(ClipSampling):
    """A clip some of whose frames are taken earlier by ``shifts`` seconds, one shift a frame."""

    shifts: tuple[float, ...] = ()

    def times(self, timestamp: float) -> list[float]:
        return [time - shift for time, shift in zip(super().times(timestamp), self.shifts, strict=True)]


def _read_clip(video: Video, moment: float, sampling: ClipSampling, resize: Callable[[Tensor], Tensor]) -> ClipFrames:
    if moment >= 0:
        for clip in read_clips(video, [moment], sampling, resize, tolerance=END_TOLERANCE):
            return clip
    length = "" if video.info.duration is None else f", which is {video.info.duration:.2f} s long"
    raise VideoError(
        f"It would be at {moment:g} s of {video.path}{length}. Check the offset of the video, which tells the "
        "second that its first frame shows, or remove the keyframe."
    )


def _pixels(fractions: npt.NDArray[np.float64], size: tuple[int, int]) -> Tensor:
    """Boxes ``[R, 4]`` float32 in pixels of a frame of ``size`` (height, width)."""
    height, width = size
    return torch.from_numpy(fractions * np.array([width, height, width, height])).float()


def _parts_of(dataset: DatasetFolder, split: str) -> tuple[Annotations, Mapping[str, VideoEntry], tuple[str, ...]]:
    """Annotations, videos and categories, the arguments of all datasets."""
    files = dataset.split(split)
    annotations = read_annotations(files.annotations, files.excluded, num_classes=dataset.label_map.num_columns)
    return annotations, dataset.videos, dataset.label_map.categories


def _proposals_of(dataset: DatasetFolder, split: str) -> Proposals | None:
    path = dataset.split(split).proposals
    return None if path is None else read_proposals(path)
