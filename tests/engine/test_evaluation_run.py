"""An evaluation from what was asked for to its numbers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluation_case import NAMES, create_model, evaluate_case, write_case

from acrn_zoo.data.loading import WorkerError
from acrn_zoo.engine import evaluation_run as module
from acrn_zoo.engine.config import ConfigError
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluate import Evaluation
from acrn_zoo.engine.evaluation_run import Request, evaluate_request
from acrn_zoo.engine.logs import Silence
from acrn_zoo.files import OutputError, OutputExistsError
from acrn_zoo.structures import Preprocessing
from acrn_zoo.zoo import save_detector


class Listener(Silence):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def request_of_all(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """Of a dataset, and weights that say how they were trained."""
    root = tmp_path_factory.mktemp("dataset")
    model = create_model()
    model.preprocessing = Preprocessing(clip_length=8, frame_interval=0.1, short_side=32)
    save_detector(root / "weights.pth", model, tuple(NAMES.values()))
    return Request(
        weights=str(root / "weights.pth"),
        data=write_case(root).root,
        split="val",
        clip_length=8,
        frame_interval=0.1,
        min_score=0.0,
        people="proposals",
        eval_short_side=32,
        eval_flips=False,
        eval_scales=(),
        num_workers=0,
        decoder="pyav",
        precision="float32",
        device="cpu",
    )


def evaluated(request: Request, report: Silence | None = None, **options: Any) -> Evaluation | None:
    return evaluate_request("small_world", request, Processes(), report=report or Silence(), **options)


def test_the_same_as_of_its_parts(request_of_all: Request, tmp_path: Path) -> None:
    report = Listener()
    out, json = tmp_path / "found.csv", tmp_path / "score.json"
    found = evaluated(replace(request_of_all, out=out, json=json), report)
    assert request_of_all.data is not None
    expected = evaluate_case(request_of_all.data, out=tmp_path / "expected.csv")
    assert found is not None
    assert expected is not None
    assert found.metrics == expected.metrics
    assert out.read_text() == (tmp_path / "expected.csv").read_text()
    assert not json.exists()  # somebody else's to write
    assert report.notes == []


def test_what_is_asked_for_is_done(request_of_all: Request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(module, "evaluate", lambda *_, **options: seen.update(options))
    changes: dict[str, Any] = {
        "out": tmp_path / "found.csv",
        "overwrite": True,
        "top": 3,
        "threshold": 0.5,
        "num_workers": 2,
        "precision": "bfloat16",
    }
    evaluated(replace(request_of_all, eval_flips=True, eval_scales=(24, 32), **changes))
    del seen["progress"], seen["stop_requested"]
    assert seen == {"flips": True, "scales": (24, 32), **changes}


def test_weights_of_other_clips_are_told(request_of_all: Request) -> None:
    report = Listener()
    assert evaluated(replace(request_of_all, clip_length=12), report, stop_requested=lambda: True) is None
    (note,) = report.notes
    assert "trained on other clips than these: --clip-length 8 then, --clip-length 12 now" in note


def test_a_worker_that_has_gone(request_of_all: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr(module, "evaluate", killed)
    with pytest.raises(WorkerError, match="A process that reads clips has gone: DataLoader worker"):
        evaluated(request_of_all)


def test_what_is_missing(request_of_all: Request, tmp_path: Path) -> None:
    """One after the other; where the numbers go is looked at before anything is loaded."""
    there = tmp_path / "score.json"
    there.touch()
    nothing = replace(request_of_all, weights=None, data=None)
    with pytest.raises(OutputError, match="there is no folder nowhere"):
        evaluated(replace(nothing, json=Path("nowhere/score.json")))
    with pytest.raises(OutputExistsError, match=r"score\.json exists already"):
        evaluated(replace(nothing, json=there))
    with pytest.raises(ConfigError, match="--weights is missing: name a record, such as AVA22_V1, or a checkpoint"):
        evaluated(replace(nothing, json=there, overwrite=True))
    with pytest.raises(ConfigError, match="--data is missing: name a dataset folder"):
        evaluated(replace(nothing, weights="mini"))
