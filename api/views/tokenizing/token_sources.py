"""Count the tokens of a text: here, by an upstream, or as an estimate.

The gateway counts where it has the model's vocabulary. Otherwise an upstream of the model is asked
that has such a call. Where there is none either, tokens are counted as the ledger counts them, and
the answer is marked as an estimate.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from api.accounting import token_count, tokenizer
from api.authentication import Caller
from api.relay.gateway import Gateway
from providers.catalogue import Candidate
from providers.exceptions import GatewayError, Rejected
from providers.fast_settings import settings
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential
from providers.upstream.token_calls import TokenList
from providers.vault import VaultError
from tokens.pool.caller_tokens import CallerPool

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
CandidateCredentials = AsyncGenerator[tuple[Candidate, Credential], None]


async def tokenize_here(body: JsonObject, candidates: Sequence[Candidate]) -> TokenList | None:
    """Return the tokens of a prompt whose model has the gateway's own vocabulary.

    None for other models, for chats (their template is the upstream's), and for texts of more than
    COUNT_EXACT_CHARS.
    """
    prompt = body.get("prompt")
    if prompt is None or not has_own_vocabulary(candidates):
        return None
    if len(prompt) > settings.COUNT_EXACT_CHARS:
        return None

    def encode(most_chars: int) -> TokenList:
        """Return the tokens; the length was checked above."""
        tokens = tokenizer.encode_text(prompt)
        texts = None
        if body.get("return_token_strs"):
            texts = [tokenizer.decode_tokens([token]) for token in tokens]
        return TokenList(len(tokens), tokens, texts)

    return await tokenizer.run_in_counting_thread(encode)


async def detokenize_here(tokens: list[int], candidates: Sequence[Candidate]) -> str | None:
    """Return the text of tokens of the gateway's own vocabulary; None for other models.

    Raises ValueError for a number that is no token.
    """
    if not has_own_vocabulary(candidates):
        return None
    return await tokenizer.run_in_counting_thread(
        lambda most_chars: tokenizer.decode_tokens(tokens)
    )


def has_own_vocabulary(candidates: Sequence[Candidate]) -> bool:
    """Return whether all candidates read text in the vocabulary that the gateway has."""
    return all(tokenizer.has_exact_vocabulary(candidate.model.name) for candidate in candidates)


async def tokenize_by_upstream(
    gateway: Gateway, caller: Caller, request: ChatRequest, candidates: Sequence[Candidate]
) -> TokenList | None:
    """Return the tokens that the first upstream counts; None when none can. Raises Rejected."""

    def tokenize(candidate: Candidate, credential: Credential) -> Awaitable[TokenList | None]:
        return candidate.adapter.tokenize(request, candidate.model, credential)

    return await ask_in_turn(iterate_credentials(gateway, caller, candidates), tokenize)


async def detokenize_by_upstream(
    gateway: Gateway, caller: Caller, tokens: list[int], candidates: Sequence[Candidate]
) -> str | None:
    """Return the text that the first upstream gives; None when none can. Raises Rejected."""

    def detokenize(candidate: Candidate, credential: Credential) -> Awaitable[str | None]:
        return candidate.adapter.detokenize(tokens, candidate.model, credential)

    return await ask_in_turn(iterate_credentials(gateway, caller, candidates), detokenize)


async def ask_in_turn(
    credentials: CandidateCredentials,
    ask: Callable[[Candidate, Credential], Awaitable[Result | None]],
) -> Result | None:
    """Return the first answer that is not None; None when no candidate gives one.

    An upstream that fails is passed over. Raises Rejected when one finds the request at fault.
    """
    async with aclosing(credentials):
        async for candidate, credential in credentials:
            answer = await call_unless_failed(candidate, ask(candidate, credential))
            if answer is not None:
                return answer
    return None


async def call_unless_failed(candidate: Candidate, call: Awaitable[Result | None]) -> Result | None:
    """Return the result of a call; None when it failed, which is logged. Raises Rejected."""
    try:
        return await call
    except Rejected:
        raise
    except GatewayError as error:
        log_failure(candidate, error)
        return None


async def iterate_credentials(
    gateway: Gateway, caller: Caller, candidates: Sequence[Candidate]
) -> CandidateCredentials:
    """Yield the candidates that can be asked now, each with a credential."""
    pool = CallerPool(gateway.pool, caller.tokens) if caller.tokens else gateway.pool
    for candidate in candidates:
        upstream = candidate.adapter.upstream
        if pool.find_breaker(upstream).is_open:
            continue
        entry = None
        if not pool.is_asked_anonymously(upstream):
            entry = pool.pick_token(upstream, (), model=candidate.model.name, wants_proven=True)
            if entry is None:
                continue
        try:
            yield candidate, pool.open_credential(entry)
        except VaultError as error:
            logger.warning("a token of %s cannot be opened: %s", upstream.name, error)


def log_failure(candidate: Candidate, error: GatewayError) -> None:
    """Log that an upstream did not count; the next one is asked, or the tokens are estimated."""
    logger.info("%s did not count tokens: %s", candidate.adapter.upstream.name, error.message)


async def estimate_tokens(body: JsonObject) -> TokenList:
    """Return how many tokens a text or a chat has in the gateway's own vocabulary."""
    count = await token_count.count_body(body)
    return TokenList(count.tokens)


def make_token_request(request_id: str, body: JsonObject) -> ChatRequest:
    """Return the request as adapters take it; only its id, model and body mean something."""
    fields = {name: value for name, value in body.items() if name != "model"}
    return ChatRequest(request_id.removeprefix("req_"), CHAT, body["model"], fields)
