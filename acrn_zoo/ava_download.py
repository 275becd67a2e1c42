"""AVA's public files: fetched, checked, and made a dataset folder.

::

    DIR/dataset.json, label_map.pbtxt   the dataset, as acrn_zoo.data.folder describes it
    DIR/annotations/                    what was fetched, and the members of the zip file
    DIR/video_urls.txt                  where the films are, one address a line
    DIR/videos/                         the films, whoever put them there: VIDEO_ID.mkv, .mp4, ..., or frames
    DIR/downloads.json                  size and SHA-256 of everything that was fetched
"""

import json
import shutil
import threading
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

import portalocker
from tqdm import tqdm

from acrn_zoo.data.ava import AVA_LABEL_MAP, EVALUATED_IDS
from acrn_zoo.data.folder import (
    DATASET_FILE,
    DatasetFolder,
    Split,
    VideoEntry,
    read_dataset_folder,
    write_dataset_folder,
)
from acrn_zoo.download import DownloadError, download, sha256_of
from acrn_zoo.errors import UserError
from acrn_zoo.files import OutputError, replacing, write_json

Version: TypeAlias = Literal["2.1", "2.2"]
VERSIONS: tuple[Version, ...] = ("2.1", "2.2")

ANNOTATIONS = "annotations"
VIDEOS = "videos"
VIDEO_URLS = "video_urls.txt"
RECORDS = "downloads.json"
LOCK = ".ava_download.lock"

FILM_BYTES = 530_000_000
"""A film's size on average: the 299 films of training and validation are about 160 GB."""

FRAME_RATE = 30.0
"""Of AVA's folders of frames, as everybody extracts them."""

_LARGEST_MEMBER = 1_000_000_000  # bytes; the largest of the real ones has 41 million


@dataclass(frozen=True)
class PublishedFile:
    """One file that somebody publishes.

    Args:
        url: its address.
        name: what it is called here.
    """

    url: str
    name: str


_GOOGLE = "https://research.google.com/ava/download"
_CVDF = "https://s3.amazonaws.com/ava-dataset"
_OPENMMLAB = "https://download.openmmlab.com/mmaction/dataset/ava"

FILM_LIST = PublishedFile(f"{_CVDF}/annotations/ava_file_names_trainval_v2.1.txt", "ava_file_names_trainval_v2.1.txt")
"""The names of all films of training and validation; the same for both versions."""

PROPOSALS: dict[str, PublishedFile] = {
    split: PublishedFile(f"{_OPENMMLAB}/{name}", name)
    for split in ("train", "val")
    for name in (f"ava_dense_proposals_{split}.FAIR.recall_93.9.pkl",)
}
"""The people of all keyframes, as the published models were trained and tested with; the same for both versions."""

ARCHIVES: dict[Version, PublishedFile] = {
    version: PublishedFile(f"{_GOOGLE}/ava_v{version}.zip", f"ava_v{version}.zip") for version in VERSIONS
}
"""Annotations, label maps and excluded keyframes."""

FILMS = f"{_CVDF}/trainval"
"""The folder of the films."""

SHA256: dict[str, str] = {
    "ava_file_names_trainval_v2.1.txt": "3cc1cd1262ce727ef367c692a5505ee643bcf32dc930be90d663514fb52bbec2",
    "ava_action_list_v2.1_for_activitynet_2018.pbtxt": (
        "6759290ef3cb5b0339291f2e9dc8994ce74277123f75911fc30d53e30baa5e28"
    ),
    "ava_action_list_v2.2_for_activitynet_2019.pbtxt": (
        "6759290ef3cb5b0339291f2e9dc8994ce74277123f75911fc30d53e30baa5e28"
    ),
    "ava_action_list_v2.2.pbtxt": "442bc972aceba9384c65c28a8c8cab2812d0c5ad09274835a0fd4c2ebfdca975",
    "ava_train_excluded_timestamps_v2.2.csv": "5127e9a84b5b513019c4ba7d16adc2b7b4bae3f45744969454bfb20d39013fca",
    "ava_val_excluded_timestamps_v2.2.csv": "f8ef802d9bae45bc86097e80aff95428543e1a3d254ce4c2197f22eecb628d46",
}
"""Known SHA-256 of files, also of members of the archives, as copies of them have it that others made independently.

Others are noted when they are fetched first.
"""


