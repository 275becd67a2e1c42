"""The entry points: what they build, which weights they take, and what they refuse."""

import hashlib
import socket
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import acrn_zoo
from acrn_zoo import loading, zoo
from acrn_zoo.architecture import ArchitectureError, SlowFastArchitecture
from acrn_zoo.conversion import CheckpointError
from acrn_zoo.data.ava import CATEGORIES
from acrn_zoo.errors import UserError
from acrn_zoo.models import ActionDetector, TimePooled, replace_classifier
from acrn_zoo.models.relation import Relation
from acrn_zoo.structures import Preprocessing
from acrn_zoo.weights import (
    SlowFast_ACRN_Mini_Weights,
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
    WeightsError,
)

ROI = SlowFastArchitecture(relation="actor_only")
SMALL = SlowFastArchitecture(depth=18, width=8, num_classes=3, temporal_pool="max")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize(
    ("build", "num_params"),
    [
        (lambda: zoo.slowfast_acrn_ava21(pretrained=False), 92_229_752),
        (lambda: zoo.slowfast_acrn_ava22(pretrained=False), 92_229_752),
        (lambda: zoo.slowfast_r50_acrn(num_classes=5), 92_229_752 - 75 * 2305),
        (lambda: zoo.slowfast_r50_roi(), 33_827_960),
        (lambda: torchvision.models.get_model("slowfast_r50_acrn", weights=None), 92_229_752),
        (lambda: torchvision.models.get_model("slowfast_r50_roi"), 33_827_960),
        (lambda: zoo.slowfast_acrn_mini(pretrained=False), 504_163),
        (lambda: torchvision.models.get_model("slowfast_acrn_mini"), 504_163),
    ],
)
def test_without_weights(build: Any, num_params: int) -> None:
    with torch.device("meta"):
        model = build()
    assert sum(parameter.numel() for parameter in model.parameters()) == num_params
    assert model.training


@pytest.mark.parametrize(
    ("record", "architecture"),
    [
        *((record, SlowFastArchitecture()) for record in SlowFast_R50_ACRN_Weights.__members__.values()),
        *((record, ROI) for record in SlowFast_R50_RoI_Weights.__members__.values()),
        *((record, zoo.MINI) for record in SlowFast_ACRN_Mini_Weights.__members__.values()),
    ],
    ids=str,
)
def test_published_numbers_are_those_of_the_model(record: Any, architecture: SlowFastArchitecture) -> None:
    told = {name: record.meta[name] for name in ("temporal_pool", "lateral_norm", "res5_dilation")}
    architecture = replace(architecture, **told, num_classes=len(record.meta["categories"]))
    side = record.transforms().short_side
    with torch.device("meta"):
        model = zoo.create_slowfast_detector(architecture).eval()
        clips = torch.zeros(1, 3, record.meta["clip_length"], side, side)
    assert sum(parameter.numel() for parameter in model.parameters()) == record.meta["num_params"]
    with FlopCounterMode(display=False) as backbone:
        scene = model.backbone(clips)
    assert backbone.get_total_flops() / 2e9 == pytest.approx(record.meta["gflops_per_clip"], abs=5e-4)
    with FlopCounterMode(display=False) as head:
        model.head(scene, torch.zeros(1, 5, device="meta"))
    assert head.get_total_flops() / 2e9 == pytest.approx(record.meta["gflops_per_actor"], rel=5e-3)
    one_cell = clips[..., : record.meta["min_size"][0], : record.meta["min_size"][1]]
    assert model.backbone(one_cell).shape[2:] == (1, 1)
    assert record.meta["min_size"] == (architecture.spatial_stride,) * 2


@pytest.mark.parametrize("record", list(SlowFast_R50_Weights), ids=str)
def test_published_backbone_has_the_parameters_of_its_record(record: SlowFast_R50_Weights) -> None:
    architecture = SlowFastArchitecture(
        lateral_norm=record.meta["lateral_norm"], res5_dilation=record.meta["res5_dilation"]
    )
    with torch.device("meta"):
        backbone = zoo.create_slowfast_detector(architecture).backbone
    assert sum(parameter.numel() for parameter in backbone.parameters()) == record.meta["num_params"]


def test_torchvision_knows_the_models() -> None:
    names = {"slowfast_r50_acrn", "slowfast_r50_roi", "slowfast_acrn_mini"}
    assert names <= set(torchvision.models.list_models())
    assert torchvision.models.get_model_weights("slowfast_acrn_mini") is SlowFast_ACRN_Mini_Weights
    assert torchvision.models.get_model_weights("slowfast_r50_acrn") is SlowFast_R50_ACRN_Weights
    assert torchvision.models.get_model_weights("slowfast_r50_roi") is SlowFast_R50_RoI_Weights


