"""Give the thinking of an answer the name that clients read, `reasoning_content`. No I/O.

So DeepSeek, Moonshot, Qwen, GLM, SGLang and llama.cpp name it. vLLM, OpenRouter, Ollama, Groq and
Together name it `reasoning`, which stays beside the other name for clients of theirs. Mistral sends
it as a part of the content.
"""

from providers.protocol.dialect import REASONING_FIELD
from providers.protocol.json_types import JsonObject


def unify_thinking(message: JsonObject) -> None:
    """Give a message or delta its thinking as `reasoning_content`, in place.

    Thinking among the parts of its content is taken out of them.
    """
    if isinstance(message.get("content"), list):
        split_content_parts(message)
    thinking = message.get("reasoning")
    if isinstance(thinking, str) and thinking and not message.get(REASONING_FIELD):
        message[REASONING_FIELD] = thinking


def split_content_parts(message: JsonObject) -> None:
    """Move the thinking among the parts of the content to its own field, in place."""
    parts = message["content"]
    thoughts = [
        read_thinking_part(part)
        for part in parts
        if isinstance(part, dict) and part.get("type") in ("thinking", "reasoning")
    ]
    if not thoughts:
        return
    message["content"] = [
        part
        for part in parts
        if not isinstance(part, dict) or part.get("type") not in ("thinking", "reasoning")
    ] or None
    message[REASONING_FIELD] = (message.get(REASONING_FIELD) or "") + "".join(thoughts)


def read_thinking_part(part: JsonObject) -> str:
    """Return the text of a part of thinking, which may be a list of parts itself."""
    inner = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
    if isinstance(inner, str):
        return inner
    if not isinstance(inner, list):
        return ""
    texts = [item.get("text") if isinstance(item, dict) else item for item in inner]
    return "".join(text for text in texts if isinstance(text, str))
