"""``acrn-zoo data ava``: what it prints and returns; the work itself is tested in test_ava_download.py."""

from pathlib import Path
from typing import Any

import pytest

from acrn_zoo.ava_download import AvaSummary
from acrn_zoo.cli import data_ava, main


def told(monkeypatch: pytest.MonkeyPatch, **summary: Any) -> dict[str, Any]:
    """What the verb asks for, when this comes of it."""
    asked: dict[str, Any] = {}
    values = {"fetched": (), "failures": {}, "num_films": 299, "films_here": 0, "is_complete": True, **summary}

    def fetch(root: Path, **options: Any) -> AvaSummary:
        asked.update(root=root, **options)
        return AvaSummary(root=root, **values)

    monkeypatch.setattr(data_ava, "fetch_ava", fetch)
    return asked


def test_says_what_is_there_and_what_is_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = told(monkeypatch, fetched=("ava_v2.2.zip",), films_here=3)
    assert main(["data", "ava", "films"]) == 0
    assert asked == {
        "root": Path("films"), "version": "2.2", "with_videos": False, "num_jobs": 4, "url_base": None, "accepted": (),
    }  # fmt: skip
    output = capsys.readouterr().out
    assert "Fetched: ava_v2.2.zip" in output
    assert "Films: 3 of 299" in output
    assert "--videos (160 GB in all)" in output
    assert "Next: acrn-zoo data check films" in output


def test_a_failure_is_the_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told(monkeypatch, failures={"ava_v2.2.zip": "no network."}, num_films=0, is_complete=False)
    assert main(["data", "ava", "films"]) == 1
    output = capsys.readouterr().out
    assert "FAILED  ava_v2.2.zip: no network." in output
    assert "Run the same command again to continue." in output
    assert "Next" not in output


def test_the_options_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = told(monkeypatch, films_here=299)
    options = ["--version", "2.1", "--videos", "--jobs", "8", "--from", "http://mirror/ava", "--accept", "a.csv"]
    assert main(["data", "ava", "films", *options]) == 0
    del asked["root"]
    assert list(asked.values()) == ["2.1", True, 8, "http://mirror/ava", ["a.csv"]]
