"""Calls that have an upstream count or list the tokens of a text, in its model's own vocabulary.

Servers of open models have them beside OpenAI's paths, below the address without `/v1`. Sources:
vLLM's documentation, "Tokenizer API"; SGLang's native API; llama.cpp server's README, "/tokenize".
"""

from typing import Any

import orjson
from msgspec import Struct

from providers.exceptions import BadResponse
from providers.network.api_client import ApiCall
from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest, Credential, UpstreamModel
from providers.upstream.upstream_client import UpstreamClient
from providers.wire.json_reader import read_json

VLLM_DIALECTS = ("vllm", "sglang")  # SGLang has the same calls
LLAMA_DIALECT = "llama.cpp"


class TokenList(Struct, frozen=True):
    """The tokens of a text: how many, and where the upstream says it their numbers and texts.

    `max_model_len` is the context window of the model in tokens.
    """

    count: int
    tokens: list[int] | None = None
    token_strs: list[str] | None = None
    max_model_len: int | None = None


class TokenCalls(UpstreamClient):
    """The calls as servers of open models have them; which server it is says the row's dialect."""

    async def tokenize(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential
    ) -> TokenList | None:
        """Return the tokens of a request's `prompt` or `messages`; None if it has no such call.

        `request.body` is that of vLLM's /tokenize. Raises UpstreamError.
        """
        dialect = self.upstream.dialect
        body = request.body
        if dialect in VLLM_DIALECTS:
            answer = await self._call_beside("tokenize", {**body, "model": model.name}, credential)
            return read_token_list(answer)
        if dialect == LLAMA_DIALECT and "prompt" in body:
            fields = {
                "content": body["prompt"],
                "add_special": body.get("add_special_tokens", True),
            }
            return read_token_list(await self._call_beside("tokenize", fields, credential))
        return None

    async def detokenize(
        self, tokens: list[int], model: UpstreamModel, credential: Credential
    ) -> str | None:
        """Return the text of tokens; None if the upstream has no such call.

        Raises UpstreamError.
        """
        dialect = self.upstream.dialect
        if dialect not in (*VLLM_DIALECTS, LLAMA_DIALECT):
            return None
        body = {"model": model.name, "tokens": tokens}
        answer = await self._call_beside("detokenize", body, credential)
        for name in ("prompt", "text", "content"):  # vLLM, SGLang, llama.cpp
            if isinstance(answer.get(name), str):
                return str(answer[name])
        raise BadResponse("The upstream's text is not readable.")

    async def _call_beside(self, path: str, body: JsonObject, credential: Credential) -> JsonObject:
        """Make a call to a path beside `/v1`, and return the object it answers."""
        root = self.upstream.base_url.rstrip("/").removesuffix("/v1")
        fields: dict[str, Any] = {
            "headers": self.build_headers(credential),
            "body": orjson.dumps(body),
            **self.call_limits,
        }
        answer = await self.make_call(ApiCall.from_path("POST", root, path, **fields), credential)
        try:
            value = read_json(answer.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise BadResponse("The upstream's answer is not a JSON object.")
        return value


def read_token_list(answer: JsonObject) -> TokenList:
    """Return the tokens of an answer. Raises BadResponse when it has none."""
    tokens = answer.get("tokens")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise BadResponse("The upstream's tokens are not readable.")
    texts = answer.get("token_strs")
    window = answer.get("max_model_len")
    return TokenList(
        len(tokens),
        tokens,
        [str(text) for text in texts] if isinstance(texts, list) else None,
        window if type(window) is int else None,
    )
