"""Log in by OpenID Connect, and by a code of an authenticator app, at a real gateway.

The provider of OpenID Connect is a small one on this machine that speaks the public protocol.
"""

import base64
import hmac
import re
import struct
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from proxysite.testing.house import House
from proxysite.testing.oidc_provider import CLIENT_ID, CLIENT_SECRET, OidcProvider

pytest.importorskip("allauth", reason="requirements/sign-in.txt is not installed")
PASSWORD = "correct horse battery"
BROWSERS: list[httpx.Client] = []  # of the test that runs
OIDC_LOGIN = "/accounts/oidc/oidc/login/"
MAKE_USER = """
from django.contrib.auth.models import User
User.objects.create_user({name!r}, password={password!r}, is_staff=True, is_superuser=True)
"""


@pytest.fixture(autouse=True)
def _close_browsers() -> Iterator[None]:
    yield
    while BROWSERS:
        BROWSERS.pop().close()


@pytest.fixture
def oidc() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        yield provider
    assert not provider.faults


def start(house: House, **environment: str) -> House:
    house.environment |= environment
    house.start()
    return house


def start_with_oidc(house: House, provider: OidcProvider, **environment: str) -> House:
    settings = {
        "OIDC_ISSUER": provider.issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_NAME": "Our login",
    }
    return start(house, **settings, **environment)


def create_user(house: House, name: str) -> None:
    house.run_manage_command("shell", "-c", MAKE_USER.format(name=name, password=PASSWORD))


def open_browser(house: House) -> httpx.Client:
    browser = httpx.Client(
        base_url=house.url, trust_env=False, timeout=30, headers={"accept": "text/html"}
    )
    BROWSERS.append(browser)
    return browser


def follow(browser: httpx.Client, answer: httpx.Response) -> httpx.Response:
    """Follow redirects, also to the other site and back."""
    for _ in range(10):
        if not answer.has_redirect_location:
            return answer
        answer = browser.get(answer.headers["location"])
    raise AssertionError("too many redirects")


def log_in_by_oidc(house: House, next_page: str = "") -> tuple[httpx.Client, httpx.Response]:
    browser = open_browser(house)
    query = {"next": next_page} if next_page else {}
    return browser, follow(browser, browser.get(OIDC_LOGIN, params=query))


def read_token(answer: httpx.Response) -> str:
    (token, *_) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', answer.text)
    return str(token)


def post(browser: httpx.Client, path: str, **form: str) -> httpx.Response:
    token = read_token(browser.get(path))
    return browser.post(path, data={"csrfmiddlewaretoken": token, **form})


def log_in(house: House, name: str = "boss") -> tuple[httpx.Client, httpx.Response]:
    browser = open_browser(house)
    answer = post(browser, "/admin/login/", username=name, password=PASSWORD, next="/admin/")
    assert answer.status_code == 302
    return browser, follow(browser, answer)


