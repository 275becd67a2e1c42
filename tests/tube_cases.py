"""Ground truth and tubes for the tests of what J-HMDB measures."""

import numpy as np

from acrn_zoo.evaluation.jhmdb import JhmdbEvaluator
from acrn_zoo.evaluation.tubes import RuleName

BOX: list[float] = [0, 0, 9, 9]  # 10 x 10 pixels where the last one counts, else 9 x 9
RULE_NAMES: tuple[RuleName, ...] = ("act", "hit")


def still(box: list[float], first: int, last: int) -> np.ndarray:
    """A tube that does not move."""
    return np.array([[frame, *box] for frame in range(first, last + 1)], dtype=np.float64)


def evaluator(
    tubes: dict[str, dict[int, list[np.ndarray]]], rule: RuleName = "act", categories: str = "ab"
) -> JhmdbEvaluator:
    return JhmdbEvaluator(list(categories), tubes, rule=rule)


def random_tube(generator: np.random.Generator) -> np.ndarray:
    first, length = generator.integers(1, 12), generator.integers(1, 15)
    corner, size = generator.integers(0, 12, 2), generator.integers(10, 25, 2)
    moved = np.concatenate([corner, corner + size]) + generator.integers(-2, 3, (length, 4))
    return np.concatenate([np.arange(first, first + length)[:, None], moved], axis=1).astype(float)


def random_case(seed: int) -> tuple[dict[str, dict[int, list[np.ndarray]]], list[tuple[str, int, float, np.ndarray]]]:
    """Ground truth of four videos and three classes, and tubes with equal scores among them."""
    generator = np.random.default_rng(seed)
    truth: dict[str, dict[int, list[np.ndarray]]] = {f"v{number}": {} for number in range(4)}
    for _ in range(14):
        video, column = f"v{generator.integers(4)}", int(generator.integers(3))
        truth[video].setdefault(column, []).append(random_tube(generator))
    found = []
    for number in range(4):
        for _ in range(12):
            column = int(generator.integers(3))
            found.append((f"v{number}", column, float(generator.random().__round__(1)), random_tube(generator)))
    return truth, found
