"""What an import says about pictures whose rate and first number nobody has said."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from acrn_zoo.data.importers import ImportSummary, import_annotations

OWN_FRAMES = "picture numbers were taken as the video's own frames (25 a second); pictures extracted at another rate"
FROM_ZERO = "no frame is called 0, but they were taken as counted from 0; if from 1: --first-frame 1"


def coco(names: Sequence[str], frame_ids: Sequence[int] | None = None) -> dict[str, Any]:
    images: list[dict[str, Any]] = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    for image, frame in zip(images, frame_ids or (), strict=False):
        image |= {"video": "kitchen", "frame_id": frame}
    return {
        "images": images,
        "annotations": [{"image_id": n, "category_id": 1, "bbox": [24, 16, 48, 32]} for n in range(len(names))],
        "categories": [{"id": 1, "name": "walk"}],
    }


def via(names: Sequence[str]) -> dict[str, Any]:
    box = {"name": "rect", "x": 24, "y": 16, "width": 48, "height": 32}
    regions = [{"shape_attributes": box, "region_attributes": {"action": "walk"}}]
    return {name: {"filename": name, "regions": regions} for name in names}


def cvat(names: Sequence[str]) -> str:
    box = '<box label="walk" xtl="24" ytl="16" xbr="72" ybr="48"/>'
    images = "".join(f'<image name="{name}" width="96" height="64">{box}</image>' for name in names)
    return f"<annotations>{images}</annotations>"


FORMS = {"coco": coco, "via": via, "cvat": cvat}


def importing(tmp_path: Path, given: object, videos: Path, **options: Any) -> ImportSummary:
    file = tmp_path / "annotations"
    file.write_text(given if isinstance(given, str) else json.dumps(given))
    return import_annotations([file], tmp_path / "out", videos=videos, progress=False, **options)


def moments(tmp_path: Path) -> list[float]:
    return [float(line.split(",")[1]) for line in (tmp_path / "out" / "train.csv").read_text().splitlines()]


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_one_second_each(tmp_path: Path, videos: Path, form: str) -> None:
    """Taken for the video's own frames they are the first sixth of a second of four."""
    given = FORMS[form]([f"kitchen_{number:06d}.jpg" for number in range(1, 5)])
    summary = importing(tmp_path, given, videos)
    assert any(note.startswith(OWN_FRAMES) for note in summary.notes)
    (warning,) = summary.warnings
    assert (
        "of 'kitchen' have consecutive numbers (1 to 4), which as frames of the video are 0.16 s of its 4.00" in warning
    )
    assert "--frame-rate" in warning
    summary = importing(tmp_path, given, videos, frame_rate=1, overwrite=True)
    assert moments(tmp_path) == [0, 1, 2, 3]
    assert summary.warnings == ()
    assert not any("own frames" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("frames", "is_warned"),
    [
        (range(1, 51), True),
        (range(1, 52), False),
        (range(1, 100), False),
        (range(1, 20, 5), False),  # every fifth frame of a part
        (range(1, 3), False),
        ([*range(1, 10), 99], False),
    ],
)
def test_consecutive_numbers_that_cover_a_part(
    tmp_path: Path, videos: Path, frames: Sequence[int], is_warned: bool
) -> None:
    summary = importing(tmp_path, via([f"kitchen_{number}.jpg" for number in frames]), videos)
    assert bool(summary.warnings) == is_warned
    assert any(note.startswith(OWN_FRAMES) for note in summary.notes)


def test_folders_of_frames_have_their_own_rate(tmp_path: Path) -> None:
    (tmp_path / "kitchen").mkdir()
    for number in range(1, 20):
        Image.new("RGB", (96, 64)).save(tmp_path / "kitchen" / f"{number:06d}.jpg")
    summary = importing(tmp_path, via([f"kitchen/{n:06d}.jpg" for n in (1, 2, 3)]), tmp_path, frame_rate=25)
    assert summary.warnings == ()
    assert not any("own frames" in note for note in summary.notes)


def test_frames_that_cvat_took_from_the_video_itself(tmp_path: Path, videos: Path) -> None:
    """They are the video's own frames: nothing is to be said."""
    head = "<annotations><meta><task><source>kitchen.mp4</source></task></meta>"
    images = "".join(
        f'<image id="{n}" name="frame_{n}" width="96" height="64"><box label="walk" xtl="24" ytl="16" xbr="72" '
        'ybr="48"/></image>'
        for n in range(1, 5)
    )
    summary = importing(tmp_path, f"{head}{images}</annotations>", videos)
    assert summary.warnings == ()
    assert not any("frame" in note for note in summary.notes)


@pytest.mark.parametrize(
    ("frame_ids", "options", "expected", "is_noted"),
    [
        ([1, 26, 51], {}, [0.04, 1.04, 2.04], True),
        ([1, 26, 51], {"first_frame": 1}, [0, 1, 2], False),
        ([0, 25, 50], {}, [0, 1, 2], False),
        ([1, 26, 51], {"first_frame": 0}, [0.04, 1.04, 2.04], False),
    ],
)
def test_frame_ids_without_a_zero(
    tmp_path: Path,
    videos: Path,
    frame_ids: list[int],
    options: dict[str, Any],
    expected: list[float],
    is_noted: bool,
) -> None:
    summary = importing(tmp_path, coco(["a.jpg", "b.jpg", "c.jpg"], frame_ids), videos, **options)
    assert moments(tmp_path) == pytest.approx(expected)
    assert (FROM_ZERO in summary.notes) == is_noted
