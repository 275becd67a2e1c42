"""Fetching AVA, from a server on this machine: nothing here touches a network."""

import hashlib
import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import portalocker
import pytest
from http_server import FileServer, RequestHandler, break_off, give_up, not_found, send, serving, stall, web_page

from acrn_zoo import ava_download, download
from acrn_zoo.ava_download import AvaError, fetch_ava
from acrn_zoo.data.ava import EVALUATED_IDS
from acrn_zoo.data.folder import read_dataset_folder
from acrn_zoo.dataset_check import check_dataset
from acrn_zoo.files import OutputError

FILMS = ("_-Z6wFjXtGQ.mkv", "1j20qq1JyX4.mp4")
FILM = b"film" * 5000
LABELS = b'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\n'
MEMBERS = {
    "ava_train_v2.2.csv": b"_-Z6wFjXtGQ,0902,0.1,0.1,0.5,0.9,12,0\n",
    "ava_val_v2.2.csv": b"1j20qq1JyX4,0902,0.1,0.1,0.5,0.9,12,0\n",
    "ava_train_excluded_timestamps_v2.2.csv": b"_-Z6wFjXtGQ,1110\n",
    "ava_val_excluded_timestamps_v2.2.csv": b"1j20qq1JyX4,1110\n",
    "ava_action_list_v2.2.pbtxt": LABELS,
    "ava_action_list_v2.2_for_activitynet_2019.pbtxt": LABELS,
}
LABEL_MAPS = [name for name in MEMBERS if name.endswith(".pbtxt")]
ARCHIVE, LIST = "ava_v2.2.zip", "ava_file_names_trainval_v2.1.txt"
PROPOSALS = [f"ava_dense_proposals_{split}.FAIR.recall_93.9.pkl" for split in ("train", "val")]
ALL_FILES = [ARCHIVE, LIST, *PROPOSALS]


def zipped(members: dict[str, bytes], folder: str = "ava_v2.2/") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(folder + name, content)
    return file.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setattr(ava_download, "SHA256", {})
    monkeypatch.setattr(ava_download, "FILM_BYTES", len(FILM))
    box = np.array([[0.1, 0.1, 0.5, 0.9, 0.99]])
    with serving() as server:
        server.bodies = {
            f"/{ARCHIVE}": zipped(MEMBERS),
            f"/{LIST}": "".join(f"{name}\n" for name in FILMS).encode(),
            f"/{PROPOSALS[0]}": pickle.dumps({"_-Z6wFjXtGQ,0902": box}),
            f"/{PROPOSALS[1]}": pickle.dumps({"1j20qq1JyX4,0902": box}),
            **{f"/{name}": FILM for name in FILMS},
        }
        yield server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "ava"


def fetched(server: FileServer, root: Path, **options: Any) -> ava_download.AvaSummary:
    return fetch_ava(root, url_base=server.address, progress=False, **options)


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_fetches_everything_and_makes_a_dataset_folder(server: FileServer, root: Path) -> None:
    summary = fetched(server, root)
    assert (sorted(summary.fetched), summary.failures) == (sorted(ALL_FILES), {})
    assert (summary.num_films, summary.films_here, summary.is_complete) == (2, 0, True)
    assert files_of(root / "annotations") == sorted([*ALL_FILES, *MEMBERS])
    for name, content in MEMBERS.items():
        assert (root / "annotations" / name).read_bytes() == content
    folder = read_dataset_folder(root)
    assert (folder.name, folder.evaluated, len(folder.label_map.names)) == ("AVA 2.2", EVALUATED_IDS, 80)
    assert folder.split("val").proposals == root / "annotations" / PROPOSALS[1]
    assert folder.videos["_-Z6wFjXtGQ"].path == root / "videos" / "_-Z6wFjXtGQ.mkv"
    assert folder.videos["_-Z6wFjXtGQ"].offset is None
    assert (root / "video_urls.txt").read_text() == "".join(f"{server.address}/{name}\n" for name in FILMS)
    assert server.requests.keys() == {f"/{name}" for name in ALL_FILES}


