"""Fetching files, against a server on this machine: nothing here touches a network."""

import hashlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from http_server import FileServer, break_off, etag, give_up, good, serving, stall, web_page
from http_server import send as send_file
from iopath.common.file_io import PathHandler, PathManager
from portalocker import Lock

from acrn_zoo import download
from acrn_zoo.download import CheckedHTTPHandler, DownloadError, cached_path, fetch

BODY = b"\x00weights\xff" * 5000
SHA256 = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Answers each path as a test says, and counts the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.bodies: dict[str, bytes] = {"/a/good.pth": BODY}
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: Counter[str] = Counter()
        self.delay = 0.0
        self.closing = threading.Event()

    def url(self, path: str = "/a/good.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _RequestHandler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        self.server.closing.wait(self.server.delay)
        if answer := self.server.answers.get(self.path):
            answer(self)
        elif (body := self.server.bodies.get(self.path)) is not None:
            send(self, body, len(body))
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def send(request: BaseHTTPRequestHandler, body: bytes, length: int | None) -> None:
    request.send_response(200)
    if length is not None:
        request.send_header("Content-Length", str(length))
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ACRN_ZOO_CACHE", str(folder))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize("prefix", [SHA256, SHA256[:8], SHA256[:8].upper(), None])
def test_fetches_once_and_keeps_the_file(server: Server, prefix: str | None) -> None:
    first = fetch(server.url(), sha256_prefix=prefix, progress=False)
    second = fetch(server.url(), sha256_prefix=prefix, progress=False)
    assert first == second == cached_path(server.url())
    assert first.read_bytes() == BODY
    assert server.requests["/a/good.pth"] == 1


def test_progress_is_shown_on_stderr_unless_told_not_to(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.bodies["/a/other.pth"] = BODY
    fetch(server.url(), sha256_prefix=None, progress=True)
    shown = capsys.readouterr()
    assert "127.0.0.1: 100%" in shown.err
    assert shown.out == ""
    fetch(server.url("/a/other.pth"), sha256_prefix=None, progress=False)
    assert capsys.readouterr().err == ""


def cut_short(request: BaseHTTPRequestHandler) -> None:
    send(request, BODY[:1000], len(BODY))


def nothing(request: BaseHTTPRequestHandler) -> None:
    send(request, b"", None)


def broken_chunks(request: BaseHTTPRequestHandler) -> None:
    request.protocol_version = "HTTP/1.1"
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"ff\r\nonly this")
    request.close_connection = True


def stall_in_the_body(request: BaseHTTPRequestHandler) -> None:
    send(request, BODY[:1000], len(BODY))
    request.server.closing.wait(20)  # type: ignore[attr-defined]


def stall_before_the_head(request: BaseHTTPRequestHandler) -> None:
    request.server.closing.wait(20)  # type: ignore[attr-defined]


def wrong_file(request: BaseHTTPRequestHandler) -> None:
    send(request, b"<html>blocked by the proxy</html>", None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (cut_short, f"the transfer broke off after 1000 of {len(BODY)} bytes"),
        (nothing, "the transfer broke off after 0 of an unknown number of bytes"),
        (broken_chunks, "the transfer broke off"),
        (stall_in_the_body, "127.0.0.1 sent nothing for 0.3 s"),
        (stall_before_the_head, "no answer within 0.3 s"),
        (wrong_file, f"its SHA-256 begins with [0-9a-f]{{8}}, not with {SHA256[:8]} as published"),
        (lambda request: request.send_error(404), "127.0.0.1 answered 404 Not Found"),
        (lambda request: request.send_error(503), "127.0.0.1 answered 503"),
        (lambda request: request.wfile.write(b"not http\r\n\r\n"), "127.0.0.1 cannot be reached"),
    ],
)
def test_a_failed_download_says_why_and_what_to_do_and_leaves_nothing(
    server: Server,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[BaseHTTPRequestHandler], None],
    reason: str,
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    server.answers["/a/good.pth"] = answer
    with pytest.raises(DownloadError, match=reason) as failure:
        fetch(server.url(), sha256_prefix=SHA256[:8], progress=False)
    message = str(failure.value)
    assert server.url() in message
    assert "pass its path" in message
    assert str(cached_path(server.url())) in message
    assert files_of(cache) == []
    assert server.requests["/a/good.pth"] == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:9/a/good.pth", "127.0.0.1 cannot be reached .*refused"),
        ("store://bucket/good.pth", "no handler knows such an address"),
        ("https://host", "not the address of a file"),
        ("https://host/a/../../good.pth", "not the address of a file"),
        ("good.pth", "not the address of a file"),
    ],
)
def test_an_address_that_leads_nowhere_is_a_clear_error(url: str, reason: str, cache: Path) -> None:
    with pytest.raises(DownloadError, match=reason):
        fetch(url, sha256_prefix=None, progress=False)
    assert files_of(cache) == []


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name_server(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name_server)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    url = "https://publisher.example/model/file-0dae1a90.pth"
    with pytest.raises(DownloadError) as failure:
        fetch(url, sha256_prefix="0dae1a90", progress=False)
    assert str(failure.value) == (
        f"{url} could not be fetched: publisher.example cannot be reached (Name or service not known). Fetch it by "
        f"other means and pass its path in place of the record, or put it at {cached_path(url)}."
    )


