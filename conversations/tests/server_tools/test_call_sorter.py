"""Calls of the gateway's tools are taken out of the parts of a stream, all others are numbered."""

from conversations.server_tools.call_sorter import CallSorter


def part(index, name="", arguments="", **fields):
    return {"index": index, **fields, "function": {"name": name, "arguments": arguments}}


def sort(*batches):
    sorter = CallSorter(lambda name: name == "ours")
    shown = [part for batch in batches for part in sorter.sort_parts(batch)]
    shown += sorter.finish()
    return shown, sorter.has_caller_calls


def test_a_name_that_comes_in_pieces_is_awaited():
    assert sort([part(0, "ou", id="a")], [part(0, "rs")], [part(0, "", "{}")]) == ([], False)
    shown, has_calls = sort([part(0, "ou", id="a")], [part(0, "t")], [part(0, "", "{}")])
    assert "".join(piece["function"]["name"] for piece in shown) == "out"
    assert has_calls


def test_the_callers_calls_are_numbered_from_zero():
    shown, _ = sort(
        [part(0, "ours", "{}", id="a"), part(1, "mine", "{", id="b")], [part(1, "", "}")]
    )
    assert [(piece["index"], piece["function"]["arguments"]) for piece in shown] == [
        (0, "{"),
        (0, "}"),
    ]


def test_a_call_without_arguments_is_decided_by_the_next_one_or_the_end():
    shown, _ = sort([part(0, "mine", id="a")], [part(1, "ours", id="b")])
    assert [piece["id"] for piece in shown] == ["a"]
    shown, _ = sort([part(0, "mine", id="a")])
    assert [piece["id"] for piece in shown] == ["a"]


def test_custom_calls_are_the_callers():
    custom = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "ours", "input": "x"}}
    assert sort([custom])[0] == [custom]
