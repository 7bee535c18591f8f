"""Nobody sees what is another's: each address with another's id answers as with an unknown id."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from api.models import ApiKey
from api.portal.portal_urls import urlpatterns
from api.tests.portal.conftest import Content
from conversations.models import Conversation, StoredFile

# the parameter of an address, and an id that nobody has
UNKNOWN = {
    "key_id": 987_654_321,
    "request_id": f"req_{uuid4().hex}",
    "conversation_id": f"conv_{uuid4().hex}",
    "file_id": f"file-{uuid4().hex}",
}
NO_ROWS = {"token", "uidb64"}  # secrets, not ids of rows


def list_pages() -> list[tuple[str, str]]:
    """Return the name and parameter of each address that has the id of a row in it."""
    return [
        (str(pattern.name), str(parameter))
        for pattern in urlpatterns
        for parameter in pattern.pattern.converters
        if parameter not in NO_ROWS
    ]


def get_ids(content: Content) -> dict[str, Any]:
    return {
        "key_id": content.key.pk,
        "request_id": str(content.record),
        "conversation_id": content.conversation.pk,
        "file_id": content.file.pk,
    }


@pytest.mark.parametrize(("name", "parameter"), list_pages())
@pytest.mark.parametrize("method", ["get", "post"])
def test_another_users_rows_are_as_unknown_as_rows_that_do_not_exist(
    browser: Client,
    mallory: User,
    create_content: Callable[[User], Content],
    name: str,
    parameter: str,
    method: str,
) -> None:
    content = create_content(mallory)
    foreign_id, unknown_id = str(get_ids(content)[parameter]), str(UNKNOWN[parameter])
    send = getattr(browser, method)
    foreign = send(reverse(name, args=[foreign_id]), {"form_number": "1", "overlap_hours": "0"})
    unknown = send(reverse(name, args=[unknown_id]), {"form_number": "1", "overlap_hours": "0"})
    assert foreign.status_code == unknown.status_code
    assert foreign.status_code in (404, 405)
    assert mask(foreign, foreign_id) == mask(unknown, unknown_id)
    assert ApiKey.objects.filter_valid().filter(pk=content.key.pk).exists()
    assert Conversation.objects.filter(pk=content.conversation.pk, expires_at=None).exists()
    assert StoredFile.objects.filter(pk=content.file.pk).exists()


def mask(answer: Any, row_id: str) -> str:
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", answer.content.decode())
    return re.sub(rf"/{row_id}\b", "/ID", text)


def test_lists_exports_and_searches_have_ones_own_rows_only(
    browser: Client, alice: User, mallory: User, create_content: Callable[[User], Content]
) -> None:
    own, foreign = create_content(alice), create_content(mallory)
    addresses = [
        *(reverse(f"portal-{name}") for name in ("keys", "requests", "conversations", "files")),
        "/portal/conversations/?q=Graz",
        f"/portal/requests/?key={foreign.key.pk}",
    ]
    html = "".join(browser.get(address).content.decode() for address in addresses)
    assert own.key.prefix in html
    assert str(own.record) in html
    assert own.conversation.pk in html
    assert own.file.pk in html
    for text in (foreign.key.prefix, str(foreign.record), foreign.conversation.pk, foreign.file.pk):
        assert text not in html


@pytest.mark.parametrize("key_id", ["0", "99999999999999999999999999"])
def test_a_number_that_no_key_can_have_is_unknown(browser: Client, key_id: str) -> None:
    assert browser.get(f"/portal/keys/{key_id}/").status_code == 404


def test_every_page_of_the_portal_asks_a_visitor_to_log_in(
    alice: User, create_content: Callable[[User], Content]
) -> None:
    ids = get_ids(create_content(alice))
    public = {"portal-login", "portal-logout", "portal-join", "portal-sign-up"}
    public |= {"portal-password-reset", "password_reset_confirm"}
    for pattern in urlpatterns:
        if pattern.name in public:
            continue
        arguments = [ids[parameter] for parameter in pattern.pattern.converters]
        for method in ("get", "post"):
            answer = getattr(Client(), method)(reverse(pattern.name, args=arguments))
            if answer.status_code != 405:
                assert answer.headers["location"].startswith("/portal/login/"), pattern.name
    assert Conversation.objects.filter(user=alice).exists()
