"""A token whose secret does not open costs one request a moment, and nobody after it."""

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from tokens.models import UpstreamToken
from tokens.querysets import UNREADABLE_REASON


async def test_the_next_token_answers_and_the_unreadable_one_is_marked_and_logged(
    gateway, three, upstream, alice, caplog
):
    broken = three[0]
    await run_in_thread(UpstreamToken.objects.filter(pk=broken.pk).update, sealed="v1.k9.AAAA")
    await gateway.reload_rows()
    for _ in range(4):
        assert (await gateway.request_chat(alice.key)).status == 200
    found = await gateway.read_token_row(broken)
    assert (found.state, found.reason, found.strikes) == ("disabled", UNREADABLE_REASON, 0)
    assert [
        text for text in caplog.messages if str(broken.pk) in text and "FIELD_KEYS" in text
    ] != []
    outcomes = [one["outcome"] for row in await rows.read_usage_records() for one in row.attempts]
    assert sorted(outcomes) == ["UnreadableToken", *["answered"] * 4]
    assert all("k9" not in request.bearer_token for request in upstream.requests)
    caplog.clear()
