"""One battery for every model: sizes, dtypes, layouts, numbers of actors, compilation."""

import copy
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from acrn_zoo.architecture import ArchitectureError, SlowFastArchitecture
from acrn_zoo.models import ActionDetector, ActionHead, ActorCentricRelation, RoIPooling
from acrn_zoo.models.relation import Relation
from acrn_zoo.zoo import create_slowfast_detector


def small_detector(relation: Relation = "acrn") -> ActionDetector:
    torch.manual_seed(0)
    # Untrained BatchNorm leaves a fresh network's features so alike that mistakes would not show.
    model = create_slowfast_detector(SlowFastArchitecture(relation=relation, depth=18, width=8, num_classes=5))
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    torch.nn.init.normal_(model.head.classifier.weight)
    return model.eval()


def some_boxes(number: int, size: int = 64) -> Tensor:
    corner = torch.rand(number, 2) * size / 2
    return torch.cat([corner, corner + 1 + torch.rand(number, 2) * size / 2], dim=1)


@pytest.fixture(params=get_args(Relation))
def detector(request: pytest.FixtureRequest) -> ActionDetector:
    return small_detector(request.param)


@pytest.mark.parametrize("length", [8, 9, 30, 32, 33, 64])
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 31), (1, 1)], ids=str)
def test_any_length_and_size(detector: ActionDetector, length: int, size: tuple[int, int]) -> None:
    logits = detector(torch.randn(1, 3, length, *size), [some_boxes(2, 30)])
    assert logits.shape == (2, 5)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("depth", "alpha", "message"), [(50, 4, "8x8"), (101, 4, "8x8"), (50, 8, "4x16"), (101, 8, "4x16")]
)
def test_other_depths_and_rates(depth: int, alpha: int, message: str) -> None:
    model: Any = create_slowfast_detector(SlowFastArchitecture(depth=depth, alpha=alpha, width=8)).eval()
    slow_frames: list[int] = []
    model.backbone.blocks[0].multipathway_blocks[0].register_forward_hook(
        lambda _module, _inputs, output: slow_frames.append(output.shape[2])
    )
    assert model(torch.randn(1, 3, 32, 32, 32), [some_boxes(1, 32)]).shape == (1, 80)
    assert f"{slow_frames[0]}x{32 * 2 // slow_frames[0]}" == message


@pytest.mark.parametrize(("stride", "size"), [(8, (9, 13)), (16, (5, 7))], ids=str)
def test_spatial_strides(stride: int, size: tuple[int, int]) -> None:
    """The map has a cell for every stride of pixels, and windows are cut where the boxes are."""
    torch.manual_seed(0)
    architecture = SlowFastArchitecture(depth=18, width=8, num_classes=5, spatial_stride=stride)
    model: Any = create_slowfast_detector(architecture).eval()
    clips = torch.randn(1, 3, 8, 65, 97)
    assert model.backbone(clips).shape[2:] == size
    assert model.backbone.spatial_stride == stride
    scene = torch.arange(13.0).expand(1, 1, 9, 13)
    box = torch.tensor([[0.0, 2.0 * stride, 2.0 * stride, 4.0 * stride, 4.0 * stride]])
    assert model.head.roi(scene, box).mean().item() == pytest.approx(2.5)  # cells 2 and 3


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("counts", [(2, 0, 3), (0, 0, 0), (0, 1, 0)], ids=str)
def test_uneven_numbers_of_actors(detector: ActionDetector, counts: tuple[int, ...], is_training: bool) -> None:
    detector.train(is_training)
    logits = detector(torch.randn(3, 3, 8, 32, 32), [some_boxes(count, 32) for count in counts])
    assert logits.shape == (sum(counts), 5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())
    assert all(buffer.isfinite().all() for buffer in detector.buffers())


