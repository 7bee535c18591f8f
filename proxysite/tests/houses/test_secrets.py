"""A process whose secrets are not the database's does not start, and no command of its writes."""

import os

from proxysite.home import generate_secrets
from proxysite.testing.house import House


def stranger(house, tmp_path):
    """Another machine on the house's database, with secrets of its own."""
    other = House(tmp_path / "other" / "home", house.database_url)
    if not house.database_url:  # the one file that SQLite is
        other.environment["DATABASE_URL"] = f"sqlite:///{house.home / 'proxysite.sqlite3'}"
    return other


def test_a_machine_with_other_secrets_neither_serves_nor_writes(own_house, house_key, tmp_path):
    (tmp_path / "other").mkdir()
    other = stranger(own_house, tmp_path)
    try:
        process = other.launch_process("--port", "0")
        assert process.wait(30) == 1
    finally:
        other.kill_process()
    assert other.output.count("\n") == 1, other.output
    assert "FIELD_KEYS and KEY_PEPPER" in other.output
    assert "secrets.env" in other.output
    before = (
        own_house.run_sql("SELECT count(*) FROM tokens_upstreamtoken"),
        own_house.run_sql("SELECT count(*) FROM api_apikey"),
    )
    other.run_manage_command("import_tokens", "fake", "-", stdin="sk-from-a-stranger\n", status=1)
    other.run_manage_command("issue_key", "visitor", status=1)
    assert before == (
        own_house.run_sql("SELECT count(*) FROM tokens_upstreamtoken"),
        own_house.run_sql("SELECT count(*) FROM api_apikey"),
    )
    own_house.start()  # its own home is as it was


def test_a_machine_that_was_given_the_secrets_serves(own_house, tmp_path):
    (tmp_path / "other").mkdir()
    other = stranger(own_house, tmp_path)
    lines = (own_house.home / "secrets.env").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines)
    other.environment |= {name: given[name] for name in ("FIELD_KEYS", "KEY_PEPPER")}
    other.environment["SECRET_KEY"] = generate_secrets()["SECRET_KEY"]
    try:
        other.start()
        assert other.end_process() == 0
    finally:
        other.kill_process()
    assert not os.path.exists(other.home / "secrets.env")


def test_a_database_from_before_there_were_check_values_is_judged_by_its_tokens(
    own_house, tmp_path
):
    own_house.run_sql("DELETE FROM tokens_secretcheck")
    (tmp_path / "other").mkdir()
    other = stranger(own_house, tmp_path)
    other.run_manage_command("issue_key", "visitor", status=1)
    own_house.start()
    assert own_house.run_sql("SELECT count(*) FROM tokens_secretcheck") == [(2,)]
