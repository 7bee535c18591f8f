"""The text of files, as Moonshot reads it: each is uploaded, read and deleted there.

Source: Moonshot's API documentation, "Files".
"""

import asyncio
import re
import time
from base64 import b64decode
from contextlib import suppress
from dataclasses import replace
from uuid import uuid4

from providers.exceptions import BadResponse, Rejected, UpstreamError
from providers.filters import file_parts
from providers.network.api_client import ApiCall
from providers.network.clients import Clients
from providers.protocol.attempt import Attempt
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, Credential
from providers.upstream.base_adapter import Upstream
from providers.upstream.error_mapping import clean_message
from providers.upstream.moonshot_dialect import MoonshotDialectAdapter
from providers.wire.json_reader import read_json

FILE_DELETION_SECONDS = 10.0
FILE_ID = re.compile(r"[0-9A-Za-z_-]{1,128}")


class FileTextAdapter(MoonshotDialectAdapter):
    """The part of Moonshot's adapter that replaces files by their text."""

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self._deletion_tasks: set[asyncio.Task[None]] = set()

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
        return request.with_body({**request.body, "messages": messages})

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