def test_actors_are_independent_of_order_and_of_other_clips(detector: ActionDetector) -> None:
    clips, first, second = torch.randn(2, 3, 8, 64, 64), some_boxes(3), some_boxes(2)
    logits = detector(clips, [first, second])
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(detector(clips, [first[order], second])[:3], logits[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(detector(clips[1:], [second]), logits[3:], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(detector(clips[:1], [second]), logits[3:], atol=1e-3)


@pytest.mark.parametrize(
    "box",
    [(-20.0, -10.0, 30.0, 90.0), (10.0, 10.0, 10.4, 10.3), (63.0, 0.0, 64.0, 64.0), (-50.0, -50.0, 200.0, 200.0)],
    ids=["over the border", "less than a pixel", "last column", "larger than the clip"],
)
def test_odd_boxes(detector: ActionDetector, box: tuple[float, ...]) -> None:
    assert detector(torch.randn(1, 3, 8, 64, 64), [torch.tensor([box])]).isfinite().all()


def test_inputs_are_not_written_to(detector: ActionDetector) -> None:
    clips, boxes = torch.randn(2, 3, 8, 32, 32), [some_boxes(2, 32), some_boxes(1, 32)]
    before, boxes_before = clips.clone(), [rows.clone() for rows in boxes]
    detector.train()(clips, boxes)
    assert torch.equal(clips, before)
    assert len(boxes) == 2
    assert all(torch.equal(rows, old) for rows, old in zip(boxes, boxes_before, strict=True))


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.bfloat16, 0.15), (torch.float16, 0.02)], ids=str
)
def test_dtypes(detector: ActionDetector, dtype: torch.dtype, tolerance: float) -> None:
    clips, boxes = torch.randn(1, 3, 8, 64, 64), [some_boxes(3)]
    expected = detector(clips, boxes)
    logits = copy.deepcopy(detector).to(dtype)(clips.to(dtype), boxes)
    assert logits.dtype == dtype
    assert (logits.float() - expected).abs().max() <= tolerance * expected.abs().max()


def test_boxes_keep_their_precision_in_half_precision(detector: ActionDetector) -> None:
    """At x = 1001.5 a bfloat16 box would be rounded by up to 4 pixels."""
    half = copy.deepcopy(detector).bfloat16()
    clips = torch.randn(1, 3, 8, 32, 1024).bfloat16()
    box = torch.tensor([[1001.5, 3.0, 1009.5, 30.0]])
    assert not torch.equal(half(clips, [box]), half(clips, [box.bfloat16().float()]))


