"""What predictions are held against: annotations, the classes that count, and keyframes that do not."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from acrn_zoo.evaluation.ava import AvaResult, evaluate_ava
from acrn_zoo.evaluation.rules import OFFICIAL, EvaluationError, Rule
from acrn_zoo.labels import LabelMap
from acrn_zoo.tables import read_annotations, read_keyframes


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What people do, as annotated.

    Args:
        annotations: as :func:`acrn_zoo.tables.read_annotations` gives them.
        label_map: the classes that count.
        excluded: keyframes to leave out, as :func:`acrn_zoo.tables.read_keyframes` gives them, if any.
    """

    annotations: pd.DataFrame
    label_map: LabelMap
    excluded: pd.DataFrame | None = None

    def evaluate(self, predictions: pd.DataFrame, rule: Rule = OFFICIAL) -> AvaResult:
        """Hold predictions against it, see :func:`acrn_zoo.evaluation.ava.evaluate_ava`.

        Raises:
            EvaluationError: if they cannot be evaluated by this rule.
        """
        return evaluate_ava(self.annotations, predictions, self.label_map.ids, rule=rule, excluded=self.excluded)


def read_ground_truth(annotations: Path, label_map: LabelMap, excluded: Path | None = None) -> GroundTruth:
    """Read what predictions are held against.

    Args:
        annotations: a CSV file in AVA's form, see :mod:`acrn_zoo.tables`.
        label_map: the classes that count.
        excluded: a list of keyframes to leave out, if any.

    Raises:
        TableError: naming file, line and value, if a file is not of that form.
        EvaluationError: if no class that counts is annotated.
    """
    table = read_annotations(annotations)
    if not table["action_id"].isin(label_map.ids).any():
        names = list(label_map.names.values())
        shown = names if len(names) <= 4 else [*names[:3], "..."]
        raise EvaluationError(
            f"{annotations} has no row of the {len(names)} classes that count ({', '.join(shown)}), so there is "
            "nothing to find. Is it the right label map?"
        )
    return GroundTruth(table, label_map, None if excluded is None else read_keyframes(excluded))
