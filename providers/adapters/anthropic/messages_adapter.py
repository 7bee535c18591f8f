"""The adapter of Anthropic's Messages API."""

from functools import partial
from typing import ClassVar
from urllib.parse import quote

import orjson

from providers.adapters.anthropic import request_body
from providers.adapters.anthropic.content_blocks import WHOLE_FILE_TYPES
from providers.adapters.anthropic.message_events import MessageEvents
from providers.adapters.anthropic.messages_errors import (
    MESSAGES_ERRORS,
    name_error_code,
    sharpen_error,
)
from providers.adapters.anthropic.model_families import find_family
from providers.adapters.anthropic.whole_message import convert_message
from providers.choices import Thinking
from providers.exceptions import BadResponse, Rejected, UpstreamError
from providers.network.response import HttpAnswer
from providers.network.target import Target
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import NATIVE, Batches, Chunk
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.request import (
    ANTHROPIC,
    CHAT,
    ChatRequest,
    Credential,
    OriginalBody,
    UpstreamModel,
)
from providers.protocol.usage_meter import parse_count
from providers.upstream.base_adapter import BaseAdapter
from providers.upstream.error_mapping import map_error_answer
from providers.upstream.stream_reader import DialectReader, StreamReader
from providers.upstream.upstream_client import USER_AGENT
from providers.upstream.whole_answer import read_answer_object
from providers.wire.json_reader import read_json
from providers.wire.sse import EventSplitter

API_VERSION = "2023-06-01"  # the newest that every model takes
OAUTH_PREFIX = "sk-ant-oat"  # of the tokens that accounts get when they sign in
OAUTH_BETA = "oauth-2025-04-20"
VERSION_HEADER = "anthropic-version"
BETA_HEADER = "anthropic-beta"
MOST_MODEL_PAGES = 20
MODELS_PER_PAGE = 1_000
# fields of a Messages body that also count its tokens
COUNTED_FIELDS = frozenset(
    """
    model messages system tools tool_choice thinking output_config cache_control
    context_management mcp_servers
    """.split()
)


