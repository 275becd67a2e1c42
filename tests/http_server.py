"""A web server on this machine that behaves as a test says."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["RequestHandler", bytes], None]


class FileServer(ThreadingHTTPServer):
    """Serves ``bodies``; ``answers`` says how for single paths, and :meth:`good` is how else."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RequestHandler)
        self.bodies: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.num_parts = 0
        self.closing = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class RequestHandler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        self.server.ranges.append(self.headers.get("Range", ""))
        body = self.server.bodies.get(self.path)
        answers = self.server.answers.get(self.path, [])
        answer = answers.pop(0) if answers else good
        if body is None:
            self.send_error(404)
        else:
            answer(self, body)

    def log_message(self, *_: object) -> None:
        pass


def send(request: RequestHandler, body: bytes, length: int | None = None, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def etag(body: bytes) -> str:
    return f'"{hash(body)}"'


def good(request: RequestHandler, body: bytes) -> None:
    """As a good server does: a part where a part of this version is asked for."""
    part = request.headers.get("Range", "")
    if part and request.headers.get("If-Range") == etag(body):
        start = int(part.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            request.send_error(416)
            return
        request.server.num_parts += 1
        content_range = f"bytes {start}-{len(body) - 1}/{len(body)}"
        send(request, body[start:], status=206, ETag=etag(body), Content_Range=content_range)
    else:
        send(request, body, ETag=etag(body))


def break_off(after: int) -> Answer:
    """So many bytes of what was asked for, then nothing more."""

    def answer(request: RequestHandler, body: bytes) -> None:
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": etag(body)}
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        send(request, rest[:after], len(rest), 206 if start else 200, **headers)

    return answer


def stall(after: int) -> Answer:
    def answer(request: RequestHandler, body: bytes) -> None:
        break_off(after)(request, body)
        request.server.closing.wait(20)

    return answer


def web_page(request: RequestHandler, body: bytes) -> None:  # noqa: ARG001
    send(request, b"<html>please log in</html>", Content_Type="text/html")


def not_found(request: RequestHandler, body: bytes) -> None:  # noqa: ARG001
    request.send_error(404)


def give_up(request: RequestHandler, body: bytes) -> None:  # noqa: ARG001
    request.send_error(503)


@contextmanager
def serving() -> Iterator[FileServer]:
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
