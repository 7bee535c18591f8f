"""The bodies that an OpenAI-compatible upstream sends, as plain objects.

Source: OpenAI's API reference, "Chat completions".
"""

from typing import Any

Json = dict[str, Any]
CREATED = 1_700_000_000
ID = "chatcmpl-upstream"
MODEL = "upstream-model"


def token_usage(prompt: int = 9, completion: int = 3, **details: Any) -> Json:
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
    message: Json | None = None,
    **fields: Any,
) -> Json:
    """Return one whole `chat.completion`; `fields` are added to it, None removes a field."""
    said = {"role": "assistant", "content": content, "refusal": None, **(message or {})}
    choices = [
        {"index": i, "message": dict(said), "logprobs": None, "finish_reason": finish}
        for i in range(n)
    ]
    whole = {
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": choices,
    }
    whole |= {"usage": token_usage()} | fields
    return {name: value for name, value in whole.items() if value is not None}


def chat_chunk(
    delta: Json | None = None, *, finish: str | None = None, index: int = 0, **fields: Any
) -> Json:
    """Return one `chat.completion.chunk` with one choice."""
    choice = {"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
    return head | {"choices": [choice]} | fields


def usage_chunk(counts: Json | None = None) -> Json:
    return chat_chunk() | {"choices": [], "usage": counts or token_usage()}


def content_chunks(*texts: str) -> list[Json]:
    """Return the chunks that say `texts`, the first with the role; none of them ends the answer."""
    return [
        chat_chunk({"content": text} if at else {"role": "assistant", "content": text})
        for at, text in enumerate(texts)
    ]


def streamed_completion(*texts: str, finish: str = "stop") -> list[Json]:
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
    **more: Any,
) -> Json:
    """Return an error object; `more` are further fields of it, such as `param`."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code} | more}


def model_list(*ids: str) -> Json:
    entries = [
        {"id": one, "object": "model", "created": CREATED, "owned_by": "someone"} for one in ids
    ]
    return {"object": "list", "data": entries}


def embedding_list(*vectors: Any) -> Json:
    data = [
        {"object": "embedding", "index": at, "embedding": vector}
        for at, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": MODEL,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def text_completion(text: str, finish: str | None = "stop", **fields: Any) -> Json:
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


def streamed_text_completion(text: str) -> list[Json]:
    """Return a whole streamed legacy completion, with usage at its end."""
    end = text_completion("", None) | {"choices": [], "usage": token_usage()}
    return [text_completion(text, None), text_completion("", "stop"), end]