@pytest.mark.parametrize(
    ("build", "pool"),
    [
        (lambda: zoo.slowfast_acrn_ava21(), "avg"),
        (lambda: zoo.slowfast_acrn_ava22(), "avg"),
        (lambda: zoo.slowfast_acrn_ava22(weights="AVA22_V0"), "max"),
        (lambda: zoo.slowfast_r50_acrn(weights="SlowFast_R50_ACRN_Weights.AVA21_V0"), "max"),
        (lambda: torchvision.models.get_model("slowfast_r50_acrn", weights="DEFAULT"), "avg"),
    ],
)
def test_records_bring_their_pooling(
    build: Any,
    pool: str,
    published_checkpoint: Path,
    published_state_dict: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "fetch", lambda _url, **_options: published_checkpoint)
    model = build()
    assert model.backbone.temporal_pool == pool
    assert model.categories == CATEGORIES
    assert model.preprocessing == Preprocessing(32, 2 / 30, 256)
    assert not model.training
    expected = published_state_dict["roi_head.bbox_head.fc_cls.weight"][1:]
    assert torch.equal(model.head.classifier.weight, expected)


def test_fetches_what_the_record_says(monkeypatch: pytest.MonkeyPatch, published_checkpoint: Path) -> None:
    calls = []

    def fetch(url: str, *, sha256_prefix: str, progress: bool, advice: str) -> Path:
        assert 'weights="path/to/' in advice
        calls.append((url, sha256_prefix, progress))
        return published_checkpoint

    monkeypatch.setattr(loading, "fetch", fetch)
    zoo.slowfast_acrn_ava22(progress=False)
    assert calls == [(SlowFast_R50_ACRN_Weights.AVA22_V1.url, "66ec24a2", False)]


@pytest.mark.parametrize(
    "build",
    [
        zoo.slowfast_acrn_mini,
        lambda: zoo.slowfast_acrn_mini(weights="SMALL_WORLD_V1", pretrained=False),
        lambda: torchvision.models.get_model("slowfast_acrn_mini", weights="DEFAULT"),
        lambda: acrn_zoo.load_detector(SlowFast_ACRN_Mini_Weights.DEFAULT),
        lambda: acrn_zoo.load_detector(Path(zoo.__file__).parent / "pretrained" / "slowfast_acrn_mini.pth"),
    ],
)
def test_the_mini_comes_with_the_package(build: Any) -> None:
    model = build()
    assert model.categories == SlowFast_ACRN_Mini_Weights.DEFAULT.meta["categories"]
    assert model.preprocessing == Preprocessing(8, 0.1, 64)
    assert model.architecture == asdict(zoo.MINI)
    assert not model.training


