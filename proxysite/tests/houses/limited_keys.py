"""Keys with limits in a house, and the price of its model."""

from random import randrange

from proxysite.testing import speech

USAGE = speech.token_usage(50, 50)
COST_MICRO_USD = 20_000  # of a request with this usage: 200 USD per million tokens
NO_VALUES = {
    "for_each_end_user": "false",
    "budget_window": "'calendar'",
    "time_zone": "'UTC'",
    "allowed_models": "'[]'",
    "allowed_endpoints": "'[]'",
    "ip_ranges": "'[]'",
    "notifies_owner": "false",
}


def create_limited_key(house, **limits):
    """Return a new key with these limits, whose id no other test has in Redis.

    The values are SQL.
    """
    if house.database_url:
        house.run_sql(f"SELECT setval('api_apikey_id_seq', {randrange(10**6, 2 * 10**9)})")
    key = house.run_manage_command("issue_key", "racer").split()[-1]
    values = NO_VALUES | limits
    house.run_sql(
        f"INSERT INTO api_limitset (key_id, {', '.join(values)}) "
        f"SELECT id, {', '.join(map(str, values.values()))} "
        f"FROM api_apikey WHERE prefix = '{key[:16]}'"
    )
    return key


def set_price(house):
    """Give the model a price that has been valid for long."""
    prices = ("--prompt", "200", "--completion", "200")
    house.run_manage_command("set_price", "fake", "m", *prices)
    house.run_sql("UPDATE api_price SET valid_from = '2020-01-01 00:00:00+00:00'")
