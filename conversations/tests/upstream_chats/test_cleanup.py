"""Chats that no conversation needs are deleted at their upstream: once, later when that fails, and
not for ever.
"""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from conversations import tasks
from conversations.models import UpstreamChatDeletion
from conversations.models.chat_deletions import FIRST_PAUSE
from conversations.upstream_chats import cleanup
from providers.database.database_threads import run_in_thread
from providers.tests.kimi_site import Site, jwt
from proxysite.testing import rows
from proxysite.testing.upstream import Gate, send_refusal, send_reply
from tokens.models import State, UpstreamToken

SOON = timedelta(minutes=1)


@pytest.fixture
async def provider(upstream, transactional_db):
    return await run_in_thread(
        lambda: rows.create_provider(upstream.url, models=(), kind="kimi_rest")
    )


@pytest.fixture
async def june(provider):
    (token,) = await run_in_thread(rows.create_tokens, provider, jwt("june"))
    return token


@pytest.fixture
async def july(provider):
    (token,) = await run_in_thread(rows.create_tokens, provider, jwt("july"))
    return token


@pytest.fixture
async def site(upstream):
    kimi_site = Site("kimi_rest")
    upstream.set_default_script(kimi_site)
    return kimi_site


async def create_deletions(token_id, *chat_ids, **fields):
    def create():
        return [
            UpstreamChatDeletion.objects.create(token_id=token_id, chat_id=chat_id, **fields)
            for chat_id in chat_ids
        ]

    deletions = await run_in_thread(create)
    return deletions[0]


async def delete_chats():
    return await run_in_thread(tasks.say_farewells)


async def list_deletions():
    return await run_in_thread(
        lambda: list(UpstreamChatDeletion.objects.order_by("pk").values_list("chat_id", "tries"))
    )


async def make_all_due():
    """Let the time of the next try come."""
    await run_in_thread(lambda: UpstreamChatDeletion.objects.update(due_at=Now()))


async def update_token(token, **fields):
    await run_in_thread(lambda: UpstreamToken.objects.filter(pk=token.pk).update(**fields))


# --- deleted ------------------------------------------------------------------------------------
async def test_all_that_is_due_is_said_by_the_token_that_began(upstream, site, june, july):
    await create_deletions(june.pk, "one", "two", "three")
    await create_deletions(july.pk, "other")
    assert await delete_chats() == 4
    assert await list_deletions() == []
    deletions = {
        (request.path.rpartition("/")[2], request.bearer_token) for request in upstream.requests
    }
    assert deletions == {
        *((chat, jwt("june")) for chat in ("one", "two", "three")),
        ("other", jwt("july")),
    }
    assert sorted(site.deleted) == ["one", "other", "three", "two"]
    assert await delete_chats() == 0


async def test_what_is_not_due_waits(site, june):
    await create_deletions(june.pk, "one", due_at=timezone.now() + SOON)
    assert await delete_chats() == 0
    assert site.deleted == []
    await make_all_due()
    assert await delete_chats() == 1
    assert site.deleted == ["one"]


@pytest.mark.parametrize("answer", [send_refusal(404, code="chat.not_found"), send_refusal(404)])
async def test_a_chat_that_is_gone_already_is_done_with(upstream, june, answer):
    upstream.set_default_script(answer)
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert await list_deletions() == []


async def test_an_id_that_is_none_of_the_sites_is_done_with(upstream, june):
    await create_deletions(june.pk, "../user")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([], [])


async def test_a_run_takes_a_bounded_time_and_the_next_goes_on(site, june, monkeypatch):
    monkeypatch.setattr(cleanup, "RUN_SECONDS", 0)
    await create_deletions(june.pk, "one")
    assert await delete_chats() == 0
    monkeypatch.undo()
    assert await delete_chats() == 1


# --- by one worker --------------------------------------------------------------------------------
async def test_two_workers_at_once_ask_once(upstream, site, june):
    gate = Gate()

    async def slow(exchange):
        await gate.wait_until_open()
        await site(exchange)

    upstream.set_default_script(slow)
    await create_deletions(june.pk, "one")
    running = asyncio.ensure_future(run_in_thread(cleanup.delete_due_chats))
    await gate.wait_until_reached()
    assert await delete_chats() == 0
    gate.open()
    assert await running == 1
    assert site.deleted == ["one"]


