"""Where a process runs, as clusters tell it."""

import os
from pathlib import Path

import pytest
from submitit.helpers import environment_variables

from acrn_zoo.jobs.place import Place, facts_of, find_place, line_of, require_code, require_processes
from acrn_zoo.jobs.task import JobError

SLURM = {
    "SUBMITIT_EXECUTOR": "slurm",
    "SLURM_JOB_ID": "15",
    "SLURM_ARRAY_JOB_ID": "12",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_NTASKS": "16",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "11",
    "SLURM_LOCALID": "3",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
    "SLURM_RESTART_COUNT": "2",
}


@pytest.mark.usefixtures("local_job")
def test_on_slurm() -> None:
    with environment_variables(**SLURM):
        place = find_place()
    assert (place.cluster, place.job_id, place.attempt) == ("slurm", "12_3", 2)
    assert (place.rank, place.num_processes, place.local_rank) == (11, 16, 3)
    assert place.name == "12_3.2.011"
    assert os.environ["MASTER_ADDR"] == "gpu07"
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"]) == ("11", "16", "3")


@pytest.mark.usefixtures("local_job")
def test_all_processes_meet_at_one_place() -> None:
    found = set()
    for rank in range(2):
        os.environ.pop("MASTER_PORT", None)
        with environment_variables(**{**SLURM, "SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)}):
            find_place()
        found.add((os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]))
    assert len(found) == 1


@pytest.mark.usefixtures("local_job")
def test_facts() -> None:
    facts = facts_of(find_place())
    assert (facts["job_id"], facts["rank"], facts["cluster"]) == ("77", 0, "local")
    assert set(facts["versions"]) == {"acrn_zoo", "python", "torch", "cuda"}
    assert line_of(facts).startswith("job 77, start 1: rank 0 of 1 on ")


@pytest.mark.parametrize("num_processes", [1, 3])
def test_wrong_number_of_processes(place: Place, num_processes: int) -> None:
    require_processes(place, 2)
    with pytest.raises(JobError, match=f"for {num_processes} processes, and slurm has started 2"):
        require_processes(place, num_processes)


def test_other_code(tmp_path: Path) -> None:
    require_code(None)
    require_code(Path(__file__).resolve().parents[2])
    with pytest.raises(JobError, match="in place of its snapshot"):
        require_code(tmp_path)
