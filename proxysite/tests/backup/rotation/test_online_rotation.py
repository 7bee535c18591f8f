"""Secrets are sealed anew while a gateway uses them, by a command that is killed on its way."""

import subprocess
import sys
import threading

import httpx
import pytest
from django.conf import settings

from proxysite.home import generate_field_key
from proxysite.testing import speech
from proxysite.testing.house import UPSTREAM_TOKEN, poll_until
from proxysite.testing.upstream import send_reply

pytestmark = pytest.mark.timeout(180)
TOKENS = 300
COUNT_NEW = "SELECT count(*) FROM tokens_upstreamtoken WHERE sealed LIKE 'v1.{}.%'"


async def test_a_gateway_answers_all_the_while(own_house, house_key, house_upstream):
    house_upstream.set_default_script(send_reply(speech.chat_completion("yes")))
    lines = (own_house.home / "secrets.env").read_text().splitlines()
    old_key = dict(line.split("=", 1) for line in lines)["FIELD_KEYS"]
    new_key = generate_field_key()
    new_id = new_key.split(":")[0]
    tokens = "".join(f"sk-of-many-{number:04}\n" for number in range(TOKENS))
    own_house.run_manage_command("import_tokens", "fake", "-", stdin=tokens)
    own_house.environment["FIELD_KEYS"] = f"{new_key},{old_key}"
    own_house.start()
    command = [sys.executable, "manage.py", "rotate_secrets", "--slice-rows", "1"]

    def count_new():
        return own_house.run_sql(COUNT_NEW.format(new_id))[0][0]

    def kill_and_finish():
        process = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env=own_house.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        poll_until(lambda: count_new() > 5 or process.poll() is not None, "it has begun", 60)
        process.kill()
        process.wait()
        assert 5 < count_new() <= TOKENS
        return own_house.run_manage_command("rotate_secrets")

    outcome = []
    rotation = threading.Thread(target=lambda: outcome.append(kill_and_finish()))
    rotation.start()
    headers = {"authorization": f"Bearer {house_key}"}
    body = {"model": "m", "messages": [{"role": "user", "content": "Are you there?"}]}
    answers = 0
    async with httpx.AsyncClient(base_url=own_house.url, headers=headers, trust_env=False) as http:
        while rotation.is_alive() or answers < 20:
            answer = await http.post("/v1/chat/completions", json=body, timeout=30)
            assert answer.status_code == 200, answer.text
            answers += 1
    rotation.join()
    assert "0 of" in outcome[0], outcome
    assert count_new() == TOKENS + 1
    assert own_house.end_process() == 0
    own_house.environment["FIELD_KEYS"] = new_key
    assert UPSTREAM_TOKEN in own_house.run_manage_command("export_tokens", "fake")
