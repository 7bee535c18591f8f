"""Kimi's web site by its older, unofficial interface: REST with server-sent events.

There is one chat per request: it is created, asked once, continued if an answer was cut for its
length, and deleted. Images and files are uploaded to a presigned address, from data: URLs only.
Callers get the answer as content, thinking as reasoning_content, and search results as annotations
at the end.

A row's `options`: `kimiplus_id` (the agent), `continuations` (how often a cut answer is continued),
`use_search` (false: no search unless the row or the caller turns it on), other `use_…` fields as
the site has them (use_research, use_math), `extra` (further fields). Source: published clients of
the site.
"""

import asyncio
import re
import time
from contextlib import aclosing, suppress

import orjson

from providers.exceptions import (
    AuthRejected,
    BadResponse,
    ModelMissing,
    Rejected,
    UpstreamError,
    UpstreamTimeout,
)
from providers.network.api_client import ApiCall, ApiResponse
from providers.protocol.chunks import Batches
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential
from providers.upstream.kimi_site import KimiSite
from providers.upstream.web_chat import WebChatTurn
from providers.wire import kimi_common, kimi_rest_dialect
from providers.wire.data_urls import Attachment, decode_attachments
from providers.wire.kimi_rest_dialect import ContinuationReader, KimiRestAnswer
from providers.wire.sse import EventSplitter, EventTooLong

PRESIGNED_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+(?::([0-9]{1,5}))?)/([!-~]*)")
LAST_PORT = 65_535
PARSE_SECONDS = 30.0
PARSE_TRIES = 20
PARSE_PAUSE_SECONDS = 1.0


