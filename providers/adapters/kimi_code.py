"""Kimi Code, the official interface for subscribers (api.kimi.com/coding/v1).

It speaks OpenAI's dialect with `sk-kimi-…` keys. Thinking is switched by `thinking`, which a row's
options give: {"thinking": true}. `temperature` is refused there and so left out; without thinking
it must be 0.6. The service is meant for coding agents and may refuse others by their User-Agent.
This gateway sends its own name unless the provider's row names the agent that it serves; such a
refusal is the provider's fault, not the key's. Bodies beyond 2 MiB get a 400 from the service.
Sources: Kimi Code's documentation, and public reports of its error answers.
"""

from providers.exceptions import QuotaExhausted, RateLimited, ServerFailed, UpstreamError
from providers.network.response import HttpAnswer
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.upstream.moonshot_dialect import (
    TEMPERATURE_WITHOUT_THINKING,
    MoonshotDialectAdapter,
    is_thinking_disabled,
)

# all 403s have one error type: only the message tells a passing limit, a used-up plan and a bad
# key apart
FORBIDDEN_ERRORS: tuple[tuple[str, type[UpstreamError]], ...] = (
    ("concurren", RateLimited),
    ("billing cycle", QuotaExhausted),
    ("coding agent", ServerFailed),
)


class Adapter(MoonshotDialectAdapter):
    label = "Kimi Code, official"
    profile_name = "moonshot"

    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        body = super().build_payload(request, model)
        body.pop("temperature", None)
        if request.endpoint == CHAT and "thinking" in model.options:
            body.setdefault("thinking", model.options["thinking"])
        if is_thinking_disabled(body):
            body["temperature"] = TEMPERATURE_WITHOUT_THINKING
        return body

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error that an unsuccessful answer means, by the words of its message."""
        error = super().read_refusal(answer, credential)
        if answer.status != 403:
            return error
        message = error.message.lower()
        for words, error_class in FORBIDDEN_ERRORS:
            if words in message:
                return change_error_class(error, error_class)
        return error


def change_error_class(error: UpstreamError, error_class: type[UpstreamError]) -> UpstreamError:
    """Return the same refusal as an error of another class."""
    replacement = error_class(error.message, retry_after_seconds=error.retry_after_seconds)
    replacement.upstream_status = error.upstream_status
    return replacement
