"""Processes: their places, what they tell each other, and what goes wrong."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from rank_functions import fail_alone, talk
from ranks import environment_of, free_port, run_ranks

from acrn_zoo.engine import distributed
from acrn_zoo.engine.distributed import VARIABLES, DistributedError, Processes, processes
from acrn_zoo.errors import UserError
from acrn_zoo.predictor import DeviceError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def with_gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> list[torch.device]:
    """Make it look as if there were GPUs; the list tells which one was taken."""
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(distributed, "resolve_device", lambda name: torch.device("cuda" if name == "auto" else name))
    return taken


def enter(monkeypatch: pytest.MonkeyPatch, device: str = "cpu", **changes: str | None) -> Processes:
    environment = {**environment_of(0, 1, 29500), **changes}
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with processes(device) as group:
        return group


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_talk(world_size: int, tmp_path: Path) -> None:
    ranks = range(world_size)
    answers = run_ranks(talk, world_size, tmp_path)
    for rank, answer in enumerate(answers):
        assert answer == {
            "place": (rank, world_size, rank, "cpu", rank == 0),
            "there": [str(other) for other in ranks],
            "any": [False, True, True],
            "sum": [world_size, sum(ranks)],
            "mean": [1.0, pytest.approx(sum(ranks) / world_size)],
            "untouched": [1.0, rank],
            "gather_numbers": [[other, 0.1] for other in ranks],
            "gather": [["x" * other] for other in ranks],
            "on_main": True,
            "error": "the disk is full",
            "still": True,
            "left": True,
        }


def test_others_do_not_wait_for_one_that_failed() -> None:
    first, last = run_ranks(fail_alone, 2)
    assert isinstance(last, UserError)
    assert str(last) == "no such video"
    assert isinstance(first, RuntimeError)


def test_one_process_alone() -> None:
    with processes("cpu") as group:
        assert not dist.is_initialized()
        value = object()
        assert group.gather(value) == [value]
        assert group.gather_numbers([3, 0.1]) == [[3, 0.1]]
        assert group.on_main(lambda: value) is value
        assert (group.any(False), group.any(True)) == (False, True)
        tensor = torch.tensor([1.5])
        assert group.mean(tensor).tolist() == group.sum(tensor).tolist() == [1.5]
        group.barrier()
    assert group == Processes()


def test_one_process_of_torchrun_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    assert enter(monkeypatch) == Processes()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("RANK",), "has WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, but not RANK: several"),
        (("MASTER_ADDR", "MASTER_PORT"), "but not MASTER_ADDR and MASTER_PORT: .*torchrun.*or unset RANK, WORLD_SIZE"),
        (VARIABLES[1:], "has RANK, but not WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT"),
    ],
)
@pytest.mark.parametrize("emptied", [None, ""])
def test_half_an_environment(
    missing: tuple[str, ...], message: str, emptied: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DistributedError, match=message):
        enter(monkeypatch, **dict.fromkeys(missing, emptied))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": "one"}, "RANK is 'one' in the environment, expected a whole number from 0 on"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0' in the environment, expected a whole number from 1 on"),
        ({"MASTER_PORT": "-5"}, "MASTER_PORT is '-5'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2, LOCAL_RANK 0 and WORLD_SIZE 2 .*: expected LOCAL_RANK <= RANK"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, "RANK is 0, LOCAL_RANK 1"),
    ],
)
def test_nonsense_in_the_environment(changes: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DistributedError, match=message):
        enter(monkeypatch, **changes)


def test_processes_that_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "TIMEOUT", timedelta(seconds=1))
    port = free_port()
    message = rf"Process 0 of 2 does not find the others at 127\.0\.0\.1:{port} \(.*Is MASTER_ADDR"
    with pytest.raises(DistributedError, match=message):
        enter(monkeypatch, WORLD_SIZE="2", MASTER_PORT=str(port))
    assert not dist.is_initialized()


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_every_process_takes_its_gpu(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = with_gpus(monkeypatch, 2)
    met: list[tuple[int, int, torch.device]] = []
    monkeypatch.setattr(distributed, "_meet", lambda *place: met.append(place))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    group = enter(monkeypatch, device, RANK="5", WORLD_SIZE="6", LOCAL_RANK="1")
    second = torch.device("cuda:1")
    assert (group, taken, met) == (Processes(5, 6, 1, second), [second], [(5, 6, second)])
    with pytest.raises(DeviceError, match="LOCAL_RANK is 2, but this machine shows 2 GPUs.*--nproc-per-node 2"):
        enter(monkeypatch, device, RANK="5", WORLD_SIZE="6", LOCAL_RANK="2")
    with pytest.raises(DeviceError, match="device is 'cuda:0': several processes take one GPU each"):
        enter(monkeypatch, "cuda:0", RANK="1", WORLD_SIZE="2", LOCAL_RANK="1")


@pytest.mark.parametrize("is_gpu", [False, True])
def test_backend_follows_the_device(is_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, int(is_gpu))
    started: list[tuple[str, object]] = []
    monkeypatch.setattr(
        dist, "init_process_group", lambda backend, **options: started.append((backend, options["device_id"]))
    )
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    enter(monkeypatch, "auto", WORLD_SIZE="2")
    assert started == [("nccl", torch.device("cuda:0")) if is_gpu else ("gloo", None)]


def test_no_gpu_where_one_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="'cuda:1' cannot be used"), processes("cuda:1"):
        pass
    with pytest.raises(DeviceError, match="'cuda:0' cannot be used"):
        enter(monkeypatch, "cuda", WORLD_SIZE="2")


SCRIPT = """
import sys
from acrn_zoo.engine.distributed import processes
from acrn_zoo.errors import UserError

with processes("cpu") as group:
    if sys.argv[2] == str(group.rank):
        raise UserError("no such video")
    group.barrier()
    open(sys.argv[1] + str(group.rank), "w").write(f"{group.world_size} {group.local_rank}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["none", "1"])
def test_torchrun(failing: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [sys.executable, *command, "script.py", f"{tmp_path}/out", failing],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    written = {path.name: path.read_text() for path in tmp_path.glob("out*")}
    if failing == "none":
        assert ended.returncode == 0, ended.stderr
        assert written == {"out0": "2 0", "out1": "2 1"}
    else:
        assert ended.returncode == 1
        assert "no such video" in ended.stderr
        assert written == {}
