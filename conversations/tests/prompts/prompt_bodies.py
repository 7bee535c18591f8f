"""A long system message of 900 numbered notes, a question about one of them, and chat bodies."""

from conversations.prompts.fit_prompt import FittedPrompt, PromptFitter
from conversations.prompts.long_texts import extract_question
from conversations.prompts.text_shortener import FitHelpers, TextShortener
from conversations.text.token_estimate import estimate_tokens
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.message_text import list_prompt_texts

HEAD = "You are the archivist. Answer only from these notes.\n\n"
NOTES = HEAD + "".join(
    (
        f"Note {n}: the {('ferry', 'bridge', 'tower', 'market')[n % 4]} of Oldham has number "
        f"{n * 13}.\n\n"
    )
    for n in range(900)
)
ASKED = {"role": "user", "content": "Which note has number 6500?"}  # note 500
WINDOW = 4_000


def body(*messages, **more):
    return {"model": "m", "messages": list(messages), **more}


def system(text=NOTES, role="system"):
    return {"role": role, "content": text}


def prompt(chat_body):
    """The estimated tokens of a body."""
    return sum(map(estimate_tokens, list_prompt_texts(chat_body)))


async def shorten_prompt(
    body: FrozenJsonObject,
    user_id: int | None,
    window_tokens: int,
    options: JsonObject,
    helpers: FitHelpers | None = None,
) -> FittedPrompt | None:
    """Return the body as a model with this window and these options gets it, None when it fits."""
    question = extract_question(body["messages"])
    shortener = TextShortener(user_id, options, helpers or FitHelpers(), question)
    return await PromptFitter(body, window_tokens, shortener).shorten_body(body)
