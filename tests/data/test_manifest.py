"""What is found out of each video, once, and kept until the video changes."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from numbered_video import frame_times, numbered_picture, write_numbered
from PIL import Image

from acrn_zoo.data import manifest
from acrn_zoo.data.folder import VideoEntry
from acrn_zoo.data.frames import Video, open_video
from acrn_zoo.data.hashing import hash_content, hash_outline
from acrn_zoo.data.manifest import (
    Depth,
    ManifestEntry,
    ManifestError,
    OffsetError,
    read_manifest,
    require_sound,
    resolve_offset,
    update_manifest,
    write_manifest,
)
from acrn_zoo.data.video import VideoReader

FASTSTART = {"movflags": "faststart"}
KEY_FRAME_A_SECOND = {"preset": "ultrafast", "x264-params": "keyint=30:scenecut=0"}


def write_video(path: Path, num_frames: int = 300, **options: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_numbered(path, frame_times(num_frames), options=KEY_FRAME_A_SECOND, **options)  # type: ignore[arg-type]


def write_folder(folder: Path, number: int = 50) -> Path:
    folder.mkdir(parents=True)
    for index in range(number):
        Image.fromarray(numbered_picture(index)).save(folder / f"img_{index + 1:05d}.jpg")
    return folder


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sound videos and a folder of frames."""
    write_video(tmp_path / "videos/a.mp4")
    write_video(tmp_path / "videos/b.mkv", 45)
    write_folder(tmp_path / "videos/c")
    return tmp_path


def entries_of(root: Path) -> dict[str, VideoEntry]:
    return {path.stem: VideoEntry(path) for path in sorted((root / "videos").iterdir())}


