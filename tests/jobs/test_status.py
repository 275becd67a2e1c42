"""How jobs are, as Slurm, its accounts, or nobody tells."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from acrn_zoo.jobs import status
from acrn_zoo.jobs.place import Place
from acrn_zoo.jobs.record import JobFolder
from acrn_zoo.jobs.run_directory import RunDirectory
from acrn_zoo.jobs.task import JobError

Tools = Callable[..., None]
Note = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    found = RunDirectory(tmp_path / "run")
    found.make()
    return found


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    """Slurm's commands, each saying what it is told to, and nothing else on PATH but what they need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")

    def install(**scripts: str) -> None:
        for name in ("squeue", "sacct", "scancel"):
            path = folder / name
            path.write_text(f"#!/bin/bash\n{scripts.get(name, 'exit 1')}\n")
            path.chmod(0o755)

    return install


def states(run: RunDirectory) -> dict[str, str]:
    return {one.job.job_id: one.state for one in status.statuses(run)}


def test_queue_accounts_and_neither(run: RunDirectory, tools: Tools, note: Note) -> None:
    for number in range(5):
        note(run, f"12_{number}", str(number))
    JobFolder(run.root / "4").root.mkdir()
    JobFolder(run.root / "4").done.touch()
    queue = (
        "echo '12_0|RUNNING|None'; echo '12_1|PENDING|Resources (a|b)'; echo '7|RUNNING|None'; echo '12_4|RUNNING|None'"
    )
    tools(squeue=queue, sacct="echo '12_2|CANCELLED by 0'; echo '12_2.batch|FAILED'")
    expected = {"12_0": "RUNNING", "12_1": "PENDING", "12_2": "CANCELLED", "12_3": "ENDED", "12_4": "FINISHED"}
    assert states(run) == expected
    assert [one.is_going for one in status.statuses(run)] == [True, True, False, False, False]
    tools(squeue=queue)  # a cluster without accounts
    assert states(run) == {**expected, "12_2": "ENDED"}
    assert "12_1  PENDING    train (Resources (a|b))" in status.describe(run, status.statuses(run))


def test_slurm_does_not_answer(run: RunDirectory, tools: Tools, monkeypatch: pytest.MonkeyPatch, note: Note) -> None:
    note(run, "12")
    tools(squeue="echo 'slurm_load_jobs error: no controller' >&2; exit 1")
    with pytest.raises(JobError, match="does not say how the jobs are: slurm_load_jobs error: no controller"):
        status.statuses(run)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(JobError, match="there is no squeue on PATH"):
        status.statuses(run)


