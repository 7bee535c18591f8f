"""An upstream refuses a request that is longer than its context window, in its own words.

Callers go by the code `context_length_exceeded`: agents then shorten what they send.
"""

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply

REFUSALS = {
    "llama.cpp": {
        "code": 400,
        "message": "request (3009 tokens) exceeds the available context size (2048 tokens)",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 3009,
        "n_ctx": 2048,
    },
    "vLLM": {
        "message": "This model's maximum context length is 4096 tokens. However, you requested "
        "5001 tokens (1 in the messages, 5000 in the completion).",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "SGLang": {
        "message": "The input (9000 tokens) is longer than the model's context length (8192).",
        "type": "BadRequestError",
        "code": 400,
    },
    "Moonshot": {
        "message": "Invalid request: Your request exceeded model token limit: 8192",
        "type": "invalid_request_error",
    },
    "DeepSeek": {
        "message": "This model's maximum context length is 65536 tokens. However, you requested "
        "70000 tokens.",
        "type": "invalid_request_error",
        "code": "invalid_request_error",
    },
    "Mistral": {
        "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context "
        "length",
        "type": "invalid_request_error",
        "code": "3051",
    },
    "Gemini": {
        "message": "The input token count (2000000) exceeds the maximum number of tokens allowed "
        "(1048576).",
        "code": 400,
        "status": "INVALID_ARGUMENT",
    },
    "Anthropic": {
        "message": "prompt is too long: 208310 tokens > 200000 maximum",
        "type": "invalid_request_error",
    },
    "xAI": {
        "message": "This model's maximum prompt length is 131072 but the request contains 537812.",
        "type": "invalid_request_error",
    },
    "text-generation-inference": {
        "message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097.",
        "type": "invalid_request_error",
    },
}
OTHER_REFUSALS = (
    "max_tokens is too large: 500000. This model supports at most 16384 completion tokens.",
    "The field context is not known.",
    "String too long: the name exceeds 64 characters.",
    "The image is larger than the allowed size.",
)


@pytest.mark.parametrize("error", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_request_beyond_the_context_window_has_the_code_that_callers_go_by(
    gateway, upstream, alice, token, error, stream
):
    upstream.queue_scripts(send_reply({"error": error}, 400))
    answer = await gateway.request_chat(alice.key, stream=stream)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert answer.error["message"] == error["message"]


@pytest.mark.parametrize("message", OTHER_REFUSALS)
async def test_another_refusal_has_not(gateway, upstream, alice, token, message):
    refusal = speech.openai_error_body(message, "invalid_request_error", "string_above_max_length")
    upstream.queue_scripts(send_reply(refusal, 400))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (400, "string_above_max_length")


async def test_a_status_in_the_place_of_the_code_is_no_code(gateway, upstream, alice, token):
    """vLLM and llama.cpp send one."""
    error = {"message": "n must be 1", "type": "BadRequestError", "param": None, "code": 400}
    upstream.queue_scripts(send_reply({"error": error}, 400))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
