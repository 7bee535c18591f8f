"""The differences between upstreams that all speak OpenAI's chat dialect.

`providers/dialects/profiles.py` says which upstream has which; `rewrite_body.py` beside it applies
them to a request, `providers/filters/conform.py` to an answer.
"""

from typing import Literal

from msgspec import Struct

REASONING_FIELD = "reasoning_content"  # the name that most services, and this gateway, use
# the names of `providers/wire/tag_families.py`; empty: any of them
ThinkingTags = Literal[
    "",
    "think",
    "thinking",
    "thought",
    "reasoning",
    "kimi-vl",
    "mistral",
    "begin_of_thought",
    "minimax",
    "cohere",
    "harmony",
]
# families of tool calls with special tokens or tags, which nobody writes by accident
UNMISTAKABLE_FORMS = frozenset(
    """
    tags cohere deepseek granite harmony internlm kimi llama minimax mistral phi
    """.split()
)
# fields of a call that its upstream wants back with it: Gemini's signature of its thinking, and how
# other gateways pass it on
CALL_EXTRA_FIELDS = ("extra_content", "thought_signature", "provider_specific_fields")


class Dialect(Struct, frozen=True):
    """The fields and names that an upstream takes in the body of a chat completion.

    The defaults suit a service of which nothing is known.
    """

    # the name of the limit of an answer: `max_tokens` or `max_completion_tokens`; empty: the
    # caller's name is kept
    limit_field: str = ""
    # False: messages of the role `developer` are sent as `system`
    knows_developer: bool = False
    # fields of the body that it refuses, and that only tune or describe a request
    refused_fields: frozenset[str] = frozenset()
    takes_names: bool = True  # False: `name` of a message is left out
    takes_stream_options: bool = True
    # True: it knows the marks `cache_control` on parts, messages and tools, and takes signed
    # details of thinking where a request of Anthropic's Messages API has them
    takes_cache_control: bool = False
    native_tools: bool = True  # False: a prompt explains the tools
    # families of tool calls that its models write as text although it reads calls itself; empty:
    # its text is not looked through
    leaked_forms: frozenset[str] = UNMISTAKABLE_FORMS
    # True: it takes `thinking` ({"type": "enabled"} or "disabled") for such a request
    takes_thinking_switch: bool = False
    takes_rare_efforts: bool = False  # True: `reasoning_effort` may be xhigh or max
    takes_call_extras: bool = True  # False: CALL_EXTRA_FIELDS of calls do not go back
    # the field of a model's message in which its thinking goes back; empty: it must not come back;
    # None: the caller's fields are kept
    thinking_field: str | None = None
    # True: when tools are offered, each message of the model needs its thinking
    needs_thinking: bool = False
    thinking_format: str = ""  # choices.ThinkingFormat, where a model's row says nothing else
    thinking_tags: ThinkingTags = ""  # the tags around thinking in the text
