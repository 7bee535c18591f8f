"""Renewals survive kills, and among processes there is one at a time."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings

from providers.database.database_threads import run_in_thread
from providers.exceptions import Contended
from providers.network.clients import Clients
from providers.protocol.request import NewCredential
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import Gate
from tokens.maintenance.token_check import build_maintenance_adapter
from tokens.models import UpstreamToken
from tokens.renewal import unsaved_secrets
from tokens.renewal.renew_token import RenewalOrder, Renewals, claim_renewal_lease
from tokens.renewal.unsaved_secrets import write_secrets_file
from tokens.tests.renewal.renewal_cast import refresh_row, secrets
from tokens.tests.site import Site


async def renewed(provider, row, **wish):
    """What another process would get."""
    async with Clients() as clients:
        return await Renewals().renew_and_wait(
            build_maintenance_adapter(provider, clients), RenewalOrder(row.pk, row.sealed, **wish)
        )


async def test_what_a_killed_process_had_not_committed_is_used_and_nobody_asks_again(
    row, site, provider
):
    proof = (await run_in_thread(secrets, row)).proof
    write_secrets_file(row.pk, proof, NewCredential("access-9", "refresh-9"))
    (file,) = unsaved_secrets.find_renewals_folder().iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"access-9" not in file.read_bytes()
    await run_in_thread(
        UpstreamToken.objects.update, renewing_until=datetime.now(UTC) + timedelta(hours=1)
    )  # its lease
    await renewed(provider, row)
    assert await run_in_thread(secrets, row) == ("access-9", "refresh-9")
    assert site.renewals == []
    assert not list(unsaved_secrets.find_renewals_folder().iterdir())


async def test_a_process_killed_while_it_wrote_the_file_loses_nothing(row, site, monkeypatch):
    proof = (await run_in_thread(secrets, row)).proof
    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", lambda *paths: None)
        write_secrets_file(row.pk, proof, NewCredential("access-9", "refresh-9"))
    (draft,) = unsaved_secrets.find_renewals_folder().iterdir()
    (unsaved_secrets.find_renewals_folder() / f"{draft.name}half").write_bytes(
        draft.read_bytes()[:40]
    )
    assert await run_in_thread(unsaved_secrets.apply_secrets_files) == 1
    assert await run_in_thread(secrets, row) == ("access-9", "refresh-9")
    await run_in_thread(unsaved_secrets.apply_secrets_files)
    assert not list(unsaved_secrets.find_renewals_folder().iterdir())


async def test_what_was_left_is_applied_at_the_start(gateway, row, site):
    write_secrets_file(
        row.pk, (await run_in_thread(secrets, row)).proof, NewCredential("access-9", "refresh-9")
    )
    await gateway.restart_server()
    await wait_until_true(lambda: run_in_thread(lambda: secrets(row) == ("access-9", "refresh-9")))


async def test_what_was_left_of_a_renewal_that_was_finished_is_thrown_away(row, site, provider):
    proof = (await run_in_thread(secrets, row)).proof
    await renewed(provider, row)
    write_secrets_file(row.pk, proof, NewCredential("access-old", "refresh-old"))
    assert await run_in_thread(unsaved_secrets.apply_secrets_files) == 0
    assert await run_in_thread(secrets, row) == ("access-1", "refresh-1")
    assert not list(unsaved_secrets.find_renewals_folder().iterdir())


async def test_what_no_key_opens_stays(row, site, settings, caplog):
    proof = (await run_in_thread(secrets, row)).proof
    keys = settings.FIELD_KEYS
    settings.FIELD_KEYS = [f"other:{keys[0].partition(':')[2]}"]
    write_secrets_file(row.pk, proof, NewCredential("access-9", "refresh-9"))
    settings.FIELD_KEYS = keys
    assert await run_in_thread(unsaved_secrets.apply_secrets_files) == 0
    assert "FIELD_KEYS" in caplog.text
    settings.FIELD_KEYS = [*keys, f"other:{keys[0].partition(':')[2]}"]
    assert await run_in_thread(unsaved_secrets.apply_secrets_files) == 1


@pytest.mark.settings(RENEW_LEASE_SECONDS=0.4)
async def test_the_lease_of_a_killed_process_ends_by_itself(row, site, provider):
    assert await run_in_thread(claim_renewal_lease, RenewalOrder(row.pk, ""))
    await renewed(provider, row)  # waits for it
    assert site.renewals == ["refresh-0"]


@pytest.mark.settings(RENEW_LEASE_SECONDS=0.2)
async def test_who_waits_for_a_renewal_waits_a_bounded_time(row, site, provider):
    await run_in_thread(
        UpstreamToken.objects.update, renewing_until=datetime.now(UTC) + timedelta(hours=1)
    )
    with pytest.raises(Contended):
        await renewed(provider, row)


async def test_a_row_that_was_disabled_by_a_person_during_its_renewal_stays_disabled(
    row, site, provider
):
    site.gate = Gate()
    renewing = asyncio.create_task(renewed(provider, row))
    await site.gate.wait_until_reached()
    await run_in_thread(UpstreamToken.objects.all().mark_disabled, "by operator")
    site.gate.open()
    await renewing
    found = await rows.reload_row(row)
    assert (found.state, found.reason) == ("disabled", "by operator")
    assert await run_in_thread(secrets, row) == ("access-1", "refresh-1")


PROCESS = """
import asyncio, os, sys
import django
from django.conf import settings
django.setup()
name, token_id, kills, many = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
from django.db import connections
connections.settings["default"]["NAME"] = connections["default"].settings_dict["NAME"] = name
from uuid import UUID
from providers.network.clients import Clients
from tokens.renewal import unsaved_secrets as leftovers
from tokens.maintenance.token_check import build_maintenance_adapter
from tokens.models import UpstreamToken
from tokens.renewal.renew_token import RenewalOrder, Renewals
from tokens.tests.site import Renewing
row = UpstreamToken.objects.select_related("provider").get(pk=token_id)
if kills == "before commit":
    leftovers.write_renewed_secrets = lambda *told: os.kill(os.getpid(), 9)
