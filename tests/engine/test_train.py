"""The training loop: steps that do not depend on how they are divided, options, files, and what stops it."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ranks import run_ranks
from torch import Tensor
from training_case import (
    create_config,
    freeze_norms,
    train_and_stop,
    train_case,
    train_spoiled,
    train_with_frozen_norms,
    write_dataset,
)

from acrn_zoo.architecture import SlowFastArchitecture
from acrn_zoo.data.dataset import Sample, SampleError, TrainingDataset
from acrn_zoo.engine import build
from acrn_zoo.engine import run as run_module
from acrn_zoo.engine import train as train_module
from acrn_zoo.engine.config import Config, ConfigError, read_config
from acrn_zoo.engine.distributed import Processes
from acrn_zoo.engine.evaluate import Evaluation, evaluate
from acrn_zoo.engine.finite import NonFiniteError
from acrn_zoo.engine.logs import Progress, Silence
from acrn_zoo.engine.schedule import learning_rate
from acrn_zoo.engine.state import RunFolder, read_state
from acrn_zoo.engine.train import TrainingResult, train
from acrn_zoo.models import ActionDetector, Backbone
from acrn_zoo.zoo import create_acrn_head, create_slowfast_detector, load_detector, save_detector

ONE_EPOCH = {"epochs": 1, "warmup_epochs": 0.0}
PLAIN = {**ONE_EPOCH, "dropout": 0.0, "ema_decay": None}


class Listener(Silence):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.shown: list[tuple[str, int, int]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Progress]:
        self.shown.append((title, total, done))
        return super().progress(title, total, done)


class StubBackbone(Backbone):
    """Four channels, at a sixteenth of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(3, 4, kernel_size=16, stride=16)

    def forward(self, clips: Tensor) -> Tensor:
        return self.layer(clips.mean(dim=2, keepdim=True).expand(-1, -1, 16, -1, -1)).squeeze(2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset")).root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order."""
    number = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(number)


def run_here(config: Config, report: Silence | None = None) -> TrainingResult:
    return train(config, Processes(), report=report or Silence())


def steps_of(out: Path, kind: str = "step") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def losses_of(out: Path) -> list[float]:
    return [line["loss"] for line in steps_of(out)]


def last_state(out: Path) -> dict[str, Any]:
    return read_state(max((out / "checkpoints").iterdir()))


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name].double() - other[name].double()).abs().max()) for name in one)