def test_the_doctor_can_check_what_was_fetched(server: FileServer, root: Path) -> None:
    fetched(server, root)
    report = check_dataset(root, with_videos=False)
    assert report.is_healthy
    assert report.splits["val"].proposal_recall == 1.0


def test_a_second_run_fetches_nothing(server: FileServer, root: Path) -> None:
    fetched(server, root)
    again = fetched(server, root)
    assert (again.fetched, again.failures) == ((), {})
    assert set(server.requests.values()) == {1}


def test_the_films_on_demand_and_once(server: FileServer, root: Path) -> None:
    assert fetched(server, root, with_videos=True).films_here == 2
    assert (root / "videos" / FILMS[0]).read_bytes() == FILM
    assert fetched(server, root, with_videos=True).fetched == ()
    assert server.requests[f"/{FILMS[0]}"] == 1


def test_films_of_ones_own_are_used_whatever_their_ending(server: FileServer, root: Path) -> None:
    (root / "videos" / "1j20qq1JyX4").mkdir(parents=True)  # frames
    (root / "videos" / "_-Z6wFjXtGQ.avi").write_bytes(b"cut")
    summary = fetched(server, root, with_videos=True)
    assert (summary.films_here, summary.failures) == (2, {})
    videos = read_dataset_folder(root).videos
    assert videos["1j20qq1JyX4"].path == root / "videos" / "1j20qq1JyX4"
    assert videos["_-Z6wFjXtGQ"].path == root / "videos" / "_-Z6wFjXtGQ.avi"
    assert server.requests[f"/{FILMS[0]}"] == server.requests[f"/{FILMS[1]}"] == 0


def test_two_files_for_one_film_are_reported(server: FileServer, root: Path) -> None:
    (root / "videos").mkdir(parents=True)
    for ending in ("avi", "webm"):
        (root / "videos" / f"_-Z6wFjXtGQ.{ending}").write_bytes(b"cut")
    assert "keep the one to be used" in fetched(server, root).failures["_-Z6wFjXtGQ"]


def test_offsets_and_places_that_somebody_wrote_stay(server: FileServer, root: Path, tmp_path: Path) -> None:
    fetched(server, root)
    (tmp_path / "elsewhere.mp4").write_bytes(b"film")
    content = json.loads((root / "dataset.json").read_text())
    content["videos"]["1j20qq1JyX4"] = {"path": str(tmp_path / "elsewhere.mp4"), "offset": 900}
    content["videos"]["_-Z6wFjXtGQ"]["offset"] = 0
    (root / "dataset.json").write_text(json.dumps(content))
    fetched(server, root)
    videos = read_dataset_folder(root).videos
    assert videos["1j20qq1JyX4"] == ava_download.VideoEntry(tmp_path / "elsewhere.mp4", 900.0)
    assert videos["_-Z6wFjXtGQ"].offset == 0.0


def too_short(request: RequestHandler, body: bytes) -> None:
    """Says that it sends more than it has."""
    send(request, body, len(body) + 1000)


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (break_off(10), "answered 503"),
        (stall(10), "answered 503"),
        (too_short, "broke off"),
        (web_page, "sent a web page"),
        (not_found, "answered 404"),
    ],
)
def test_a_failure_is_reported_keeps_nothing_else_from_coming_and_is_mended_by_the_next_run(
    server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, answer: Any, reason: str
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.1)
    server.answers[f"/{name}"] = [answer, give_up] if "503" in reason else [answer]
    summary = fetched(server, root)
    assert summary.failures.keys() == {name}
    assert reason in summary.failures[name]
    assert sorted(summary.fetched) == sorted(set(ALL_FILES) - {name})
    assert summary.is_complete == (name in PROPOSALS)
    again = fetched(server, root)
    assert (again.fetched, again.failures, again.is_complete) == ((name,), {}, True)
    assert (root / "annotations" / name).read_bytes() == server.bodies[f"/{name}"]
    assert read_dataset_folder(root).split("val").proposals is not None


