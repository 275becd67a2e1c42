"""The order of training: from seed and epoch alone, the same for any number of processes, resumed anywhere."""

import numpy as np
import pytest

from acrn_zoo.data.transforms import sample_random
from acrn_zoo.engine.sampler import SamplerError, TrainingSampler, epoch_order

NUM_SAMPLES = 50


def epoch_of(sampler: TrainingSampler, epoch: int, first_batch: int = 0) -> list[list[int]]:
    sampler.set_epoch(epoch, first_batch)
    return list(sampler)


@pytest.mark.parametrize(("clips_per_batch", "world_size"), [(12, 1), (6, 2), (4, 3), (1, 12)])
def test_a_step_sees_the_same_clips_whatever_the_processes(clips_per_batch: int, world_size: int) -> None:
    samplers = [
        TrainingSampler(NUM_SAMPLES, clips_per_batch, seed=3, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    shares = [epoch_of(sampler, 1) for sampler in samplers]
    steps = [[index for batch in step for index in batch] for step in zip(*shares, strict=True)]
    order = epoch_order(NUM_SAMPLES, 3, 1)
    assert steps == [order[start : start + 12] for start in (0, 12, 24, 36)]
    assert all(len(sampler) == 4 for sampler in samplers)


def test_golden_order() -> None:
    """A run that was started with another version goes on with the same data."""
    order = [0, 1, 6, 5, 3, 7, 2, 4]
    assert epoch_order(8, 0, 0) == order
    assert epoch_of(TrainingSampler(8, 4), 0) == [order[:4], order[4:]]


def test_every_epoch_and_seed_has_its_order() -> None:
    orders = [tuple(epoch_order(NUM_SAMPLES, seed, epoch)) for seed in range(5) for epoch in range(5)]
    assert len(set(orders)) == len(orders)
    assert all(sorted(order) == list(range(NUM_SAMPLES)) for order in orders)
    assert epoch_of(TrainingSampler(NUM_SAMPLES, 4, seed=2), 3) == epoch_of(TrainingSampler(NUM_SAMPLES, 4, seed=2), 3)


def test_every_sample_comes_anywhere() -> None:
    """Of 2000 epochs, how often each of five samples comes first: 400 times, within five standard deviations."""
    firsts = np.bincount([epoch_order(5, 0, epoch)[0] for epoch in range(2000)], minlength=5)
    assert (abs(firsts - 400) < 5 * np.sqrt(400 * 0.8)).all()


def test_order_and_crops_share_no_numbers() -> None:
    order = epoch_order(NUM_SAMPLES, 0, 0)
    for index in range(NUM_SAMPLES):
        drawn = sample_random(0, 0, index).random(NUM_SAMPLES)
        assert np.argsort(drawn, kind="stable").tolist() != order


@pytest.mark.parametrize("first_batch", [0, 1, 11, 12])
def test_goes_on_in_the_middle(first_batch: int) -> None:
    sampler = TrainingSampler(NUM_SAMPLES, 4)
    whole = epoch_of(sampler, 2)
    assert epoch_of(sampler, 2, first_batch) == whole[first_batch:]
    assert len(sampler) == len(whole) == 12
    assert epoch_of(sampler, 3) == epoch_of(TrainingSampler(NUM_SAMPLES, 4), 3)  # the next is whole again


def test_too_few_samples() -> None:
    assert len(TrainingSampler(8, 4, world_size=2)) == 1
    with pytest.raises(SamplerError, match=r"has 7 keyframes, fewer .* \(4 clips x 2 processes = 8\): take smaller"):
        TrainingSampler(7, 4, world_size=2)
    with pytest.raises(SamplerError, match=r"has 0 keyframes, fewer than one batch takes \(4 clips\)"):
        TrainingSampler(0, 4)


@pytest.mark.parametrize(
    "wrong", [{"clips_per_batch": 0}, {"rank": 2, "world_size": 2}, {"rank": -1}, {"seed": -1}, {"world_size": 0}]
)
def test_numbers_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1 clip, a seed"):
        TrainingSampler(**{"num_samples": 8, "clips_per_batch": 2, **wrong})


@pytest.mark.parametrize(("epoch", "first_batch"), [(-1, 0), (0, -1), (0, 5)])
def test_epochs_that_there_are_not(epoch: int, first_batch: int) -> None:
    with pytest.raises(ValueError, match="at most 4 batches"):
        TrainingSampler(8, 2).set_epoch(epoch, first_batch)