class Adapter(KimiSite):
    label = "Kimi web, older interface (unofficial)"
    can_search = True
    capabilities = ("chat", "reasoning", "vision", "files")

    # --- one answer -------------------------------------------------------------------------------
    async def send_turn(self, turn: WebChatTurn) -> Batches:
        body = await self._prepare_question_in_time(turn)
        answer = KimiRestAnswer(turn.request, turn.attempt, turn.credential.secret)
        answer.remaining_continuations = kimi_rest_dialect.read_continuation_limit(turn.model)
        reader = ContinuationReader(answer, EventSplitter(self.upstream.limits.event_bytes))
        try:
            async with aclosing(self._stream_parts(turn, body, answer, reader)) as batches:
                async for batch in batches:
                    yield batch
            reader.require_finish()
        except UpstreamError as error:
            if not answer.is_continued or answer.has_ended:
                raise
            turn.attempt.reason = f"The answer was not continued: {error.message}"
            yield answer.end_cut_answer()

    async def _stream_parts(
        self,
        turn: WebChatTurn,
        body: JsonObject,
        answer: KimiRestAnswer,
        reader: ContinuationReader,
    ) -> Batches:
        """Yield the chunks of an answer and of what continues it. Raises UpstreamError."""
        target = self.get_target(f"api/chat/{turn.attempt.chat_id}/completion/stream")
        while True:
            async with aclosing(
                self.stream_chunks(turn, target, orjson.dumps(body), reader)
            ) as batches:
                async for batch in batches:
                    yield batch
            if not answer.can_continue:
                return
            body = kimi_rest_dialect.build_continuation(turn.model, answer.segment_id)
            answer.begin_continuation()
            reader.begin_next_stream(EventSplitter(self.upstream.limits.event_bytes))

    async def _prepare_question_in_time(self, turn: WebChatTurn) -> JsonObject:
        """Prepare the question until the request's deadline. Raises UpstreamError."""
        seconds_left = None
        if turn.attempt.deadline < float("inf"):
            seconds_left = turn.attempt.deadline - time.perf_counter()
        try:
            async with asyncio.timeout(seconds_left):
                return await self._prepare_question(turn)
        except TimeoutError:
            raise UpstreamTimeout("Preparing the chat took longer than a request may.") from None

    async def _prepare_question(self, turn: WebChatTurn) -> JsonObject:
        """Create the chat if there is none, upload its files, and return the question to send."""
        attachments = decode_attachments(turn.messages)
        if turn.resume is None:
            await self._create_chat(turn)
        file_ids = [await self._upload_attachment(turn, attachment) for attachment in attachments]
        return kimi_rest_dialect.build_rest_question(
            turn.model, kimi_common.render_chat_text(turn.messages), file_ids
        )

    async def _create_chat(self, turn: WebChatTurn) -> None:
        """Create a chat at the site. Writes its id into the attempt. Raises UpstreamError.

        The body is the same for every request, so the site refuses the account with it, unless the
        row names an agent.
        """
        body = kimi_rest_dialect.build_new_chat(turn.model)
        try:
            chat = await self.fetch_object("POST", "api/chat", turn.credential, body)
        except Rejected as error:
            if body["kimiplus_id"] != kimi_rest_dialect.DEFAULT_AGENT:
                raise
            refusal = AuthRejected(error.message)
            refusal.upstream_status = error.upstream_status
            raise refusal from None
        turn.attempt.chat_id = kimi_common.safe_id(chat.get("id"))
        if not turn.attempt.chat_id:
            raise BadResponse("The upstream did not create a chat.")

    # --- images and files -------------------------------------------------------------------------
    async def _upload_attachment(self, turn: WebChatTurn, attachment: Attachment) -> str:
        """Upload an image or file, wait until the site has read it, and return its id."""
        credential = turn.credential
        upload = await self.fetch_object(
            "POST",
            "api/pre-sign-url",
            credential,
            {"action": attachment.kind, "name": attachment.name},
        )
        await self._put_attachment_data(upload.get("url"), attachment)
        fields = {
            "type": attachment.kind,
            "name": attachment.name,
            "file_id": upload.get("file_id"),
        }
        if attachment.kind == "file":
            fields |= {
                "file_id": "",
                "object_name": upload.get("object_name"),
                "chat_id": turn.attempt.chat_id,
            }
        file = await self.fetch_object("POST", "api/file", credential, fields)
        file_id = kimi_common.safe_id(file.get("id"))
        if not file_id:
            raise BadResponse("The upstream did not take the file.")
        if attachment.kind == "file":
            await self._wait_until_parsed(credential, file_id)
        return file_id

    async def _put_attachment_data(self, url: object, attachment: Attachment) -> None:
        """Put the data at a presigned address, on whatever host; it gets none of our credentials.

        Raises BadResponse if the address is not usable or does not accept the data.
        """
        site, path = split_presigned_url(url, allow_http=self.upstream.allow_private)
        fields = {"body": attachment.data, "content_type": attachment.content_type}
        call = ApiCall.from_path("PUT", site, path, **self.call_limits, **fields)
        answer = await self.clients.api.fetch_answer(call)
        if not 200 <= answer.status < 300:
            raise BadResponse(f"The upload was answered with status {answer.status}.")

    async def _wait_until_parsed(self, credential: Credential, file_id: str) -> None:
        """Wait until the site has read the file.

        Raises Rejected if it cannot read it, UpstreamTimeout if that takes too long.
        """
        is_parsed = False
        with suppress(TimeoutError):
            async with asyncio.timeout(PARSE_SECONDS):
                is_parsed = await self._poll_until_parsed(credential, file_id)
        if not is_parsed:
            raise UpstreamTimeout("The upstream took too long to read the file.")

    async def _poll_until_parsed(self, credential: Credential, file_id: str) -> bool:
        """Ask up to PARSE_TRIES times, and return whether the site has read the file."""
        for _ in range(PARSE_TRIES):
            if await self._ask_if_parsed(credential, file_id):
                return True
            await asyncio.sleep(PARSE_PAUSE_SECONDS)
        return False

    async def _ask_if_parsed(self, credential: Credential, file_id: str) -> bool:
        """Ask the site once, and return whether it has read the file.

        The answer is a stream of progress events, which may end before the file is read.
        """
        splitter = EventSplitter(self.upstream.limits.event_bytes)
        data = orjson.dumps({"ids": [file_id]})
        call = self.build_call("POST", "api/file/parse_process", credential, body=data)
        async with self.clients.api.open_call(call) as response:
            await self.require_answer_head(response, credential)
            try:
                return await has_parsed_event(response, splitter)
            except EventTooLong:
                raise BadResponse("The upstream sent too long an event.") from None

    # --- beside the path --------------------------------------------------------------------------
    async def probe_credential(self, credential: Credential) -> None:
        await self.fetch_object("GET", "api/user", credential)

    async def delete_chat(self, credential: Credential, chat_id: str) -> None:
        if not kimi_common.safe_id(chat_id):
            raise ModelMissing("The upstream has no such chat.")
        call = self.build_call("DELETE", f"api/chat/{chat_id}", credential)
        await self.make_call(call, credential)


def split_presigned_url(url: object, *, allow_http: bool) -> tuple[str, str]:
    """Return the site and the path of an address to upload to.

    Raises BadResponse if it is not usable.
    """
    match = None
    if isinstance(url, str):
        match = PRESIGNED_URL.fullmatch(url)
    if match is None:
        raise BadResponse("The upstream gave no usable address to upload to.")
    scheme, host, port, path = match.groups()
    is_secure = scheme == "https" or allow_http
    if not is_secure or int(port or 0) > LAST_PORT:
        raise BadResponse("The upstream gave no usable address to upload to.")
    return f"{scheme}://{host}", path


async def has_parsed_event(response: ApiResponse, splitter: EventSplitter) -> bool:
    """Return whether an event says that the file has been read. Raises Rejected, EventTooLong."""
    async for piece in response.iterate_body():
        if any(map(kimi_rest_dialect.is_file_parsed, splitter.feed(piece))):
            return True
    return any(map(kimi_rest_dialect.is_file_parsed, splitter.finish()))
