"""Kimi's web site as it is since late 2025: Connect-RPC with JSON, an unofficial interface.

Callers get the answer as content, thinking as reasoning_content, and cited search results as
footnotes with annotations. The search queries are dropped. There is no known way to send images and
files.

A row's `options`: `scenario` (default: the upstream name), `options` (the request's object of that
name: thinking, reasoning_effort, …), `use_search` (false: no search unless the row or the caller
turns it on), `search` (the search tool's object), `extra` (further fields of the request, such as
kimiplus_id). Sources: published clients of the site; for the framing the Connect protocol's own
documentation.
"""

from contextlib import aclosing
from typing import Any

import orjson

from providers.exceptions import AuthRejected, Rejected
from providers.protocol.chunks import Batches
from providers.protocol.request import Credential, Fresh
from providers.upstream.stream_reader import DialectReader
from providers.upstream.web_chat import Turn, WebChat
from providers.wire import connect, kimi_common, kimi_web_dialect
from providers.wire.data_urls import other_parts

CHAT_PATH = "apiv2/kimi.gateway.chat.v1.ChatService/Chat"
DELETE_PATH = "apiv2/kimi.chat.v1.ChatService/DeleteChat"
SUBSCRIPTION_PATH = "apiv2/kimi.gateway.order.v1.SubscriptionService/GetSubscription"


class Adapter(WebChat):
    label = "Kimi web (unofficial)"
    one_at_a_time = True
    refreshes = True
    ERRORS = kimi_common.ERRORS

    def headers(self, credential: Credential) -> bytes:
        lines = super().headers(credential) + b"Connect-Protocol-Version: 1\r\n"
        return lines + kimi_common.header_lines(credential.secret, self.upstream.base_url)

    def error_in(self, body: Any) -> dict[str, Any] | None:
        return kimi_common.error_in(body)

    async def turn(self, turn: Turn) -> Batches:
        credential = turn.credential
        if other_parts(turn.messages):
            raise Rejected("This model takes no images and no files.", param="messages")
        known = (turn.resume.chat_id, turn.resume.parent_id) if turn.resume else ()
        asked = kimi_web_dialect.question(turn.model, kimi_common.one_text(turn.messages), *known)
        answer = kimi_web_dialect.Answer(turn.request, turn.attempt, credential.secret)
        reader = DialectReader(answer, connect.Splitter(self.upstream.limits.event_bytes))
        target = self.target(CHAT_PATH, "application/connect+json")
        body = connect.frame(orjson.dumps(asked))
        async with aclosing(self.speech(turn, target, body, reader)) as batches:
            async for batch in batches:
                yield batch
        reader.judge()

    async def check(self, credential: Credential) -> None:
        await self.fetch("POST", SUBSCRIPTION_PATH, credential, {})

    async def refresh(self, secret: str) -> Fresh:
        try:
            return kimi_common.renewed(
                await self.fetch("GET", kimi_common.REFRESH_PATH, Credential(None, secret))
            )
        except Rejected as error:
            raise AuthRejected(error.message) from None

    async def forget(self, credential: Credential, chat_id: str) -> None:
        await self.fetch("POST", DELETE_PATH, credential, {"chat_id": chat_id})
