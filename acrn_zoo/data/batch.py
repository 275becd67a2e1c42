"""Samples into batches, and batches to where the model is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acrn_zoo.data.dataset import Sample
from acrn_zoo.data.transforms import normalize
from acrn_zoo.structures import Keyframe


@dataclass(frozen=True, eq=False)
class Batch:
    """N clips and the R people in them.

    Args:
        frames: ``[N, T, H, W, 3]`` uint8 RGB.
        boxes: N tensors ``[R_i, 4]`` float32, xyxy in pixels of the clip.
        labels: ``[R, K]`` float32, see :class:`acrn_zoo.data.dataset.Sample`; first those of the first clip.
        person_scores: ``[R]`` float32, likewise.
        keyframes: N moments. Always on the CPU, as is all that follows.
        indices: N indices of the samples in their dataset; those that fill up a last batch occur twice.
        frame_sizes: N heights and widths of the videos' own frames in pixels.
    """

    frames: Tensor
    boxes: list[Tensor]
    labels: Tensor
    person_scores: Tensor
    keyframes: tuple[Keyframe, ...]
    indices: tuple[int, ...]
    frame_sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def clips(self) -> Tensor:
        """What a model sees: ``[N, 3, T, H, W]`` float32, normalised where the frames are; computed at every access."""
        return normalize(self.frames)

    @property
    def clip_size(self) -> tuple[int, int]:
        """Height and width of the clips in pixels."""
        return int(self.frames.shape[2]), int(self.frames.shape[3])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Batch":
        """The batch with its tensors on a device. Frames travel as bytes, a quarter of what clips would be.

        Args:
            device: where to.
            non_blocking: do not wait for the copy; of use with pinned memory only.
        """
        return replace(
            self,
            frames=self.frames.to(device, non_blocking=non_blocking),
            boxes=[boxes.to(device, non_blocking=non_blocking) for boxes in self.boxes],
            labels=self.labels.to(device, non_blocking=non_blocking),
            person_scores=self.person_scores.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; ``DataLoader(pin_memory=True)`` calls this."""
        return replace(
            self,
            frames=self.frames.pin_memory(),
            boxes=[boxes.pin_memory() for boxes in self.boxes],
            labels=self.labels.pin_memory(),
            person_scores=self.person_scores.pin_memory(),
        )


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples: the ``collate_fn`` of a ``DataLoader``.

    Clips are never padded, since a model would see the padding. Training clips are all alike; evaluation clips are
    as wide as their videos, so that videos of different shapes go one by one (``batch_size=1``).

    Workers need no seeding: all that is random in a sample is decided by its dataset's seed, epoch and index.

    Args:
        samples: at least one.

    Raises:
        ValueError: if there is none, or their clips differ in size.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    sizes = [tuple(sample.frames.shape) for sample in samples]
    for sample, size in zip(samples, sizes, strict=True):
        if size != sizes[0]:
            first, other = samples[0].keyframe.video_id, sample.keyframe.video_id
            raise ValueError(
                f"clips of different sizes cannot make one batch: {list(sizes[0])} ({first}) and {list(size)} "
                f"({other}); expected [T, H, W, 3] to be the same. Use batch_size=1"
            )
    return Batch(
        frames=torch.stack([sample.frames for sample in samples]),
        boxes=[sample.boxes for sample in samples],
        labels=torch.cat([sample.labels for sample in samples]),
        person_scores=torch.cat([sample.person_scores for sample in samples]),
        keyframes=tuple(sample.keyframe for sample in samples),
        indices=tuple(sample.index for sample in samples),
        frame_sizes=tuple(sample.frame_size for sample in samples),
    )
