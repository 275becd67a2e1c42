"""Fetch a file over the network once, check it every time; find those that come with the package.

All goes through :data:`path_manager`, iopath's table of address prefixes and their handlers. A cluster that
keeps the files elsewhere registers a handler of its own there, for a prefix of its own (``store://``) or for
a publisher's (``https://download.openmmlab.com/``: the longest prefix wins). What it returns is checked too.
"""

import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import torch
from iopath.common.file_io import HTTPURLHandler, PathManager, file_lock
from portalocker.exceptions import LockException
from tqdm import tqdm

from acrn_zoo.errors import UserError

STALL_SECONDS = 30.0
"""A server that sends nothing for so long is given up, on connecting and between two bytes."""

BLOCK_SIZE = 1 << 20
HASH_DIGITS_SHOWN = 8

_log = logging.getLogger(__name__)


class DownloadError(UserError, OSError):
    """A file could not be fetched, or is not the one that was published."""


@dataclass(frozen=True)
class _Order:
    """What was asked for and iopath has no words for: handlers are given the address alone."""

    sha256_prefix: str | None = None
    hash_origin: str = "as published"
    progress: bool = True
    advice: str = "pass its path in place of the record"
    place: Path | None = None  # where the file belongs; the cache if None
    stop: threading.Event | None = None


_PLAIN_ORDER = _Order()
_order: ContextVar[_Order] = ContextVar("_order", default=_PLAIN_ORDER)


def fetch(url: str, *, sha256_prefix: str | None, progress: bool = True, advice: str = _PLAIN_ORDER.advice) -> Path:
    """The local copy of a published file, downloaded if there is none yet.

    The copy is checked on every call, not only when it is downloaded, and a damaged one is fetched again.
    Processes that ask at once download once. A file appears in the cache complete and checked, or not at all.

    Args:
        url: address of the file, of a prefix that :data:`path_manager` knows (``https://`` and ``http://``
            from the start); or ``file://`` for one that comes with the package, which is used where it is.
        sha256_prefix: how the file's SHA-256 begins, as published. None if its publisher states no hash: then
            the hash of the first download is noted beside the copy (``.sha256``) and checked from then on.
            That shows a copy that went bad and a file that changed on the server; it cannot show that the
            first download was already a wrong file.
        progress: whether to show a progress bar on stderr.
        advice: what to do with a file fetched by other means, as it stands in the error.

    Raises:
        DownloadError: if there is no network, if the server refuses, stalls, breaks off or sends another
            file, or if the cache cannot be written to. It names the address and says how to do without it. If a file
            of the package is missing or damaged.
    """
    if url.startswith("file:"):
        return _packaged(url, sha256_prefix)
    expected, origin = sha256_prefix, "as published"
    if expected is None and (expected := _noted_hash(url)):
        origin = f"as noted at the first download in {_note_path(url)} (delete it to accept another file)"
    token = _order.set(_Order(expected, origin, progress, advice))
    try:
        path = _local_path(url, force=False)
        digest = sha256_of(path)
        if not _matches(digest, expected):
            path, digest = _fetched_again(url, path)
    finally:
        _order.reset(token)
    if expected is None:
        _note_hash(url, digest)
    return path


def download(
    url: str,
    target: Path,
    *,
    sha256_prefix: str | None = None,
    hash_origin: str = "as published",
    progress: bool = True,
    stop: threading.Event | None = None,
) -> str:
    """Download a file to a place of one's own, outside the cache; it appears there complete and checked, or not at all.

    A transfer that breaks off is continued, at once while every attempt brings something, else by the next call:
    what there is stays as ``NAME.part``. So it is if the server says which version of the file it sends (a strong
    ETag or Last-Modified) and can send a part of it; else the next call begins again.

    Args:
        url: address of the file, ``https://`` or ``http://``.
        target: the file; replaced if it exists. Nobody else may download to it meanwhile.
        sha256_prefix: how its SHA-256 begins; None if nobody knows.
        hash_origin: who says so, as it stands in the error.
        progress: whether to show a progress bar on stderr, which disappears at the end.
        stop: set it to end the download from another thread.

    Returns:
        The SHA-256 of the file, 64 hexadecimal digits.

    Raises:
        DownloadError: as :func:`fetch`.
    """
    token = _order.set(_Order(sha256_prefix, hash_origin, progress, place=target, stop=stop))
    try:
        return _download(url, target, _order.get())
    except DownloadError:
        raise
    except OSError as error:
        raise _failure(url, f"{target} cannot be written ({_reason(error)})") from error
    finally:
        _order.reset(token)