def test_the_mini_takes_its_own_files_only(tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    path, _ = small_file(tmp_path / "same", replace(zoo.MINI, dropout=0.3))
    assert zoo.slowfast_acrn_mini(weights=path).head.relation.dropout == 0.3
    path, _ = small_file(tmp_path)
    with pytest.raises(CheckpointError, match="beta=8, expected 2"):
        zoo.slowfast_acrn_mini(weights=path)
    with pytest.raises(WeightsError, match="SMALL_WORLD_V1"):
        zoo.slowfast_acrn_mini(weights="AVA22_V1")
    with pytest.raises(ArchitectureError, match="expected True or False"):
        zoo.slowfast_acrn_mini("SMALL_WORLD_V1")  # type: ignore[arg-type]


def test_the_clips_that_a_model_was_trained_on_travel_with_it(tmp_path: Path, published_checkpoint: Path) -> None:
    path, detector = small_file(tmp_path)
    assert acrn_zoo.load_detector(path).preprocessing is None
    detector.preprocessing = Preprocessing(clip_length=16, frame_interval=0.04, short_side=112)
    acrn_zoo.save_detector(tmp_path / "clips.pth", detector)
    loaded = acrn_zoo.load_detector(tmp_path / "clips.pth")
    assert loaded.preprocessing == detector.preprocessing
    assert replace_classifier(loaded, 2).preprocessing == detector.preprocessing
    assert acrn_zoo.load_detector(published_checkpoint).preprocessing is None


@pytest.mark.parametrize("clips", [{"clip_length": 0}, {"short_side": 1.5}, {"colour": "red"}], ids=str)
def test_clips_that_cannot_be_made(clips: dict[str, Any], tmp_path: Path) -> None:
    path, _ = small_file(tmp_path)
    content = torch.load(path, weights_only=True)
    torch.save({**content, "preprocessing": clips}, path)
    with pytest.raises(CheckpointError, match=r"small.pth says that it was trained on clips of .* cannot make"):
        acrn_zoo.load_detector(path)


@pytest.mark.parametrize(("given", "pool"), [(None, "avg"), ("avg", "avg"), ("max", "max")])
def test_path_of_a_file_that_does_not_tell_its_pooling(
    given: Any,
    pool: str,
    published_checkpoint: Path,
) -> None:
    model = acrn_zoo.slowfast_acrn_ava22(weights=str(published_checkpoint), temporal_pool=given)
    assert model.backbone.temporal_pool == pool


def test_published_file_is_known_by_its_hash(published_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(published_checkpoint.read_bytes()).hexdigest()
    monkeypatch.setitem(SlowFast_R50_ACRN_Weights.AVA22_V0.meta, "sha256_prefix", digest[:8])
    assert acrn_zoo.load_detector(published_checkpoint).backbone.temporal_pool == "max"
    with pytest.raises(ArchitectureError, match="temporal_pool='avg' contradicts .* which has 'max'"):
        acrn_zoo.load_detector(published_checkpoint, temporal_pool="avg")


def test_initial_weights_of_the_backbone(published_checkpoint: Path) -> None:
    model = acrn_zoo.slowfast_r50_roi(weights_backbone=published_checkpoint, num_classes=7, temporal_pool="max")
    whole = acrn_zoo.load_detector(published_checkpoint)
    assert model.num_classes == 7
    assert model.backbone.temporal_pool == "max"
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, whole.backbone.state_dict()[name]), name


def test_pytorchvideo_backbone_is_pytorchvideos_own(tmp_path: Path) -> None:
    """Its lateral connections have BatchNorm and ReLU, its detector is dilated: features equal its own trunk's."""
    from pytorchvideo.models.slowfast import create_slowfast_with_roi_head

    torch.manual_seed(0)
    theirs = create_slowfast_with_roi_head().eval()
    path = tmp_path / "detection.pyth"
    torch.save({"model_state": theirs.state_dict()}, path)
    ours = acrn_zoo.slowfast_r50_acrn(weights_backbone=path).eval()

    clips = torch.randn(1, 3, 32, 64, 64)
    features: Any = [clips[:, :, ::4], clips]
    with torch.inference_mode():
        for block in theirs.model.blocks[:5]:
            features = block(features)
        expected = torch.cat([pathway.mean(dim=2) for pathway in features], dim=1)
        torch.testing.assert_close(ours.backbone(clips), expected, rtol=1e-5, atol=1e-6)


def small_file(folder: Path, architecture: SlowFastArchitecture = SMALL) -> tuple[Path, ActionDetector]:
    torch.manual_seed(0)
    detector = zoo.create_slowfast_detector(architecture).eval()
    names = tuple(f"class {number}" for number in range(architecture.num_classes))
    acrn_zoo.save_detector(folder / "small.pth", detector, names)
    return folder / "small.pth", detector


def test_saved_as_it_was_built(tmp_path: Path) -> None:
    """The pooling of a published file travels on through our own."""
    detector = zoo.create_slowfast_detector(SMALL)
    acrn_zoo.save_detector(tmp_path / "again.pth", detector)
    loaded = acrn_zoo.load_detector(tmp_path / "again.pth")
    assert loaded.architecture == detector.architecture
    assert loaded.categories == ("action 1", "action 2", "action 3")
    by_hand = ActionDetector(detector.backbone, detector.head)
    with pytest.raises(ArchitectureError, match="put together by hand"):
        acrn_zoo.save_detector(tmp_path / "hand.pth", by_hand)
    with pytest.raises(CheckpointError, match="2 categories are not as many"):
        acrn_zoo.save_detector(tmp_path / "names.pth", detector, ("a", "b"))


def test_dropout_is_the_callers(published_checkpoint: Path) -> None:
    assert acrn_zoo.slowfast_r50_acrn(weights=published_checkpoint).head.relation.dropout == 0.5
    model = acrn_zoo.slowfast_r50_acrn(weights=published_checkpoint, dropout=0.1)
    assert model.head.relation.dropout == 0.1
    assert model.architecture["dropout"] == 0.1


@pytest.mark.parametrize("spatial_stride", [8, 16])
@pytest.mark.parametrize("relation", get_args(Relation))
def test_every_head_and_stride_comes_back(relation: Relation, spatial_stride: int, tmp_path: Path) -> None:
    architecture = replace(SMALL, relation=relation, spatial_stride=spatial_stride, relation_channels=16, dropout=0.25)
    path, detector = small_file(tmp_path, architecture)
    loaded = acrn_zoo.load_detector(path)
    assert loaded.architecture == asdict(architecture)
    assert loaded.head.relation.dropout == 0.25
    assert loaded.head.relation.out_features == (288 if relation == "actor_only" else 16)
    clips, boxes = torch.randn(1, 3, 8, 32, 32), [torch.tensor([[1.0, 2.0, 20.0, 30.0]])]
    assert torch.equal(loaded(clips, boxes), detector(clips, boxes))


def test_file_from_before_there_was_a_stride(tmp_path: Path) -> None:
    path, detector = small_file(tmp_path)
    content = torch.load(path, weights_only=True)
    del content["architecture"]["spatial_stride"]
    torch.save(content, path)
    assert acrn_zoo.load_detector(path).architecture == detector.architecture


def test_other_actions_come_back(tmp_path: Path) -> None:
    path, detector = small_file(tmp_path)
    changed = replace_classifier(acrn_zoo.load_detector(path), 2, ("class 2", "new"), keep={2: 0})
    acrn_zoo.save_detector(tmp_path / "changed.pth", changed)
    loaded = acrn_zoo.load_detector(tmp_path / "changed.pth")
    assert loaded.categories == ("class 2", "new")
    clips, boxes = torch.randn(1, 3, 8, 32, 32), [torch.tensor([[1.0, 2.0, 20.0, 30.0]])]
    torch.testing.assert_close(loaded(clips, boxes)[:, 0], detector(clips, boxes)[:, 2])


@pytest.mark.parametrize("relation", get_args(Relation))
@pytest.mark.parametrize("relation_channels", [None, 16])
def test_bare_state_dict_of_ours(relation: Relation, relation_channels: int | None, tmp_path: Path) -> None:
    channels = None if relation == "actor_only" else relation_channels
    detector = zoo.create_slowfast_detector(
        replace(SMALL, temporal_pool="avg", relation=relation, relation_channels=channels)
    )
    torch.save(detector.state_dict(), tmp_path / "bare.pth")
    assert acrn_zoo.load_detector(tmp_path / "bare.pth").architecture == detector.architecture


def test_the_ratio_of_channels_is_seen_in_the_tensors(tmp_path: Path) -> None:
    detector = zoo.create_slowfast_detector(replace(SMALL, temporal_pool="avg", beta=2))
    assert detector.backbone.out_channels == 8 * 32 + 4 * 32
    torch.save(detector.state_dict(), tmp_path / "bare.pth")
    assert acrn_zoo.load_detector(tmp_path / "bare.pth").architecture == detector.architecture


@pytest.mark.parametrize("broken", [{"width": 7}, {"depth": "50"}, {"alpha": 0}, {"colour": "red"}], ids=str)
def test_own_file_that_cannot_be_built(broken: dict[str, Any], tmp_path: Path) -> None:
    path, _ = small_file(tmp_path)
    content = torch.load(path, weights_only=True)
    content["architecture"] |= broken
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="cannot build"):
        acrn_zoo.load_detector(path)


