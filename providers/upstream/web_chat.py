"""The base of adapters for web sites that store chats: each request is a turn of a chat there.

A chat made for a request is deleted afterwards, whether the request was answered, failed or its
caller left. It stays only when the request asks to keep it, the answer is complete and a stored
token was used. A task of its own deletes it, so no caller waits for that.
"""

import asyncio
from contextlib import aclosing, suppress
from typing import ClassVar

from msgspec import Struct, structs

from providers.exceptions import BadResponse, ModelMissing, Rejected, UpstreamError
from providers.network.clients import Clients
from providers.network.response import OpenAnswer
from providers.network.target import Target
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import CHAT, ChatRequest, Credential, Resume, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter, Upstream
from providers.upstream.error_mapping import map_error_answer
from providers.upstream.stream_reader import StreamReader

CHAT_DELETION_SECONDS = 10.0


class WebChatTurn(Struct, frozen=True):
    """One request with one credential.

    `resume` is set only when the chat that it names was started with this credential.
    """

    request: ChatRequest
    model: UpstreamModel
    credential: Credential
    attempt: Attempt
    messages: list[JsonObject]  # all of them, or those that the stored chat lacks
    resume: Resume | None = None


class WebChat(BaseAdapter):
    """The base of a site's adapter.

    The adapter implements `send_turn` and `delete_chat`, and overrides `read_error_object`.
    """

    is_official: ClassVar[bool] = False
    speaks_openai: ClassVar[bool] = False
    is_stream_only: ClassVar[bool] = True

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self._deletion_tasks: set[asyncio.Task[None]] = set()

    def send_turn(self, turn: WebChatTurn) -> Batches:
        """Send the turn and yield the chunks of its answer.

        Writes `attempt.chat_id` and `attempt.parent_id` as soon as they are known.
        """
        raise NotImplementedError

    # --- one request ------------------------------------------------------------------------------
    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint != CHAT:
            raise Rejected(f"{self.label} has no other interface than chat.", param="model")
        attempt.patience_seconds = self.upstream.timeouts.first_byte
        model = apply_search_field(request, model)
        resume = find_own_resume(request, credential)
        messages = self._select_messages(request, model, resume)
        turn = WebChatTurn(request, model, credential, attempt, messages, resume)
        has_answered = False
        try:
            async with aclosing(self._relay_turn(turn)) as batches:
                async for batch in batches:
                    has_answered = True
                    yield batch
            return
        except ModelMissing:
            if resume is None or has_answered:
                raise
        # the stored chat was deleted at the site: send all messages in a new one
        messages = self._select_messages(request, model, None)
        turn = WebChatTurn(request, model, credential, attempt, messages)
        async with aclosing(self._relay_turn(turn)) as batches:
            async for batch in batches:
                yield batch

    def _select_messages(
        self, request: ChatRequest, model: UpstreamModel, resume: Resume | None
    ) -> list[JsonObject]:
        """Return all messages of a request, or those that the stored chat lacks."""
        messages: list[JsonObject] = self.build_payload(request, model)["messages"]
        if resume is None:
            return messages
        # the tools in the system prompt may differ from those of earlier turns
        with_system = model.tools == "prompt" and bool(request.body.get("tools"))
        return select_new_messages(messages, with_system=with_system)

    async def _relay_turn(self, turn: WebChatTurn) -> Batches:
        """Yield the answer of one turn; a chat that was made for it and is not kept is deleted.

        Writes `chat_id` and `parent_id` of the attempt: those of a chat that stays, else empty.
        """
        attempt = turn.attempt
        resumed_chat_id = ""
        attempt.parent_id = ""
        if turn.resume is not None:
            resumed_chat_id = turn.resume.chat_id
            attempt.parent_id = turn.resume.parent_id
        attempt.chat_id = resumed_chat_id
        keeps_chat = False
        try:
            async with aclosing(self.send_turn(turn)) as batches:
                async for batch in batches:
                    yield batch
            keeps_chat = turn.request.wants_stored_chat and turn.credential.token_id is not None
        finally:
            if attempt.chat_id != resumed_chat_id and not keeps_chat:
                self._start_chat_deletion(turn.credential, attempt.chat_id)
                attempt.chat_id = ""
                attempt.parent_id = ""

    def _start_chat_deletion(self, credential: Credential, chat_id: str) -> None:
        task = asyncio.get_running_loop().create_task(
            self._delete_chat_quietly(credential, chat_id)
        )
        self._deletion_tasks.add(task)  # the event loop itself holds only weak references to tasks
        task.add_done_callback(self._deletion_tasks.discard)

    async def _delete_chat_quietly(self, credential: Credential, chat_id: str) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(CHAT_DELETION_SECONDS):
                await self.delete_chat(credential, chat_id)

    # --- for the adapters -------------------------------------------------------------------------
    async def stream_chunks(
        self, turn: WebChatTurn, target: Target, body: bytes, reader: StreamReader
    ) -> Batches:
        """Yield the chunks of one stream, to its end.

        The caller then asks `reader.require_finish` if the stream ended well.
        """
        attempt = turn.attempt
        with await self.clients.relay.send_request(
            "POST", target, self.build_headers(turn.credential), body, attempt
        ) as response:
            attempt.status = response.status
            await self.require_answer_head(response, turn.credential)
            stream = self.open_stream(response, reader)
            while batch := await stream.read_batch():
                yield batch
            stream.keep_connection()

    async def fetch_object(
        self, method: str, path: str, credential: Credential, body: object = None
    ) -> JsonObject:
        """Make one small call and return the JSON object of its answer.

        Raises UpstreamError, also for an error in an answer with the status of a success.
        """
        answer = await self.fetch_json(method, path, credential, body)
        if not isinstance(answer, dict):
            raise BadResponse("The upstream's answer is not a JSON object.")
        error = self.read_error_object(answer)
        if error and ("error_type" in answer or error["code"].lower() in self.ERRORS):
            raise map_error_answer(self.ERRORS, None, error, {}, secret=credential.secret)
        return answer

    async def require_answer_head(self, response: OpenAnswer, credential: Credential) -> None:
        await super().require_answer_head(response, credential)
        content_type = response.get_header(b"content-type")
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if content_type.startswith("application/json"):  # an error with a success's status
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)

    def get_target(self, path: str, content_type: str = "application/json") -> Target:
        """Return the target of a path; it is not cached, because paths have ids in them."""
        upstream = self.upstream
        target = Target.from_base_url(
            upstream.base_url, path, upstream.allow_private, upstream.timeouts, content_type
        )
        if upstream.proxy is None:
            return target
        return target.through_proxy(upstream.proxy)

    async def list_model_ids(self, credential: Credential) -> list[str]:
        raise BadResponse("This web interface has no list of models; add_model adds one.")


def apply_search_field(request: ChatRequest, model: UpstreamModel) -> UpstreamModel:
    """Return the model with web search as the field `use_search` of kimi-free-api wants it."""
    wants_search = request.body.get("use_search")
    if not isinstance(wants_search, bool):
        return model
    return structs.replace(model, search="on" if wants_search else "off")


def find_own_resume(request: ChatRequest, credential: Credential) -> Resume | None:
    """Return the request's place in a stored chat if this credential started the chat, or None."""
    resume = request.resume
    if resume is not None and resume.token_id == credential.token_id:
        return resume
    return None


def select_new_messages(
    messages: list[JsonObject], *, with_system: bool = False
) -> list[JsonObject]:
    """Return the messages after the model's last answer.

    With `with_system`, the system messages before it come first. When no message follows the last
    answer, that answer is returned.
    """
    answer_indexes = [
        index for index, message in enumerate(messages) if message["role"] == "assistant"
    ]
    first_new = max(answer_indexes, default=-1) + 1
    new_messages = messages[first_new:] or messages[-1:]
    if not with_system:
        return new_messages
    earlier = messages[:first_new]
    return [message for message in earlier if message["role"] in SYSTEM_ROLES] + new_messages