def test_a_film_that_breaks_off_is_continued(server: FileServer, root: Path) -> None:
    server.answers[f"/{FILMS[0]}"] = [break_off(1000), give_up]
    assert fetched(server, root, with_videos=True).failures.keys() == {FILMS[0]}
    assert files_of(root / "videos") == sorted([FILMS[1], f"{FILMS[0]}.part", f"{FILMS[0]}.part.json"])
    server.ranges.clear()
    assert fetched(server, root, with_videos=True).films_here == 2
    assert server.ranges == ["bytes=1000-"]
    assert (root / "videos" / FILMS[0]).read_bytes() == FILM


def test_another_file_than_the_known_one_is_refused(
    server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ava_download, "SHA256", {LIST: "0" * 64, "ava_val_excluded_timestamps_v2.2.csv": "1" * 64})
    summary = fetched(server, root)
    assert "not with 00000000 as known" in summary.failures[LIST]
    assert "not with 11111111 as known" in summary.failures["ava_val_excluded_timestamps_v2.2.csv"]
    assert not (root / "annotations" / LIST).exists()
    assert not (root / "annotations" / "ava_val_excluded_timestamps_v2.2.csv").exists()
    assert not summary.is_complete
    accepted = fetched(server, root, accepted=[LIST, "ava_val_excluded_timestamps_v2.2.csv"])
    assert (accepted.failures, accepted.is_complete) == ({}, True)
    assert fetched(server, root).fetched == ()  # noted, so that nobody has to say it again


def test_the_hash_of_the_first_download_is_noted(server: FileServer, root: Path) -> None:
    fetched(server, root)
    record = json.loads((root / "downloads.json").read_text())[f"annotations/{PROPOSALS[0]}"]
    body = server.bodies[f"/{PROPOSALS[0]}"]
    assert record == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    (root / "annotations" / PROPOSALS[0]).write_bytes(b"damaged")
    assert fetched(server, root).fetched == (PROPOSALS[0],)  # fetched again, the same
    (root / "annotations" / PROPOSALS[0]).unlink()
    server.bodies[f"/{PROPOSALS[0]}"] = b"another"
    assert "as noted in" in fetched(server, root).failures[PROPOSALS[0]]


def test_a_damaged_member_is_taken_out_of_the_archive_again(server: FileServer, root: Path) -> None:
    fetched(server, root)
    (root / "annotations" / "ava_val_v2.2.csv").write_bytes(b"damaged")
    assert fetched(server, root).fetched == ()
    assert (root / "annotations" / "ava_val_v2.2.csv").read_bytes() == MEMBERS["ava_val_v2.2.csv"]


def broken_archives() -> dict[str, tuple[bytes, str, str]]:
    sound = zipped(MEMBERS)
    member = sound.index(MEMBERS["ava_val_v2.2.csv"][:0] + b"ava_v2.2/ava_val_v2.2.csv") + len(
        "ava_v2.2/ava_val_v2.2.csv"
    )
    flipped = bytes([*sound[: member + 8], sound[member + 8] ^ 0xFF, *sound[member + 9 :]])
    few = {name: content for name, content in MEMBERS.items() if name != "ava_val_v2.2.csv"}
    return {
        "no zip": (b"no zip file", ARCHIVE, "is damaged or no zip file"),
        "cut": (sound[:-30], ARCHIVE, "is damaged or no zip file"),
        "flipped": (flipped, ARCHIVE, "is damaged or no zip file"),
        "member missing": (zipped(few), "ava_val_v2.2.csv", "0 members of that name"),
        "member twice": (
            zipped({**MEMBERS, "more/ava_val_v2.2.csv": b""}),
            "ava_val_v2.2.csv",
            "2 members of that name",
        ),
    }


@pytest.mark.parametrize("name", broken_archives())
def test_an_archive_that_is_damaged_is_reported(server: FileServer, root: Path, name: str) -> None:
    body, file, reason = broken_archives()[name]
    sound, server.bodies[f"/{ARCHIVE}"] = server.bodies[f"/{ARCHIVE}"], body
    summary = fetched(server, root)
    assert summary.failures.keys() == {file}
    assert reason in summary.failures[file]
    assert not summary.is_complete
    if file == ARCHIVE:
        server.bodies[f"/{ARCHIVE}"] = sound
        assert fetched(server, root).is_complete


