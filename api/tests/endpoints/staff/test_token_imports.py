"""The staff endpoints import tokens from a file and from a list."""

import pytest
from django.test import Client

from api.tests.endpoints.staff.staff_endpoints import SECRETS, read_refusal
from providers.models import Provider
from proxysite.testing import rows
from tokens.models import UpstreamToken


@pytest.mark.settings(TOKENS_PROVIDER="k2")
def test_the_token_file_is_read_again(request_staff, pooled_provider, settings, tmp_path):
    file = tmp_path / "tokens.txt"
    file.write_text(f"# mine\n{SECRETS[0]}\n\nsk-new-in-the-file-1\nno token\n")
    settings.TOKENS_FILE = str(file)
    status, found = request_staff("tokens/reload")
    assert (status, found["status"], found.keys()) == (
        200,
        "success",
        {"status", "message", "data"},
    )
    assert found["data"]["total_tokens"] == 4
    assert "1 imported, 1 known already" in found["message"]
    assert "line 5: has a space inside" in found["message"]
    assert UpstreamToken.objects.count() == 4


@pytest.mark.settings(
    TOKENS_PROVIDER="k2", GUEST_TOKENS_FILE="", USER_TOKENS_FILE="", TOKENS_FILE=""
)
def test_a_file_that_cannot_be_read_is_said_in_words(
    request_staff, pooled_provider, settings, tmp_path
):
    assert "No setting names a token file" in read_refusal(request_staff("tokens/reload"))
    settings.TOKENS_FILE = str(tmp_path / "missing.txt")
    assert "No such file" in read_refusal(request_staff("tokens/reload"))
    (tmp_path / "binary").write_bytes(b"\x89PNG\xff\xfe\xfd")
    settings.USER_TOKENS_FILE = str(tmp_path / "binary")
    assert "is no text but a picture" in read_refusal(request_staff("tokens/reload"))
    Provider.objects.update(mode="guest")
    settings.GUEST_TOKENS_FILE = str(tmp_path / "guests.txt")
    assert "guests.txt" in read_refusal(request_staff("tokens/reload"))


@pytest.mark.settings(TOKENS_PROVIDER="k2")
def test_another_provider_never_sees_the_tokens_of_the_file(
    request_staff, pooled_provider, settings, tmp_path
):
    (tmp_path / "tokens.txt").write_text("sk-new-in-the-file-1\n")
    settings.TOKENS_FILE = str(tmp_path / "tokens.txt")
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    assert read_refusal(request_staff("tokens/reload", provider="other"))
    assert not other.tokens.exists()


def test_a_list_of_tokens_is_imported_and_nothing_is_deleted(request_staff, pooled_provider):
    status, found = request_staff(
        "tokens/update", body={"tokens": [SECRETS[1], "sk-new-in-the-list-1", ""]}
    )
    assert (status, found["status"], found.keys()) == (200, "success", {"status", "message"})
    assert "1 imported, 1 known already" in found["message"]
    assert "stay" in found["message"]
    assert UpstreamToken.objects.count() == 4
    other = rows.create_provider("http://127.0.0.1:9/v1", "other", models=())
    assert (
        request_staff("tokens/update", body={"tokens": ["sk-for-the-other"], "provider": "other"})[
            0
        ]
        == 200
    )
    assert other.tokens.count() == 1


@pytest.mark.parametrize(
    "body", [None, {}, {"tokens": "sk-one-text"}, {"tokens": [1]}, {"tokens": None}, ["sk-a-list"]]
)
def test_what_is_no_list_of_tokens_is_refused(request_staff, pooled_provider, body):
    assert read_refusal(request_staff("tokens/update", body=body))
    assert UpstreamToken.objects.count() == 3


def test_a_provider_is_named_by_text(request_staff, pooled_provider):
    assert read_refusal(request_staff("tokens/update", body={"tokens": [], "provider": 7}))


def test_a_body_that_is_no_json_is_refused(superuser, pooled_provider):
    headers = {"authorization": f"Bearer {superuser.key}"}
    answer = Client().post(
        "/admin/switch_mode", "{", content_type="application/json", headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