async def test_who_read_the_row_too_early_does_not_get_it(june):
    row = await create_deletions(june.pk, "one")
    stale = await rows.reload_row(row)
    assert await run_in_thread(row.claim_try) is True
    assert await run_in_thread(stale.claim_try) is False
    assert (row.tries, stale.tries) == (1, 0)


async def test_a_worker_that_died_has_tried_in_vain(site, june):
    row = await create_deletions(june.pk, "one")
    await run_in_thread(row.claim_try)
    assert await delete_chats() == 0
    await make_all_due()
    assert await delete_chats() == 1
    assert site.deleted == ["one"]


# --- again later ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "answer",
    [send_reply({"message": "No."}, 500), send_refusal(429), send_refusal(401), send_refusal(400)],
)
async def test_a_failure_is_tried_again_later_each_time_after_twice_as_long(
    upstream, site, june, answer
):
    upstream.set_default_script(answer)
    row = await create_deletions(june.pk, "one")
    for tries in (1, 2, 3):
        assert await delete_chats() == 0
        row = await rows.reload_row(row)
        assert row.tries == tries
        pause = row.due_at - timezone.now()
        assert FIRST_PAUSE * 2 ** (tries - 1) - SOON < pause <= FIRST_PAUSE * 2 ** (tries - 1)
        assert await delete_chats() == 0
        assert len(upstream.requests) == tries
        await make_all_due()
    upstream.set_default_script(site)
    assert await delete_chats() == 1
    assert (site.deleted, await list_deletions()) == (["one"], [])


@pytest.mark.settings(FAREWELL_TRIES=10_000)
async def test_the_pauses_do_not_grow_for_ever(upstream, june):
    upstream.set_default_script(send_refusal(500))
    row = await create_deletions(june.pk, "one", tries=9_000)
    await delete_chats()
    assert (await rows.reload_row(row)).due_at < timezone.now() + timedelta(days=1)


async def test_a_token_whose_upstream_fails_is_left_alone_for_the_run(upstream, site, june, july):
    async def picky(exchange):
        await (send_refusal(429) if exchange.request.bearer_token == jwt("june") else site)(
            exchange
        )

    upstream.set_default_script(picky)
    await create_deletions(june.pk, "one", "two")
    await create_deletions(july.pk, "three", "four")
    assert await delete_chats() == 2
    assert site.deleted == ["three", "four"]
    assert await list_deletions() == [("one", 1), ("two", 0)]


@pytest.mark.settings(FAREWELL_TRIES=2)
async def test_after_so_many_tries_it_is_given_up_and_said_so(upstream, june, caplog):
    upstream.set_default_script(send_reply({"message": "No."}, 500))
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert await list_deletions() == [("one", 1)]
    await make_all_due()
    await delete_chats()
    assert await list_deletions() == []
    assert [
        record.getMessage() for record in caplog.records if record.name == cleanup.__name__
    ] == [f"a chat of token {june.pk} stays at its upstream: 2 tries failed"]


# --- without a token ------------------------------------------------------------------------------
async def test_nobody_asks_for_a_token_that_is_gone(upstream, june):
    await create_deletions(uuid4(), "one")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([], [])


async def test_nobody_asks_with_a_token_that_a_person_switched_off(upstream, june):
    await update_token(june, state=State.DISABLED, reason="by operator")
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([], [])


@pytest.mark.parametrize(
    "fields",
    [
        {"state": State.DISABLED, "reason": "auth: no"},
        {"expires_at": timezone.now() - SOON},
        {"sealed": ""},
    ],
    ids=["rejected", "ended", "not renewed yet"],
)
async def test_a_token_that_may_come_back_is_waited_for(upstream, site, june, fields):
    await update_token(june, **fields)
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([("one", 1)], [])
    await update_token(june, state=State.ACTIVE, reason="", expires_at=None, sealed=june.sealed)
    await make_all_due()
    assert await delete_chats() == 1
    assert site.deleted == ["one"]


async def test_a_secret_that_cannot_be_opened_is_a_failure(upstream, june):
    await update_token(june, sealed="v1.nothing")
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([("one", 1)], [])


async def test_a_provider_that_is_switched_off_is_not_asked(upstream, provider, june):
    await run_in_thread(lambda: type(provider).objects.update(enabled=False))
    await create_deletions(june.pk, "one")
    await delete_chats()
    assert (await list_deletions(), upstream.requests) == ([("one", 1)], [])


def test_the_schedule_names_the_task():
    from proxysite.celery import app

    assert tasks.say_farewells.name in {entry["task"] for entry in app.conf.beat_schedule.values()}