def test_a_hash_is_asked_of_its_own_file_only(server: Server) -> None:
    server.bodies["/a/other.pth"] = b"other"
    fetch(server.url(), sha256_prefix=SHA256, progress=False)
    local = download.path_manager.get_local_path(server.url("/a/other.pth"))
    assert Path(local).read_bytes() == b"other"


def test_a_file_put_into_the_cache_by_hand_needs_no_network(cache: Path) -> None:
    url = "http://127.0.0.1:9/a/good.pth"
    target = cached_path(url)
    target.parent.mkdir(parents=True)
    target.write_bytes(BODY)
    assert fetch(url, sha256_prefix=SHA256[:8], progress=False) == target
    assert files_of(cache) == ["good.pth"]


@pytest.mark.parametrize("prefix", [SHA256[:8], None])
def test_a_damaged_copy_is_fetched_again(server: Server, caplog: pytest.LogCaptureFixture, prefix: str | None) -> None:
    path = fetch(server.url(), sha256_prefix=prefix, progress=False)
    path.write_bytes(BODY[:-1])
    assert fetch(server.url(), sha256_prefix=prefix, progress=False).read_bytes() == BODY
    assert server.requests["/a/good.pth"] == 2
    assert f"{path} is damaged" in caplog.text


def test_a_damaged_copy_that_cannot_be_replaced_is_an_error(server: Server) -> None:
    path = fetch(server.url(), sha256_prefix=SHA256[:8], progress=False)
    path.write_bytes(BODY[:-1])
    del server.bodies["/a/good.pth"]
    with pytest.raises(DownloadError, match=r"good.pth is damaged and could not be replaced: .* answered 404"):
        fetch(server.url(), sha256_prefix=SHA256[:8], progress=False)


def test_without_a_published_hash_the_first_download_is_noted(server: Server) -> None:
    path = fetch(server.url(), sha256_prefix=None, progress=False)
    note = path.with_name("good.pth.sha256")
    assert note.read_text().strip() == SHA256
    server.bodies["/a/good.pth"] = b"another file of the same name"
    path.unlink()
    with pytest.raises(DownloadError, match=rf"as noted at the first download in .*{note.name} \(delete it"):
        fetch(server.url(), sha256_prefix=None, progress=False)
    note.unlink()
    assert fetch(server.url(), sha256_prefix=None, progress=False).read_bytes() == b"another file of the same name"


def test_what_a_killed_download_left_behind_is_overwritten(server: Server, cache: Path) -> None:
    leftover = cached_path(server.url()).with_name("good.pth.part")
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(BODY * 2)
    fetch(server.url(), sha256_prefix=SHA256, progress=False)
    assert files_of(cache) == ["good.pth"]


def test_threads_that_ask_at_once_download_once(server: Server) -> None:
    server.delay = 0.2
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(server.url(), sha256_prefix=SHA256, progress=False), range(4)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert server.requests["/a/good.pth"] == 1


@pytest.mark.slow
def test_processes_that_ask_at_once_download_once(server: Server) -> None:
    server.delay = 8.0  # longer than two processes differ in starting
    code = (
        "import sys; from acrn_zoo.download import fetch;"
        f"print(fetch({server.url()!r}, sha256_prefix={SHA256!r}, progress=False))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert outputs == [str(cached_path(server.url()))] * 2
    assert server.requests["/a/good.pth"] == 1


def test_a_cache_that_cannot_be_written_to_is_a_clear_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ACRN_ZOO_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DownloadError, match=r"cannot be written to \(Not a directory; ACRN_ZOO_CACHE sets another"):
        fetch(server.url(), sha256_prefix=SHA256, progress=False)


def test_a_lock_that_cannot_be_had_is_a_clear_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(path: str) -> Lock:
        return Lock(f"{path}.lock", timeout=0.01, check_interval=0.01)

    monkeypatch.setattr(download, "file_lock", held)
    target = cached_path(server.url())
    target.parent.mkdir(parents=True)
    with held(str(target)), pytest.raises(DownloadError, match=r"good\.pth\.lock cannot be locked"):
        fetch(server.url(), sha256_prefix=SHA256, progress=False)


