"""Failures in a row per provider, and the tokens that conversations had last."""

import asyncio

import pytest

from proxysite.testing import rows
from tokens.pool.failure_counts import FailureCounts, StickyTokens


def test_two_rejections_in_a_row_or_two_failures_of_a_pool_larger_than_two_call_for_it():
    troubles = FailureCounts()
    assert [troubles.count_failure(1, is_rejection=True, pool_size=1) for _ in range(3)] == [
        False,
        True,
        True,
    ]
    assert [troubles.count_failure(2, is_rejection=False, pool_size=3) for _ in range(3)] == [
        False,
        True,
        True,
    ]
    assert [troubles.count_failure(3, is_rejection=False, pool_size=2) for _ in range(3)] == [
        False
    ] * 3
    troubles.clear_failures(1)
    assert not troubles.count_failure(1, is_rejection=True, pool_size=1)
    assert (
        troubles.find_failures(2).rejected_tokens,
        troubles.find_failures(2).other_failures,
        troubles.find_failures(9).last_at,
    ) == (0, 3, None)


@pytest.mark.settings(REFRESH_WINDOW_SECONDS=0.05)
async def test_one_process_asks_once_per_window():
    troubles = FailureCounts()
    for _ in range(3):
        troubles.request_renewal(1)
    troubles.request_renewal(2)
    assert [troubles.renewal_requests.get_nowait() for _ in range(2)] == [1, 2]
    assert troubles.renewal_requests.empty()
    await asyncio.sleep(0.06)
    troubles.request_renewal(1)
    assert troubles.renewal_requests.get_nowait() == 1


@pytest.mark.settings(STICKY_CONVERSATIONS=2)
def test_the_token_of_a_conversation_is_remembered_within_bounds():
    sticky, (one, two, three) = StickyTokens(), [rows.UpstreamToken().pk for _ in range(3)]
    for conversation, token in (("a", one), ("b", two), ("a", one), ("c", three)):
        sticky.store_token_id(conversation, 1, token)
    assert [sticky.find_token_id(conversation, 1) for conversation in "abc"] == [one, None, three]
    assert sticky.find_token_id("a", 2) is None
