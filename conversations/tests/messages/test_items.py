from conversations.messages.chat_to_items import entries_from_messages
from conversations.messages.items import Entry


def test_what_no_database_can_store_is_replaced():
    entry = Entry(
        "message",
        "user",
        {"content": [{"text": "a\0b\ud800"}], "x": {"\0": [1, None, True]}},
        "a\0b\ud800",
    )
    clean = entry.make_storable()
    assert (clean.text, clean.data["content"][0]["text"]) == (
        "a\ufffdb\ufffd\ufffd\ufffd",
        "a\ufffdb\ufffd\ufffd\ufffd",
    )
    assert clean.data["x"] == {"\ufffd": [1, None, True]}
    whole = entries_from_messages([{"role": "user", "content": "Grüß Gott 🙂"}])[0]
    assert whole.make_storable() is whole
