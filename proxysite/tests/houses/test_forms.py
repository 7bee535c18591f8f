"""A real process under a large form: it passes through the memory in small pieces."""

import os
from pathlib import Path

import httpx
import pytest

from proxysite.testing.upstream import send_refusal, send_reply

MEGABYTE = 2**20
FORM_BYTES = 25 * MEGABYTE  # OpenAI's largest recording
PATH = "/v1/audio/transcriptions"


def read_memory(process, name):
    """Return a figure of the process's memory in megabytes, by its name in `status`."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


def reset_peak(process):
    """Let the peak of the process's memory (VmHWM) begin anew."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


async def send_recording(house, key, content):
    """Send a recording of these bytes, and return the answer."""
    async with httpx.AsyncClient(base_url=house.url, trust_env=False, timeout=60) as http:
        return await http.post(
            PATH,
            data={"model": "m"},
            files={"file": ("a.wav", content, "audio/wav")},
            headers={"authorization": f"Bearer {key}"},
        )


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
async def test_a_recording_of_25_megabytes_takes_a_few_of_memory(house, house_upstream, house_key):
    house_upstream.set_default_script(send_reply({"text": "Hello."}))
    assert (await send_recording(house, house_key, bytes(MEGABYTE))).status_code == 200
    before = read_memory(house.process, "VmRSS")
    reset_peak(house.process)
    house_upstream.queue_scripts(send_refusal(500))  # it is sent twice
    content = os.urandom(FORM_BYTES)
    assert (await send_recording(house, house_key, content)).status_code == 200
    assert read_memory(house.process, "VmHWM") - before < 6
    assert len(house_upstream.requests) == 3
    assert all(content in asked.body for asked in house_upstream.requests[1:])