from providers import registry
registry.get_adapter_class = lambda kind: Renewing
async def work():
    clients, renewals = Clients(), Renewals()
    asked = build_maintenance_adapter(row.provider, clients)
    order = RenewalOrder(UUID(token_id), row.sealed)
    print("ready", flush=True)
    sys.stdin.readline()
    found = await asyncio.gather(*(renewals.renew_and_wait(asked, order) for _ in range(many)))
    await renewals.wait_for_renewals()
    await clients.close()
    return {one.sealed for one in found}
print(asyncio.run(work()), flush=True)
"""


def process(row, kills="never", many=16):
    """Another process on the same database and home; it begins when it is told to."""
    from django.db import connection

    env = os.environ | {"DJANGO_SETTINGS_MODULE": "proxysite.settings", "EMBEDDED_WORKER": "false"}
    env |= {"DATABASE_URL": settings.DATABASE_URL, "PROXYSITE_HOME": str(settings.HOME.root)}
    env |= {"FIELD_KEYS": ",".join(settings.FIELD_KEYS), "KEY_PEPPER": settings.KEY_PEPPER}
    arguments = [str(connection.settings_dict["NAME"]), str(row.pk), kills, str(many)]
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        env=env,
        text=True,
    )


async def said(found):
    return await asyncio.to_thread(found.stdout.readline)


async def test_64_wishes_of_four_processes_make_one_refresh(upstream, provider):
    site = Site()
    upstream.set_default_script(site)
    row = await run_in_thread(refresh_row, provider)
    processes = [process(row) for _ in range(4)]
    try:
        for one in processes:
            assert await said(one) == "ready\n"
        for one in processes:
            one.stdin.write("\n")
            one.stdin.flush()
        sealed = {await said(one) for one in processes}
        assert [await asyncio.to_thread(one.wait) for one in processes] == [0] * 4
    finally:
        for one in processes:
            one.kill()
            one.communicate()
    found = await rows.reload_row(row)
    assert sealed == {f"{ {found.sealed} }\n"}
    assert site.renewals == ["refresh-0"]
    assert await run_in_thread(secrets, row) == ("access-1", "refresh-1")


async def test_a_process_killed_between_the_answer_and_the_commit_loses_nothing(
    upstream, provider, site
):
    row = await run_in_thread(refresh_row, provider)
    killed = process(row, "before commit", 1)
    assert await said(killed) == "ready\n"
    await asyncio.to_thread(killed.communicate, "\n")
    assert killed.returncode == -signal.SIGKILL
    assert await run_in_thread(secrets, row) == ("", "refresh-0")
    await renewed(provider, row)
    assert await run_in_thread(secrets, row) == ("access-1", "refresh-1")
    assert site.renewals == ["refresh-0"]
