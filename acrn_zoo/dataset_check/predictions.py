"""What is wrong with predictions: why they do not meet the ground truth, the usual cause of an mAP of 0.

The table is mended step by step (names of videos, timestamps, boxes), in memory, so that one fault does not hide
the next one; every step that makes it meet the truth clearly better is a finding.
"""

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from acrn_zoo.dataset_check.findings import Finding, PredictionSummary, counted
from acrn_zoo.dataset_check.geometry import (
    LIKELY_PIXELS,
    are_width_height,
    best_meetings,
    boxes_of,
    count_ids,
    distinct_boxes,
    fitted_scale,
    is_first,
    keyframe_codes,
    off_by_one,
    swap_axes,
)
from acrn_zoo.dataset_check.proposals import MEETS
from acrn_zoo.dataset_check.sources import NUM_EXAMPLES, Source, box_text
from acrn_zoo.dataset_check.videos import same_names
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import BOX_COLUMNS

_MANY_ROWS = 200_000  # enough to tell what is wrong; the rest is like them
_SELDOM = 0.5  # part of the keyframes
_CLEARLY = 0.15  # of mean IoU
_FAIR = 0.3  # mean IoU
_POOR = 0.05
_PERCENT_OFF = 0.05
_SURE = 5.0  # standard errors


def check_predictions(
    predictions: Source, truths: Mapping[str, Source], label_map: LabelMap, spoiled: Collection[str] = ()
) -> tuple[list[Finding], PredictionSummary | None]:
    """Compare predictions with the split that they are for.

    Args:
        predictions: with a column ``score``.
        truths: the annotations of every split that they could be for, those that are likely first.
        label_map: the classes.
        spoiled: splits whose annotations are so wrong that nothing can be said by them.

    Returns:
        The findings, and how well the two meet as they are; None without a row to compare.
    """
    people = predictions.people()
    findings = _check_scores(people)
    truths = {name: source for name, source in truths.items() if not source.people().table.empty}
    if people.table.empty or not truths:
        return findings, None
    shares = {name: _shared(source.table, people.table) for name, source in truths.items()}
    split = max(shares, key=lambda name: shares[name])  # the first of equals
    if split not in spoiled:
        findings += _Comparison(people, truths[split].people(), split, label_map).findings()
    return findings, _summary(split, truths[split], people)


def _check_scores(people: Source) -> list[Finding]:
    scores, name = people.table["score"], people.path.name
    outside = (scores < 0) | (scores > 1)
    if len(scores) > 1 and scores.nunique() == 1:
        message = (
            f"All {len(scores):,} scores of {name} are {scores.iloc[0]:g}: average precision has nothing to rank by."
        )
        advice = "Write the model's scores as the 8th column; without that column every score counts as 1."
        return [Finding("scores-equal", "error", message, len(scores), advice)]
    is_percent = scores.min() >= 0 and 1 < scores.max() <= 100
    kind, what = ("scores-in-percent", "percent") if is_percent else ("scores-outside", "logits, not probabilities")
    message = f"of {name} outside 0 to 1: they look like {what}."
    advice = "mAP is the same, since it only ranks them, but thresholds mean another thing: write 0 to 1."
    return people.finding(outside, kind, "warning", "score", message, advice, lambda row: f"score {row['score']:g}")


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> float:
    """Keyframes of both, as a part of those of the smaller one."""
    codes, other = (np.unique(code) for code in keyframe_codes(first, second))
    smaller = min(len(codes), len(other))
    return len(np.intersect1d(codes, other, assume_unique=True)) / smaller if smaller else 0.0


