"""Every address of the resolver × every kind of person: nobody gets in who should not.

What is expected stands in `expectations.py`. An address without an expectation fails.
"""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from proxysite.people import roles
from proxysite.tests.safety.addresses import Address, Rows, create_rows, list_addresses
from proxysite.tests.safety.expectations import (
    ANYONE,
    API_KEY,
    BOOKKEEPING,
    LOGGED_IN,
    MISSING_ROWS,
    NETWORK_PAGES,
    NOBODY,
    NOTED_PAGES,
    PAGE_PARTS,
    PASSWORD_PAGES,
    PROBE,
    USERS,
)

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]
ROLES = {"V": "Viewer", "O": "Operator", "B": "Billing", "A": "Administrator"}
PEOPLE = ("anonymous", "user", "staff", *ROLES, "superuser")
HTML = {"accept": "text/html,*/*;q=0.8"}  # as browsers send it
INSIDE = "inside"
LOGIN = "to the login"
FORBIDDEN = "403"
NO_KEY = "401"
NOT_THERE = "404"
OTHER_METHOD = "405"  # says nothing about rights
LOGOUTS = ("admin/logout/", "portal/logout/")
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@pytest.fixture
def admin() -> User:
    return User.objects.create_superuser("admin")


@pytest.fixture
def addresses(admin: User) -> list[Address]:
    roles.update_roles()
    created: Rows = create_rows(admin)
    return [address for address in list_addresses(created) if address.may not in (API_KEY, PROBE)]


@pytest.fixture
def enter(admin: User) -> Callable[[str], Client]:
    """Return a function that returns a client of a kind of person."""

    def make_client(person: str) -> Client:
        client = Client(headers=HTML)
        if person == "superuser":
            client.force_login(admin)
        elif person != "anonymous":
            user = User.objects.create_user("somebody", is_staff=person != "user")
            if person in ROLES:
                user.groups.add(Group.objects.get(name=ROLES[person]))
            client.force_login(user)
        return client

    return make_client


def expect(address: Address, person: str, may: str) -> set[str]:
    """Return the outcomes that are right for a person at an address."""
    if may == ANYONE:
        return {INSIDE, NOT_THERE}
    if may == USERS:
        strangers = {LOGIN, NO_KEY, FORBIDDEN}
        return strangers if person == "anonymous" else {INSIDE, NOT_THERE, FORBIDDEN}
    if person in ("anonymous", "user") and address.pattern in PAGE_PARTS:
        return {FORBIDDEN}
    if person == "anonymous":
        return {NO_KEY} if address.is_json else {LOGIN}
    if person == "user":
        return {FORBIDDEN} if address.is_json else {LOGIN}
    if may == NOBODY:
        return {FORBIDDEN}
    if may == LOGGED_IN or person == "superuser" or (person in ROLES and person in may):
        return {INSIDE}
    return {FORBIDDEN}


def classify(answer: object) -> str:
    status = answer.status_code  # type: ignore[attr-defined]
    if status == 302:
        location = answer.headers["location"]  # type: ignore[attr-defined]
        return LOGIN if "/login/" in location else INSIDE
    names = {401: NO_KEY, 403: FORBIDDEN, 404: NOT_THERE, 405: OTHER_METHOD}
    assert status < 500 or status == 503, status
    return names.get(status, INSIDE)


@pytest.mark.parametrize("person", PEOPLE)
def test_nobody_opens_a_page_that_is_not_his_and_a_get_changes_nothing(
    addresses: list[Address], enter: Callable[[str], Client], person: str
) -> None:
    client = enter(person)
    wrong = []
    for address in addresses:
        with CaptureQueriesContext(connection) as queries:
            outcome = classify(client.get(address.path))
        if not address.path.startswith(NOTED_PAGES):
            wrong += [f"{address.path}: {sql[:120]}" for sql in find_writes(queries)]
        expected = expect(address, person, address.may)
        if INSIDE in expected and any(part in address.path for part in MISSING_ROWS):
            expected = {*expected, NOT_THERE}
        if address.is_post_only:
            # a GET of the logout leads strangers to the first page
            expected = {*(expected if address.may == ANYONE else expected - {INSIDE}), OTHER_METHOD}
        if outcome not in expected:
            wrong.append(f"{address.path}: {outcome}, expected {expected}")
    assert not wrong


@pytest.mark.parametrize("person", PEOPLE[:-1])
def test_nobody_sends_a_form_that_is_not_his(
    addresses: list[Address], enter: Callable[[str], Client], person: str
) -> None:
    client = enter(person)
    wrong = []
    for address in addresses:
        if address.pattern in LOGOUTS or address.pattern.endswith(NETWORK_PAGES):
            continue
        with undone():
            outcome = classify(send_form(client, address))
        expected = expect(address, person, address.may_post)
        if address.pattern in PASSWORD_PAGES:
            expected = {*expected, FORBIDDEN}
        # a body or a row may be missing once one is inside
        if outcome == NOT_THERE and INSIDE in expected:
            outcome = INSIDE
        if outcome not in {*expected, OTHER_METHOD}:
            wrong.append(f"{address.path}: {outcome}, expected {expected}")
    assert not wrong


def send_form(client: Client, address: Address) -> object:
    """Send an empty form, or an empty JSON object to the endpoints for programs."""
    if address.is_json:
        return client.post(address.path, {}, content_type="application/json")
    return client.post(address.path)


class undone:  # noqa: N801 - reads like a function
    """A block whose writes are undone."""

    def __enter__(self) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()

    def __exit__(self, *exc: object) -> None:
        if exc[0] is None:
            transaction.set_rollback(True)
        self.block.__exit__(None, None, None)


def find_writes(queries: CaptureQueriesContext) -> Iterator[str]:
    for query in queries:
        sql = str(query["sql"])
        if sql.upper().startswith(WRITES) and not any(table in sql for table in BOOKKEEPING):
            yield sql


def test_every_form_needs_its_csrf_token_and_says_so_on_a_page_of_our_own(
    addresses: list[Address], admin: User
) -> None:
    client = Client(enforce_csrf_checks=True, headers=HTML)
    client.force_login(admin)
    wrong = []
    for address in addresses:
        if not address.path.startswith(("/admin/", "/i18n/", "/portal/", "/playground/")):
            continue
        answer = client.post(address.path, content_type="application/json")
        is_ours = address.is_json or b"The form has expired" in answer.content
        if answer.status_code != 403 or not is_ours:
            wrong.append(f"{address.path}: {answer.status_code}")
    assert not wrong