def compute_code(secret: str, steps_ahead: int = 0) -> str:
    """Compute the code of RFC 6238 for now."""
    counter = int(time.time()) // 30 + steps_ahead
    key = base64.b32decode(secret.replace(" ", ""))
    digest = hmac.digest(key, struct.pack(">Q", counter), "sha1")
    place = digest[-1] & 15
    number = struct.unpack(">I", digest[place : place + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


# --- OpenID Connect -------------------------------------------------------------------------------
def test_a_new_person_gets_a_user_with_the_roles_of_his_groups_and_loses_them_again(
    own_house: House, oidc: OidcProvider
) -> None:
    roles = "ops=Operator,bosses=Administrator"
    start_with_oidc(own_house, oidc, OIDC_CREATE_USERS="true", OIDC_ROLES=roles)
    assert "Our login" in open_browser(own_house).get("/admin/login/").text
    oidc.person |= {"groups": ["ops", "others"], "email": "june@example.org"}
    browser, page = log_in_by_oidc(own_house, "/admin/api/apikey/")
    assert (page.status_code, urlsplit(str(page.url)).path) == (200, "/admin/api/apikey/")
    assert "june" in page.text
    names = """SELECT g.name FROM auth_user_groups ug JOIN auth_user u ON u.id = ug.user_id
        JOIN auth_group g ON g.id = ug.group_id WHERE u.username = 'june'"""
    assert own_house.run_sql(names) == [("Operator",)]
    assert own_house.run_sql(
        "SELECT count(*) FROM proxysite_auditentry WHERE actor_name = 'june' AND action = 'login'"
    ) == [(1,)]
    oidc.person["groups"] = []
    _, page = log_in_by_oidc(own_house)
    assert own_house.run_sql(names) == []
    assert browser.get("/admin/api/apikey/").status_code == 302, "no member of staff any more"


def test_strangers_namesakes_and_blocked_people_stay_out(
    own_house: House, oidc: OidcProvider
) -> None:
    start_with_oidc(own_house, oidc)
    create_user(own_house, "boss")
    _, page = log_in_by_oidc(own_house)
    assert page.status_code == 403
    assert "no account here yet" in page.text
    oidc.person = {"sub": "2", "preferred_username": "boss"}
    browser, page = log_in_by_oidc(own_house)
    assert page.status_code == 403
    assert "logs in another way" in page.text
    assert browser.get("/admin/").status_code == 302
    assert own_house.run_sql("SELECT count(*) FROM auth_user WHERE username = 'june'") == [(0,)]


def test_a_user_is_joined_by_name_where_that_is_switched_on_and_stays_out_when_blocked(
    own_house: House, oidc: OidcProvider
) -> None:
    start_with_oidc(own_house, oidc, OIDC_LINK_USERS="true")
    create_user(own_house, "boss")
    oidc.person = {"sub": "2", "preferred_username": "boss"}
    browser, page = log_in_by_oidc(own_house, "https://evil.example/")
    assert page.status_code == 200
    assert str(page.url).startswith(own_house.url), "a wished page of another site is not opened"
    assert browser.get("/admin/").status_code == 200
    own_house.run_sql("UPDATE auth_user SET is_active = '0' WHERE username = 'boss'")
    _, page = log_in_by_oidc(own_house)
    assert page.status_code == 403
    assert "blocked" in page.text


def test_an_answer_that_nobody_asked_for_is_refused(own_house: House, oidc: OidcProvider) -> None:
    start_with_oidc(own_house, oidc, OIDC_CREATE_USERS="true")
    browser = open_browser(own_house)
    answer = browser.get(f"{OIDC_LOGIN}callback/", params={"code": "x", "state": "forged"})
    assert answer.status_code == 403
    assert "did not work" in answer.text
    assert browser.get("/admin/").status_code == 302


# --- two factors ----------------------------------------------------------------------------------
def test_staff_must_set_up_an_app_and_then_enter_its_code(own_house: House) -> None:
    start(own_house, TWO_FACTOR="required")
    create_user(own_house, "boss")
    browser, page = log_in(own_house)
    assert urlsplit(str(page.url)).path == "/accounts/two-factor/"
    for path in ("/admin/", "/admin/tokens/stats", "/admin/auth/user/"):
        assert browser.get(path).status_code == 302, "no page before the step"
    (secret,) = re.findall(r'id="app-secret">([^<]+)<', page.text)
    wrong = post(browser, "/accounts/two-factor/", code="000000")
    assert "not right" in wrong.text
    answer = post(browser, "/accounts/two-factor/", code=compute_code(secret))
    assert "never again" in answer.text
    recovery_codes = re.search(r'id="recovery-codes"[^>]*>([^<]+)<', answer.text)
    assert recovery_codes is not None
    assert browser.get("/admin/").status_code == 200
    stored = own_house.run_sql("SELECT data FROM mfa_authenticator")
    assert secret.replace(" ", "") not in str(stored)

    browser, page = log_in(own_house)
    assert urlsplit(str(page.url)).path == "/accounts/second-step/"
    assert browser.get("/admin/").status_code == 302
    code = compute_code(secret, 1)
    answer = post(browser, "/accounts/second-step/", code=code, next="https://evil.example/")
    assert answer.headers["location"] == "/admin/"
    assert browser.get("/admin/").status_code == 200
    other, _ = log_in(own_house)
    again = post(other, "/accounts/second-step/", code=code)
    assert "used already" in again.text
    word = recovery_codes[1].split()[0]
    assert post(other, "/accounts/second-step/", code=word).status_code == 302
    third, _ = log_in(own_house)
    assert post(third, "/accounts/second-step/", code=word).status_code == 200, "works once"


def test_codes_cannot_be_guessed_and_a_lost_app_is_reset_by_command(own_house: House) -> None:
    start(own_house, TWO_FACTOR="optional", LOGIN_FAILURE_LIMIT="3")
    create_user(own_house, "boss")
    browser, page = log_in(own_house)
    assert urlsplit(str(page.url)).path == "/admin/", "optional: nobody is asked"
    page = browser.get("/accounts/two-factor/")
    (secret,) = re.findall(r'id="app-secret">([^<]+)<', page.text)
    post(browser, "/accounts/two-factor/", code=compute_code(secret))
    for _ in range(2):
        guesser, _page = log_in(own_house)
        for _ in range(2):
            answer = post(guesser, "/accounts/second-step/", code="123456")
    assert "Too many wrong codes" in answer.text, "another login does not begin anew"
    answer = post(guesser, "/accounts/second-step/", code=compute_code(secret, 1))
    assert "Too many wrong codes" in answer.text
    own_house.run_manage_command("reset_second_step", "boss")
    _, page = log_in(own_house)
    assert urlsplit(str(page.url)).path == "/admin/"


def test_without_the_settings_nothing_of_it_is_there(house: House) -> None:
    browser = open_browser(house)
    assert browser.get("/accounts/two-factor/").status_code == 404
    tables = house.run_manage_command(
        "shell",
        "-c",
        "import sys; from django.db import connection as c;"
        "print([t for t in c.introspection.table_names() if 'mfa' in t],"
        " [m for m in sys.modules if m.startswith('allauth')])",
    )
    assert "[] []" in tables
