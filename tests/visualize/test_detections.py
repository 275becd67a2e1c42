"""What is drawn where: inside the frame, readable, and nothing else touched."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ImageFont
from torch import Tensor

from acrn_zoo.structures import Detections, Keyframe
from acrn_zoo.visualize import (
    PictureError,
    canvas,
    contact_sheet,
    draw_annotations,
    draw_detections,
    enlarged_size,
    save_png,
)
from acrn_zoo.visualize import plates as layout_of

CATEGORIES = (
    "stand",
    "carry/hold (an object)",
    "talk to (e.g., self, a person, a group)",
    "give/serve (an object) to (a person)",
    "play musical instrument",
    "x" * 300,
)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(60, 200, (1, 3, 6, 8), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return smooth[0].permute(1, 2, 0).to(torch.uint8).contiguous()


def detections_of(frame: Tensor, boxes: list[list[float]], score: float = 0.9) -> Detections:
    size = (int(frame.shape[0]), int(frame.shape[1]))
    scores = torch.full((len(boxes), len(CATEGORIES)), score)
    return Detections(
        keyframe=Keyframe("film", 1.0),
        frame_size=size,
        boxes=torch.tensor(boxes).reshape(-1, 4).float(),
        person_scores=torch.ones(len(boxes)),
        scores=scores,
        categories=CATEGORIES,
    )


def crowd(number: int, size: tuple[int, int], seed: int = 0) -> list[list[float]]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(number, 2, generator=generator)
    halves = torch.rand(number, 2, generator=generator) * 0.15 + 0.02
    fractions = torch.cat([centres - halves, centres + halves], dim=1).clamp(0, 1)
    return (fractions * torch.tensor([size[1], size[0], size[1], size[0]])).tolist()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((256, 340), (512, 680)),
        ((240, 426), (480, 852)),
        ((256, 341), (512, 682)),
        ((479, 853), (958, 1706)),
        ((480, 270), (960, 540)),
        ((480, 853), (480, 853)),
        ((1080, 1920), (1080, 1920)),
        ((101, 75), (707, 525)),
        ((1, 1), (480, 480)),
    ],
)
def test_size_rule(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert enlarged_size(size) == expected
    frame = picture(*size)
    assert draw_detections(frame, detections_of(frame, [])).shape == (*expected, 3)


@pytest.mark.parametrize("size", [(480, 640), (256, 340)])
def test_nobody_leaves_the_picture_as_it_is(size: tuple[int, int]) -> None:
    frame = picture(*size)
    drawn = draw_detections(frame, detections_of(frame, []))
    assert drawn.dtype == torch.uint8
    factor = drawn.shape[0] // size[0]
    middles = drawn.reshape(size[0], factor, size[1], factor, 3).float().mean(dim=(1, 3))
    assert (middles - frame.float()).abs().max() <= (0 if factor == 1 else 4)
    blocks = frame.repeat_interleave(factor, dim=0).repeat_interleave(factor, dim=1)
    assert torch.equal(drawn, blocks) == (factor == 1)  # enlarged smoothly


def test_draws_the_box_and_nothing_far_away() -> None:
    frame = picture(500, 640)
    drawn = draw_detections(frame, detections_of(frame, [[300.0, 200, 420, 400]]), top=1)
    orange = torch.tensor(canvas.PALETTE[0], dtype=torch.uint8)
    for border in (drawn[200, 300:420], drawn[399, 300:420], drawn[200:400, 300], drawn[200:400, 419]):
        assert bool((border == orange).all())
    for rim in (drawn[400, 300:420], drawn[200:400, 420]):
        assert not bool((rim == orange).all(dim=-1).any())
    inside, untouched = drawn[210:390, 310:410], frame[210:390, 310:410]
    assert torch.equal(inside, untouched)
    for far in (drawn[:150], drawn[410:], drawn[:, :290], drawn[:, 600:]):
        assert far.numel() > 0
    changed = (drawn != frame).any(dim=2).nonzero()
    (top, left), (bottom, right) = changed.min(dim=0).values.tolist(), changed.max(dim=0).values.tolist()
    assert 160 < top < 200
    assert left == 299
    assert bottom == 400
    assert right <= 600


def test_argument_is_untouched_and_result_is_new() -> None:
    frame = picture(500, 640)
    kept = frame.clone()
    drawn = draw_detections(frame, detections_of(frame, [[10.0, 10, 400, 400]]))
    drawn.zero_()
    assert torch.equal(frame, kept)


def test_frames_in_any_memory_order() -> None:
    frame = picture(500, 640)
    detections = detections_of(frame, [[10.0, 10, 400, 400]])
    strided = frame.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert torch.equal(draw_detections(strided, detections), draw_detections(frame, detections))


def test_boxes_follow_an_enlarged_frame() -> None:
    frame = picture(256, 340)
    drawn = draw_detections(frame, detections_of(frame, [[100.0, 120, 200, 220]]), top=1)
    orange = torch.tensor(canvas.PALETTE[0], dtype=torch.uint8)
    assert bool((drawn[240, 200:400] == orange).all())
    assert bool((drawn[439, 200:400] == orange).all())


def test_boxes_at_the_border_show_all_sides() -> None:
    frame = picture(480, 640)
    drawn = draw_detections(frame, detections_of(frame, [[0.0, 0, 640, 480]], score=0.1))
    orange = torch.tensor(canvas.PALETTE[0], dtype=torch.uint8)
    for border in (drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]):
        assert bool((border == orange).all())


def test_colours_cycle_and_differ() -> None:
    frame = picture(480, 1400)
    boxes = [[10.0 + 100 * index, 200, 90 + 100 * index, 400] for index in range(9)]
    drawn = draw_detections(frame, detections_of(frame, boxes, score=0.1))
    colours = [tuple(drawn[300, int(box[0])].tolist()) for box in boxes]
    assert colours == [*canvas.PALETTE, *canvas.PALETTE[:2]]
    assert len(set(canvas.PALETTE)) == 7


@pytest.mark.parametrize(("top", "threshold"), [(0, 0.3), (5, 0.95)])
def test_no_plate_without_actions(top: int, threshold: float) -> None:
    frame = picture(480, 640)
    drawn = draw_detections(frame, detections_of(frame, [[300.0, 200, 420, 400]]), top=top, threshold=threshold)
    assert torch.equal(drawn[:199], frame[:199])
    assert not torch.equal(drawn[200], frame[200])


def test_more_actions_make_a_larger_plate() -> None:
    frame = picture(480, 640)
    detections = detections_of(frame, [[300.0, 200, 420, 400]])
    changed = [int((draw_detections(frame, detections, top=top) != frame).any(dim=2).sum()) for top in (0, 1, 2, 3)]
    assert changed == sorted(set(changed))


@pytest.mark.parametrize("box", [[5.0, 5, 5.001, 5.001], [639.9, 479.9, 640, 480], [0, 0, 640, 0.5]])
def test_tiny_boxes(box: list[float]) -> None:
    frame = picture(480, 640)
    assert not torch.equal(draw_detections(frame, detections_of(frame, [box])), frame)


@pytest.mark.parametrize("size", [(256, 340), (240, 426), (720, 1280), (64, 48), (48, 2000)])
@pytest.mark.parametrize("number", [1, 3, 8, 20, 60])
def test_plates_stay_apart_and_inside(size: tuple[int, int], number: int) -> None:
    height, width = enlarged_size(size)
    boxes = canvas.drawn_boxes(torch.tensor(crowd(number, (height, width))), (height, width))
    font = canvas.font_of_size(14)
    actions = [[(name, "0.90") for name in CATEGORIES] for _ in boxes]
    layout = layout_of.lay_out(actions, boxes, (height, width), font)
    plates = [plate for plate, _ in layout if plate is not None]
    assert len(layout) == number
    assert plates
    for index, (x1, y1, x2, y2) in enumerate(plates):
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        for other in plates[:index]:
            assert x2 <= other[0] or other[2] <= x1 or y2 <= other[1] or other[3] <= y1


def test_crowds_get_fewer_lines() -> None:
    size, font = (720, 1280), canvas.font_of_size(20)

    def num_lines(number: int) -> int:
        boxes = canvas.drawn_boxes(torch.tensor(crowd(number, size)), size)
        actions = [[(name, "0.90") for name in CATEGORIES[:5]] for _ in boxes]
        return max(len(lines) for _, lines in layout_of.lay_out(actions, boxes, size, font))

    assert num_lines(1) == num_lines(3) == 5
    assert num_lines(20) < 5
    assert num_lines(60) == 1


def test_a_plate_stands_above_its_box_if_nothing_is_there() -> None:
    assert layout_of.place_plates([(20, 50)], [(100, 100, 200, 200)], (400, 400)) == [(100, 80, 150, 100)]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((100, 10, 200, 200), (100, 200, 150, 220)),  # no room above: below
        ((100, 0, 200, 400), (200, 0, 250, 20)),  # nor below: beside
        ((0, 0, 400, 400), (0, 0, 50, 20)),  # nor beside: inside
        ((380, 100, 400, 200), (350, 80, 400, 100)),  # pushed back into the picture
    ],
)
def test_places(box: tuple[int, int, int, int], expected: tuple[int, int, int, int]) -> None:
    assert layout_of.place_plates([(20, 50)], [box], (400, 400)) == [expected]


def test_a_plate_avoids_other_people() -> None:
    below, above = (100, 200, 200, 300), (100, 100, 200, 200)
    plates = layout_of.place_plates([(20, 50), None], [below, above], (400, 400))
    assert plates == [(100, 300, 150, 320), None]


def test_a_plate_rather_hides_a_little_than_stands_in_a_worse_place() -> None:
    box, above, below = (100, 100, 200, 200), (100, 70, 200, 81), (100, 200, 200, 220)
    plates = layout_of.place_plates([(20, 100), None, None], [box, above, below], (400, 400))
    assert plates[0] == (100, 80, 200, 100)
    above = (100, 70, 200, 90)
    plates = layout_of.place_plates([(20, 100), None, None], [box, above, below], (400, 400))
    assert plates[0] == (200, 100, 300, 120)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ((280, 10, 320, 40), (0, 45, 400, 400)),
        ((5, 10, 35, 40), (0, 45, 400, 400)),
        ((180, 360, 220, 390), (0, 0, 400, 355)),
    ],
)
def test_a_plate_hides_no_small_box(small: tuple[int, int, int, int], large: tuple[int, int, int, int]) -> None:
    # Above and below, the plate would hide the small box or more of the large one; beside is a worse place.
    for sizes in ([(100, 150), None], [None, (100, 150)]):
        (plate,) = filter(None, layout_of.place_plates(sizes, [small, large], (400, 400)))
        assert not layout_of._overlap(np.array([plate]), np.array([small])).any()


def test_plates_cover_a_quarter_of_the_picture_at_most() -> None:
    size, font = (480, 480), canvas.font_of_size(40)
    actions = [[(name, "0.90") for name in CATEGORIES[:5]]]
    ((plate, lines),) = layout_of.lay_out(actions, [(0, 0, 480, 480)], size, font)
    assert plate is not None
    assert 1 <= len(lines) < 5
    assert (plate[2] - plate[0]) * (plate[3] - plate[1]) <= 480 * 480 / 4


def test_no_place_is_left() -> None:
    assert layout_of.place_plates([(20, 30)] * 2, [(0, 0, 30, 20)] * 2, (20, 30)) == [(0, 0, 30, 20), None]
    assert layout_of.place_plates([(30, 20)], [(0, 0, 30, 20)], (20, 30)) == [None]


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("carry/hold (an object)", 1000, "carry/hold (an object)"),
        ("carry/hold (an object)", 150, "carry/hold"),
        ("give/serve (an object) to (a person)", 150, "give/serve to"),
        ("(odd)", 10, ""),
        ("play musical instrument", 130, "play musica\N{HORIZONTAL ELLIPSIS}"),
    ],
)
def test_names_are_shortened(name: str, width: int, expected: str) -> None:
    assert layout_of.fit_line((name, "0.90"), canvas.font_of_size(14), width) == (expected, "0.90")


def test_detections_of_other_frames_are_refused() -> None:
    detections = detections_of(picture(480, 640), [])
    with pytest.raises(ValueError, match=r"\(256, 340\).*\(480, 640\)"):
        draw_detections(picture(256, 340), detections)


@pytest.mark.parametrize("frame", [torch.zeros(480, 640, 3), torch.zeros(3, 480, 640, dtype=torch.uint8)])
def test_other_tensors_are_refused(frame: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[H, W, 3\]"):
        draw_detections(frame, detections_of(picture(480, 640), []))


def test_contact_sheet() -> None:
    frames = [torch.full((20, 30, 3), 100 + index, dtype=torch.uint8) for index in range(3)]
    sheet = contact_sheet([*frames[:2], frames[2][:10]], columns=2)
    assert sheet.shape == (2 * 26 + 6, 2 * 36 + 6, 3)
    assert bool((sheet[6:26, 6:36] == 100).all())
    assert bool((sheet[6:26, 42:72] == 101).all())
    assert bool((sheet[32:42, 6:36] == 102).all())
    assert int((sheet > 24).sum()) == (600 + 600 + 300) * 3
    assert contact_sheet(frames[:1], columns=5).shape == (32, 42, 3)


@pytest.mark.parametrize(("number", "columns"), [(0, 2), (1, 0)])
def test_contact_sheet_refuses(number: int, columns: int) -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        contact_sheet([picture(4, 4)] * number, columns)


def test_save_png(tmp_path: Path) -> None:
    from PIL import Image

    path, image = tmp_path / "a.png", picture(48, 64)
    save_png(path, image)
    with Image.open(path) as saved:
        assert saved.format == "PNG"
        assert saved.tobytes() == image.numpy().tobytes()
    with pytest.raises(PictureError, match=r"a.png exists already"):
        save_png(path, image)
    save_png(path, image[:10], overwrite=True)
    with Image.open(path) as saved:
        assert saved.size == (64, 10)
    assert list(tmp_path.iterdir()) == [path]


def test_save_png_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PictureError, match=r"Cannot write .*a.png: No such file"):
        save_png(tmp_path / "missing" / "a.png", picture(4, 4))
    (tmp_path / "a.png").write_bytes(b"old")

    def half(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", half)
    with pytest.raises(PictureError, match="No space left"):
        save_png(tmp_path / "a.png", picture(4, 4), overwrite=True)
    assert (tmp_path / "a.png").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((96, 128), (512, 640)), ((480, 640), (512, 640)), ((1080, 1920), (512, 853)), ((200, 1000), (632, 3000))],
)
def test_annotations_are_drawn_at_about_one_size_under_a_caption(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    frame = torch.full((*size, 3), 128, dtype=torch.uint8)
    drawn = draw_annotations(frame, torch.zeros(0, 4), [], caption="film at 3 s")
    assert drawn.shape == (*expected, 3)
    assert (drawn[:32] > 200).any()  # the caption
    assert (drawn[32:] == 128).all()
    assert (frame == 128).all()


def test_annotations_show_their_labels_without_scores() -> None:
    frame = torch.full((480, 640, 3), 128, dtype=torch.uint8)
    box = torch.tensor([[300.0, 100, 420, 400]])
    with_label = draw_annotations(frame, box, [["walk"]], caption="")
    without = draw_annotations(frame, box, [[]], caption="")
    rows, columns = torch.nonzero((with_label != without).any(-1), as_tuple=True)
    assert len(rows) > 0
    assert columns.max() - columns.min() < 80  # as wide as the word, not as word and score
    outline = (without[32:] != 128).any(-1)
    assert outline[98:103, 300:420].any()
    assert not outline[200:300, 310:410].any()


def test_annotations_need_a_list_of_labels_for_every_box() -> None:
    with pytest.raises(ValueError, match="0 lists of labels for 2 boxes"):
        draw_annotations(torch.zeros(64, 64, 3, dtype=torch.uint8), torch.zeros(2, 4), [], caption="")


def test_a_long_caption_is_cut() -> None:
    drawn = draw_annotations(torch.zeros(480, 480, 3, dtype=torch.uint8), torch.zeros(0, 4), [], caption="film " * 99)
    assert drawn.shape == (512, 480, 3)
    assert not (drawn[:32, -4:] > 200).any()


def test_letters_beyond_ascii_are_drawn_where_the_system_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the built-in font they are all the same empty box."""
    frame = torch.zeros(480, 640, 3, dtype=torch.uint8)

    def drawn() -> list[Tensor]:
        canvas.font_of_size.cache_clear()
        return [draw_annotations(frame, torch.zeros(0, 4), [], caption=f"K{letter}che") for letter in "\u00fc\u00f6"]

    monkeypatch.setattr(canvas, "_SYSTEM_FONTS", ())
    assert torch.equal(*drawn())
    monkeypatch.undo()
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        pytest.skip("this system has no DejaVu Sans")
    assert not torch.equal(*drawn())
