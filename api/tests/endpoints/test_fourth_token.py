"""Three tokens are limited, and the fourth answers, or the error says what happened."""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_reply


async def test_the_fourth_token_is_asked_whatever_the_limit_of_provider_failures(
    provider, gateway, upstream, alice, settings
):
    settings.MAX_ATTEMPTS = 3
    await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3", "sk-up-4")
    await gateway.reload_rows()
    upstream.queue_scripts(
        *[send_refusal(429, retry_after="6")] * 3, send_reply(speech.chat_completion("Hello!"))
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    assert len({one.bearer_token for one in upstream.requests}) == 4


@pytest.mark.settings(MAX_TOKENS_TRIED=3)
async def test_a_bounded_request_says_that_another_token_is_left(
    provider, gateway, upstream, alice
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2", "sk-up-3", "sk-up-4")
    await gateway.reload_rows()
    upstream.set_default_script(send_refusal(429, retry_after="6"))
    answer = await gateway.request_chat(alice.key)
    assert answer.status in (429, 503)
    assert answer.error["message"].startswith("3 of 4 upstream tokens were tried")
    assert int(answer.headers["retry-after"]) == 1
