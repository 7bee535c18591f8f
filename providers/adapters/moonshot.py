"""Moonshot AI's official interface (api.moonshot.ai, api.moonshot.cn): OpenAI's dialect, and more.

The credential is an API key. Beyond OpenAI's dialect there are:
- usage inside the last chunk's choice;
- web search, a built-in function that this adapter answers when search is on;
- file extraction, used for models whose row lists `files`;
- a balance that tells whether a key works.

Partial mode (`partial` on the last message), `thinking`, `max_completion_tokens` and `ms://` images
are the caller's own fields and are passed on. The service refuses images at plain web addresses, so
they are refused here at once. Source: Moonshot's API documentation (platform.kimi.ai): chat, files,
web search, balance, error codes.
"""

import asyncio
import re
import time
from base64 import b64decode
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import ClassVar
from uuid import uuid4

import msgspec

from providers.exceptions import (
    BadResponse,
    ModelMissing,
    QuotaExhausted,
    Rejected,
    ServerFailed,
    UpstreamError,
)
from providers.filters import builtin_search, file_parts
from providers.filters.filter_pipeline import apply_filters
from providers.filters.moonshot_usage import lift_usage
from providers.network.api_client import ApiCall
from providers.network.clients import Clients
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk, make_usage_chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter, Upstream
from providers.upstream.error_mapping import ERROR_CODES, clean_message
from providers.wire.json_reader import read_json

MOST_SEARCHES = 5  # searches for one answer; then the model has to answer
LINK_PART_TYPES = ("image_url", "video_url")
FILE_DELETION_SECONDS = 10.0
FILE_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")


