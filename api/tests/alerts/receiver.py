"""A receiver of webhooks on this machine, which verifies signatures on its own, and facts."""

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from api.alerts.alert_facts import AlertFacts
from api.models import AlertKind, AlertSubject

SECRET_BYTES = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


@dataclass
class Receiver:
    """The requests that came, and the statuses of the next answers; the last one stays."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    is_silent: bool = False
    promised_bytes: int = 0  # of an answer's body, which never comes

    def verify(self, number: int = -1) -> dict[str, Any]:
        """Return the body of a request. Fails unless its signature is right."""
        headers, body = self.requests[number]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        version, _, signature = headers["webhook-signature"].partition(",")
        assert version == "v1"
        expected = hmac.digest(SECRET_BYTES, signed, "sha256")
        assert hmac.compare_digest(base64.b64decode(signature, validate=True), expected)
        content: dict[str, Any] = json.loads(body)
        return content

    def list_ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.requests]


class ManyConnections(ThreadingHTTPServer):
    """A server that many connections reach at once."""

    request_queue_size = 128


@contextmanager
def run_receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.requests.append((headers, body))
            if receiver.is_silent:
                receiver.release.wait(30)
                return
            statuses = receiver.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(receiver.promised_bytes))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ManyConnections(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/alerts?channel=1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.release.set()
            server.shutdown()
            thread.join()


def make_facts(subject_id: object = 7, **fields: Any) -> AlertFacts:
    """Return an alert: 80 % of the day's budget of an API key."""
    values: dict[str, Any] = {
        "kind": AlertKind.BUDGET_80,
        "subject_kind": AlertSubject.KEY,
        "subject_id": str(subject_id),
        "period": "2026-11-30",
        "limit_name": "day_budget_usd",
        "used": 4_010_000,
        "limit": 5_000_000,
    }
    return AlertFacts(**values | fields)
