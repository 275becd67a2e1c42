"""The job that submitit runs: every process of it, once or, where a cluster starts it again, several times.

It knows nothing of what its task does; see :mod:`acrn_zoo.jobs.task`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission

from acrn_zoo.engine.distributed import processes
from acrn_zoo.jobs.place import Place, facts_of, find_place, line_of, require_code, require_processes
from acrn_zoo.jobs.record import JobFolder
from acrn_zoo.jobs.stopping import StopRequest
from acrn_zoo.jobs.task import JobError, Task

MAX_STARTS = 5
"""So often a job may be stopped at the same point before it fails."""


@dataclass(frozen=True)
class Job:
    """A task, and what its processes have to be.

    Args:
        task: what is done.
        folder: where it is noted how that goes; of this job alone.
        num_processes: on all machines together.
        title: what people call it.
        code: the snapshot that has to run; None for whatever is imported.
    """

    task: Task
    folder: Path
    num_processes: int
    title: str
    code: Path | None = None

    def __call__(self) -> bool:
        """Do the task, as one of the processes.

        Returns:
            Whether it is finished. Where it was asked to stop, the first process does not return, but hands the job
            back to the cluster.
        """
        place = find_place()
        folder = JobFolder(self.folder)
        with StopRequest() as stop, folder.failures_recorded(place):
            if folder.done.exists():  # a cluster may start a job once more that has just ended
                _say(f"{self.title}: is finished, and there is nothing to do")
                return True
            self._begin(place, folder)
            # Inside, before the others hear of a failure because this process leaves them.
            with processes(self.task.device) as group, folder.failures_recorded(place):
                is_finished = self.task(group, stop)
                if place.rank == 0 and not is_finished:
                    self._require_progress(folder, place)
            if place.rank == 0 and is_finished:
                folder.finish(place)
            elif place.rank == 0:
                _say("All that is done is saved")
                stop.hand_back(waits=place.cluster == "slurm")
        return is_finished

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts into the queue again: the same, which goes on by itself from its files."""
        return DelayedSubmission(self)

    def _require_progress(self, folder: JobFolder, place: Place) -> None:
        """Break the circle of a job that its time limit ends again and again at the same point."""
        progress = self.task.progress()
        if progress is not None and folder.note_stop(place, progress) >= MAX_STARTS:
            raise JobError(
                f"The job was stopped {MAX_STARTS} times in a row without getting further. If that was its time limit, "
                "give the same command again with more --minutes; if it was preempted so often, give it again"
            )

    def _begin(self, place: Place, folder: JobFolder) -> None:
        facts = facts_of(place)
        folder.begin(place, facts)
        _say(line_of(facts))
        require_processes(place, self.num_processes)
        require_code(self.code)
        if place.cluster != "debug":  # which writes nothing
            _remove_half_written()


def _remove_half_written() -> None:
    """What a start that was killed while submitit wrote has left: submitit refuses to write beside it."""
    paths = JobEnvironment().paths
    for path in (paths.submitted_pickle, paths.result_pickle):
        path.with_suffix(f"{path.suffix}.save_tmp").unlink(missing_ok=True)


def _say(text: str) -> None:
    """A line in the log of this process."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
