"""Samples stacked in order, and moved without being written to."""

from dataclasses import replace

import pytest
import torch

from acrn_zoo.data.batch import Batch, collate
from acrn_zoo.data.dataset import Sample
from acrn_zoo.data.transforms import normalize
from acrn_zoo.structures import Keyframe


def sample(index: int, num_actors: int, width: int = 12, length: int = 3) -> Sample:
    generator = torch.Generator().manual_seed(index)
    return Sample(
        keyframe=Keyframe("film", 900.0 + index),
        index=index,
        frame_size=(100, 150 + index),
        frames=torch.randint(0, 256, (length, 8, width, 3), dtype=torch.uint8, generator=generator),
        boxes=torch.rand(num_actors, 4, generator=generator),
        labels=torch.randint(0, 2, (num_actors, 5), generator=generator).float(),
        person_scores=torch.rand(num_actors, generator=generator),
    )


def test_stacks_in_order() -> None:
    samples = [sample(4, 2), sample(1, 0), sample(9, 3)]
    batch = collate(samples)
    assert len(batch) == 3
    assert batch.frames.shape == (3, 3, 8, 12, 3)
    assert batch.clip_size == (8, 12)
    for index, one in enumerate(samples):
        assert torch.equal(batch.frames[index], one.frames)
        assert torch.equal(batch.boxes[index], one.boxes)
    assert torch.equal(batch.labels, torch.cat([samples[0].labels, samples[2].labels]))
    assert torch.equal(batch.person_scores, torch.cat([samples[0].person_scores, samples[2].person_scores]))
    assert [keyframe.timestamp for keyframe in batch.keyframes] == [904, 901, 909]
    assert batch.indices == (4, 1, 9)
    assert batch.frame_sizes == ((100, 154), (100, 151), (100, 159))


def test_clips_are_those_of_the_samples() -> None:
    samples = [sample(0, 1), sample(1, 1)]
    batch = collate(samples)
    assert torch.equal(batch.clips, torch.stack([one.clip for one in samples]))
    assert batch.clips.shape == (2, 3, 3, 8, 12)
    assert batch.clips.is_contiguous()
    assert torch.equal(batch.clips[1], normalize(samples[1].frames))


def test_nobody_at_all() -> None:
    batch = collate([sample(0, 0), sample(1, 0)])
    assert batch.labels.shape == (0, 5)
    assert [boxes.shape for boxes in batch.boxes] == [(0, 4), (0, 4)]


@pytest.mark.parametrize("other", [sample(1, 1, width=13), sample(1, 1, length=4)])
def test_sizes_must_be_the_same(other: Sample) -> None:
    with pytest.raises(ValueError, match=r"\[3, 8, 12, 3\] \(film\).*Use batch_size=1"):
        collate([sample(0, 1), other])
    assert len(collate([other])) == 1


def test_needs_a_sample() -> None:
    with pytest.raises(ValueError, match="at least one"):
        collate([])


def test_moves() -> None:
    """To a device that no tensor is on yet; "meta" is one on every machine."""
    batch = collate([sample(0, 2), sample(1, 1)])
    moved = batch.to("meta")
    tensors = [moved.frames, *moved.boxes, moved.labels, moved.person_scores]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.clips.device.type == "meta"
    assert moved.keyframes == batch.keyframes
    assert batch.frames.device.type == "cpu"
    same = batch.to("cpu")
    assert torch.equal(same.frames, batch.frames)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only with a GPU is there page-locked memory")
def test_pins_memory() -> None:
    batch = collate([sample(0, 2)]).pin_memory()
    assert all(tensor.is_pinned() for tensor in (batch.frames, *batch.boxes, batch.labels, batch.person_scores))


def test_a_batch_is_a_value() -> None:
    batch = collate([sample(0, 1)])
    assert isinstance(replace(batch, indices=(3,)), Batch)
    with pytest.raises(AttributeError):
        batch.indices = (3,)  # type: ignore[misc]