class Adapter(BaseAdapter):
    label = "Moonshot AI, official"
    ERRORS: ClassVar[dict[str, type[UpstreamError]]] = ERROR_CODES | {
        # it may also mean a low balance, so the key is exhausted for a time, not rejected
        "permission_denied_error": QuotaExhausted,
        "client_closed_request": ServerFailed,
    }

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self._deletion_tasks: set[asyncio.Task[None]] = set()

    # --- chat -------------------------------------------------------------------------------------
    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        body = super().build_payload(request, model)
        body.pop("web_search_options", None)
        if offers_search(request, model):
            body["tools"] = [*(body.get("tools") or ()), builtin_search.SEARCH_TOOL]
            body["thinking"] = {"type": "disabled"}
        return body

    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint == CHAT:
            refuse_web_addresses(request.body["messages"])
            if model.files:
                request = await self.add_file_texts(request, credential, attempt)
        if offers_search(request, model):
            relayed = apply_filters(
                self._relay_with_search(request, model, credential, attempt),
                (),
                stream=request.stream,
            )
        else:
            relayed = super().relay_answer(request, model, credential, attempt)
        async with aclosing(relayed) as batches:
            async for batch in batches:
                yield batch

    async def _relay_with_search(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the chunks of an answer for which the model may search the web, in several calls.

        Raises Rejected for more than one choice, BadResponse if the model does not stop searching.
        """
        if (request.body.get("n") or 1) > 1:
            raise Rejected("With web search there is one choice only.", param="n")
        search = builtin_search.BuiltinSearch()
        body = request.body | {"stream": True}
        for round_number in range(MOST_SEARCHES + 1):
            if round_number == MOST_SEARCHES:
                body |= {"tool_choice": "none"}
            round_request = msgspec.structs.replace(request, stream=True, body=body)
            async with aclosing(
                self._relay_round(round_request, model, credential, attempt, search)
            ) as batches:
                async for batch in batches:
                    yield batch
            if not search.wants_results:
                break
            body = body | {"messages": [*body["messages"], *search.build_result_messages()]}
        else:
            raise BadResponse("The upstream does not stop searching.")
        if usage := search.total_usage():
            yield [make_usage_chunk(request, usage)]

    async def _relay_round(
        self,
        request: ChatRequest,
        model: UpstreamModel,
        credential: Credential,
        attempt: Attempt,
        search: builtin_search.BuiltinSearch,
    ) -> Batches:
        """Yield the chunks of one upstream call that the caller gets; `search` takes the others."""
        search.begin_round()
        async with aclosing(super().relay_answer(request, model, credential, attempt)) as batches:
            async for batch in batches:
                if shown_chunks := search.filter_chunks(batch):
                    yield shown_chunks

    def read_event(self, data: bytes, credential: Credential) -> Chunk | None:
        chunk = super().read_event(data, credential)
        if chunk is not None:
            chunk = lift_usage(chunk)
        return chunk

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        return lift_usage(super().parse_answer(request, data, credential))

    # --- files ------------------------------------------------------------------------------------
    async def add_file_texts(
        self, request: ChatRequest, credential: Credential, attempt: Attempt
    ) -> ChatRequest:
        """Return the request with the text of each file, as Moonshot reads it, in a system message.

        The system message stands before the message that has the file. Raises UpstreamError.
        """
        if next(file_parts.find_file_parts(request.body["messages"]), None) is None:
            return request
        messages: list[JsonObject] = []
        for message in request.body["messages"]:
            content = message.get("content")
            if isinstance(content, list):
                files = [part["file"] for part in content if part["type"] == "file"]
                for file in files:
                    text = await self._extract_file_text(file, credential, attempt)
                    messages.append({"role": "system", "content": text})
                message = message | {"content": [replace_file_part(part) for part in content]}
            messages.append(message)
        return msgspec.structs.replace(request, body=request.body | {"messages": messages})

    async def _extract_file_text(
        self, file: JsonObject, credential: Credential, attempt: Attempt
    ) -> str:
        """Upload a file, read its text and delete it there. Raises UpstreamError."""
        entry = await self._upload_file(file, credential, attempt)
        try:
            if entry.get("status") == "error":
                reason = clean_message(str(entry.get("status_details") or ""), credential.secret)
                raise Rejected(reason or "The file cannot be read.", param="messages")
            call = self.build_call("GET", f"files/{entry['id']}/content", credential)
            content = await self._fetch_body(call, credential, attempt)
            return content.decode("utf-8", "replace")
        finally:
            self._start_file_deletion(entry["id"], credential)

    async def _upload_file(
        self, file: JsonObject, credential: Credential, attempt: Attempt
    ) -> JsonObject:
        """Upload a file, and return the upstream's entry of it; its `id` is checked.

        Raises UpstreamError.
        """
        boundary = uuid4().hex
        form = build_upload_form(file.get("filename") or "file", decode_file_data(file), boundary)
        content_type = f"multipart/form-data; boundary={boundary}"
        fields = {"body": form, "content_type": content_type}
        call = self.build_call("POST", "files", credential, **fields)
        try:
            entry: JsonObject = read_json(await self._fetch_body(call, credential, attempt))
            file_id = entry["id"]
        except (ValueError, KeyError, TypeError):
            raise BadResponse("The upstream's answer to an upload is not readable.") from None
        if not isinstance(file_id, str) or not FILE_ID.fullmatch(file_id):
            raise BadResponse("The upstream's answer to an upload names no file.")
        return entry

    async def _fetch_body(self, call: ApiCall, credential: Credential, attempt: Attempt) -> bytes:
        """Return the body that one call answers, within the request's deadline.

        Raises UpstreamError.
        """
        seconds_left = attempt.deadline - time.perf_counter()
        call = replace(call, total_seconds=min(call.total_seconds, seconds_left))
        answer = await self.make_call(call, credential)
        return answer.body

    def _start_file_deletion(self, file_id: str, credential: Credential) -> None:
        """Have a task delete a file at the upstream, so that no caller waits for that."""
        task = asyncio.create_task(self._delete_file_quietly(file_id, credential))
        self._deletion_tasks.add(task)  # the event loop itself holds only weak references to tasks
        task.add_done_callback(self._deletion_tasks.discard)

    async def _delete_file_quietly(self, file_id: str, credential: Credential) -> None:
        """Delete a file at the upstream; an error is ignored, as the request is not at fault."""
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(FILE_DELETION_SECONDS):
                call = self.build_call("DELETE", f"files/{file_id}", credential)
                await self.make_call(call, credential)

    # --- checks -----------------------------------------------------------------------------------
    async def probe_credential(self, credential: Credential) -> None:
        """Check the key by its balance, which is free to ask for, else by the list of models.

        Raises UpstreamError; QuotaExhausted if the balance is used up.
        """
        try:
            body = await self.fetch_json("GET", "users/me/balance", credential)
        except ModelMissing:
            await self.list_model_ids(credential)
            return
        if is_balance_used_up(body):
            raise QuotaExhausted("The account's balance is used up.")


def is_balance_used_up(body: object) -> bool:
    """Return whether an answer about the balance names one that is used up."""
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        return False
    balance = body["data"].get("available_balance")
    return isinstance(balance, int | float) and balance <= 0


def offers_search(request: ChatRequest, model: UpstreamModel) -> bool:
    """Return whether this adapter offers the web search.

    A caller who offers it as a tool answers its calls itself.
    """
    return (
        request.endpoint == CHAT
        and model.search == "on"
        and not builtin_search.has_search_tool(request.body)
    )


def refuse_web_addresses(messages: list[JsonObject]) -> None:
    """Raise Rejected if an image or video is given as a web address."""
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(map(has_web_address, content)):
            raise Rejected(
                "This model takes images and videos as data URLs, not as web addresses.",
                param="messages",
            )


def has_web_address(part: JsonObject) -> bool:
    """Return whether a content part is an image or a video at a web address."""
    if part["type"] not in LINK_PART_TYPES:
        return False
    url = part.get(part["type"])
    if isinstance(url, dict):
        url = url.get("url")
    return isinstance(url, str) and url.lower().startswith(("http://", "https://"))


def replace_file_part(part: JsonObject) -> JsonObject:
    """Return a text part that names the file; its text stands before the message.

    Other parts are returned unchanged.
    """
    if part["type"] != "file":
        return part
    return {"type": "text", "text": f"[File: {part['file'].get('filename') or 'file'}]"}


def decode_file_data(file: JsonObject) -> bytes:
    """Decode the file's base64 data. Raises Rejected."""
    try:
        return b64decode(str(file["file_data"]).rpartition(",")[2], validate=True)
    except (KeyError, ValueError):
        raise Rejected("A file's data is not base64.", param="messages") from None


def build_upload_form(filename: str, data: bytes, boundary: str) -> bytes:
    """Return a form of RFC 7578 with the file and its purpose."""
    for character, code in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
        filename = filename.replace(character, code)
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfile-extract\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return b"%b%b\r\n--%b--\r\n" % (head.encode("utf-8", "replace"), data, boundary.encode())
