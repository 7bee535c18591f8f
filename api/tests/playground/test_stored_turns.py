"""A stored turn as a request that the playground can send again."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models.functions import Now
from django.test import Client

from conversations.models import Conversation, Turn
from conversations.tests.answered_turns import create_conversation, create_item

pytestmark = pytest.mark.usefixtures("transactional_db")


def read_turn(user, turn):
    client = Client()
    client.force_login(user)
    answer = client.get(f"/playground/turns/{turn.pk}")
    return answer.status_code, answer.json()


def create_long_conversation(person):
    """Return the second turn of a conversation of which the first has instructions."""
    row = create_conversation(person.user, 3)
    first, second = row.turns.order_by("number")[:2]
    content = [{"type": "input_text", "text": "Be short."}]
    data = {"type": "message", "role": "system", "content": content}
    create_item(first, "Be short.", role="system", data=data)
    row.system_turn = first
    row.save()
    return second


def test_the_owner_gets_the_messages_up_to_the_turn_and_its_answer(alice):
    turn = create_long_conversation(alice)
    Turn.objects.filter(pk=turn.pk).update(settings={"temperature": 0.5, "user": "x"})
    status, report = read_turn(alice.user, turn)
    assert status == 200
    assert [(message["role"], message["content"]) for message in report["messages"]] == [
        ("system", "Be short."),
        ("user", "question 1"),
        ("assistant", "answer 1"),
        ("user", "question 2"),
    ]
    assert [message["content"] for message in report["answer"]] == ["answer 2"]
    assert (report["model"], report["options"]) == ("kimi-k2", {"temperature": 0.5})


def test_only_staff_that_may_read_content_get_the_turn_of_another_user(alice, mallory):
    turn = create_long_conversation(alice)
    assert read_turn(mallory.user, turn)[0] == 404
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_conversation"))
    assert read_turn(staff, turn)[0] == 404
    staff.user_permissions.add(Permission.objects.get(codename="read_content"))
    assert read_turn(User.objects.get(pk=staff.pk), turn)[0] == 200


def test_a_turn_whose_deletion_has_begun_is_gone(alice):
    turn = create_long_conversation(alice)
    Conversation.objects.filter(pk=turn.conversation_id).update(expires_at=Now())
    assert read_turn(alice.user, turn)[0] == 404


def test_files_of_another_user_are_named_and_left_out(alice, operator):
    row = create_conversation(alice.user)
    turn = row.turns.get()
    content = [{"type": "input_text", "text": "Read"}, {"type": "input_file", "file_id": "file-1"}]
    data = {"type": "message", "role": "user", "content": content}
    create_item(turn, "Read", role="user", data=data)
    messages = read_turn(operator.user, turn)[1]["messages"]
    assert messages[-1]["content"][1] == {"type": "text", "text": "[The file file-1 is left out.]"}
    messages = read_turn(alice.user, turn)[1]["messages"]
    assert messages[-1]["content"][1]["file"]["file_id"] == "file-1"