def test_backbone_keeps_the_pooling_that_its_file_tells(
    tmp_path: Path, published_state_dict: dict[str, Tensor]
) -> None:
    path = tmp_path / "told.pth"
    config = "type='SingleRoIExtractor3D', temporal_pool_mode='max', background_class=True, multilabel=True"
    torch.save({"meta": {"cfg": config}, "state_dict": published_state_dict}, path)
    assert acrn_zoo.slowfast_r50_roi(weights_backbone=path).backbone.temporal_pool == "max"
    assert acrn_zoo.slowfast_r50_roi(weights_backbone=path, temporal_pool="avg").backbone.temporal_pool == "avg"


def test_own_file_comes_back(tmp_path: Path) -> None:
    path, detector = small_file(tmp_path)
    loaded = acrn_zoo.load_detector(path)
    assert loaded.categories == ("class 0", "class 1", "class 2")
    assert loaded.backbone.temporal_pool == "max"
    clips, boxes = torch.randn(1, 3, 8, 32, 32), [torch.tensor([[1.0, 2.0, 20.0, 30.0]])]
    assert torch.equal(loaded(clips, boxes), detector(clips, boxes))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"weights": "AVA23"}, "AVA21_V0, AVA21_V1, AVA22_V0, AVA22_V1"),
        ({"weights": SlowFast_R50_Weights.DEFAULT}, "not known"),
        ({"weights": "nowhere/file.pth"}, "does not exist"),
        ({"temporal_pool": "sum"}, "expected one of 'avg', 'max'"),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_wrong_arguments(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        acrn_zoo.slowfast_r50_acrn(**numbers)


def test_dataset_names_take_their_own_records_only() -> None:
    with pytest.raises(WeightsError, match="AVA22_V0 are not of this dataset: expected one of AVA21_V0, AVA21_V1"):
        acrn_zoo.slowfast_acrn_ava21(weights="AVA22_V0")
    with pytest.raises(ArchitectureError, match="expected True or False"):
        acrn_zoo.slowfast_acrn_ava21("AVA21_V0")  # type: ignore[arg-type]


def test_default_of_a_dataset_is_its_own(monkeypatch: pytest.MonkeyPatch, published_checkpoint: Path) -> None:
    urls = []

    def fetch(url: str, **_options: object) -> Path:
        urls.append(url)
        return published_checkpoint

    monkeypatch.setattr(loading, "fetch", fetch)
    acrn_zoo.slowfast_acrn_ava21(weights="DEFAULT")
    assert urls == [SlowFast_R50_ACRN_Weights.AVA21_V1.url]


def test_numbers_may_not_contradict_the_weights(published_checkpoint: Path) -> None:
    with pytest.raises(ArchitectureError, match="num_classes=10 contradicts .* which has 80"):
        acrn_zoo.slowfast_r50_acrn(weights=published_checkpoint, num_classes=10)
    with pytest.raises(ArchitectureError, match="weights_backbone goes with weights=None"):
        acrn_zoo.slowfast_r50_acrn(weights=published_checkpoint, weights_backbone="DEFAULT")


def test_file_of_another_model(tmp_path: Path, published_checkpoint: Path) -> None:
    path, _ = small_file(tmp_path)
    with pytest.raises(CheckpointError, match="holds a detector with depth=18, expected 50"):
        acrn_zoo.slowfast_r50_acrn(weights=path)
    with pytest.raises(CheckpointError, match="relation='acrn', expected 'actor_only'"):
        acrn_zoo.slowfast_r50_roi(weights=published_checkpoint)
    content = torch.load(path, weights_only=True)
    content["architecture"] = asdict(SlowFastArchitecture(num_classes=3, spatial_stride=8))
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="holds a detector with spatial_stride=8, expected 16"):
        acrn_zoo.slowfast_r50_acrn(weights=path)
    other = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), other)
    with pytest.raises(CheckpointError, match=r"other.pth: .*not of a SlowFast model: it holds weight, bias"):
        acrn_zoo.load_detector(other)


