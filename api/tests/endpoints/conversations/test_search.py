"""/v1/conversations/search and export: one's own, found by words and taken away."""

import json

from conversations.models import ConversationKind
from conversations.stored import conversation_export
from conversations.tests.search.indexed_items import create_conversation
from providers.database.database_threads import run_in_thread

SEARCH = "/v1/conversations/search"
EXPORT = "/v1/conversations/export"


async def create_messages(person, *texts, **fields):
    """Create a conversation with these messages; return its row and its items."""

    def create():
        row = create_conversation(person.user, *texts, **{"title": "Birds", **fields})
        return row, list(row.items.order_by("pk"))

    return await run_in_thread(create)


async def ask(gateway, person, path, **params):
    return await gateway.send_request("GET", path, person.key, params=params)


async def test_a_hit_says_where_it_stands(gateway, alice):
    row, (item, _) = await create_messages(
        alice,
        "Where do swallows go in 冬天?",
        "South.",
        kind=ConversationKind.NAMED,
        name="my chat",
    )
    answer = await ask(gateway, alice, SEARCH, q="冬 swallow")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"].startswith("req_")
    (hit,) = answer.json["data"]
    assert hit == {
        "id": item.public_id,
        "object": "conversation.hit",
        "conversation_id": row.pk,
        "name": "my chat",
        "title": "Birds",
        "turn_id": item.turn_id.hex,
        "type": "message",
        "role": "user",
        "status": "completed",
        "created_at": int(item.created_at.timestamp()),
        "snippet": "Where do swallows go in 冬天?",
    }
    assert answer.json | {"data": None} == {
        "object": "list",
        "data": None,
        "first_id": item.public_id,
        "last_id": item.public_id,
        "has_more": False,
    }


async def test_pages_go_from_the_newest_to_the_oldest(gateway, alice):
    _, items = await create_messages(alice, *(f"bird {n}" for n in range(5)))
    ids, seen, before = [item.public_id for item in items][::-1], [], ""
    for _ in range(5):
        page = (await ask(gateway, alice, SEARCH, q="bird", limit=2, before=before)).json
        seen += [hit["id"] for hit in page["data"]]
        before = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == ids


async def test_nobody_finds_or_takes_what_is_anothers(gateway, alice, mallory):
    row, (item,) = await create_messages(alice, "a secret bird")
    assert (await ask(gateway, mallory, SEARCH, q="bird")).json["data"] == []
    assert (await ask(gateway, mallory, EXPORT)).body == b""
    for path, theirs, unknown in (
        ("/v1/conversations/{}/export", row.pk, f"conv_{'0' * 32}"),
        (SEARCH + "?q=bird&before={}", item.public_id, "msg_0"),
    ):
        answers = [
            await gateway.send_request("GET", path.format(name), mallory.key)
            for name in (theirs, unknown)
        ]
        assert [answer.status for answer in answers] == [404, 404]
        first, second = (json.dumps(answer.error) for answer in answers)
        assert first.replace(theirs, "") == second.replace(unknown, "")


async def test_what_cannot_be_searched_is_said(gateway, alice, subtests):
    cases = [
        ({}, "q"),
        ({"q": " "}, "q"),
        ({"q": "x" * 501}, "q"),
        ({"q": "x", "limit": "0"}, "limit"),
        ({"q": "x", "limit": "101"}, "limit"),
        ({"q": "x", "limit": "٣"}, "limit"),
    ]
    for params, param in cases:
        with subtests.test(params=params, param=param):
            answer = await ask(gateway, alice, SEARCH, **params)
            assert answer.status == 400
            assert answer.error["param"] == param


async def test_no_text_breaks_the_search(gateway, alice, subtests):
    cases = ["'", '"', "a & b |", "%", "\\", "🙂", "x" * 500, "b " * 250, "字" * 500]
    for query in cases:
        with subtests.test(query=query):
            await create_messages(alice, "a bird")
            answer = await ask(gateway, alice, SEARCH, q=query)
            assert answer.status == 200
            assert answer.json["data"] == []


async def test_a_place_that_cannot_be_is_not_found(gateway, alice):
    answer = await ask(gateway, alice, SEARCH, q="bird", before="a?b")
    assert (answer.status, answer.error["code"]) == (404, "item_not_found")


async def test_no_key_no_answer(gateway, alice):
    for path in (f"{SEARCH}?q=x", EXPORT, f"/v1/conversations/conv_{'0' * 32}/export"):
        assert (await gateway.send_request("GET", path, None)).status == 401
        assert (await gateway.send_request("POST", path, alice.key)).status == 405


async def test_all_of_ones_own_is_exported(gateway, alice, mallory):
    await create_messages(alice, "one", "two")
    thread, _ = await create_messages(alice, "three", kind=ConversationKind.THREAD)
    await create_messages(mallory, "four")
    answer = await gateway.send_request(
        "GET", EXPORT, alice.key, headers={"accept": "application/jsonl"}
    )
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["content-disposition"] == 'attachment; filename="conversations.jsonl"'
    assert answer.headers["cache-control"] == "no-store"
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert [line["object"] for line in lines].count("conversation") == 2
    assert sorted(
        line["item"]["content"][0]["text"] for line in lines if line["object"] == "item"
    ) == [
        "one",
        "three",
        "two",
    ]
    one = await ask(gateway, alice, f"/v1/conversations/{thread.pk}/export", format="markdown")
    assert one.headers["content-disposition"] == f'attachment; filename="{thread.pk}.md"'
    assert one.headers["content-type"] == "text/markdown; charset=utf-8"
    assert b"### user\n\nthree" in one.body
    assert b"one" not in one.body.replace(b"none", b"")


async def test_an_export_longer_than_one_piece_is_whole(gateway, alice, monkeypatch):
    monkeypatch.setattr(conversation_export, "PIECE_BYTES", 500)
    await create_messages(alice, *(f"bird {n}" for n in range(100)))
    answer = await ask(gateway, alice, EXPORT)
    assert answer.body.count(b"\n") == 102


async def test_an_unknown_format_is_refused(gateway, alice):
    answer = await ask(gateway, alice, EXPORT, format="xml")
    assert (answer.status, answer.error["param"]) == (400, "format")
