"""An upstream with a small window, a long Chinese document, and answers for strategies."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import json

from conversations.text.token_estimate import MESSAGE_TOKENS, estimate_tokens
from providers.protocol.json_types import JsonObject
from proxysite.testing import speech
from proxysite.testing.upstream import Exchange, Script, send_refusal, send_reply

WINDOW = 4_096
WORDS = "风雨山河灯塔渡口码头书信故人旧城春秋岁月船工茶馆石桥"
DOCUMENT = "".join(
    f"第{number}段：{WORDS[number % 20 :]}，在第{number * 7}页上写着编号{number * 13}的事情。"
    f"{WORDS[number % 13 :]}{WORDS[: number % 17]}。\n\n"
    for number in range(2_200)
)
QUESTION = {"role": "user", "content": "编号6500的事情写在第几页上？"}
MESSAGES = [{"role": "system", "content": DOCUMENT}, QUESTION]


def count_request_tokens(body: JsonObject) -> int:
    """Count what an upstream counts: the messages and the answer that is asked for."""
    messages = body["messages"]
    text_tokens = sum(estimate_tokens(message["content"]) for message in messages)
    return text_tokens + MESSAGE_TOKENS * len(messages) + (body.get("max_tokens") or 0)


def refuse_long(answer: Script, window: int = WINDOW) -> Script:
    """Return a script that refuses prompts beyond the window as OpenAI does, else answers."""
    refusal = send_refusal(400, "Too long for the window.", "context_length_exceeded")

    async def answer_or_refuse(exchange: Exchange) -> None:
        is_long = count_request_tokens(exchange.request.json) > window
        await (refusal if is_long else answer)(exchange)

    return answer_or_refuse


def reply(text: str) -> Script:
    return send_reply(speech.chat_completion(text, usage=speech.token_usage(10, 5)))


def reply_step(title: str, content: str, action: str = "continue") -> Script:
    return reply(json.dumps({"title": title, "content": content, "next_action": action}))
