"""What the processes of the tests of :mod:`acrn_zoo.engine.distributed` do."""

import os
from pathlib import Path

import torch
import torch.distributed as dist

from acrn_zoo.engine.distributed import processes
from acrn_zoo.errors import UserError


def talk(folder: Path) -> dict[str, object]:
    """Everything that processes can tell each other."""
    with processes("cpu") as group:
        (folder / str(group.rank)).touch()
        group.barrier()
        own = torch.tensor([1.0, float(group.rank)])
        answers = {
            "place": (group.rank, group.world_size, group.local_rank, group.device.type, group.is_main),
            "there": sorted(path.name for path in folder.iterdir()),
            "any": [group.any(False), group.any(group.rank == 1), group.any(True)],
            "sum": group.sum(own).tolist(),
            "mean": group.mean(own).tolist(),
            "untouched": own.tolist(),
            "gather_numbers": group.gather_numbers([group.rank, 0.1]),
            "gather": group.gather(["x" * group.rank]),
            "on_main": group.on_main(lambda: os.getpid()) == group.gather(os.getpid())[0],
        }
        try:
            group.on_main(_give_up)
        except UserError as error:
            answers["error"] = str(error)
        answers["still"] = group.any(group.rank == 1)
    return {**answers, "left": not dist.is_initialized()}


def fail_alone() -> bool:
    """The last process gives up while the others wait for it."""
    try:
        with processes("cpu") as group:
            if group.rank == group.world_size - 1:
                raise UserError("no such video")
            group.barrier()
    finally:
        assert not dist.is_initialized()
    return True


def _give_up() -> None:
    raise UserError("the disk is full")
