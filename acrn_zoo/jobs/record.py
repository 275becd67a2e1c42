"""The folder of a job: where its processes ran, how they failed, and whether it is done.

::

    FOLDER/ranks/JOB.ATTEMPT.RANK.json       where each process runs
    FOLDER/failures/JOB.ATTEMPT.RANK.txt     the traceback of a process that failed
    FOLDER/DONE                              the job is finished: a further start has nothing to do
    FOLDER/stops.json                        how far it was when it was last stopped, and how often in a row
"""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from acrn_zoo.errors import UserError
from acrn_zoo.files import replacing, write_json
from acrn_zoo.jobs.place import Place

ECHO = "after another process"


class JobFolder:
    """The folder of a job; see the head of this module.

    Args:
        root: the folder. Its parts are made when they are needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ranks = root / "ranks"
        self.failures = root / "failures"
        self.done = root / "DONE"
        self.stops = root / "stops.json"

    def begin(self, place: Place, facts: dict[str, Any]) -> None:
        """Note where a process runs.

        Raises:
            OutputError: if that cannot be written.
        """
        for folder in (self.ranks, self.failures):
            folder.mkdir(parents=True, exist_ok=True)
        self._failure_of(place).unlink(missing_ok=True)  # of a start that had the same number
        write_json(self.ranks / f"{place.name}.json", facts)

    @contextmanager
    def failures_recorded(self, place: Place) -> Iterator[None]:
        """Write the traceback of an error that leaves the block, unless it is written already."""
        try:
            yield
        except Exception as error:
            path = self._failure_of(place)
            if not path.exists():
                echo = f", {ECHO}" if isinstance(error, UserError) and error.is_echo else ""
                head = f"rank {place.rank} of {place.num_processes} on {place.host}, {now()}{echo}"
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as partial:
                    partial.write_text(f"{head}\n{traceback.format_exc()}", encoding="utf-8")
            raise

    def finish(self, place: Place) -> None:
        """Say that the job is finished."""
        with replacing(self.done) as partial:
            partial.write_text(f"job {place.job_id}, {now()}\n", encoding="utf-8")

    def note_stop(self, place: Place, progress: int) -> int:
        """Note how far the job was when it was stopped.

        Returns:
            How many starts of it in a row, this one included, were stopped there.
        """
        try:
            before = json.loads(self.stops.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        is_same = (before.get("job_id"), before.get("progress")) == (place.job_id, progress)
        times = before["times"] + 1 if is_same else 1
        write_json(self.stops, {"job_id": place.job_id, "progress": progress, "times": times})
        return times

    def places(self, job_id: str) -> list[dict[str, Any]]:
        """What the processes of the last start of a job have told of themselves, in the order of their ranks."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.ranks.glob(f"{job_id}.*.json"))]
        last = max((facts["attempt"] for facts in found), default=0)
        return [facts for facts in found if facts["attempt"] == last]

    def failed(self, job_id: str) -> list[str]:
        """The tracebacks of the last start of a job, the one that came first at the head.

        Those of processes that only heard of it come behind.
        """
        last = max((facts["attempt"] for facts in self.places(job_id)), default=0)
        # By the time of the file system: clocks of machines differ.
        paths = sorted(self.failures.glob(f"{job_id}.{last}.*.txt"), key=lambda path: path.stat().st_mtime_ns)
        texts = [path.read_text(encoding="utf-8") for path in paths]
        return sorted(texts, key=lambda text: ECHO in text.partition("\n")[0])

    def _failure_of(self, place: Place) -> Path:
        return self.failures / f"{place.name}.txt"


def now() -> str:
    """The time, as people and programs read it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