def _summary(split: str, truth: Source, people: Source) -> PredictionSummary:
    codes, other = keyframe_codes(truth.table, people.table)
    has_box = truth.table["x1"].notna().to_numpy()
    boxes = distinct_boxes(codes[has_box], boxes_of(truth.people().table))
    overlap, _ = best_meetings(boxes, distinct_boxes(other, boxes_of(people.table)))
    return PredictionSummary(
        split=split,
        num_rows=len(people.table),
        num_keyframes=len(np.unique(other)),
        met_keyframes=float(np.isin(np.unique(codes), other).mean()),
        recall=float((overlap >= MEETS).mean()),
    )


class _Comparison:
    """Predictions on their way to meet the truth; ``table`` is what has been mended so far."""

    def __init__(self, people: Source, truth: Source, split: str, label_map: LabelMap) -> None:
        self.source = people
        self.name = people.path.name
        self.truth = self.all_truth = truth.table
        self.split = split
        self.label_map = label_map
        self.table = people.table

    def findings(self) -> list[Finding]:
        """Names, then times, then boxes, then ids: each can only be judged when those before agree."""
        found = self._check_videos()
        if not set(self.table["video_id"]) & set(self.truth["video_id"]):
            return found
        self.truth, self.table = _sample(self.truth, self.table)
        found += self._check_times()
        if _shared(self.truth, self.table) <= _SELDOM:
            return found
        found += self._check_boxes()
        return found + self._check_ids() + self._check_gaps(found)

    def _check_videos(self) -> list[Finding]:
        column = self.table["video_id"].cat.remove_unused_categories().cat
        known = set(self.truth["video_id"])
        strangers = [name for name in column.categories if name not in known]
        if len(strangers) < len(column.categories) or not strangers:
            return []
        meant = same_names(strangers, sorted(known))
        examples = tuple(f"{name}, in the ground truth {meant.get(name, '-')}" for name in strangers[:NUM_EXAMPLES])
        message = f"No video of {self.name} is one of {self.split}: not one prediction can be right."
        advice = f"The ground truth has videos such as {', '.join(sorted(known)[:NUM_EXAMPLES])}: use the same names."
        if len(set(meant.values())) == len(strangers):
            message = (
                f"The video ids of {self.name} are not written as in {self.split} (a path, an ending?), so none meet."
            )
            advice = "Write the ids as the ground truth does, without path and ending."
            renamed = column.rename_categories(meant)
            self.table = self.table.assign(video_id=renamed)
        return [Finding("predictions-other-videos", "error", message, len(strangers), advice, examples)]

    def _check_times(self) -> list[Finding]:
        share = _shared(self.truth, self.table)
        if share >= _SELDOM:
            return self._check_step()
        moments = self.table["timestamp"].to_numpy()
        candidates = dict(_changes(self.truth, self.table))
        shares = {text: _shared(self.truth, self.table.assign(timestamp=change)) for text, change in candidates.items()}
        text = max(shares, key=lambda key: shares[key])
        if shares[text] <= max(share + _CLEARLY, _SELDOM):
            shown = {self.name: moments, "ground truth": self.truth["timestamp"].to_numpy()}
            examples = tuple(
                f"{name}: {', '.join(f'{moment:.10g}' for moment in values[:NUM_EXAMPLES])}"
                for name, values in shown.items()
            )
            message = f"The timestamps of {self.name} hardly meet those of {self.split}: {share:.0%} of the keyframes."
            advice = "Predict at the keyframes of the ground truth, and write their timestamps to the same decimals."
            return [Finding("predictions-other-times", "error", message, len(moments), advice, examples)]
        self.table = self.table.assign(timestamp=candidates[text])
        message = (
            f"The timestamps of {self.name} are off: {share:.0%} of the keyframes meet those of {self.split}, and "
            f"{shares[text]:.0%} would if you {text}."
        )
        return [
            Finding("predictions-shifted", "error", message, len(moments), f"{text.capitalize()}; then score again.")
        ]

    def _check_step(self) -> list[Finding]:
        """Neighbouring keyframes exist too, so only the boxes tell a shift by one step."""
        agreements = {0.0: self._agreement()}
        for shift in _usual_shifts(self.truth, self.table):
            agreements[shift] = self._agreement(self.table.assign(timestamp=self.table["timestamp"] + shift))
        best = max(agreements, key=lambda shift: agreements[shift])
        if agreements[best] <= agreements[0.0] + _CLEARLY:
            return []
        self.table = self.table.assign(timestamp=self.table["timestamp"] + best)
        message = (
            f"The boxes of {self.name} fit the people {abs(best):g} s {'later' if best > 0 else 'earlier'} better: "
            f"mean IoU {agreements[best]:.2f} instead of {agreements[0.0]:.2f}."
        )
        advice = f"{'Add' if best > 0 else 'Subtract'} {abs(best):g} {'to' if best > 0 else 'from'} every timestamp."
        return [Finding("predictions-shifted", "error", message, len(self.table), advice)]

    def _agreement(self, table: pd.DataFrame | None = None, boxes: np.ndarray | None = None) -> float:
        """Mean IoU of true boxes with the best predicted one, at keyframes that have predictions."""
        table = self.table if table is None else table
        codes, other = keyframe_codes(self.truth, table)
        truth = distinct_boxes(codes, boxes_of(self.truth))
        overlap, _ = best_meetings(truth, distinct_boxes(other, boxes_of(table) if boxes is None else boxes))
        meets = np.isin(truth.codes, other)
        return float(overlap[meets].mean()) if meets.any() else 0.0

    def _check_boxes(self) -> list[Finding]:
        found = self._check_corners()
        boxes = boxes_of(self.table)
        in_pixels = bool(((np.abs(boxes) > LIKELY_PIXELS).any(1)).mean() > _SELDOM)
        scale = self._fitted(boxes)
        best, mended, swapped = max(
            (
                (self._agreement(boxes=changed), changed, is_swapped)
                for changed, is_swapped in self._mended(boxes, scale)
            ),
            key=lambda entry: entry[0],
        )
        base = self._agreement()
        helps = best > max(base + _CLEARLY, _FAIR)
        if helps:
            self.table = self.table.assign(**{name: mended[:, column] for column, name in enumerate(BOX_COLUMNS)})
        return found + self._explain_boxes(base, best, in_pixels, helps, swapped, scale)

    def _check_corners(self) -> list[Finding]:
        written = boxes_of(self.source.table)
        inverted = np.any(written[:, 2:] <= written[:, :2], axis=1)
        kind = "predictions-inverted"
        message = f"of {self.name} inverted or empty: evaluation drops them."
        advice = "Write left, top, right, bottom."
        if are_width_height(written):
            kind = "predictions-as-width-height"
            message += " Read as x, y, width, height all boxes stay inside the frame."
            advice = "Write the right and lower border instead: x2 = x + width, y2 = y + height."
            boxes = boxes_of(self.table)
            self.table = self.table.assign(x2=boxes[:, 0] + boxes[:, 2], y2=boxes[:, 1] + boxes[:, 3])
        return self.source.finding(inverted, kind, "error", "box", message, advice, box_text)

    def _fitted(self, boxes: np.ndarray) -> tuple[float, float]:
        codes, other = keyframe_codes(self.truth, self.table)
        truth = distinct_boxes(codes, boxes_of(self.truth))
        return fitted_scale(truth, distinct_boxes(other, boxes)) or (1.0, 1.0)

    def _mended(self, boxes: np.ndarray, scale: tuple[float, float]) -> list[tuple[np.ndarray, bool]]:
        swapped = swap_axes(boxes)
        factors = np.array(scale * 2)
        swapped_factors = np.array(self._fitted(swapped) * 2)
        return [(boxes / factors, False), (swapped, True), (swapped / swapped_factors, True)]

    def _explain_boxes(
        self, base: float, best: float, in_pixels: bool, helps: bool, swapped: bool, scale: tuple[float, float]
    ) -> list[Finding]:
        gain = f"mean IoU with {self.split} is {base:.2f} as it is, {best:.2f} then"
        count = len(self.source.table)
        found = []
        is_percent = in_pixels and helps and not swapped and all(abs(side / 100 - 1) < _PERCENT_OFF for side in scale)
        if is_percent:
            message = f"The boxes of {self.name} are in percent: not one can meet the ground truth's fractions."
            advice = "Divide every coordinate by 100."
            found.append(Finding("predictions-in-percent", "error", message, count, advice))
        elif in_pixels:
            size = f" of a frame of about {scale[0]:.0f}x{scale[1]:.0f}" if helps and not swapped else ""
            message = f"The boxes of {self.name} look like pixels{size}: not one can meet the ground truth's fractions."
            advice = "Divide x by the width and y by the height of the frame that the boxes were found in."
            found.append(Finding("predictions-in-pixels", "error", message, count, advice))
        if helps and swapped:
            message = f"The boxes of {self.name} have x and y exchanged: {gain}."
            found.append(Finding("predictions-swapped", "error", message, count, "Write x1, y1, x2, y2."))
        elif helps and not in_pixels:
            message = (
                f"The boxes of {self.name} were divided by the wrong size: they are {scale[0]:.2f} times too large in "
                f"x and {scale[1]:.2f} times in y ({gain})."
            )
            advice = "Divide by the size of the picture that the boxes were found in, not of the original or a crop."
            found.append(Finding("predictions-wrong-size", "error", message, count, advice))
        elif not helps and not in_pixels and base < _POOR:
            message = f"The boxes of {self.name} hardly ever meet those of {self.split}: mean IoU is {base:.2f}."
            advice = "Compare a few boxes of one keyframe in both files; the picture shows those of the ground truth."
            found.append(Finding("predictions-other-boxes", "error", message, count, advice))
        return found

    def _check_ids(self) -> list[Finding]:
        shift = off_by_one(count_ids(self.source.table), self.label_map.ids) or self._shift_of_ids()
        if shift is not None:
            message = (
                f"The action ids of {self.name} are one too {'small' if shift > 0 else 'large'}: the scores of the "
                "people fit the next class better."
            )
            advice = (
                f"{'Add 1 to' if shift > 0 else 'Subtract 1 from'} every id; AVA counts from 1, without background."
            )
            return [Finding("predictions-ids-off-by-one", "error", message, len(self.source.table), advice)]
        return self.source.finding(
            ~self.source.table["action_id"].isin(self.label_map.ids),
            "predictions-unknown-class",
            "warning",
            "row",
            f"of {self.name} with an id that is no class of the dataset: evaluation ignores it.",
            "Nothing, if the model knows more classes; else mend the ids.",
            lambda row: f"id {row['action_id']}",
        )

    def _shift_of_ids(self) -> int | None:
        """The shift of ids with which true actions are clearly better scored than the same actions elsewhere."""
        codes, other = keyframe_codes(self.truth, self.table)
        truth = distinct_boxes(codes, boxes_of(self.truth))
        predicted = distinct_boxes(other, boxes_of(self.table))
        overlap, index = best_meetings(truth, predicted)
        partner = np.where(overlap >= MEETS, index, -1)[truth.of_row]
        actions = self.truth["action_id"].to_numpy()[partner >= 0]
        partner = partner[partner >= 0]
        size = int(max(self.table["action_id"].max(), self.label_map.num_columns)) + 2
        scores = np.zeros((len(predicted.codes), size + 1), dtype=np.float32)
        is_known = (self.table["action_id"] >= 0).to_numpy()
        own = self.table["action_id"].to_numpy()
        np.maximum.at(scores, (predicted.of_row[is_known], own[is_known]), self.table["score"].to_numpy()[is_known])
        usual = scores[np.unique(partner)].mean(0) if len(partner) else scores.mean(0)
        gains = {shift: scores[partner, actions - shift] - usual[actions - shift] for shift in (0, 1, -1)}
        means = {shift: float(gain.mean()) if len(gain) else 0.0 for shift, gain in gains.items()}
        best = max((1, -1), key=lambda shift: means[shift])
        gain = gains[best]
        if len(gain) < 2 or means[best] <= 2 * max(means[0], 0.0):
            return None
        error = float(gain.std()) / np.sqrt(len(gain))
        return best if means[best] > _SURE * max(error, 1e-9) else None

    def _check_gaps(self, found: list[Finding]) -> list[Finding]:
        if any(finding.severity == "error" for finding in found):
            return []  # what is missing then is the consequence
        codes, other = keyframe_codes(self.all_truth, self.source.table)
        lacks = ~np.isin(codes, other) & is_first(codes)
        count, total = int(lacks.sum()), len(np.unique(codes))
        if not count:
            return []
        rows = self.all_truth[lacks].iloc[:NUM_EXAMPLES]
        examples = tuple(f"{row['video_id']} at {row['timestamp']:.10g} s" for _, row in rows.iterrows())
        lost = f"{counted(count, 'keyframe')} of {total:,} in {self.split}"
        message = f"{lost} without a prediction: their people count as missed."
        advice = "Predict them too; perhaps the run was cut short, or its threshold is high."
        return [Finding("keyframes-without-predictions", "warning", message, count, advice, examples)]