def test_backbone_file_is_no_detector(tmp_path: Path) -> None:
    _, detector = small_file(tmp_path)
    path = tmp_path / "kinetics.pyth"
    names = {f"blocks.{name.removeprefix('blocks.')}": v for name, v in detector.backbone.state_dict().items()}
    torch.save({"model_state": names}, path)
    with pytest.raises(CheckpointError, match="only a backbone .*pass it as weights_backbone"):
        acrn_zoo.load_detector(path)


def test_acrn_head_on_a_pytorchvideo_backbone() -> None:
    """PyTorchVideo's habit: a backbone and a head make a detector, by its own class or by ours."""
    from pytorchvideo.models.net import DetectionBBoxNetwork
    from pytorchvideo.models.resnet import create_resnet

    slow = create_resnet(model_depth=50, stem_dim_out=8, head=None)
    backbone = TimePooled(slow, out_channels=256, spatial_stride=32, clip_length=8)
    head = acrn_zoo.create_acrn_head(256, num_classes=5, spatial_stride=32, relation_channels=16)
    clips, box = torch.randn(1, 3, 8, 64, 64), torch.tensor([[3.0, 4.0, 40.0, 60.0]])
    ours = ActionDetector(backbone, head).eval()
    theirs = DetectionBBoxNetwork(backbone, head).eval()
    rows = torch.cat([torch.zeros(1, 1), box], dim=1)
    assert torch.equal(ours(clips, [box]), theirs(clips, rows))
