"""The directory of a run, as the launcher keeps it.

::

    DIR/config.json           the resolved settings
    DIR/launches/001/         a launch: command.json, git.txt, git.diff, packages.txt
    DIR/jobs.jsonl            the jobs, a line each
    DIR/logs/                 submitit's: what every process of a job writes, JOB_RANK_log.out and .err
    DIR/code/                 snapshots of the code

and what the jobs write: :mod:`acrn_zoo.jobs.record` and the tasks.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from acrn_zoo.files import OutputError, try_lock, write_json
from acrn_zoo.jobs.record import now
from acrn_zoo.jobs.task import JobError

NODE_LOCAL = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - to warn of them


@dataclass(frozen=True)
class Submitted:
    """A job that was submitted.

    Args:
        job_id: of the cluster.
        cluster: slurm, local or debug.
        title: what people call it.
        folder: of the job, relative to that of the run.
        group: what it is the whole of, or a share of, which is shared out anew with every launch.
        launch: the number of the launch.
        num_processes: how many it was submitted for.
        launched_on: the machine.
        submitted_at: the time.
    """

    job_id: str
    cluster: str
    title: str
    folder: str
    group: str
    launch: int
    num_processes: int
    launched_on: str
    submitted_at: str


class RunDirectory:
    """The directory of a run; see the head of this module.

    Args:
        root: the directory. It need not be there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.config = self.root / "config.json"
        self.launches = self.root / "launches"
        self.jobs = self.root / "jobs.jsonl"
        self.logs = self.root / "logs"
        self.code = self.root / "code"

    def require_usable(self) -> None:
        """Refuse a directory that jobs could not write to; nothing is made.

        Raises:
            OutputError: if it, or the nearest that is there, is no folder, or not writable.
            JobError: if Slurm would take its name for another.
        """
        if "%" in str(self.root):
            raise JobError(f"The run directory {self.root} has a % in its name, which Slurm replaces: choose another")
        nearest = next(path for path in (self.root, *self.root.parents) if path.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            raise OutputError(f"The run directory {self.root} cannot be written to: choose another with --out")

    def doubt(self) -> str:
        """Why the machines of a cluster may not see the directory, in one sentence; empty if nothing speaks for it."""
        own = os.environ.get("TMPDIR")
        for folder in (*NODE_LOCAL, *([Path(own)] if own else [])):
            if self.root.resolve().is_relative_to(folder.resolve()):
                return (
                    f"the run directory {self.root} lies in {folder}, which on most clusters is another one on every "
                    "machine: jobs then end without a word. Choose one that all of them share"
                )
        return ""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from launching in the directory meanwhile.

        Raises:
            JobError: if somebody is just doing that.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "launch.lock").open("w") as file:
            if not try_lock(file):
                raise JobError(f"Another command is launching jobs in {self.root} at this moment: look with --status")
            yield

    def settle_config(self, config: dict[str, Any]) -> None:
        """Note the settings of the run, or make sure that they are those that are noted.

        Raises:
            JobError: if it holds another run, with what differs.
            OutputError: if they cannot be written.
        """
        plain = json.loads(json.dumps(config))
        if self.config.exists():
            old = json.loads(self.config.read_text(encoding="utf-8"))
            old, plain = _entries(old), _entries(plain)
            changed = sorted(name for name in {*old, *plain} if old.get(name) != plain.get(name))
            if changed:
                listed = "; ".join(
                    f"{name}: {old.get(name)!s:.100} before, {plain.get(name)!s:.100} now" for name in changed
                )
                raise JobError(f"{self.root} holds another run ({listed:.500}): choose another directory with --out")
            return
        self.make()
        write_json(self.config, plain)

    def make(self) -> None:
        """Make the directory, with the folders of the launcher.

        Raises:
            OutputError: if that is not possible.
        """
        try:
            for folder in (self.launches, self.logs, self.code):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The run directory {self.root} cannot be made: {error.strerror or error}") from error

    def add_launch(self, command: Sequence[str], source: Path, code: Path) -> int:
        """Note a command, and what it runs on.

        Args:
            command: the arguments of the launcher.
            source: the code that was launched from; of a git repository, its commit and changes are noted.
            code: the snapshot.

        Returns:
            The number of the launch.
        """
        folder = self._next_launch()
        taken = [path for path in sorted(self.launches.glob("*/command.json")) if _code_of(path) == code.resolve()]
        if source.resolve() == code.resolve() and taken:  # launched from a snapshot: its origin is that of the first
            for name in ("git.txt", "git.diff"):
                shutil.copyfile(taken[0].with_name(name), folder / name)
        else:
            commit = _git(source, "log", "-1", "--format=%H %cI %s")
            status = _git(source, "status", "--short")
            (folder / "git.txt").write_text(f"{commit}{status}", encoding="utf-8")
            (folder / "git.diff").write_text(_git(source, "diff", "HEAD"), encoding="utf-8")
        packages = sorted({f"{one.metadata['Name']}=={one.version}" for one in distributions()})
        (folder / "packages.txt").write_text("\n".join(packages) + "\n", encoding="utf-8")
        content = {"command": list(command), "folder": str(Path.cwd()), "code": str(code), "time": now()}
        write_json(folder / "command.json", content)  # last, so that a launch that has one is whole
        return int(folder.name)

    def last_launch(self) -> dict[str, Any]:
        """The command of the last launch, the folder that it was given in, and the code.

        Raises:
            JobError: if there is none.
        """
        commands = sorted(self.launches.glob("*/command.json"))
        if not commands:
            raise JobError(f"{self.root} is no directory of a run that was launched: it has no launches/*/command.json")
        content: dict[str, Any] = json.loads(commands[-1].read_text(encoding="utf-8"))
        return content

    def add_job(self, job: Submitted) -> None:
        """Note a job that was submitted."""
        with self.jobs.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(job)) + "\n")

    def submitted(self) -> list[Submitted]:
        """The jobs of the run that count: of each group those of the last launch that had any.

        Raises:
            JobError: if this is no directory of a run.
        """
        if not self.jobs.exists():
            raise JobError(f"{self.root} has no jobs: was this the run directory of a launch?")
        jobs = [Submitted(**json.loads(line)) for line in self.jobs.read_text(encoding="utf-8").splitlines()]
        last = {job.group: job.launch for job in jobs}
        return [job for job in jobs if job.launch == last[job.group]]

    def _next_launch(self) -> Path:
        number = 1 + len(list(self.launches.iterdir()))
        while True:
            folder = self.launches / f"{number:03d}"
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder


def _code_of(command: Path) -> Path:
    """The snapshot of a launch, by whatever links it was named then."""
    return Path(json.loads(command.read_text(encoding="utf-8"))["code"]).resolve()


def _entries(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with those of the facts one by one."""
    facts = settings.get("facts")
    return {**settings, "facts": None, **facts} if isinstance(facts, dict) else settings


def _git(folder: Path, *command: str) -> str:
    """What git says; nothing where the folder is of no repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(
        [git, *command], cwd=folder, capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    return done.stdout if done.returncode == 0 else ""