def cached_path(url: str) -> Path:
    """Where the copy of a file belongs, whether it is there or not.

    In the folder that the environment variable ``ACRN_ZOO_CACHE`` names, else in ``checkpoints`` of
    torch.hub's; below it as host and path of the address say, so that equal names of two origins do not meet.

    Raises:
        DownloadError: if ``url`` is not the address of a file.
    """
    parts = urlsplit(url)
    steps = [step for step in unquote(parts.path).split("/") if step]
    if not parts.netloc or not steps or ".." in steps:
        raise DownloadError(f"{url!r} is not the address of a file: expected something like https://host/file.pth.")
    if parts.query:
        steps[-1] += f"?{parts.query}"
    host = parts.netloc.rpartition("@")[2]
    return _cache_folder().joinpath(*(re.sub(r"[^\w.+=-]", "_", step) for step in (host, *steps)))


def _cache_folder() -> Path:
    if folder := os.environ.get("ACRN_ZOO_CACHE"):
        return Path(folder).expanduser()
    return Path(torch.hub.get_dir()) / "checkpoints"


class CheckedHTTPHandler(HTTPURLHandler):
    """iopath's handler for web addresses, with a cache that tells hosts apart and never keeps half a file."""

    def _get_supported_prefixes(self) -> list[str]:
        return ["http://", "https://"]

    def _get_local_path(self, path: str, force: bool = False) -> str:
        target = cached_path(path)
        # A file that is there is complete, so a cache that can only be read needs no lock.
        if target.is_file() and not force:
            return str(target)
        try:
            with file_lock(str(target)):
                if force or not target.is_file():
                    _download(path, target, _order.get())
        except DownloadError:
            raise
        except LockException as error:
            raise _failure(path, f"{target}.lock cannot be locked, or another process keeps it") from error
        except OSError as error:
            raise _failure(
                path,
                f"{target.parent} cannot be written to ({_reason(error)}; ACRN_ZOO_CACHE sets another)",
            ) from error
        return str(target)


path_manager = PathManager()
"""Which handler fetches which prefix; ``path_manager.register_handler(...)`` adds one."""

path_manager.register_handler(CheckedHTTPHandler())


def _packaged(url: str, expected: str | None) -> Path:
    """A file that comes with the package, where it is."""
    path = Path(url2pathname(urlsplit(url).path))
    if not path.is_file():
        raise DownloadError(f"{path}, a file of this package, is missing: install acrn_zoo again.")
    if not _matches(sha256_of(path), expected):
        raise DownloadError(f"{path} is damaged (its SHA-256 is not {expected}): install acrn_zoo again.")
    return path


def _local_path(url: str, *, force: bool) -> Path:
    path = Path(path_manager.get_local_path(url, force=force))
    if not path.is_file():
        raise DownloadError(f"{url} could not be fetched: no handler knows such an address. Pass a file instead.")
    return path


def _fetched_again(url: str, damaged: Path) -> tuple[Path, str]:
    """The file and its hash, when the copy at hand is not what it should be."""
    order = _order.get()
    _log.warning("%s is damaged (its SHA-256 is not %s): fetching it again.", damaged, order.sha256_prefix)
    try:
        path = _local_path(url, force=True)
    except DownloadError as error:
        raise DownloadError(f"{damaged} is damaged and could not be replaced: {error}") from error
    digest = sha256_of(path)
    _check_hash(url, digest, order)
    return path, digest


def _download(url: str, target: Path, order: _Order) -> str:
    # One name for all, since the lock is held: what a killed process left behind is continued or overwritten.
    partial = target.with_name(f"{target.name}.part")
    note = partial.with_name(f"{partial.name}.json")
    try:
        digest = _receive(url, partial, note, order)
        if not _matches(digest, order.sha256_prefix):
            note.unlink(missing_ok=True)
        _check_hash(url, digest, order)
        partial.replace(target)
        note.unlink(missing_ok=True)
    finally:
        if not note.is_file():  # nobody could tell whether it is a part of the same file
            partial.unlink(missing_ok=True)
    return digest


class _BrokenOffError(DownloadError):
    """The transfer ended before the file did."""


def _receive(url: str, partial: Path, note: Path, order: _Order) -> str:
    """Write what the server sends to ``partial``, in as many attempts as it takes, and return its SHA-256."""
    while True:
        before = _part_size(url, partial, note)
        try:
            return _receive_rest(url, partial, note, order)
        except _BrokenOffError:
            if _part_size(url, partial, note) <= before or (order.stop is not None and order.stop.is_set()):
                raise


def _part_size(url: str, partial: Path, note: Path) -> int:
    """The number of bytes that an earlier attempt left and that can be continued."""
    return partial.stat().st_size if partial.is_file() and _version(url, note) else 0


