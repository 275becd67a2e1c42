"""The restricted unpickler: plain data comes back whole, nothing else gets in, nothing is ever run."""

import builtins
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from acrn_zoo.errors import UserError
from acrn_zoo.pickles import PickleError, read_plain_pickle

PLAIN: dict[Any, Any] = {
    "none": None,
    "numbers": [True, False, 0, -1, 2**40, -(2**100), 1.5, float("inf")],
    "texts": ("", "dance", "é", b"", b"\x00\xff"),
    5: {b"key": [(1, 2), []]},
}
ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
    np.arange(5, dtype=">i2"),
    np.zeros((0, 5)),
    np.array(3.5),
    np.array([True, False]),
    np.arange(6, dtype=np.uint8)[::2],
    np.arange(3, dtype=np.float16),
    np.float32(0.1),
    np.int64(-3),
    np.bool_(True),
]


class Call:
    """Pickles as a call of a function, which plain unpickling would run."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.result = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.result


def saved(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    assert read_plain_pickle(saved(tmp_path / "a.pkl", PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{type(array).__name__}-{array.dtype}-{array.shape}")
def test_arrays_come_back(tmp_path: Path, protocol: int, array: np.ndarray | np.generic) -> None:
    loaded = read_plain_pickle(saved(tmp_path / "a.pkl", {"boxes": array, "again": [array]}, protocol))
    assert type(loaded["boxes"]) is type(array)
    assert loaded["boxes"].dtype.str[1:] == array.dtype.str[1:]  # NumPy too makes other byte orders the machine's own
    np.testing.assert_array_equal(loaded["boxes"], array)
    assert loaded["again"][0] is loaded["boxes"] or np.isscalar(array)


def test_arrays_can_be_written_to_and_share_no_memory(tmp_path: Path) -> None:
    one, two = read_plain_pickle(saved(tmp_path / "a.pkl", [np.zeros(3000), np.zeros(3000)], 5))
    one[:] = 1
    assert not two.any()


def test_numpy_2_names_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3.0), 2).replace(b"numpy._core.", b"numpy.core.")
    for name in (b"numpy.core.", b"numpy._core."):
        loaded = read_plain_pickle(saved(tmp_path / "a.pkl", content.replace(b"numpy.core.", name)))
        np.testing.assert_array_equal(loaded, [0, 1, 2])


def test_text_of_python_2(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pkl", b"S'\\xe9t\\xe9'\n.")
    assert read_plain_pickle(path, encoding="latin1") == "été"
    with pytest.raises(PickleError, match=r"a\.pkl.*latin1"):
        read_plain_pickle(path)


def reduced(array: np.ndarray) -> tuple[Any, Any, Any]:
    """How NumPy pickles an array: a function, its arguments and the state."""
    function, arguments, state = cast("tuple[Any, Any, Any]", array.__reduce__())
    return function, arguments, state


def hostile() -> dict[str, tuple[object, str]]:
    numbers = np.arange(2.0)
    reconstruct, (subtype, shape, code), (version, size, dtype, order, raw) = reduced(numbers)
    return {
        "os.system": (Call(os.system, "touch RUN"), r"(posix|nt)\.system"),
        "eval": (Call(eval, "open('RUN', 'w')"), r"builtin.*\.eval"),
        "getattr": (Call(getattr, "a", "upper"), r"builtin.*\.getattr"),
        "bare global": (OrderedDict, r"collections\.OrderedDict"),
        "bare dtype": (np.dtype("f8"), "_Dtype"),
        "bare allowed name": (b"cnumpy\nndarray\n.", r"numpy\.ndarray"),
        "ndarray called": (b"cnumpy\nndarray\n(I9\ntR.", r"call of numpy\.ndarray"),
        "object array": (np.array([Call(os.system, "touch RUN")]), "dtype 'O8'"),
        "object dtype by name": (b"cnumpy\ndtype\n(S'O'\ntR.", "dtype 'O'"),
        "structured dtype": (np.zeros(2, dtype=[("a", "f8")]), "dtype 'V8'"),
        "dtype with fields": (
            b"cnumpy\ndtype\n(S'f8'\ntR(I3\nS'<'\nN(S'a'\nt(dI8\nI1\nI0\ntb.",
            "dtype that is more",
        ),
        "metadata": (np.dtype("f8", metadata={"a": 1}), "dtype that is more"),
        "text array": (np.array(["a"]), "dtype 'U1'"),
        "subclass": (Call(reconstruct, np.matrix, shape, code), r"numpy.*matrix"),
        "array of dtypes": (Call(reconstruct, np.dtype, shape, code), r"array of the type numpy\.dtype"),
        "setstate of objects": (
            Call(reconstruct, subtype, shape, code, state=(version, size, np.dtype(object), order, [1, 2])),
            "dtype 'O8'",
        ),
        "raw data is a list": (
            Call(reconstruct, subtype, shape, code, state=(version, size, dtype, order, [1, 2])),
            "array made of an object of type list",
        ),
        "no dtype": (
            Call(reconstruct, subtype, shape, code, state=(version, size, "O", order, raw)),
            "array of 'O'",
        ),
        "codec": (b"c_codecs\nencode\n(S'x'\nS'rot13'\ntR.", "'rot13'"),
        "extension": (b"\x80\x02\x82\x01.", "EXT1"),
        "persistent id": (b"Psomething\n.", "PERSID"),
        "inst": (b"(S'touch RUN'\nios\nsystem\n.", "INST"),
        "obj": (b"(cos\nsystem\nS'touch RUN'\no.", r"os\.system"),
        "newobj": (b"\x80\x02cnumpy\nndarray\nI9\n\x85\x81.", "NEWOBJ"),
        "state of a function": (b"cnumpy\nndarray\n}b.", "change of the state of numpy.ndarray"),
        "state of a list": (b"]}b.", "change of the state of an object of type list"),
        "items of an array": (pickle.dumps(numbers, 2)[:-1] + b"I0\nI7\ns.", "items of an object of type ndarray"),
        "tuple as a key": ({(1, 2): 3}, "key of type tuple"),
        "set": ({1, 2}, "EMPTY_SET"),
        "complex": (np.array([1j]), "dtype 'c16'"),
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", hostile())
def test_everything_else_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: int
) -> None:
    value, reason = hostile()[name]
    monkeypatch.chdir(tmp_path)
    if name == "set" and protocol < 4:
        reason = "set"
    with pytest.raises(PickleError, match=rf"{name}\.pkl asks for .*{reason}.*not executed") as caught:
        read_plain_pickle(saved(tmp_path / f"{name}.pkl", value, protocol))
    assert isinstance(caught.value, UserError | ValueError)
    assert not (tmp_path / "RUN").exists()


def test_no_module_is_imported_and_nothing_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.pkl", b"cantigravity\nfly\n(tR.")
    original = builtins.__import__

    def guarded(name: str, *arguments: Any, **named: Any) -> Any:
        assert name != "antigravity"
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", guarded)
    with pytest.raises(PickleError, match=r"antigravity\.fly"):
        read_plain_pickle(path)


def test_one_file_leaves_no_trace_in_the_reader(tmp_path: Path) -> None:
    """A state given to an allowed name must not change what the next file gets."""
    with pytest.raises(PickleError):
        read_plain_pickle(saved(tmp_path / "a.pkl", b"cnumpy\ndtype\n(N}S'name'\nS'x'\nstb."))
    np.testing.assert_array_equal(read_plain_pickle(saved(tmp_path / "b.pkl", np.arange(2))), [0, 1])


GIGABYTES = 2**36
DAMAGED = {
    "empty": b"",
    "text": b"video,0902,0.1,0.2\n",
    "page": b"<!DOCTYPE html><html></html>",
    "cut off": pickle.dumps(PLAIN)[:-20],
    "cut in an array": pickle.dumps({"a": np.zeros(100)}, 2)[:-300],
    "no end": pickle.dumps([1, 2], 2)[:-1],
    "declared length": b"\x80\x04\x8e" + struct.pack("<Q", GIGABYTES) + b"abc.",
    "declared bytearray": b"\x80\x05\x96" + struct.pack("<Q", GIGABYTES) + b"abc.",
    "huge shape": pickle.dumps(np.zeros(2), 2).replace(b"K\x02\x85", b"J\xff\xff\xff\x7f\x85"),
    "shape against data": pickle.dumps(np.zeros(2), 2).replace(b"K\x02\x85", b"K\x03\x85"),
    "negative shape": pickle.dumps(np.zeros((0, 3)), 2).replace(b"K\x00K\x03", b"J\xff\xff\xff\xffK\x00"),
    "stack": b"0000.",
    "memo": b"g7\n.",
    "odd items": b"}(I1\nu.",
    "unhashable": b"}]I1\ns.",
    "number": b"L" + b"9" * 10_000 + b"L\n.",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(PickleError, match=rf"{name}\.pkl"):
        read_plain_pickle(saved(tmp_path / f"{name}.pkl", DAMAGED[name]))


def test_a_number_has_the_bytes_of_its_type(tmp_path: Path) -> None:
    scalar, (dtype, _) = cast("tuple[Any, Any]", np.float64(1).__reduce__())
    with pytest.raises(PickleError, match="is made of 16 bytes"):
        read_plain_pickle(saved(tmp_path / "a.pkl", Call(scalar, dtype, bytes(16))))


def test_a_large_memo_number_costs_nothing(tmp_path: Path) -> None:
    assert read_plain_pickle(saved(tmp_path / "a.pkl", b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".")) is None


def test_arrays_cannot_grow_beyond_the_file(tmp_path: Path) -> None:
    """A thousand arrays made of one piece of data would be a thousand times as large as the file."""
    array = np.zeros(1000)
    reconstruct, (subtype, shape, code), state = reduced(array)
    bomb = [Call(reconstruct, subtype, shape, code, state=state) for _ in range(1000)]
    with pytest.raises(PickleError, match="larger than the whole file"):
        read_plain_pickle(saved(tmp_path / "a.pkl", bomb))


def test_shared_lists_are_looked_at_once(tmp_path: Path) -> None:
    """Forty lists that each hold the next one twice: 2^40 items for whoever counts them one by one."""
    nested: list[Any] = []
    for _ in range(40):
        nested = [nested, nested]
    assert len(read_plain_pickle(saved(tmp_path / "a.pkl", nested))) == 2


def test_a_list_in_itself_is_read(tmp_path: Path) -> None:
    itself: list[Any] = []
    itself.append(itself)
    loaded = read_plain_pickle(saved(tmp_path / "a.pkl", itself))
    assert loaded[0] is loaded


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=r"nowhere\.pkl cannot be read"):
        read_plain_pickle(tmp_path / "nowhere.pkl")


def test_published_proposals(shared: Path) -> None:
    proposals = read_plain_pickle(shared / "data/ava/mmaction2_ava_dataset/ava_proposals_sample.pkl")
    assert {key: boxes.shape for key, boxes in proposals.items()} == {
        "0f39OWEqJ24,0902": (1, 5),
        "0f39OWEqJ24,0903": (1, 5),
        "_-Z6wFjXtGQ,0902": (3, 5),
    }
    assert proposals["0f39OWEqJ24,0902"].tolist() == [[0.011, 0.157, 0.655, 0.983, 0.998163]]


def test_published_jhmdb(shared: Path) -> None:
    path = shared / "data/jhmdb/JHMDB-GT.pkl"
    with path.open("rb") as file:
        expected = pickle.load(file, encoding="latin1")
    loaded = read_plain_pickle(path, encoding="latin1")
    assert loaded.keys() == expected.keys()
    for key in expected.keys() - {"gttubes"}:
        assert loaded[key] == expected[key]
    assert loaded["gttubes"].keys() == expected["gttubes"].keys()
    for video, tubes in expected["gttubes"].items():
        for label, arrays in tubes.items():
            np.testing.assert_array_equal(loaded["gttubes"][video][label], arrays)
