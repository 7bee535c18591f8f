"""In which order tokens are used, and providers that need none."""

from api.tests.endpoints.chat_messages import list_bearer_tokens
from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal
from tokens.models import UpstreamToken


# --- rotation -------------------------------------------------------------------------------------
async def test_tokens_take_turns(gateway, upstream, alice, three):
    for _ in range(6):
        await gateway.request_chat(alice.key)
    assert list_bearer_tokens(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"] * 2


async def test_the_token_with_the_best_priority_is_used(gateway, upstream, alice, three, provider):
    def prefer():
        Provider.objects.update(rotation="priority")
        UpstreamToken.objects.update(priority=5)
        UpstreamToken.objects.filter(pk=three[1].pk).update(priority=1)

    await run_in_thread(prefer)
    await gateway.reload_rows()
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert list_bearer_tokens(upstream) == ["sk-up-2"] * 3


# --- providers without tokens ---------------------------------------------------------------------
async def test_a_provider_that_needs_no_token_is_asked_without_one(
    gateway, upstream, alice, token, provider
):
    def without():
        token.delete()
        Provider.objects.update(needs_token=False)

    await run_in_thread(without)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert "authorization" not in upstream.requests[0].headers
    assert (await rows.read_only_usage_record()).token_id is None
    upstream.set_default_script(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


async def test_a_provider_without_any_token_is_a_503(gateway, upstream, alice, token):
    await run_in_thread(token.delete)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_upstream_token")
    assert upstream.requests == []
    assert (await rows.read_only_usage_record()).status == "error"