class Store(PathHandler):
    """A cluster's handler, as iopath documents it: it knows nothing of hashes or progress."""

    def __init__(self, prefix: str, file: Path) -> None:
        super().__init__()
        self.prefix = prefix
        self.file = file

    def _get_supported_prefixes(self) -> list[str]:
        return [self.prefix]

    def _get_local_path(self, path: str, force: bool = False, **kwargs: object) -> str:  # noqa: ARG002
        self._check_kwargs(kwargs)
        return str(self.file)


@pytest.mark.parametrize("prefix", ["store://", "http://127.0.0.1:9/"])
def test_a_cluster_can_register_a_handler_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    file = tmp_path / "stored.pth"
    file.write_bytes(BODY)
    manager = PathManager()
    manager.register_handler(CheckedHTTPHandler())
    manager.register_handler(Store(prefix, file))
    monkeypatch.setattr(download, "path_manager", manager)
    assert fetch(f"{prefix}bucket/good.pth", sha256_prefix=SHA256[:8], progress=False) == file
    with pytest.raises(DownloadError, match="its SHA-256 begins with"):
        fetch(f"{prefix}bucket/good.pth", sha256_prefix="00000000", progress=False)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://host/a/b/file-1.0.pth", "host/a/b/file-1.0.pth"),
        ("https://other/a/b/file-1.0.pth", "other/a/b/file-1.0.pth"),
        ("http://me:secret@127.0.0.1:8080/file.pth?version=2", "127.0.0.1_8080/file.pth_version=2"),
        ("https://host/a%20b/c:d.pth", "host/a_b/c_d.pth"),
    ],
)
def test_the_cache_tells_hosts_and_folders_apart(cache: Path, url: str, place: str) -> None:
    assert cached_path(url) == cache / place


def test_the_cache_is_torch_hubs_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACRN_ZOO_CACHE")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    assert cached_path("https://host/file.pth") == tmp_path / "hub" / "checkpoints" / "host" / "file.pth"


FILE = bytes(range(256)) * 400


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving() as server:
        server.bodies["/film.mkv"] = FILE
        yield server


def test_a_file_is_downloaded_to_a_place_of_ones_own(files: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "film.mkv"
    digest = download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE
    assert digest == hashlib.sha256(FILE).hexdigest()
    assert files_of(tmp_path) == ["film.mkv"]


def test_a_transfer_that_breaks_off_is_continued_at_once(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), break_off(5000)]
    target = tmp_path / "film.mkv"
    digest = download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE
    assert digest == hashlib.sha256(FILE).hexdigest()
    assert files.ranges == ["", "bytes=1000-", "bytes=6000-"]
    assert files.num_parts == 1  # of a good server: it was asked for a part of the version that is here


def test_a_part_is_continued_by_the_next_call(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.3)
    files.answers["/film.mkv"] = [stall(1000), give_up]
    target = tmp_path / "film.mkv"
    with pytest.raises(DownloadError, match="answered 503") as failure:
        download.download(f"{files.address}/film.mkv", target, progress=False)
    assert str(failure.value).endswith(f"Fetch it by other means and put it at {target}.")
    assert files_of(tmp_path) == ["film.mkv.part", "film.mkv.part.json"]
    download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE
    assert files.ranges == ["", "bytes=1000-", "bytes=1000-"]
    assert files_of(tmp_path) == ["film.mkv"]


def without_ranges(request: BaseHTTPRequestHandler, body: bytes) -> None:
    send_file(request, body, ETag=etag(body))  # type: ignore[arg-type]


def another_part(request: BaseHTTPRequestHandler, body: bytes) -> None:
    send_file(request, body[5:], status=206, Content_Range=f"bytes 5-{len(body) - 1}/{len(body)}")  # type: ignore[arg-type]


def test_a_server_without_parts_starts_again(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), without_ranges]
    target = tmp_path / "film.mkv"
    download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE


def test_a_file_that_changed_on_the_server_is_not_glued_to_the_old_part(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), give_up]
    target = tmp_path / "film.mkv"
    with pytest.raises(DownloadError):
        download.download(f"{files.address}/film.mkv", target, progress=False)
    files.bodies["/film.mkv"] = FILE[::-1]
    download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE[::-1]


def test_a_part_of_another_address_is_not_continued(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), give_up]
    target = tmp_path / "film.mkv"
    with pytest.raises(DownloadError):
        download.download(f"{files.address}/film.mkv", target, progress=False)
    files.bodies["/other.mkv"] = FILE[::-1]
    download.download(f"{files.address}/other.mkv", target, progress=False)
    assert target.read_bytes() == FILE[::-1]
    assert files.ranges[-1] == ""


