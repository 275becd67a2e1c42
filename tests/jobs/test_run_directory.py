"""The directory of a run, as the launcher keeps it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from acrn_zoo.files import OutputError
from acrn_zoo.jobs.run_directory import RunDirectory
from acrn_zoo.jobs.task import JobError


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "runs" / "one")


def test_usable(run: RunDirectory) -> None:
    run.require_usable()
    assert not run.root.exists()
    run.make()
    run.require_usable()


def test_a_file_in_the_way(run: RunDirectory) -> None:
    run.root.parent.touch()
    with pytest.raises(OutputError, match="runs/one cannot be written to: choose another with --out"):
        run.require_usable()
    with pytest.raises(OutputError, match="runs/one cannot be made"):
        run.make()


def test_no_right(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        run.require_usable()


def test_name_that_slurm_replaces(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="has a % in its name"):
        RunDirectory(tmp_path / "50%").require_usable()


@pytest.mark.parametrize(
    ("root", "is_doubted"), [("/tmp/x", True), ("/dev/shm/x", True), ("/own/x", True), ("/x", False)]
)
def test_folders_that_machines_do_not_share(root: str, is_doubted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/own")
    assert bool(RunDirectory(Path(root)).doubt()) == is_doubted


def test_config(run: RunDirectory) -> None:
    run.settle_config({"a": 1, "b": (1, 2)})
    run.settle_config({"a": 1, "b": (1, 2)})
    with pytest.raises(JobError, match=r"another run \(a: 1 before, 2 now; c: None before, 3 now\)"):
        run.settle_config({"a": 2, "b": [1, 2], "c": 3})
    assert json.loads(run.config.read_text()) == {"a": 1, "b": [1, 2]}


def test_launches(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run.make()
    with pytest.raises(JobError, match="is no directory of a run that was launched"):
        run.last_launch()
    for epochs in "12":
        run.add_launch(["--epochs", epochs], tmp_path, run.code / "abc")
    last = run.last_launch()
    assert last["command"] == ["--epochs", "2"]
    assert (last["folder"], last["code"]) == (str(tmp_path), str(run.code / "abc"))
    assert sorted(path.name for path in run.launches.iterdir()) == ["001", "002"]
    assert any(line.startswith("torch==") for line in (run.launches / "001/packages.txt").read_text().splitlines())
    assert (run.launches / "001" / "git.diff").read_text() == ""


def test_commit_and_changes(run: RunDirectory, tmp_path: Path) -> None:
    source = tmp_path / "checkout"
    source.mkdir()
    (source / "code.py").write_text("old\n")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "First of all"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    (source / "code.py").write_text("new\n")
    run.make()
    run.add_launch([], source, run.code)
    assert "First of all\n M code.py" in (run.launches / "001/git.txt").read_text()
    assert "\n-old\n+new\n" in (run.launches / "001/git.diff").read_text()

    run.add_launch([], source, run.code / "abc")
    run.add_launch(["again"], run.code / "abc", run.code / "abc")  # from the snapshot, which is in no repository
    for name in ("git.txt", "git.diff"):
        assert (run.launches / "003" / name).read_text() == (run.launches / "002" / name).read_text() != ""


def test_one_launch_at_a_time(run: RunDirectory) -> None:
    try_to = (
        "import sys; from pathlib import Path; from acrn_zoo.jobs.run_directory import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).locked(): pass"
    )
    command = [sys.executable, "-c", try_to, str(run.root)]
    with run.locked():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another command is launching jobs" in done.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_jobs(run: RunDirectory, note: Callable[..., None]) -> None:
    with pytest.raises(JobError, match="has no jobs"):
        run.submitted()
    run.make()
    note(run, "1")
    note(run, "2", "evaluation")
    note(run, "3", launch=2)
    assert [(job.job_id, job.folder) for job in run.submitted()] == [("2", "evaluation"), ("3", ".")]


def test_jobs_that_share_what_others_shared_before(run: RunDirectory, note: Callable[..., None]) -> None:
    run.make()
    for job_id, folder, launch in (("1_0", "parts/1", 1), ("1_1", "parts/2", 1), ("2", "parts/1", 2)):
        note(run, job_id, folder, launch=launch, group=".")
    assert [job.job_id for job in run.submitted()] == ["2"]
