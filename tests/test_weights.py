"""The records of published weights, against the models that they are for and the pages that publish them."""

import copy
import hashlib
import pickle
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from torch.hub import HASH_REGEX
from torchvision.models._api import WeightsEnum

from acrn_zoo import weights, zoo
from acrn_zoo.cli import data_small_world, parse
from acrn_zoo.data.synthetic import small_world
from acrn_zoo.data.synthetic.world import CATEGORIES, FAMILIES
from acrn_zoo.data.transforms import ClipTransform
from acrn_zoo.engine.recipes import RECIPES
from acrn_zoo.weights import (
    DETECTORS,
    SHORT_NAMES,
    SlowFast_ACRN_Mini_Weights,
    SlowFast_R50_ACRN_Weights,
    SlowFast_R50_RoI_Weights,
    SlowFast_R50_Weights,
    WeightsError,
    resolve_detector,
    resolve_weights,
)

ENUMS: tuple[type[WeightsEnum], ...] = (*DETECTORS, SlowFast_R50_Weights)
MINI = SlowFast_ACRN_Mini_Weights.SMALL_WORLD_V1
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
    "clip_length": int,
    "frame_interval": float,
    "temporal_pool": (str, type(None)),
    "lateral_norm": bool,
    "res5_dilation": int,
    "min_size": tuple,
    "_docs": str,
}
OF_OURS: dict[str, Any] = {"command": str, "versions": str, "seed": int, "data_command": str, "data_sha256": str}


@every_record
def test_every_record_is_complete(record: WeightsEnum) -> None:
    expected = META | OF_OURS if record is MINI else META
    assert record.meta.keys() == expected.keys()
    assert all(isinstance(record.meta[name], kind) for name, kind in expected.items())
    assert record.meta["temporal_pool"] in ("avg", "max", None)
    assert record.meta["_docs"].endswith(".")
    transform = record.transforms()
    assert isinstance(transform, ClipTransform)
    clips = (record.meta["clip_length"], record.meta["frame_interval"], transform.short_side)
    assert clips == ((8, 0.1, 64) if record is MINI else (32, 2 / 30, 256))


@pytest.mark.parametrize("record", [record for enum in ENUMS for record in enum if record is not MINI], ids=repr)
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


def test_the_mini_is_the_file_that_is_here() -> None:
    path = Path(url2pathname(urlsplit(MINI.url).path))
    assert path == Path(weights.__file__).parent / "pretrained" / "slowfast_acrn_mini.pth"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MINI.meta["sha256_prefix"]
    assert path.stat().st_size / 1e6 == pytest.approx(MINI.meta["file_size_mb"], abs=0.005)
    assert path.stat().st_size <= 4e6


def test_the_mini_tells_how_it_was_trained() -> None:
    meta = MINI.meta
    assert meta["categories"] == CATEGORIES
    assert meta["metrics"]["small world"].keys() == {"mAP", *(f"mAP/{family}" for family in FAMILIES)}
    values = meta["metrics"]["small world"]
    assert all(0 < value <= 100 for value in values.values())
    sums = [values[f"mAP/{family}"] * len(actions) for family, actions in FAMILIES.items()]
    assert values["mAP"] == pytest.approx(sum(sums) / len(CATEGORIES), abs=0.01)
    for command in (meta["data_command"], meta["command"]):
        words = [word for word in shlex.split(command) if "=" not in word]  # OMP_NUM_THREADS=1
        assert words[0] == "acrn-zoo"
        parse(words[1:])
    config = RECIPES[meta["recipe"]]()
    assert config.optimization.seed == meta["seed"]
    assert (config.data.clip_length, config.data.frame_interval) == (meta["clip_length"], meta["frame_interval"])
    assert config.data.eval_short_side == MINI.transforms().short_side
    assert config.model.architecture(len(CATEGORIES)) == zoo.MINI


@pytest.mark.slow
def test_the_data_of_the_mini_are_what_the_command_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the videos."""
    monkeypatch.setattr(small_world, "write_shots", lambda path, _scenes, _side: path.touch())
    options = parse(shlex.split(MINI.meta["data_command"])[1:])
    small_world.write_small_world(tmp_path / "world", data_small_world._world(options), num_processes=1)
    content = b"".join((tmp_path / "world" / f"{split}.csv").read_bytes() for split in ("train", "val"))
    assert hashlib.sha256(content).hexdigest() == MINI.meta["data_sha256"]


def test_the_defaults() -> None:
    assert SlowFast_ACRN_Mini_Weights.DEFAULT is MINI
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mini", MINI),
        ("ava22", SlowFast_R50_ACRN_Weights.AVA22_V1),
        ("ava21", SlowFast_R50_ACRN_Weights.AVA21_V1),
        ("AVA22_V0", SlowFast_R50_ACRN_Weights.AVA22_V0),
        ("AVA22_MAX_V1", SlowFast_R50_RoI_Weights.AVA22_MAX_V1),
        ("SlowFast_R50_RoI_Weights.AVA22_V1", SlowFast_R50_RoI_Weights.AVA22_V1),
        ("SlowFast_ACRN_Mini_Weights.DEFAULT", MINI),
        ("DEFAULT", SlowFast_R50_ACRN_Weights.DEFAULT),
        ("mine.pth", Path("mine.pth")),
    ],
)
def test_detectors_by_name(text: str, expected: object) -> None:
    assert resolve_detector(text) == expected


@pytest.mark.parametrize("text", ["Mini", "SlowFast_R50_Weights.DEFAULT", "SlowFast_R50_RoI_Weights.AVA21_V0", ""])
def test_unknown_detectors(text: str) -> None:
    with pytest.raises(WeightsError, match=rf"weights='{text}' are not known.*Short names are ava22, ava21, mini\."):
        resolve_detector(text)


def test_short_names_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, record in SHORT_NAMES.items():
        Path(name).touch()
        assert resolve_detector(name) is record


@every_record
def test_records_can_be_copied_and_sent_to_another_process(record: WeightsEnum) -> None:
    assert copy.deepcopy(record) is record
    assert pickle.loads(pickle.dumps(record)) is record


def test_torchvisions_way_to_read_a_file_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"SlowFast_R50_ACRN_Weights\.AVA22_V1 is a file in its publisher's"):
        SlowFast_R50_ACRN_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True)
