"""Which models and aliases are valid, and which models callers may name."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from providers.choices import Capability
from providers.models import ChatModel, ModelAlias, Provider
from providers.tests.models.rows import find_problem_fields, make_provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def moonshot() -> Provider:
    row = make_provider()
    row.save()
    return row


def make_model(of: Provider, **fields: Any) -> ChatModel:
    return ChatModel(
        **{"public_id": "kimi-k2", "provider": of, "upstream_name": "moonshotai/Kimi-K2"} | fields
    )


def test_a_model_that_lists_every_capability_is_valid(moonshot: Provider) -> None:
    assert (
        find_problem_fields(
            make_model(moonshot, capabilities=Capability.values, context_window=131_072)
        )
        == set()
    )
    assert (
        find_problem_fields(make_model(moonshot, public_id="名前/ü:1@x", capabilities=[])) == set()
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("public_id", text) for text in ("", "a b", "a\n", "a\tb", "a\x7f", "\0", "a" * 201)),
        *(("upstream_name", text) for text in ("", "a b", "a\n", "a\tb", "a\x7f", "\0", "a" * 201)),
        *(
            ("capabilities", value)
            for value in ("chat", ["fly"], ["chat", "fly"], [5], [None], [["chat"]], [{}])
        ),
        ("weight", 0),
        ("weight", -1),
        ("context_window", -1),
    ],
    ids=repr,
)
def test_a_model_that_cannot_work_is_refused_with_the_field(
    moonshot: Provider, field: str, value: Any
) -> None:
    assert find_problem_fields(make_model(moonshot, **{field: value})) in ({field}, {"__all__"})


def test_a_public_id_stands_once_per_provider_and_on_several_providers(moonshot: Provider) -> None:
    make_model(moonshot).save()
    with pytest.raises(IntegrityError), transaction.atomic():
        make_model(moonshot).save()
    other = make_provider(name="other")
    other.save()
    make_model(other).save()
    assert ChatModel.objects.filter(public_id="kimi-k2").count() == 2


def test_the_database_refuses_a_model_without_weight(moonshot: Provider) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        make_model(moonshot, weight=0).save()


def test_only_enabled_models_of_enabled_providers_are_served(moonshot: Provider) -> None:
    off = make_provider(name="off", enabled=False)
    off.save()
    make_model(moonshot, public_id="on").save()
    make_model(moonshot, public_id="model-off", enabled=False).save()
    make_model(off, public_id="provider-off").save()
    assert ChatModel.objects.filter_served().list_public_ids() == ["on"]


def test_a_public_id_of_several_providers_is_listed_once_and_in_order(moonshot: Provider) -> None:
    other = make_provider(name="other")
    other.save()
    for row in (
        make_model(moonshot, public_id="b"),
        make_model(moonshot, public_id="a"),
        make_model(other, public_id="b"),
    ):
        row.save()
    assert ChatModel.objects.list_public_ids() == ["a", "b"]


def test_models_go_with_their_provider(moonshot: Provider) -> None:
    make_model(moonshot).save()
    moonshot.delete()
    assert not ChatModel.objects.exists()


# --- aliases --------------------------------------------------------------------------------------
@pytest.mark.parametrize("alias", ["", "a b", "a\n", "a" * 201])
def test_an_alias_that_no_caller_could_write_is_refused(alias: str) -> None:
    assert find_problem_fields(ModelAlias(alias=alias, public_id="kimi-k2")) == {"alias"}


def test_an_alias_is_unique_and_never_of_itself() -> None:
    ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for wrong in (
        ModelAlias(alias="gpt-4o", public_id="other"),
        ModelAlias(alias="kimi-k2", public_id="kimi-k2"),
    ):
        assert find_problem_fields(wrong)
        with pytest.raises(IntegrityError), transaction.atomic():
            wrong.save()