def test_autocast(detector: ActionDetector) -> None:
    clips, boxes = torch.randn(1, 3, 8, 64, 64), [some_boxes(3)]
    expected = detector(clips, boxes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = detector(clips, boxes)
    assert (logits.float() - expected).abs().max() <= 0.15 * expected.abs().max()


def test_channels_last(detector: ActionDetector) -> None:
    clips, boxes = torch.randn(2, 3, 8, 64, 64), [some_boxes(3), some_boxes(0)]
    layout = torch.channels_last_3d
    logits = copy.deepcopy(detector).to(memory_format=layout)(clips.to(memory_format=layout), boxes)
    torch.testing.assert_close(logits, detector(clips, boxes), rtol=1e-4, atol=1e-5)


def test_heads_compile_to_one_graph(detector: ActionDetector) -> None:
    torch.compiler.reset()  # the heads share the code that is compiled, and its limit of recompilations
    compiled = torch.compile(detector.head, backend="eager", fullgraph=True)
    scene = torch.randn(2, 288, 3, 4)
    for number in (3, 1, 5, 0):
        rois = torch.cat([torch.randint(2, (number, 1)), some_boxes(number)], dim=1)
        torch.testing.assert_close(compiled(scene, rois), detector.head(scene, rois), rtol=1e-4, atol=1e-4)


def test_compiles_to_one_graph() -> None:
    torch.compiler.reset()
    detector = small_detector()
    clips, boxes = torch.randn(2, 3, 8, 48, 64), [some_boxes(3), some_boxes(0)]
    compiled = torch.compile(detector, backend="eager", fullgraph=True)
    for rows in (boxes, [some_boxes(1), some_boxes(4)], [some_boxes(0), some_boxes(0)]):
        torch.testing.assert_close(compiled(clips, rows), detector(clips, rows), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiles_with_inductor(detector: ActionDetector) -> None:
    clips = torch.randn(2, 3, 8, 48, 64)
    compiled = torch.compile(detector)
    for boxes in ([some_boxes(3), some_boxes(0)], [some_boxes(1), some_boxes(4)]):
        torch.testing.assert_close(compiled(clips, boxes), detector(clips, boxes), rtol=1e-4, atol=1e-4)


def test_dropout_only_in_training(detector: ActionDetector) -> None:
    clips, boxes = torch.randn(1, 3, 8, 64, 64), [some_boxes(3)]
    assert torch.equal(detector(clips, boxes), detector(clips, boxes))
    for module in detector.train().modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    assert not torch.equal(detector(clips, boxes), detector(clips, boxes))


@pytest.mark.parametrize(
    ("clips", "boxes", "message"),
    [
        (
            torch.zeros(3, 8, 32, 32),
            [some_boxes(1)],
            r"clips is torch.float32 .* floats \[N, 3, T, H, W\]",
        ),
        (torch.zeros(1, 4, 8, 32, 32), [some_boxes(1)], "clips is torch.float32"),
        (torch.zeros(1, 3, 7, 32, 32), [some_boxes(1)], "at least 8 frames"),
        (torch.zeros(1, 3, 8, 0, 32), [some_boxes(1)], "at least one pixel"),
        (torch.zeros(2, 3, 8, 32, 32), [some_boxes(1)], "boxes is 1 tensors, expected a list of 2"),
        (torch.zeros(1, 3, 8, 32, 32), some_boxes(1), "boxes is a Tensor"),
        (torch.zeros(1, 3, 8, 32, 32), [torch.zeros(2, 5)], r"boxes\[0\] is \[2, 5\], expected a tensor"),
        (torch.zeros(1, 3, 8, 32, 32), [[[1.0, 2, 3, 4]]], r"boxes\[0\] is list"),
        (torch.zeros(1, 3, 8, 32, 32), None, "boxes is a NoneType"),
        (torch.zeros(0, 3, 8, 32, 32), [], "clips has no clip"),
        (torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8), [some_boxes(1)], "expected normalised floats"),
    ],
)
def test_wrong_inputs(clips: Tensor, boxes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_detector()(clips, boxes)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"depth": 34}, "depth is 34, expected"),
        ({"width": 12}, "width is 12"),
        ({"width": "64"}, "width is '64', expected a whole number"),
        ({"depth": "50"}, "depth is '50', expected one of 18, 50"),
        ({"alpha": 0}, "alpha is 0"),
        ({"alpha": 2.5}, "alpha is 2.5"),
        ({"res5_dilation": 3}, "res5_dilation is 3"),
        ({"beta": 0}, "beta is 0"),
        ({"beta": 3}, "width is 64, expected a multiple of beta, 3"),
        ({"spatial_stride": 32}, "spatial_stride is 32, expected one of 8, 16"),
        ({"lateral_norm": 1}, "lateral_norm is 1, expected one of False, True"),
        ({"relation_channels": 0}, "relation_channels is 0"),
        ({"num_classes": True}, "num_classes is True"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"temporal_pool": "sum"}, "expected one of 'avg', 'max'"),
        ({"relation": "none"}, "relation is 'none', expected one of 'acrn', 'actor_only', 'pooled_scene', "),
    ],
)
def test_wrong_numbers(numbers: dict[str, object], message: str) -> None:
    with pytest.raises(ArchitectureError, match=message):
        create_slowfast_detector(SlowFastArchitecture(**numbers))  # type: ignore[arg-type]


