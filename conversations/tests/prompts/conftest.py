"""Fixtures of the tests of prompts."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(empty_cache):
    """Let each test begin with an empty cache of documents."""
