"""The name of the caller's program in usage records."""

import pytest

from api.relay.client_names import name_client
from proxysite.testing import rows


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("codex_cli_rs/0.46.0 (Ubuntu 22.4.0; x86_64) xterm", "Codex"),
        ("claude-cli/2.0.1 (external, cli)", "Claude Code"),
        ("OpenAI/Python 1.109.1", "openai-python"),
        ("AsyncOpenAI/Python 2.0.0", "openai-python"),
        ("OpenAI/JS 5.1.0", "openai-node"),
        ("Anthropic/Python 0.5", "anthropic-python"),
        ("Mozilla/5.0 (X11) Chrome/140 Cursor/1.0", "Cursor"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "browser"),
        ("curl/8.5.0", "curl"),
        ("my-agent/7", "my-agent"),
        ("中文/1", "other"),
        ("x" * 5_000, "other"),
        ("batch/1.0", "other"),  # nobody but the gateway gives this name
        ("Batch", "other"),
        ("", ""),
    ],
)
def test_a_program_is_known_by_its_user_agent(user_agent: str, name: str) -> None:
    assert name_client({"HTTP_USER_AGENT": user_agent}) == name
    assert len(name) <= 32


async def test_a_record_names_the_program_and_each_call_its_begin(gateway, upstream, alice):
    await gateway.request_chat(alice.key, headers={"user-agent": "codex_cli_rs/0.46.0"})
    record = await rows.read_only_usage_record()
    assert record.client == "Codex"
    assert 0 <= record.attempts[0]["start_ms"] < record.total_ms


async def test_a_failed_request_names_the_provider_and_token_that_failed(
    gateway, upstream, alice, provider, token
):
    await upstream.stop()
    await gateway.request_chat(alice.key)
    record = await rows.read_only_usage_record()
    assert record.status == "error"
    assert (record.provider_id, record.token_id) == (provider.pk, token.pk)
