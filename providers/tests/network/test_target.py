"""The origin of a base URL, as the `Host` header names it."""

import pytest

from providers.network.target import Origin


@pytest.mark.parametrize(
    ("base_url", "authority"),
    [
        ("http://one.example/v1", "one.example"),
        ("https://one.example/v1", "one.example"),
        ("http://one.example:80", "one.example"),
        ("https://one.example:443", "one.example"),
        ("https://one.example:80", "one.example:80"),
        ("http://one.example:443", "one.example:443"),
        ("http://one.example:8000", "one.example:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://[::1]", "[::1]"),
    ],
)
def test_the_host_header_names_every_port_but_the_default_one(
    base_url: str, authority: str
) -> None:
    assert Origin.from_base_url(base_url, allow_private=True).authority == authority
