"""A backup of an older release gets the tables of that release, and `serve` migrates them."""

import subprocess
import sys

import pytest
from django.conf import settings

from proxysite.testing.house import House, create_own_database, poll_until
from proxysite.tests.backup.filled_house import ask, make_client
from proxysite.tests.backup.test_refusals import refuse

pytestmark = pytest.mark.timeout(240)
OLDER = (("api", "0022_invitations"), ("proxysite", "0001_initial"))
# `backup` of this release notes its run in a table that the older one does not have
WRITE_BACKUP = """
from pathlib import Path
from proxysite.backup.create_backup import BackupOrder, write_backup
write_backup(BackupOrder(Path("{}"), "", True), lambda text: None)
"""
APPLIED = "SELECT count(*) FROM django_migrations WHERE app = '{}' AND name > '{}'"


@pytest.fixture
def new_house(tmp_path):
    (tmp_path / "new").mkdir()
    with create_own_database() as url:
        house = House(tmp_path / "new" / "home", url)
        try:
            yield house
        finally:
            house.kill_process()


def launch_restore(house, *arguments):
    return subprocess.Popen(
        [sys.executable, "manage.py", "restore", *arguments],
        cwd=settings.BASE_DIR,
        env=house.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_an_older_backup_is_restored_after_a_kill_and_brought_up_to_date(
    own_house, house_key, new_house, tmp_path
):
    for app, name in OLDER:
        own_house.run_manage_command("migrate", app, name, "-v", "0")
    backup = str(tmp_path / "older")
    own_house.run_manage_command("shell", "-v", "0", "-c", WRITE_BACKUP.format(backup))
    lines = (own_house.home / "secrets.env").read_text().splitlines()
    new_house.environment |= dict(line.split("=", 1) for line in lines)

    process = launch_restore(new_house, backup)
    mark = new_house.home / "restore.unfinished"
    poll_until(lambda: mark.exists() or process.poll() is not None, "it has begun")
    process.kill()
    process.communicate()
    assert mark.exists()
    assert "not finished" in refuse(new_house, "serve", "--port", "0")
    assert "not finished" in refuse(new_house, "list_models")

    new_house.run_manage_command("restore", backup)
    assert not (new_house.home / "secrets.env").exists()
    for app, name in OLDER:
        assert new_house.run_sql(APPLIED.format(app, name)) == [(0,)]
    assert "not empty" in refuse(new_house, "restore", backup)
    new_house.start()
    for app, name in OLDER:
        assert new_house.run_sql(APPLIED.format(app, name))[0][0] >= 1
    with make_client(new_house, house_key) as client:
        ask(client, "Hello", "talk")
    assert new_house.end_process() == 0
    assert "ERROR" not in new_house.output