class Looks:
    """Counts what :func:`update_manifest` looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at: list[str] = []
        original = manifest._Look.inspect

        def inspect(look: manifest._Look, video: VideoEntry, stop: object) -> ManifestEntry:
            self.at.append(video.path.stem)
            return original(look, video, stop)  # type: ignore[arg-type]

        monkeypatch.setattr(manifest._Look, "inspect", inspect)

    def take(self) -> list[str]:
        taken, self.at = sorted(self.at), []
        return taken


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(monkeypatch)


@pytest.mark.parametrize("depth", ["quick", "full"])
def test_what_is_known(depth: Depth, root: Path) -> None:
    found = update_manifest(root / "manifest.json", entries_of(root), frame_rate=25, depth=depth)
    assert list(found) == ["a", "b", "c"]
    film, short, folder = found.values()
    assert film.path == root / "videos/a.mp4"
    assert film.size == film.path.stat().st_size
    assert film.modified == film.path.stat().st_mtime_ns
    assert (film.num_frames, film.width, film.height, film.codec, film.decoder) == (300, 96, 64, "h264", "pyav")
    assert (film.duration, film.frame_rate, film.offset) == (pytest.approx(10), 30, 0)
    assert short.duration == pytest.approx(1.5, abs=0.002)
    assert short.num_frames == (45 if depth == "full" else None)  # the header of mkv does not say
    assert (folder.num_frames, folder.duration, folder.frame_rate) == (50, pytest.approx(2), 25)
    assert (folder.codec, folder.decoder) == ("mjpeg", "pillow")
    assert folder.size == sum(path.stat().st_size for path in folder.path.iterdir())
    assert {entry.depth for entry in found.values()} == {depth}
    assert not any(entry.problems for entry in found.values())
    assert read_manifest(root / "manifest.json") == found
    require_sound(found)


def test_the_length_is_that_of_the_pictures(tmp_path: Path) -> None:
    """Not that of the sound, which the header of an mkv states, nor unknown, as of a raw stream."""
    with_sound = write_video(tmp_path / "sound.mkv", 45, audio_seconds=5.0)
    raw = write_video(tmp_path / "raw.h264", 45)
    with VideoReader(with_sound) as first, VideoReader(raw) as second:
        assert (first.info.duration, second.info.duration) == (pytest.approx(5, abs=0.3), None)
    found = update_manifest(tmp_path / "m.json", {path.stem: VideoEntry(path) for path in (with_sound, raw)})
    assert found["sound"].duration == pytest.approx(1.5, abs=0.05)
    assert found["raw"].duration == pytest.approx(45 / 25, abs=0.05)  # FFmpeg takes a raw stream for 25 a second
    assert (found["raw"].depth, found["raw"].num_frames) == ("quick", 45)


def test_decoder(root: Path, looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    def opened(path: Path, frame_rate: float | None, decoder: str) -> Video:
        used.append(decoder)
        return open_video(path, frame_rate)

    monkeypatch.setattr(manifest, "open_video", opened)
    for decoder, expected in (("pyav", ["a", "b", "c"]), ("torchcodec", ["a", "b"]), ("torchcodec", [])):
        found = update_manifest(root / "manifest.json", entries_of(root), frame_rate=25, decoder=decoder)
        assert [entry.decoder for entry in found.values()] == [decoder, decoder, "pillow"]
        assert looks.take() == expected
    assert used == ["pyav"] * 3 + ["torchcodec"] * 2


def test_hashes(root: Path) -> None:
    videos = entries_of(root)
    quick, full = (
        update_manifest(root / f"{depth}.json", videos, frame_rate=25, depth=depth) for depth in ("quick", "full")
    )
    for name, video in videos.items():
        assert quick[name].hash == hash_outline(video.path)
        assert full[name].hash == hash_content(video.path, threading.Event())


@pytest.mark.parametrize(
    ("damage", "depths", "message"),
    [
        (lambda path: path.unlink(), ("quick", "full"), "there is no such file"),
        (lambda path: path.write_bytes(b""), ("quick", "full"), r"empty \(0 bytes\)"),
        (lambda path: path.write_text("<html>404</html>"), ("quick", "full"), "not a video"),
        (lambda path: cut(path, 0.6), ("quick", "full"), r"breaks off at [4-6]\.\d\d s"),
        (lambda path: spoil_middle(path), ("full",), r"breaks off at [3-6]\.\d\d s"),
    ],
    ids=["missing", "empty", "no video", "cut off", "damaged in the middle"],
)
def test_damage(damage: Callable[[Path], object], depths: tuple[Depth, ...], message: str, root: Path) -> None:
    path = root / "videos/a.mp4"
    path.unlink()
    videos = entries_of(root) | {"a": VideoEntry(write_video(path, container_options=FASTSTART))}
    damage(path)
    for depth in depths:
        found = update_manifest(root / "manifest.json", videos, frame_rate=25, depth=depth)
        assert [name for name, entry in found.items() if entry.problems] == ["a"]
        with pytest.raises(ManifestError, match=rf"1 of 3 videos cannot be used:\na: {path}: .*{message}"):
            require_sound(found)


def spoil_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 300 : middle + 300] = b"\xff" * 600
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("number", "depths"), [(1, ("quick", "full")), (50, ("quick", "full")), (20, ("full",))], ids=str
)
def test_damaged_pictures(number: int, depths: tuple[Depth, ...], tmp_path: Path) -> None:
    """A quick look takes the last two seconds, here 20 of 50 pictures."""
    folder = write_folder(tmp_path / "film")
    (folder / f"img_{number:05d}.jpg").write_bytes(b"")
    for depth in ("quick", "full"):
        found = update_manifest(tmp_path / "m.json", {"film": VideoEntry(folder)}, frame_rate=10, depth=depth)
        assert bool(found["film"].problems) == (depth in depths)
        assert all(f"img_{number:05d}.jpg" in problem for problem in found["film"].problems)


def test_a_folder_needs_a_frame_rate(tmp_path: Path) -> None:
    videos = {"film": VideoEntry(write_folder(tmp_path / "film", 3))}
    found = update_manifest(tmp_path / "manifest.json", videos)
    assert "Give frame_rate" in found["film"].problems[0]


@pytest.mark.parametrize(
    ("duration", "offset"),
    [(900.0, 900), (901.03, 900), (905.9, 900), (1800.0, 0), (7000.0, 0), (898.9, None), (1200, None), (None, None)],
)
def test_offset_by_duration(duration: float | None, offset: float | None) -> None:
    unknown = VideoEntry(Path("a.mp4"), offset=None)
    assert resolve_offset(VideoEntry(Path("a.mp4"), offset=7.5), duration) == 7.5
    if offset is not None:
        assert resolve_offset(unknown, duration) == offset
    else:
        with pytest.raises(OffsetError, match=r'a\.mp4 .*Say in dataset\.json, as "offset"'):
            resolve_offset(unknown, duration)


def test_offset_is_a_problem_of_its_video(root: Path, looks: Looks) -> None:
    path = root / "manifest.json"
    videos = {name: replace(video, offset=None) for name, video in entries_of(root).items()}
    found = update_manifest(path, videos, frame_rate=50 / 900)  # the folder alone is 900 s long
    assert {name: entry.offset for name, entry in found.items()} == {"a": None, "b": None, "c": 900}
    assert "a.mp4 is 10.0 s long: neither" in found["a"].problems[0]
    assert not found["c"].problems
    looks.take()
    given = {name: replace(video, offset=5.0) for name, video in videos.items()}
    found = update_manifest(path, given, frame_rate=50 / 900)
    assert {entry.offset for entry in found.values()} == {5.0}
    assert not any(entry.problems for entry in found.values())
    assert looks.take() == ["a", "b", "c"]


def test_only_what_changed_is_looked_at(root: Path, looks: Looks) -> None:
    path, videos = root / "manifest.json", entries_of(root)
    found: dict[str, ManifestEntry] = {}

    def update(**arguments: object) -> list[str]:
        nonlocal found
        found = update_manifest(path, videos, **{"frame_rate": 25, **arguments})  # type: ignore[arg-type]
        return looks.take()

    assert update() == ["a", "b", "c"]
    first = found
    assert update() == []
    assert found == first
    os.utime(root / "videos/a.mp4", (1e9, 1e9))
    (root / "videos/c/img_00050.jpg").unlink()
    assert update() == ["a", "c"]
    assert found["c"].num_frames == 49
    assert update(depth="full") == ["a", "b", "c"]
    assert update(depth="quick") == []
    assert update(frame_rate=30) == ["c"]
    elsewhere = (root / "videos/b.mkv").rename(root / "videos/elsewhere.mkv")
    assert update() == ["b", "c"]
    assert update() == ["b"]  # what has problems is looked at again
    videos["b"] = VideoEntry(elsewhere)
    assert update() == ["elsewhere"]
    videos["b"] = VideoEntry(elsewhere.rename(root / "videos/b.mkv"))
    assert update() == ["b"]  # size and time are the same, its path is not
    del videos["a"]
    assert update() == []
    assert list(found) == list(read_manifest(path)) == ["b", "c"]


def test_progress(root: Path) -> None:
    path, videos = root / "manifest.json", entries_of(root)
    del videos["a"]
    update_manifest(path, videos, frame_rate=25)
    seen: list[str] = []
    update_manifest(
        path, entries_of(root), frame_rate=25, progress=lambda name, entry: seen.append(f"{name} {entry.codec}")
    )
    assert seen == ["b h264", "c mjpeg", "a h264"]


def test_an_interrupted_run_is_continued(tmp_path: Path, looks: Looks) -> None:
    path = tmp_path / "manifest.json"
    source = write_video(tmp_path / "videos/0.mp4", 30)
    for number in range(1, 20):
        (tmp_path / f"videos/{number}.mp4").write_bytes(source.read_bytes())
    videos = entries_of(tmp_path)

    def interrupt(_name: str, _entry: ManifestEntry) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_manifest(path, videos, num_workers=1, progress=interrupt)
    known = read_manifest(path)
    assert len(known) == 1
    looks.take()
    assert len(update_manifest(path, videos)) == 20
    assert looks.take() == sorted(set(videos) - set(known))


def test_the_file_is_written_on_the_way(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a killed run leaves what it knew."""
    monkeypatch.setattr(manifest, "_SAVE_EVERY", 0.0)
    path = root / "manifest.json"
    seen: list[int] = []

    def look(_name: str, _entry: ManifestEntry) -> None:
        seen.append(len(read_manifest(path)) if path.exists() else 0)

    update_manifest(path, entries_of(root), frame_rate=25, progress=look)
    assert seen == [0, 1, 2]


