"""An upstream over real sockets that lists models for good tokens, and its provider."""

from collections.abc import Iterator

import pytest

from providers.models import Provider
from tokens.tests.listing import GOOD, Upstream, serving


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving(GOOD) as server:
        yield server


@pytest.fixture
def provider(upstream: Upstream) -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url=upstream.url, allow_private=True
    )