def test_waits_where_slurm_is_busy_or_files_come_late(
    run: RunDirectory, tools: Tools, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    note(run, "12")
    monkeypatch.setattr(status, "LOOK_EVERY", 0.01)
    count = run.root / "count"
    tools(
        squeue=f"echo >> {count}; case $(wc -l < {count}) in 1) exit 1;; 2) exit 1;; *) echo '12|COMPLETED|None';; esac"
    )
    monkeypatch.setattr(status, "DELAY", 0.3)
    assert [one.state for one in status.wait(run)] == ["COMPLETED"]
    assert len(count.read_text()) > 4
    tools(squeue="echo '12|COMPLETED|None'; touch $(dirname $0)/../run/DONE")
    monkeypatch.setattr(status, "DELAY", 60)
    assert [one.state for one in status.wait(run)] == ["FINISHED"]


def test_does_not_wait_for_ever_for_an_answer(
    run: RunDirectory, tools: Tools, monkeypatch: pytest.MonkeyPatch, note: Note
) -> None:
    note(run, "12")
    monkeypatch.setattr(status, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    tools(squeue="exit 1")
    with pytest.raises(JobError, match="does not say how the jobs are"):
        status.wait(run)


def test_what_failed_first_comes_first(run: RunDirectory, tools: Tools, place: Place, note: Note) -> None:
    note(run, "12", title="train small_world")
    folder = JobFolder(run.root)
    for rank, second in ((0, 20), (1, 10)):
        one = replace(place, rank=rank)
        folder.begin(one, {"attempt": 0, "rank": rank, "host": "node0", "gpu": "no GPU"})
        with pytest.raises(ValueError, match="of"), folder.failures_recorded(one):
            raise ValueError(f"of {rank}")
        os.utime(folder.failures / f"{one.name}.txt", (second, second))
    lines = ["job 12, start 1: rank 0", "srun: error: a: task 0: Killed", "job 12, start 2: rank 0"]
    lines += ["training: 3 %srun: error: node0: task 1: Killed", "srun: error: node0: tasks 0,2: Terminated", "srun: x"]
    (run.logs / "12_0_log.err").write_text("\n".join(lines))
    tools(squeue="echo '12|FAILED|NonZeroExitCode'")
    text = status.describe(run, status.statuses(run))
    assert text.startswith(
        "train small_world (job 12) has failed; the process that failed first:\nrank 1 of 2 on node0"
    )
    assert "ValueError: of 1" in text
    assert "of 0" not in text
    assert "of 1\nsrun: error: node0: task 1: Killed\nsrun: error: node0: tasks 0,2: Terminated\n\n" in text
    assert text.endswith("12  FAILED     train small_world (NonZeroExitCode), 2 of 2 processes have begun")


def test_last_words(run: RunDirectory, tools: Tools, note: Note) -> None:
    note(run, "12")
    tools(squeue="echo '12|OUT_OF_MEMORY|OutOfMemory'")
    assert "train (job 12) has ended: OUT_OF_MEMORY, and has written nothing" in status.describe(
        run, status.statuses(run)
    )
    (run.logs / "12_0_log.err").write_text("".join(f"line {number}\n" for number in range(99)) + "Killed\n")
    text = status.describe(run, status.statuses(run))
    assert "line 80\n" in text
    assert "line 79\n" not in text
    assert "Killed\n" in text


def test_last_words_of_a_process_that_failed_early(run: RunDirectory, tools: Tools, note: Note) -> None:
    """Before its task began, so that nobody has written its traceback down."""
    note(run, "12")
    tools(squeue="echo '12|FAILED|NonZeroExitCode'")
    (run.logs / "12_0_log.err").write_text("waiting\n")
    (run.logs / "12_1_log.err").write_text("Traceback (most recent call last):\nImportError: of rank 1\n")
    text = status.describe(run, status.statuses(run))
    assert f"{run.logs / '12_1_log.err'}:\nTraceback" in text
    assert "ImportError: of rank 1" in text


def test_logs(run: RunDirectory, note: Note) -> None:
    note(run, "12")
    (run.logs / "12_1_log.out").write_text("of rank 1\n")
    text = status.logs(run, 1)
    assert f"== {run.logs / '12_1_log.out'}\nof rank 1\n" in text
    assert "12_1_log.err\n(not there yet)" in text


def test_cancel(run: RunDirectory, tools: Tools, tmp_path: Path, note: Note) -> None:
    for number in range(2):
        note(run, str(number), str(number))
    tools(squeue="echo '0|COMPLETED|None'; echo '1|RUNNING|None'", scancel=f'echo "$@" > {tmp_path}/cancelled')
    assert [job.job_id for job in status.cancel(run)] == ["1"]
    assert (tmp_path / "cancelled").read_text() == "1\n"
    tools(squeue="echo '1|RUNNING|None'", scancel="echo 'not yours' >&2; exit 1")
    with pytest.raises(JobError, match="does not cancel: not yours"):
        status.cancel(run)


def test_processes_of_this_machine(run: RunDirectory, note: Note) -> None:
    script = "import time; print('ready', flush=True); time.sleep(60)  # submitit.local._local"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        note(run, str(process.pid), cluster="local")
        assert states(run) == {str(process.pid): "RUNNING"}
        assert len(status.cancel(run)) == 1
        assert process.wait() == -signal.SIGTERM
    assert states(run) == {str(process.pid): "ENDED"}
    line = {**json.loads(run.jobs.read_text()), "launched_on": "elsewhere"}
    run.jobs.write_text(json.dumps(line) + "\n")
    assert states(run) == {str(process.pid): "UNKNOWN, since it was started on elsewhere"}
    assert status.cancel(run) == []


def test_waits(run: RunDirectory, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, note: Note) -> None:
    monkeypatch.setattr("acrn_zoo.jobs.status.LOOK_EVERY", 0.01)
    note(run, "12")
    once = tmp_path / "once"
    tools(squeue=f"if [ -e {once} ]; then echo '12|FAILED|x'; else touch {once}; echo '12|RUNNING|None'; fi")
    assert [one.state for one in status.wait(run)] == ["FAILED"]
