"""Files that appear whole or not at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from acrn_zoo.files import (
    OutputError,
    OutputExistsError,
    durably_replacing,
    reason_of,
    replacing,
    require_writable,
    try_lock,
    write_json,
)


def test_replaces_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == ".csv"
        assert partial != path
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OutputExistsError("there")])
def test_failure_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(type(error)) as caught, replacing(path) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert caught.value is error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), replacing(tmp_path / "new.csv"):
        raise ValueError("early")
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "a.csv"
    with pytest.raises(OutputError, match=r"Cannot write .*nowhere/a\.csv: No such file"), replacing(path) as partial:
        partial.write_text("x")


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    """The block has to write the file."""
    with pytest.raises(OutputError, match="Cannot write"), replacing(tmp_path / "a.csv"):
        pass


def test_target_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"), replacing(tmp_path) as partial:
        partial.write_text("x")
    assert not list(tmp_path.parent.glob(".*part*"))


def test_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(OutputError, match="No space left on device") as caught, replacing(path):
        raise OSError(28, os.strerror(28))
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_text() == "old"


@pytest.mark.parametrize("name", ["no_suffix", "a.tar.gz", "-v_1.csv", ".hidden"])
def test_names(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name) as partial:
        partial.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_require_writable(tmp_path: Path) -> None:
    require_writable(tmp_path / "new", overwrite=False)
    (tmp_path / "old").touch()
    require_writable(tmp_path / "old", overwrite=True)
    with pytest.raises(OutputExistsError, match="old exists already: .*--overwrite") as caught:
        require_writable(tmp_path / "old", overwrite=False)
    assert isinstance(caught.value, FileExistsError)


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(("name", "message"), [("", "it is a folder"), ("nowhere/a", "there is no folder .*nowhere")])
def test_not_writable(tmp_path: Path, name: str, message: str, overwrite: bool) -> None:
    with pytest.raises(OutputError, match=message):
        require_writable(tmp_path / name, overwrite=overwrite)


def test_devices_and_pipes_are_no_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="it is no file"), replacing(pipe) as partial:
        partial.write_text("new")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as partial:
        partial.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_a_durable_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with durably_replacing(path) as file:
        file.write(b"old")
        assert not path.exists()
    with pytest.raises(TypeError), durably_replacing(path) as file:
        file.writelines([b"half of what is n", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["weights.pth"]


def test_json_an_entry_a_line(tmp_path: Path) -> None:
    path, content = tmp_path / "a.json", {"name": "Käse", "list": [1, 2.5, None]}
    path.write_text("old, and longer than what is written now" * 9)
    write_json(path, content)
    assert path.read_bytes() == b'{\n "name": "K\\u00e4se",\n "list": [\n  1,\n  2.5,\n  null\n ]\n}\n'
    write_json(path, content, ensure_ascii=False)
    assert path.read_text(encoding="utf-8") == '{\n "name": "Käse",\n "list": [\n  1,\n  2.5,\n  null\n ]\n}\n'
    write_json(path, "not UTF-8: \udcff")  # as names of files may be
    assert json.loads(path.read_text(encoding="utf-8")) == "not UTF-8: \udcff"


@pytest.mark.parametrize(("content", "error"), [([1, float("nan")], ValueError), ({"path": Path()}, TypeError)])
def test_what_json_does_not_know(tmp_path: Path, content: object, error: type[Exception]) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error):
        write_json(path, content)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*nowhere/a\.json: No such file"):
        write_json(tmp_path / "nowhere" / "a.json", {})


def is_free(path: Path) -> bool:
    """Whether another process can lock a file just now."""
    program = "import sys; from acrn_zoo.files import try_lock; print(try_lock(open(sys.argv[1], 'a')))"
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", check=True).stdout.strip()
    assert answer in {"True", "False"}
    return answer == "True"


def test_a_lock_is_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("a") as file:
        assert try_lock(file)
        assert not is_free(path)
        assert not is_free(path)  # one that could not have it has not taken it away
    assert is_free(path)
    assert is_free(path)  # nor do those hold it that have ended


def test_what_cannot_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with path.open() as file, pytest.raises(OSError, match="Bad file descriptor"):  # not open for writing
        try_lock(file)


def test_reasons_in_words() -> None:
    full = OSError(28, "No space left on device")
    wrapped = RuntimeError("PytorchStreamWriter failed")
    wrapped.__context__ = full
    assert {reason_of(full), reason_of(wrapped)} == {"No space left on device"}
    assert reason_of(RuntimeError("enforce fail\nat line 3")) == "enforce fail"
    assert reason_of(RuntimeError()) == "unknown"
