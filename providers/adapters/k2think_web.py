"""The web site of K2-Think, k2think.ai, by its unofficial interface.

The interface may change any day, and accounts were closed for such use. The official interface is
the preset `k2think`, a row on `openai_compatible`.

The site is a changed Open WebUI. The request is JSON; the answer is snapshots of the text as
server-sent events. Each request is a chat of its own there, with the whole history. Users send the
JWT of an account, guests send no credential. Of the parameters `temperature`, `top_p` and
`max_tokens` are sent; others have no known effect. A model row's options may name the model's
`root` there. Source of the wire facts: published clients of the site.
"""

import re
from datetime import UTC, datetime
from urllib.parse import urljoin
from uuid import uuid4

import orjson

from providers.choices import Mode, Search
from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    Rejected,
    TokenError,
    UpstreamError,
)
from providers.network.response import HttpAnswer
from providers.network.target import Target
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential, NewCredential, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter
from providers.upstream.stream_reader import DialectReader
from providers.wire import k2think_dialect
from providers.wire.json_reader import read_json
from providers.wire.jwt import read_expiry
from providers.wire.sse import EventSplitter

TOKEN_COOKIE = re.compile(r"(?:^|[;,\s])token=([^;,\s]+)")


class Adapter(BaseAdapter):
    label = "K2-Think web (unofficial)"
    can_search = True
    profile_name = "k2think"
    capabilities = ("chat", "reasoning", "vision")
    is_official = False
    modes = ("user", "guest")
    speaks_openai = False
    is_stream_only = True
    can_sign_in = True

    @property
    def is_guest(self) -> bool:
        return self.upstream.mode == Mode.GUEST

    def get_target(self, path: str) -> Target:
        if self.is_guest and path == CHAT:
            path = f"guest/{path}"
        return super().get_target(path)

    def build_headers(self, credential: Credential) -> bytes:
        site = urljoin(self.upstream.base_url, "/")
        page = site
        if self.is_guest:
            page = f"{site}guest"
        lines = (
            "Accept: text/event-stream,application/json\r\n"
            f"Origin: {site[:-1]}\r\nReferer: {page}\r\n"
        )
        return super().build_headers(credential) + lines.encode("ascii")

    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        body = super().build_payload(request, model)
        sampling = {
            "temperature": body.get("temperature"),
            "top_p": body.get("top_p"),
            "max_tokens": body.get("max_completion_tokens") or body.get("max_tokens"),
        }
        web_search = model.search == Search.ON
        return {
            "stream": True,
            "model": model.name,
            "messages": k2think_dialect.build_site_messages(
                body["messages"], is_guest=self.is_guest
            ),
            "params": {name: value for name, value in sampling.items() if value is not None},
            "tool_servers": [],
            "features": {
                "image_generation": False,
                "code_interpreter": False,
                "web_search": web_search,
            },
            "variables": k2think_dialect.build_prompt_variables(datetime.now(UTC)),
            "model_item": k2think_dialect.build_model_item(model),
            "background_tasks": {"title_generation": True, "tags_generation": True},
            **{name: str(uuid4()) for name in ("chat_id", "id", "session_id")},
        }

    def make_stream_reader(self, request: ChatRequest, credential: Credential) -> DialectReader:
        dialect = k2think_dialect.K2ThinkAnswer(request, credential)
        return DialectReader(dialect, EventSplitter(self.upstream.limits.event_bytes))

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        try:
            return super().parse_answer(request, data, credential)
        except UpstreamError as error:
            raise k2think_dialect.detect_missing_model(error) from None

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error that an unsuccessful answer means.

        A web page, for example a captcha, says nothing about the token or the model: it is a
        BadResponse.
        """
        error = k2think_dialect.detect_missing_model(super().read_refusal(answer, credential))
        is_page = "html" in answer.get_header(b"content-type")
        if is_page and answer.status != 429 and isinstance(error, TokenError | ModelMissing):
            return k2think_dialect.replace_error(
                error, BadResponse("The upstream answered with a web page.")
            )
        return error

    async def probe_credential(self, credential: Credential) -> None:
        try:
            await self.list_model_ids(credential)
        except AuthRejected:
            if not self.is_guest:  # guests may chat even if they may not list models
                raise

    async def sign_in(self, email: str, password: str) -> NewCredential:
        body = orjson.dumps({"email": email, "password": password})
        call = self.build_call("POST", "v1/auths/signin", Credential(None, ""), body=body)
        try:
            answer = await self.make_call(call, Credential(None, password))
        except Rejected as error:
            raise k2think_dialect.replace_error(error, AuthRejected(error.message)) from None
        token = find_sign_in_token(answer)
        if not isinstance(token, str) or not (token.isascii() and token.isprintable()):
            raise BadResponse("The upstream signed in without giving a token.")
        return NewCredential(token, expires_at=read_expiry(token))


def find_sign_in_token(answer: HttpAnswer) -> object:
    """Return the token in the body of a sign-in's answer, else in its cookie; None without one."""
    try:
        body = read_json(answer.body)
    except ValueError:
        body = None
    if isinstance(body, dict) and body.get("token"):
        return body["token"]
    cookie = TOKEN_COOKIE.search(answer.get_header(b"set-cookie"))
    return cookie and cookie[1]
