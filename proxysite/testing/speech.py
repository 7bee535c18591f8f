"""The bodies that an OpenAI-compatible upstream sends, as plain objects.

Source: OpenAI's API reference, "Chat completions".
"""

from providers.protocol.json_types import JsonObject

CREATED = 1_700_000_000
ID = "chatcmpl-upstream"
MODEL = "upstream-model"


def token_usage(prompt: int = 9, completion: int = 3, **details: object) -> JsonObject:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        **details,
    }


def chat_completion(
    content: str | None = "Hello there!",
    *,
    n: int = 1,
    finish: str = "stop",
    message: JsonObject | None = None,
    **fields: object,
) -> JsonObject:
    """Return one whole `chat.completion`; `fields` are added to it, None removes a field."""
    whole_message = {"role": "assistant", "content": content, "refusal": None, **(message or {})}
    choices = [
        {"index": i, "message": dict(whole_message), "logprobs": None, "finish_reason": finish}
        for i in range(n)
    ]
    completion = {
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
    }
    completion |= {"usage": token_usage()} | fields
    return {name: value for name, value in completion.items() if value is not None}


def chat_chunk(
    delta: JsonObject | None = None, *, finish: str | None = None, index: int = 0, **fields: object
) -> JsonObject:
    """Return one `chat.completion.chunk` with one choice."""
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
    return head | {"choices": [choice]} | fields


def usage_chunk(counts: JsonObject | None = None) -> JsonObject:
    return chat_chunk() | {"choices": [], "usage": counts or token_usage()}


def content_chunks(*texts: str) -> list[JsonObject]:
    """Return the chunks of `texts`, the first with the role; none of them ends the answer."""
    first = chat_chunk({"role": "assistant", "content": texts[0]})
    return [first, *(chat_chunk({"content": text}) for text in texts[1:])]


def streamed_completion(*texts: str, finish: str = "stop") -> list[JsonObject]:
    """Return a whole streamed answer: words, the finish reason, usage. It has no `[DONE]`."""
    return [
        *content_chunks(*(texts or ("Hello", " there", "!"))),
        chat_chunk(finish=finish),
        usage_chunk(),
    ]


def openai_error_body(
    message: str = "Something is wrong.",
    kind: str = "server_error",
    code: str | None = None,
    **more: object,
) -> JsonObject:
    """Return an error object; `more` are further fields of it, such as `param`."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code} | more}


def model_list(*ids: str) -> JsonObject:
    entries = [
        {"id": model, "object": "model", "created": CREATED, "owned_by": "someone"} for model in ids
    ]
    return {"object": "list", "data": entries}


def embedding_list(*vectors: object) -> JsonObject:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def text_completion(text: str, finish: str | None = "stop", **fields: object) -> JsonObject:
    """Return a legacy completion, whole or one chunk of it."""
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return {
        "id": "cmpl-upstream",
        "object": "text_completion",
        "created": CREATED,
        "model": MODEL,
    } | {
        "choices": [choice],
        **fields,
    }


def streamed_text_completion(text: str) -> list[JsonObject]:
    """Return a whole streamed legacy completion, with usage at its end."""
    end = text_completion("", None) | {"choices": [], "usage": token_usage()}
    return [text_completion(text, None), text_completion("", "stop"), end]
