"""Turns of a conversation whose chat a site keeps, and the questions that the site gets."""


def read_question(question):
    """Return chat, parent and text of one question to the site."""
    if "path" in question:
        return question["path"].split("/")[2], None, question["messages"][0]["content"]
    return (
        question.get("chat_id"),
        question["message"].get("parent_id"),
        question["message"]["blocks"][0]["text"]["content"],
    )


async def send_turn(gateway, alice, *texts, **more):
    """Send a turn of the conversation `c`, one message for each text; return the answer."""
    messages = [{"role": "user", "content": text} for text in texts]
    answer = await gateway.request_chat(alice.key, messages=messages, conversation_id="c", **more)
    assert answer.status == 200, answer
    return answer
