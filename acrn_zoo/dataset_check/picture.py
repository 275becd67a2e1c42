"""A page of annotated keyframes, to see with one's own eyes whether boxes and labels fit."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from acrn_zoo.data.folder import DatasetFolder
from acrn_zoo.data.frames import open_video
from acrn_zoo.data.manifest import ManifestEntry
from acrn_zoo.data.video import VideoError
from acrn_zoo.dataset_check.findings import Report
from acrn_zoo.dataset_check.geometry import boxes_of, keyframe_codes
from acrn_zoo.tables import TableError, read_annotations
from acrn_zoo.visualize import contact_sheet, draw_annotations

COLUMNS = 3
_MOST_PICTURES = 12


def draw_samples(report: Report) -> Tensor | None:
    """Draw up to 12 keyframes, of different videos where there are so many, from every split.

    Args:
        report: of a check that opened the videos.

    Returns:
        ``[H, W, 3]`` uint8 RGB, or None if there is no keyframe that can be drawn.
    """
    pictures: list[Tensor] = []
    names = list(report.splits)
    for position, split in enumerate(names):
        share = (_MOST_PICTURES - len(pictures)) // (len(names) - position)
        pictures += _pictures(report, split, share)
    return contact_sheet(pictures, COLUMNS) if pictures else None


def _pictures(report: Report, split: str, number: int) -> list[Tensor]:
    folder = report.folder
    try:
        table = read_annotations(folder.split(split).annotations)
    except TableError:
        return []
    table = _drawable(table, report.manifest)
    if table.empty:
        return []
    pictures = []
    for index in _spread(table, number):
        keyframe = table[table["keyframe"] == index]
        try:
            pictures.append(_picture(keyframe, folder, report.manifest, split))
        except VideoError:
            continue  # damaged there; the findings say so
    return pictures


def _drawable(table: pd.DataFrame, manifest: Mapping[str, ManifestEntry]) -> pd.DataFrame:
    """Rows whose box is one inside the frame, at a moment that the video has; with a column ``keyframe``."""
    boxes = boxes_of(table)
    with np.errstate(invalid="ignore"):
        is_box = (boxes[:, 2:] > boxes[:, :2]).all(1) & (boxes >= -0.5).all(1) & (boxes <= 1.5).all(1)
    spans = [_span(manifest.get(name)) for name in table["video_id"].cat.categories]
    begin, end = np.array(spans, dtype=np.float64).reshape(-1, 2)[table["video_id"].cat.codes].T
    moments = table["timestamp"].to_numpy()
    kept = table[is_box & (moments >= begin) & (moments <= end)]
    return kept.assign(keyframe=keyframe_codes(kept)[0]) if len(kept) else kept


def _span(entry: ManifestEntry | None) -> tuple[float, float]:
    """First and last moment of a video; no moment lies between those of an unknown one."""
    if entry is None or entry.offset is None or entry.duration is None:
        return np.inf, -np.inf
    return entry.offset, entry.offset + entry.duration


def _spread(table: pd.DataFrame, number: int) -> list[int]:
    """Keyframes of as many videos as possible, those of one video far apart."""
    keyframes = table.drop_duplicates("keyframe").sort_values(["video_id", "timestamp"])
    groups = [group["keyframe"].tolist() for _, group in keyframes.groupby("video_id", observed=True)]
    step = max(1, len(groups) // number) if number else 1
    groups = groups[::step][:number]
    each = -(-number // max(1, len(groups)))
    chosen = []
    for codes in groups:
        count = min(each, len(codes))
        chosen += [codes[int((place + 0.5) * len(codes) / count)] for place in range(count)]
    return chosen[:number]


def _picture(
    keyframe: pd.DataFrame, folder: DatasetFolder, manifest: Mapping[str, ManifestEntry], split: str
) -> Tensor:
    video_id, timestamp = str(keyframe["video_id"].iloc[0]), float(keyframe["timestamp"].iloc[0])
    entry = manifest[video_id]
    with open_video(folder.videos[video_id].path, folder.frame_rate) as video:
        frame = next(iter(video.frames(timestamp - (entry.offset or 0.0)))).rgb()
    height, width = frame.shape[:2]
    boxes, labels = [], []
    for box, rows in keyframe.groupby(["x1", "y1", "x2", "y2"], sort=False):
        boxes.append(box)
        labels.append([folder.label_map.names.get(number, f"id {number}") for number in rows["action_id"]])
    pixels = torch.tensor(boxes, dtype=torch.float32) * torch.tensor([width, height, width, height])
    return draw_annotations(frame, pixels, labels, caption=f"{split}: {video_id} at {timestamp:.10g} s")