class AvaError(UserError, ValueError):
    """A folder cannot become AVA's, or what was fetched is not AVA."""


@dataclass(frozen=True)
class AvaSummary:
    """What came of a run.

    Args:
        root: the folder.
        fetched: names of the files that this run downloaded.
        failures: file to reason, for all that is still missing; the next run tries them again.
        num_films: films that the dataset has.
        films_here: how many of them are in the folder.
        is_complete: whether dataset.json could be written.
    """

    root: Path
    fetched: tuple[str, ...]
    failures: Mapping[str, str]
    num_films: int
    films_here: int
    is_complete: bool


@dataclass
class _Run:
    """A run on its way."""

    root: Path
    num_jobs: int
    url_base: str | None
    progress: bool
    accepted: Collection[str]
    records: dict[str, dict[str, str | int]]
    fetched: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, file: PublishedFile) -> str:
        return file.url if self.url_base is None else f"{self.url_base.rstrip('/')}/{file.name}"

    def note(self, place: str, size: int, digest: str) -> None:
        with self.lock:
            self.records[place] = {"size": size, "sha256": digest}
            self._save()

    def forget(self, place: str) -> None:
        with self.lock:
            self.records.pop(place, None)
            self._save()

    def _save(self) -> None:
        write_json(self.root / RECORDS, self.records)


def fetch_ava(
    root: str | Path,
    *,
    version: Version = "2.2",
    with_videos: bool = False,
    num_jobs: int = 4,
    url_base: str | None = None,
    progress: bool = True,
    accepted: Collection[str] = (),
) -> AvaSummary:
    """Fetch AVA, or what is missing of it, and write ``dataset.json`` as soon as the annotations are there.

    Files that are there and sound are kept, transfers that broke off are continued. One that fails does not keep the
    others from coming. Films that stand in ``videos`` already, under whatever ending, are left as they are.

    Args:
        root: the folder; made if it is missing.
        version: of the annotations.
        with_videos: whether to fetch the films too, about 160 GB.
        num_jobs: downloads at once.
        url_base: address of a folder that has all files under their own names, in place of the publishers'.
        progress: whether to show a progress bar for every file.
        accepted: names of files that are taken although their SHA-256 is another than in :data:`SHA256`.

    Raises:
        AvaError: if the folder holds another dataset, another process fetches to it, or its disk is too small for
            the films.
        OutputError: if the folder cannot be made or written to.
    """
    root = Path(root)
    _require_own(root, version)
    with _locked(root):
        run = _Run(root, num_jobs, url_base, progress, accepted, _read_records(root))
        archive = ARCHIVES[version]
        _fetch_all(run, ANNOTATIONS, [archive, FILM_LIST, *PROPOSALS.values()])
        if archive.name not in run.failures:
            _extract(run, archive, version)
        names = _film_names(run)
        is_complete = _write_dataset(run, version, _film_entries(run, names))
        if with_videos:
            _fetch_films(run, names)
        videos = _film_entries(run, names)
        _write_dataset(run, version, videos)
        here = sum(entry.path.exists() for entry in videos.values())
    return AvaSummary(root, tuple(run.fetched), run.failures, len(names), here, is_complete)


def _name(version: Version) -> str:
    return f"AVA {version}"


def _require_own(root: Path, version: Version) -> None:
    if (root / DATASET_FILE).exists() and (found := read_dataset_folder(root).name) != _name(version):
        raise AvaError(f"{root} holds the dataset {found!r} already, not {_name(version)!r}: choose another folder.")


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    try:
        (root / ANNOTATIONS).mkdir(parents=True, exist_ok=True)
        (root / VIDEOS).mkdir(exist_ok=True)
        with portalocker.Lock(root / LOCK, timeout=0, fail_when_locked=True):
            yield
    except portalocker.LockException as error:
        raise AvaError(f"Another process fetches to {root}: wait for it, or choose another folder.") from error
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise OutputError(f"Cannot write to {root} ({error.strerror}): choose a folder of your own.") from error


