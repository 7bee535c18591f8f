"""Compact a conversation: a model writes a summary that takes the place of its items.

The model reads the conversation as one text. So calls and outputs of tools need no tools in the
request, and the model does not go on with the conversation in place of summing it up.
"""

from collections.abc import Iterable, Iterator, Sequence

from conversations.messages.items import CALL_TYPES, COMPACTION_TYPES, OUTPUT_TYPES, ItemLike
from conversations.messages.items_to_chat import CUT_NOTICE
from providers.exceptions import BadResponse
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import SYSTEM_ROLES, join_texts

COMPACTION_PROMPT = (
    "You get the transcript of a conversation between a user and an assistant. Another assistant "
    "will go on with it. It will see the messages of the user and your summary, and nothing else "
    "of the transcript. Write that summary: what was asked, what was done and found out, what was "
    "decided and why, what the tools returned as far as it still matters, what remains to be done, "
    "and instructions that are still in force. Keep names, numbers, paths, identifiers, commands "
    "and code that are needed later exactly as they are. Use the language of the conversation. "
    "Answer with the summary alone, and do not continue the conversation."
)
INSTRUCTIONS_HEAD = "Instructions of the caller:"
TRANSCRIPT_HEAD = "Transcript:"


def make_compaction_messages(
    items: Iterable[ItemLike], instructions: Sequence[JsonObject] = ()
) -> list[JsonObject]:
    """Return the chat messages that ask for the summary of these items.

    `instructions` are chat messages that the request adds to the prompt. Returns an empty list when
    the items have no text.
    """
    transcript = "\n\n".join(render_items(items))
    if not transcript:
        return []
    texts = [join_texts(message.get("content")) for message in instructions]
    prompt_parts = [COMPACTION_PROMPT]
    if any(texts):
        prompt_parts += [INSTRUCTIONS_HEAD, *filter(None, texts)]
    return [
        {"role": "system", "content": "\n\n".join(prompt_parts)},
        {"role": "user", "content": f"{TRANSCRIPT_HEAD}\n\n{transcript}"},
    ]


def render_items(items: Iterable[ItemLike]) -> Iterator[str]:
    """Yield each item that has a text, under the name of who said it."""
    for item in items:
        speaker = find_speaker(item)
        if speaker and item.text:
            yield f"{speaker}:\n{item.text}"


def find_speaker(item: ItemLike) -> str:
    """Return who said an item, as the transcript names it; empty for an item that is left out."""
    if item.type in CALL_TYPES:
        return "Assistant calls a tool"
    if item.type in OUTPUT_TYPES:
        return "Output of the tool"
    if item.type in COMPACTION_TYPES:
        return "Summary of the conversation before"
    if item.type == "agent_message":
        return "Another agent"
    if item.type != "message":
        return ""
    if item.role in SYSTEM_ROLES:
        return "Instructions"
    return "Assistant" if item.role == "assistant" else "User"


def read_summary(answer: Chunk) -> str:
    """Return the summary from a whole answer; one that was cut off says so.

    Raises BadResponse when there is none.
    """
    choice = (answer.get("choices") or [{}])[0]
    text = join_texts((choice.get("message") or {}).get("content")).strip()
    if not text:
        raise BadResponse("The upstream's answer has no summary of the conversation.")
    return text + CUT_NOTICE if choice.get("finish_reason") == "length" else text
