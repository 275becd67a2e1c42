"""A video, its people and a model in; what each person does, keyframe by keyframe, out."""

import copy
import itertools
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from acrn_zoo.boxes import scale_boxes
from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.data.clips import ClipFrames, ClipSampling, read_clips
from acrn_zoo.data.frames import Video, open_video
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.data.video import VideoInfo
from acrn_zoo.download import fetch
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector
from acrn_zoo.people import (
    FASTER_RCNN_WEIGHTS,
    BoxFile,
    FasterRCNN,
    PeopleDetector,
    find_people,
    load_faster_rcnn,
)
from acrn_zoo.structures import Detections, Keyframe, Preprocessing

MIN_EVERY = 0.001
"""Seconds between keyframes; the finest step that files of results and of boxes tell apart."""

FASTER_RCNN_HASH = "258fb6c6"  # the end of its file name, TorchVision's way to publish a hash


class DeviceError(UserError, RuntimeError):
    """The wanted device is not there."""


class TimestampError(UserError, ValueError):
    """Keyframes are wanted at moments that the video does not have."""


class ActionPredictor:
    """Finds what the people of a video do.

    The video streams through: every frame is decoded once, the frames that a clip needs are resized once, and
    memory does not grow with the length of the video. Keyframes without people never reach the model.

    Args:
        model: an action detector. It is not changed: a copy is made if it is in training mode, or on another
            device or of another dtype than wanted.
        people: where the people are: the path of a file of boxes (:class:`acrn_zoo.people.BoxFile`), a person
            detector (:func:`create_person_detector`), or any callable ``(frame [H, W, 3] uint8 RGB, keyframe) ->
            boxes [R, 4] or [R, 5]`` in pixels of the frame, with a score as fifth number.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", ...
        dtype: of weights and clips.
        categories: names of the actions. If not given, the model's own; if it has none, AVA's for 80 actions, else
            "action 1", "action 2", ...
        sampling: which frames make a clip; those that the model was trained on, if not given, or those of the models
            published for AVA, if it does not tell.
        transform: how frames are resized and normalised; if not given, likewise.
        batch_size: clips that go through the model at once.

    Raises:
        DeviceError: if the device is not there.
        ValueError: if ``categories`` are not as many as the model's actions, or another argument is none that works.
    """

    def __init__(
        self,
        model: ActionDetector,
        people: PeopleDetector | str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: torch.dtype = torch.float32,
        categories: Sequence[str] | None = None,
        sampling: ClipSampling | None = None,
        transform: ClipTransform | None = None,
        batch_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        if not dtype.is_floating_point:
            raise ValueError(f"dtype is {dtype}, expected a floating-point type")
        if not callable(people) and not isinstance(people, str | os.PathLike):
            raise TypeError(f"people is a {type(people).__name__}, expected a function, or the path of a file of boxes")
        self.device = resolve_device(device)
        self.dtype = dtype
        self.model = _ready_model(model, self.device, dtype)
        self.people = people
        self.categories = _names_of(model, categories)
        known = model.preprocessing or Preprocessing()
        self.sampling = sampling or ClipSampling(known.clip_length, known.frame_interval)
        self.transform = transform or ClipTransform(known.short_side)
        self.batch_size = batch_size

    def predict(
        self,
        video: str | Path,
        *,
        every: float | None = None,
        timestamps: Iterable[float] | None = None,
        decoder: str = "pyav",
        frame_rate: float | None = None,
    ) -> Iterator[Detections]:
        """Label the people of a video.

        Args:
            video: a video file, or a folder of frames.
            every: seconds from one keyframe to the next, from 0 on; 1 unless given.
            timestamps: the keyframes instead, in seconds from the first frame, ascending. If neither is given and
                ``people`` is a file of boxes, the keyframes are those of the file.
            decoder: "pyav" or "torchcodec".
            frame_rate: frames a second of a folder of frames.

        Returns:
            An iterator of one :class:`Detections` a keyframe, in order, as they are ready; without people they
            are empty. Boxes are in pixels of the video's frames.

        Raises:
            UserError: if the video or the file of boxes cannot be used; what could be decoded before a video
                breaks off is yielded first.
            ValueError: if ``every`` is less than a millisecond, or is given together with ``timestamps``.
        """
        if every is not None and (timestamps is not None or not MIN_EVERY <= every < math.inf):
            raise ValueError(f"every is {every}: expected seconds from {MIN_EVERY} on, and no timestamps beside it")
        path = Path(video)
        people = self.people if callable(self.people) else BoxFile(self.people, video_id=path.stem)
        if timestamps is None and every is None and isinstance(people, BoxFile):
            timestamps = people.timestamps
        reader = open_video(path, frame_rate, decoder)
        _warn_if_short(reader.info, self.sampling)
        if isinstance(people, BoxFile):
            people.check((reader.info.height, reader.info.width))  # now, not when the keyframe comes
        if timestamps is None:
            wanted = None
            moments: Iterable[float] = (index * (every or 1.0) for index in itertools.count())
        else:
            moments = wanted = [float(moment) for moment in timestamps]
            require_within(wanted, reader.info)
        return self._stream(reader, people, moments, wanted)

    def _stream(
        self,
        reader: Video,
        people: PeopleDetector,
        moments: Iterable[float],
        wanted: list[float] | None,
    ) -> Iterator[Detections]:
        with reader:
            found = []
            clips = read_clips(reader, moments, self.sampling, self.transform.resize)
            for detections in self._batched(self._scenes(clips, people, reader.info.path.stem)):
                found.append(detections.keyframe.timestamp)
                yield detections
                if wanted is None:
                    found.clear()  # only needed to tell what is missing; an hour-long video has many
            if wanted is not None and (missing := sorted(set(wanted) - set(found))):
                raise TimestampError(
                    f"{reader.info.path} has no frame at {_listed(missing)} s, where keyframes are wanted: it ends "
                    "before. The other keyframes are done."
                )

    def _scenes(self, clips: Iterable[ClipFrames], people: PeopleDetector, video_id: str) -> Iterator["_Scene"]:
        for clip in clips:
            keyframe = Keyframe(video_id, clip.timestamp)
            boxes, scores = find_people(people, clip.keyframe, keyframe)
            size = (int(clip.keyframe.shape[0]), int(clip.keyframe.shape[1]))
            yield _Scene(keyframe, size, clip.frames if len(boxes) else None, boxes, scores)

    def _batched(self, scenes: Iterable["_Scene"]) -> Iterator[Detections]:
        """Run the scenes ``batch_size`` at a time, in order."""
        waiting: list[_Scene] = []
        try:
            for scene in scenes:
                waiting.append(scene)
                if len(waiting) == self.batch_size:
                    yield from self._run(waiting)
                    waiting = []
        except UserError:
            yield from self._run(waiting)  # a video that breaks off: first what could be read
            raise
        yield from self._run(waiting)

    @torch.inference_mode()
    def _run(self, scenes: list["_Scene"]) -> list[Detections]:
        busy = [scene for scene in scenes if scene.frames is not None]
        scores = iter(self._scores(busy)) if busy else iter(())
        nothing = torch.zeros(0, len(self.categories))
        return [
            Detections(
                keyframe=scene.keyframe,
                frame_size=scene.frame_size,
                boxes=scene.boxes,
                person_scores=scene.person_scores,
                scores=nothing if scene.frames is None else next(scores),
                categories=self.categories,
            )
            for scene in scenes
        ]

    def _scores(self, scenes: list["_Scene"]) -> tuple[Tensor, ...]:
        """Action scores ``[R_i, K]`` of each scene."""
        clips, boxes = [], []
        for scene in scenes:
            assert scene.frames is not None
            clips.append(self.transform.normalize(scene.frames.to(self.device)).to(self.dtype))
            size = (int(scene.frames.shape[1]), int(scene.frames.shape[2]))
            boxes.append(scale_boxes(scene.boxes, scene.frame_size, size).to(self.device))
        logits = self.model(torch.stack(clips), boxes)
        return logits.float().sigmoid().cpu().split([len(rows) for rows in boxes])


def create_person_detector(
    *, threshold: float = 0.9, device: str | torch.device = "auto", progress: bool = True
) -> FasterRCNN:
    """TorchVision's Faster R-CNN with its COCO weights, fetched once (167 MB) and checked.

    Args:
        threshold: the lowest score that counts as a person.
        device: where it runs; "auto" takes a GPU if there is one.
        progress: show a bar while the file is fetched.

    Raises:
        UserError: if the weights cannot be fetched.
    """
    resolved = resolve_device(device)
    path = fetch(
        FASTER_RCNN_WEIGHTS.url,
        sha256_prefix=FASTER_RCNN_HASH,
        progress=progress,
        advice="read it with acrn_zoo.people.load_faster_rcnn(path), or say where the people are (`predict --boxes "
        'FILE`; for a dataset, a file named as "proposals" in its dataset.json)',
    )
    return load_faster_rcnn(path, threshold=threshold, device=resolved)


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that is meant, if it is there.

    Raises:
        DeviceError: if not; it says what there is.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.ones(1, device=resolved).item()  # a device that holds no data ("meta") is of no use
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        available = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        raise DeviceError(
            f"device {str(device)!r} cannot be used ({reason}); this machine has {', '.join(available)}"
        ) from error
    return resolved


@dataclass(frozen=True, eq=False)
class _Scene:
    """One keyframe on its way to the model; ``frames`` is None where nobody is."""

    keyframe: Keyframe
    frame_size: tuple[int, int]
    frames: Tensor | None
    boxes: Tensor
    person_scores: Tensor


def _ready_model(model: ActionDetector, device: torch.device, dtype: torch.dtype) -> ActionDetector:
    tensors = [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
    is_ready = all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)
    if is_ready and not any(module.training for module in model.modules()):
        return model
    return copy.deepcopy(model).to(device, dtype).eval()


def _names_of(model: ActionDetector, categories: Sequence[str] | None) -> tuple[str, ...]:
    names = categories if categories is not None else model.categories
    if names is None:
        numbered = tuple(f"action {number}" for number in range(1, model.num_classes + 1))
        return CATEGORIES if model.num_classes == len(CATEGORIES) else numbered
    if len(names) != model.num_classes:
        raise ValueError(f"{len(names)} categories for a model of {model.num_classes} actions")
    return tuple(names)


def _warn_if_short(info: VideoInfo, sampling: ClipSampling) -> None:
    needed = sampling.length * sampling.interval
    if info.duration is not None and info.duration < needed:
        warnings.warn(
            f"{info.path} is {info.duration:.2f} s long, shorter than a clip of {needed:.2f} s: its first and last "
            "frames are repeated, which the model has not been trained for",
            stacklevel=3,
        )


def require_within(timestamps: Sequence[float], info: VideoInfo) -> None:
    """Tell at once if keyframes lie after the end that a video's header states; a second of grace, headers round.

    Raises:
        TimestampError: naming the first of them.
    """
    if info.duration is None:
        return
    if late := [moment for moment in timestamps if moment >= info.duration + 1]:
        raise TimestampError(
            f"{info.path} is {info.duration:.2f} s long, but keyframes are wanted at {_listed(late)} s: expected "
            "seconds from the first frame of this video"
        )


def _listed(moments: Sequence[float]) -> str:
    shown = ", ".join(f"{moment:g}" for moment in moments[:5])
    return shown + (f" and {len(moments) - 5} more" if len(moments) > 5 else "")
