"""What relation maps point at, by models whose maps are known."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from acrn_zoo.data.clips import ClipSampling
from acrn_zoo.data.dataset import EvaluationDataset
from acrn_zoo.data.synthetic.small_world import PlacesError, SmallWorld, write_small_world
from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.engine.pointing import Places, measure_pointing
from acrn_zoo.evaluation.pointing import Pointing

STRIDE = 8

Case = tuple[EvaluationDataset, Places]


class Oracle(nn.Module):
    """Says of all keyframes in turn that everybody does everything; its maps are highest in the boxes it is told."""

    def __init__(self, case: Case, targets: Mapping[tuple[str, int, int, int], object], score: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.backbone = nn.Module()
        self.backbone.spatial_stride = STRIDE  # type: ignore[assignment]
        self.dataset, self.places = case
        self.targets, self.score, self.index = targets, score, 0

    def forward_with_maps(self, clips: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        video, timestamp = self.dataset.annotations.keyframes[self.index]
        moment, (height, width) = round(timestamp * 1e6), (size // STRIDE for size in clips.shape[-2:])
        maps = torch.zeros(len(boxes[0]), len(CATEGORIES), height, width)
        for actor, box in enumerate(self.dataset.annotations.boxes(self.index)):
            person = self.places.persons[video, moment, tuple(box.tolist())]
            for column in range(len(CATEGORIES)):
                target = self.targets.get((video, moment, person, column + 1))
                if target is not None:
                    x1, y1, x2, y2 = torch.as_tensor(target)[0].tolist()
                    maps[actor, column, int((y1 + y2) / 2 * height), int((x1 + x2) / 2 * width)] = 1
        self.index += 1
        return torch.full(maps.shape[:2], self.score), maps


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    world = SmallWorld(seed=3, splits={"val": 1}, num_shots=8)
    folder = write_small_world(tmp_path_factory.mktemp("world") / "small", world, num_processes=1)
    dataset = EvaluationDataset.from_folder(folder, people="annotated", sampling=ClipSampling(2, 0.1))
    dataset.transform = ClipTransform(64)
    return dataset, Places.read(folder.root / "val.csv", folder.root / "val_places.csv")


def measured(case: Case, targets: Mapping[tuple[str, int, int, int], object], **options: float) -> dict[str, Pointing]:
    score = options.pop("score", 1.0)
    return measure_pointing(Oracle(case, targets, score), *case, **options)  # type: ignore[arg-type]


def test_maps_that_are_right(case: Case) -> None:
    found = measured(case, case[1].boxes, tolerance=0.5)
    assert set(found) <= {*FAMILIES["object"], *FAMILIES["partner"]}
    total = sum(found.values(), start=Pointing())
    assert total.num_hits == total.num_maps == len(case[1].boxes) > 10
    assert 0 < total.chance_accuracy < 0.4
    assert total.chance_accuracy < total.of_kind_accuracy < 1


def test_maps_that_know_the_kind_and_not_the_pair(case: Case) -> None:
    """Where a rival is, they point at it, and no map of another scene is looked at."""
    places = case[1]
    rivals = {key: box for key, box in places.rivals.items() if key in places.boxes}
    found = sum(measured(case, rivals, tolerance=0.5, among_rivals=True).values(), start=Pointing())
    assert found.num_maps == len(rivals) > 3
    assert found.num_hits == 0
    everywhere = sum(measured(case, places.boxes | rivals, tolerance=0.5).values(), start=Pointing())
    assert everywhere.num_hits == len(places.boxes) - len(rivals)


def test_only_what_the_model_says_is_looked_at(case: Case) -> None:
    assert measured(case, case[1].boxes, score=-1.0) == {}
    assert measured(case, case[1].boxes, score=1.0, threshold=0.8) == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video_id,timestamp\nfilm,1\n", "has the columns video_id, timestamp, expected video_id"),
        ("video_id,timestamp,person_id,action_id,x1,y1,x2,y2,decides\nfilm,0.5,a,4,0,0,1,1,1\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_damaged_places(content: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "val.csv").write_text("film,0.5,0,0,1,1,4,0\n")
    if content is not None:
        (tmp_path / "val_places.csv").write_text(content)
    with pytest.raises(PlacesError, match=message):
        Places.read(tmp_path / "val.csv", tmp_path / "val_places.csv")
