"""A gateway is backed up while it serves, and restored elsewhere: nothing is missing.

Also what is refused: damaged files, wrong passphrases, places that are not empty.
"""

import re

import pytest

from proxysite.testing.house import House, create_own_database, poll_until
from proxysite.tests.backup.filled_house import (
    FILE_BYTES,
    PASSPHRASE,
    READ_SECRETS,
    TOKEN,
    USAGE_ROWS,
    ask,
    asking_callers,
    fill_house,
    make_client,
)

pytestmark = pytest.mark.timeout(240)  # a dozen processes, one after the other
TABLE_LINE = re.compile(r"^(\w+) +(\d+)  ([0-9a-f]{32})$", re.MULTILINE)


@pytest.fixture
def passphrase_file(tmp_path):
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return str(file)


@pytest.fixture
def new_house(tmp_path):
    """An empty home and database."""
    with create_own_database() as url:
        house = House(tmp_path / "restored" / "home", url)
        (tmp_path / "restored").mkdir()
        try:
            yield house
        finally:
            house.kill_process()


def test_a_gateway_that_was_backed_up_while_it_served_lives_on_elsewhere(
    own_house, house_key, new_house, passphrase_file, tmp_path
):
    file_id = fill_house(own_house)
    secrets = own_house.run_manage_command("shell", "-v", "0", "-c", READ_SECRETS)
    assert TOKEN in secrets
    own_house.start()
    backup = str(tmp_path / "drill.backup")
    with make_client(own_house, house_key) as client:
        ask(client, "My name is Ada.", "travels")
    with asking_callers(own_house, house_key) as counts:
        poll_until(lambda: counts["a"] > 3 and counts["b"] > 3, "they are answered")
        said = own_house.run_manage_command("backup", backup, "--passphrase-file", passphrase_file)
        during = counts.total()
        poll_until(lambda: counts.total() > during, "they are answered afterwards")
    assert set(counts) == {"a", "b"}, counts
    assert "2 files" in said, said  # the file and its text
    assert own_house.end_process() == 0

    checked = new_house.run_manage_command(
        "restore", backup, "--passphrase-file", passphrase_file, "--check"
    )
    assert not new_house.home.exists()
    said = new_house.run_manage_command("restore", backup, "--passphrase-file", passphrase_file)
    shown = {name: int(count) for name, count, _ in TABLE_LINE.findall(said)}
    assert TABLE_LINE.findall(checked) == TABLE_LINE.findall(said)
    for name, count in shown.items():
        assert new_house.run_sql(f"SELECT count(*) FROM {name}") == [(count,)], name
    assert shown["api_usagerecord"] > USAGE_ROWS + 6
    assert shown["proxysite_auditentry"] >= 1
    assert new_house.run_manage_command("shell", "-v", "0", "-c", READ_SECRETS) == secrets
    assert (new_house.home / "files" / file_id).read_bytes() == FILE_BYTES

    assert "This is shown once" not in new_house.start()
    with make_client(new_house, house_key) as client:
        assert client.get(f"/v1/files/{file_id}/content").content == FILE_BYTES
        ask(client, "What is my name?", "travels")
        found = client.get("/v1/conversations/search?q=Ada").json()
        assert "Ada" in str(found), found
    assert "0 imported, 1 known already" in new_house.run_manage_command(
        "import_tokens", "acme", "-", stdin=f"{TOKEN}\n"
    )
    new_house.run_manage_command("check_usage")
    assert new_house.end_process() == 0
    assert "ERROR" not in new_house.output
