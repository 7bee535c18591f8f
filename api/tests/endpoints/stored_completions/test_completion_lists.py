"""Lists of stored chat completions: pages, models, metadata."""

import pytest

from api.tests.endpoints.stored_completions.completion_rows import (
    PATH,
    completion_id,
    create_completion,
    list_completions,
)
from providers.database.database_threads import run_in_thread


async def test_the_list_has_the_oldest_first_and_pages(gateway, alice, mallory):
    def make():
        create_completion(mallory)
        return [completion_id(create_completion(alice)) for _ in range(5)]

    names = await run_in_thread(make)
    whole = await list_completions(gateway, alice.key)
    assert [one["id"] for one in whole["data"]] == names
    assert (whole["object"], whole["first_id"], whole["last_id"], whole["has_more"]) == (
        "list",
        names[0],
        names[-1],
        False,
    )
    page = await list_completions(gateway, alice.key, limit=2, after=names[1])
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (names[2:4], True)
    page = await list_completions(gateway, alice.key, limit=2, after=names[2], order="desc")
    assert ([one["id"] for one in page["data"]], page["has_more"]) == (names[1::-1], False)
    assert (
        whole["data"][0]
        == (await gateway.send_request("GET", f"{PATH}/{names[0]}", alice.key)).json
    )


@pytest.mark.parametrize("params", [{"limit": "-1"}, {"limit": "101"}, {"order": "up"}])
async def test_a_page_is_asked_for_in_a_known_way(gateway, alice, params):
    for path in (
        PATH,
        f"{PATH}/{completion_id(await run_in_thread(create_completion, alice))}/messages",
    ):
        answer = await gateway.send_request("GET", path, alice.key, params=params)
        assert (answer.status, answer.error["param"]) == (400, *params)


async def test_a_page_of_no_rows_is_empty_and_says_whether_there_are_any(gateway, alice):
    """OpenAI documents no least `limit` here, and its own suite sends 0."""
    empty = await list_completions(gateway, alice.key, limit=0)
    assert (empty["data"], empty["has_more"]) == ([], False)
    name = completion_id(await run_in_thread(create_completion, alice))
    page = await list_completions(gateway, alice.key, limit=0)
    assert (page["data"], page["first_id"], page["has_more"]) == ([], None, True)
    path = f"{PATH}/{name}/messages"
    answer = await gateway.send_request("GET", path, alice.key, params={"limit": "0"})
    assert (answer.status, answer.json["data"], answer.json["has_more"]) == (200, [], True)


async def test_the_list_can_be_of_one_model(gateway, alice):
    one, other = await run_in_thread(
        lambda: (create_completion(alice), create_completion(alice, model="other"))
    )
    for model, wanted in (("m", [one]), ("other", [other]), ("none", [])):
        found = await list_completions(gateway, alice.key, model=model)
        assert [entry["id"] for entry in found["data"]] == [completion_id(turn) for turn in wanted]


async def test_the_list_can_be_of_what_bears_some_metadata_whatever_its_name(
    gateway, alice, subtests
):
    def make(name):
        turn = create_completion(alice, metadata={name: "Graz", "x": "y"})
        others = ({name: "graz"}, {name + "x": "Graz"}, {"x": "Graz"}, {}, {name: "Graz Linz"})
        for metadata in others:
            create_completion(alice, metadata=metadata)
        return completion_id(turn)

    plain, odd = ["topic", "1", "0", "é", "🦜"], ["topic__contains", "a__b", "a.b", "[x]", "$", "%"]
    for name in (*plain, *odd, 'a"b', "a'b", "a\\b"):
        with subtests.test(name=name):
            wanted = await run_in_thread(make, name)
            found = await list_completions(gateway, alice.key, **{f"metadata[{name}]": "Graz"})
            assert [one["id"] for one in found["data"]] == [wanted]
            both = {f"metadata[{name}]": "Graz", "metadata[x]": "y"}
            assert [
                one["id"] for one in (await list_completions(gateway, alice.key, **both))["data"]
            ] == [wanted]
            both["metadata[x]"] = "n"
            assert (await list_completions(gateway, alice.key, **both))["data"] == []


async def test_metadata_that_no_database_could_have_is_refused(gateway, alice):
    for params in ({"metadata[a]": "\0"}, {"metadata[\0]": "a"}, {"model": "\0"}):
        answer = await gateway.send_request("GET", PATH, alice.key, params=params)
        assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
