from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import RequestFactory
from rest_framework.request import Request

from api.authentication import (
    KeyAuthentication,
    StaffAuthentication,
)
from api.tests.authentication.given_keys import create_key_headers, headers
from providers.exceptions import InvalidKey


def request(meta: dict[str, Any]) -> Request:
    return Request(RequestFactory().get("/v1/models", **meta))


@pytest.mark.django_db
def test_a_drf_request_with_a_key_has_its_user_and_caller() -> None:
    row, meta = create_key_headers()
    for given in (meta, headers(None, meta["HTTP_AUTHORIZATION"].partition(" ")[2])):
        user, caller = KeyAuthentication().authenticate(request(given))
        assert (user.pk, caller.key_id) == (row.user_id, row.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "given",
    [headers(), headers("Basic x"), headers("Bearer sk-ps-unknown"), headers(None, "é")],
    ids=str,
)
def test_a_drf_request_without_a_valid_key_is_a_401(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidKey):
        KeyAuthentication().authenticate(request(given))
    assert KeyAuthentication().authenticate_header(request(given)) == "Bearer"


@pytest.mark.parametrize(
    ("staff", "active", "known"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_only_active_staff_is_known_by_its_session(staff: bool, active: bool, known: bool) -> None:
    asked = request({})
    asked._request.user = get_user_model()(username="operator", is_staff=staff, is_active=active)
    found = StaffAuthentication().authenticate(asked)
    assert (found is not None) == known


def test_without_a_session_staff_authentication_leaves_it_to_the_next() -> None:
    assert StaffAuthentication().authenticate(request({})) is None
