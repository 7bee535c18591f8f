"""The set-up guide: each step knows when it is done, the last one waits for the first request."""

import pytest
from django.core.cache import cache

from api import keys
from providers.models import Provider
from proxysite.desk.overview.setup_guide import find_first_request, list_steps
from proxysite.testing import rows
from proxysite.tests.desk.pages import create_record, read_page

pytestmark = pytest.mark.django_db
PART = "/admin/overview/first-request"


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


def list_done():
    return [step.is_done for step in list_steps()]


def test_each_step_is_done_when_its_rows_exist(admin_client, admin_user):
    Provider.objects.create(name="echo", kind="echo", needs_token=False)
    assert list_done() == [False, False, False, False]
    provider = rows.create_provider("https://api.example.com/v1", "acme", models=())
    assert list_done() == [True, False, False, False]
    rows.create_tokens(provider, "sk-1")
    assert list_done() == [True, True, False, False]
    rows.create_model(provider, "kimi-k2")
    assert list_done() == [True, True, True, False]
    keys.create_key(admin_user, name="k")
    assert list_done() == [True, True, True, True]
    html = read_page(admin_client)
    assert html.count(">done</span>") == 4
    assert "&quot;" in html or '"model": "kimi-k2"' in html
    assert 'data-refresh="/admin/overview/first-request"' in html


def test_a_provider_without_tokens_needs_none(admin_client):
    rows.create_provider("http://127.0.0.1:11434/v1", "ollama", needs_token=False)
    assert list_done()[1]


def test_the_page_notices_the_first_request(admin_client):
    html = admin_client.get(PART).content.decode()
    assert "Waiting for the first request" in html
    assert "data-refresh-again" in html
    create_record()
    html = admin_client.get(PART).content.decode()
    assert "The first request was answered: this gateway works." in html
    assert "data-refresh-again" not in html


@pytest.mark.parametrize(
    ("fields", "cause", "page"),
    [
        ({"error_code": "no_upstream_token"}, "has no token.", "/admin/tokens/upstreamtoken/"),
        ({"error_code": "no_available_token"}, "No token of the model", "upstreamtoken/"),
        ({"error_code": "model_not_found"}, "no model with the name kimi-k2", "chatmodel/"),
        ({"error_code": "model_not_allowed"}, "may not use the model", "/admin/api/apikey/"),
        ({"error_code": "upstream_unreachable"}, "cannot be reached", "provider/"),
        ({"status": "refused", "refused_by": "key budget"}, "key budget", "apikey/"),
        ({"error_code": "odd_<b>"}, "ended with “odd_&lt;b&gt;”", "/admin/api/usagerecord/"),
    ],
)
def test_a_first_request_that_failed_names_the_cause_and_the_page(
    admin_client, fields, cause, page
):
    create_record(**{"status": "error", "outcome": None} | fields)
    html = admin_client.get(PART).content.decode()
    assert cause in html
    assert page in html
    assert "data-refresh-again" in html, "it goes on waiting"
    create_record()
    assert find_first_request().state == "answered"


def test_the_guide_is_gone_when_all_is_done(admin_client, admin_user):
    provider = rows.create_provider("https://api.example.com/v1", "acme")
    rows.create_tokens(provider, "sk-1")
    keys.create_key(admin_user, name="k")
    assert "Set up this gateway" in read_page(admin_client)
    create_record()
    assert "Set up this gateway" not in read_page(admin_client)
