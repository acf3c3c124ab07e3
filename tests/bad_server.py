"""An HTTP server on 127.0.0.1 that cuts, stalls and lies on request."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATE = "Mon, 01 Jul 2019 10:00:00 GMT"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one request is answered; the defaults are those of an honest server."""

    data: bytes | None = None  # another version of the file, or what comes beside a redirect
    status: int | None = None  # an error in place of the file
    redirect: str | None = None  # sent on to this path, or address
    retry_after: str | None = None  # what Retry-After says beside a status
    cut: int | None = None  # bytes after which the connection is closed
    stall: bool = False  # silence in place of the cut
    pause: float = 0.0  # seconds between one byte and the next
    ranges: bool = True  # heeds Range
    if_range: bool = True  # heeds If-Range
    length: int | None = None  # what Content-Length says
    chunked: bool = False  # no Content-Length
    content_range: str | None = None  # what Content-Range says
    etag: str | None = '"1"'
    modified: str | None = DATE
    raw: bytes | None = None  # these bytes in place of HTTP


class BadServer:
    """Answers each path's requests by its list of answers in turn; the last one repeats."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []  # method, path, headers
        self.stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def put(self, path: str, data: bytes, *answers: Answer) -> str:
        """Serves `data` at `path`, by `answers`; returns its URL."""
        self.files[path] = data
        self.answers[path] = list(answers) or [Answer()]
        return self.url + path

    def next_answer(self, path: str) -> Answer:
        answers = self.answers.get(path, [Answer(status=404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def header(self, name: str) -> list[str | None]:
        """What each request so far said in this header."""
        return [headers.get(name) for _, _, headers in self.requests]

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def running() -> Iterator[BadServer]:
    """A server for the length of a test."""
    server = BadServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _handler(server: BadServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def do_GET(self):
            server.requests.append((self.command, self.path, dict(self.headers)))
            self.close_connection = True
            with contextlib.suppress(ConnectionError):
                self._answer(server.next_answer(self.path))

        def end_headers(self):
            self.send_header("Connection", "close")
            super().end_headers()

        def _answer(self, answer: Answer):
            if answer.raw is not None:
                for place in range(0, len(answer.raw), 1 if answer.pause else len(answer.raw)):
                    if server.stopped.wait(answer.pause):
                        return
                    self.wfile.write(answer.raw[place : None if not answer.pause else place + 1])
            elif answer.status is not None or answer.redirect is not None:
                self.send_response(answer.status or 302)
                if answer.redirect is not None:
                    base = "" if "://" in answer.redirect else server.url
                    self.send_header("Location", base + answer.redirect)
                if answer.retry_after is not None:
                    self.send_header("Retry-After", answer.retry_after)
                body = answer.data or b""
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:
                self._file(answer)

        def _file(self, answer: Answer):
            data = server.files[self.path] if answer.data is None else answer.data
            start = self._start(answer)
            if start is not None and start >= len(data):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(200 if start is None else 206)
            body = data[start or 0 :]
            if start is not None:
                default = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", answer.content_range or default)
            self._headers(answer, len(body))
            self._body(answer, body)

        def _start(self, answer: Answer) -> int | None:
            asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
            if asked is None or not answer.ranges:
                return None
            if answer.if_range and condition not in (None, answer.etag, answer.modified):
                return None
            return int(asked.removeprefix("bytes=").rstrip("-"))

        def _headers(self, answer: Answer, length: int):
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                said = length if answer.length is None else answer.length
                self.send_header("Content-Length", str(said))
            for name, value in (("ETag", answer.etag), ("Last-Modified", answer.modified)):
                if value is not None:
                    self.send_header(name, value)
            self.send_header("Accept-Ranges", "bytes")
            self.end_headers()

        def _body(self, answer: Answer, body: bytes):
            sent = body if answer.cut is None else body[: answer.cut]
            size = 1 if answer.pause else len(sent) or 1
            for place in range(0, len(sent), size):  # one at a time: a file may be of 95 MB
                piece = sent[place : place + size]
                if server.stopped.wait(answer.pause):
                    return
                framed = f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
                self.wfile.write(framed if answer.chunked else piece)
            if answer.stall:
                server.stopped.wait(20)
            elif answer.chunked and answer.cut is None:
                self.wfile.write(b"0\r\n\r\n")

    return Handler
