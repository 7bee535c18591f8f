"""The chat that a site keeps for a conversation does not outlast it there: deleted, expired, gone
on elsewhere.
"""

from datetime import timedelta

from django.utils import timezone

from conversations import tasks
from conversations.models import Conversation, UpstreamChatDeletion
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import send_reply
from tokens.models import UpstreamToken


async def send_released_turn(gateway, alice, conversation_id, text):
    """Send a turn, and wait until its token is free, so that the next one may have it too."""
    messages = [{"role": "user", "content": text}]
    answer = await gateway.request_chat(
        alice.key, messages=messages, conversation_id=conversation_id
    )
    assert answer.status == 200, answer
    await wait_until_true(lambda: not gateway.inner.pool.stream_claims.find_busy_tokens())


async def hold_conversation(gateway, alice, *texts):
    """Hold a conversation of so many turns; return its row."""
    opened = await gateway.send_request("POST", "/v1/conversations", alice.key, json={})
    for text in texts:
        await send_released_turn(gateway, alice, opened.json["id"], text)
    return await run_in_thread(Conversation.objects.get)


async def delete_upstream_chats():
    return await run_in_thread(tasks.say_farewells)


def list_deletions(upstream):
    return [
        request
        for request in upstream.requests
        if request.method == "DELETE" or "DeleteChat" in request.path
    ]


async def test_a_conversation_that_is_deleted_is_deleted_at_the_site(
    gateway, upstream, site, alice
):
    row = await hold_conversation(gateway, alice, "I am Ann.", "Who am I?")
    assert row.chat_id
    assert await delete_upstream_chats() == 0
    assert site.deleted == []
    answer = await gateway.send_request("DELETE", f"/v1/conversations/{row.pk}", alice.key)
    assert answer.json["deleted"] is True
    assert await delete_upstream_chats() == 1
    assert site.deleted == [row.chat_id]
    [goodbye] = list_deletions(upstream)
    assert goodbye.bearer_token == upstream.requests[0].bearer_token
    assert await delete_upstream_chats() == 0
    assert not await run_in_thread(UpstreamChatDeletion.objects.exists)


async def test_a_conversation_that_has_expired_is_deleted_at_the_site(gateway, site, alice):
    row = await hold_conversation(gateway, alice, "I am Ann.", "Who am I?")
    past = timezone.now() - timedelta(seconds=1)
    await run_in_thread(lambda: Conversation.objects.update(expires_at=past))
    await run_in_thread(tasks.expire_conversations)
    assert await delete_upstream_chats() == 1
    assert site.deleted == [row.chat_id]


async def test_one_that_goes_on_by_another_token_leaves_no_chat_behind(
    gateway, upstream, site, alice
):
    row = await hold_conversation(gateway, alice, "I am Ann.")
    later = timezone.now() + timedelta(hours=1)
    await run_in_thread(
        lambda: UpstreamToken.objects.filter(pk=row.token_id).update(rests_until=later)
    )
    await gateway.reload_rows()
    await send_released_turn(gateway, alice, row.pk, "Who am I?")
    moved = await rows.reload_row(row)
    assert moved.token_id != row.token_id
    assert await delete_upstream_chats() == 1
    assert site.deleted == [row.chat_id]
    [goodbye] = list_deletions(upstream)
    assert goodbye.bearer_token == upstream.requests[0].bearer_token
    await send_released_turn(gateway, alice, row.pk, "Sure?")
    stayed = await rows.reload_row(row)
    assert (stayed.token_id, stayed.chat_id) == (moved.token_id, moved.chat_id)
    assert await delete_upstream_chats() == 0


async def test_an_item_that_is_taken_out_leaves_no_chat_that_knows_it(gateway, site, alice):
    row = await hold_conversation(gateway, alice, "My secret is 42.", "Who am I?")
    path = f"/v1/conversations/{row.pk}/items"
    items = await gateway.send_request("GET", path, alice.key, params={"order": "asc"})
    answer = await gateway.send_request(
        "DELETE", f"{path}/{items.json['data'][0]['id']}", alice.key
    )
    assert answer.status == 200, answer
    assert await delete_upstream_chats() == 1
    assert site.deleted == [row.chat_id]


async def test_a_site_that_fails_is_asked_again(gateway, upstream, site, alice):
    row = await hold_conversation(gateway, alice, "I am Ann.")
    upstream.set_default_script(send_reply({"message": "No."}, 500))
    await gateway.send_request("DELETE", f"/v1/conversations/{row.pk}", alice.key)
    assert await delete_upstream_chats() == 0
    assert len(list_deletions(upstream)) == 1
    upstream.set_default_script(site)
    await run_in_thread(
        lambda: UpstreamChatDeletion.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    )
    assert await delete_upstream_chats() == 1
    assert site.deleted == [row.chat_id]


async def test_a_site_that_deleted_the_chat_itself_is_asked_once(gateway, upstream, site, alice):
    row = await hold_conversation(gateway, alice, "I am Ann.")
    upstream.set_default_script(send_reply({"code": "not_found", "message": "Gone."}, 404))
    await gateway.send_request("DELETE", f"/v1/conversations/{row.pk}", alice.key)
    await delete_upstream_chats()
    assert len(list_deletions(upstream)) == 1
    assert not await run_in_thread(UpstreamChatDeletion.objects.exists)
