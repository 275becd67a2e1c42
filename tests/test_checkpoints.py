"""Reading, loading and saving checkpoint files. Files are written here, with what may be wrong in them."""

import os
import pickle
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from acrn_zoo import checkpoints
from acrn_zoo.checkpoints import load_checkpoint_file, load_into, save_checkpoint
from acrn_zoo.conversion import CheckpointError, convert


def save(content: object, path: Path, *, is_zip: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def test_tensors_of_a_gpu_come_to_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda _: "cuda:0")
        path = save({"weight": torch.ones(2)}, tmp_path / "a.pth")
    assert b"cuda:0" in path.read_bytes()
    assert load_checkpoint_file(path)["weight"].device.type == "cpu"


both_forms = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


@both_forms
def test_tensors_and_plain_values_come_back(tmp_path: Path, is_zip: bool) -> None:
    content = {
        "state_dict": {"weight": torch.rand(3)},
        "meta": {"epoch": 10, "time": "Tue", "lr": (0.1, None)},
    }
    loaded = load_checkpoint_file(save(content, tmp_path / "a.pth", is_zip=is_zip))
    assert torch.equal(loaded["state_dict"]["weight"], content["state_dict"]["weight"])  # type: ignore[index]
    assert loaded["meta"] == content["meta"]


@both_forms
@pytest.mark.parametrize(
    "value",
    [np.float64(27.7), np.float32(0.5), np.int64(3), np.bool_(True), np.arange(6.0).reshape(2, 3)],
    ids=["float64", "float32", "int64", "bool", "array"],
)
def test_a_meta_may_hold_numpy_values(tmp_path: Path, value: object, is_zip: bool) -> None:
    path = save({"meta": {"best_score": value}, "names": np.array(["a", "b"])}, tmp_path / "a.pth", is_zip=is_zip)
    loaded = load_checkpoint_file(path)
    np.testing.assert_array_equal(loaded["meta"]["best_score"], value)
    assert loaded["names"].tolist() == ["a", "b"]


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_numpy_values_of_either_generation_are_read(tmp_path: Path, module: bytes) -> None:
    path = save({"score": np.float64(27.7), "log": np.arange(3)}, tmp_path / "a.pth", is_zip=False)
    raw = path.read_bytes()
    assert b"core.multiarray" in raw
    current = b"numpy._core.multiarray" if b"numpy._core" in raw else b"numpy.core.multiarray"
    path.write_bytes(raw.replace(current, module))
    loaded = load_checkpoint_file(path)
    assert loaded["score"] == 27.7
    assert loaded["log"].tolist() == [0, 1, 2]