def _version(url: str, note: Path) -> str | None:
    """What the server called the version of the file that ``note`` was written for; None if it is of another file."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        return str(content["version"]) if content["url"] == url else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _receive_rest(url: str, partial: Path, note: Path, order: _Order) -> str:
    """One attempt: all of the file, or what is missing of it."""
    size, version = _part_size(url, partial, note), _version(url, note)
    headers = {"Range": f"bytes={size}-", "If-Range": version} if size and version else {}
    with _opened(url, headers) as response:
        if response.headers.get_content_type() == "text/html":  # a login page, say, where no hash would tell
            note.unlink(missing_ok=True)
            raise _failure(url, f"{_host(url)} sent a web page (a login, a notice?)")
        start = _start_of(response, url, size, note)
        total = _total(response, start)
        _require_space(url, partial, None if total is None else total - start)
        if not start:
            partial.unlink(missing_ok=True)  # before the note, which would vouch for it
            _write_note(url, response, note)
        digest = _hash_of_start(partial, start)
        with (
            partial.open("ab" if start else "wb") as file,
            tqdm(
                desc=_host(url) if order.place is None else order.place.name,
                initial=start,
                total=total,
                unit="B",
                unit_scale=True,
                disable=not order.progress,
                leave=order.place is None,
            ) as progress_bar,
        ):
            received = start
            for block in _blocks(response, url, order.stop):
                file.write(block)
                digest.update(block)
                received += len(block)
                progress_bar.update(len(block))
    if received == 0 or (total is not None and received != total):
        reason = f"the transfer broke off after {received} of {total or 'an unknown number of'} bytes"
        raise _failure(url, reason, _BrokenOffError)
    return digest.hexdigest()


def _start_of(response: http.client.HTTPResponse, url: str, size: int, note: Path) -> int:
    """Which byte of the file the answer begins with: that after the part at hand, or the first."""
    if response.status != http.client.PARTIAL_CONTENT:
        return 0
    content_range = response.headers.get("Content-Range", "")
    if not size or not content_range.startswith(f"bytes {size}-"):
        note.unlink(missing_ok=True)
        raise _failure(url, f"{_host(url)} sent another part of the file than it was asked for ({content_range!r})")
    return size


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None


def _require_space(url: str, target: Path, needed: int | None) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed is not None and needed > free:
        raise _failure(url, f"it needs {needed / 1e9:.1f} GB, and {target.parent} has {free / 1e9:.1f} GB free")


def _write_note(url: str, response: http.client.HTTPResponse, note: Path) -> None:
    """Keep what tells this version of the file from others, as long as the part is there."""
    etag = response.headers.get("ETag", "")
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified")
    if version:
        note.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
    else:
        note.unlink(missing_ok=True)


def _hash_of_start(path: Path, size: int) -> "hashlib._Hash":
    digest = hashlib.sha256()
    if size:
        with path.open("rb") as file:
            while block := file.read(BLOCK_SIZE):
                digest.update(block)
    return digest


def _opened(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener()  # knows http_proxy, https_proxy and no_proxy
    opener.addheaders = [("User-Agent", "acrn_zoo")]
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=STALL_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if headers and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _opened(url, {})  # nothing is missing, or the file has become shorter: from the start
        raise _failure(url, f"{_host(url)} answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, f"{_host(url)} cannot be reached ({_reason(error)})") from error


def _blocks(response: http.client.HTTPResponse, url: str, stop: threading.Event | None) -> Iterator[bytes]:
    try:
        while block := response.read1(BLOCK_SIZE):
            yield block
            if stop is not None and stop.is_set():
                raise _failure(url, "the download was interrupted", _BrokenOffError)
    except TimeoutError as error:
        raise _failure(url, f"{_host(url)} sent nothing for {STALL_SECONDS:g} s", _BrokenOffError) from error
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _failure(url, f"the transfer broke off ({_reason(error)})", _BrokenOffError) from error


def _check_hash(url: str, digest: str, order: _Order) -> None:
    if not _matches(digest, order.sha256_prefix):
        raise _failure(
            url,
            f"{_host(url)} sent another file: its SHA-256 begins with {digest[:HASH_DIGITS_SHOWN]}, not with "
            f"{(order.sha256_prefix or '')[:HASH_DIGITS_SHOWN]} {order.hash_origin}",
        )


def _failure(url: str, reason: str, kind: type[DownloadError] = DownloadError) -> DownloadError:
    order = _order.get()
    place = order.place or cached_path(url)
    advice = f"put it at {place}" if order.place else f"{order.advice}, or put it at {place}"
    return kind(f"{url} could not be fetched: {reason}. Fetch it by other means and {advice}.")


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {STALL_SECONDS:g} s"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _matches(digest: str, prefix: str | None) -> bool:
    return prefix is None or digest.startswith(prefix.lower())


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_SIZE):
            digest.update(block)
    return digest.hexdigest()


def _note_path(url: str) -> Path:
    target = cached_path(url)
    return target.with_name(f"{target.name}.sha256")


def _noted_hash(url: str) -> str | None:
    note = _note_path(url)
    return note.read_text().strip() or None if note.is_file() else None


def _note_hash(url: str, digest: str) -> None:
    note = _note_path(url)
    partial = note.with_name(f"{note.name}.{os.getpid()}.part")
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(f"{digest}\n")
        partial.replace(note)
    except OSError as error:
        _log.warning("%s cannot be written (%s): later changes of the file go unnoticed.", note, _reason(error))
    finally:
        partial.unlink(missing_ok=True)
