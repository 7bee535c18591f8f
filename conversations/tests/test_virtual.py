import pytest
from django.core.exceptions import ValidationError
from django.urls import reverse

from conversations.checks import check_virtual_models
from providers.database.database_threads import run_in_thread
from providers.models import VirtualModel
from proxysite.testing import rows


@pytest.mark.django_db
def test_a_strategy_of_strategies_is_refused_with_a_clear_word() -> None:
    rows.create_model(rows.create_provider("https://api.example/v1", models=()), "m")
    rows.create_virtual_model("o1-m", "m", "direct")
    for fields, word in (
        ({"public_id": "o1-o1-m", "base": "o1-m"}, "name the model below it"),
        ({"public_id": "x", "base": "x"}, "name the model below it"),
        ({"public_id": "m", "base": "m2"}, "There is a model of this name"),
    ):
        with pytest.raises(ValidationError, match=word):
            VirtualModel(strategy="direct", **fields).full_clean()


async def test_a_virtual_model_answers_with_what_its_base_has(gateway, upstream, alice):
    await run_in_thread(rows.create_virtual_model, "also-m", "m", "direct")
    await run_in_thread(rows.create_virtual_model, "nothing-below", "no-such-model", "direct")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, model="also-m")
    assert (answer.status, answer.text, answer.json["model"]) == (200, "Hello there!", "also-m")
    assert upstream.last_exchange.request.json["model"] == "upstream-model"
    assert (await gateway.request_chat(alice.key, model="nothing-below")).status == 404
    listed = {
        model["id"]: model
        for model in (await gateway.send_request("GET", "/v1/models", alice.key)).json["data"]
    }
    assert listed["also-m"]["strategy"] == "direct"
    assert "nothing-below" not in listed


@pytest.mark.django_db
def test_rows_that_could_not_answer_are_found_at_the_start() -> None:
    rows.create_virtual_model("good", "m", "stepwise", max_steps=5)
    assert check_virtual_models(databases=["default"]) == []
    rows.create_virtual_model("odd", "m", "mindreading")
    rows.create_virtual_model("wrong", "m", "stepwise", max_steps="many")
    found = check_virtual_models(databases=["default"])
    assert [
        (problem.id, "odd" in problem.msg, "max_steps" in problem.msg) for problem in found
    ] == [
        ("conversations.E001", True, False),
        ("conversations.E002", False, True),
    ]


def test_the_admin_takes_no_options_that_cannot_be_used(admin_client) -> None:
    rows.create_model(rows.create_provider("https://api.example/v1", models=()), "m")
    address = reverse("admin:providers_virtualmodel_add")
    posted = {"public_id": "o1-m", "base": "m", "strategy": "stepwise", "enabled": "on"}
    assert (
        b"max_steps" in admin_client.post(address, posted | {"options": '{"max_steps": 0}'}).content
    )
    assert admin_client.post(address, posted | {"options": '{"max_steps": 7}'}).status_code == 302
    assert VirtualModel.objects.get().options == {"max_steps": 7}
