"""Evaluation: alone and shared out, the numbers of ``acrn-zoo score``, mirrored and at several sizes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluation_case
import numpy as np
import pytest
import torch
from evaluation_case import (
    BOXES,
    EVALUATED,
    EXCLUDED,
    MOMENTS,
    NAMES,
    NOBODY,
    create_dataset,
    create_model,
    evaluate_case,
    evaluate_to_file,
    evaluate_until_stopped,
    write_case,
)
from ranks import run_ranks
from torch import Tensor

from acrn_zoo.cli import main
from acrn_zoo.data.batch import collate
from acrn_zoo.data.dataset import EvaluationDataset, SampleError
from acrn_zoo.data.folder import DatasetFolder, read_dataset_folder
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.engine.distributed import DistributedError, Processes
from acrn_zoo.engine.evaluate import Evaluation, evaluate
from acrn_zoo.errors import UserError
from acrn_zoo.evaluation import EvaluationError
from acrn_zoo.files import OutputError, OutputExistsError
from acrn_zoo.models import ActionDetector
from acrn_zoo.tables import read_predictions


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DatasetFolder:
    return write_case(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def plain(folder: DatasetFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Evaluation, Path]:
    """One process, nothing asked for but the file."""
    out = tmp_path_factory.mktemp("out") / "results.csv"
    return done(evaluate_case(folder.root, out=out)), out


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the processes of :mod:`ranks` have it: with several, sums may differ in the last bit."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(number)


def done(evaluation: Evaluation | None) -> Evaluation:
    assert evaluation is not None
    return evaluation


def require_equal(one: Evaluation, other: Evaluation) -> None:
    """All numbers, to the last bit."""
    assert one.metrics == other.metrics
    assert one.num_keyframes == other.num_keyframes
    for name in ("average_precision", "num_annotated", "num_predicted", "num_found", "annotated_by_video"):
        np.testing.assert_array_equal(getattr(one.result, name), getattr(other.result, name))
    for name in ("scores", "is_match", "videos"):
        np.testing.assert_array_equal(getattr(one.result.ranking, name), getattr(other.result.ranking, name))


def scores_of(path: Path) -> dict[tuple[str, float, float, int], float]:
    """Video, moment, left side and action id of every row, with its score."""
    columns = read_predictions(path)[["video_id", "timestamp", "x1", "action_id", "score"]]
    return {(video, moment, x1, action): score for video, moment, x1, action, score in columns.itertuples(index=False)}


def expected_scores(model: ActionDetector, dataset: EvaluationDataset, index: int, *, is_flipped: bool) -> Tensor:
    """What the model says of one keyframe, the long way."""
    batch = collate([dataset[index]])
    frames, boxes = batch.frames, batch.boxes[0].clone()
    if is_flipped:
        frames = frames.flip(3)
        boxes[:, [2, 0]] = frames.shape[3] - boxes[:, [0, 2]]
    clips = (frames - torch.tensor([123.675, 116.28, 103.53])) / torch.tensor([58.395, 57.12, 57.375])
    with torch.no_grad():
        return model.eval()(clips.permute(0, 4, 1, 2, 3).contiguous(), [boxes]).sigmoid()


@pytest.mark.parametrize(
    ("world_size", "num_keyframes", "options"), [(2, 7, {"num_workers": 1}), (3, 7, {"flips": True}), (3, 2, {})]
)
def test_processes_together_are_one(
    world_size: int, num_keyframes: int, options: dict[str, Any], tmp_path: Path
) -> None:
    """A share may be smaller than others, or empty."""
    write_case(tmp_path, [moment for moment in MOMENTS if moment != EXCLUDED][-num_keyframes:])
    alone = done(evaluate_case(tmp_path, out=tmp_path / "alone.csv", **options))
    assert alone.num_keyframes == num_keyframes
    together = run_ranks(evaluate_to_file, world_size, tmp_path, tmp_path / "together.csv", options)
    for evaluation in together:
        require_equal(alone, done(evaluation))
    assert (tmp_path / "together.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    assert 0 < alone.metrics["mAP"] < 1


class Pretended(Processes):
    """One of several processes, whose others answer nothing."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def on_main(self, compute: Any) -> Any:
        return compute()


