"""The HTTP client of the JDK as it comes, which asks for HTTP/2 in each request.

Programs with Spring AI, LangChain4j or Ktor send their requests with it.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
]
PROGRAM = Path(__file__).parents[1] / "java" / "Chat.java"


async def test_the_http_client_of_the_jdk_gets_whole_and_streamed_answers(gateway, upstream, alice):
    process = await asyncio.create_subprocess_exec(
        "java",
        str(PROGRAM),
        env={"BASE_URL": f"{gateway.url}/v1", "API_KEY": alice.key},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    lines = output.decode().splitlines()
    assert lines[::2] == ["200 HTTP_1_1"] * 3
    assert "Hello there!" in lines[1]
    assert "[DONE]" in lines[3]
    assert "Hello there!" in lines[5]
    assert len(upstream.requests) == 3