def test_a_self_trained_mmengine_checkpoint_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds a log whose state names methods of its class, which pickle writes down as calls of getattr."""

    class HistoryBuffer:
        def __init__(self) -> None:
            self.log = np.arange(3.0)

        def mean(self) -> float:
            return float(self.log.mean())

        def __getstate__(self) -> dict[str, Any]:
            return {**self.__dict__, "statistics_methods": {"mean": HistoryBuffer.mean}}

    module = types.ModuleType("mmengine.logging.history_buffer")
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = module.__name__, "HistoryBuffer.mean"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        for name in ("mmengine", "mmengine.logging"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, module.__name__, module)
        log = {"loss": HistoryBuffer()}
        path = save({"message_hub": log, "state_dict": {"a": torch.ones(2)}}, tmp_path / "epoch_10.pth")
    loaded = load_checkpoint_file(path)
    assert loaded["state_dict"]["a"].tolist() == [1, 1]
    stand_in = loaded["message_hub"]["loss"]
    assert stand_in.log.tolist() == [0, 1, 2]
    assert stand_in.statistics_methods == {"mean": None}


class Malicious:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@both_forms
@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "builtins.open", "pathlib.Path.touch"])
def test_a_strangers_code_is_never_run(tmp_path: Path, is_zip: bool, function: str) -> None:
    marker = tmp_path / "owned"
    calls = {
        "os.system": Malicious(os.system, f"touch {marker}"),
        "builtins.eval": Malicious(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.open": Malicious(open, str(marker), "w"),
        "pathlib.Path.touch": Malicious(Path.touch, marker),
    }
    path = save({"state_dict": calls[function]}, tmp_path / "a.pth", is_zip=is_zip)
    with pytest.raises(CheckpointError, match=r"wants to use .* while loading, which is refused") as failure:
        load_checkpoint_file(path)
    assert not marker.exists()
    names = {"os.system": f"{os.name}.system", "pathlib.Path.touch": "pathlib"}
    assert names.get(function, function.removeprefix("builtins.")) in str(failure.value)


def test_the_stand_in_for_getattr_gives_nothing_away(tmp_path: Path) -> None:
    path = save({"reached": Malicious(getattr, "text", "upper")}, tmp_path / "a.pth")
    assert load_checkpoint_file(path) == {"reached": None}


def test_what_other_code_may_load_stays_as_it_was(tmp_path: Path) -> None:
    path = save({"score": np.float64(1)}, tmp_path / "a.pth")
    with torch.serialization.safe_globals([np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        load_checkpoint_file(path)
        assert set(torch.serialization.get_safe_globals()) == before


def test_threads_may_load_at_once(tmp_path: Path) -> None:
    path = save({"scores": [np.float64(index) for index in range(200)]}, tmp_path / "a.pth")
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_checkpoint_file, [path] * 16))
    assert all(content["scores"][-1] == 199 for content in loaded)


def truncated(path: Path, *, is_zip: bool) -> None:
    save({"state_dict": {"a": torch.rand(1000)}}, path, is_zip=is_zip)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda _: None, "does not exist"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
        (lambda path: path.touch(), "is empty"),
        (lambda path: path.write_text("\n <!DOCTYPE html><html>404</html>"), "is a web page"),
        (lambda path: path.write_text("hello"), "is not a checkpoint"),
        (lambda path: path.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100)), "is not a checkpoint"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)), "is a damaged checkpoint"),
        (lambda path: truncated(path, is_zip=True), "is a damaged checkpoint"),
        (lambda path: truncated(path, is_zip=False), "is not a checkpoint, or a damaged one"),
        (lambda path: path.write_bytes(pickle.dumps([1, 2], protocol=4)), "is not a checkpoint"),
        (lambda path: save([torch.rand(1)], path), "holds a list, expected a dictionary"),
    ],
    ids=[
        "missing",
        "folder",
        "empty",
        "web page",
        "text",
        "image",
        "zip without end",
        "cut zip",
        "cut legacy",
        "plain pickle",
        "list",
    ],
)
def test_a_file_that_is_no_checkpoint_is_a_clear_error(
    tmp_path: Path, write: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "weights.pth"
    write(path)
    with pytest.raises(CheckpointError, match=reason) as failure:
        load_checkpoint_file(path)
    assert str(path) in str(failure.value)


def test_safetensors_are_read_if_it_is_installed(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    path = tmp_path / "a.safetensors"
    safetensors.save_file({"weight": torch.arange(3)}, path)
    assert load_checkpoint_file(path)["weight"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match="damaged safetensors file"):
        load_checkpoint_file(path)


def test_safetensors_without_the_library_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    (tmp_path / "a.safetensors").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match="pip install safetensors"):
        load_checkpoint_file(tmp_path / "a.safetensors")


class TwoParts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2)


def values_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_all_entries_are_loaded() -> None:
    model, other = TwoParts(), TwoParts()
    other.state_dict()["backbone.1.num_batches_tracked"].fill_(7)
    load_into(model, other.state_dict(), source="other")
    assert same(values_of(model), values_of(other))
    assert model.state_dict()["backbone.1.num_batches_tracked"] == 7


def test_values_are_cast_to_the_models_dtype_and_copied() -> None:
    model, values = TwoParts().double(), values_of(TwoParts())
    load_into(model, values, source="other")
    assert model.head.weight.dtype == torch.float64
    values["head.weight"].zero_()
    assert model.head.weight.abs().sum() > 0
    assert model.head.weight.requires_grad


def test_everything_that_does_not_fit_is_in_one_error_and_nothing_is_loaded() -> None:
    model = TwoParts()
    before = values_of(model)
    values = values_of(TwoParts())
    del values["backbone.0.bias"]
    values["head.weight"] = torch.rand(81, 4)
    values["head.extra"] = torch.rand(1)
    with pytest.raises(CheckpointError) as failure:
        load_into(model, values, source="some.pth")
    assert str(failure.value).splitlines() == [
        "some.pth does not fit the model; nothing was loaded.",
        "1 missing: backbone.0.bias",
        "1 unexpected: head.extra",
        "1 of another shape: head.weight ([81, 4], expected [2, 4])",
    ]
    assert same(values_of(model), before)


def test_a_long_list_is_cut() -> None:
    values = {f"layer.{index}": torch.rand(1) for index in range(14)}
    with pytest.raises(CheckpointError) as failure:
        load_into(nn.Identity(), values, source="some.pth")
    assert str(failure.value).splitlines()[1:] == [
        "14 unexpected: " + ", ".join(f"layer.{index}" for index in range(10)) + " and 4 more"
    ]


def test_a_prefix_takes_one_part_and_leaves_the_rest() -> None:
    model, other = TwoParts(), TwoParts()
    before = values_of(model)
    load_into(model, other.state_dict(), source="other", prefix="backbone.")
    assert torch.equal(model.backbone[0].weight, other.backbone[0].weight)  # type: ignore[arg-type]
    assert torch.equal(model.head.weight, before["head.weight"])
    with pytest.raises(CheckpointError, match=r"missing: backbone\.0\.weight"):
        load_into(model, {"head.weight": torch.rand(2, 4)}, source="other", prefix="backbone.")


class Tiny(nn.Module):
    """As much of a detector as the layout is recognised by."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("backbone_", torch.zeros(1))
        stem = nn.Conv3d(3, 2, 1)
        pathways = nn.ModuleList([nn.ModuleDict({"conv": stem})])
        block = nn.ModuleDict({"multipathway_blocks": pathways})
        self.backbone = nn.ModuleDict({"blocks": nn.ModuleList([block])})
        self.head = nn.ModuleDict({"classifier": nn.Linear(2, 3)})