def test_no_member_leaves_the_folder(server: FileServer, root: Path, tmp_path: Path) -> None:
    """Where a member says it belongs does not matter."""
    server.bodies[f"/{ARCHIVE}"] = zipped(
        {"../../../evil.csv": b"evil", "__MACOSX/ava_val_v2.2.csv": b"junk", **MEMBERS}, folder="../"
    )
    assert fetched(server, root).failures == {}
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    assert (root / "annotations" / "ava_val_v2.2.csv").read_bytes() == MEMBERS["ava_val_v2.2.csv"]


@pytest.mark.parametrize("name", ["../evil.mkv", "/etc/evil.mkv", ".hidden"])
def test_a_list_that_names_a_place_outside_is_refused(server: FileServer, root: Path, name: str) -> None:
    server.bodies[f"/{LIST}"] = f"good.mkv\n{name}\n".encode()
    with pytest.raises(AvaError, match="expected names of films"):
        fetched(server, root, with_videos=True)


def test_a_member_that_is_larger_than_any_real_one_is_refused(
    server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ava_download, "_LARGEST_MEMBER", 30)
    assert fetched(server, root).failures.keys() == {"ava_train_v2.2.csv", "ava_val_v2.2.csv", *LABEL_MAPS}
    assert not (root / "annotations" / "ava_val_v2.2.csv").exists()


def test_an_archive_without_label_maps_will_do(server: FileServer, root: Path) -> None:
    server.bodies[f"/{ARCHIVE}"] = zipped({name: body for name, body in MEMBERS.items() if name.endswith(".csv")})
    summary = fetched(server, root)
    assert (summary.failures, summary.is_complete) == ({}, True)


def test_another_dataset_is_not_replaced(server: FileServer, root: Path) -> None:
    fetched(server, root)
    with pytest.raises(AvaError, match=r"holds the dataset 'AVA 2\.2' already, not 'AVA 2\.1'"):
        fetched(server, root, version="2.1")


def test_version_2_1(server: FileServer, root: Path) -> None:
    members = {name.replace("2.2", "2.1").replace("2019", "2018"): content for name, content in MEMBERS.items()}
    server.bodies["/ava_v2.1.zip"] = zipped(members, folder="")
    assert fetched(server, root, version="2.1").failures == {}
    assert read_dataset_folder(root).name == "AVA 2.1"


def test_a_disk_that_is_too_small_is_said_before_the_first_film(
    server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ava_download, "FILM_BYTES", 10**18)
    with pytest.raises(AvaError, match="The 2 films that are missing need about 2000000000 GB"):
        fetched(server, root, with_videos=True)
    assert read_dataset_folder(root).name == "AVA 2.2"  # what was fetched before is a dataset


def test_two_runs_do_not_fetch_to_one_folder(server: FileServer, root: Path) -> None:
    root.mkdir()
    with portalocker.Lock(root / ava_download.LOCK), pytest.raises(AvaError, match="Another process fetches"):
        fetched(server, root)


def test_a_place_that_cannot_be_written_to_is_a_clear_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose a folder of your own"):
        fetched(server, tmp_path / "file" / "ava")


def test_a_record_that_is_damaged_is_a_clear_error(server: FileServer, root: Path) -> None:
    root.mkdir()
    (root / "downloads.json").write_text("{")
    with pytest.raises(AvaError, match="Delete it"):
        fetched(server, root)


def test_the_addresses_are_public_and_distinct() -> None:
    files = [*ava_download.ARCHIVES.values(), *ava_download.PROPOSALS.values(), ava_download.FILM_LIST]
    assert len({file.url for file in files}) == len(files) == 5
    for file in files:
        assert file.url.startswith("https://")
        assert file.url.endswith(f"/{file.name}")


def test_the_known_hashes_are_those_of_the_real_files(shared: Path) -> None:
    found = {name: shared / "data" / "ava" / name for name in ava_download.SHA256}
    assert {name: download.sha256_of(path) for name, path in found.items()} == ava_download.SHA256
    names = found[LIST].read_text().split()
    assert len(names) == 299
