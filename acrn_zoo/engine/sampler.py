"""Which clips make which batch of training, decided by seed and epoch alone."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from acrn_zoo.errors import UserError


class SamplerError(UserError, ValueError):
    """A dataset is too small for the batches that are asked of it."""


class TrainingSampler(Sampler[list[int]]):
    """The batches of one process: the ``batch_sampler`` of a ``DataLoader``.

    An epoch is one order of all samples, cut into global batches of ``clips_per_batch * world_size``; each process
    takes its piece of every one of them. The order depends on seed and epoch alone, so that a step sees the same
    clips however many processes share them, as long as the global batch is as large. What is left at the end, too
    little for a global batch, is left out of this epoch; the next has another order.

    Args:
        num_samples: in the dataset.
        clips_per_batch: in a batch of one process.
        seed: of the run.
        rank: of this process.
        world_size: number of processes.

    Raises:
        SamplerError: if there are fewer samples than a global batch takes.
        ValueError: if a number is none that makes sense.
    """

    def __init__(
        self, num_samples: int, clips_per_batch: int, *, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if clips_per_batch < 1 or not 0 <= rank < world_size or seed < 0:
            raise ValueError(
                f"clips_per_batch is {clips_per_batch}, seed {seed}, rank {rank} of {world_size}: expected at least "
                "1 clip, a seed from 0 on, and a rank below the number of processes"
            )
        self.num_samples = num_samples
        self.clips_per_batch = clips_per_batch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.set_epoch(0)
        if len(self) == 0:
            together = f" x {world_size} processes = {clips_per_batch * world_size}" if world_size > 1 else ""
            raise SamplerError(
                f"the dataset has {num_samples} keyframes, fewer than one batch takes ({clips_per_batch} clips"
                f"{together}): take smaller batches, or more data"
            )

    def __len__(self) -> int:
        """Batches of a whole epoch, the same number in every process."""
        return self.num_samples // (self.clips_per_batch * self.world_size)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Say what comes next.

        Args:
            epoch: which order of the samples, from 0 on.
            first_batch: so many batches of the epoch are done already, and are left out.

        Raises:
            ValueError: if there is no such epoch or batch.
        """
        if epoch < 0 or not 0 <= first_batch <= len(self):
            raise ValueError(
                f"epoch is {epoch}, first_batch {first_batch}: expected 0 or more, and at most {len(self)} batches"
            )
        self.epoch = epoch
        self.first_batch = first_batch

    def __iter__(self) -> Iterator[list[int]]:
        """The batches that are left of the epoch: indices of samples."""
        per_step = self.clips_per_batch * self.world_size
        order = epoch_order(self.num_samples, self.seed, self.epoch)
        for batch in range(self.first_batch, len(self)):
            start = batch * per_step + self.rank * self.clips_per_batch
            yield order[start : start + self.clips_per_batch]


def epoch_order(num_samples: int, seed: int, epoch: int) -> list[int]:
    """The numbers below ``num_samples`` in the order of one epoch; each order is as likely as another."""
    # The second word of the counter is 1: a stream that no sample draws its crops from, which all have it 0.
    key, counter = np.array([seed, epoch], dtype=np.uint64), np.array([0, 1, 0, 0], dtype=np.uint64)
    # Of NumPy's generators only the numbers from 0 to 1 are used, whose rule is the same in every version.
    random = np.random.Generator(np.random.Philox(key=key, counter=counter))
    return np.argsort(random.random(num_samples), kind="stable").tolist()
