"""Rows of prices: the impossible ones are refused, and those that records name stay."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from api.models import Price, UsageRecord
from api.tests.pricing.price_rows import LONG_AGO, RecordCreator, create_price
from providers.models import Provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo() -> Provider:
    return Provider.objects.create(name="echo", kind="echo", needs_token=False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prompt_usd": "-0.01"}, "Ensure this value is greater than or equal to 0."),
        ({"prompt_usd": "x"}, "“x” value must be a decimal number."),
        ({"upstream_model": ""}, "This field cannot be blank."),
        ({"upstream_model": "  "}, "Name the model as the provider calls it."),
        (
            {"prompt_usd": None, "completion_usd": None},
            "Give at least one price; 0 means that it costs nothing.",
        ),
        ({"tiers": [{"above_prompt_tokens": 1}]}, "The tier above 1 tokens has no price."),
    ],
    ids=str,
)
def test_an_impossible_price_is_refused(
    echo: Provider, fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        create_price(echo, **fields)
    assert sentence in caught.value.messages


def test_two_prices_of_a_model_cannot_begin_at_the_same_instant(echo: Provider) -> None:
    create_price(echo, " big ")
    with pytest.raises(ValidationError) as caught:
        create_price(echo, "big")
    assert caught.value.messages == ["This model already has a price from this moment on."]
    create_price(echo, "big", valid_from=LONG_AGO + timedelta(microseconds=1))
    create_price(echo, "small")
    with pytest.raises(IntegrityError):
        Price.objects.create(provider=echo, upstream_model="big", valid_from=LONG_AGO)


def test_a_price_is_used_once_a_record_names_it(echo: Provider) -> None:
    price = create_price(echo)
    other = create_price(echo, "small")
    RecordCreator().create_record(echo, price=price)
    assert (price.is_used, other.is_used) == (True, False)


@pytest.mark.django_db(transaction=True)
def test_an_index_finds_the_records_of_a_price(echo: Provider) -> None:
    price = create_price(echo)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # the empty table would be read as a whole
            cursor.execute("SET enable_seqscan = off")
        with CaptureQueriesContext(connection):
            plan = UsageRecord.objects.filter(price_id=price.pk).values("pk").explain()
        if connection.vendor == "postgresql":
            cursor.execute("RESET enable_seqscan")
    assert "usage_price" in plan
