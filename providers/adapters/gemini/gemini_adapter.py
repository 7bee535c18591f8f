"""The adapter of Gemini's own interface: generate content, embeddings, models, counting tokens."""

from typing import ClassVar
from urllib.parse import quote

import orjson

from providers.adapters.gemini.gemini_answer import GeminiAnswer
from providers.adapters.gemini.gemini_embeddings import build_embed_body, convert_vectors
from providers.adapters.gemini.gemini_errors import map_error_event, map_gemini_error
from providers.adapters.gemini.gemini_request import (
    build_generate_body,
    find_unserved_fields,
    wants_search,
)
from providers.adapters.gemini.offered_functions import find_custom_names
from providers.exceptions import BadResponse, Rejected, UpstreamError
from providers.filters import conform
from providers.filters.answer_folder import fold_answer
from providers.network.response import HttpAnswer
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import (
    CHAT,
    EMBEDDINGS,
    ChatRequest,
    Credential,
    UpstreamModel,
)
from providers.upstream.base_adapter import BaseAdapter
from providers.upstream.rate_limits import read_limit
from providers.upstream.stream_reader import DialectReader, StreamReader
from providers.upstream.token_calls import TokenList
from providers.upstream.whole_answer import conform_whole_answer, has_whole_body
from providers.wire.json_reader import read_json
from providers.wire.sse import EventSplitter

MODELS_PER_PAGE = 1_000
MOST_PAGES = 20  # of the list of models
GENERATING_METHODS = frozenset(("generateContent", "embedContent"))


