"""The base of adapters for web sites that store chats: each request is a turn of a chat there.

A chat made for a request is deleted afterwards, whether the request was answered, failed or its
caller left. It stays only when the request asks to keep it, the answer is complete and a stored
token was used. A task of its own deletes it, so no caller waits for that.
"""

import asyncio
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from msgspec import Struct

from providers.exceptions import BadResponse, ModelMissing, ProviderError, Rejected, UpstreamError
from providers.network.api_client import ApiResponse
from providers.network.clients import Clients
from providers.network.http_client import HttpAnswer, Response, Target
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches
from providers.protocol.message_text import SYSTEM_ROLES
from providers.protocol.request import CHAT, ChatRequest, Credential, Resume, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter, Upstream
from providers.upstream.error_mapping import map_error_answer
from providers.upstream.stream_reader import StreamReader
from providers.wire.json_reader import read_json

CHAT_DELETION_SECONDS = 10.0


class WebChatTurn(Struct, frozen=True):
    """One request with one credential.

    `resume` is set only when the chat that it names was started with this credential.
    """

    request: ChatRequest
    model: UpstreamModel
    credential: Credential
    attempt: Attempt
    messages: list[dict[str, Any]]  # all of them, or those that the stored chat lacks
    resume: Resume | None = None


class WebChat(BaseAdapter):
    """The base of a site's adapter.

    The adapter implements `send_turn`, `delete_chat` and `read_error_object`.
    """

    is_official: ClassVar[bool] = False
    is_stream_only: ClassVar[bool] = True

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self._deletion_tasks: set[asyncio.Task[None]] = set()

    def send_turn(self, turn: WebChatTurn) -> Batches:
        """Send the turn and yield the chunks of its answer.

        Writes `attempt.chat_id` and `attempt.parent_id` as soon as they are known.
        """
        raise NotImplementedError

    def read_error_object(self, body: Any) -> dict[str, Any] | None:
        """Return the error object of a body in the form that `error_mapping` reads, or None."""
        raise NotImplementedError

    # --- one request ------------------------------------------------------------------------------
    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint != CHAT:
            raise Rejected(f"{self.label} has no other interface than chat.", param="model")
        attempt.patience_seconds = self.upstream.timeouts.first_byte
        own = request.resume is not None and request.resume.token_id == credential.token_id
        for resume in (request.resume, None) if own else (None,):
            said = False
            try:
                turn = WebChatTurn(
                    request,
                    model,
                    credential,
                    attempt,
                    self._select_messages(request, model, resume),
                    resume,
                )
                async with aclosing(self._relay_turn(turn)) as batches:
                    async for batch in batches:
                        said = True
                        yield batch
                return
            except ModelMissing:  # the chat was deleted: send all messages in a new one
                if resume is None or said:
                    raise

    def _select_messages(
        self, request: ChatRequest, model: UpstreamModel, resume: Resume | None
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.build_payload(request, model)["messages"]
        if resume is None:
            return messages
        # the tools in the system prompt may differ from those of earlier turns
        with_system = model.tools == "prompt" and bool(request.body.get("tools"))
        return select_new_messages(messages, with_system=with_system)

    async def _relay_turn(self, turn: WebChatTurn) -> Batches:
        attempt = turn.attempt
        resume = turn.resume
        whole = False
        known, attempt.parent_id = (resume.chat_id, resume.parent_id) if resume else ("", "")
        attempt.chat_id = known
        try:
            async with aclosing(self.send_turn(turn)) as batches:
                async for batch in batches:
                    yield batch
            whole = True
        finally:
            if attempt.chat_id != known and not (
                whole and turn.request.wants_stored_chat and turn.credential.token_id
            ):
                self._start_chat_deletion(turn.credential, attempt.chat_id)
                attempt.chat_id = attempt.parent_id = ""

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

    # --- its parts --------------------------------------------------------------------------------
    async def stream_chunks(
        self, turn: WebChatTurn, target: Target, body: bytes, reader: StreamReader
    ) -> Batches:
        """Yield the chunks of one stream, to its end.

        The caller then asks `make_stream_reader.require_finish` if the stream ended well.
        """
        timeouts = self.upstream.timeouts
        attempt = turn.attempt
        with await self.clients.relay.send_request(
            "POST", target, self.build_headers(turn.credential), body, attempt
        ) as response:
            attempt.status = response.status
            await self.require_answer_head(response, turn.credential)
            reader.bytes_left = self.upstream.limits.stream_bytes
            try:
                async with aclosing(response.iterate_body(timeouts.gap)) as pieces:
                    async for piece in pieces:
                        if reader.waiting_bytes and reader.ends_large_event(piece):
                            batch = await reader.feed_in_thread(piece)
                        else:
                            batch = reader.feed(piece)
                        if batch:
                            yield batch
                        if reader.is_over:
                            break
                        if reader.is_finished:
                            response.limit_tail(timeouts.tail)
                if batch := reader.read_last_event():
                    yield batch
            except ProviderError:
                if not reader.is_finished:  # else the answer is complete without the stream's end
                    raise
            if reader.has_done_marker:
                response.mark_finished()

    async def fetch_object(
        self, method: str, path: str, credential: Credential, body: Any = None
    ) -> dict[str, Any]:
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

    async def require_answer_head(
        self, response: Response | ApiResponse, credential: Credential
    ) -> None:
        await super().require_answer_head(response, credential)
        content_type = response.get_header(b"content-type")
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if content_type.startswith("application/json"):  # an error with a success's status
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error for an answer whose status is not a success."""
        try:
            error = self.read_error_object(read_json(answer.body))
        except ValueError:
            error = None
        return map_error_answer(
            self.ERRORS, answer.status, error, answer.headers, secret=credential.secret
        )

    def get_target(self, path: str, content_type: str = "application/json") -> Target:
        """Return the target of a path; it is not cached, because paths have ids in them."""
        upstream = self.upstream
        return Target.from_base_url(
            upstream.base_url, path, upstream.allow_private, upstream.timeouts, content_type
        )

    async def list_model_ids(self, credential: Credential) -> list[str]:
        raise BadResponse("This web interface has no list of models; add_model adds one.")


def select_new_messages(
    messages: list[dict[str, Any]], *, with_system: bool = False
) -> list[dict[str, Any]]:
    """Return the messages after the model's last answer.

    With `with_system`, the system messages before it come first. When no message follows the last
    answer, that answer is returned.
    """
    last = max(
        (at for at, message in enumerate(messages) if message["role"] == "assistant"), default=-1
    )
    new = messages[last + 1 :] or messages[-1:]
    system = [message for message in messages[: last + 1] if message["role"] in SYSTEM_ROLES]
    return [*system, *new] if with_system else new
