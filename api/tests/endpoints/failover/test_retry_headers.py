"""What an error tells the client about asking again: never the opposite of the truth.

`x-should-retry: false` takes the retries of OpenAI's packages away, so it stands only where the
same request would fail again, and never beside `Retry-After`.
"""

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing.upstream import CUT, send_pieces, send_refusal, send_reply
from tokens.models import UpstreamToken

RETRIES_HELP = {
    "408": (send_refusal(408), 504),
    "409": (send_refusal(409), 409),
    "425": (send_refusal(425), 503),
    "500": (send_refusal(500), 502),
    "503": (send_refusal(503), 502),
    "504": (send_refusal(504), 504),
    "reset": (send_pieces(CUT), 502),
    "no JSON": (send_reply(b"<html>"), 502),
}
RETRIES_ARE_IN_VAIN = {
    "400": (send_refusal(400), 400),
    "404": (send_refusal(404), 404),
    "422": (send_refusal(422, retry_after="5"), 422),
    "redirect": (send_reply(b"", 302, location="/x"), 502),
}


@pytest.mark.parametrize("fault", RETRIES_HELP)
async def test_a_failure_that_may_pass_forbids_no_retry(gateway, upstream, alice, token, fault):
    script, status = RETRIES_HELP[fault]
    upstream.set_default_script(script)
    answer = await gateway.request_chat(alice.key)
    assert answer.status == status
    assert "x-should-retry" not in answer.headers
    assert "retry-after" not in answer.headers  # the upstream named no time


@pytest.mark.parametrize("fault", RETRIES_ARE_IN_VAIN)
async def test_a_failure_that_lasts_forbids_retries(gateway, upstream, alice, token, fault):
    script, status = RETRIES_ARE_IN_VAIN[fault]
    upstream.set_default_script(script)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.headers["x-should-retry"]) == (status, "false")
    assert "retry-after" not in answer.headers


async def test_a_model_without_any_token_is_not_worth_a_retry(gateway, upstream, alice, token):
    await run_in_thread(UpstreamToken.objects.all().delete)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_upstream_token")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("seconds", ["7", "100", "86400"])
async def test_the_time_that_the_upstream_names_is_passed_on_up_to_what_clients_obey(
    gateway, upstream, alice, token, seconds
):
    upstream.set_default_script(send_refusal(503, retry_after=seconds))
    answer = await gateway.request_chat(alice.key)
    assert int(answer.headers["retry-after"]) == min(int(seconds), 120)
    assert int(answer.headers["retry-after-ms"]) == 1000 * min(int(seconds), 120)
    assert "x-should-retry" not in answer.headers
