"""An upstream that lists its models to those who show an accepted token, over real sockets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from providers.models import Provider
from tokens.models import UpstreamToken

GOOD, BAD = "sk-good-0123456789abcdef", "sk-bad-0123456789abcdef"


def token(provider: Provider, secret: str = GOOD, **fields: Any) -> UpstreamToken:
    row = UpstreamToken.from_secret(provider, secret, **fields)
    row.save()
    return row


class Upstream(ThreadingHTTPServer):
    """Lists its models to those who show a token of `accepted`; `answers` overrides what a token
    gets.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *accepted: str | None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.accepted = set(accepted)
        self.models: list[str] = ["kimi-k2", "kimi-k2-thinking"]
        self.answers: dict[str | None, tuple[int, str]] = {}
        self.asked: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Upstream
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        shown = self.headers.get("authorization")
        token = shown.removeprefix("Bearer ") if shown else None
        self.server.asked.append(token)
        status, body = self.server.answers.get(token) or self.listed(token)
        assert self.path == "/v1/models"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def listed(self, token: str | None) -> tuple[int, str]:
        if token not in self.server.accepted:
            return 401, problem("invalid_api_key", f"Incorrect API key provided: {token}.")
        return 200, json.dumps(
            {"object": "list", "data": [{"id": name} for name in self.server.models]}
        )

    def log_message(self, *args: Any) -> None:
        pass


def problem(code: str, message: str) -> str:
    return json.dumps({"error": {"message": message, "type": code, "code": code}})


@contextmanager
def serving(*accepted: str | None) -> Iterator[Upstream]:
    """One that runs in a thread; `accepted` are tokens, None for a caller that shows none."""
    server = Upstream(*accepted)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