def test_work_in_other_threads_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was_stopped = []
    original = manifest._decode

    def decode(video: Video, depth: Depth, stop: threading.Event) -> tuple[int | None, float | None]:
        if "long" in video.info.path.stem:
            was_stopped.append(stop.wait(30))
        return original(video, depth, stop)

    monkeypatch.setattr(manifest, "_decode", decode)
    short, long = write_video(tmp_path / "short.mp4", 2), write_video(tmp_path / "long.mp4", 2)
    videos = {"short": VideoEntry(short)} | {f"long {number}": VideoEntry(long) for number in range(50)}

    def interrupt(_name: str, _entry: ManifestEntry) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        update_manifest(tmp_path / "manifest.json", videos, num_workers=2, progress=interrupt)
    assert set(was_stopped) <= {True}
    assert len(was_stopped) <= 2
    assert list(read_manifest(tmp_path / "manifest.json")) == ["short"]


def test_paths_are_relative_to_the_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = write_video(tmp_path_factory.mktemp("elsewhere") / "d.mp4", 30)
    update_manifest(root / "manifest.json", entries_of(root) | {"d": VideoEntry(elsewhere)}, frame_rate=25)
    content = json.loads((root / "manifest.json").read_text())["videos"]
    assert [content[name]["path"] for name in "abd"] == ["videos/a.mp4", "videos/b.mkv", str(elsewhere)]
    moved = root.rename(root.with_name("moved"))
    assert read_manifest(moved / "manifest.json")["a"].path == moved / "videos/a.mp4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no manifest"),
        ("[]", "is no manifest"),
        ('{"version": 2, "videos": {}}', "version 2, expected 1"),
        ('{"version": 1}', "there is no 'videos'"),
        ('{"version": 1, "videos": {"a": {"path": "a.mp4", "problems": []}}}', "is no manifest.*size"),
        ('{"version": 1, "videos": {"a": {"problems": []}}}', "there is no 'path'"),
    ],
)
def test_bad_files(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(ManifestError, match=message):
        update_manifest(path, {})
    assert path.read_text() == content


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="acrn-zoo data manifest"):
        read_manifest(tmp_path / "manifest.json")


def test_all_problems_in_one_error() -> None:
    entry = ManifestEntry(Path("a.mp4"), 1, 1, "pyav", "quick")
    broken = replace(entry, problems=("first", "second"))
    with pytest.raises(ManifestError) as raised:
        require_sound({"x": broken, "y": entry, "z": replace(entry, problems=("third",))})
    assert str(raised.value) == "2 of 3 videos cannot be used:\nx: first\nx: second\nz: third"


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    entry = ManifestEntry(tmp_path / "a.mp4", 1, 1, "pyav", "quick")
    path = tmp_path / "manifest.json"
    write_manifest(path, {"a": entry})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_manifest(path, {"a": replace(entry, size=object())})  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