@pytest.mark.parametrize(("rank", "world_size", "share"), [(0, 3, (0, 3, 6)), (2, 3, (2, 5)), (7, 9, ())])
def test_each_process_has_its_share(
    rank: int, world_size: int, share: tuple[int, ...], folder: DatasetFolder, tmp_path: Path
) -> None:
    dataset, out = create_dataset(folder), tmp_path / "results.csv"
    group = Pretended(rank, world_size)
    reports: list[int] = []
    evaluation = evaluate(
        create_model(),
        dataset,
        folder,
        "val",
        group,
        out=out,
        threshold=-1,
        progress=lambda number, _: reports.append(number),
    )
    found = {(video, moment) for video, moment, _, _ in scores_of(out)}
    assert found == {dataset.annotations.keyframes[index] for index in share} - {NOBODY}
    assert done(evaluation).num_keyframes == 7  # of all processes
    assert reports[-1] == 7


def test_what_it_gives(plain: tuple[Evaluation, Path]) -> None:
    evaluation, out = plain
    assert list(evaluation.metrics) == ["mAP", "AP/walk", "AP/talk", "AP/sit"]
    assert evaluation.metrics["mAP"] == evaluation.result.mean
    assert evaluation.num_keyframes == 7
    assert evaluation.seconds > 0
    table = read_predictions(out)
    assert set(table["action_id"]) == set(EVALUATED)
    assert table["score"].between(0.002, 1, inclusive="right").all()
    moments = set(zip(table["video_id"], table["timestamp"], strict=True))
    assert moments == set(MOMENTS) - {EXCLUDED, NOBODY}
    assert {tuple(box) for box in table[["x1", "y1", "x2", "y2"]].to_numpy().tolist()} == set(BOXES)


def test_scores_have_the_digits_of_float32(plain: tuple[Evaluation, Path]) -> None:
    cells = [line.rsplit(",", 1)[1] for line in plain[1].read_text().splitlines()]
    assert cells == [str(np.float32(cell)) for cell in cells]


