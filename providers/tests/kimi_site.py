"""Kimi's web site as its published clients describe it, for both of its interfaces: a script for
`Upstream.always`.

It refuses what the site refuses: a bare JSON body where frames are due, empty ids, a refresh token
that was used.
"""

import base64
import json
import struct
from collections import deque
from typing import Any
from urllib.parse import quote

from proxysite.testing.upstream import Exchange, Piece, Request, Script, send_reply, send_stream

Json = dict[str, Any]
CHAT_RPC = "apiv2/kimi.gateway.chat.v1.ChatService/Chat"
DELETE_RPC = "apiv2/kimi.chat.v1.ChatService/DeleteChat"
SUBSCRIPTION_RPC = "apiv2/kimi.gateway.order.v1.SubscriptionService/GetSubscription"
CONNECT = "application/connect+json"
EXPIRES = 1_900_000_000


def jwt(name: str = "june", kind: str = "access", **claims: Any) -> str:
    """A made-up token of the site's form."""
    said = {
        "app_id": "kimi",
        "typ": kind,
        "exp": EXPIRES,
        "sub": f"user-{name}",
        "ssid": "1700000000000000007",
    }
    parts = ({"alg": "HS512", "typ": "JWT"}, said | {"device_id": "7000000000000000007"} | claims)
    coded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
    ]
    return ".".join([*coded, "c2lnbmVk"])


def framed(said: Json | bytes, flags: int = 0) -> bytes:
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return struct.pack(">BI", flags, len(data)) + data


def unframed(body: bytes) -> Json:
    """The one message of a request."""
    flags, length = struct.unpack(">BI", body[:5])
    assert flags == 0
    assert length == len(body) - 5, "a bare body is an invalid_argument"
    said: Json = json.loads(body[5:])
    return said


def web_events(*texts: str, chat_id: str = "chatA", message_id: str = "answerA") -> list[Json]:
    """An answer of the present interface, up to `done`."""
    block = [
        {"op": "append", "mask": "block.text.content", "block": {"id": "1", "text": {"content": t}}}
        for t in texts
    ]
    block[0] |= {"op": "set", "mask": "block.text"}
    return [
        {"op": "set", "mask": "chat", "chat": {"id": chat_id}},
        {"op": "set", "mask": "message", "message": {"id": "question", "role": "user"}},
        {"op": "set", "mask": "message", "message": {"id": message_id, "role": "assistant"}},
        {"heartbeat": {}},
        *block,
        {"done": {}},
    ]


def web_says(*texts: str, **ids: str) -> Script:
    return frames(*map(framed, web_events(*texts, **ids)), framed({}, 2))


def frames(*pieces: Piece) -> Script:
    return send_stream(*pieces, content_type=CONNECT)


def rest_says(*texts: str) -> Script:
    return send_stream(
        {"event": "req", "id": "seg1"},
        {"event": "resp", "id": "resp1"},
        *map(cmpl, texts),
        ALL_DONE,
    )


def cmpl(text: str) -> Json:
    return {"event": "cmpl", "text": text}


ALL_DONE = {"event": "all_done"}


class Site:
    """What it was asked stands in its lists; `turns` are scripts for the next answers, "Hello
    there!" after them.
    """

    def __init__(self, kind: str, *turns: Script) -> None:
        self.kind = kind
        self.turns = deque(turns)
        self.questions: list[Json] = []
        self.created: list[Json] = []
        self.deleted: list[str] = []
        self.files: list[tuple[str, Any]] = []
        self.refresh_token = jwt(kind="refresh")
        self.renewals = 0
        self.unread = 0  # looks at a file before it is parsed

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path.removeprefix("/v1/")
        if not path.startswith("bucket/"):
            self.look_at_head(request)
        script = self.refreshed(request) if path == "api/auth/token/refresh" else None
        script = script or (
            self.web(path, request) if self.kind == "kimi_web" else self.rest(path, request)
        )
        await script(exchange)

    def look_at_head(self, request: Request) -> None:
        headers = request.headers
        origin = f"http://{headers['host']}"
        assert headers["x-msh-platform"] == "web"
        assert (headers["origin"], headers["referer"]) == (origin, f"{origin}/")
        assert headers["x-msh-device-id"].startswith("7")
        assert len(headers["x-msh-device-id"]) == len(headers["x-msh-session-id"]) == 19
        assert headers["accept-encoding"] == "identity"

    def web(self, path: str, request: Request) -> Script:
        assert request.headers["connect-protocol-version"] == "1"
        if path == CHAT_RPC:
            assert request.headers["content-type"] == CONNECT
            said = unframed(request.body)
            assert said.get("chat_id") != ""
            assert said["message"].get("parent_id") != ""
            self.questions.append(said)
            return self.turns.popleft() if self.turns else web_says("Hello", " there", "!")
        assert request.headers["content-type"] == "application/json"
        if path == SUBSCRIPTION_RPC:
            return send_reply({"subscription": {}})
        assert (request.method, path) == ("POST", DELETE_RPC), path
        self.deleted.append(request.json["chat_id"])
        return send_reply({})

    def rest(self, path: str, request: Request) -> Script:
        if (request.method, path) == ("GET", "api/user"):
            return send_reply({"id": "user-june"})
        if path == "api/chat":
            self.created.append(request.json)
            return send_reply({"id": f"chat{len(self.created)}", "name": "New chat"})
        if path.endswith("/completion/stream"):
            self.questions.append({"path": path, **request.json})
            return self.turns.popleft() if self.turns else rest_says("Hello", " there", "!")
        if request.method == "DELETE":
            self.deleted.append(path.removeprefix("api/chat/"))
            return send_reply(b"", 200)
        return self.file(path, request)

    def file(self, path: str, request: Request) -> Script:
        if path == "api/pre-sign-url":
            name = quote(request.json["name"])
            place = f"http://{request.headers['host']}/v1/bucket/{name}?X-Sign=a%2Fb"
            self.files.append((path, request.json))
            return send_reply({"url": place, "object_name": "objects/1", "file_id": "f1"})
        if path.startswith("bucket/"):
            assert request.method == "PUT"
            assert "authorization" not in request.headers, (
                "a presigned address is no place for a credential"
            )
            self.files.append((path, (request.headers["content-type"], request.body)))
            return send_reply(b"")
        self.files.append((path, request.json))
        if path == "api/file":
            return send_reply({"id": "file1", "status": "initialized"})
        assert path == "api/file/parse_process", path
        self.unread -= 1
        return send_stream(
            {"event": "resp", "file_info": {"status": "parsed" if self.unread < 0 else "parsing"}}
        )

    def refreshed(self, request: Request) -> Script:
        assert request.method == "GET"
        if request.bearer_token != self.refresh_token:
            return send_reply(
                {"error_type": "auth.token.invalid", "message": "It was used before."}, 401
            )
        self.renewals += 1
        self.refresh_token = jwt("june", "refresh", jti=self.renewals)
        return send_reply(
            {"access_token": jwt(jti=self.renewals), "refresh_token": self.refresh_token}
        )
