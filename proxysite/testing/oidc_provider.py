"""A small OpenID Connect provider on this machine: discovery, PKCE, JWKS, user info.

It speaks the public protocol (OpenID Connect Core and Discovery 1.0, RFC 7636) and lets `person`
in without asking. `faults` collects what a client did wrong.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID = "gateway"
CLIENT_SECRET = "gateway-secret"  # noqa: S105
KEY_ID = "key-1"


class OidcProvider:
    """The provider; `person` are the claims of whoever logs in next."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        self.person: dict[str, Any] = {"sub": "1", "preferred_username": "june"}
        self.faults: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer_get(self)

            def do_POST(self) -> None:
                provider.answer_post(self)

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> "OidcProvider":
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer_get(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        if parts.path == "/.well-known/openid-configuration":
            send_json(request, self.describe())
        elif parts.path == "/jwks":
            key: dict[str, Any] = json.loads(
                jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key())
            )
            send_json(request, {"keys": [key | {"kid": KEY_ID, "use": "sig", "alg": "RS256"}]})
        elif parts.path == "/authorize":
            self.authorize(request, dict(parse_qsl(parts.query)))
        elif parts.path == "/userinfo":
            send_json(request, self.person)
        else:
            send_json(request, {}, 404)

    def describe(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def authorize(self, request: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        """Let the person in, and send the browser back with a code."""
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            self.faults.append("no PKCE")
        if query.get("client_id") != CLIENT_ID or "openid" not in query.get("scope", ""):
            self.faults.append(f"a wrong request: {query}")
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        answer = urlencode({"code": code, "state": query.get("state", "")})
        request.send_response(302)
        request.send_header("Location", f"{query['redirect_uri']}?{answer}")
        request.end_headers()

    def answer_post(self, request: BaseHTTPRequestHandler) -> None:
        """Give tokens for a code, once, to whoever knows its verifier and the client's secret."""
        length = int(request.headers.get("content-length", 0))
        form = dict(parse_qsl(request.rfile.read(length).decode()))
        query = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        is_right = (
            query is not None
            and query["code_challenge"] == challenge
            and query["redirect_uri"] == form.get("redirect_uri")
            and form.get("client_secret") == CLIENT_SECRET
        )
        if not is_right:
            self.faults.append(f"a wrong exchange: {sorted(form)}")
            send_json(request, {"error": "invalid_grant"}, 400)
            return
        claims = self.person | {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
        }
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": KEY_ID})
        send_json(request, {"access_token": "a", "token_type": "Bearer", "id_token": token})


def send_json(request: BaseHTTPRequestHandler, body: dict[str, Any], status: int = 200) -> None:
    content = json.dumps(body).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
