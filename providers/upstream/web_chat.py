"""Adapters of web sites that keep chats: each request is a turn of a chat there, and no chat is
left behind.

A chat made for a request is deleted afterwards, whether it was answered, failed or the caller left;
it stays only when it is to be kept and the answer is whole. Deleting is a task of its own: nobody
waits for it.
"""

import asyncio
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from msgspec import Struct

from providers.exceptions import BadResponse, ModelMissing, ProviderError, Rejected, UpstreamError
from providers.network.api_client import ApiResponse
from providers.network.clients import Clients
from providers.network.http_client import HttpAnswer, Response, Target
from providers.protocol.chat import (
    CHAT,
    Attempt,
    Batches,
    ChatRequest,
    Credential,
    Resume,
    UpstreamModel,
)
from providers.protocol.message_text import SYSTEM_ROLES
from providers.upstream.base_adapter import BaseAdapter, Upstream
from providers.upstream.error_mapping import refusal
from providers.upstream.stream_reader import StreamReader
from providers.wire.json_reader import loads

FAREWELL_SECONDS = 10.0


class Turn(Struct, frozen=True):
    """One request of one credential; `resume` only when the chat it names is this credential's."""

    request: ChatRequest
    model: UpstreamModel
    credential: Credential
    attempt: Attempt
    messages: list[
        dict[str, Any]
    ]  # what is to be told: all of them, or what the kept chat does not know
    resume: Resume | None = None


class WebChat(BaseAdapter):
    """A site's adapter gives `turn`, `forget` and `error_in`."""

    official: ClassVar[bool] = False
    stream_only: ClassVar[bool] = True

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self._farewells: set[asyncio.Task[None]] = set()

    def turn(self, turn: Turn) -> Batches:
        """Ask, and yield what is answered; `attempt.chat_id` and `parent_id` are noted as soon as
        they are known.
        """
        raise NotImplementedError

    def error_in(self, body: Any) -> dict[str, Any] | None:
        """The error object of a body, as `providers.upstream.error_mapping` reads it."""
        raise NotImplementedError

    # --- one request ------------------------------------------------------------------------------
    async def relay(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint != CHAT:
            raise Rejected(f"{self.label} has no other interface than chat.", param="model")
        attempt.patience = self.upstream.timeouts.first_byte
        own = request.resume is not None and request.resume.token_id == credential.token_id
        for resume in (request.resume, None) if own else (None,):
            said = False
            try:
                turn = Turn(
                    request, model, credential, attempt, self._told(request, model, resume), resume
                )
                async with aclosing(self._once(turn)) as batches:
                    async for batch in batches:
                        said = True
                        yield batch
                return
            except ModelMissing:  # somebody deleted the chat: everything is told anew
                if resume is None or said:
                    raise

    def _told(
        self, request: ChatRequest, model: UpstreamModel, resume: Resume | None
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.payload(request, model)["messages"]
        if resume is None:
            return messages
        with_system = model.tools == "prompt" and bool(
            request.body.get("tools")
        )  # they may not be those of before
        return new_turn(messages, with_system=with_system)

    async def _once(self, turn: Turn) -> Batches:
        attempt = turn.attempt
        resume = turn.resume
        whole = False
        known, attempt.parent_id = (resume.chat_id, resume.parent_id) if resume else ("", "")
        attempt.chat_id = known
        try:
            async with aclosing(self.turn(turn)) as batches:
                async for batch in batches:
                    yield batch
            whole = True
        finally:
            if attempt.chat_id != known and not (
                whole and turn.request.keep and turn.credential.token_id
            ):
                self._leave(turn.credential, attempt.chat_id)
                attempt.chat_id = attempt.parent_id = ""

    def _leave(self, credential: Credential, chat_id: str) -> None:
        task = asyncio.get_running_loop().create_task(self._farewell(credential, chat_id))
        self._farewells.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._farewells.discard)

    async def _farewell(self, credential: Credential, chat_id: str) -> None:
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self.forget(credential, chat_id)

    # --- its parts --------------------------------------------------------------------------------
    async def speech(
        self, turn: Turn, target: Target, body: bytes, reader: StreamReader
    ) -> Batches:
        """The chunks of one stream, to its end; whether that was a good one is for
        `reader.judge`.
        """
        timeouts = self.upstream.timeouts
        attempt = turn.attempt
        with await self.clients.relay.send(
            "POST", target, self.headers(turn.credential), body, attempt
        ) as response:
            attempt.status = response.status
            await self.accept(response, turn.credential)
            reader.bytes_left = self.upstream.limits.stream_bytes
            try:
                async with aclosing(response.pieces(timeouts.gap)) as pieces:
                    async for piece in pieces:
                        if reader.waiting_bytes and reader.ends_large_event(piece):
                            batch = await reader.feed_beside_loop(piece)
                        else:
                            batch = reader.feed(piece)
                        if batch:
                            yield batch
                        if reader.over:
                            break
                        if reader.finished:
                            response.hurry(timeouts.tail)
                if batch := reader.finish():
                    yield batch
            except ProviderError:
                if not reader.finished:  # else all was said: only the end of the stream is missing
                    raise
            if reader.done:
                response.finish()

    async def fetch(
        self, method: str, path: str, credential: Credential, body: Any = None
    ) -> dict[str, Any]:
        """The object that one small call answers. Raises UpstreamError, also for an error with a
        success's status.
        """
        answer = await self.call(method, path, credential, body)
        if not isinstance(answer, dict):
            raise BadResponse("The upstream's answer is not a JSON object.")
        error = self.error_in(answer)
        if error and ("error_type" in answer or error["code"].lower() in self.ERRORS):
            raise refusal(self.ERRORS, None, error, {}, secret=credential.secret)
        return answer

    async def accept(self, response: Response | ApiResponse, credential: Credential) -> None:
        await super().accept(response, credential)
        content_type = response.header(b"content-type")
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if content_type.startswith("application/json"):  # an error with the status of a success
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error that an answer other than a success means."""
        try:
            error = self.error_in(loads(answer.body))
        except ValueError:
            error = None
        return refusal(self.ERRORS, answer.status, error, answer.headers, secret=credential.secret)

    def target(self, path: str, content_type: str = "application/json") -> Target:
        """Paths have ids in them, so none is remembered."""
        upstream = self.upstream
        return Target.of(
            upstream.base_url, path, upstream.allow_private, upstream.timeouts, content_type
        )

    async def models(self, credential: Credential) -> list[str]:
        raise BadResponse("This web interface has no list of models; add_model adds one.")


def new_turn(messages: list[dict[str, Any]], *, with_system: bool = False) -> list[dict[str, Any]]:
    """The messages after the model's last answer; those of the system before them if
    `with_system`.
    """
    last = max(
        (at for at, message in enumerate(messages) if message["role"] == "assistant"), default=-1
    )
    new = messages[last + 1 :] or messages[-1:]
    system = [message for message in messages[: last + 1] if message["role"] in SYSTEM_ROLES]
    return [*system, *new] if with_system else new