def test_a_file_that_became_shorter_than_its_part_starts_again(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), give_up]
    target = tmp_path / "film.mkv"
    with pytest.raises(DownloadError):
        download.download(f"{files.address}/film.mkv", target, progress=False)
    files.bodies["/film.mkv"] = b"short"
    files.answers["/film.mkv"] = [lambda request, _: request.send_error(416)]
    download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == b"short"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(another_part, "sent another part of the file"), (web_page, "sent a web page")],
)
def test_a_part_that_the_server_does_not_continue_soundly_is_dropped(
    files: FileServer, tmp_path: Path, answer: Callable[..., None], reason: str
) -> None:
    files.answers["/film.mkv"] = [break_off(1000), answer]
    with pytest.raises(DownloadError, match=reason):
        download.download(f"{files.address}/film.mkv", tmp_path / "film.mkv", progress=False)
    assert files_of(tmp_path) == []


def test_another_file_than_was_asked_for_is_dropped_whole(files: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"sent another file: .* not with 00000000 as known"):
        download.download(
            f"{files.address}/film.mkv", tmp_path / "film.mkv", sha256_prefix="0" * 64, hash_origin="as known",
            progress=False,
        )  # fmt: skip
    assert files_of(tmp_path) == []


def test_a_cached_download_is_continued_too(files: FileServer, cache: Path) -> None:
    files.answers["/film.mkv"] = [break_off(1000), give_up]
    url = f"{files.address}/film.mkv"
    with pytest.raises(DownloadError):
        fetch(url, sha256_prefix=None, progress=False)
    assert fetch(url, sha256_prefix=None, progress=False).read_bytes() == FILE
    assert files.ranges == ["", "bytes=1000-", "bytes=1000-"]
    assert files_of(cache) == ["film.mkv", "film.mkv.sha256"]


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DownloadError, match=r"it needs 0\.0 GB, and .* has 0\.0 GB free"):
        download.download(f"{files.address}/film.mkv", tmp_path / "film.mkv", progress=False)
    assert files_of(tmp_path) == []


def test_a_download_can_be_stopped_and_continued(files: FileServer, tmp_path: Path) -> None:
    stop = threading.Event()

    def half(request: BaseHTTPRequestHandler, body: bytes) -> None:
        stop.set()
        good(request, body)  # type: ignore[arg-type]

    files.bodies["/film.mkv"] = FILE * 200
    files.answers["/film.mkv"] = [half]
    target = tmp_path / "film.mkv"
    with pytest.raises(DownloadError, match="interrupted"):
        download.download(f"{files.address}/film.mkv", target, progress=False, stop=stop)
    assert (tmp_path / "film.mkv.part").stat().st_size > 0
    download.download(f"{files.address}/film.mkv", target, progress=False)
    assert target.read_bytes() == FILE * 200
    assert files.ranges[-1].startswith("bytes=")


def weakly(request: BaseHTTPRequestHandler, body: bytes) -> None:
    send_file(request, body[:1000], len(body), ETag='W/"1"')  # type: ignore[arg-type]


def test_a_part_whose_version_is_not_sure_is_dropped(files: FileServer, tmp_path: Path) -> None:
    files.answers["/film.mkv"] = [weakly]
    with pytest.raises(DownloadError, match="broke off"):
        download.download(f"{files.address}/film.mkv", tmp_path / "film.mkv", progress=False)
    assert files_of(tmp_path) == []


def test_a_kill_between_two_versions_leaves_no_part_under_the_wrong_name(
    files: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.answers["/film.mkv"] = [break_off(1000), give_up]
    with pytest.raises(DownloadError):
        download.download(f"{files.address}/film.mkv", tmp_path / "film.mkv", progress=False)
    files.bodies["/film.mkv"] = FILE[::-1]
    write_note = download._write_note

    def killed(*arguments: Any) -> None:
        write_note(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_write_note", killed)
    with pytest.raises(KeyboardInterrupt):
        download.download(f"{files.address}/film.mkv", tmp_path / "film.mkv", progress=False)
    assert not (tmp_path / "film.mkv.part").exists()


def test_a_file_of_the_package_is_used_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "of the package.pth"
    path.write_bytes(BODY)
    assert fetch(path.as_uri(), sha256_prefix=SHA256) == path
    with pytest.raises(DownloadError, match=r"of the package.pth is damaged .* install acrn_zoo again"):
        fetch(path.as_uri(), sha256_prefix=SHA256[::-1])
    path.unlink()
    with pytest.raises(DownloadError, match=r"of the package.pth, a file of this package, is missing"):
        fetch(path.as_uri(), sha256_prefix=SHA256)
