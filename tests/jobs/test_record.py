"""What jobs leave in their folders, and what is read from it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from acrn_zoo.errors import UserError
from acrn_zoo.jobs.place import Place
from acrn_zoo.jobs.record import JobFolder


def fail(folder: JobFolder, place: Place, error: Exception, seconds: int) -> None:
    with pytest.raises(type(error)), folder.failures_recorded(place), folder.failures_recorded(place):
        raise error
    path = folder.failures / f"{place.name}.txt"
    os.utime(path, (seconds, seconds))


def test_done(tmp_path: Path, place: Place) -> None:
    folder = JobFolder(tmp_path)
    assert not folder.done.exists()
    folder.finish(place)
    assert folder.done.read_text().startswith("job 12, 20")


def test_failures_in_the_order_of_their_times(tmp_path: Path, place: Place) -> None:
    folder = JobFolder(tmp_path)
    for rank, second in enumerate((30, 10, 20)):
        one = replace(place, rank=rank)
        folder.begin(one, {"attempt": 0, "rank": rank})
        fail(folder, one, ValueError(f"of {rank}"), second)
    texts = folder.failed("12")
    assert [text.splitlines()[-1] for text in texts] == ["ValueError: of 1", "ValueError: of 2", "ValueError: of 0"]
    assert texts[0].startswith("rank 1 of 2 on node0, ")
    assert "Traceback" in texts[0]
    assert folder.failed("13") == []


def test_echoes_come_last(tmp_path: Path, place: Place) -> None:
    folder, echo = JobFolder(tmp_path), UserError("heard")
    echo.is_echo = True
    fail(folder, replace(place, rank=0), echo, 10)
    fail(folder, place, UserError("said"), 20)
    assert [text.splitlines()[-1].split()[-1] for text in folder.failed("12")] == ["said", "heard"]


def test_only_the_last_start_counts(tmp_path: Path, place: Place) -> None:
    folder = JobFolder(tmp_path)
    for attempt in range(2):
        folder.begin(replace(place, attempt=attempt), {"attempt": attempt, "rank": 1})
        if attempt == 0:
            fail(folder, place, ValueError("once"), 10)
            assert len(folder.failed("12")) == 1
    assert folder.failed("12") == []
    assert folder.places("12") == [{"attempt": 1, "rank": 1}]


def test_a_start_of_the_same_number_forgets(tmp_path: Path, place: Place) -> None:
    folder = JobFolder(tmp_path)
    folder.begin(place, {"attempt": 0})
    fail(folder, place, ValueError("once"), 10)
    folder.begin(place, {"attempt": 0})
    assert folder.failed("12") == []
