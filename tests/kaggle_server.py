"""A small Kaggle on 127.0.0.1, and the real client that talks to it."""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path

import pytest

USER = "someone"
KEY = "0123456789abcdef-secret"
CLIENT_MODULES = ("kaggle", "kagglesdk")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How one request is answered: JSON, or bytes of another type."""

    json: object = None
    body: bytes | None = None
    type: str = "application/octet-stream"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0  # bytes that Content-Length promises and that never come
    measured: bool = True  # has a Content-Length


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """A request as it arrived; `body` is its JSON."""

    name: str
    body: dict
    headers: dict[str, str]


class KaggleServer:
    """Answers each kind of request by its replies in turn; the last one repeats.

    A kind is the last part of the path: `SaveKernel`, `images.zip`, or a slug for its log stream.
    """

    def __init__(self):
        self.replies: dict[str, list[Reply]] = {}
        self.arrived: list[Arrived] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, name: str, *replies: Reply) -> None:
        self.replies[name] = list(replies)

    def reply(self, name: str) -> Reply:
        replies = self.replies.get(name, [Reply(status=404, json={"code": 404})])
        return replies.pop(0) if len(replies) > 1 else replies[0]

    @property
    def calls(self) -> list[str]:
        return [request.name for request in self.arrived]

    def bodies(self, name: str) -> list[dict]:
        return [request.body for request in self.arrived if request.name == name]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()


@contextlib.contextmanager
def kaggle_server() -> Iterator[KaggleServer]:
    """A server for the length of a test."""
    server = KaggleServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def real_client(config: Path) -> Iterator[object]:
    """The real client, imported anew: it reads the environment only then. `config` is empty."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        forget_credentials(patch)
        patch.setenv("KAGGLE_CONFIG_DIR", str(config))
        patch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
        patch.setenv("KAGGLE_USERNAME", USER)
        patch.setenv("KAGGLE_KEY", KEY)
        for name in filter(_is_clients, before):
            patch.delitem(sys.modules, name)
        yield import_module("kaggle")
    for name in filter(_is_clients, set(sys.modules) - before):
        del sys.modules[name]


def forget_credentials(patch: pytest.MonkeyPatch) -> None:
    """Takes every KAGGLE_ variable out of the environment."""
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        patch.delenv(name)


def _is_clients(name: str) -> bool:
    return name.partition(".")[0] in CLIENT_MODULES


def _handler(server: KaggleServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def log_message(self, *_):
            pass

        def do_POST(self):
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self):
            self._answer({})

        def _answer(self, body: dict):
            self.close_connection = True
            name = self.path.partition("?")[0].rpartition("/")[2]
            server.arrived.append(Arrived(name=name, body=body, headers=dict(self.headers)))
            reply = server.reply(name)
            is_json = reply.body is None
            data = json.dumps(reply.json).encode() if is_json else reply.body
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json" if is_json else reply.type)
            if reply.measured:
                self.send_header("Content-Length", str(len(data) + reply.missing))
            self.send_header("Connection", "close")
            for header in reply.headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(data)

    return Handler
