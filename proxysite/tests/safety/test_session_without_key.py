"""A session of the admin opens no endpoint of the API: those need an API key."""

from typing import Any

import httpx
from django.contrib.auth.models import User
from django.test import Client

from providers.database.database_threads import run_in_thread
from proxysite.testing.rows import Person
from proxysite.tests.safety.addresses import Address, list_patterns, make_address
from proxysite.tests.safety.expectations import API_KEY, PAGES


def log_in_operator() -> str:
    client = Client()
    client.force_login(User.objects.get(username="operator"))
    return client.cookies["sessionid"].value


def list_endpoints() -> list[Address]:
    addresses = []
    for pattern, name in list_patterns():
        if pattern.startswith(("v1/", "^v1/")) or PAGES.get(pattern) == API_KEY:
            addresses.append(make_address(pattern, name, {}))
    return addresses


async def test_a_session_is_no_api_key(gateway: Any, operator: Person) -> None:
    session = await run_in_thread(log_in_operator)
    endpoints = list_endpoints()
    assert len(endpoints) > 30
    assert all(address.may == API_KEY for address in endpoints)
    wrong = []
    async with httpx.AsyncClient(
        base_url=gateway.url, cookies={"sessionid": session}, trust_env=False
    ) as client:
        for address in endpoints:
            for method in ("GET", "POST", "DELETE"):
                answer = await client.request(method, address.path)
                if answer.status_code not in (401, 404, 405):
                    wrong.append(f"{method} {address.path}: {answer.status_code}")
    assert not wrong
