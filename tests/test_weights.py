"""The records of published weights, against the models that they are for and the pages that publish them."""

import copy
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from torch.hub import HASH_REGEX
from torchvision.models._api import WeightsEnum

from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.weights import (
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
    WeightsError,
    resolve_weights,
)

ENUMS: tuple[type[WeightsEnum], ...] = (
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
)
every_record = pytest.mark.parametrize("record", [record for enum in ENUMS for record in enum], ids=repr)

META: dict[str, Any] = {
    "num_params": int,
    "sha256_prefix": (str, type(None)),
    "categories": tuple,
    "metrics": dict,
    "recipe": str,
    "license": str,
    "data_terms": str,
    "gflops_per_clip": float,
    "gflops_per_actor": (float, type(None)),
    "file_size_mb": float,
    "temporal_pool": (str, type(None)),
    "lateral_norm": bool,
    "res5_dilation": int,
    "min_size": tuple,
    "_docs": str,
}


@every_record
def test_every_record_is_complete(record: WeightsEnum) -> None:
    assert record.meta.keys() == META.keys()
    assert all(isinstance(record.meta[name], kind) for name, kind in META.items())
    assert record.meta["temporal_pool"] in ("avg", "max", None)
    assert record.meta["_docs"].endswith(".")
    transform = record.transforms()
    assert isinstance(transform, ClipTransform)
    assert transform.short_side == 256


@every_record
def test_the_hash_is_the_one_in_the_file_name(record: WeightsEnum) -> None:
    """It is 8 hexadecimal digits, found by the pattern that torch.hub uses; PyTorchVideo publishes none."""
    found = HASH_REGEX.search(record.url.rsplit("/", 1)[1])
    assert record.meta["sha256_prefix"] == (found[1] if found else None)
    assert (found is None) == ("fbaipublicfiles" in record.url)
    assert found is None or re.fullmatch("[0-9a-f]{8}", found[1])


PUBLISHED: list[tuple[WeightsEnum, str, dict[str, dict[str, float]], str | None]] = [
    (SlowFast_R50_ACRN_Weights.AVA21_V0, "49b07bf2", {"AVA v2.1": {"mAP": 27.1}}, "max"),
    (SlowFast_R50_ACRN_Weights.AVA21_V1, "0dae1a90", {"AVA v2.1": {"mAP": 27.65}}, "avg"),
    (SlowFast_R50_ACRN_Weights.AVA22_V0, "2be32625", {"AVA v2.2": {"mAP": 27.8}}, "max"),
    (SlowFast_R50_ACRN_Weights.AVA22_V1, "66ec24a2", {"AVA v2.2": {"mAP": 27.71}}, "avg"),
    (SlowFast_R50_RoI_Weights.AVA21_V1, "39133ec7", {"AVA v2.1": {"mAP": 25.8}}, "avg"),
    (SlowFast_R50_RoI_Weights.AVA22_V1, "d934a48f", {"AVA v2.2": {"mAP": 25.9}}, "avg"),
    (SlowFast_R50_RoI_Weights.AVA22_MAX_V1, "13a9078e", {"AVA v2.2": {"mAP": 26.41}}, "max"),
    (SlowFast_R50_RoI_Weights.AVA22_MAX_FOCAL_V1, "dd59e26f", {"AVA v2.2": {"mAP": 26.65}}, "max"),
    (
        SlowFast_R50_Weights.KINETICS400_MMACTION2_V0,
        "73547d2b",
        {"Kinetics-400": {"acc@1": 76.94, "acc@5": 92.8}},
        None,
    ),
    (SlowFast_R50_Weights.KINETICS400_MMACTION2_V1, "1cb6dfc8", {"Kinetics-400": {"acc@1": 76.8}}, None),
]


@pytest.mark.parametrize(("record", "digits", "metrics", "pool"), PUBLISHED, ids=lambda value: str(value)[-40:])
def test_numbers_are_as_published(
    record: WeightsEnum, digits: str, metrics: dict[str, dict[str, float]], pool: str | None
) -> None:
    assert record.url.endswith(f"-{digits}.pth")
    assert record.meta["metrics"] == metrics
    assert record.meta["temporal_pool"] == pool


@pytest.mark.parametrize("enum", [SlowFast_R50_ACRN_Weights, SlowFast_R50_Weights])
def test_addresses_and_scores_are_those_of_the_reference(shared: Path, enum: type[WeightsEnum]) -> None:
    facts = (shared / "reference" / "acrn" / "facts.md").read_text()
    rows = [line for line in facts.splitlines() if line.startswith("|")]
    for record in enum:
        if "openmmlab" in record.url:
            (row,) = [row for row in rows if record.url in row]
            score = next(iter(next(iter(record.meta["metrics"].values())).values()))
            assert re.search(rf"\b{score}", row)


def test_the_defaults() -> None:
    assert SlowFast_R50_ACRN_Weights.DEFAULT is SlowFast_R50_ACRN_Weights.AVA22_V1
    assert SlowFast_R50_RoI_Weights.DEFAULT is SlowFast_R50_RoI_Weights.AVA22_V1
    assert SlowFast_R50_Weights.DEFAULT is SlowFast_R50_Weights.KINETICS400_MMACTION2_V0


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, None),
        (SlowFast_R50_ACRN_Weights.AVA21_V0, SlowFast_R50_ACRN_Weights.AVA21_V0),
        ("AVA21_V0", SlowFast_R50_ACRN_Weights.AVA21_V0),
        ("DEFAULT", SlowFast_R50_ACRN_Weights.AVA22_V1),
        ("SlowFast_R50_ACRN_Weights.AVA22_V0", SlowFast_R50_ACRN_Weights.AVA22_V0),
        ("SlowFast_R50_ACRN_Weights.DEFAULT", SlowFast_R50_ACRN_Weights.AVA22_V1),
        ("mine.pth", Path("mine.pth")),
        ("MINE.PYTH", Path("MINE.PYTH")),
        ("folder/mine", Path("folder/mine")),
        ("~/mine.pth", Path.home() / "mine.pth"),
        (Path("mine"), Path("mine")),
    ],
)
def test_what_weights_may_be(weights: Any, expected: object) -> None:
    assert resolve_weights(SlowFast_R50_ACRN_Weights, weights) == expected


def test_an_existing_file_is_a_path_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").touch()
    assert resolve_weights(SlowFast_R50_ACRN_Weights, "mine") == Path("mine")


@pytest.mark.parametrize(
    "weights",
    [
        "ava22_v1",
        "AVA23_V1",
        "mine",
        "",
        "SlowFast_R50_RoI_Weights.AVA22_V1",
        "https://host/file.pth",
        SlowFast_R50_RoI_Weights.AVA22_V1,
        True,
        3,
    ],
    ids=repr,
)
def test_unknown_weights_are_an_error_that_lists_the_known(weights: Any) -> None:
    with pytest.raises(WeightsError) as failure:
        resolve_weights(SlowFast_R50_ACRN_Weights, weights)
    message = str(failure.value)
    assert repr(weights) in message
    assert "(AVA21_V0, AVA21_V1, AVA22_V0, AVA22_V1, DEFAULT), the path of a checkpoint file, or None" in message


@every_record
def test_records_can_be_copied_and_sent_to_another_process(record: WeightsEnum) -> None:
    assert copy.deepcopy(record) is record
    assert pickle.loads(pickle.dumps(record)) is record


def test_torchvisions_way_to_read_a_file_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"SlowFast_R50_ACRN_Weights\.AVA22_V1 is a file in its publisher's"):
        SlowFast_R50_ACRN_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True)
