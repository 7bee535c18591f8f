from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from providers.choices import Capability, Rotation
from providers.models import ChatModel, ModelAlias, Provider

pytestmark = pytest.mark.django_db


def provider(**fields: Any) -> Provider:
    return Provider(
        **{
            "name": "moonshot",
            "kind": "openai_compatible",
            "base_url": "https://api.example.com/v1",
        }
        | fields
    )


def problems(row: Any) -> set[str]:
    """The fields that a person would be told about."""
    try:
        row.full_clean()
    except ValidationError as error:
        return set(error.message_dict)
    return set()


def test_a_provider_as_the_help_texts_have_it_is_valid() -> None:
    row = provider(headers={"OpenAI-Organization": "org-1"}, connect_seconds=0.5)
    assert problems(row) == set()
    row.save()
    assert Provider.objects.get() == row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("name", name)
            for name in (
                "",
                "Moonshot",
                "a b",
                "-a",
                "_a",
                "ä",
                "a/b",
                "a\n",
                "\na",
                "a" * 65,
                "a\0",
            )
        ),
        ("kind", "no_such_adapter"),
        ("kind", "../adapters/echo"),
        *(
            ("base_url", url)
            for url in (
                "",
                "nothing",
                "http://api.example.com",
                "https://127.0.0.1/v1",
                "https://a@b.c",
            )
        ),
        ("rotation", "whatever"),
        *(("connect_seconds", seconds) for seconds in (0, -1, 0.001)),
        *((name, 0) for name in ("first_byte_seconds", "gap_seconds", "total_seconds")),
    ],
    ids=repr,
)
def test_a_provider_that_cannot_work_is_refused_with_the_field(field: str, value: Any) -> None:
    assert problems(provider(**{field: value})) == {field}


@pytest.mark.parametrize(
    "headers",
    [
        [],
        "",
        "X: y",
        5,
        {"X-A": 5},
        {"X-A": None},
        {"X-A": "a\r\nHost: evil"},
        {"X-A": "a\nb"},
        {"X-A": "a\0"},
        {"X-A": "é"},
        {"X-A\r\nY": "a"},
        {"X A": "a"},
        {"X-A:": "a"},
        {"": "a"},
        {"-": "a"},
        {"é": "a"},
        *(
            {name: "a"}
            for name in (
                "Host",
                "AUTHORIZATION",
                "Cookie",
                "content-length",
                "Transfer-Encoding",
                "x-api-key",
            )
        ),
        *(
            {name: "a"}
            for name in (
                "Connection",
                "Accept-Encoding",
                "X-Forwarded-For",
                "Expect",
                "Proxy-Authorization",
            )
        ),
    ],
    ids=repr,
)
def test_headers_that_would_break_or_forge_a_request_are_refused(headers: Any) -> None:
    assert problems(provider(headers=headers)) == {"headers"}


def test_a_base_url_is_kept_without_its_last_slash() -> None:
    row = provider(base_url="https://api.example.com/v1/")
    row.full_clean()
    assert row.base_url == "https://api.example.com/v1"


def test_a_private_base_url_needs_the_flag() -> None:
    assert problems(provider(base_url="http://127.0.0.1:11434/v1")) == {"base_url"}
    assert problems(provider(base_url="http://127.0.0.1:11434/v1", allow_private=True)) == set()


def test_an_adapter_without_an_address_needs_no_base_url() -> None:
    assert problems(provider(kind="echo", base_url="")) == set()


def test_two_providers_cannot_share_a_name() -> None:
    provider().save()
    assert problems(provider()) == {"name"}
    with pytest.raises(IntegrityError), transaction.atomic():
        provider().save()


@pytest.mark.parametrize(
    "fields",
    [
        {"rotation": "whatever"},
        *({f"{name}_seconds": 0} for name in ("connect", "first_byte", "gap", "total")),
    ],
    ids=repr,
)
def test_the_database_refuses_what_skipped_validation(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        provider(**fields).save()


@pytest.mark.parametrize("rotation", Rotation.values)
def test_every_rotation_can_be_saved(rotation: str) -> None:
    provider(rotation=rotation).save()
    assert Provider.objects.get().rotation == rotation


# --- models ---------------------------------------------------------------------------------------
@pytest.fixture
def moonshot() -> Provider:
    row = provider()
    row.save()
    return row


def model(of: Provider, **fields: Any) -> ChatModel:
    return ChatModel(
        **{"public_id": "kimi-k2", "provider": of, "upstream_name": "moonshotai/Kimi-K2"} | fields
    )


def test_a_model_that_lists_every_capability_is_valid(moonshot: Provider) -> None:
    assert (
        problems(model(moonshot, capabilities=Capability.values, context_window=131_072)) == set()
    )
    assert problems(model(moonshot, public_id="名前/ü:1@x", capabilities=[])) == set()


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
    assert problems(model(moonshot, **{field: value})) in ({field}, {"__all__"})


def test_a_public_id_stands_once_per_provider_and_on_several_providers(moonshot: Provider) -> None:
    model(moonshot).save()
    with pytest.raises(IntegrityError), transaction.atomic():
        model(moonshot).save()
    other = provider(name="other")
    other.save()
    model(other).save()
    assert ChatModel.objects.filter(public_id="kimi-k2").count() == 2


def test_the_database_refuses_a_model_without_weight(moonshot: Provider) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model(moonshot, weight=0).save()


def test_only_enabled_models_of_enabled_providers_are_served(moonshot: Provider) -> None:
    off = provider(name="off", enabled=False)
    off.save()
    model(moonshot, public_id="on").save()
    model(moonshot, public_id="model-off", enabled=False).save()
    model(off, public_id="provider-off").save()
    assert ChatModel.objects.served().public_ids() == ["on"]


def test_a_public_id_of_several_providers_is_listed_once_and_in_order(moonshot: Provider) -> None:
    other = provider(name="other")
    other.save()
    for row in (
        model(moonshot, public_id="b"),
        model(moonshot, public_id="a"),
        model(other, public_id="b"),
    ):
        row.save()
    assert ChatModel.objects.public_ids() == ["a", "b"]


def test_models_go_with_their_provider(moonshot: Provider) -> None:
    model(moonshot).save()
    moonshot.delete()
    assert not ChatModel.objects.exists()


# --- aliases --------------------------------------------------------------------------------------
@pytest.mark.parametrize("alias", ["", "a b", "a\n", "a" * 201])
def test_an_alias_that_no_caller_could_write_is_refused(alias: str) -> None:
    assert problems(ModelAlias(alias=alias, public_id="kimi-k2")) == {"alias"}


def test_an_alias_is_unique_and_never_of_itself() -> None:
    ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for wrong in (
        ModelAlias(alias="gpt-4o", public_id="other"),
        ModelAlias(alias="kimi-k2", public_id="kimi-k2"),
    ):
        assert problems(wrong)
        with pytest.raises(IntegrityError), transaction.atomic():
            wrong.save()
