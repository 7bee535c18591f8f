"""The folder that is the queue without a broker: whole messages in their order, broken ones
aside.
"""

import threading
from queue import Empty

import pytest
from kombu import Connection

from proxysite.celery import app


@pytest.fixture
def channel(tmp_path):
    (tmp_path / "queue").mkdir()
    options = {
        "data_folder_in": str(tmp_path / "queue"),
        "data_folder_out": str(tmp_path / "queue"),
        "control_folder": str(tmp_path / "control"),
    }
    assert app
    with Connection("filesystem://", transport_options=options) as connection:
        yield connection.channel()


def test_messages_come_in_their_order_and_once(channel):
    for number in range(3):
        channel._put("celery", {"body": number})
    assert [channel._get("celery")["body"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Empty):
        channel._get("celery")


@pytest.mark.parametrize("half", ["", '{"body": "W1t', "[]", "null", "\ud800"], ids=repr)
def test_a_message_that_cannot_be_read_is_moved_aside_and_the_next_one_comes(
    channel, tmp_path, half
):
    data = half.encode("utf-8", "surrogatepass")
    (tmp_path / "queue" / "0_x.celery.msg").write_bytes(data)
    channel._put("celery", {"body": "good"})
    assert channel._get("celery") == {"body": "good"}
    assert (tmp_path / "queue" / "0_x.celery.msg.broken").read_bytes() == data
    with pytest.raises(Empty):
        channel._get("celery")


def test_what_is_half_written_is_no_message(channel, monkeypatch):
    def cut(draft, file):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", cut)
        with pytest.raises(Exception, match="Cannot write"):
            channel._put("celery", {"body": 1})
    with pytest.raises(Empty):
        channel._get("celery")


def test_many_writers_and_readers_lose_nothing_and_read_nothing_twice(channel):
    found, done = [], threading.Event()

    def read():
        while True:
            over = done.is_set()
            try:
                found.append(channel._get("celery")["body"])
            except Empty:
                if over:
                    return

    def write(start):
        for number in range(start, start + 100):
            channel._put("celery", {"body": number, "long": "x" * 50_000})

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(start,)) for start in (0, 100)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert sorted(found) == list(range(200))


def test_a_half_written_note_of_queues_is_written_anew(channel, tmp_path):
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "celery.exchange").write_text('[["cel')
    channel._queue_bind("celery", "celery", "", "celery")
    assert [one.queue for one in channel.get_table("celery")] == ["celery"]