class Adapter(BaseAdapter):
    """The adapter of Gemini's own interface."""

    label = "Gemini, its own interface"
    profile_name: ClassVar[str] = "gemini-native"
    speaks_openai: ClassVar[bool] = False

    # --- the request ------------------------------------------------------------------------------
    def build_headers(self, credential: Credential) -> bytes:
        secret = credential.secret
        if not secret:
            return self.extra_headers
        if not (secret.isascii() and secret.isprintable()):
            raise BadResponse("The token has characters that no header can carry.")
        return b"x-goog-api-key: %b\r\n%b" % (secret.encode("ascii"), self.extra_headers)

    def learn_refusal(self, request: ChatRequest, model: UpstreamModel, error: Rejected) -> str:
        """Return that nothing is learnt: Gemini refuses values, not unknown names."""
        return ""

    def build_upstream_body(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        """Return the body that the upstream gets. Raises Rejected for what it cannot take."""
        body = self.build_payload(request, model)
        if request.endpoint == EMBEDDINGS:
            return build_embed_body(body, find_model_path(model.name))
        return build_generate_body(request, body, model)

    # --- the answer -------------------------------------------------------------------------------
    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        if request.endpoint not in (CHAT, EMBEDDINGS):
            raise Rejected(f"{self.label} has no legacy completions.", param="model")
        body = orjson.dumps(self.build_upstream_body(request, model))
        if request.endpoint == CHAT:
            attempt.omitted_fields = find_unserved_fields(request.body, model)
        attempt.patience_seconds = self._find_patience(attempt, request.stream)
        target = self.get_target(f"{find_model_path(model.name)}:{choose_method(request)}")
        headers = self.build_headers(credential)
        with await self.clients.relay.send_request(
            "POST", target, headers, body, attempt
        ) as response:
            attempt.status = response.status
            attempt.limit = read_limit(response.headers)
            await self.require_answer_head(response, credential)
            if not request.stream:
                yield [await self._read_whole_answer(request, response, credential)]
            elif has_whole_body(response):
                answer = await self._read_whole_answer(request, response, credential)
                yield conform.convert_to_chunks(answer)
            else:
                searches = wants_search(request, request.body, model)
                reader = self._make_reader(request, credential, searches=searches)
                stream = self.open_stream(response, reader)
                while batch := await stream.read_batch():
                    yield batch
                reader.require_finish()

    def make_stream_reader(self, request: ChatRequest, credential: Credential) -> StreamReader:
        return self._make_reader(request, credential, searches=True)

    def _make_reader(
        self, request: ChatRequest, credential: Credential, *, searches: bool
    ) -> StreamReader:
        """Return a reader of a stream, which has citations if it `searches`."""
        splitter = EventSplitter(self.upstream.limits.event_bytes)
        choices = request.body.get("n") or 1
        answer = make_answer(request, credential, searches=searches)
        return DialectReader(answer, splitter, choices=choices)

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        try:
            answer = read_json(data)
        except ValueError:
            raise BadResponse("The upstream's answer is not JSON.") from None
        events = answer if isinstance(answer, list) else [answer]
        if not events or not all(isinstance(event, dict) for event in events):
            raise BadResponse("The upstream's answer is not a JSON object.")
        if request.endpoint == EMBEDDINGS:
            if answer.get("error"):
                raise map_error_event(answer, credential.secret)
            return conform_whole_answer(request, convert_vectors(request, answer))
        reader = make_answer(request, credential, searches=True)
        chunks = [chunk for event in events for chunk in reader.read_object(event)]
        if not any(chunk["choices"] for chunk in chunks):
            raise BadResponse("The upstream's answer has no content.")
        return fold_answer(chunks, self.upstream.limits.answer_bytes)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        try:
            body = read_json(answer.body)
        except ValueError:
            body = None
        return map_gemini_error(answer.status, body, answer.headers, credential.secret)

    # --- beside the path --------------------------------------------------------------------------
    async def list_model_entries(self, credential: Credential) -> list[JsonObject]:
        """Return all listed models that answer chats or embed. Raises UpstreamError."""
        entries: list[JsonObject] = []
        page_token = ""
        for _ in range(MOST_PAGES):
            path = f"models?pageSize={MODELS_PER_PAGE}"
            if page_token:
                path += f"&pageToken={quote(page_token, safe='')}"
            page = await self.fetch_json("GET", path, credential)
            if not isinstance(page, dict) or not isinstance(page.get("models", []), list):
                raise BadResponse("The upstream's list of models is not readable.")
            entries += [entry for entry in page.get("models", []) if isinstance(entry, dict)]
            page_token = str(page.get("nextPageToken") or "")
            if not page_token:
                break
        return [
            entry | {"id": str(entry.get("name")).removeprefix("models/")}
            for entry in entries
            if can_generate(entry)
        ]

    async def tokenize(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential
    ) -> TokenList | None:
        """Return how many tokens a prompt has; the upstream names no tokens.

        Counting is free. Source: Gemini's API reference, "models.countTokens".
        """
        body = request.body
        if "messages" not in body:
            body = {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
        path = find_model_path(model.name)
        generate_body = self.build_upstream_body(request.with_body(body), model) | {"model": path}
        answer = await self.fetch_json(
            "POST", f"{path}:countTokens", credential, {"generateContentRequest": generate_body}
        )
        total = answer.get("totalTokens") if isinstance(answer, dict) else None
        if type(total) is not int:
            raise BadResponse("The upstream's count of tokens is not readable.")
        return TokenList(total)


def make_answer(request: ChatRequest, credential: Credential, *, searches: bool) -> GeminiAnswer:
    """Return the reader of one answer, which may have citations if it `searches`."""
    custom_names = find_custom_names(request.body)
    return GeminiAnswer(request, credential.secret, custom_names=custom_names, searches=searches)


def find_model_path(name: str) -> str:
    """Return the path of a model; tuned models have a collection of their own."""
    if "/" in name:
        return name
    return f"models/{name}"


def choose_method(request: ChatRequest) -> str:
    """Return the method of the API that answers a request."""
    if request.endpoint == EMBEDDINGS:
        return "batchEmbedContents"
    return "streamGenerateContent?alt=sse" if request.stream else "generateContent"


def can_generate(entry: JsonObject) -> bool:
    """Return whether a listed model answers chats or embeds; others predict images or videos."""
    methods = entry.get("supportedGenerationMethods")
    return not isinstance(methods, list) or not GENERATING_METHODS.isdisjoint(methods)
