"""Steps as a model says them."""

import json

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply

MATHS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 6 × 7?"}]


def send_step(title="Look", content="I look.", action="continue", **more):
    """Return a script that answers with a step."""
    said = json.dumps({"title": title, "content": content, "next_action": action})
    return send_reply(speech.chat_completion(said, usage=speech.token_usage(10, 5), **more))


def send_three_steps():
    """Return the scripts of three steps, the last of which is ready for the answer."""
    return (
        send_step("One", "First."),
        send_step("Two", "Second."),
        send_step("Three", 'A "quoted"\nline.', "final_answer"),
    )
