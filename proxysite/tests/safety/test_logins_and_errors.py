"""Logins tell strangers nothing and lead to no other site; errors are pages of our own."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

PASSWORD = "correct horse battery"
HTML = {"accept": "text/html"}
LOGINS = ("/admin/login/", "/portal/login/")
CHANGING = re.compile(
    r'name="csrfmiddlewaretoken" value="[^"]*"|value="(june|nobody)"|nonce="[^"]*"'
)


@pytest.fixture(autouse=True)
def _june(transactional_db: None) -> None:
    User.objects.create_user("june", password=PASSWORD, is_staff=True)


def fail(address: str, name: str, **more: str) -> tuple[int, str]:
    form = {"username": name, "password": "wrong", "next": "/admin/"} | more
    answer = Client(headers=HTML).post(address, form, REMOTE_ADDR=f"192.0.2.{len(name)}")
    return answer.status_code, CHANGING.sub("", answer.content.decode())


@pytest.mark.parametrize("address", LOGINS)
def test_a_known_and_an_unknown_name_get_the_same_answer(address: str) -> None:
    assert fail(address, "june") == fail(address, "nobody")


@pytest.mark.parametrize("address", LOGINS)
def test_a_blocked_user_gets_the_same_answer_as_a_wrong_password(address: str) -> None:
    User.objects.update(is_active=False)
    assert fail(address, "june", password=PASSWORD) == fail(address, "nobody")


@pytest.mark.parametrize("address", LOGINS)
def test_a_known_and_an_unknown_name_are_locked_alike(address: str) -> None:
    answers = [[fail(address, name) for _ in range(11)] for name in ("june", "nobody")]
    statuses = [[status for status, _html in tries] for tries in answers]
    assert statuses[0] == statuses[1]
    assert statuses[0][-1] == 429


@pytest.mark.parametrize("address", LOGINS)
@pytest.mark.parametrize(
    "wished",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "javascript:alert(1)",
        "http:///evil.example",
        " https://evil.example",
    ],
)
def test_no_login_leads_to_another_site(address: str, wished: str) -> None:
    form = {"username": "june", "password": PASSWORD, "next": wished}
    answer = Client().post(f"{address}?next={wished}", form)
    assert answer.status_code == 302
    location = answer.headers["location"]
    assert location.startswith("/")
    assert not location.startswith(("//", "/\\"))
    assert "evil" not in location


@pytest.mark.parametrize("language", ["https://evil.example/", "//evil.example/"])
def test_the_language_switch_leads_to_no_other_site(language: str) -> None:
    answer = Client().post("/i18n/setlang/", {"language": "en", "next": language})
    assert "evil" not in answer.headers["location"]


@pytest.mark.parametrize(
    "path", ["/admin/nothing-here/", "/portal/nothing/", "/playground/nothing/"]
)
def test_an_unknown_page_is_html_and_an_unknown_endpoint_json(path: str) -> None:
    client = Client(headers=HTML)
    client.force_login(User.objects.get())
    page = client.get(path)
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get("/v9/models").headers["content-type"] == "application/json"


def test_a_forbidden_page_is_of_our_own() -> None:
    client = Client(headers=HTML)
    client.force_login(User.objects.get())
    answer = client.get("/admin/auth/user/")
    assert answer.status_code == 403
    assert b"Not allowed" in answer.content


def test_a_broken_page_is_of_our_own_and_tells_no_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_with_secret(*args: object, **kwargs: object) -> None:
        raise ValueError("a secret detail")

    monkeypatch.setattr("proxysite.people.lock_page.list_locks", fail_with_secret)
    User.objects.update(is_superuser=True)
    client = Client(headers=HTML, raise_request_exception=False)
    client.force_login(User.objects.get())
    answer = client.get("/admin/locks/")
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert b"secret detail" not in answer.content
