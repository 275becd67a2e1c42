"""Facts of clusters."""

from pathlib import Path

import pytest

from acrn_zoo.jobs.profiles import Profile, ProfileError, read_profile

SHIPPED = Path(__file__).resolve().parents[2] / "slurm" / "profiles.toml"

FULL = """
[full]
partition = "gpu"
account = "us"
qos = "high"
constraint = "a100"
exclude = ["node1", "node2"]
memory = 0
cpus_per_task = 6
minutes = 60
signal_seconds = 90
mail = "me@example.org"
setup = ["module load cuda"]
extra = { reservation = "mine", exclusive = true, nice = 5 }
data = { small_world = "/data/small" }
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    return path


def test_all_keys(tmp_path: Path) -> None:
    assert read_profile(write(tmp_path, FULL), "full") == Profile(
        partition="gpu",
        account="us",
        qos="high",
        constraint="a100",
        exclude=("node1", "node2"),
        memory=0,
        cpus_per_task=6,
        minutes=60,
        signal_seconds=90,
        mail="me@example.org",
        setup=("module load cuda",),
        extra={"reservation": "mine", "exclusive": True, "nice": 5},
        data={"small_world": "/data/small"},
    )


def test_shipped_profiles() -> None:
    assert read_profile(SHIPPED, "default") == Profile(cpus_per_task=8)
    assert read_profile(SHIPPED, "preemptible").partition == "preemptible"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gpu]\n[cpu]\n", "'full' is no profile of .*: expected one of gpu, cpu$"),
        ("", "expected one of none, it is empty"),
        ("full = 3", "full stands outside of all profiles"),
        ("[full]\npartitions = 'x'", "has partitions: expected some of partition, account, "),
        ("[full]\nminutes = '60'", "minutes of 'full' is '60', expected a whole number above 0"),
        ("[full]\nminutes = 0", "minutes of 'full' is 0, expected"),
        ("[full]\nminutes = true", "minutes of 'full' is True, expected"),
        ("[full]\nmemory = -1", "memory of 'full' is -1, expected"),
        ("[full]\npartition = 3", "partition of 'full' is 3, expected text"),
        ("[full]\nexclude = 'node1'", "exclude of 'full' is 'node1', expected a list of texts"),
        ("[full]\nsetup = [1]", "setup of 'full' is .1., expected a list of texts"),
        ("[full.extra]\nnice = false", "extra of 'full' is .*, expected a table of plain values"),
        ("[full.extra]\nnice = 0.5", "extra of 'full' is .*, expected a table of plain values"),
        ("[full.data]\nsmall_world = 1", "data of 'full' is .*, expected a table of texts"),
        ("[full", "is not TOML"),
    ],
)
def test_wrong_profiles(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        read_profile(write(tmp_path, text), "full")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="none.toml cannot be read"):
        read_profile(tmp_path / "none.toml", "full")