ARCHITECTURE = {"depth": 50, "temporal_pool": "max", "norm": None, "sizes": (1, 2.5), "flags": {"a": [True]}}


def test_what_is_saved_loads_back(tmp_path: Path) -> None:
    model, path = Tiny(), tmp_path / "model.pth"
    save_checkpoint(path, model, architecture=ARCHITECTURE, categories=("walk", "sit", "lie"))
    converted = convert(load_checkpoint_file(path))
    assert converted.layout == "acrn_zoo"
    assert converted.architecture == ARCHITECTURE
    assert converted.categories == ("walk", "sit", "lie")
    assert (converted.temporal_pool, converted.num_classes) == ("max", 3)
    fresh = Tiny()
    load_into(fresh, converted.state_dict, source=str(path))
    assert same(values_of(fresh), values_of(model))
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


def test_an_existing_file_is_replaced_only_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_text("precious")
    with pytest.raises(CheckpointError, match="exists: choose another name"):
        save_checkpoint(path, Tiny(), architecture={}, categories=tuple("abc"))
    assert path.read_text() == "precious"
    save_checkpoint(path, Tiny(), architecture={}, categories=tuple("abc"), overwrite=True)
    assert load_checkpoint_file(path)["version"] == 1


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")])
def test_a_save_that_breaks_off_leaves_the_old_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: object, file: Any) -> None:
        file.write(b"half")
        raise error

    path = tmp_path / "model.pth"
    path.write_text("old")
    monkeypatch.setattr(checkpoints.torch, "save", full_disk)
    with pytest.raises(CheckpointError, match=r"model\.pth cannot be written: No space left on device"):
        save_checkpoint(path, Tiny(), architecture={}, categories=tuple("abc"), overwrite=True)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.pth"]


def test_a_folder_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written: No such file or directory"):
        save_checkpoint(tmp_path / "none" / "model.pth", Tiny(), architecture={}, categories=tuple("abc"))


@pytest.mark.parametrize("value", [Path("a"), torch.zeros(1), {1: 2}, {"a": {3}}, np.float64(1)], ids=repr)
def test_an_architecture_of_more_than_plain_values_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(CheckpointError, match="more than plain values"):
        save_checkpoint(tmp_path / "a.pth", Tiny(), architecture={"value": value}, categories=tuple("abc"))
    assert not list(tmp_path.iterdir())