def test_logits_come_with_their_maps() -> None:
    model = small_detector()
    clips, boxes = torch.randn(2, 3, 8, 64, 96), [some_boxes(2), some_boxes(1)]
    passes: list[int] = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    logits, maps = model.forward_with_maps(clips, boxes)
    assert len(passes) == 1
    assert torch.equal(logits, model(clips, boxes))
    assert maps.shape == (3, 5, 4, 6)
    assert torch.equal(model.activation_maps(clips, boxes), maps)
    without = model.forward_with_maps(clips, [some_boxes(0), some_boxes(0)])
    assert [list(tensor.shape) for tensor in without] == [[0, 5], [0, 5, 4, 6]]


def test_maps_are_the_classifier_on_the_relation_before_its_maximum() -> None:
    """Two of three channels at one place each: the map is their sum there, and bias is no part of it."""
    related = torch.zeros(1, 3, 4, 6)
    related[0, 0, 1, 2], related[0, 1, 3, 5], related[0, 2] = 2.0, 1.0, 0.5
    head = ActionHead(RoIPooling(), FixedRelation(related), num_classes=2).eval()
    with torch.no_grad():
        head.classifier.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, -3.0, 0.0]]))
        head.classifier.bias.copy_(torch.tensor([10.0, 20.0]))
    logits, maps = head.forward_with_maps(torch.zeros(1, 3, 4, 6), torch.tensor([[0.0, 0, 0, 32, 32]]))
    expected = torch.zeros(1, 2, 4, 6)
    expected[0, 0] += 1.0
    expected[0, 0, 1, 2], expected[0, 1, 3, 5] = 3.0, -3.0
    assert torch.equal(maps, expected)
    assert torch.equal(logits, torch.tensor([[13.0, 17.0]]))


class FixedRelation(ActorCentricRelation):
    """A relation head whose map is given."""

    def __init__(self, related: Tensor) -> None:
        super().__init__(in_channels=related.shape[1], out_features=related.shape[1])
        self.related = related

    def forward_with_map(self, actors: Tensor, scene: Tensor, clip_index: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        return self.related.amax(dim=(2, 3)), self.related


def test_map_peaks_where_the_actor_is_related_to_the_scene() -> None:
    """A head made by hand that fires where the scene has what the actor has: 1 + 1 - 1.5 in the same channel."""
    relation: Any = ActorCentricRelation(in_channels=2, out_features=2)
    with torch.no_grad():
        eye = torch.eye(2)
        relation.pair[0].weight.copy_(torch.cat([eye, eye], dim=1)[:, :, None, None, None])
        relation.pair[1].bias.fill_(-1.5)
        relation.context[0].weight.zero_()
        relation.context[0].weight[:, :, 0, 1, 1] = eye
    head = ActionHead(RoIPooling(output_size=1), relation, num_classes=1).eval()
    nn.init.ones_(head.classifier.weight)
    scene = torch.zeros(1, 2, 6, 6)
    scene[0, 0, 0, 0] = scene[0, 0, 4, 5] = 1.0  # an actor of the first kind, and what it belongs to
    scene[0, 1, 0, 3] = scene[0, 1, 5, 1] = 1.0  # the same of the second kind
    rois = torch.tensor([[0.0, 0, 0, 16, 16], [0, 48, 0, 64, 16]])
    _, maps = head.forward_with_maps(scene, rois)
    assert [torch.nonzero(rows[0] > 0.4).tolist() for rows in maps] == [[[0, 0], [4, 5]], [[0, 3], [5, 1]]]


@pytest.mark.parametrize("relation", ["actor_only", "pooled_scene", "scene_attention"])
def test_heads_without_a_map_have_none_to_show(relation: Relation) -> None:
    with pytest.raises(TypeError, match="makes no map of the scene"):
        small_detector(relation).activation_maps(torch.zeros(1, 3, 8, 32, 32), [some_boxes(1, 32)])


def test_maps_are_those_of_evaluation() -> None:
    with pytest.raises(RuntimeError, match=r"in training mode.* eval\(\)"):
        small_detector().train().activation_maps(torch.zeros(1, 3, 8, 32, 32), [some_boxes(1, 32)])
