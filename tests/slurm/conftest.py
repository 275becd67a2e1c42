"""A cluster, a small world, and the launcher."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_case import Launcher, SlurmRun
from throwaway_slurm import ThrowawaySlurm, why_not

from acrn_zoo.data.synthetic.small_world import SmallWorld, write_small_world

VIDEOS = 10  # of four clips
EPOCHS = 10  # of four steps


@pytest.fixture(scope="session")
def slurm() -> Iterator[ThrowawaySlurm]:
    if reason := why_not():
        pytest.skip(f"needs a real Slurm: {reason}")
    with ThrowawaySlurm() as cluster:
        yield cluster


@pytest.fixture
def launch(slurm: ThrowawaySlurm, tmp_path: Path) -> Launcher:
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(
        "[default]\npartition = 'debug'\nminutes = 60\nsignal_seconds = 5\n"
        "[low]\npartition = 'low'\nminutes = 60\nsignal_seconds = 5\n"
    )
    return Launcher(slurm, profiles)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    write_small_world(root, SmallWorld(splits={"train": VIDEOS, "val": 2}, side=64), num_processes=1)
    return root


@pytest.fixture(scope="session")
def training(world: Path) -> tuple[object, ...]:
    """The flags of a training of seconds; how many processes there are has to be said."""
    # With momentum alone, since AdamW makes whole steps of what is only rounding.
    return (
        *("--train", "small_world", "--data", world, "--device", "cpu", "--no-tensorboard"),
        *("--epochs", EPOCHS, "--validate-every", EPOCHS, "--save-every", 7, "--relation-channels", 16),
        *("--optimizer", "sgd", "--learning-rate", 0.02),
    )


@pytest.fixture(scope="session")
def two_processes(training: tuple[object, ...]) -> tuple[object, ...]:
    return (*training, *("--gpus-per-node", 0, "--tasks-per-node", 2), "--clips-per-process", 4)


@pytest.fixture(scope="session")
def uninterrupted(
    slurm: ThrowawaySlurm, two_processes: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> SlurmRun:
    """Two processes on one node, left in peace."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "profiles.toml").write_text("[default]\npartition = 'debug'\n")
    said = Launcher(slurm, folder / "profiles.toml")(*two_processes, "--out", folder / "run", "--wait")
    assert "FINISHED" in said
    return SlurmRun(folder / "run")
