"""Messages bodies become chat bodies and, at an upstream of Anthropic, Messages bodies again.

A thousand made-up conversations lose no text, call, id, image, document, result or signature. Chat
results have no images: those of a result follow it with a label. (A caller of the Messages API gets
its own body passed on; this is the way of a body that was changed.)
"""

import random

import pytest

from api.tests.messages.request.made_bodies import convert
from providers.adapters.anthropic.request_body import build_messages_body
from providers.protocol.request import CHAT, ChatRequest, UpstreamModel

OPUS = UpstreamModel("claude-opus-4-8", files=True)
CONVERSATIONS = 1_000
WORDS = (
    "Bonjour",
    "你好",
    "a\nb",
    "😀 smile",
    '"quoted"',
    "{json}",
    "<tag>",
    "C:\\dir",
    "é",
    "x" * 300,
)
PICTURE = "iVBORw0KGgo="
PDF = "JVBERi0xLjQK"


class BodyMaker:
    """A generator of Messages bodies; equal seeds make equal ones."""

    def __init__(self, seed):
        self._roll = random.Random(seed)
        self._count = 0

    def make_text(self):
        self._count += 1
        words = self._roll.choices(WORDS, k=self._roll.randint(1, 4))
        return f"{' '.join(words)} {self._count}"

    def make_text_block(self):
        return {"type": "text", "text": self.make_text()}

    def make_image(self):
        if self._roll.random() < 0.5:
            source = {"type": "url", "url": f"https://example.com/{self._roll.random()}.png"}
        else:
            source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
        return {"type": "image", "source": source}

    def make_document(self):
        source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
        return {"type": "document", "source": source}

    def make_thinking(self):
        self._count += 1
        if self._roll.random() < 0.2:
            return {"type": "redacted_thinking", "data": f"secret-{self._count}"}
        return {
            "type": "thinking",
            "thinking": self.make_text(),
            "signature": f"c2lnbmF0dXJl{self._count}==",
        }

    def make_user(self, results=()):
        makers = [self.make_text_block, self.make_text_block, self.make_image, self.make_document]
        blocks = [self._roll.choice(makers)() for _ in range(self._roll.randint(1, 3))]
        return {"role": "user", "content": [*results, *blocks]}

    def make_answer(self, call_count):
        blocks = [self.make_thinking()] if self._roll.random() < 0.4 else []
        blocks.append(self.make_text_block())
        calls = [
            {
                "type": "tool_use",
                "id": f"toolu_{self._count}_{number}",
                "name": self._roll.choice(("look", "write")),
                "input": {"at": self.make_text(), "deep": {"list": [1, None, True, 2.5]}},
            }
            for number in range(call_count)
        ]
        return {"role": "assistant", "content": blocks + calls}, calls

    def make_result(self, call):
        content = self.make_text()
        if self._roll.random() < 0.4:
            content = [self.make_text_block(), self.make_image()]
        return {"type": "tool_result", "tool_use_id": call["id"], "content": content}

    def make_body(self):
        messages = [self.make_user()]
        for _ in range(self._roll.randint(0, 4)):
            answer, calls = self.make_answer(self._roll.choice((0, 0, 1, 2, 3)))
            messages += [answer, self.make_user([self.make_result(call) for call in calls])]
        schema = {"type": "object", "properties": {"at": {"type": "string"}}}
        return {
            "messages": messages,
            "system": [self.make_text_block() for _ in range(self._roll.randint(1, 2))],
            "tools": [
                {"name": name, "description": self.make_text(), "input_schema": schema}
                for name in ("look", "write")
            ],
            "stop_sequences": ["END"],
            "max_tokens": 4_096,
        }


def list_facts(body):
    """Yield everything in a body that must not be lost, in its order."""
    yield "system", "\n\n".join(block["text"] for block in body["system"])
    for tool in body["tools"]:
        yield "tool", tool["name"], tool["description"], str(tool["input_schema"])
    yield "limits", body["max_tokens"], tuple(body["stop_sequences"])
    for message in body["messages"]:
        content = message["content"]
        for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            yield from list_block_facts(message["role"], block)


def list_block_facts(role, block):
    kind = block["type"]
    if kind == "text":
        yield role, "text", block["text"]
    elif kind in ("image", "document"):
        yield role, kind, block["source"].get("url") or block["source"]["data"]
    elif kind == "tool_use":
        yield role, "call", block["id"], block["name"], str(block["input"])
    elif kind == "thinking":
        yield role, "thinking", block["thinking"], block["signature"]
    elif kind == "redacted_thinking":
        yield role, "redacted", block["data"]
    elif kind == "tool_result":
        yield role, "result of", block["tool_use_id"]
        content = block["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            yield from list_block_facts(role, part)


def drop_labels(facts):
    """Return the facts without the labels of images that follow their result."""
    return [fact for fact in facts if not str(fact[-1]).startswith("[Content of the result")]


def join_texts(facts):
    """Return the facts without images, with neighbouring texts as one, in their order."""
    joined = []
    for fact in facts:
        if fact[1] == "image":
            continue
        if fact[1] == "text" and joined and joined[-1][:2] == fact[:2]:
            joined[-1] = (*fact[:2], f"{joined[-1][2]}\n\n{fact[2]}")
        else:
            joined.append(fact)
    return joined


def list_images(facts):
    return sorted(fact[2] for fact in facts if fact[1] == "image")


def convert_back(chat_body):
    request = ChatRequest("0" * 32, CHAT, "m", chat_body)
    return build_messages_body(request, OPUS)


@pytest.mark.parametrize("tenth", range(10))
def test_a_body_comes_back_with_everything_in_its_order(tenth):
    for number in range(CONVERSATIONS // 10):
        body = BodyMaker(1_000 * tenth + number).make_body()
        back = convert_back(convert(**body))
        if isinstance(back["system"], str):
            back["system"] = [{"text": back["system"]}]
        found = drop_labels(list_facts(back))
        wanted = list(list_facts(body))
        assert join_texts(found) == join_texts(wanted), (tenth, number)
        assert list_images(found) == list_images(wanted), (tenth, number)
