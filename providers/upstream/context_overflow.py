"""Recognise the refusal of a request that is longer than the model's context window. No I/O.

OpenAI and Groq name it by a code, which callers go by: agents shorten what they send. Others say it
in a sentence. Sources: the error texts of vLLM, SGLang, llama.cpp, LM Studio, DeepSeek, Moonshot,
Mistral, Gemini, Anthropic, xAI, OpenRouter and Together.
"""

import re

CONTEXT_TOO_LONG = "context_length_exceeded"
CONTEXT_TYPES = frozenset(("exceed_context_size_error", "context_length_exceeded"))
CONTEXT_SENTENCES = re.compile(
    r"maximum (?:context|prompt) length (?:is|of) \d"
    r"|\d maximum context length"
    r"|exceed(?:s|ed)? (?:the )?(?:available |maximum |model'?s? )*(?:context|token limit)"
    r"|(?:longer|greater) than the (?:model'?s )?context (?:length|window)"
    r"|exceeds the maximum number of tokens allowed"
    r"|prompt is too long: \d"
    r"|tokens \+ .{0,40} must be <= \d",
    re.IGNORECASE | re.ASCII,
)


def is_context_overflow(kind: str, message: str) -> bool:
    """Return whether an error of this type and message is about too long a request."""
    return kind in CONTEXT_TYPES or CONTEXT_SENTENCES.search(message) is not None
