"""The admin of prices: new ones, their history, and models without any."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from api.models import Price
from api.tests.admin.pages import USAGE, list_rows, page_of
from api.tests.pricing.price_rows import RecordCreator, create_price
from providers.models import Provider

pytestmark = pytest.mark.django_db

PRICES = "/admin/api/price/"


def price_form(provider: Provider, **values: Any) -> dict[str, Any]:
    form = {
        "provider": provider.pk,
        "upstream_model": "big",
        "valid_from_0": "2026-01-02",
        "valid_from_1": "03:04:05",
        "prompt_usd": "0.25",
        "completion_usd": "2",
        "tiers": "[]",
        "batch_factor": "1",
    }
    return form | values


def read_initial(client: Client, address: str) -> dict[str, Any]:
    initial: dict[str, Any] = client.get(address).context["adminform"].form.initial
    return initial


# --- the form -------------------------------------------------------------------------------------
def test_a_price_is_added_and_its_past_requests_are_spoken_of(
    admin_client: Client, provider: Provider
) -> None:
    page = admin_client.post(f"{PRICES}add/", price_form(provider), follow=True)
    assert Price.objects.get().prompt_usd is not None
    assert "recost --from 2026-01-02 --provider echo" in page.content.decode()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"prompt_usd": "-1"}, "Ensure this value is greater than or equal to 0."),
        ({"upstream_model": " "}, "This field is required."),
        ({"tiers": '[{"above_prompt_tokens": 5}]'}, "The tier above 5 tokens has no price."),
        (
            {"prompt_usd": "", "completion_usd": ""},
            "Give at least one price; 0 means that it costs nothing.",
        ),
    ],
    ids=str,
)
def test_an_impossible_price_is_refused_with_the_sentence_of_the_command(
    admin_client: Client, provider: Provider, values: dict[str, Any], sentence: str
) -> None:
    page = admin_client.post(f"{PRICES}add/", price_form(provider, **values))
    assert sentence in page.content.decode()
    assert Price.objects.count() == 0


def test_two_prices_at_the_same_instant_are_refused(
    admin_client: Client, provider: Provider
) -> None:
    admin_client.post(f"{PRICES}add/", price_form(provider))
    page = admin_client.post(f"{PRICES}add/", price_form(provider))
    assert "This model already has a price from this moment on." in page.content.decode()
    assert Price.objects.count() == 1


# --- history --------------------------------------------------------------------------------------
def test_a_price_that_no_record_names_may_be_changed_and_deleted(
    admin_client: Client, provider: Provider
) -> None:
    price = create_price(provider)
    admin_client.post(page_of(price), price_form(provider, prompt_usd="5"))
    price.refresh_from_db()
    assert price.prompt_usd == 5
    admin_client.post(page_of(price, "delete"), {"post": "yes"})
    assert Price.objects.count() == 0


def test_a_price_that_records_name_stays_as_it_is(admin_client: Client, provider: Provider) -> None:
    price = create_price(provider)
    RecordCreator().create_record(provider, price=price)
    page = admin_client.get(page_of(price)).content.decode()
    assert "Requests name this price, so it stays as it is." in page
    assert 'name="prompt_usd"' not in page
    answer = admin_client.post(page_of(price), price_form(provider, prompt_usd="5"))
    assert answer.status_code == 403
    assert admin_client.post(page_of(price, "delete"), {"post": "yes"}).status_code == 403
    price.refresh_from_db()
    assert price.prompt_usd == 1


def test_a_new_price_begins_as_a_copy_of_the_old_one(
    admin_client: Client, provider: Provider
) -> None:
    tiers = [{"above_prompt_tokens": 5, "prompt_usd": "2"}]
    price = create_price(provider, cached_usd="0.5", tiers=tiers, source="a page")
    page = admin_client.get(page_of(price)).content.decode()
    address = f"{PRICES}add/?copy={price.pk}"
    assert f'href="{address}"' in page
    initial = read_initial(admin_client, address)
    assert (initial["provider"], initial["upstream_model"]) == (provider.pk, "big")
    assert (initial["prompt_usd"], initial["cached_usd"], initial["tiers"]) == (1, 0.5, tiers)
    assert "source" not in initial
    assert abs(initial["valid_from"] - timezone.now()) < timedelta(minutes=2)
    assert 'value="0.5"' in admin_client.get(address).content.decode()


@pytest.mark.parametrize("copied", ["", "x", "0", "99", str(10**30)])
def test_an_address_that_names_no_price_shows_an_empty_form(
    admin_client: Client, copied: str
) -> None:
    assert "provider" not in read_initial(admin_client, f"{PRICES}add/?copy={copied}")


def test_the_page_of_a_price_shows_all_prices_of_its_model(
    admin_client: Client, provider: Provider
) -> None:
    old = create_price(provider, source="<b>first</b>")
    new = create_price(provider, valid_from=timezone.now(), prompt_usd="0.5")
    create_price(provider, "other", source="elsewhere")
    page = admin_client.get(page_of(new)).content.decode()
    assert f'href="{page_of(old)}"' in page
    assert "&lt;b&gt;first&lt;/b&gt;" in page
    assert "elsewhere" not in page


# --- the list -------------------------------------------------------------------------------------
def test_the_list_says_which_price_is_in_force(admin_client: Client, provider: Provider) -> None:
    now = timezone.now()
    past = create_price(provider)
    valid = create_price(provider, valid_from=now - timedelta(days=1))
    later = create_price(provider, valid_from=now + timedelta(days=1))
    page = admin_client.get(PRICES).content.decode()
    assert re.findall(r'badge-\w+">([^<]+)<', page) == ["later", "in force", "past"]
    for state, price in (("past", past), ("valid", valid), ("later", later)):
        assert list_rows(admin_client, PRICES, **{"is": state}) == [price]


def test_the_list_is_filtered_by_provider_and_model(
    admin_client: Client, provider: Provider
) -> None:
    other = Provider.objects.create(name="other", kind="echo", needs_token=False)
    big = create_price(provider)
    small = create_price(provider, "small")
    create_price(other)
    query = {"provider__id__exact": provider.pk}
    assert set(list_rows(admin_client, PRICES, **query)) == {big, small}
    assert list_rows(admin_client, PRICES, **query, upstream_model="small") == [small]
    assert "By model" in admin_client.get(PRICES, query).content.decode()
    assert "By model" not in admin_client.get(PRICES).content.decode()
    assert list_rows(admin_client, PRICES, q="smal") == [small]


# --- models without a price -----------------------------------------------------------------------
def test_used_models_without_a_price_lead_to_a_form_for_it(
    admin_client: Client, provider: Provider
) -> None:
    RecordCreator().create_record(provider, upstream_model="gpt & <co>")
    page = admin_client.get(PRICES).content.decode()
    assert "Used without a price" in page
    assert "<strong>gpt &amp; &lt;co&gt;</strong> of echo, 1 request:" in page
    (address,) = re.findall(r'href="([^"]+)">price this model', page)
    initial = read_initial(admin_client, address.replace("&amp;", "&"))
    assert (initial["provider"], initial["upstream_model"]) == (str(provider.pk), "gpt & <co>")


def test_without_such_models_nothing_is_said(admin_client: Client, provider: Provider) -> None:
    create_price(provider)
    RecordCreator().create_record(provider)
    assert "Used without a price" not in admin_client.get(PRICES).content.decode()


def test_staff_who_may_only_look_get_no_links_to_forms(client: Client, provider: Provider) -> None:
    RecordCreator().create_record(provider)
    price = create_price(provider, "other")
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_price"))
    client.force_login(viewer)
    page = client.get(PRICES).content.decode()
    assert "Used without a price" in page
    assert "price this model" not in page
    assert "New price from today" not in client.get(page_of(price)).content.decode()


# --- usage records --------------------------------------------------------------------------------
def test_a_record_shows_its_cost_with_the_price(admin_client: Client, provider: Provider) -> None:
    price = create_price(provider)
    costs = {"cost_micro_usd": 1_234_567, "reported_cost_micro_usd": 1_000_001}
    record = RecordCreator().create_record(provider, price=price, **costs)
    page = admin_client.get(page_of(record)).content.decode()
    assert "1.234567 USD" in page
    assert "1.000001 USD" in page
    assert f'<a href="{page_of(price)}">big from 2026-01-01</a>' in page
    assert "1.234567 USD" in admin_client.get(USAGE).content.decode()
    Price.objects.all().delete()
    assert f"{price.pk} (deleted)" in admin_client.get(page_of(record)).content.decode()


def test_an_unknown_cost_is_called_so_and_is_not_nothing(
    admin_client: Client, provider: Provider
) -> None:
    creator = RecordCreator()
    creator.create_record(provider)
    page = admin_client.get(USAGE).content.decode()
    assert "unknown" in page
    assert "0.000000 USD" not in page
    creator.create_record(provider, cost_micro_usd=0)
    assert "0.000000 USD" in admin_client.get(USAGE).content.decode()