@pytest.mark.parametrize(
    ("world_size", "clips", "accumulation"),
    [
        (1, 1, 4),
        (2, 2, 1),
        pytest.param(1, 2, 2, marks=pytest.mark.slow),
        pytest.param(2, 1, 2, marks=pytest.mark.slow),
    ],
)
def test_a_step_does_not_depend_on_its_parts(
    root: Path, world_size: int, clips: int, accumulation: int, tmp_path: Path
) -> None:
    """Clips have one actor or two, so that means over parts count differently."""
    whole = {**PLAIN, "clips_per_process": 4, "accumulation_steps": 1}
    divided = {**PLAIN, "clips_per_process": clips, "accumulation_steps": accumulation}
    run_ranks(train_with_frozen_norms, 1, root, tmp_path / "whole", whole)
    run_ranks(train_with_frozen_norms, world_size, root, tmp_path / "divided", divided)
    assert losses_of(tmp_path / "divided") == pytest.approx(losses_of(tmp_path / "whole"), rel=1e-6)
    weights = [last_state(tmp_path / name)["model"] for name in ("whole", "divided")]
    assert farthest(*weights) < 1e-6
    begin = run_module.create_model(create_config(root, tmp_path, **whole), ("walk", "talk", "sit")).state_dict()
    assert farthest(begin, weights[0]) > 1e-2


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler's own, which it hides otherwise
@pytest.mark.parametrize(
    "option", ["channels_last", "checkpoint_relation", pytest.param("compile", marks=pytest.mark.slow)]
)
def test_options_that_change_no_number(
    root: Path, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    original = torch.compile

    def compile_quickly(model: torch.nn.Module) -> object:
        """The default way takes minutes."""
        used.append(model)
        return original(model, backend="eager")

    monkeypatch.setattr(torch, "compile", compile_quickly)
    run_here(create_config(root, tmp_path / "plain", **PLAIN))
    assert used == []
    run_here(create_config(root, tmp_path / "other", **PLAIN, **{option: True}))
    assert losses_of(tmp_path / "other") == pytest.approx(losses_of(tmp_path / "plain"), rel=1e-4)
    assert len(used) == 2 * (option == "compile")  # backbone and head
    weights = last_state(tmp_path / "other")["model"][
        "backbone.blocks.1.multipathway_blocks.0.res_blocks.0.branch2.conv_b.weight"
    ]
    assert weights.is_contiguous(memory_format=torch.channels_last_3d) == (option == "channels_last")


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # the compiler's own, which it hides otherwise
def test_few_graphs_for_any_actors(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips of no actor, one or more in all patterns: every step is computed by graphs, and they are few."""
    graphs: list[object] = []
    calls: list[int] = []
    original = torch.compile

    def counting(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., Any]:
        graphs.append(graph)

        def compute(*arguments: Any) -> Any:
            calls.append(1)
            return graph.forward(*arguments)

        return compute

    def create_stub(*_: object, **__: object) -> ActionDetector:
        return ActionDetector(StubBackbone(), create_acrn_head(4, 3, dropout=0.0))

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(original, backend=counting))
    monkeypatch.setattr(run_module, "create_model", create_stub)
    config = create_config(root, tmp_path, **PLAIN, compile=True)
    run = run_module.create_run(config, Processes(), RunFolder(tmp_path), Silence())
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        counts = torch.randint(4, (8,), generator=generator).tolist() if step > 1 else [step] + [0] * 7
        boxes = [torch.tensor([[4.0, 4.0, 20.0, 24.0]]).expand(count, 4) for count in counts]
        clips = torch.randn(8, 3, 8, 32, 32, generator=generator)
        assert run.forward(clips, boxes).shape == (sum(counts), 3)
    assert len(calls) == 2 * 12
    assert len(graphs) <= 5


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(root: Path, precision: str, tmp_path: Path) -> None:
    """With 8 frames, PyTorch's gradients are not finite in bfloat16 on the CPU."""
    run_here(create_config(root, tmp_path / "plain", **PLAIN, clip_length=16))
    run_here(create_config(root, tmp_path / "mixed", **PLAIN, clip_length=16, precision=precision))
    exact, mixed = losses_of(tmp_path / "plain")[0], losses_of(tmp_path / "mixed")[0]
    assert mixed == pytest.approx(exact, rel=0.02)
    assert mixed != exact
    assert last_state(tmp_path / "mixed")["model"]["head.classifier.weight"].dtype == torch.float32


def test_float16_lowers_its_scale(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the gradient fits, steps are left out; a run that goes on has the scale that it had."""
    original = run_module.GradScaler
    monkeypatch.setattr(run_module, "GradScaler", functools.partial(original, init_scale=2.0**33))
    config = create_config(root, tmp_path / "run", **PLAIN, clip_length=16, precision="float16")
    begin = run_module.create_model(config, ("walk", "talk", "sit")).state_dict()["head.classifier.weight"]
    run_here(config)
    assert [line["gradient_norm"] for line in steps_of(tmp_path / "run")] == [None] * 3
    state = last_state(tmp_path / "run")
    assert state["scaler"]["scale"] == 2.0**30
    assert torch.equal(state["model"]["head.classifier.weight"], begin)
    folder = run_module.RunFolder(tmp_path / "run")
    run = run_module.create_run(config, Processes(), folder, Silence())
    assert run.learner.scaler.get_scale() == 2.0**33
    saved = run_module.find_saved(config, Processes(), folder, Silence())
    assert saved is not None
    run_module.resume(run, saved, Silence())
    assert run.learner.scaler.get_scale() == 2.0**30


def test_frozen_stages_stay(root: Path, tmp_path: Path) -> None:
    config = create_config(root, tmp_path / "run", **PLAIN, frozen_stages=2)
    begin = run_module.create_model(config, ("walk", "talk", "sit")).state_dict()
    run_here(config)
    end = last_state(tmp_path / "run")["model"]
    for name, value in begin.items():
        is_frozen = name.startswith(("backbone.blocks.0.", "backbone.blocks.1."))
        assert torch.equal(value, end[name]) == is_frozen, name


def test_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(TrainingDataset, "set_epoch", lambda _, epoch: epochs.append(epoch))
    report, config = Listener(), create_config(root, tmp_path / "run")
    result = run_here(config, report)
    assert epochs == [0, 1]
    assert result.is_finished
    assert result.steps == 6
    assert list(result.metrics) == ["mAP", "AP/walk", "AP/talk", "AP/sit"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        *("DONE.json", "best.pth", "checkpoints", "config.json", "last.pth", "lock", "log.jsonl")
    ]
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == [
        "step_00000004.pth",
        "step_00000006.pth",
    ]
    assert read_config(tmp_path / "run/config.json") == config
    state, last = last_state(tmp_path / "run"), load_detector(tmp_path / "run/last.pth")
    averaged = {f"module.{name}": value for name, value in last.state_dict().items()}
    assert farthest(averaged, state["average"]) == 0  # the weights for use are the averaged ones
    assert farthest(last.state_dict(), state["model"]) > 1e-3
    assert last.categories == ("walk", "talk", "sit")
    assert load_detector(tmp_path / "run/best.pth").categories == ("walk", "talk", "sit")

    rates = [line["learning_rate"] for line in steps_of(tmp_path / "run")]
    assert rates == [learning_rate(config.optimization, peak=0.05, steps_per_epoch=3, step=step) for step in range(6)]
    first, second = steps_of(tmp_path / "run", "epoch")
    assert second["metrics"] == result.metrics
    assert first["loss"] == pytest.approx(sum(losses_of(tmp_path / "run")[:3]) / 3)
    assert second["loss"] < 0.7 * first["loss"]
    assert report.shown == [("training", 6, 0), ("validation", 3, 0), ("validation", 3, 0)]
    assert any("moving average" in note for note in report.notes)
    assert any(note.startswith("learning rate 0.05 as given") for note in report.notes)


def test_a_finished_run_is_left_alone(root: Path, tmp_path: Path) -> None:
    config, report = create_config(root, tmp_path / "run", **PLAIN), Listener()
    result = run_here(config)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")}
    assert run_here(config, report) == result
    assert report.notes == [f"the run in {tmp_path / 'run'} is finished: there is nothing to do"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.*")} == files
    with pytest.raises(ConfigError, match="optimization.seed: 0 before, 1 now"):
        run_here(create_config(root, tmp_path / "run", **PLAIN, seed=1))


@pytest.mark.parametrize("is_meanwhile", [False, True])
def test_a_finished_run_on_other_data_is_no_answer(is_meanwhile: bool, tmp_path: Path) -> None:
    """Also where the data were changed after the run had read them."""
    write_dataset(tmp_path)
    config = create_config(tmp_path, tmp_path / "run", **PLAIN)
    text = (tmp_path / "train.csv").read_text()
    other = text.removesuffix(",1,0\n") + ",2,0\n"

    def change() -> bool:
        (tmp_path / "train.csv").write_text(other if is_meanwhile else text)
        return False

    assert train(config, Processes(), report=Silence(), stop_requested=change).is_finished
    (tmp_path / "train.csv").write_text(other)
    with pytest.raises(ConfigError, match=r"began otherwise \(SHA-256 of the annotations: \w+ before, \w+ now\)"):
        run_here(config)


def test_other_settings_do_not_go_on(root: Path, tmp_path: Path) -> None:
    run_ranks(train_and_stop, 1, root, tmp_path / "run", 1, PLAIN)
    with pytest.raises(ConfigError, match=r"other settings \(optimization.momentum: 0.9 before, 0.5 now\)"):
        run_here(create_config(root, tmp_path / "run", **PLAIN, momentum=0.5))
    fewer = {**PLAIN, "accumulation_steps": 1}
    run_ranks(train_and_stop, 1, root, tmp_path / "other", 1, fewer)
    for error in run_ranks(train_case, 2, root, tmp_path / "other", fewer):
        assert isinstance(error, ConfigError)
        assert "began otherwise (processes: 1 before, 2 now)" in str(error)


def test_other_labels_do_not_go_on(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    run_ranks(train_and_stop, 1, tmp_path, tmp_path / "run", 1, PLAIN)
    text = (tmp_path / "train.csv").read_text()
    assert text.endswith(",1,0\n")
    (tmp_path / "train.csv").write_text(text.removesuffix(",1,0\n") + ",2,0\n")
    with pytest.raises(ConfigError, match=r"began otherwise \(SHA-256 of the annotations: \w+ before, \w+ now\)"):
        run_here(create_config(tmp_path, tmp_path / "run", **PLAIN))


def test_goes_on_without_the_weights_that_it_began_from(root: Path, tmp_path: Path) -> None:
    weights = tmp_path / "begin.pth"
    architecture = SlowFastArchitecture(depth=18, width=8, relation_channels=16, num_classes=3, dropout=0.5)
    save_detector(weights, create_slowfast_detector(architecture), ("walk", "talk", "sit"))
    changes = {"weights": str(weights), "num_workers": 0}
    config, whole = (create_config(root, tmp_path / name, **changes) for name in ("run", "whole"))
    run_here(whole)
    steps: list[int] = []

    def stops_after_two() -> bool:
        steps.append(1)
        return len(steps) == 2

    assert train(config, Processes(), report=Silence(), stop_requested=stops_after_two).steps == 2
    weights.unlink()
    assert run_here(config).is_finished
    assert farthest(last_state(tmp_path / "run")["model"], last_state(tmp_path / "whole")["model"]) == 0


def test_a_damaged_checkpoint(root: Path, tmp_path: Path) -> None:
    """The one before it is taken, and the run ends as it would have."""
    config, report = create_config(root, tmp_path / "run", **PLAIN, save_every=1), Listener()
    run_here(config)
    whole = last_state(tmp_path / "run")
    (tmp_path / "run/DONE.json").unlink()
    (tmp_path / "run/checkpoints/step_00000003.pth").write_bytes(b"PK garbage")
    run_here(config, report)
    assert any("step_00000003.pth is damaged" in note for note in report.notes)
    assert any(note.startswith("going on after step 2, in epoch 1, from") for note in report.notes)
    assert farthest(last_state(tmp_path / "run")["model"], whole["model"]) == 0
    assert [line["step"] for line in steps_of(tmp_path / "run")] == [1, 2, 3]


def test_the_best_is_kept(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By mAP; the first of equals. Epochs 2, 4 and 5, the last, are validated."""
    found, seen, shown = iter([math.nan, 0.5, 0.5]), [], []

    def measured(model: ActionDetector, *_: object, **__: object) -> Evaluation:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        shown.append(model.training)
        return Evaluation({"mAP": next(found)}, None, 3, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "evaluate", measured)
    config = create_config(root, tmp_path / "run", epochs=5, validate_every=2, clips_per_process=4, frozen_stages=4)
    assert run_here(config) == TrainingResult(True, 5, {"mAP": 0.5})
    assert [line["metrics"] and line["metrics"]["mAP"] for line in steps_of(tmp_path / "run", "epoch")] == [
        *(None, None, None, 0.5, 0.5)
    ]
    assert farthest(load_detector(tmp_path / "run/best.pth").state_dict(), seen[1]) == 0
    assert farthest(load_detector(tmp_path / "run/last.pth").state_dict(), seen[2]) == 0
    assert farthest(seen[1], seen[2]) > 0


def test_the_best_stays_when_validation_ends(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on without validation does not know better."""
    found = Evaluation({"mAP": 0.5}, None, 3, 1.0)  # type: ignore[arg-type]
    monkeypatch.setattr(run_module, "evaluate", lambda *_, **__: found)
    asked = iter([False] * 3 + [True])
    config = create_config(root, tmp_path / "run")
    result = train(config, Processes(), report=Silence(), stop_requested=lambda: next(asked))
    assert result == TrainingResult(False, 4)
    best = load_detector(tmp_path / "run/best.pth").state_dict()
    assert run_here(create_config(root, tmp_path / "run", validate_every=0)).is_finished
    assert farthest(load_detector(tmp_path / "run/best.pth").state_dict(), best) == 0
    assert farthest(load_detector(tmp_path / "run/last.pth").state_dict(), best) > 0


@pytest.mark.parametrize("is_asked", [True, False])
def test_without_validation(tmp_path: Path, is_asked: bool) -> None:
    write_dataset(tmp_path, with_validation=False)
    report = Listener()
    config = create_config(tmp_path, tmp_path / "run", **PLAIN, validate_every=int(is_asked))
    assert run_here(config, report) == TrainingResult(True, 3, {})
    assert any("has no split 'val', so nothing is validated" in note for note in report.notes) == is_asked
    best, last = (load_detector(tmp_path / "run" / name).state_dict() for name in ("best.pth", "last.pth"))
    assert farthest(best, last) == 0
    assert steps_of(tmp_path / "run", "epoch")[0]["metrics"] is None


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_what_is_measured_is_what_is_written(root: Path, ema_decay: float | None, tmp_path: Path) -> None:
    """Two processes have batch statistics of their own; those of the first are written, and measured by both."""
    changes = {**ONE_EPOCH, "accumulation_steps": 1, "ema_decay": ema_decay}
    config = create_config(root, tmp_path / "run", **changes)
    result, other = run_ranks(train_case, 2, root, tmp_path / "run", changes)
    assert result == other
    model = load_detector(tmp_path / "run/last.pth")
    dataset, folder = build.create_evaluation_dataset(config), build.read_folder(config)
    evaluation = evaluate(model, dataset, folder, "val", Processes())
    assert evaluation is not None
    assert evaluation.metrics == result.metrics


def test_the_learning_rate_follows_the_clips_of_a_step(root: Path, tmp_path: Path) -> None:
    """2 processes x 2 clips x 3 parts, at 0.0015625 a clip."""
    changes = {**PLAIN, "accumulation_steps": 3, "learning_rate": None, "validate_every": 0}
    run_ranks(train_case, 2, root, tmp_path / "run", changes)
    assert [line["learning_rate"] for line in steps_of(tmp_path / "run")] == pytest.approx([0.0015625 * 12])


def test_gradients_are_clipped(root: Path, tmp_path: Path) -> None:
    """Plain descent moves the weights by the learning rate times the norm."""
    changes = {**PLAIN, "accumulation_steps": 6, "weight_decay": 0.0, "clip_gradient": 0.01, "validate_every": 0}
    config = create_config(root, tmp_path / "run", **changes)
    begin = dict(run_module.create_model(config, ("walk", "talk", "sit")).named_parameters())
    run_here(config)
    end = last_state(tmp_path / "run")["model"]
    (step,) = steps_of(tmp_path / "run")
    assert step["gradient_norm"] > 0.1
    moved = math.hypot(*(float((end[name] - value.detach()).norm()) for name, value in begin.items()))
    assert moved == pytest.approx(0.05 * 0.01, rel=0.05)


def test_the_loss_of_the_settings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, float]] = []
    original = train_module.action_loss

    def watched(logits: Tensor, labels: Tensor, **options: float) -> Tensor:
        seen.append(options)
        return original(logits, labels, **options)

    monkeypatch.setattr(train_module, "action_loss", watched)
    config = create_config(root, tmp_path / "run", **PLAIN, focal_alpha=0.25, focal_gamma=2.0, validate_every=0)
    assert run_here(config).is_finished
    assert seen == [{"alpha": 0.25, "gamma": 2.0}] * 6


def test_waiting_for_data(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by 10 seconds while a clip is read, and by 1 while a loss is computed."""
    clock = [0.0]
    read, compute = TrainingDataset.__getitem__, train_module.action_loss

    def slowly(dataset: TrainingDataset, index: int) -> Sample:
        clock[0] += 10
        return read(dataset, index)

    def computed(logits: Tensor, labels: Tensor, **options: float) -> Tensor:
        clock[0] += 1
        return compute(logits, labels, **options)

    monkeypatch.setattr(TrainingDataset, "__getitem__", slowly)
    monkeypatch.setattr(train_module, "action_loss", computed)
    monkeypatch.setattr(train_module, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    run_here(create_config(root, tmp_path / "run", **PLAIN, validate_every=0))
    lines = [*steps_of(tmp_path / "run"), *steps_of(tmp_path / "run", "epoch")]
    assert [line["waiting_share"] for line in lines] == pytest.approx([40 / 42] * 4)
    assert [line["clips_per_second"] for line in lines] == pytest.approx([4 / 42] * 4)


def test_validation_follows_the_settings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def watched(*_: object, **options: Any) -> Evaluation:
        seen.append(options)
        return Evaluation({"mAP": 0.5}, None, 3, 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "evaluate", watched)
    settings = {"eval_flips": True, "eval_scales": (24, 32), "precision": "bfloat16"}
    run_here(create_config(root, tmp_path / "run", **PLAIN, **settings, clip_length=16))
    (options,) = seen
    assert (options["flips"], options["scales"], options["precision"]) == (True, (24, 32), "bfloat16")


def test_sync_batch_norm_wants_gpus(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--sync-batch-norm works on GPUs only"):
        run_here(create_config(root, tmp_path / "run", **PLAIN, sync_batch_norm=True))


def test_a_video_that_cannot_be_read(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    whole = (tmp_path / "film.mp4").read_bytes()
    (tmp_path / "film.mp4").write_bytes(whole[:200])
    config = create_config(tmp_path, tmp_path / "run", **PLAIN, num_workers=1, validate_every=0)
    with pytest.raises(SampleError, match="^The keyframe at .* of video film cannot be read"):
        run_here(config)
    (tmp_path / "film.mp4").write_bytes(whole)
    assert run_here(config).is_finished


def test_not_finite(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights are not touched, and the run goes on from the last checkpoint once the reason is gone."""
    original, calls = train_module.action_loss, []

    def spoiled(logits: Tensor, labels: Tensor, **options: float) -> Tensor:
        calls.append(1)
        return original(logits, labels, **options) * (math.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(train_module, "action_loss", spoiled)
    with pytest.raises(NonFiniteError, match="the loss of video film at"):
        run_here(create_config(root, tmp_path / "run", **PLAIN, save_every=1))
    assert len(calls) == 4  # in the second step
    state = last_state(tmp_path / "run")
    assert state["position"]["step"] == 1
    assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())


def test_not_finite_in_one_of_two_processes(root: Path, tmp_path: Path) -> None:
    first, second = run_ranks(train_spoiled, 2, root, tmp_path / "run", {**PLAIN, "accumulation_steps": 1})
    assert isinstance(first, NonFiniteError)
    assert str(first) == str(second)
    assert "the labels of video film at" in str(first)


def test_processes_without_actors(tmp_path: Path) -> None:
    """Keyframes at which nobody is; the processes that get them have nothing to add."""
    write_dataset(tmp_path)
    rows = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join([rows[0], *(f"film,0.{number}" for number in range(1, 9))]) + "\n")
    results = run_ranks(train_case, 2, tmp_path, tmp_path / "run", {**PLAIN, "accumulation_steps": 1})
    assert [result.steps for result in results] == [2, 2]
    assert sorted(losses_of(tmp_path / "run"))[0] == 0
    assert sorted(losses_of(tmp_path / "run"))[1] > 0


def test_frozen_norms_of_these_tests(root: Path, tmp_path: Path) -> None:
    model = freeze_norms(run_module.create_model(create_config(root, tmp_path), ("walk",))).train()
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    assert norms
    assert not any(norm.training for norm in norms)
