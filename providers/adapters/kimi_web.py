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

import orjson

from providers.exceptions import Rejected
from providers.protocol.chunks import Batches
from providers.protocol.request import Credential
from providers.upstream.kimi_site import KimiSite
from providers.upstream.stream_reader import DialectReader
from providers.upstream.web_chat import WebChatTurn
from providers.wire import connect, kimi_common, kimi_web_dialect
from providers.wire.data_urls import find_non_text_parts

CHAT_PATH = "apiv2/kimi.gateway.chat.v1.ChatService/Chat"
DELETE_PATH = "apiv2/kimi.chat.v1.ChatService/DeleteChat"
SUBSCRIPTION_PATH = "apiv2/kimi.gateway.order.v1.SubscriptionService/GetSubscription"


class Adapter(KimiSite):
    label = "Kimi web (unofficial)"
    can_search = True
    capabilities = ("chat", "reasoning")

    def build_headers(self, credential: Credential) -> bytes:
        return super().build_headers(credential) + b"Connect-Protocol-Version: 1\r\n"

    async def send_turn(self, turn: WebChatTurn) -> Batches:
        credential = turn.credential
        if find_non_text_parts(turn.messages):
            raise Rejected("This model takes no images and no files.", param="messages")
        question = kimi_web_dialect.build_web_question(
            turn.model,
            kimi_common.render_chat_text(turn.messages),
            turn.attempt.chat_id,
            turn.attempt.parent_id,
        )
        answer = kimi_web_dialect.KimiWebAnswer(turn.request, turn.attempt, credential.secret)
        reader = DialectReader(answer, connect.FrameSplitter(self.upstream.limits.event_bytes))
        target = self.get_target(CHAT_PATH, "application/connect+json")
        body = connect.build_frame(orjson.dumps(question))
        async with aclosing(self.stream_chunks(turn, target, body, reader)) as batches:
            async for batch in batches:
                yield batch
        reader.require_finish()

    async def probe_credential(self, credential: Credential) -> None:
        await self.fetch_object("POST", SUBSCRIPTION_PATH, credential, {})

    async def delete_chat(self, credential: Credential, chat_id: str) -> None:
        await self.fetch_object("POST", DELETE_PATH, credential, {"chat_id": chat_id})