def test_score_says_the_same(
    plain: tuple[Evaluation, Path], folder: DatasetFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation, out = plain
    arguments = ["--ground-truth", folder.root, "--json", tmp_path / "score.json"]
    assert main(["score", str(out), *map(str, arguments)]) == 0
    assert f"mAP {evaluation.metrics['mAP']:.6f} " in capsys.readouterr().out
    content = json.loads((tmp_path / "score.json").read_text())
    assert content["mAP"] == evaluation.metrics["mAP"]
    assert list(content["AP"].values()) == evaluation.result.average_precision.tolist()
    assert list(content["num_predicted"].values()) == evaluation.result.num_predicted.tolist()


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("scales", [(), (40,), (24, 40)])
def test_scores_are_the_mean_of_the_views(
    flips: bool, scales: tuple[int, ...], folder: DatasetFolder, tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    evaluate_case(folder.root, out=out, flips=flips, scales=scales, threshold=-1)
    found = scores_of(out)
    assert len(found) == 6 * 2 * len(EVALUATED)
    model, dataset = create_model(), create_dataset(folder)
    for index in (0, 5):  # one of either video
        views = []
        for short_side in scales or (32,):
            dataset.transform = ClipTransform(short_side)
            views += [expected_scores(model, dataset, index, is_flipped=flip) for flip in (False, True)[: 1 + flips]]
        mean = torch.stack(views).mean(0)
        video, moment = dataset.annotations.keyframes[index]
        for person, box in enumerate(BOXES):
            for number in EVALUATED:
                value = found[video, moment, box[0], number]
                assert value == pytest.approx(float(mean[person, number - 1]), rel=1e-5, abs=1e-7)


class Symmetric(torch.nn.Module):
    """Says how bright the box is, which is the same in a mirror."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 4
        self.categories = None
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5]))

    def forward(self, clips: Tensor, boxes: list[Tensor]) -> Tensor:
        (rows,) = boxes
        corners = rows.round().long().tolist()
        means = [clips[0, :, :, y1:y2, x1:x2].double().mean().float() for x1, y1, x2, y2 in corners]
        return torch.stack(means)[:, None] * self.weight


def test_a_symmetric_model_says_the_same_of_the_mirror(folder: DatasetFolder, tmp_path: Path) -> None:
    dataset = create_dataset(folder)
    dataset.transform = ClipTransform(48)  # no box ends near the middle of a pixel
    for name, flips in (("plain", False), ("mirrored", True)):
        evaluate(
            Symmetric(),  # type: ignore[arg-type]
            dataset,
            folder,
            "val",
            Processes(),
            out=tmp_path / name,
            flips=flips,
            threshold=-1,
        )
    plain, mirrored = (scores_of(tmp_path / name) for name in ("plain", "mirrored"))
    assert plain == pytest.approx(mirrored, abs=1e-6)
    assert max(plain.values()) - min(plain.values()) > 0.1


@pytest.mark.parametrize("top", [1, 2, None])
@pytest.mark.parametrize("threshold", [-1.0, 0.002, 0.5, 1.0])
def test_top_and_threshold(top: int | None, threshold: float, folder: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    every = tmp_path / "every.csv"
    evaluate_case(folder.root, out=every, threshold=-1)
    evaluation = done(evaluate_case(folder.root, out=out, top=top, threshold=threshold))
    people: dict[tuple[str, float, float], list[tuple[float, int]]] = {}
    for (video, moment, x1, number), score in scores_of(every).items():
        people.setdefault((video, moment, x1), []).append((score, number))
    expected = {
        (*person, number): score
        for person, actions in people.items()
        for score, number in sorted(actions, reverse=True)[:top]
        if score > threshold
    }
    assert scores_of(out) == expected
    assert sum(evaluation.result.num_predicted) == len(expected)
    if threshold == 1:
        assert out.read_bytes() == b""
        assert evaluation.metrics["mAP"] == 0


def test_a_score_has_to_be_above_the_threshold(folder: DatasetFolder, tmp_path: Path) -> None:
    evaluate_case(folder.root, out=tmp_path / "every.csv", threshold=-1)
    scores = sorted(scores_of(tmp_path / "every.csv").values())
    evaluate_case(folder.root, out=tmp_path / "some.csv", threshold=float(np.float32(scores[9])))
    assert sorted(scores_of(tmp_path / "some.csv").values()) == scores[10:]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision(precision: Any, folder: DatasetFolder, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    seen: set[torch.dtype] = set()
    model = create_model()
    model.head.classifier.register_forward_hook(lambda _module, _inputs, logits: seen.add(logits.dtype))
    dataset = create_dataset(folder)
    evaluate(model, dataset, folder, "val", Processes(), out=out, precision=precision, threshold=-1)
    assert seen == {getattr(torch, precision)}
    evaluate_case(folder.root, out=tmp_path / "precise.csv", threshold=-1)
    precise, found = scores_of(tmp_path / "precise.csv"), scores_of(out)
    differences = [abs(found[row] - precise[row]) for row in precise]
    assert 0 < max(differences) < 0.1


def test_leaves_everything_as_it_was(folder: DatasetFolder) -> None:
    model = create_model().train()
    model.backbone.eval()  # frozen
    modes = [part.training for part in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    evaluation = done(evaluate(model, create_dataset(folder), folder, "val", Processes()))
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    require_equal(evaluation, done(evaluate(model.eval(), create_dataset(folder), folder, "val", Processes())))
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_modes_are_restored_after_an_error(folder: DatasetFolder) -> None:
    model = create_model().train()
    dataset = create_dataset(folder)
    dataset.sampling = dataset.sampling.__class__(4, 0.1)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever a model says of too few frames
        evaluate(model, dataset, folder, "val", Processes())
    assert model.training


def test_progress(folder: DatasetFolder) -> None:
    reports: list[tuple[int, int]] = []
    evaluate_case(folder.root, scales=(24, 32), progress=lambda *report: reports.append(report))
    assert reports == [(number, 14) for number in range(1, 15)]


def test_stops_alone(folder: DatasetFolder, tmp_path: Path) -> None:
    reports: list[int] = []
    out = tmp_path / "results.csv"
    answer = evaluate_case(
        folder.root,
        out=out,
        progress=lambda number, _: reports.append(number),
        stop_requested=lambda: len(reports) == 3,
    )
    assert answer is None
    assert reports == [1, 2, 3]
    assert not out.exists()


def test_stops_together(folder: DatasetFolder) -> None:
    for stopping_rank in (0, 1):
        assert run_ranks(evaluate_until_stopped, 2, folder.root, stopping_rank) == [(True, 2)] * 2


def test_output_is_looked_at_first(folder: DatasetFolder, tmp_path: Path) -> None:
    reports: list[int] = []
    out = tmp_path / "results.csv"
    out.write_text("precious")
    with pytest.raises(OutputExistsError):
        evaluate_case(folder.root, out=out, progress=lambda *_: reports.append(1))
    with pytest.raises(OutputError, match="no folder"):
        evaluate_case(folder.root, out=tmp_path / "none" / "results.csv", progress=lambda *_: reports.append(1))
    assert reports == []
    assert out.read_text() == "precious"
    evaluate_case(folder.root, out=out, overwrite=True)
    assert out.read_text().startswith("high,0000,")
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_error_of_the_writer_reaches_all(folder: DatasetFolder, tmp_path: Path) -> None:
    found = run_ranks(evaluate_to_file, 2, folder.root, tmp_path / "none" / "results.csv", {})
    assert [type(error) for error in found] == [OutputError] * 2
    assert [error.is_echo for error in found] == [False, True]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_clip_that_cannot_be_read(num_workers: int, tmp_path: Path) -> None:
    folder = write_case(tmp_path)
    (tmp_path / "high.mp4").write_bytes(b"no video")
    with pytest.raises(SampleError, match=r"keyframe at 0 s of video high cannot be read\. .*high\.mp4"):
        evaluate_case(folder.root, num_workers=num_workers)


def test_a_clip_that_one_of_two_processes_cannot_read(tmp_path: Path) -> None:
    """The other one does not wait for it."""
    folder = write_case(tmp_path, [("high", 0.0), ("wide", 0.5)])
    (tmp_path / "wide.mp4").write_bytes(b"no video")
    other, failing = run_ranks(evaluate_case, 2, folder.root)
    assert isinstance(failing, SampleError)
    assert isinstance(other, DistributedError)
    assert str(other) == "Process 1 of 2 cannot read its clips, and says why: all of them stop"


def test_other_actions_are_refused(folder: DatasetFolder) -> None:
    dataset = create_dataset(folder)
    other = evaluation_case.create_slowfast_detector(
        evaluation_case.SlowFastArchitecture(depth=18, width=8, num_classes=80)
    )
    with pytest.raises(EvaluationError, match="knows 80 actions, and the dataset 'case' has 4.*acrn-zoo train"):
        evaluate(other, dataset, folder, "val", Processes())
    model = create_model()
    model.categories = ("walk", "talk", "swim", "sit")  # the third is not evaluated
    assert evaluate(model, dataset, folder, "val", Processes()) is not None
    model.categories = ("talk", "walk", "wave", "sit")
    with pytest.raises(EvaluationError, match="Action 1 is 'talk' to the model, and 'walk' to the dataset 'case'"):
        evaluate(model, dataset, folder, "val", Processes())


def test_nothing_to_find(tmp_path: Path) -> None:
    write_case(tmp_path)
    (tmp_path / "people.csv").write_text("wide,0.5,0.1,0.2,0.5,0.9,3,0\n")
    with pytest.raises(EvaluationError, match=r"people\.csv has no row of the 3 classes .* \(walk, talk, sit\)"):
        evaluate_case(tmp_path)


def test_scores_that_are_not_finite(folder: DatasetFolder) -> None:
    model = create_model()
    torch.nn.init.constant_(model.head.classifier.bias, math.nan)
    with pytest.raises(UserError, match=r"keyframe 0 s of 'wide' are not finite"):
        evaluate(model, create_dataset(folder), folder, "val", Processes())


def test_top_is_at_least_one(folder: DatasetFolder) -> None:
    with pytest.raises(ValueError, match="top is 0, expected at least 1"):
        evaluate_case(folder.root, top=0)


def test_annotated_people_and_no_split(folder: DatasetFolder) -> None:
    dataset = EvaluationDataset.from_folder(read_dataset_folder(folder.root), people="annotated")
    dataset.sampling, dataset.transform = create_dataset(folder).sampling, ClipTransform(32)
    evaluation = done(evaluate(create_model(), dataset, folder, "val", Processes(), threshold=-1))
    assert evaluation.result.num_predicted.tolist() == [14] * 3
    assert set(NAMES) > set(EVALUATED)
    with pytest.raises(UserError, match="no split 'test'"):
        evaluate(create_model(), dataset, folder, "test", Processes())