def _sample(truth: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the videos of both; of so many videos as are enough."""
    counts = table["video_id"].value_counts()
    common = [name for name in counts.index if counts[name] and name in set(truth["video_id"].cat.categories)]
    totals = np.cumsum([counts[name] for name in common])
    kept = common[: int(np.searchsorted(totals, _MANY_ROWS)) + 1]
    return truth[truth["video_id"].isin(kept)], table[table["video_id"].isin(kept)]


def _changes(truth: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, np.ndarray]]:
    """Usual ways in which timestamps go wrong, undone: what to do in words, and the timestamps then."""
    moments = table["timestamp"].to_numpy()
    shifts = [900.0, -900.0, *_usual_shifts(truth, table)]
    words = [f"{'add' if shift > 0 else 'subtract'} {abs(shift):g} s" for shift in shifts]
    changes = [(text, moments + shift) for text, shift in zip(words, shifts, strict=True)]
    changes.append(("round them to the ground truth's keyframes", _rounded(truth, moments)))
    for rate in (1000.0, 24.0, 25.0, 30.0):
        unit = "milliseconds" if rate == 1000.0 else f"frames at {rate:g} a second"
        changes.append((f"divide them by {rate:g} ({unit})", moments / rate))
        changes.append((f"divide them by {rate:g} ({unit}) and add 900 s", moments / rate + 900))
    return changes


def _usual_shifts(truth: pd.DataFrame, table: pd.DataFrame) -> list[float]:
    """Seconds: a step between keyframes, one second, half a second, and what makes videos begin together."""
    starts, others = (frame.groupby("video_id", observed=True)["timestamp"].min() for frame in (truth, table))
    difference = round(float((starts - others).median()), 6)
    sizes = dict.fromkeys((_step(np.unique(truth["timestamp"])), 1.0, 0.5))
    return [*sizes, *(-size for size in sizes), *([difference] if difference else [])]


def _step(times: np.ndarray) -> float:
    """The least distance of two of the sorted times."""
    return float(np.diff(times).min()) if len(times) > 1 else 1.0


def _rounded(truth: pd.DataFrame, moments: np.ndarray) -> np.ndarray:
    """The nearest timestamp of the ground truth, of whichever video, if it is less than half a step away."""
    times = np.unique(truth["timestamp"])
    middles = (times[1:] + times[:-1]) / 2
    nearest = times[np.searchsorted(middles, moments)]
    return np.where(np.abs(nearest - moments) < _step(times) / 2, nearest, moments)