def _read_records(root: Path) -> dict[str, dict[str, str | int]]:
    try:
        content = json.loads((root / RECORDS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise AvaError(
            f"{root / RECORDS} cannot be read ({error}). Delete it: the files are then noted anew."
        ) from error
    return dict(content)


def _fetch_all(run: _Run, folder: str, files: list[PublishedFile]) -> None:
    """Download what is missing, several files at once; failures are noted, not raised."""
    with (
        ThreadPoolExecutor(run.num_jobs) as pool,
        tqdm(total=len(files), desc=folder, unit="file", disable=not run.progress) as bar,
    ):
        jobs = {pool.submit(_fetch_one, run, f"{folder}/{file.name}", run.url(file)): file for file in files}
        try:
            for job in as_completed(jobs):
                file = jobs[job]
                try:
                    if job.result():
                        run.fetched.append(file.name)
                except DownloadError as error:
                    run.failures[file.name] = str(error)
                bar.update()
        finally:  # also when the run is interrupted: parts stay, and are continued next time
            run.stop.set()
            pool.shutdown(cancel_futures=True)
    run.stop.clear()


def _fetch_one(run: _Run, place: str, url: str) -> bool:
    """Download one file unless it is here and sound; whether it was downloaded."""
    target = run.root / place
    expected, origin = _expected(run, place)
    if target.is_file() and (expected is None or sha256_of(target) == expected):
        if expected is None:  # put here by somebody: noted from now on
            run.note(place, target.stat().st_size, sha256_of(target))
        return False
    digest = download(url, target, sha256_prefix=expected, hash_origin=origin, progress=run.progress, stop=run.stop)
    run.note(place, target.stat().st_size, digest)
    return True


def _expected(run: _Run, place: str) -> tuple[str | None, str]:
    """The SHA-256 of a file, and who says so."""
    name = PurePosixPath(place).name
    if record := run.records.get(place):
        return str(record["sha256"]), f"as noted in {run.root / RECORDS} (delete its entry to accept another file)"
    if name in SHA256 and name not in run.accepted:
        return SHA256[name], f"as known (--accept {name} takes it nevertheless)"
    return None, ""


def _tables(version: Version) -> list[str]:
    kinds = ("", "_excluded_timestamps")
    return [f"ava_{split}{kind}_v{version}.csv" for split in ("train", "val") for kind in kinds]


def _label_maps(version: Version) -> list[str]:
    """For other programs: :mod:`acrn_zoo.data.ava` knows the classes."""
    challenge = {"2.1": "2018", "2.2": "2019"}[version]
    return [f"ava_action_list_v{version}.pbtxt", f"ava_action_list_v{version}_for_activitynet_{challenge}.pbtxt"]


def _extract(run: _Run, archive: PublishedFile, version: Version) -> None:
    """Take the members that are wanted out of the archive, each under its own name, wherever it says it belongs."""
    path = run.root / ANNOTATIONS / archive.name
    try:
        with zipfile.ZipFile(path) as opened:
            found = defaultdict(list)
            for info in opened.infolist():
                if not info.is_dir() and "__MACOSX" not in PurePosixPath(info.filename).parts:
                    found[PurePosixPath(info.filename).name].append(info)
            label_maps = [name for name in _label_maps(version) if found[name]]
            for name in [*_tables(version), *label_maps]:
                try:
                    _extract_member(run, opened, found[name], name)
                except AvaError as error:
                    run.failures[name] = str(error)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        advice = "Delete it, and it is fetched again."
        if archive.name in run.fetched:  # what the server sent is no use: ask again next time
            path.unlink()
            run.forget(f"{ANNOTATIONS}/{archive.name}")
            advice = "The next run fetches it again."
        run.failures[archive.name] = f"{path} is damaged or no zip file ({error}). {advice}"


def _extract_member(run: _Run, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], name: str) -> None:
    if len(members) != 1:
        raise AvaError(f"{archive.filename} has {len(members)} members of that name, expected one.")
    if members[0].file_size > _LARGEST_MEMBER:
        raise AvaError(f"{name} of {archive.filename} claims {members[0].file_size} bytes, far more than the real one.")
    place = f"{ANNOTATIONS}/{name}"
    target = run.root / place
    expected, origin = _expected(run, place)
    if target.is_file() and expected is not None and sha256_of(target) == expected:
        return
    with replacing(target) as partial:
        with archive.open(members[0]) as source, partial.open("wb") as file:
            shutil.copyfileobj(source, file)  # checks the CRC at the end
        digest, size = sha256_of(partial), partial.stat().st_size
        if expected is not None and digest != expected:
            raise AvaError(
                f"{name} of {archive.filename} is another file: its SHA-256 begins with {digest[:8]}, not with "
                f"{expected[:8]} {origin}."
            )
    run.note(place, size, digest)


def _film_names(run: _Run) -> list[str]:
    """File names of the films; written down with their addresses."""
    path = run.root / ANNOTATIONS / FILM_LIST.name
    if not path.is_file() or FILM_LIST.name in run.failures:
        return []
    names = path.read_text(encoding="utf-8").split()
    if bad := [name for name in names if PurePosixPath(name).name != name or name.startswith(".")]:
        raise AvaError(f"{path} holds {bad[0]!r}, expected names of films such as _-Z6wFjXtGQ.mkv. Delete the file.")
    with replacing(run.root / VIDEO_URLS) as partial:
        partial.write_text("".join(f"{run.url(_film(name))}\n" for name in names), encoding="utf-8")
    return names


def _film(name: str) -> PublishedFile:
    return PublishedFile(f"{FILMS}/{name}", name)


def _here(root: Path) -> dict[str, list[Path]]:
    """Video id to what ``videos`` holds of it; a part, ``VIDEO_ID.mkv.part``, is of none."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted((root / VIDEOS).iterdir()):
        if not path.name.startswith("."):
            found[path.name if path.is_dir() else path.stem].append(path)
    return found


def _fetch_films(run: _Run, names: list[str]) -> None:
    here = _here(run.root)
    missing = [name for name in names if Path(name).stem not in here]
    begun = sum(path.stat().st_size for path in (run.root / VIDEOS).glob("*.part"))
    needed, free = len(missing) * FILM_BYTES - begun, shutil.disk_usage(run.root).free
    if missing and needed > free:
        raise AvaError(
            f"The {len(missing)} films that are missing need about {needed / 1e9:.0f} GB, and {run.root} has "
            f"{free / 1e9:.0f} GB free: choose a larger disk, or put some of the films elsewhere and a link into "
            f"{run.root / VIDEOS}."
        )
    _fetch_all(run, VIDEOS, [_film(name) for name in missing])


def _film_entries(run: _Run, names: list[str]) -> dict[str, VideoEntry]:
    """Where each film is or will be; offsets that somebody wrote into dataset.json stay."""
    known = read_dataset_folder(run.root).videos if (run.root / DATASET_FILE).exists() else {}
    here = _here(run.root)
    entries = {}
    for name in names:
        video_id = Path(name).stem
        official = run.root / VIDEOS / name
        found = here.get(video_id, [])
        path = official if official in found or not found else found[0]
        if path != official and len(found) > 1:
            kinds = ", ".join(each.name for each in found)
            run.failures[video_id] = f"{run.root / VIDEOS} has {kinds} for one film: keep the one to be used."
        old = known.get(video_id)
        if old is not None and old.path.exists() and not found:
            entries[video_id] = old  # somebody keeps it elsewhere
        else:
            entries[video_id] = VideoEntry(path, old.offset if old is not None and old.path == path else None)
    return entries


def _write_dataset(run: _Run, version: Version, videos: dict[str, VideoEntry]) -> bool:
    folder = run.root / ANNOTATIONS

    def split(name: str) -> Split:
        proposals = folder / PROPOSALS[name].name
        return Split(
            folder / f"ava_{name}_v{version}.csv",
            folder / f"ava_{name}_excluded_timestamps_v{version}.csv",
            proposals if PROPOSALS[name].name not in run.failures else None,
        )

    splits = {name: split(name) for name in ("train", "val")}
    if not videos or not all((folder / name).is_file() and name not in run.failures for name in _tables(version)):
        return False
    write_dataset_folder(
        DatasetFolder(run.root, _name(version), AVA_LABEL_MAP, splits, videos, EVALUATED_IDS, FRAME_RATE)
    )
    return True