class Adapter(BaseAdapter):
    """The adapter; a caller's own Messages body is sent as it came."""

    label = "Anthropic's Messages API"
    profile_name = "anthropic-messages"
    speaks_openai = False
    original_dialect = ANTHROPIC
    can_search = True
    capabilities: ClassVar[tuple[str, ...]] = ("chat", "tools", "vision", "files", "reasoning")
    whole_file_types: ClassVar[frozenset[str] | None] = WHOLE_FILE_TYPES
    ERRORS = MESSAGES_ERRORS

    # --- the request ------------------------------------------------------------------------------
    def get_target(self, path: str) -> Target:
        return super().get_target("messages" if path == CHAT else path)

    def find_problem(self, body: FrozenJsonObject, model: UpstreamModel) -> tuple[str, str] | None:
        return request_body.find_problem(body, find_family(model.name))

    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        """Return the Messages body: the caller's own, or one written from the chat body.

        Raises Rejected for what cannot be written.
        """
        if request.endpoint != CHAT:
            raise Rejected(f"{self.label} has no other interface than chat.", param="model")
        original = get_original(request)
        if original is not None:
            return {**original.body, "model": model.name, "stream": request.stream}
        payload = request_body.build_messages_body(request, model)
        if self.refused_fields.by_model:
            self.refused_fields.rewrite_body(model.name, payload)
        return payload

    def find_omitted_fields(self, request: ChatRequest, payload: JsonObject) -> list[str]:
        if get_original(request) is not None:
            return []
        return request_body.find_left_out(request.body, payload)

    def learn_refusal(self, request: ChatRequest, model: UpstreamModel, error: Rejected) -> str:
        if get_original(request) is not None:
            return ""  # the caller's own body is not changed
        return super().learn_refusal(request, model, error)

    def build_headers(self, credential: Credential) -> bytes:
        return self._write_headers(credential, {})

    def build_request_headers(self, request: ChatRequest, credential: Credential) -> bytes:
        """Return the header lines; those that the caller of a Messages body sent are among them."""
        original = get_original(request)
        return self._write_headers(credential, dict(original.headers) if original else {})

    def _write_headers(self, credential: Credential, callers: dict[str, str]) -> bytes:
        """Return the header lines: of the row, then the version, the betas and the credential.

        The caller's version goes before that of the row; the betas of both are joined.
        """
        row = {name.lower(): value for name, value in self.upstream.headers}
        betas = [row.pop(BETA_HEADER, ""), callers.get(BETA_HEADER, "")]
        version = callers.get(VERSION_HEADER) or row.get(VERSION_HEADER) or API_VERSION
        headers = {"user-agent": USER_AGENT, **row, VERSION_HEADER: version}
        secret = credential.secret
        if secret.startswith(OAUTH_PREFIX):
            headers["authorization"] = f"Bearer {secret}"
            betas.append(OAUTH_BETA)
        elif secret:
            headers["x-api-key"] = secret
        if names := list_betas(betas):
            headers[BETA_HEADER] = names
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if not (lines.isascii() and lines.replace("\r\n", "").isprintable()):
            raise BadResponse("The token has characters that no header can carry.")
        return lines.encode("ascii")

    # --- the answer -------------------------------------------------------------------------------
    def ask_upstream(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        has_filters = model.thinking != Thinking.REASONING or model.tools != "native"
        if request.original is not None and has_filters:
            # a filter changes the answer, and the upstream's own events would evade it
            request = request.with_body(request.body)
        return super().ask_upstream(request, model, credential, attempt)

    def make_stream_reader(self, request: ChatRequest, credential: Credential) -> StreamReader:
        raise_error = partial(self._raise_event_error, credential=credential)
        is_native = request.stream and get_original(request) is not None
        events = MessageEvents(request, raise_error, is_native=is_native)
        return DialectReader(events, EventSplitter(self.upstream.limits.event_bytes))

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        answer = read_answer_object(data)
        if answer.get("type") == "error" or answer.get("error"):
            self._raise_event_error(answer, credential)
        completion = convert_message(request, answer)
        if not request.stream and get_original(request) is not None:
            completion[NATIVE] = answer
        return completion

    # --- errors -----------------------------------------------------------------------------------
    def read_error_object(self, body: object) -> JsonObject | None:
        error = super().read_error_object(body)
        return error and name_error_code(error)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        return sharpen_error(super().read_refusal(answer, credential))

    def _raise_event_error(self, event: JsonObject, credential: Credential) -> None:
        """Raise the error that an event, or an answer with the status of a success, reports."""
        error = self.read_error_object(event)
        raise sharpen_error(
            map_error_answer(self.ERRORS, None, error, {}, secret=credential.secret)
        )

    # --- beside the path --------------------------------------------------------------------------
    async def list_model_entries(self, credential: Credential) -> list[JsonObject]:
        known: dict[str, JsonObject] = {}
        path = f"models?limit={MODELS_PER_PAGE}"
        for _ in range(MOST_MODEL_PAGES):
            page = await self.fetch_json("GET", path, credential)
            entries = {str(entry["id"]): entry for entry in read_model_entries(page)}
            is_known = entries.keys() <= known.keys()
            known |= entries
            if page.get("has_more") is not True or is_known:
                break
            last_id = quote(next(reversed(entries)), safe="")
            path = f"models?limit={MODELS_PER_PAGE}&after_id={last_id}"
        return [entry for entry in known.values() if is_served(entry)]

    async def count_prompt_tokens(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential
    ) -> int | None:
        payload = self.build_payload(request, model)
        counted = {name: value for name, value in payload.items() if name in COUNTED_FIELDS}
        call = self.build_call(
            "POST",
            "messages/count_tokens",
            credential,
            headers=self.build_request_headers(request, credential),
            body=orjson.dumps(counted),
        )
        answer = await self.make_call(call, credential)
        try:
            return parse_count(read_json(answer.body)["input_tokens"])
        except (ValueError, KeyError, TypeError):
            raise BadResponse("The upstream's count of tokens is not readable.") from None


def get_original(request: ChatRequest) -> OriginalBody | None:
    """Return the caller's Messages body, or None if it wrote a chat body."""
    original = request.original
    return original if original is not None and original.dialect == ANTHROPIC else None


def list_betas(values: list[str]) -> str:
    """Return the names of beta versions in several headers as one header, each once."""
    names = (name.strip() for value in values for name in value.split(","))
    return ",".join(dict.fromkeys(name for name in names if name))


def read_model_entries(page: object) -> list[JsonObject]:
    """Return the entries on one page of the list of models. Raises BadResponse."""
    entries = page.get("data") if isinstance(page, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and "id" in entry for entry in entries
    ):
        raise BadResponse("The upstream's list of models is not readable.")
    return entries


def is_served(entry: JsonObject) -> bool:
    """Return whether a listed model can still be called: retired ones stay in the list."""
    return entry.get("lifecycle") != "retired"
